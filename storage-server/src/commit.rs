//! The commit: whatever waits is made durable together, and only then acknowledged
//! (`docs/spec/store.md`, "Commit").

use std::collections::{HashSet, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use caps::VerifyHash;
use encoding::ShareReport;
use protocol::message::{LeaseTerms, StoreState};
use protocol::slot_message::Verdict;
use protocol::{NodeId, Pool};
use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::collect::{Tidied, Tidy};
use crate::error::PutError;
use crate::index::{IndexResult, Location, Place, ShareKey};
use crate::pack::record_len;
use crate::slot::{Move, SlotRow};
use crate::store::{Store, lock};
use crate::upload::{Claim, ReadyShare};
use crate::usage::Hold;

/// Changes in one transaction, at most.
const BATCH_MAX: usize = 1024;
/// Objects that the leases and cancellations of one transaction name, at most, unless a single request names more.
const BATCH_ROWS_MAX: usize = 20_000;
/// Bytes that one batch appends to a pack, at most: what may lie beyond a pack's end after a crash.
pub(crate) const BATCH_LEN_MAX: u64 = 16 * 1024 * 1024;

/// Something to be made durable.
pub(crate) enum Change {
    Share(NewShare),
    Lease { account: NodeId, terms: LeaseTerms, hashes: Vec<VerifyHash> },
    Cancel { account: NodeId, tag: [u8; 16], hashes: Vec<VerifyHash>, until: u64 },
    Contact { account: NodeId },
    Slot(SlotChange),
    Tidy(Tidy),
}

impl Change {
    /// Bytes that it appends to a pack.
    pub(crate) fn appended(&self) -> u64 {
        match self {
            Self::Share(NewShare { bytes: ShareBytes::Small(bytes), .. }) => record_len(bytes.len()),
            Self::Tidy(Tidy::Move(records)) => {
                records.iter().map(|record| record_len(record.bytes.len())).sum()
            }
            _ => 0,
        }
    }
}

/// A move of a slot, its signature checked.
pub(crate) struct SlotChange {
    pub(crate) hash: VerifyHash,
    pub(crate) step: Move,
    /// The lease that comes with it, and whose it is: without one, no slot that is new to the store.
    pub(crate) lease: Option<(NodeId, LeaseTerms)>,
}

/// An intact share.
pub(crate) struct NewShare {
    pub(crate) key: ShareKey,
    /// Its place is decided at the commit.
    pub(crate) location: Location,
    pub(crate) bytes: ShareBytes,
    pub(crate) account: NodeId,
    pub(crate) lease: LeaseTerms,
    /// What is held for a small share; for one in a file its claim has it.
    pub(crate) hold: Option<Hold>,
}

impl NewShare {
    /// What is held of the account's quota for it.
    pub(crate) fn hold(&self) -> Option<&Hold> {
        match &self.bytes {
            ShareBytes::Small(_) => self.hold.as_ref(),
            ShareBytes::File(claim) => claim.hold.as_ref(),
        }
    }

    /// The share that was found intact, `len` bytes long.
    pub(crate) fn new(
        report: &ShareReport,
        len: u64,
        bytes: ShareBytes,
        account: NodeId,
        lease: LeaseTerms,
    ) -> Self {
        let location = Location {
            place: Place::File,
            len,
            ciphertext_len: report.descriptor.geometry.ciphertext_len(),
            bucket: report.descriptor.bucket.0,
        };
        Self {
            key: ShareKey { hash: report.hash, number: report.number },
            location,
            bytes,
            account,
            lease,
            hold: None,
        }
    }
}

pub(crate) enum ShareBytes {
    /// In memory; goes into a pack.
    Small(Bytes),
    /// In its partial file, synced; that becomes the share's file.
    File(Claim),
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored(Committed),
    Flags(Vec<bool>),
    Slot(Verdict, Option<SlotRow>),
    Tidied(Tidied),
}

/// A share that is durable and leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) hash: VerifyHash,
    /// Whether its bytes were needed: else the same were here already, intact.
    pub(crate) new: bool,
}

pub(crate) type Answer = Result<Outcome, PutError>;

/// Changes that wait for the next batch.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: VecDeque<(Change, oneshot::Sender<Answer>)>,
    running: bool,
}

/// Where the next record goes. Whoever holds it is the one that writes.
pub(crate) struct Writer {
    pub(crate) pack: u32,
    /// `None` if the pack is still to be created.
    pub(crate) end: Option<u64>,
    /// Directories below `shares/` that are known to be there, durably.
    pub(crate) dirs: HashSet<String>,
}

impl Writer {
    pub(crate) fn at(pack: u32, end: u64) -> Self {
        Self { pack, end: Some(end), dirs: HashSet::new() }
    }

    pub(crate) fn at_new_pack(pack: u32) -> Self {
        Self { pack, end: None, dirs: HashSet::new() }
    }
}

impl Store {
    /// Makes a share durable and leased, together with whatever else waits, and returns its H.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub async fn commit(
        self: &Arc<Self>,
        pool: &Arc<dyn Pool>,
        share: ReadyShare,
    ) -> Result<VerifyHash, PutError> {
        stored(self.submit(pool, share.0).await).map(|share| share.hash)
    }

    /// The same of several shares at once; each succeeds or fails by itself, those that came in with an error by that.
    pub(crate) async fn commit_all(
        self: &Arc<Self>,
        pool: &Arc<dyn Pool>,
        shares: Vec<Result<ReadyShare, PutError>>,
    ) -> Vec<Result<Committed, PutError>> {
        let mut changes = Vec::with_capacity(shares.len());
        let checked: Vec<_> =
            shares.into_iter().map(|share| share.map(|share| changes.push(share.0))).collect();
        let mut answers = self.enqueue(pool, changes).into_iter();
        let mut outcomes = Vec::with_capacity(checked.len());
        for share in checked {
            outcomes.push(match share {
                Ok(()) => stored(answered(answers.next()).await),
                Err(error) => Err(error),
            });
        }
        outcomes
    }

    /// Adds or renews leases; says of which objects there are shares here, which are now leased.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub async fn lease(
        self: &Arc<Self>,
        pool: &Arc<dyn Pool>,
        account: NodeId,
        terms: LeaseTerms,
        hashes: Vec<VerifyHash>,
    ) -> Result<Vec<bool>, PutError> {
        let at = self.clone();
        let here = pool.run(move || (at.index().have_objects(&hashes), hashes)).await;
        self.some(pool, here, |hashes| Change::Lease { account, terms, hashes }).await
    }

    /// The same of objects that are most likely here.
    pub(crate) async fn lease_known(
        self: &Arc<Self>,
        pool: &Arc<dyn Pool>,
        account: NodeId,
        terms: LeaseTerms,
        hashes: Vec<VerifyHash>,
    ) -> Result<Vec<bool>, PutError> {
        self.flags(pool, Change::Lease { account, terms, hashes }).await
    }

    /// Lets leases go; says which there were.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub async fn cancel_lease(
        self: &Arc<Self>,
        pool: &Arc<dyn Pool>,
        account: NodeId,
        tag: [u8; 16],
        hashes: Vec<VerifyHash>,
    ) -> Result<Vec<bool>, PutError> {
        self.cancel_old_lease(pool, account, tag, hashes, u64::MAX).await
    }

    /// The same of leases that were last made or renewed at this second of uptime or before.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub async fn cancel_old_lease(
        self: &Arc<Self>,
        pool: &Arc<dyn Pool>,
        account: NodeId,
        tag: [u8; 16],
        hashes: Vec<VerifyHash>,
        until: u64,
    ) -> Result<Vec<bool>, PutError> {
        let at = self.clone();
        let here = pool.run(move || (at.index().have_leases(&account, tag, &hashes), hashes)).await;
        self.some(pool, here, |hashes| Change::Cancel { account, tag, hashes, until }).await
    }

    /// Makes a change of those objects alone that it concerns, and answers for all.
    async fn some(
        self: &Arc<Self>,
        pool: &Arc<dyn Pool>,
        (found, hashes): (IndexResult<Vec<bool>>, Vec<VerifyHash>),
        change: impl FnOnce(Vec<VerifyHash>) -> Change,
    ) -> Result<Vec<bool>, PutError> {
        // If the index cannot be read, let the one that writes it find out why.
        let found = found.unwrap_or_else(|_| vec![true; hashes.len()]);
        let wanted: Vec<VerifyHash> =
            hashes.into_iter().zip(&found).filter_map(|(hash, found)| found.then_some(hash)).collect();
        if wanted.is_empty() && self.state() != StoreState::Failed && self.medium_writable {
            return Ok(found);
        }
        let mut flags = self.flags(pool, change(wanted)).await?.into_iter();
        Ok(found.into_iter().map(|found| found && flags.next().unwrap_or(false)).collect())
    }

    /// Notes that an account is alive, if it is known here.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub async fn contact(self: &Arc<Self>, pool: &Arc<dyn Pool>, account: NodeId) -> Result<(), PutError> {
        self.flags(pool, Change::Contact { account }).await.map(drop)
    }

    async fn flags(self: &Arc<Self>, pool: &Arc<dyn Pool>, change: Change) -> Result<Vec<bool>, PutError> {
        match self.submit(pool, change).await? {
            Outcome::Flags(flags) => Ok(flags),
            _ => unreachable!("leases are answered by flags"),
        }
    }

    /// Begins to make a move of a slot durable, from within a job of the pool: if nobody works on the queue, this job does.
    pub(crate) fn move_slot_here(
        self: &Arc<Self>,
        pool: &Arc<dyn Pool>,
        change: SlotChange,
    ) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        let idle = {
            let mut queue = lock(&self.queue);
            queue.waiting.push_back((Change::Slot(change), sender));
            !std::mem::replace(&mut queue.running, true)
        };
        // What came in meanwhile is for somebody else: this job's own answer waits for nobody.
        if idle && self.work_off_one_batch() {
            let store = self.clone();
            pool.spawn(Box::new(move || store.work_off()));
        }
        receiver
    }

    pub(crate) async fn submit(self: &Arc<Self>, pool: &Arc<dyn Pool>, change: Change) -> Answer {
        answered(self.enqueue(pool, [change]).pop()).await
    }

    /// Puts changes into the queue. If nobody works on that, the pool does until it is empty: so what arrives while one batch is
    /// written makes up the next.
    fn enqueue(
        self: &Arc<Self>,
        pool: &Arc<dyn Pool>,
        changes: impl IntoIterator<Item = Change>,
    ) -> Vec<oneshot::Receiver<Answer>> {
        let mut receivers = Vec::new();
        let idle = {
            let mut queue = lock(&self.queue);
            for change in changes {
                let (sender, receiver) = oneshot::channel();
                queue.waiting.push_back((change, sender));
                receivers.push(receiver);
            }
            !queue.waiting.is_empty() && !std::mem::replace(&mut queue.running, true)
        };
        if idle {
            let store = self.clone();
            pool.spawn(Box::new(move || store.work_off()));
        }
        receivers
    }

    fn work_off(self: &Arc<Self>) {
        while self.work_off_one_batch() {}
    }

    /// Makes the next batch durable and answers it. Whether more is waiting: then whoever asked goes on, else nobody works any more.
    fn work_off_one_batch(self: &Arc<Self>) -> bool {
        let (batch, senders): (Vec<_>, Vec<_>) = {
            let mut queue = lock(&self.queue);
            let count = batch_size(&queue.waiting).min(queue.waiting.len());
            queue.waiting.drain(..count).unzip()
        };
        let count = batch.len();
        if count > 0 {
            let answers = catch_unwind(AssertUnwindSafe(|| self.commit_batch(batch))).unwrap_or_else(|_| {
                let error = self.fence("commit", &io::Error::other("an assertion failed"));
                vec![Err(error); count]
            });
            for (sender, answer) in senders.into_iter().zip(answers) {
                // Whoever no longer waits does not learn of it; it is durable all the same.
                let _ = sender.send(answer);
            }
        }
        let mut queue = lock(&self.queue);
        queue.running = !queue.waiting.is_empty();
        queue.running
    }

    /// Makes all changes durable, in one transaction.
    fn commit_batch(self: &Arc<Self>, changes: Vec<Change>) -> Vec<Answer> {
        let mut writer = lock(&self.writer);
        self.find_room(&mut writer, &changes);
        self.commit_locked(&mut writer, &changes)
    }

    /// The same, for whoever is the one that writes.
    pub(crate) fn commit_locked(&self, writer: &mut Writer, changes: &[Change]) -> Vec<Answer> {
        let mut batch = Batch::new(self, changes);
        if let Err(error) = self.heal_index(writer) {
            return vec![Err(error); changes.len()];
        }
        batch.write_shares(writer, changes);
        if self.state() == StoreState::Failed {
            batch.refuse_all();
            return batch.into_answers();
        }
        match batch.write_index(changes, writer) {
            Ok(()) => {
                writer.advance(batch.pack_end(writer), self.pack_len());
                batch.unlink();
            }
            Err(source) => batch.index_failed(writer, changes, &source),
        }
        batch.settle(changes);
        batch.into_answers()
    }
}

impl Store {
    /// Where the index was given up and could not be opened again at once, that is done now.
    fn heal_index(&self, writer: &mut Writer) -> Result<(), PutError> {
        let closed = self.index().health.closed.load(std::sync::atomic::Ordering::Acquire);
        if !closed || self.state() == StoreState::Failed {
            return Ok(());
        }
        let error = |error: Box<redb::Error>| self.index_error("open the index again", *error);
        let index = self.reopen_index().map_err(error)?;
        self.set_totals(index.totals().map_err(error)?);
        let packs = index.packs().map_err(error)?;
        if let Some((_, end)) = packs.into_iter().find(|(pack, _)| *pack == writer.pack) {
            writer.end = Some(end);
        }
        Ok(())
    }
}

/// What a slot's member says to a move, once that is durable.
pub(crate) async fn slot_moved(
    answer: oneshot::Receiver<Answer>,
) -> Result<(Verdict, Option<SlotRow>), PutError> {
    match answered(Some(answer)).await? {
        Outcome::Slot(verdict, row) => Ok((verdict, row)),
        _ => unreachable!("a slot is answered by a verdict"),
    }
}

fn stored(answer: Answer) -> Result<Committed, PutError> {
    match answer? {
        Outcome::Stored(share) => Ok(share),
        _ => unreachable!("a share is answered by its hash"),
    }
}

async fn answered(receiver: Option<oneshot::Receiver<Answer>>) -> Answer {
    match receiver {
        Some(receiver) => receiver.await.unwrap_or(Err(PutError::Failed)),
        None => Err(PutError::Failed),
    }
}

/// How many of the changes that wait go into the next batch.
fn batch_size(waiting: &VecDeque<(Change, oneshot::Sender<Answer>)>) -> usize {
    let (mut len, mut rows) = (0, 0);
    let fits = waiting.iter().take(BATCH_MAX).take_while(|(change, _)| {
        len += change.appended();
        rows += match change {
            Change::Lease { hashes, .. } | Change::Cancel { hashes, .. } => hashes.len(),
            Change::Tidy(_) => BATCH_ROWS_MAX / 4,
            Change::Share(_) | Change::Contact { .. } | Change::Slot(_) => 1,
        };
        len <= BATCH_LEN_MAX && rows <= BATCH_ROWS_MAX
    });
    fits.count().max(1)
}

impl Writer {
    fn advance(&mut self, end: Option<(u32, u64)>, pack_len: u64) {
        if let Some((pack, end)) = end {
            (self.pack, self.end) = if end >= pack_len { (pack + 1, None) } else { (pack, Some(end)) };
        }
    }

    /// The next record begins a new pack.
    pub(crate) fn finish_pack(&mut self) {
        if self.end.take().is_some() {
            self.pack += 1;
        }
    }
}
