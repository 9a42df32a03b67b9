//! Draining: every share of this server is brought to another one, which proves that it has it. Nothing is taken away here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caps::VerifyHash;
use encoding::slot::SignedRecord;
use protocol::NodeId;
use protocol::message::StoreState;
use protocol::placement::{Holders, happiness};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Handover;
use super::give::{GiveError, Load};
use super::others::Other;
use super::plan::{Place, new_home, order};
use super::progress::{Cursor, Order, PROBLEMS_MAX, Phase, Progress};
use crate::error::ReadError;
use crate::index::{IndexResult, ShareKey, Stocked};
use crate::store::{Store, lock};

/// Objects that are asked about together.
const CHUNK: usize = 256;
/// Objects that are handed over at once.
const AT_ONCE: usize = 8;
/// How often it is written down how far it is.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// What nobody takes is offered again after this, and then after ever longer times.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_MOST: Duration = Duration::from_secs(300);
/// How often it is counted again, once everything is in other hands.
const RECOUNT_EVERY: Duration = Duration::from_secs(600);
/// Objects that are remembered because they are not done. If there are more, all are looked at again.
const OPEN_MAX: usize = 100_000;

/// What a pass through the stores is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// Hand over what is not proved to be elsewhere.
    Give,
    /// Ask who has what, and no more.
    Count,
}

/// What is not done of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Rest {
    /// Shares that nobody takes.
    left: u64,
    /// It would be on fewer servers.
    crowded: bool,
}

/// A drain under way.
struct Draining {
    progress: Progress,
    begun: Instant,
    noted: Instant,
    open: BTreeMap<VerifyHash, Rest>,
    /// There is more that is not done than is remembered.
    overflowed: bool,
    /// What could not be read in this pass: while there is any of it, nobody knows whether everything was handed over.
    unread: BTreeSet<String>,
    /// What a pass through all of it came to, as far as it is.
    counted: Done,
    damaged: BTreeSet<ShareKey>,
}

/// What one pass knows of the grid.
struct Pass {
    going: BTreeSet<NodeId>,
    places: Vec<Place>,
    names: BTreeMap<NodeId, String>,
    /// Servers that took something not, and why: they are not asked again in this pass.
    refused: Mutex<BTreeMap<NodeId, String>>,
}

/// What became of one object.
#[derive(Default)]
struct Done {
    shares: u64,
    bytes: u64,
    sent: u64,
    unwanted: u64,
    damaged: Vec<ShareKey>,
    rest: Rest,
}

impl Handover {
    /// Hands everything over, and keeps an eye on it until the order is taken back.
    pub(super) async fn drain(self: &Arc<Self>) {
        let mut draining = self.resume_drain();
        let mut wait = RETRY_FIRST;
        let mut way = if draining.progress.phase == Phase::Complete { Way::Count } else { Way::Give };
        loop {
            self.giver.others.refresh(self.now()).await;
            if self.walk(&mut draining, way, None).await.is_none() {
                return;
            }
            while !draining.is_through() {
                self.note(&mut draining, Phase::Waiting);
                if self.pause(wait).await.is_none() {
                    return;
                }
                wait = (wait * 2).min(RETRY_MOST);
                self.giver.others.refresh(self.now()).await;
                let all = draining.overflowed || !draining.unread.is_empty();
                let again = (!all).then(|| std::mem::take(&mut draining.open));
                let again: Option<Vec<VerifyHash>> = again.map(|open| open.into_keys().collect());
                if self.walk(&mut draining, Way::Give, again).await.is_none() {
                    return;
                }
                way = Way::Give;
            }
            wait = RETRY_FIRST;
            // Before anybody switches it off, everybody is asked once more.
            if way == Way::Count {
                self.note(&mut draining, Phase::Complete);
                if self.pause(RECOUNT_EVERY).await.is_none() {
                    return;
                }
            }
            way = Way::Count;
        }
    }

    fn resume_drain(&self) -> Draining {
        let old = Order::Drain.how_far(&*self.dir).ok().flatten();
        let (mut shares, mut bytes) = (0, 0);
        for status in self.server.stores.iter().map(|store| store.status()) {
            (shares, bytes) = (shares + status.shares, bytes + status.used);
        }
        // What could not be done is not written down: then it is looked for from the beginning.
        let goes_on = |old: &Progress| {
            old.phase == Phase::Complete
                || old.phase == Phase::HandingOver && old.left == 0 && old.crowded == 0
        };
        let mut progress = match old.filter(goes_on) {
            Some(old) => Progress { run_s: 0, run_bytes: 0, sent_bytes: 0, problems: Vec::new(), ..old },
            None => Progress { shares, bytes, ..Progress::default() },
        };
        progress.slots = self.count_slots().unwrap_or_default();
        let now = Instant::now();
        let draining = Draining {
            progress,
            begun: now,
            noted: now,
            open: BTreeMap::new(),
            overflowed: false,
            unread: BTreeSet::new(),
            counted: Done::default(),
            damaged: BTreeSet::new(),
        };
        tracing::info!(shares, bytes, "draining: the stores take nothing new");
        draining
    }

    /// Slots of which a store of ours is a member that counts.
    fn count_slots(&self) -> IndexResult<u64> {
        let of_store = |store: &Arc<Store>| {
            let member = store.member();
            let counts = |hash: &VerifyHash, row: &crate::slot::SlotRow| {
                let record = SignedRecord::parse_trusted(hash, &row.held.bytes);
                !row.held.tombstone && record.is_ok_and(|record| record.counts(&member))
            };
            store.index().count_slots(counts)
        };
        self.server.stores.iter().map(of_store).sum()
    }

    /// In which store to go on and after which object, if there is such a store.
    fn cursor(&self, progress: &Progress) -> Option<(NodeId, Option<VerifyHash>)> {
        let cursor = progress.cursor.as_ref()?;
        let store = cursor.store.parse::<NodeId>().ok()?;
        let after = cursor.after.parse::<NodeId>().ok();
        let known = self.server.stores.iter().any(|at| at.id() == store);
        known.then(|| (store, after.map(|hash| VerifyHash::new(*hash.as_bytes()))))
    }

    /// Waits, or no longer than until the order is given anew; `None` if it was taken back meanwhile.
    async fn pause(&self, time: Duration) -> Option<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            tokio::time::sleep(super::LOOK_EVERY).await;
            if !self.is_told(Order::Drain) {
                return None;
            }
            if Order::Drain.is_repeated(&*self.dir) {
                break;
            }
        }
        Some(())
    }

    /// Writes down how far it is.
    fn note(&self, draining: &mut Draining, phase: Phase) {
        let progress = &mut draining.progress;
        progress.phase = phase;
        progress.left = draining.open.values().map(|rest| rest.left).sum();
        progress.crowded = draining.open.values().filter(|rest| rest.crowded).count() as u64;
        progress.damaged = draining.damaged.len() as u64;
        progress.run_s = draining.begun.elapsed().as_secs();
        progress.updated_s = self.now().as_secs();
        draining.noted = Instant::now();
        if phase != Phase::HandingOver {
            let Progress { left, crowded, slots, .. } = *progress;
            // It says what was counted last, if that cannot be read now.
            progress.slots = self.count_slots().unwrap_or(slots);
            let slots = progress.slots;
            tracing::info!(?phase, left, crowded, slots, "draining");
        }
        // Without it, it is found out again what is done.
        if let Err(error) = Order::Drain.write(&*self.dir, progress) {
            tracing::warn!(%error, "how far the drain is cannot be written down");
        }
    }

    /// Goes through all objects, or those in `only`; `None` if the order was taken back.
    async fn walk(
        self: &Arc<Self>,
        draining: &mut Draining,
        way: Way,
        only: Option<Vec<VerifyHash>>,
    ) -> Option<()> {
        let pass = Arc::new(Pass::new(&self.giver.others.all()));
        draining.overflowed = false;
        draining.unread.clear();
        let mut from = if only.is_none() { self.cursor(&draining.progress) } else { None };
        if only.is_none() && from.is_none() {
            draining.counted = Done::default();
        }
        for store in &self.server.stores {
            if from.as_ref().is_some_and(|(at, _)| *at != store.id()) {
                continue;
            }
            if store.state() == StoreState::Failed {
                draining.unread.insert(failed(&store.id()));
                continue;
            }
            let mut after = from.take().and_then(|(_, after)| after);
            let mut wanted = only.iter().flatten().copied();
            loop {
                if !self.is_told(Order::Drain) {
                    return None;
                }
                let chunk = match &only {
                    Some(_) => self.these(store, wanted.by_ref().take(CHUNK).collect()).await,
                    None => self.next_chunk(store, after).await,
                };
                let chunk = match chunk {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => break,
                    Err(error) => {
                        draining.cannot_read(store, &error);
                        break;
                    }
                };
                after = chunk.last().map(|object| object.hash).or(after);
                if let Err(error) = self.chunk(draining, &pass, store, chunk, way).await {
                    draining.cannot_read(store, &error);
                }
                if only.is_none() {
                    let after = after.map(|hash| hash.to_string()).unwrap_or_default();
                    draining.progress.cursor = Some(Cursor { store: store.id().to_string(), after });
                }
                if draining.noted.elapsed() >= NOTE_EVERY {
                    self.note(draining, Phase::HandingOver);
                }
            }
        }
        if only.is_none() {
            draining.progress.cursor = None;
            if way == Way::Count {
                draining.set_counted();
            }
        }
        let refused = lock(&pass.refused).clone();
        let told = refused.iter().map(|(server, reason)| format!("{}: {reason}", pass.name(server)));
        // A store that did not open at all is not among the server's.
        let absent =
            self.server.status().stores.into_iter().filter(|store| store.state == StoreState::Failed);
        draining.unread.extend(absent.map(|store| failed(&store.id)));
        draining.progress.problems = draining.unread.iter().cloned().chain(told).take(PROBLEMS_MAX).collect();
        Some(())
    }

    /// The next objects of a store; `None` once there are no more.
    ///
    /// # Errors
    ///
    /// The index cannot be read.
    pub(super) async fn next_chunk(
        &self,
        store: &Arc<Store>,
        after: Option<VerifyHash>,
    ) -> IndexResult<Option<Vec<Stocked>>> {
        let at = store.clone();
        let read = move || at.index().objects_after(after, CHUNK, at.uptime_s(), at.idle_s());
        let chunk = self.server.pool.run(read).await?;
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    /// These objects, as far as there is anything of them; `None` if none is asked for.
    async fn these(&self, store: &Arc<Store>, hashes: Vec<VerifyHash>) -> IndexResult<Option<Vec<Stocked>>> {
        if hashes.is_empty() {
            return Ok(None);
        }
        let at = store.clone();
        let read = move || {
            let index = at.index();
            let object = |hash: &VerifyHash| index.object(*hash, at.uptime_s(), at.idle_s()).transpose();
            hashes.iter().filter_map(object).collect::<IndexResult<_>>()
        };
        self.server.pool.run(read).await.map(Some)
    }

    async fn chunk(
        self: &Arc<Self>,
        draining: &mut Draining,
        pass: &Arc<Pass>,
        store: &Arc<Store>,
        chunk: Vec<Stocked>,
        way: Way,
    ) -> Result<(), ReadError> {
        let hashes: Vec<VerifyHash> = chunk.iter().map(|object| object.hash).collect();
        let counted = self.giver.others.census(&hashes).await;
        let mut own = self.own_numbers(&hashes).await?;
        let (mut holders, mut tasks) = (counted.holders, JoinSet::new());
        for mut object in chunk {
            // Nobody can have what is damaged here: it is told of, and not waited for.
            let good = |key: &ShareKey| way == Way::Give || !draining.damaged.contains(key);
            object.shares.retain(|(key, _)| good(key));
            let mut own = own.remove(&object.hash).unwrap_or_default();
            own.retain(|number| good(&ShareKey { hash: object.hash, number: *number }));
            let holders = holders.remove(&object.hash).unwrap_or_default();
            if tasks.len() >= AT_ONCE
                && let Some(Ok((hash, done))) = tasks.join_next().await
            {
                draining.take_in(hash, done, way);
            }
            let (handover, pass, store) = (self.clone(), pass.clone(), store.clone());
            tasks.spawn(async move {
                let hash = object.hash;
                (hash, handover.object(&pass, &store, object, own, holders, way).await)
            });
        }
        while let Some(finished) = tasks.join_next().await {
            if let Ok((hash, done)) = finished {
                draining.take_in(hash, done, way);
            }
        }
        Ok(())
    }

    /// The numbers of the shares that all our stores have of these objects.
    ///
    /// # Errors
    ///
    /// The index of one of them cannot be read.
    pub(super) async fn own_numbers(
        &self,
        hashes: &[VerifyHash],
    ) -> Result<BTreeMap<VerifyHash, BTreeSet<u16>>, ReadError> {
        let (stores, hashes) = (self.server.stores.clone(), hashes.to_vec());
        let read = move || {
            let mut own: BTreeMap<VerifyHash, BTreeSet<u16>> = BTreeMap::new();
            for store in &stores {
                for (hash, numbers) in hashes.iter().zip(store.numbers_of(&hashes)?) {
                    own.entry(*hash).or_default().extend(numbers);
                }
            }
            Ok(own)
        };
        self.server.pool.run(read).await
    }

    /// Brings the shares of one object in one store to other servers.
    async fn object(
        &self,
        pass: &Pass,
        store: &Arc<Store>,
        object: Stocked,
        own: BTreeSet<u16>,
        holders: Holders,
        way: Way,
    ) -> Done {
        let mut done = Done::default();
        let Some(wanted_s) = object.wanted_s else {
            done.unwanted = object.shares.len() as u64;
            return done;
        };
        let lease_s = wanted_s.min(store.idle_s());
        let mut before = holders.clone();
        for number in own {
            before.entry(number).or_default().insert(self.id);
        }
        let before = happiness(&before);
        let mut staying = holders;
        staying.values_mut().for_each(|servers| servers.retain(|server| !pass.going.contains(server)));
        staying.retain(|_, servers| !servers.is_empty());
        for (key, location) in &object.shares {
            let load = Load { store: store.clone(), key: *key, len: location.len, lease_s: lease_s.max(1) };
            let order = order(location.bucket, &pass.places);
            match self.share(pass, &load, &mut staying, before, &order, way).await {
                Ok(Some(sent)) => {
                    done.shares += 1;
                    done.bytes += location.len;
                    done.sent += if sent { location.len } else { 0 };
                }
                Ok(None) => done.rest.left += 1,
                Err(error) => {
                    tracing::error!(store = %store.id(), share = %key, %error, "a share cannot be handed over");
                    done.damaged.push(*key);
                }
            }
        }
        done.rest.crowded = done.damaged.is_empty() && happiness(&staying) < before;
        done
    }

    /// Brings one share somewhere, and enters that in `staying`; says whether it was sent, or `None` if nobody takes it.
    ///
    /// # Errors
    ///
    /// Ours is damaged.
    async fn share(
        &self,
        pass: &Pass,
        load: &Load,
        staying: &mut Holders,
        before: usize,
        order: &[Place],
        way: Way,
    ) -> Result<Option<bool>, GiveError> {
        let number = load.key.number;
        if way == Way::Count {
            return Ok(staying.contains_key(&number).then_some(false));
        }
        loop {
            let refused: BTreeSet<NodeId> = lock(&pass.refused).keys().copied().collect();
            let Some(target) = new_home(number, staying, before, order, &refused) else { return Ok(None) };
            let place = order.iter().find(|place| place.server == target.server);
            let given = match place {
                Some(place) => self.giver.give(load, place).await,
                None => Ok(false),
            };
            match given {
                Ok(sent) => {
                    staying.entry(number).or_default().insert(target.server);
                    return Ok(Some(sent));
                }
                // It was collected meanwhile; or we are short of something, which passes.
                Err(GiveError::Here(ReadError::NotFound)) => return Ok(Some(false)),
                Err(GiveError::Here(ReadError::Busy(_))) => return Ok(None),
                Err(error @ GiveError::Here(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(server = %target.server, share = %load.key, %error, "a server does not take a share");
                    lock(&pass.refused).insert(target.server, error.to_string());
                    if let Some(servers) = staying.get_mut(&number) {
                        servers.remove(&target.server);
                    }
                    staying.retain(|_, servers| !servers.is_empty());
                }
            }
        }
    }
}

impl Pass {
    fn new(others: &[Other]) -> Self {
        let going = others.iter().filter(|other| other.is_going()).map(Other::id).collect();
        let names = others.iter().map(|other| (other.id(), other.name())).collect();
        let places = others.iter().map(Other::place).filter(|place| !place.stores.is_empty()).collect();
        Self { going, places, names, refused: Mutex::default() }
    }

    fn name(&self, server: &NodeId) -> String {
        self.names.get(server).cloned().unwrap_or_else(|| server.short())
    }
}

fn failed(store: &NodeId) -> String {
    format!("store {} failed: nothing of it is handed over", store.short())
}

impl Draining {
    /// Whether all was read, and nothing of it is left to do.
    fn is_through(&self) -> bool {
        self.open.is_empty() && !self.overflowed && self.unread.is_empty()
    }

    fn cannot_read(&mut self, store: &Store, error: &dyn std::fmt::Display) {
        tracing::error!(store = %store.id(), %error, "the index cannot be read");
        self.unread.insert(format!("the index of store {} cannot be read: {error}", store.id().short()));
    }

    /// All of it was counted.
    fn set_counted(&mut self) {
        let Done { shares, bytes, unwanted, .. } = self.counted;
        let left: u64 = self.open.values().map(|rest| rest.left).sum();
        let progress = &mut self.progress;
        (progress.done_shares, progress.done_bytes, progress.unwanted) = (shares, bytes, unwanted);
        progress.shares = shares + left + unwanted + self.damaged.len() as u64;
        progress.bytes = progress.bytes.max(bytes);
    }

    fn take_in(&mut self, hash: VerifyHash, done: Done, way: Way) {
        let (counted, progress) = (&mut self.counted, &mut self.progress);
        counted.shares += done.shares;
        counted.bytes += done.bytes;
        counted.unwanted += done.unwanted;
        if way == Way::Give {
            progress.sent_bytes += done.sent;
            progress.run_bytes += done.bytes;
            // What is tried again counts again, until all of it is counted anew.
            progress.done_shares = (progress.done_shares + done.shares).min(progress.shares);
            progress.done_bytes = (progress.done_bytes + done.bytes).min(progress.bytes);
            progress.unwanted += done.unwanted;
        }
        self.damaged.extend(done.damaged);
        if done.rest == Rest::default() {
            return;
        }
        // An object may have shares in several of our stores.
        let rest = self.open.entry(hash).or_default();
        rest.left += done.rest.left;
        rest.crowded |= done.rest.crowded;
        if self.open.len() > OPEN_MAX {
            self.open.remove(&hash);
            self.overflowed = true;
        }
    }
}
