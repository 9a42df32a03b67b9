//! Folders that are removed here while somebody else fills them, and the other way round. Two slots cannot change in one step. So whoever
//! removes a folder looks into it before and after, and whoever fills one looks afterwards whether it still stands: of two that do it at
//! the same time, at least one sees the other.

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

impl Inner {
    /// Whether somebody put something into one of these folders since it was removed here.
    pub(super) async fn is_filled(&self, emptied: &[Gone]) -> Result<bool, FsError> {
        let (mut left, mut looking) = (emptied.iter().map(|(_, emptied)| emptied.clone()), JoinSet::new());
        let mut begin = |looking: &mut JoinSet<_>| {
            if let Some(emptied) = left.next() {
                let client = self.client.clone();
                looking.spawn(async move { has_more(&client, &emptied).await });
            }
        };
        (0..AT_ONCE).for_each(|_| begin(&mut looking));
        while let Some(looked) = looking.join_next().await {
            if looked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))? {
                return Ok(true);
            }
            begin(&mut looking);
        }
        Ok(false)
    }

    /// The folder that was removed under this name, if it does not stand there any more and somebody filled it: it comes back, beside
    /// what has the name by now.
    pub(super) async fn bring_back(
        &self,
        folder: Ino,
        cap: &SlotWrite,
        (name, owed): (&Name, &Owed),
    ) -> Result<(), FsError> {
        let Some((_, top)) = owed.emptied.first() else { return Ok(()) };
        let there = self.state().folder(folder)?.entries.get(name).map(identity);
        let stands = there == Some(top.identity());
        if stands || !self.is_filled(&owed.emptied).await? {
            return Ok(());
        }
        tracing::warn!(%name, "somebody put something into a folder that was removed here: it comes back");
        let name = if there.is_none() { name.clone() } else { self.name_aside(folder, name, &[])? };
        self.tell_name(folder, &name);
        let link = DirEdit::Link { name, child: Box::new(top.child.clone()), replace: Replace::No };
        let outcomes = self.client.edit_directory(cap, vec![link]).await?;
        // Somebody took that name just now: it is tried again with the next round.
        if outcomes.iter().any(Result::is_err) {
            return Err(FsError::Stale);
        }
        self.fresh(folder, Duration::ZERO).await
    }

    /// Looks whether the folders into which names were put still stand. One that somebody removed meanwhile is owed again.
    pub(super) async fn look_above(&self) -> Result<(), FsError> {
        let filled: Vec<Ino> = self.state().filled.iter().copied().collect();
        let mut above: Vec<(usize, Ino)> = {
            let state = self.state();
            let folders = filled.iter().flat_map(|ino| state.above(*ino).map(|(folder, _)| folder));
            folders.map(|folder| (state.depth(folder), folder)).collect()
        };
        above.sort_unstable();
        above.dedup();
        for (_, folder) in above {
            self.fresh(folder, Duration::ZERO).await?;
        }
        let mut state = self.state();
        for ino in filled {
            state.filled.remove(&ino);
            state.drop_idle(ino);
        }
        Ok(())
    }
}

/// Whether there is something in a folder that was not there when it was removed. What cannot be had back any more is not kept for.
async fn has_more(client: &Client, emptied: &Emptied) -> Result<bool, FsError> {
    let view = match client.open_directory(emptied.child.cap()).await {
        Err(FileStoreError::Slot(SlotError::Deleted)) => return Ok(false),
        view => view?,
    };
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
