//! What `rm --purge` and `sweep` have in common: the roots of this client, and saying which parts of them cannot be walked.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use caps::{Cap, VerifyHash};
use client::backup_db::BackupDb;
use client::letting_go::{LetGoError, LetGone, NamedRoot, Unread};
use client::{Aliases, Client};

use super::long::without_controls;
use super::session::Session;
use super::target::{At, joined};

/// All roots of this client: its aliases, and those that these paths begin at.
pub(super) fn roots(session: &Session, more: &[&At]) -> anyhow::Result<Vec<NamedRoot>> {
    let aliases = Aliases::of(&session.dir);
    let listing = aliases.list()?;
    if let Some(line) = listing.damaged.first() {
        let path = aliases.path();
        bail!("line {line} of {} is damaged: what it names would be taken for garbage", path.display());
    }
    let mut roots: Vec<NamedRoot> =
        listing.aliases.into_iter().map(|(name, cap)| NamedRoot { name: format!("{name}:"), cap }).collect();
    for at in more {
        if !roots.iter().any(|root| root.cap.verify_hash() == at.root.verify_hash()) {
            roots.push(NamedRoot { name: at.below(&[]), cap: at.root.clone() });
        }
    }
    Ok(roots)
}

/// What backups of this client remember, if any was made: while it is open, none is made.
pub(super) fn memory(session: &Session, root: &Cap) -> anyhow::Result<Option<Arc<BackupDb>>> {
    let Some(root) = root.verify_hash() else { return Ok(None) };
    if !BackupDb::is_there(&session.dir) {
        return Ok(None);
    }
    Ok(Some(Arc::new(BackupDb::open(&session.dir, root.as_bytes())?)))
}

/// Says which parts could not be walked, by their names where these can be read.
pub(super) async fn tell_unread(client: &Client, error: &LetGoError, roots: &[NamedRoot]) {
    let LetGoError::Incomplete { unread, .. } = error else { return };
    let mut by_hash: BTreeMap<VerifyHash, &Unread> = BTreeMap::new();
    for unread in unread {
        by_hash.extend(unread.cap.verify_hash().map(|hash| (hash, unread)));
    }
    let say = |unread: &Unread, path: &str| {
        eprintln!("sarsen: {}{}: {}", unread.root, without_controls(path), without_controls(&unread.reason));
    };
    for root in roots {
        let mut walk = client.walk(&root.cap);
        while !by_hash.is_empty() {
            let walked = match walk.next().await {
                Ok(Some(walked)) => walked,
                Ok(None) => break,
                Err(_) => continue,
            };
            let found = walked
                .cap
                .verify_hash()
                .filter(|hash| by_hash.get(hash).is_some_and(|unread| unread.root == root.name));
            if let Some(unread) = found.and_then(|hash| by_hash.remove(&hash)) {
                say(unread, &joined(&walked.path));
            }
        }
    }
    for (hash, unread) in by_hash {
        say(unread, &format!(" {} {hash}", unread.cap.kind()));
    }
}

/// What was let go, as JSON.
pub(super) fn to_json(gone: &LetGone) -> serde_json::Value {
    serde_json::json!({
        "objects": gone.objects, "leases": gone.leases, "bytes": gone.bytes, "renewed": gone.renewed,
        "unread": gone.unread, "servers-failed": gone.failures,
    })
}
