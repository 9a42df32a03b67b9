//! A directory that is being filled, and how it is finished.

use std::path::PathBuf;
use std::sync::Arc;

use caps::Cap;
use encoding::directory::{Metadata, Name};

use super::file::{child, is_due, is_found};
use super::scanning::Memory;
use super::{CopyError, CopyProblem, Form};
use crate::Client;
use crate::backup_db::Known;
use crate::filestore::{Child, DirEdit, DirView, Replace};

const HASH_CONTEXT: &str = "sarsen 2026 hash of a backed-up directory, version 1";

/// A directory that is being filled.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Its place in the directory above; `None` for the root.
    pub(super) above: Option<(u64, Name)>,
    pub(super) metadata: Metadata,
    /// The directory that is there, where it is filled up rather than made.
    pub(super) existing: Option<Arc<DirView>>,
    pub(super) children: Vec<(Name, Child)>,
    /// Of its children, those on their way.
    pub(super) waiting: usize,
    /// Whether all that is in it has been met.
    pub(super) left: bool,
}

/// A directory that is finished.
pub(super) struct Finished {
    pub(super) child: Child,
    pub(super) reused: bool,
    pub(super) problems: Vec<(PathBuf, CopyProblem)>,
}

impl Folder {
    /// Makes the directory, or changes the one that is there in one round.
    pub(super) async fn finish(
        self,
        client: &Client,
        form: Form,
        memory: Option<Memory>,
    ) -> Result<Finished, CopyError> {
        if let Some(existing) = self.existing.clone() {
            return self.fill_up(client, &existing).await;
        }
        let failed = |error| CopyError::grid(&self.path, error);
        let (child, reused) = match (form, memory) {
            (Form::Mutable, _) => (client.make_directory_with(self.children).await.map_err(failed)?, false),
            (Form::Immutable, None) => (client.make_immutable(self.children).await.map_err(failed)?, false),
            (Form::Immutable, Some(memory)) => {
                make_remembered(client, self.children, &memory, &self.path).await?
            }
        };
        Ok(Finished { child: child.with(self.metadata), reused, problems: Vec::new() })
    }

    async fn fill_up(self, client: &Client, existing: &DirView) -> Result<Finished, CopyError> {
        let writer = existing.writer().ok_or_else(|| CopyError::ReadOnly { path: self.path.clone() })?;
        let child = child(Cap::SlotWrite(writer.clone()), existing.salt(), &self.path)?;
        let names: Vec<Name> = self.children.iter().map(|(name, _)| name.clone()).collect();
        let edits: Vec<DirEdit> = self
            .children
            .into_iter()
            .map(|(name, child)| DirEdit::Link { name, child: Box::new(child), replace: Replace::OnlyFiles })
            .collect();
        let mut problems = Vec::new();
        if !edits.is_empty() {
            let outcomes = client.edit_directory(writer, edits).await;
            let outcomes = outcomes.map_err(|error| CopyError::grid(&self.path, error))?;
            let refused = outcomes.into_iter().zip(names).filter_map(|(outcome, name)| {
                outcome.err().map(|refusal| (self.path.join(name.as_str()), refusal.into()))
            });
            problems = refused.collect();
        }
        Ok(Finished { child, reused: false, problems })
    }
}

/// Makes an immutable directory, unless one of the same content was made before.
async fn make_remembered(
    client: &Client,
    children: Vec<(Name, Child)>,
    memory: &Memory,
    path: &std::path::Path,
) -> Result<(Child, bool), CopyError> {
    let (db, pool) = (memory.db.clone(), client.pool());
    let look = move || {
        let mut children = children;
        children.sort_by(|(a, _), (b, _)| a.cmp(b));
        let hash = hash(&children);
        db.directory(&hash).map(|known| (children, hash, known))
    };
    let (children, hash, known) = pool.run(look).await?;
    let mut uploaded = None;
    if let Some(known) = known {
        let due = is_due(client, &known);
        if !due || is_found(client, &known.cap).await {
            if due {
                let checked = client.now().as_secs();
                memory.db.record_directory(&hash, Known { checked, ..known.clone() })?;
            }
            return Ok((child(known.cap, known.salt, path)?, true));
        }
        uploaded = Some(known.uploaded);
    }
    let made = client.make_immutable(children).await.map_err(|error| CopyError::grid(path, error))?;
    let checked = client.now().as_secs();
    let known = Known {
        cap: made.caps.read.clone(),
        salt: made.salt,
        uploaded: uploaded.unwrap_or(checked),
        checked,
    };
    let db = memory.db.clone();
    pool.run(move || db.record_directory(&hash, known)).await?;
    Ok((made, false))
}

/// What a directory of these sorted children is known by: all that its entries say.
fn hash(children: &[(Name, Child)]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(HASH_CONTEXT);
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    for (name, child) in children {
        add(name.as_str().as_bytes());
        add(&[child.kind as u8]);
        add(zeroize::Zeroizing::new(child.caps.read.to_string()).as_bytes());
        add(child.salt.as_ref().map_or(&[], |salt| &salt[..]));
        let Metadata {
            mtime,
            ctime,
            link_created,
            link_modified,
            mode,
            uid,
            gid,
            size,
            symlink,
            xattrs,
            hardlink,
            extra,
        } = &child.metadata;
        for time in [mtime, ctime, link_created, link_modified] {
            let nanos = time.map(|t| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanoseconds));
            add(nanos.map(i128::to_le_bytes).as_ref().map_or(&[], |bytes| &bytes[..]));
        }
        for number in [mode.map(u64::from), uid.map(u64::from), gid.map(u64::from), *size] {
            add(number.map(u64::to_le_bytes).as_ref().map_or(&[], |bytes| &bytes[..]));
        }
        add(symlink.as_deref().unwrap_or_default());
        add(hardlink.as_ref().map_or(&[], |group| &group[..]));
        add(&(xattrs.len() as u64).to_le_bytes());
        for (name, value) in xattrs {
            add(name.as_bytes());
            add(value);
        }
        add(&(extra.len() as u64).to_le_bytes());
        for (field, value) in extra {
            add(&field.to_le_bytes());
            add(value);
        }
    }
    *hasher.finalize().as_bytes()
}
