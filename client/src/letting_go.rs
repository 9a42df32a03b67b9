//! Letting go: ending this account's leases on what its roots no longer reach, and on nothing else (`docs/design/0005-letting-go.md`).
//!
//! What is unreachable is found by walking every root, of which all must be readable and none may change on the way; a lease goes only if
//! it was not made or renewed since the walk began. Servers keep what nobody leases for a grace of days after that.

mod ask;
mod hold;
mod queue;
mod reach;
mod sweep;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use caps::{Cap, VerifyHash};
use protocol::message::{Bytes16, LeaseTerms};
use tokio::time::Instant;

pub(crate) use hold::Holds;
pub use queue::GRACE as SUPERSEDED_GRACE;
pub(crate) use queue::Superseded;
pub use sweep::{Pile, SweepPlan, SweepWhat};

use crate::Client;
use crate::backup_db::{BackupDb, BackupDbError};
use crate::tags::{Tag, agent_tag, root_tag, slot_tag};
use ask::LeaseFilter;
use reach::{Options, Reach};

/// A lease that was made so long before a walk began is known to be older, though servers count in whole seconds.
const SETTLED: Duration = Duration::from_secs(4);

/// For whose sake a client leases, and for how long.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sake {
    /// The tag of a root; `None`: of what is leased, or of none.
    tag: Option<Tag>,
    /// Seconds; `None`: while the account is alive.
    seconds: Option<u64>,
}

/// A root of this account, and what it is called.
#[derive(Clone, Debug)]
pub struct NamedRoot {
    /// What it is called, for people.
    pub name: String,
    /// A cap of it: read cap or better, or a repair cap.
    pub cap: Cap,
}

/// Something below a root that could not be walked.
#[derive(Clone, Debug)]
pub struct Unread {
    /// The root it is below.
    pub root: String,
    /// What it is: a repair or verify cap.
    pub cap: Cap,
    /// Why not.
    pub reason: String,
}

/// Why nothing was let go.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LetGoError {
    /// A part of what is kept could not be walked: what hangs off it would be taken for garbage.
    #[error("not all of {} can be walked", .unread.first().map_or("the roots", |unread| &unread.root))]
    Incomplete {
        /// Which parts, some of them if there are many.
        unread: Vec<Unread>,
        /// Whether servers that are away now may be all there is to it.
        retryable: bool,
    },
    /// Somebody changed what is kept again and again while it was walked.
    #[error("what is kept was changed again and again while it was walked")]
    Changing,
    /// What backups remember cannot be forgotten.
    #[error(transparent)]
    Memory(#[from] BackupDbError),
}

/// What was let go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetGone {
    /// Different objects and slots.
    pub objects: u64,
    /// Leases, over all servers.
    pub leases: u64,
    /// Bytes on all servers that this account no longer leases.
    pub bytes: u64,
    /// Leases that somebody renewed meanwhile, and that stay.
    pub renewed: u64,
    /// Parts of what was taken away that could not be walked: what hangs off them stays leased until a sweep.
    pub unread: u64,
    /// Servers that did not do it, and why: they keep what they have.
    pub failures: Vec<String>,
}

/// What is to be let go because it was taken out of a root.
pub struct Purge {
    /// The root it was below.
    pub root: Cap,
    /// What was taken away.
    pub removed: Vec<Cap>,
    /// All roots of this account, that one among them.
    pub kept: Vec<NamedRoot>,
    /// Of a dry run: the directory that still links it. Nothing is changed, then.
    pub linked_in: Option<VerifyHash>,
    /// What backups of this client remember, and shall forget of what goes.
    pub memory: Option<Arc<BackupDb>>,
}

impl Client {
    /// This client, as it works for the sake of a root: what it stores and leases is leased under the root's tag.
    #[must_use]
    pub fn under(&self, root: &Cap) -> Self {
        let tag = root.verify_hash().map(|hash| root_tag(&hash)).or(self.1.tag);
        Self(self.0.clone(), Sake { tag, ..self.1 })
    }

    /// This client, as it keeps a root for a time: every lease it makes has a tag apart and ends after so many seconds, so that what the
    /// root no longer reaches ends by itself.
    #[must_use]
    pub(crate) fn keeping(&self, root: &Cap, seconds: Option<u64>) -> Self {
        let tag = root.verify_hash().map(|hash| agent_tag(&hash)).or(self.1.tag);
        Self(self.0.clone(), Sake { tag, seconds })
    }

    /// The root's tag, if this client works for one.
    pub(crate) fn root_tag(&self) -> Option<Tag> {
        self.1.tag
    }

    /// The terms of what this client leases under a tag.
    pub(crate) fn lease_terms(&self, tag: Tag) -> LeaseTerms {
        LeaseTerms { tag: Bytes16(tag), duration_s: self.1.seconds }
    }

    /// Lets go what was taken out of a root and that no root reaches any more. What it says was let go is what would be, in a dry run.
    ///
    /// # Errors
    ///
    /// [`LetGoError`]; then nothing was let go.
    pub async fn purge(&self, purge: Purge) -> Result<LetGone, LetGoError> {
        let (begun, dry_run) = (Instant::now(), purge.linked_in.is_some());
        let removed = purge.removed.iter().map(|cap| NamedRoot { name: String::new(), cap: cap.clone() });
        let gone = self.reach(removed.collect(), &Options { collect: true, ..Options::default() }).await;
        if !dry_run {
            // What was stored just before the walk begins is younger than it can be told.
            tokio::time::sleep_until(begun + SETTLED).await;
        }
        let since = Instant::now();
        let skipped = purge.removed.iter().filter_map(Cap::verify_hash).collect();
        let options = Options { skip: purge.linked_in.map(|parent| (parent, skipped)), ..Options::default() };
        let kept = self.reach_surely(&purge.kept, &options).await?;
        let mut tags: HashSet<Tag> = purge.root.verify_hash().iter().map(root_tag).collect();
        let slots: Vec<VerifyHash> = gone.slots.iter().filter(|slot| !kept.holds(slot)).copied().collect();
        // What hangs off a slot has the slot's lease alone: it goes when nothing else holds the slot.
        let held = self.held_otherwise(slots.clone(), &tags).await;
        tags.extend(slots.iter().filter(|slot| !held.contains(slot)).map(slot_tag));
        let unread = gone.unread.len() as u64;
        let hashes: Vec<VerifyHash> = gone.list.into_iter().filter(|hash| !kept.holds(hash)).collect();
        if !dry_run {
            forget(self, purge.memory, hashes.iter().copied().collect()).await?;
        }
        let filter = LeaseFilter::Tags(tags);
        let done = self.cancel_on(hashes, filter, (!dry_run).then_some(since)).await;
        Ok(LetGone { unread, ..done })
    }

    /// Everything that these roots reach, of one moment.
    pub(crate) async fn reach_surely(
        &self,
        roots: &[NamedRoot],
        options: &Options,
    ) -> Result<Reach, LetGoError> {
        const TRIES: usize = 4;
        for _ in 0..TRIES {
            let options = Options { sure: true, ..options.clone() };
            let reach = self.reach(roots.to_vec(), &options).await;
            if !reach.unread.is_empty() {
                let retryable = reach.retryable;
                return Err(LetGoError::Incomplete { unread: reach.unread, retryable });
            }
            if self.is_unchanged(&reach).await {
                return Ok(reach);
            }
        }
        Err(LetGoError::Changing)
    }
}

/// Before it goes, nothing may take it for stored any more.
async fn forget(
    client: &Client,
    memory: Option<Arc<BackupDb>>,
    gone: HashSet<VerifyHash>,
) -> Result<(), LetGoError> {
    match memory {
        Some(memory) => Ok(client.pool().run(move || memory.forget(&gone)).await?),
        None => Ok(()),
    }
}
