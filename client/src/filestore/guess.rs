//! Paths as they were when this process last looked, confirmed while what follows from them begins.
//!
//! Directories seldom change between two looks. So the way is guessed from what is known of them, all of them are asked at once whether they
//! are still as they were, and what the path leads to is fetched meanwhile. A guess that a quorum does not confirm is worth nothing: then
//! the way is gone step by step.

use std::future::Future;

use caps::{Cap, SlotRead};
use encoding::directory::{EntryKind, Name};
use encoding::slot::RecordHash;
use tokio::task::JoinSet;

use super::error::FileStoreError;
use super::resolve::{Place, Target};
use super::view::DirView;
use crate::Client;
use crate::slot::Freshness;

/// Names of a path that are followed by guessing; about all its directories is asked at once.
const GUESSED_DEPTH: usize = 64;

/// What a path led to, as long as these slots hold what they held.
struct Guess {
    target: Target,
    slots: Vec<(SlotRead, RecordHash)>,
}

/// The place that a path named when this process last looked.
pub struct LikelyPlace {
    /// The place.
    pub place: Place,
    /// The slots on the way to its directory.
    above: Vec<(SlotRead, RecordHash)>,
}

/// Why a guess is not to be followed.
enum Wrong {
    /// A directory was changed, or no quorum says that it was not.
    Changed,
    /// Whether one was is not to be known.
    Unknown(FileStoreError),
}

impl Client {
    /// What the path from `root` leads to, and what `then` makes of that. `then` only reads: it may be begun with what the path led to
    /// before, and is dropped and begun again if that has changed.
    ///
    /// # Errors
    ///
    /// As [`Client::resolve`].
    pub async fn resolve_and<F: Future>(
        &self,
        root: &Cap,
        names: &[Name],
        then: impl Fn(Target) -> F,
    ) -> Result<(Target, F::Output), FileStoreError> {
        if let Some(Guess { target, slots }) = self.guess(root, names).await {
            let follow = async { Ok(then(target.clone()).await) };
            match tokio::try_join!(self.confirm(slots), follow) {
                Ok(((), followed)) => return Ok((target, followed)),
                Err(Wrong::Unknown(error)) => return Err(error),
                Err(Wrong::Changed) => {}
            }
        }
        let target = self.resolve(root, names).await?;
        let followed = then(target.clone()).await;
        Ok((target, followed))
    }

    /// The place that the path from `root` named when this process last looked, if it did. Whoever changes something there must hold it
    /// against [`Client::confirm_above`], and the change against what the place then says of the entry.
    pub async fn likely_place(&self, root: &Cap, names: &[Name]) -> Option<LikelyPlace> {
        let (last, above) = names.split_last()?;
        let (parent, mut slots) = self.guess_way(root, above).await?;
        // The change itself finds out whether this one is as it was. What never changes has no place for a change.
        parent.version()?;
        let changed = parent.cap().verify_hash()?;
        slots.retain(|(read, _)| read.hash != changed);
        let entry = parent.get(last).await.ok()?;
        Some(LikelyPlace { place: Place { parent, name: last.clone(), entry }, above: slots })
    }

    /// Whether the directories above a likely place still lead to it.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`] if that is not to be known.
    pub async fn confirm_above(&self, likely: &LikelyPlace) -> Result<bool, FileStoreError> {
        match self.confirm(likely.above.clone()).await {
            Ok(()) => Ok(true),
            Err(Wrong::Changed) => Ok(false),
            Err(Wrong::Unknown(error)) => Err(error),
        }
    }

    async fn guess(&self, root: &Cap, names: &[Name]) -> Option<Guess> {
        let (last, above) = names.split_last()?;
        let (parent, slots) = self.guess_way(root, above).await?;
        let entry = parent.get(last).await.ok()??;
        let cap = parent.cap_of(&entry).ok()?;
        // Where nothing can have changed there is nothing to guess.
        (!slots.is_empty()).then_some(Guess { target: Target { cap, entry: Some(entry) }, slots })
    }

    /// The directory at the end of this path, and the slots on the way, its own last.
    async fn guess_way(&self, root: &Cap, names: &[Name]) -> Option<(DirView, Vec<(SlotRead, RecordHash)>)> {
        if names.len() > GUESSED_DEPTH {
            return None;
        }
        let mut slots = Vec::new();
        let mut view = self.guess_directory(root, &mut slots).await?;
        for name in names {
            let entry = view.get(name).await.ok()?.filter(|entry| entry.kind == EntryKind::Directory)?;
            view = self.guess_directory(&view.cap_of(&entry).ok()?, &mut slots).await?;
        }
        Some((view, slots))
    }

    async fn guess_directory(&self, cap: &Cap, slots: &mut Vec<(SlotRead, RecordHash)>) -> Option<DirView> {
        if cap.is_mutable() {
            let (view, read, hash) = self.known_directory(cap)?;
            match slots.iter().find(|(seen, _)| seen.hash == read.hash) {
                // A way may lead through one directory again and again, and asks about it once.
                Some((_, seen)) => (*seen == hash).then_some(())?,
                None => slots.push((read, hash)),
            }
            return Some(view);
        }
        self.open_directory(cap).await.ok()
    }

    /// Asks about all slots at once whether they hold what they held.
    async fn confirm(&self, slots: Vec<(SlotRead, RecordHash)>) -> Result<(), Wrong> {
        let confirm = |(read, hash): (SlotRead, RecordHash)| {
            let client = self.clone();
            async move {
                match client.slot_version(&read).await {
                    Ok((now, Freshness::Confirmed)) if now == hash => Ok(()),
                    Ok(_) => Err(Wrong::Changed),
                    Err(error) => Err(Wrong::Unknown(error.into())),
                }
            }
        };
        let mut slots = slots.into_iter();
        let Some(root) = slots.next() else { return Ok(()) };
        let mut below: JoinSet<_> = slots.map(confirm).collect();
        confirm(root).await?;
        while let Some(confirmed) = below.join_next().await {
            match confirmed {
                Ok(Ok(())) => {}
                // What is wrong below may not be on the way any more: the way is gone step by step.
                _ => return Err(Wrong::Changed),
            }
        }
        Ok(())
    }
}
