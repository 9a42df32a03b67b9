//! Reading a slot: confirmed when a quorum holds exactly the newest record, brought about if need be by sending it on.

use std::collections::BTreeSet;
use std::sync::Arc;

use caps::{PlacementBucket, SlotRead, VerifyHash};
use encoding::slot::{Member, RecordHash, SignedRecord};
use protocol::NodeId;
use tokio::time::{Instant, timeout, timeout_at};

use super::ask::{Leasing, Round};
use super::error::SlotError;
use super::stragglers::{Quick, Timed};
use super::{Cell, Freshness, SlotView, open};
use crate::Client;

impl Client {
    /// What a slot holds.
    ///
    /// # Errors
    ///
    /// [`SlotError`]; being unable to confirm is none: the view says so.
    pub async fn read_slot(&self, cap: &SlotRead) -> Result<SlotView, SlotError> {
        let bucket = cap.key.slot_storage_index().placement_bucket();
        let cell = self.slots().cell(&cap.hash);
        let seen = self.look(&cap.hash, bucket, &cell).await?;
        let sections = match open(cap, &seen.record) {
            Err(SlotError::Deleted) => return Err(seen.deleted()),
            opened => opened?,
        };
        let Seen { record, freshness, forgetful, .. } = seen;
        self.slots().doubts.note(freshness, &forgetful);
        Ok(SlotView { sections, record, freshness, forgetful })
    }

    /// The record that a slot held when this process last saw it confirmed, unless it saw a newer one since. Nobody is asked.
    pub(crate) fn known_record(&self, cap: &SlotRead) -> Option<Arc<SignedRecord>> {
        let newest = self.slots().cell(&cap.hash).known().newest?;
        let confirmed = self.slots().memory.confirmed(&cap.hash)?;
        (confirmed >= newest.ballot()).then_some(newest)
    }

    /// What such a record says.
    ///
    /// # Errors
    ///
    /// [`SlotError::Deleted`], and of what the cap does not open.
    pub(crate) fn slot_of(&self, cap: &SlotRead, record: Arc<SignedRecord>) -> Result<SlotView, SlotError> {
        let sections = open(cap, &record)?;
        Ok(SlotView { sections, record, freshness: Freshness::NewestSeen, forgetful: Vec::new() })
    }

    /// The hash of the record that a slot holds, and how sure that is.
    ///
    /// # Errors
    ///
    /// As [`Client::read_slot`].
    pub(crate) async fn slot_version(&self, cap: &SlotRead) -> Result<(RecordHash, Freshness), SlotError> {
        let bucket = cap.key.slot_storage_index().placement_bucket();
        let seen = self.look(&cap.hash, bucket, &self.slots().cell(&cap.hash)).await?;
        self.slots().doubts.note(seen.freshness, &seen.forgetful);
        Ok((seen.record.hash(), seen.freshness))
    }

    /// Finds the newest record and how sure it is.
    pub(super) async fn look(
        &self,
        hash: &VerifyHash,
        bucket: PlacementBucket,
        cell: &Cell,
    ) -> Result<Seen, SlotError> {
        let mut looking = Looking::new(self, hash, cell);
        if looking.round.newest.is_none() {
            looking.search(bucket).await?;
        }
        loop {
            looking.ask_members().await;
            if !looking.is_confirmed() {
                looking.send_on().await;
            }
            if looking.is_confirmed() || !looking.search_on(bucket).await {
                break;
            }
        }
        let seen = looking.finish()?;
        cell.learn(&seen.record);
        Ok(seen)
    }
}

/// The newest record, and how sure it is.
pub(super) struct Seen {
    pub(super) record: Arc<SignedRecord>,
    pub(super) freshness: Freshness,
    pub(super) forgetful: Vec<super::Forgetful>,
    /// How many of its members hold it and count.
    holding: usize,
}

impl Seen {
    /// What a tombstone says: that the slot was deleted, once a quorum holds it. It may else vanish as any other record.
    fn deleted(&self) -> SlotError {
        match self.freshness {
            Freshness::Confirmed => SlotError::Deleted,
            Freshness::NewestSeen => {
                let wanted = self.record.config.quorum.into();
                SlotError::TooFew { reached: self.holding, wanted, failures: Vec::new() }
            }
        }
    }
}

struct Looking<'c> {
    client: &'c Client,
    hash: VerifyHash,
    cell: &'c Cell,
    round: Round,
    asked: BTreeSet<NodeId>,
    /// Servers that were asked for any of their stores.
    searched: BTreeSet<NodeId>,
}

impl<'c> Looking<'c> {
    fn new(client: &'c Client, hash: &VerifyHash, cell: &'c Cell) -> Self {
        let round = Round::new(client, *hash, cell.known().newest);
        Self { client, hash: *hash, cell, round, asked: BTreeSet::new(), searched: BTreeSet::new() }
    }

    /// Asks servers in the order in which they would have become members, all of them if need be.
    async fn search(&mut self, bucket: PlacementBucket) -> Result<(), SlotError> {
        let first = usize::from(self.client.params().total());
        let remembered = self.client.slots().memory.stores(&self.hash);
        let mut servers: Vec<NodeId> = remembered.iter().filter_map(|store| self.server_of(store)).collect();
        servers.extend(self.client.grid().candidates(bucket).into_iter().map(|candidate| candidate.server));
        let mut once = BTreeSet::new();
        servers.retain(|server| once.insert(*server));
        let total = servers.len();
        let mut answered = 0;
        for wave in servers.chunks(first.max(1)) {
            for server in wave {
                self.searched.insert(*server);
                self.round.search(self.client.grid().server(server));
            }
            while let Some((store, _)) = self.round.next().await {
                answered += usize::from(self.round.shown.contains_key(&store));
                self.asked.insert(store);
                if self.round.newest.is_some() {
                    return Ok(());
                }
            }
        }
        tracing::debug!(total, answered, "nobody has the slot");
        Err(SlotError::NotFound { asked: answered, failures: self.round.failures() })
    }

    /// Asks all servers that were not asked yet: copies on stores that are no members, and members of a later config, may show a newer
    /// record than those that answered. Whether one does.
    async fn search_on(&mut self, bucket: PlacementBucket) -> bool {
        let before = self.newest().map(|record| record.hash());
        let members: BTreeSet<NodeId> = self.asked.iter().filter_map(|store| self.server_of(store)).collect();
        for candidate in self.client.grid().candidates(bucket) {
            let id = candidate.server;
            if !members.contains(&id) && !self.client.failed_lately(&id) && self.searched.insert(id) {
                self.round.search(self.client.grid().server(&id));
            }
        }
        while let Some((store, _)) = self.round.next().await {
            self.asked.insert(store);
        }
        self.newest().map(|record| record.hash()) != before
    }

    fn server_of(&self, store: &NodeId) -> Option<NodeId> {
        self.client.grid().server_of(store).map(|server| server.id)
    }

    /// Asks the members of the newest record, and those of newer ones that show up, until a quorum holds the newest or all have answered.
    async fn ask_members(&mut self) {
        // A few show their record whole; of the others, ballot and hash will do.
        const WHOLE: usize = 2;
        let mut few = self.few();
        let hedge = self.client.readers().timeouts().hedge;
        let mut timed = Timed::begin();
        let until = few.as_ref().map(|few| Instant::now() + few.patience(hedge));
        loop {
            let members: Vec<Member> =
                self.newest().map(|r| r.members().copied().collect()).unwrap_or_default();
            let (known, mut later) = (self.round.newest.is_some(), false);
            for (index, member) in members.iter().enumerate() {
                let store = NodeId::new(member.store);
                if self.asked.contains(&store) {
                    continue;
                }
                if few.as_ref().is_some_and(|few| !few.stores.contains(&store)) {
                    later = true;
                    continue;
                }
                self.asked.insert(store);
                self.round.read(store, known && index >= WHOLE);
            }
            for store in std::mem::take(&mut self.round.to_fetch) {
                self.round.read(store, false);
            }
            if self.is_confirmed() {
                self.cell.answered(Some(timed.end().within(few)));
                return;
            }
            let answer = match until.filter(|_| later) {
                Some(until) => timeout_at(until, self.round.next()).await.ok().flatten(),
                None => self.round.next().await,
            };
            match answer {
                None if !later => break,
                Some((store, _)) if self.shows_newest(&store) => timed.note(store),
                // The few do not suffice. How long they were waited for says nothing of the others.
                _ if few.take().is_some() => {
                    self.cell.answered(None);
                    timed.begin_again();
                }
                _ => {}
            }
        }
        self.cell.answered(None);
    }

    /// Whom to ask first: those that answered the last change or read first, if they make a quorum, as long as each of them holds what is
    /// known. That is how it nearly always is. `None`: all.
    fn few(&self) -> Option<Quick> {
        let (newest, known) = (self.newest()?, self.cell.known());
        let there = |store: &NodeId| {
            let server = self.client.grid().server_of(store);
            server.is_some_and(|server| !self.client.failed_lately(&server.id))
        };
        let suffice = |quick: &Quick| {
            newest.is_quorum(|member| quick.stores.contains(&NodeId::new(member.store)))
                && quick.stores.iter().all(there)
        };
        [known.prompt, known.quick].into_iter().flatten().find(suffice)
    }

    /// Whether this member answered that it holds exactly the newest record.
    fn shows_newest(&self, store: &NodeId) -> bool {
        let Some(newest) = self.newest() else { return false };
        let shown = self.round.shown.get(store);
        newest.members().any(|member| {
            member.store == *store.as_bytes() && shown.is_some_and(|shown| shown.holds(member, newest))
        })
    }

    fn newest(&self) -> Option<&Arc<SignedRecord>> {
        self.round.newest.as_ref()
    }

    fn is_confirmed(&self) -> bool {
        let Some(newest) = self.newest() else { return false };
        let shown = &self.round.shown;
        newest.is_quorum(|member| {
            shown.get(&NodeId::new(member.store)).is_some_and(|shown| shown.holds(member, newest))
        })
    }

    /// Sends the newest record to the members that lack it: it is the writer's own accept, sent once more.
    async fn send_on(&mut self) {
        let Some(newest) = self.newest().cloned() else { return };
        let lacking: Vec<NodeId> = newest
            .members()
            .filter(|member| {
                let shown = self.round.shown.get(&NodeId::new(member.store));
                shown.is_some_and(|shown| !shown.holds(member, &newest))
            })
            .map(|member| NodeId::new(member.store))
            .collect();
        for store in lacking {
            self.round.accept(store, &newest, Leasing::Never);
        }
        let patience = self.client.writers().timeouts().answer;
        while !self.is_confirmed() {
            match timeout(patience, self.round.next()).await {
                Ok(Some(_)) if self.newest().is_some_and(|now| now.hash() == newest.hash()) => {}
                _ => break,
            }
        }
    }

    fn finish(mut self) -> Result<Seen, SlotError> {
        self.cell.saw(self.round.highest());
        let confirmed = self.is_confirmed();
        self.round.leave();
        let Some(record) = self.round.newest.clone() else {
            return Err(SlotError::NotFound {
                asked: self.round.shown.len(),
                failures: self.round.failures(),
            });
        };
        let memory = &self.client.slots().memory;
        let forgetful = memory.forgetful(&self.hash, &record, &self.round.shown);
        // Behind what this client once confirmed, nothing is confirmed.
        let rolled_back = memory.confirmed(&self.hash).is_some_and(|ballot| record.ballot() < ballot);
        let freshness = match confirmed && !rolled_back {
            true => Freshness::Confirmed,
            false => Freshness::NewestSeen,
        };
        if freshness == Freshness::Confirmed {
            memory.remember(&self.hash, &record, &self.round.shown);
        }
        let (holding, _) = self.round.count(&record, |member| {
            let shown = self.round.shown.get(&NodeId::new(member.store));
            shown.is_some_and(|shown| shown.holds(member, &record))
        });
        Ok(Seen { record, freshness, forgetful, holding })
    }
}
