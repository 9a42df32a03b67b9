//! Copies of a slot's record on stores that are no members: they decide nothing, and keep the slot readable while members are lost and its
//! writer is away.

use std::collections::BTreeSet;
use std::sync::Arc;

use caps::{Cap, PlacementBucket, RepairKind, VerifyHash};
use encoding::slot::SignedRecord;
use protocol::NodeId;

use super::ask::{Leasing, Round};
use super::error::{MemberFailure, SlotError};
use super::members::Look;
use crate::Client;

/// Of servers that are no members, so many for each member are asked: on a large grid a slot is not everybody's matter.
const PER_MEMBER: usize = 2;

/// Who holds a slot's newest record.
#[derive(Clone, Debug)]
pub struct SlotCopies {
    /// Members that hold it and count.
    pub members: Vec<NodeId>,
    /// Stores that are no members and hold it, those that got it now among them.
    pub copies: Vec<NodeId>,
    /// How many of those got it now.
    pub placed: usize,
    /// Members and others that do not hold it.
    pub failures: Vec<MemberFailure>,
}

impl Client {
    /// Sees to it that `holders` stores hold the newest record of a slot: where fewer members do, others get copies, leased by this account.
    /// Copies that are older are brought up. Needs no more than a verify cap; `None` if the cap is no slot's.
    ///
    /// # Errors
    ///
    /// [`SlotError`]; finding too few stores is none.
    pub async fn keep_copies(&self, cap: &Cap, holders: usize) -> Result<Option<SlotCopies>, SlotError> {
        let at = match cap {
            Cap::Repair(repair) if matches!(repair.kind, RepairKind::Slot { .. }) => {
                Some((repair.hash, repair.bucket))
            }
            cap => match cap.verify() {
                Some(Cap::SlotVerify(verify)) => Some((verify.hash, verify.storage_index.placement_bucket())),
                _ => None,
            },
        };
        match at {
            Some(at) => self.copy_slot(at, holders).await.map(Some),
            None => Ok(None),
        }
    }

    async fn copy_slot(
        &self,
        (hash, bucket): (VerifyHash, PlacementBucket),
        holders: usize,
    ) -> Result<SlotCopies, SlotError> {
        let health = self.slot_health(&hash, bucket, Look::Claims).await?;
        let mut copying = Copying {
            round: Round::new(self, hash, Some(health.record.clone())),
            free: self.free_stores(&health.record, bucket),
            record: health.record,
            copies: BTreeSet::new(),
        };
        copying.look_around().await;
        let lacking = holders.saturating_sub(health.holding.len());
        let placed = copying.place(lacking).await;
        let failures = health.failures.into_iter().chain(copying.round.failures()).collect();
        let copies = copying.copies.into_iter().collect();
        Ok(SlotCopies { members: health.holding, copies, placed, failures })
    }

    /// One store each of the first servers of the order that have no member.
    fn free_stores(&self, record: &SignedRecord, bucket: PlacementBucket) -> Vec<NodeId> {
        let members: BTreeSet<NodeId> = record.members().map(|member| NodeId::new(member.store)).collect();
        let most = PER_MEMBER * members.len();
        self.upload_candidates(bucket)
            .into_iter()
            .filter(|candidate| !candidate.stores.iter().any(|store| members.contains(store)))
            .filter(|candidate| !self.failed_lately(&candidate.server))
            .filter_map(|candidate| candidate.stores.first().copied())
            .take(most)
            .collect()
    }
}

struct Copying {
    round: Round,
    record: Arc<SignedRecord>,
    /// Stores that are no members and hold nothing, in the slot's order.
    free: Vec<NodeId>,
    copies: BTreeSet<NodeId>,
}

impl Copying {
    /// Finds out who has a copy, and brings older ones up.
    async fn look_around(&mut self) {
        self.free.iter().for_each(|store| self.round.read(*store, true));
        while self.round.next().await.is_some() {}
        for store in std::mem::take(&mut self.free) {
            match self.round.shown.get(&store).map(|shown| shown.held) {
                Some(None) => self.free.push(store),
                Some(Some((_, hash))) if hash == self.record.hash() => drop(self.copies.insert(store)),
                // It has state, and takes what is newer without a lease.
                Some(Some(_)) => self.round.accept(store, &self.record, Leasing::IfNew),
                None => {}
            }
        }
        self.take_answers().await;
    }

    /// Gives copies to as many stores as are wanted, others in place of those that do not take one; returns how many took one.
    async fn place(&mut self, lacking: usize) -> usize {
        let before = self.copies.len();
        let mut free = std::mem::take(&mut self.free).into_iter();
        loop {
            let wanted = lacking.saturating_sub(self.copies.len());
            let next: Vec<NodeId> = free.by_ref().take(wanted).collect();
            if next.is_empty() {
                return self.copies.len() - before;
            }
            next.into_iter().for_each(|store| self.round.accept(store, &self.record, Leasing::Always));
            self.take_answers().await;
        }
    }

    async fn take_answers(&mut self) {
        while let Some((store, _)) = self.round.next().await {
            let shown = self.round.shown.get(&store).and_then(|shown| shown.held);
            if shown.is_some_and(|(_, hash)| hash == self.record.hash()) {
                // What it said was no failure: it is no member, and was not meant to be one.
                self.round.failures.remove(&store);
                self.copies.insert(store);
            }
        }
    }
}
