//! Changing a slot: prepare, apply, sign, accept; again if another writer was ahead.

use std::sync::Arc;
use std::time::Duration;

use caps::SlotWrite;
use encoding::Sections;
use encoding::slot::{Ballot, Member, Record, RecordHash, SignedRecord, SlotKey};
use protocol::NodeId;
use protocol::slot_message::Verdict;
use tokio::time::{Instant, timeout};

use super::ask::{Kind, Leasing, Round};
use super::error::{EditError, MemberFailure, SlotError};
use super::prepare::{Prepared, prepare};
use super::stragglers::{Quick, Timed};
use super::{Cell, Edit, SlotBase, open};
use crate::Client;

/// The first wait after another writer was ahead; it doubles, up to the longest, and a random part of it is waited.
const FIRST_WAIT: Duration = Duration::from_millis(4);
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// Who just won against others waits as well, up to this, before its next change: else whoever won once would win always.
const AFTER_WINNING: Duration = Duration::from_millis(80);
/// How long others count as being there after they were noticed.
const CROWDED: Duration = Duration::from_secs(1);
/// How long a change tries again where too few members answer, though a quorum did a moment ago: servers that restart come back, and
/// connections that broke with them are made anew.
const RETURN: Duration = Duration::from_secs(20);

impl Client {
    /// Changes a slot, and returns the record that a quorum made durable.
    ///
    /// # Errors
    ///
    /// [`EditError::Refused`] if the change itself did not want to be made, [`EditError::Slot`]; after [`SlotError::Unknown`] the same
    /// change may be tried again, and must recognise itself in the base.
    pub async fn edit_slot<E: Edit>(
        &self,
        cap: &SlotWrite,
        edit: &mut E,
    ) -> Result<Arc<SignedRecord>, EditError<E::Refusal>> {
        let cell = self.slots().cell(&cap.hash);
        let _mine = cell.writing.lock().await;
        Editing::new(self, cap, &cell).run(edit).await
    }

    /// Remembers what members acknowledged.
    fn acknowledged(&self, record: &Arc<SignedRecord>, round: &Round, cell: &Cell) {
        cell.learn(record);
        cell.made_a_change();
        self.slots().memory.remember(&record.id.hash(), record, &round.shown);
    }
}

/// One change under way.
pub(super) struct Editing<'c> {
    client: &'c Client,
    cap: &'c SlotWrite,
    cell: &'c Arc<Cell>,
    /// The last attempt that was sent and not confirmed.
    in_doubt: Option<SlotError>,
    begun: Instant,
}

/// A ballot that a quorum promised.
struct Begun {
    ballot: Ballot,
    /// The newest record that it showed.
    base: Arc<SignedRecord>,
    /// Whether a quorum showed exactly the base.
    settled: bool,
}

impl<'c> Editing<'c> {
    pub(super) fn new(client: &'c Client, cap: &'c SlotWrite, cell: &'c Arc<Cell>) -> Self {
        Self { client, cap, cell, in_doubt: None, begun: Instant::now() }
    }

    async fn run<E: Edit>(mut self, edit: &mut E) -> Result<Arc<SignedRecord>, EditError<E::Refusal>> {
        let until = Instant::now() + self.client.writers().timeouts().commit;
        let mut attempts = 0;
        if self.cell.known().crowded.is_some_and(|at| at.elapsed() < CROWDED) {
            self.pause(AFTER_WINNING).await;
        }
        loop {
            attempts += 1;
            let begun = match self.begin(attempts).await {
                Ok(Some(begun)) => begun,
                Ok(None) => {
                    self.wait(attempts, until).await?;
                    continue;
                }
                Err(error) if self.may_return(&error) => {
                    self.wait(attempts, until).await?;
                    continue;
                }
                Err(error) => return Err(self.or_doubt(error).into()),
            };
            let key = self.key(&begun.base).map_err(|error| self.or_doubt(error))?;
            if begun.base.tombstone {
                match self.deleted(&key, &begun).await {
                    Ok(deleted) => return Err(deleted.into()),
                    Err(error) => self.in_doubt = Some(error),
                }
                self.wait(attempts, until).await?;
                continue;
            }
            let Begun { ballot, base, settled } = begun;
            let sections = open(&self.cap.to_read(), &base).map_err(|error| self.or_doubt(error))?;
            let of = SlotBase { sections, record: base.clone() };
            let applied = edit.apply(&of).await;
            // What this process sent before may be held by few, unseen now, and still come to pass: until something later is written, nothing
            // is told. A batch of a directory tells its refusals as nothing to do.
            let nothing_pending = self.cell.known().sent <= base.ballot();
            let record = match &applied {
                Ok(Some(sections)) => {
                    let next = self.next_record(&base, ballot, sections);
                    next.map_err(|error| self.or_doubt(error))?
                }
                // Nothing to do, done already, or refused: true only once a quorum holds the base. Few may have accepted it so far.
                Ok(None) if settled && nothing_pending => return Ok(base),
                Err(_) if settled && nothing_pending => {
                    return applied.map(|_| base).map_err(EditError::Refused);
                }
                Ok(None) | Err(_) => successor(&base, ballot, base.payload.clone()),
            };
            match self.accept(&key, record).await {
                Ok(record) => return applied.map(|_| record).map_err(EditError::Refused),
                Err(error) => self.in_doubt = Some(error),
            }
            self.wait(attempts, until).await?;
        }
    }

    /// A change that does not depend on what the payload says: of members, or to a tombstone. `change` is told whether a quorum holds the
    /// base; where it makes nothing of one that none does, the base itself is settled first.
    pub(super) async fn rewrite(
        mut self,
        change: &(dyn Fn(&SignedRecord, Ballot, bool) -> Option<Record> + Sync),
    ) -> Result<Arc<SignedRecord>, SlotError> {
        let until = Instant::now() + self.client.writers().timeouts().commit;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.begin(attempts).await {
                Ok(Some(begun)) if begun.base.tombstone => {
                    let key = self.key(&begun.base).map_err(|error| self.or_doubt(error))?;
                    match self.deleted(&key, &begun).await {
                        Ok(deleted) => return Err(deleted),
                        Err(error) => self.in_doubt = Some(error),
                    }
                }
                Ok(Some(Begun { ballot, base, settled })) => {
                    let key = self.key(&base).map_err(|error| self.or_doubt(error))?;
                    let wanted = change(&base, ballot, settled);
                    let settling = wanted.is_none();
                    let record = wanted.unwrap_or_else(|| successor(&base, ballot, base.payload.clone()));
                    match self.accept(&key, record).await {
                        Ok(_) if settling => continue,
                        Ok(record) => return Ok(record),
                        Err(error) => self.in_doubt = Some(error),
                    }
                }
                Ok(None) => {}
                Err(error) if self.may_return(&error) => {}
                Err(error) => return Err(self.or_doubt(error)),
            }
            self.wait(attempts, until).await?;
        }
    }

    /// Why it ends: if something was sent before, that is what nobody knows the end of. Once the slot is deleted, that is the end.
    fn or_doubt(&mut self, error: SlotError) -> SlotError {
        match error {
            SlotError::Deleted => error,
            error => self.in_doubt.take().unwrap_or(error),
        }
    }

    /// Whether too few members answered, and more of them soon may.
    fn may_return(&self, error: &SlotError) -> bool {
        let quorum_was_there = self.in_doubt.is_some() || self.cell.known().made_a_change;
        matches!(error, SlotError::TooFew { .. }) && quorum_was_there && self.begun.elapsed() < RETURN
    }

    /// A ballot that a quorum promised, and the base it showed; `None` if another writer is ahead.
    async fn begin(&mut self, attempts: u32) -> Result<Option<Begun>, SlotError> {
        if attempts == 1
            && let Some((ballot, base)) = self.cell.take_grant()
        {
            // A quorum held it then. Whether anybody was ahead since shows when the next record is sent, and what sends none has asked nobody.
            return Ok(Some(Begun { ballot, base, settled: false }));
        }
        let known = match self.cell.known().newest {
            Some(known) => known,
            None => {
                let bucket = self.cap.key.read_key().slot_storage_index().placement_bucket();
                self.client.look(&self.cap.hash, bucket, self.cell).await?.record
            }
        };
        let key = self.key(&known)?;
        let seen = self.cell.known().highest;
        // Epochs are raised by records alone; one counter more than others hold in advance with their last accept.
        let highest =
            if seen.epoch == known.ballot().epoch { seen.max(known.ballot()) } else { known.ballot() };
        let ballot = highest.next(self.random()).next(self.random());
        match prepare(self.client, &key, known, ballot).await? {
            Prepared::Base { base, settled } => {
                self.check_rollback(&base)?;
                self.cell.learn(&base);
                self.cell.saw(ballot);
                Ok(Some(Begun { ballot, base, settled }))
            }
            Prepared::Outbid { highest, newest } => {
                self.cell.learn(&newest);
                self.cell.saw(highest);
                self.cell.crowd();
                Ok(None)
            }
        }
    }

    /// What follows from a base that is a tombstone: that the slot was deleted, once a quorum holds it. A deletion that was begun and not
    /// finished is finished by whoever meets it, as any change is.
    async fn deleted(
        &self,
        key: &SlotKey,
        Begun { ballot, base, settled }: &Begun,
    ) -> Result<SlotError, SlotError> {
        if !settled {
            let record = Record { tombstone: true, ..successor(base, *ballot, Vec::new()) };
            self.accept(key, record).await?;
        }
        Ok(SlotError::Deleted)
    }

    /// A base that is older than what this client once saw confirmed is not built upon.
    fn check_rollback(&self, base: &SignedRecord) -> Result<(), SlotError> {
        let memory = &self.client.slots().memory;
        match memory.confirmed(&self.cap.hash) {
            Some(confirmed) if base.ballot() < confirmed => {
                let stores = memory.acknowledged(&self.cap.hash, base.ballot());
                Err(SlotError::RolledBack { stores })
            }
            _ => Ok(()),
        }
    }

    fn next_record(
        &self,
        base: &SignedRecord,
        ballot: Ballot,
        sections: &Sections,
    ) -> Result<Record, SlotError> {
        let read = self.cap.key.read_key();
        let nonces = self.client.random().bytes::<48>();
        let payload = encoding::seal_slot(&read, &base.id.salt, &self.cap.hash, sections, &nonces)?;
        Ok(successor(base, ballot, payload))
    }

    /// Signs a record and sends it to its members, and returns it once a quorum of them made it durable.
    pub(super) async fn accept(&self, key: &SlotKey, record: Record) -> Result<Arc<SignedRecord>, SlotError> {
        let next = record.ballot.next(self.random());
        let record = Arc::new(Record { next: Some(next), ..record }.sign(key));
        let mut round = Round::new(self.client, self.cap.hash, Some(record.clone()));
        self.cell.sends(record.ballot());
        let (later, quick) = self.send(&mut round, &record).await;
        self.cell.saw(round.highest());
        let accepted = |member: &Member| holds(&round, member, &record);
        if record.is_quorum(accepted) {
            let granted = record.is_quorum(|member| {
                let shown = round.shown.get(&NodeId::new(member.store));
                accepted(member) && shown.is_some_and(|shown| shown.promised == next)
            });
            self.client.acknowledged(&record, &round, self.cell);
            if granted && !record.tombstone {
                self.cell.grant(&record, next, quick);
            }
            let stragglers = &self.client.slots().stragglers;
            stragglers.bring_up(self.client, self.cell, &record, later);
            stragglers.hear_out(self.client, round, &record);
            return Ok(record);
        }
        self.cell.crowd();
        if let Some(newer) = round.newest.clone() {
            self.cell.learn(&newer);
        }
        let (count, wanted) = round.count(&record, accepted);
        let failures: Vec<MemberFailure> = round.failures();
        Err(SlotError::Unknown { accepted: count, wanted, failures })
    }

    /// Sends a record until a quorum accepted it, or there is nobody left to wait for. Returns the members it was not sent to, because
    /// those that are quick sufficed, and those that answered.
    async fn send(&self, round: &mut Round, record: &Arc<SignedRecord>) -> (Vec<NodeId>, Quick) {
        // The first record comes to stores that know nothing of the slot.
        let first = record.previous == RecordHash::default();
        let leasing = if first { Leasing::Always } else { Leasing::IfNew };
        let (now, mut later, patience) = self.order(record);
        now.into_iter().for_each(|store| round.accept(store, record, leasing));
        let mut timed = Timed::begin();
        while !record.is_quorum(|member| holds(round, member, record)) {
            if round.is_lost(record, |member| holds(round, member, record)) {
                break;
            }
            let answer = match later.is_empty() {
                true => round.next_in_race().await,
                false => timeout(patience, round.next()).await.ok().flatten(),
            };
            match answer {
                Some((store, Some((Kind::Accept, Verdict::Yes)))) => timed.note(store),
                None if later.is_empty() => break,
                // The few do not suffice.
                _ => later.drain(..).for_each(|store| round.accept(store, record, leasing)),
            }
        }
        (later, timed.end())
    }

    /// To whom a record is sent first, to whom later, and how long the former are waited for. A lone writer's change goes to a quorum of
    /// those that answered its last change first; whatever is not routine goes to all.
    fn order(&self, record: &SignedRecord) -> (Vec<NodeId>, Vec<NodeId>, Duration) {
        let hedge = self.client.writers().timeouts().hedge;
        let known = self.cell.known();
        let alone = known.crowded.is_none_or(|at| at.elapsed() >= CROWDED);
        let routine = alone && !record.tombstone && !record.forced && record.old.is_none();
        let all = record.members().map(|member| NodeId::new(member.store));
        match known.quick.filter(|_| routine) {
            Some(quick) if record.is_quorum(|m| quick.stores.contains(&NodeId::new(m.store))) => {
                let (now, later) = all.partition(|store| quick.stores.contains(store));
                (now, later, quick.patience(hedge))
            }
            _ => (all.collect(), Vec::new(), hedge),
        }
    }

    /// Waits a random while before the next attempt.
    async fn wait(&mut self, attempts: u32, until: Instant) -> Result<(), SlotError> {
        if Instant::now() >= until {
            return Err(self.in_doubt.take().unwrap_or(SlotError::Contention { attempts }));
        }
        let longest = FIRST_WAIT.saturating_mul(1 << attempts.min(10)).min(LONGEST_WAIT);
        self.pause(longest).await;
        Ok(())
    }

    /// Sleeps a random part of this.
    async fn pause(&self, longest: Duration) {
        let [byte] = self.client.random().bytes::<1>();
        tokio::time::sleep(longest.mul_f64(f64::from(byte) / 255.0)).await;
    }

    /// The key that signs this slot's records; a cap whose W and H do not belong together has none.
    pub(super) fn key(&self, record: &SignedRecord) -> Result<SlotKey, SlotError> {
        let key = SlotKey::of(&self.cap.key, record.id.salt, record.id.genesis);
        if key.hash() == self.cap.hash { Ok(key) } else { Err(SlotError::WrongKey) }
    }

    pub(super) fn random(&self) -> [u8; 16] {
        self.client.random().bytes()
    }
}

/// Whether the member showed that it holds exactly this record.
fn holds(round: &Round, member: &Member, record: &SignedRecord) -> bool {
    round.shown.get(&NodeId::new(member.store)).is_some_and(|shown| shown.holds(member, record))
}

/// The record after `base`, with the same members.
pub(super) fn successor(base: &SignedRecord, ballot: Ballot, payload: Vec<u8>) -> Record {
    Record {
        id: base.id.clone(),
        ballot,
        config: base.config.clone(),
        old: base.old.clone(),
        previous: base.hash(),
        tombstone: false,
        forced: false,
        next: None,
        payload,
    }
}
