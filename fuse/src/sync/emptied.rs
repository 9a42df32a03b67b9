//! Folders that are removed here while somebody else fills them, and the other way round. Two slots cannot change in one step. So whoever
//! removes a folder looks into it before and after, and whoever fills one looks afterwards whether it still stands: of two that do it at
//! the same time, at least one sees the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use caps::SlotWrite;
use client::Client;
use client::filestore::{DirEdit, FileStoreError, Replace};
use client::slot::SlotError;
use encoding::directory::Name;
use tokio::task::JoinSet;

use super::AT_ONCE;
use crate::error::FsError;
use crate::mount::Inner;
use crate::state::{Emptied, Gone, Owed, identity, mark};
use crate::types::Ino;

/// What looking into folders that were removed here told of each.
pub(super) struct Looked(HashMap<usize, Result<bool, FsError>>);

impl Looked {
    /// Whether somebody put something into one of these folders since they were removed here.
    pub(super) fn is_filled(&self, gone: &[Gone]) -> Result<bool, FsError> {
        let mut failed = None;
        for (_, emptied) in gone {
            match self.0.get(&key(emptied)).unwrap_or(&Err(FsError::TimedOut)) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => failed = Some(*error),
            }
        }
        failed.map_or(Ok(false), Err)
    }
}

fn key(emptied: &Arc<Emptied>) -> usize {
    Arc::as_ptr(emptied).addr()
}

impl Inner {
    /// Looks into the folders that are removed with these names.
    pub(super) async fn look_into(&self, owed: impl Iterator<Item = &Owed>) -> Looked {
        let removed = owed.flat_map(|owed| owed.emptied.iter().map(|(_, emptied)| emptied.clone()));
        let removed: Vec<Arc<Emptied>> = removed.collect();
        let (mut left, mut looking) = (removed.into_iter(), JoinSet::new());
        let mut begin = |looking: &mut JoinSet<_>| {
            if let Some(emptied) = left.next() {
                let client = self.client.clone();
                looking.spawn(async move { (key(&emptied), has_more(&client, &emptied).await) });
            }
        };
        (0..AT_ONCE).for_each(|_| begin(&mut looking));
        let mut told = HashMap::new();
        while let Some(looked) = looking.join_next().await {
            told.extend([looked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))]);
            begin(&mut looking);
        }
        Looked(told)
    }

    /// Folders that were removed under this name, do not stand in this folder any more, and were filled by somebody: they come back, beside
    /// what has the name by now.
    pub(super) async fn bring_back(
        &self,
        folder: Ino,
        cap: &SlotWrite,
        (name, owed): (&Name, &Owed),
        looked: &Looked,
    ) -> Result<(), FsError> {
        for gone in owed.removals() {
            let top = &gone[0].1;
            let (taken, stands) = {
                let state = self.state();
                let entries = &state.folder(folder)?.entries;
                let stands = entries.values().any(|entry| entry.cap == top.child.caps.read);
                (entries.contains_key(name), stands)
            };
            if stands || !looked.is_filled(gone)? {
                continue;
            }
            tracing::warn!(%name, "somebody put something into a folder that was removed here: it comes back");
            let name = if taken { self.name_aside(folder, name, &[])? } else { name.clone() };
            self.tell_name(folder, &name);
            let link = DirEdit::Link { name, child: Box::new(top.child.clone()), replace: Replace::No };
            let outcomes = self.client.edit_directory(cap, vec![link]).await?;
            // Somebody took that name just now: it is tried again with the next round.
            if outcomes.iter().any(Result::is_err) {
                return Err(FsError::Stale);
            }
            self.fresh(folder, Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Looks whether a folder into which names were put still stands. If somebody removed it meanwhile it is owed again, or what is above it.
    pub(super) async fn look_above(&self, folder: Ino) -> Result<(), FsError> {
        let above: Vec<Ino> = self.state().above(folder).map(|(folder, _)| folder).collect();
        let mut looking = JoinSet::new();
        for folder in above {
            if let Some(inner) = self.me.upgrade() {
                looking.spawn(async move { inner.fresh_for_sure(folder).await });
            }
        }
        while let Some(looked) = looking.join_next().await {
            looked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        }
        Ok(())
    }
}

/// Whether there is something in a folder that was not there when it was removed. What cannot be had back any more is not kept for.
async fn has_more(client: &Client, emptied: &Emptied) -> Result<bool, FsError> {
    let view = match client.open_directory(emptied.child.cap()).await {
        Err(FileStoreError::Slot(SlotError::Deleted)) => return Ok(false),
        Err(FileStoreError::Slot(SlotError::NotFound { failures, .. })) if failures.is_empty() => {
            return Ok(false);
        }
        view => view?,
    };
    if view.is_doubtful() {
        return Err(FsError::TimedOut);
    }
    if emptied.version.is_some() && emptied.version == view.version() {
        return Ok(false);
    }
    let mut entries = view.entries();
    while let Some((name, entry)) = entries.next().await? {
        if !emptied.known.contains(&mark(&name, &identity(&entry))) {
            return Ok(true);
        }
    }
    Ok(false)
}
