//! Slots: small signed registers, replicated whole on their members, changed by compare-and-swap on a quorum
//! (`docs/spec/slots.md`).
//!
//! Writers of one slot may race: every acknowledged change survives while no more than 2q-n-1 members lie or forget. A change is a
//! function ([`Edit`]) of what the slot holds, applied again to whatever another writer made of it meanwhile.

mod ask;
mod copies;
mod create;
mod doubts;
mod error;
mod gather;
mod members;
mod memory;
mod prepare;
mod read;
mod stragglers;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use caps::{SlotRead, VerifyHash};
use encoding::Sections;
use encoding::slot::{Ballot, SignedRecord};

pub use copies::SlotCopies;
pub use create::NewSlot;
pub use doubts::Doubts;
pub use error::{EditError, MemberFailure, SlotError};
pub(crate) use members::Look;
pub use members::SlotHealth;
pub use memory::{Forgetful, SlotMemory};

/// What a slot holds.
#[derive(Clone, Debug)]
pub struct SlotView {
    /// The payload's sections.
    pub sections: Sections,
    /// The record it came in.
    pub record: Arc<SignedRecord>,
    /// How sure it is.
    pub freshness: Freshness,
    /// Stores that show less than they once acknowledged to this client: they forgot, or lie.
    pub forgetful: Vec<Forgetful>,
}

/// How sure a read is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// A quorum holds exactly this: the read is linearizable.
    Confirmed,
    /// The newest that was to be seen. There may be a newer one, and this one may never have been acknowledged to its writer.
    NewestSeen,
}

/// What a change starts from.
#[derive(Clone, Debug)]
pub struct SlotBase {
    /// The payload's sections.
    pub sections: Sections,
    /// The record they came in.
    pub record: Arc<SignedRecord>,
}

/// A change of a slot: a function of what it holds.
pub trait Edit: Send {
    /// Why the change is not to be made.
    type Refusal: Send;

    /// The new sections; `None` if there is nothing to change, as when this very change is found done already. May be asked several times,
    /// each time with a newer base.
    fn apply(
        &mut self,
        base: &SlotBase,
    ) -> impl Future<Output = Result<Option<Sections>, Self::Refusal>> + Send;
}

/// Slots this process has to do with. Clones of a client share them.
#[derive(Default)]
pub(crate) struct Slots {
    cells: Mutex<HashMap<VerifyHash, Arc<Cell>>>,
    pub(crate) memory: SlotMemory,
    doubts: doubts::Ledger,
    stragglers: stragglers::Stragglers,
    pub(crate) gathering: gather::Gathering,
}

/// Slots kept in memory before those that nobody uses are dropped.
const CELLS_MAX: usize = 512;

/// One slot as this process knows it.
#[derive(Default)]
pub(crate) struct Cell {
    /// Held by whoever changes the slot: changes of one process queue here and not at the members.
    writing: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

/// What is known of a slot.
#[derive(Clone, Default)]
struct Known {
    newest: Option<Arc<SignedRecord>>,
    /// A ballot that a quorum promised together with its accept of `newest`: the next change needs no prepare.
    granted: Option<Ballot>,
    /// The highest ballot seen anywhere.
    highest: Ballot,
    /// The highest ballot of a record that this process sent. Until a quorum holds that one or a later one, it may come to pass.
    sent: Ballot,
    /// Whether a quorum confirmed a change of this process.
    made_a_change: bool,
    /// When another writer was last noticed.
    crowded: Option<tokio::time::Instant>,
    /// Members that answered this process's last change first: a quorum of them is asked first the next time.
    quick: Option<stragglers::Quick>,
    /// Members that answered the last read first, likewise.
    prompt: Option<stragglers::Quick>,
    /// Members that were not asked yet.
    behind: stragglers::Behind,
}

impl Slots {
    pub(crate) fn new(memory: SlotMemory) -> Self {
        Self { memory, ..Self::default() }
    }

    /// Brings members up that changes of this process were not sent to yet.
    pub(crate) async fn settle(&self) {
        self.stragglers.settle().await;
    }

    fn cell(&self, hash: &VerifyHash) -> Arc<Cell> {
        let mut cells = lock(&self.cells);
        if cells.len() >= CELLS_MAX && !cells.contains_key(hash) {
            cells.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
        cells.entry(*hash).or_default().clone()
    }
}

impl Cell {
    fn known(&self) -> Known {
        lock(&self.known).clone()
    }

    /// Takes in a record: the highest ballot counts.
    fn learn(&self, record: &Arc<SignedRecord>) {
        let mut known = lock(&self.known);
        known.highest = known.highest.max(record.ballot());
        if known.newest.as_ref().is_none_or(|newest| newest.ballot() < record.ballot()) {
            known.newest = Some(record.clone());
            known.granted = None;
        }
    }

    fn made_a_change(&self) {
        lock(&self.known).made_a_change = true;
    }

    /// Another writer was noticed, or a member failed: nothing is left out for a while.
    fn crowd(&self) {
        let mut known = lock(&self.known);
        known.crowded = Some(tokio::time::Instant::now());
        known.quick = None;
    }

    fn saw(&self, ballot: Ballot) {
        let mut known = lock(&self.known);
        known.highest = known.highest.max(ballot);
    }

    fn sends(&self, ballot: Ballot) {
        let mut known = lock(&self.known);
        known.sent = known.sent.max(ballot);
    }

    /// A quorum promised this ballot together with its accept of `record`. It is of no use if a reader of this process met a newer one.
    fn grant(&self, record: &SignedRecord, ballot: Ballot, quick: stragglers::Quick) {
        let mut known = lock(&self.known);
        known.quick = Some(quick);
        let newest = known.newest.as_ref().is_some_and(|newest| newest.hash() == record.hash());
        known.granted = newest.then_some(ballot);
    }

    /// Who answered a read first. `None`: those who were asked first did not suffice, or no quorum confirmed it.
    fn answered(&self, prompt: Option<stragglers::Quick>) {
        let mut known = lock(&self.known);
        if prompt.is_none() {
            known.quick = None;
        }
        known.prompt = prompt;
    }

    fn take_grant(&self) -> Option<(Ballot, Arc<SignedRecord>)> {
        let mut known = lock(&self.known);
        let ballot = known.granted.take()?;
        Some((ballot, known.newest.clone()?))
    }
}

/// Opens a record's payload.
fn open(cap: &SlotRead, record: &SignedRecord) -> Result<Sections, SlotError> {
    if record.tombstone {
        return Err(SlotError::Deleted);
    }
    Ok(encoding::open_slot(&cap.key, &record.id.salt, &cap.hash, &record.payload)?)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}
