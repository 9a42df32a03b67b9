//! Looking after a slot's members: which hold it, sending it on to those that lack it, replacing those that are lost, deleting it.

use std::sync::Arc;

use caps::{PlacementBucket, SlotRead, SlotVerify, SlotWrite, VerifyHash};
use encoding::slot::{Ballot, Config, Member, Record, SignedRecord};
use protocol::NodeId;

use super::Freshness;
use super::ask::{Leasing, Round};
use super::error::{MemberFailure, SlotError};
use super::read::Seen;
use super::write::{Editing, successor};
use crate::Client;

/// A change of members takes two steps, and more where others change them at the same time.
const STEPS_MAX: u32 = 16;

/// How a slot's members are.
#[derive(Clone, Debug)]
pub struct SlotHealth {
    /// The newest record.
    pub record: Arc<SignedRecord>,
    /// Members that hold it and count.
    pub holding: Vec<NodeId>,
    /// Stores that keep it and do not count: they are blank, or were left by a membership change.
    pub kept: Vec<NodeId>,
    /// Members that do not hold it.
    pub failures: Vec<MemberFailure>,
}

/// What members are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// Whether they hold the newest record: they may say so having lost it.
    Claims,
    /// The record that they hold, whole.
    Records,
    /// To take the newest record where they lack it.
    Restore,
}

impl SlotHealth {
    /// How many more members may be lost before writing stops; negative if it has.
    pub fn spare(&self) -> i64 {
        self.holding.len() as i64 - i64::from(self.record.config.quorum)
    }
}

impl Client {
    /// Sends the newest record to all members that lack it. Needs no more than the verify cap: it is the writer's own accept, sent again.
    ///
    /// # Errors
    ///
    /// [`SlotError`].
    pub async fn restore_slot(&self, cap: &SlotVerify) -> Result<SlotHealth, SlotError> {
        self.slot_health(&cap.hash, cap.storage_index.placement_bucket(), Look::Restore).await
    }

    /// The newest record of a slot of which no more than H is known.
    pub(crate) async fn newest_record(
        &self,
        hash: &VerifyHash,
        bucket: PlacementBucket,
    ) -> Result<Arc<SignedRecord>, SlotError> {
        let cell = self.slots().cell(hash);
        Ok(self.look(hash, bucket, &cell).await?.record)
    }

    /// The same, and how sure it is.
    pub(crate) async fn record_and_freshness(
        &self,
        hash: &VerifyHash,
        bucket: PlacementBucket,
    ) -> Result<(Arc<SignedRecord>, super::Freshness), SlotError> {
        let cell = self.slots().cell(hash);
        let seen = self.look(hash, bucket, &cell).await?;
        Ok((seen.record, seen.freshness))
    }

    /// How a slot's members are.
    pub(crate) async fn slot_health(
        &self,
        hash: &VerifyHash,
        bucket: PlacementBucket,
        look: Look,
    ) -> Result<SlotHealth, SlotError> {
        let cell = self.slots().cell(hash);
        let record = self.look(hash, bucket, &cell).await?.record;
        let mut round = Round::new(self, *hash, Some(record.clone()));
        for member in record.members() {
            let store = NodeId::new(member.store);
            match look {
                _ if !round.is_there(&store) => {}
                Look::Restore => round.accept(store, &record, Leasing::IfNew),
                Look::Claims => round.read(store, true),
                Look::Records => round.read_whole(store),
            }
        }
        while round.next().await.is_some() {}
        let (mut holding, mut kept) = (Vec::new(), Vec::new());
        for member in record.members() {
            let store = NodeId::new(member.store);
            let Some(shown) = round.shown.get(&store) else { continue };
            if shown.holds(member, &record) {
                holding.push(store);
                round.failures.remove(&store);
            } else if shown.held.is_some_and(|(_, hash)| hash == record.hash()) {
                kept.push(store);
            }
        }
        Ok(SlotHealth { holding, kept, failures: round.failures(), record })
    }

    /// The members that this slot would have if it were made now: the first live stores in its order, one of each server.
    ///
    /// # Errors
    ///
    /// [`SlotError::NotHappy`].
    pub async fn live_members(&self, cap: &SlotWrite) -> Result<Vec<Member>, SlotError> {
        let bucket = cap.key.read_key().slot_storage_index().placement_bucket();
        Ok(self.first_members(self.upload_candidates(bucket)).await?.members)
    }

    /// Replaces a slot's members by `members`: by a joint record of old and new, then one of the new alone.
    ///
    /// # Errors
    ///
    /// [`SlotError`]; too few of the old members within reach is [`SlotError::TooFew`], and needs [`Client::force_members`].
    pub async fn change_members(
        &self,
        cap: &SlotWrite,
        members: Vec<Member>,
        happy: usize,
    ) -> Result<Arc<SignedRecord>, SlotError> {
        let quorum = encoding::slot::usual_quorum(members.len(), happy);
        let new = checked(Config { members, quorum })?;
        let cell = self.slots().cell(&cap.hash);
        let _mine = cell.writing.lock().await;
        let step = |base: &SignedRecord, ballot: Ballot, settled: bool| {
            let same = || successor(base, ballot, base.payload.clone());
            match &base.old {
                // The old members are let go only from a joint record that a quorum of both is known to hold. From one that was never
                // chosen, they could go on without the new ones.
                Some(_) => settled.then(|| Record { old: None, ..same() }),
                None if base.config == new => Some(same()),
                None => Some(Record { config: new.clone(), old: Some(base.config.clone()), ..same() }),
            }
        };
        let mut left = Vec::new();
        for _ in 0..STEPS_MAX {
            let record = Editing::new(self, cap, &cell).rewrite(&step).await?;
            match &record.old {
                Some(old) => left.extend(old.members.iter().copied()),
                None if record.config == new => {
                    self.forward(&left, &record).await;
                    return Ok(record);
                }
                None => {}
            }
        }
        Err(SlotError::Contention { attempts: STEPS_MAX })
    }

    /// Shows the members that were left where to go on. They keep it and do not count; none is needed.
    async fn forward(&self, left: &[Member], record: &Arc<SignedRecord>) {
        let mut round = Round::new(self, record.id.hash(), Some(record.clone()));
        for member in left.iter().filter(|member| !record.names(&member.store)) {
            let store = NodeId::new(member.store);
            if round.is_there(&store) {
                round.accept(store, record, Leasing::Never);
            }
        }
        while round.next().await.is_some() {}
    }

    /// Begins a new epoch with `members`, without asking the members before: for when too many of them are lost for good. Changes that only
    /// those acknowledged are lost, and two who force at once may undo each other.
    ///
    /// # Errors
    ///
    /// [`SlotError`].
    pub async fn force_members(
        &self,
        cap: &SlotWrite,
        members: Vec<Member>,
        happy: usize,
    ) -> Result<Arc<SignedRecord>, SlotError> {
        let quorum = encoding::slot::usual_quorum(members.len(), happy);
        let config = checked(Config { members, quorum })?;
        let cell = self.slots().cell(&cap.hash);
        let _mine = cell.writing.lock().await;
        let bucket = cap.key.read_key().slot_storage_index().placement_bucket();
        let base = self.look(&cap.hash, bucket, &cell).await?.record;
        let editing = Editing::new(self, cap, &cell);
        let absurd = || SlotError::Members { reason: "no higher epoch is left".to_owned() };
        let epoch = base.ballot().epoch.checked_add(1).ok_or_else(absurd)?;
        let ballot = Ballot { epoch, counter: 1, random: editing.random() };
        let record = Record {
            config,
            old: None,
            forced: true,
            tombstone: base.tombstone,
            ..successor(&base, ballot, base.payload.clone())
        };
        let key = editing.key(&base)?;
        editing.accept(&key, record).await
    }

    /// Deletes a slot: its record becomes a tombstone, final in its epoch.
    ///
    /// # Errors
    ///
    /// [`SlotError`].
    pub async fn delete_slot(&self, cap: &SlotWrite) -> Result<(), SlotError> {
        let tombstone = |base: &SignedRecord, ballot, _| {
            Some(Record { tombstone: true, ..successor(base, ballot, Vec::new()) })
        };
        let cell = self.slots().cell(&cap.hash);
        let _mine = cell.writing.lock().await;
        match Editing::new(self, cap, &cell).rewrite(&tombstone).await {
            Ok(_) | Err(SlotError::Deleted) => {
                self.slots().memory.forget(&cap.hash);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The newest record, found as a read finds it, and how sure that is: it is sent on to members that lack it where that is needed to
    /// confirm it. Its payload is not opened.
    ///
    /// # Errors
    ///
    /// [`SlotError`].
    pub async fn slot_record(&self, cap: &SlotRead) -> Result<(Arc<SignedRecord>, Freshness), SlotError> {
        let cell = self.slots().cell(&cap.hash);
        let bucket = cap.key.slot_storage_index().placement_bucket();
        let Seen { record, freshness, forgetful, .. } = self.look(&cap.hash, bucket, &cell).await?;
        self.slots().doubts.note(freshness, &forgetful);
        Ok((record, freshness))
    }
}

fn checked(config: Config) -> Result<Config, SlotError> {
    config.check().map_err(|error| SlotError::Members { reason: error.to_string() })?;
    Ok(config)
}
