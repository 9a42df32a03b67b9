//! One local file on its way to the grid.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use caps::Cap;

use super::progress::TreeProgress;
use super::scanning::Memory;
use super::{CopyError, CopyProblem, LARGE, SMALL};
use crate::backup_db::Known;
use crate::filestore::{Child, FileStoreError};
use crate::local::scan::OpenError;
use crate::local::{Entry, Time};
use crate::upload::FileSource;
use crate::{Client, PutOptions, Source, UploadError};

/// From this age on, in seconds, what was uploaded is looked for now and then; the chance rises from none ...
const CHECK_FROM: u64 = 30 * 24 * 3600;
/// ... to certainty here, as in Tahoe.
const CHECK_ALWAYS: u64 = 60 * 24 * 3600;

/// What became of a file. Its metadata are not on it yet.
pub(super) enum Sent {
    /// It was read and stored; what is odd about it.
    Uploaded(Box<Child>, Option<CopyProblem>),
    /// It is as it was, and is there.
    Reused(Box<Child>),
    /// It is left out.
    Not(CopyProblem),
}

enum Opened {
    Small(Bytes, bool),
    Large(File),
}

/// Where a file goes.
pub(super) enum Goal {
    /// It becomes a new immutable file.
    New,
    /// It becomes what this mutable file says.
    Overwrite(Box<Child>),
}

/// A file about to be sent, and what is needed for it.
pub(super) struct Sending {
    pub(super) client: Client,
    pub(super) entry: Entry,
    pub(super) memory: Option<Memory>,
    pub(super) known: Option<Known>,
    pub(super) progress: TreeProgress,
}

impl Sending {
    pub(super) async fn run(self, goal: Goal) -> Result<Sent, CopyError> {
        if let Some(known) = self.known.clone()
            && self.is_there(&known).await?
        {
            return Ok(Sent::Reused(Box::new(child(known.cap, known.salt, &self.entry.path)?)));
        }
        let read_at = Time::from(std::time::UNIX_EPOCH + self.client.now());
        let entry = self.entry.clone();
        let opened = match self.client.pool().run(move || open(&entry)).await {
            Ok(opened) => opened,
            Err(error) => return Ok(Sent::Not(error.into())),
        };
        let moving = self.progress.begin();
        let chunked = self.entry.metadata.size >= LARGE;
        let options = PutOptions { transfer: moving.transfer.clone(), chunked, ..PutOptions::default() };
        let (source, file, torn) = match opened {
            Opened::Small(bytes, torn) => (Source::bytes(bytes), None, torn),
            Opened::Large(file) => match file.try_clone() {
                Ok(again) => (Source::File(std::sync::Arc::new(FileSource::from(again))), Some(file), false),
                Err(error) => return Ok(Sent::Not(OpenError::Unreadable(error).into())),
            },
        };
        let (child, salt) = match self.store(goal, source, options).await {
            Ok(stored) => stored,
            Err(FileStoreError::Upload(UploadError::SourceChanged)) => {
                return Ok(Sent::Not(CopyProblem::Changing));
            }
            Err(FileStoreError::Upload(UploadError::Source(error))) => {
                return Ok(Sent::Not(OpenError::Unreadable(error).into()));
            }
            Err(error) => return Err(CopyError::grid(&self.entry.path, error)),
        };
        let changed = torn || self.has_changed(file).await;
        if !changed {
            self.remember(child.caps.read.clone(), salt, read_at).await?;
        }
        Ok(Sent::Uploaded(Box::new(child), changed.then_some(CopyProblem::Changed)))
    }

    async fn store(
        &self,
        goal: Goal,
        source: Source,
        options: PutOptions,
    ) -> Result<(Child, Option<[u8; 32]>), FileStoreError> {
        match goal {
            Goal::Overwrite(child) => {
                if let Some(Cap::SlotWrite(cap)) = &child.caps.write {
                    self.client.overwrite(cap, source, options).await?;
                }
                Ok((*child, None))
            }
            Goal::New => {
                let report = self.client.put(source, options).await?;
                Ok((Child::new(report.cap, report.tree_salt)?, report.tree_salt))
            }
        }
    }

    async fn has_changed(&self, file: Option<File>) -> bool {
        let Some(file) = file else { return false };
        let entry = self.entry.clone();
        self.client.pool().run(move || entry.check_unchanged(&file).is_err()).await
    }

    async fn remember(&self, cap: Cap, salt: Option<[u8; 32]>, read_at: Time) -> Result<(), CopyError> {
        let Some(memory) = self.memory.clone() else { return Ok(()) };
        if cap.is_mutable() {
            return Ok(());
        }
        let now = self.client.now().as_secs();
        let uploaded =
            self.known.as_ref().filter(|known| known.cap == cap).map_or(now, |known| known.uploaded);
        let known = Known { cap, salt, uploaded, checked: now };
        let (path, meta) = (memory.path(&self.entry), self.entry.metadata.clone());
        self.client.pool().run(move || memory.db.record(&path, &meta, read_at, known)).await?;
        Ok(())
    }

    /// Whether what is remembered of a file need not be doubted, or was found when it was.
    async fn is_there(&self, known: &Known) -> Result<bool, CopyError> {
        if !is_due(&self.client, known) {
            return Ok(true);
        }
        if !is_found(&self.client, &known.cap).await {
            return Ok(false);
        }
        let read_at = Time::from(std::time::UNIX_EPOCH + self.client.now());
        self.remember(known.cap.clone(), known.salt, read_at).await?;
        Ok(true)
    }
}

/// Whether something uploaded should be looked for again: never when it is young, always when it is old.
pub(super) fn is_due(client: &Client, known: &Known) -> bool {
    let age = client.now().as_secs().saturating_sub(known.checked);
    if age <= CHECK_FROM {
        return false;
    }
    let chance = u64::from(u32::from_le_bytes(client.random().bytes::<4>()));
    let range = CHECK_ALWAYS - CHECK_FROM;
    chance < ((age - CHECK_FROM).min(range) << 32) / range
}

/// Whether k shares of it answer. How many more there are is not looked at.
pub(super) async fn is_found(client: &Client, cap: &Cap) -> bool {
    match cap {
        Cap::Literal(_) => true,
        cap if cap.is_directory() => client.open_directory(cap).await.is_ok(),
        cap => client.open_object(cap).await.is_ok(),
    }
}

pub(super) fn child(cap: Cap, salt: Option<[u8; 32]>, path: &Path) -> Result<Child, CopyError> {
    Child::new(cap, salt).map_err(|error| CopyError::grid(path, error))
}

/// Opens a file; a small one is read at once, and whether it changed meanwhile.
fn open(entry: &Entry) -> Result<Opened, OpenError> {
    let mut file = entry.open()?;
    if entry.metadata.size > SMALL {
        return Ok(Opened::Large(file));
    }
    let mut bytes = Vec::with_capacity(entry.metadata.size as usize);
    (&mut file).take(SMALL + 1).read_to_end(&mut bytes).map_err(OpenError::Unreadable)?;
    if bytes.len() as u64 > SMALL {
        return Ok(Opened::Large(file));
    }
    match entry.check_unchanged(&file) {
        Ok(()) => Ok(Opened::Small(bytes.into(), false)),
        Err(OpenError::Changed) => Ok(Opened::Small(bytes.into(), true)),
        Err(error) => Err(error),
    }
}
