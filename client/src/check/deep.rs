//! Checking a whole tree by repair caps: every directory, every node and chunk, each once, and no name and no byte of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use caps::{Cap, PlacementBucket, RepairKind, SlotWrite, TraversalKey, VerifyHash};
use encoding::{
    Children, ContentKey, Kind, open_slot_children, repair_immutable, repair_slot, tree_children,
};
use protocol::message::ErrorCode;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::census::census;
use super::leasing::{self, Leased};
use super::object::{alone, find, judge};
use super::{CheckError, CheckOptions, Grade, Health, State, slot};
use crate::Client;
use crate::download::{Object, ObjectRef, Opened};
use crate::tags::Tag;

/// Trees opened at a time.
const OPENING: usize = 64;
/// Objects whose shares are counted together.
const BATCH: usize = 4000;
/// Batches under way at a time.
const BATCHES: usize = 2;
/// Objects fetched whole, or repaired, at a time.
const AT_ONCE: usize = 8;
/// Objects sampled at a time.
const SAMPLED_AT_ONCE: usize = 32;
/// Reports that wait to be taken.
const REPORTS: usize = 256;

/// What a check of a tree came to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct DeepTotals {
    /// Immutable objects: files, chunks, nodes.
    pub objects: u64,
    /// Slots: directories and mutable files.
    pub slots: u64,
    /// All is there.
    pub healthy: u64,
    /// Something is missing, and was not brought back.
    pub unhealthy: u64,
    /// Too little is left.
    pub unrecoverable: u64,
    /// Was not healthy, and is now.
    pub repaired: u64,
    /// Shares that are not what they should be.
    pub bad_shares: u64,
    /// Things of kinds that this program or the writer did not know: not checked.
    pub unknown: u64,
    /// Objects and slots that this account now leases wherever they are.
    pub leased: u64,
    /// Leases added or renewed, over all servers.
    pub leases: u64,
    /// Things that no server keeps, and servers that renewed nothing of a batch.
    pub not_renewed: u64,
    /// Why a server refuses leases of this account, if one does.
    pub refused: Option<ErrorCode>,
    /// Trees of which only the root could be checked, for want of a repair cap or because they could not be opened.
    pub root_only: u64,
}

impl DeepTotals {
    /// Takes in one report.
    pub fn count(&mut self, health: &Health) {
        *if health.is_slot() { &mut self.slots } else { &mut self.objects } += 1;
        self.bad_shares += health.bad.len() as u64;
        if health.is_repaired() {
            self.repaired += 1;
            return;
        }
        self.not_renewed += health.not_renewed;
        match health.now() {
            // One that nobody needs is still on somebody's disk.
            State::Healthy if !health.bad.is_empty() => self.unhealthy += 1,
            State::Healthy => self.healthy += 1,
            State::Unhealthy => self.unhealthy += 1,
            State::Unrecoverable => self.unrecoverable += 1,
        }
    }
}

impl std::ops::AddAssign for DeepTotals {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.slots += other.slots;
        self.healthy += other.healthy;
        self.unhealthy += other.unhealthy;
        self.unrecoverable += other.unrecoverable;
        self.repaired += other.repaired;
        self.bad_shares += other.bad_shares;
        self.unknown += other.unknown;
        self.leased += other.leased;
        self.leases += other.leases;
        self.not_renewed += other.not_renewed;
        self.refused = self.refused.or(other.refused);
        self.root_only += other.root_only;
    }
}

/// A check under way. Dropped, it is given up.
pub struct TreeCheck {
    reports: mpsc::Receiver<Health>,
    task: JoinHandle<DeepTotals>,
}

impl TreeCheck {
    /// The next report; `None` when all is checked.
    pub async fn next(&mut self) -> Option<Health> {
        self.reports.recv().await
    }

    /// The totals, once all reports were taken.
    pub async fn finish(mut self) -> DeepTotals {
        while self.reports.recv().await.is_some() {}
        // A walk that broke off has not seen all.
        (&mut self.task).await.unwrap_or(DeepTotals { root_only: 1, ..DeepTotals::default() })
    }
}

impl Drop for TreeCheck {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Something to be checked.
pub(crate) enum Node {
    Object { cap: Cap, object: ObjectRef, key: Option<TraversalKey> },
    Slot { cap: Cap, at: (VerifyHash, PlacementBucket), key: Option<TraversalKey>, write: Option<SlotWrite> },
}

impl Node {
    /// `None` for literals, which are nowhere, and for caps of unknown kinds.
    pub(crate) fn of(cap: Cap) -> Option<Self> {
        match &cap {
            Cap::ImmutableVerify(verify) => {
                let object = verify.into();
                Some(Self::Object { cap, object, key: None })
            }
            Cap::SlotVerify(verify) => {
                let at = (verify.hash, verify.storage_index.placement_bucket());
                Some(Self::Slot { cap, at, key: None, write: None })
            }
            Cap::Repair(repair) => {
                let key = Some(repair.traversal_key.clone());
                match ObjectRef::of_repair(repair) {
                    Some(object) => Some(Self::Object { cap, object, key }),
                    None => {
                        let at = (repair.hash, repair.bucket);
                        Some(Self::Slot { cap, at, key, write: None })
                    }
                }
            }
            _ => None,
        }
    }

    /// Tells caps apart that differ in anything.
    pub(crate) fn fingerprint(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.hash().as_bytes());
        let key = match self {
            Self::Object { object, key, .. } => {
                hasher.update(&object.needed.to_le_bytes()).update(&object.total.to_le_bytes());
                hasher.update(&object.bucket.0.to_le_bytes()).update(&[0]);
                key
            }
            Self::Slot { at, key, .. } => {
                hasher.update(&at.1.0.to_le_bytes()).update(&[1]);
                key
            }
        };
        hasher.update(key.as_ref().map_or(&[], |key| &key.expose()[..]));
        let hash = hasher.finalize();
        std::array::from_fn(|i| hash.as_bytes()[i])
    }

    pub(crate) fn hash(&self) -> VerifyHash {
        match self {
            Self::Object { object, .. } => object.hash,
            Self::Slot { at, .. } => at.0,
        }
    }
}

impl Client {
    /// The weakest cap that checks and repairs all that `cap` reaches: a repair cap for trees and slots, a verify cap for what has nothing
    /// below it. `None` for literals. What cannot be found has a verify cap only.
    ///
    /// # Errors
    ///
    /// [`CheckError::Unknown`].
    pub async fn repair_cap(&self, cap: &Cap) -> Result<Option<Cap>, CheckError> {
        match cap {
            Cap::Literal(_) => return Ok(None),
            Cap::Unknown(_) => return Err(CheckError::Unknown),
            Cap::Repair(_) | Cap::ImmutableVerify(_) | Cap::SlotVerify(_) => return Ok(Some(cap.clone())),
            _ => {}
        }
        let known = match cap.read() {
            Some(Cap::SlotRead(read)) => {
                let record = self.slot_record(&read).await.ok();
                record.map(|(record, _)| Cap::Repair(repair_slot(&read, &record.id.salt)))
            }
            Some(Cap::ImmutableRead(read)) => {
                let object = Object::find(self.clone(), (&read).into()).await.ok();
                let tree = object.filter(|object| object.kind() == Kind::Tree);
                tree.map(|object| Cap::Repair(repair_immutable(&read, &object.descriptor.salt)))
            }
            _ => None,
        };
        Ok(known.or_else(|| cap.verify()))
    }

    /// Checks one object or slot, and nothing below it.
    ///
    /// # Errors
    ///
    /// [`CheckError::Unknown`]. `None` for literals, which are always healthy.
    pub async fn check(&self, cap: &Cap, options: CheckOptions) -> Result<Option<Health>, CheckError> {
        let write = match cap {
            Cap::SlotWrite(write) => Some(write),
            _ => None,
        };
        let Some(cap) = self.repair_cap(cap).await? else { return Ok(None) };
        let mut not_renewed = 0;
        if let (Some(renewal), Some(hash)) = (options.renew, cap.verify_hash()) {
            let leased =
                leasing::lease_all(self, leasing::tag(self, &hash), renewal.seconds(), &[hash]).await;
            leased.failures.iter().for_each(|failure| tracing::warn!(failure, "a lease was not renewed"));
            not_renewed = leased.failures.len() as u64 + u64::from(leased.objects == 0);
        }
        let health = match Node::of(cap).ok_or(CheckError::Unknown)? {
            Node::Object { cap, object, .. } => {
                let found = find(self, object, alone(options.grade)).await;
                judge(self, cap, object, found, options).await
            }
            Node::Slot { cap, at, .. } => slot::check(self, cap, at, write, options).await.0,
        };
        Ok(Some(Health { not_renewed, ..health }))
    }

    /// Checks everything below these caps (verify caps or better), each thing once.
    pub fn check_tree(&self, roots: Vec<Cap>, options: CheckOptions) -> TreeCheck {
        let (sender, reports) = mpsc::channel(REPORTS);
        let deep = Deep {
            client: self.clone(),
            options,
            reports: sender,
            totals: DeepTotals::default(),
            seen: HashSet::new(),
            queue: Vec::new(),
            opening: JoinSet::new(),
            batch: Vec::new(),
            judging: JoinSet::new(),
            to_lease: Vec::new(),
            leasing: JoinSet::new(),
            lease: None,
            writable: Vec::new(),
            ill: HashMap::new(),
        };
        TreeCheck { reports, task: tokio::spawn(deep.run(roots)) }
    }
}

/// What opening a node gave: of a slot its report, of a tree its children.
struct Below {
    health: Option<Health>,
    children: Option<Children>,
    is_tree: bool,
}

struct Deep {
    client: Client,
    options: CheckOptions,
    reports: mpsc::Sender<Health>,
    totals: DeepTotals,
    /// By all that a cap says: a wrong one for the same H must not hide the right one.
    seen: HashSet<[u8; 16]>,
    queue: Vec<Node>,
    opening: JoinSet<Below>,
    batch: Vec<(Cap, ObjectRef)>,
    /// Reports, and how many objects no report could be made of.
    judging: JoinSet<(Vec<Health>, u64)>,
    to_lease: Vec<VerifyHash>,
    leasing: JoinSet<Leased>,
    /// For the sake of which root.
    lease: Option<(Tag, Option<u64>)>,
    /// Roots that may be written, of a repair: below them lost members of slots can be replaced.
    writable: Vec<Cap>,
    /// Slots that restoring alone did not make healthy, and that are looked for below these.
    ill: HashMap<VerifyHash, Health>,
}

impl Deep {
    async fn run(mut self, roots: Vec<Cap>) -> DeepTotals {
        for root in roots {
            let write = match &root {
                Cap::SlotWrite(write) => Some(write.clone()),
                _ => None,
            };
            if self.options.repair && write.is_some() && root.is_directory() {
                self.writable.push(root.clone());
            }
            match self.client.repair_cap(&root).await {
                Ok(Some(cap)) => {
                    self.totals.root_only += u64::from(self.is_closed_tree(&cap).await);
                    self.push(cap, write);
                }
                Ok(None) => {}
                Err(_) => self.totals.unknown += 1,
            }
        }
        self.lease = self
            .options
            .renew
            .zip(self.queue.first())
            .map(|(renewal, root)| (leasing::tag(&self.client, &root.hash()), renewal.seconds()));
        loop {
            while self.opening.len() < OPENING
                && let Some(node) = self.queue.pop()
            {
                self.open(node);
            }
            if self.batch.len() >= BATCH {
                self.judge_batch().await;
            }
            if self.to_lease.len() >= BATCH {
                self.lease_batch().await;
            }
            match self.opening.join_next().await {
                Some(Ok(below)) => self.take(below).await,
                Some(Err(_)) => self.totals.root_only += 1,
                None if self.queue.is_empty() => break,
                None => {}
            }
        }
        self.judge_batch().await;
        self.lease_batch().await;
        self.replace_members().await;
        while let Some(judged) = self.judging.join_next().await {
            self.take_judged(judged).await;
        }
        while let Some(leased) = self.leasing.join_next().await {
            self.take_leased(leased.unwrap_or_default());
        }
        self.totals
    }

    /// Whether this is a verify cap of a large file's index: what hangs off it is out of reach.
    async fn is_closed_tree(&self, cap: &Cap) -> bool {
        let Cap::ImmutableVerify(verify) = cap else { return false };
        let object = Object::find(self.client.clone(), verify.into()).await;
        // Of directories it is known without asking.
        !verify.directory && object.is_ok_and(|object| object.kind() == Kind::Tree)
    }

    fn push(&mut self, cap: Cap, root: Option<SlotWrite>) {
        match Node::of(cap) {
            Some(mut node) => {
                if self.seen.insert(node.fingerprint()) {
                    self.to_lease.push(node.hash());
                    if let Node::Slot { write, .. } = &mut node {
                        *write = root;
                    }
                    self.queue.push(node);
                }
            }
            None => self.totals.unknown += 1,
        }
    }

    fn open(&mut self, node: Node) {
        let (client, options) = (self.client.clone(), self.options);
        match node {
            Node::Object { cap, object, key } => {
                self.batch.push((cap.clone(), object));
                if let Some(key) = key {
                    self.opening.spawn(async move {
                        let children = object_children(&client, object, &key).await;
                        Below { health: None, children, is_tree: true }
                    });
                } else if is_directory(&cap) {
                    self.totals.root_only += 1;
                }
            }
            Node::Slot { cap, at, key, write } => {
                self.opening.spawn(async move {
                    let (health, record) = match options.grade {
                        Grade::Unseen => (None, client.newest_record(&at.0, at.1).await.ok()),
                        _ => {
                            let (health, record) =
                                slot::check(&client, cap, at, write.as_ref(), options).await;
                            (Some(health), record)
                        }
                    };
                    let opened = key.zip(record).and_then(|(key, record)| {
                        let section = open_slot_children(&key, &at.0, &record.payload).ok()?;
                        Children::parse(&section).ok()
                    });
                    Below { health, children: opened, is_tree: true }
                });
            }
        }
    }

    async fn take(&mut self, below: Below) {
        match below.health {
            Some(health) if health.now() == State::Unhealthy && !self.writable.is_empty() => {
                self.ill.insert(health.hash, health);
            }
            Some(health) => {
                self.totals.count(&health);
                self.send(health).await;
            }
            None => {}
        }
        match below.children {
            Some(children) => {
                self.totals.unknown += children.unknown;
                children.list.into_iter().for_each(|child| self.push(child, None));
            }
            None => self.totals.root_only += u64::from(below.is_tree),
        }
    }

    /// Has what waits judged, with no more than a few batches under way.
    async fn judge_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        while self.judging.len() >= BATCHES
            && let Some(judged) = self.judging.join_next().await
        {
            self.take_judged(judged).await;
        }
        let (client, options, batch) = (self.client.clone(), self.options, std::mem::take(&mut self.batch));
        self.judging.spawn(async move { judge_all(&client, batch, options).await });
    }

    /// Looks for the write caps of slots that lack members, and replaces those.
    async fn replace_members(&mut self) {
        let mut tasks: JoinSet<Health> = JoinSet::new();
        for root in std::mem::take(&mut self.writable) {
            let mut walk = self.client.walk(&root);
            while !self.ill.is_empty() {
                let walked = match walk.next().await {
                    Ok(Some(walked)) => walked,
                    Ok(None) => break,
                    // What cannot be read was reported.
                    Err(_) => continue,
                };
                let Cap::SlotWrite(write) = &walked.cap else { continue };
                let Some(before) = self.ill.remove(&write.hash) else { continue };
                let (client, options, write) = (self.client.clone(), self.options, write.clone());
                while tasks.len() >= AT_ONCE {
                    self.settle(tasks.join_next().await).await;
                }
                tasks.spawn(async move {
                    let at = (write.hash, write.key.read_key().slot_storage_index().placement_bucket());
                    let (mut after, _) =
                        slot::check(&client, before.cap.clone(), at, Some(&write), options).await;
                    after.after = Some(after.now());
                    after.state = before.state;
                    after.made = [before.made, after.made].concat();
                    after
                });
            }
        }
        while !tasks.is_empty() {
            self.settle(tasks.join_next().await).await;
        }
        for (_, health) in std::mem::take(&mut self.ill) {
            self.report(vec![health]).await;
        }
    }

    async fn settle(&mut self, done: Option<Result<Health, tokio::task::JoinError>>) {
        if let Some(Ok(health)) = done {
            self.report(vec![health]).await;
        }
    }

    /// Has what waits leased, one batch after the other.
    async fn lease_batch(&mut self) {
        let hashes = std::mem::take(&mut self.to_lease);
        let Some((tag, duration_s)) = self.lease.filter(|_| !hashes.is_empty()) else { return };
        if let Some(leased) = self.leasing.join_next().await {
            self.take_leased(leased.unwrap_or_default());
        }
        let client = self.client.clone();
        self.leasing.spawn(async move { leasing::lease_all(&client, tag, duration_s, &hashes).await });
    }

    fn take_leased(&mut self, leased: Leased) {
        self.totals.leased += leased.objects;
        // What no server has, nobody keeps.
        self.totals.not_renewed += leased.sought.saturating_sub(leased.objects);
        self.totals.leases += leased.leases;
        self.totals.refused = self.totals.refused.or(leased.refused);
        for failure in leased.failures {
            tracing::warn!(failure, "leases were not renewed");
            self.totals.not_renewed += 1;
        }
    }

    async fn take_judged(&mut self, judged: Result<(Vec<Health>, u64), tokio::task::JoinError>) {
        let (judged, failed) = judged.unwrap_or((Vec::new(), 1));
        self.totals.root_only += failed;
        self.report(judged).await;
    }

    async fn report(&mut self, judged: Vec<Health>) {
        for health in judged {
            self.totals.count(&health);
            self.send(health).await;
        }
    }

    async fn send(&self, health: Health) {
        // Whoever wants the totals only takes no reports.
        let _ = self.reports.send(health).await;
    }
}

fn is_directory(cap: &Cap) -> bool {
    matches!(cap, Cap::ImmutableVerify(verify) if verify.directory)
        || matches!(cap, Cap::Repair(repair) if matches!(repair.kind, RepairKind::Immutable { directory: true, .. }))
}

pub(crate) async fn object_children(
    client: &Client,
    object: ObjectRef,
    key: &TraversalKey,
) -> Option<Children> {
    let object = Object::find(client.clone(), object).await.ok()?;
    let opened = Opened::new(object, ContentKey::for_tree(key));
    let payload = opened.tree_payload().await.ok()?;
    Children::parse(tree_children(&payload).ok()?).ok()
}

/// Reports of all objects of a batch, and how many could not be made.
async fn judge_all(
    client: &Client,
    batch: Vec<(Cap, ObjectRef)>,
    options: CheckOptions,
) -> (Vec<Health>, u64) {
    if options.grade == Grade::Unseen {
        return (Vec::new(), 0);
    }
    let sampled = matches!(options.grade, Grade::Sampled { .. }) && !options.repair;
    let permits = Arc::new(Semaphore::new(if sampled { SAMPLED_AT_ONCE } else { AT_ONCE }));
    let mut counted = match options.grade {
        Grade::Claimed => {
            let hashes: Vec<VerifyHash> = batch.iter().map(|(_, object)| object.hash).collect();
            Some(census(client, &hashes).await)
        }
        Grade::Sampled { .. } | Grade::Full | Grade::Unseen => None,
    };
    let (mut judged, mut failed, mut tasks) = (Vec::new(), 0, JoinSet::new());
    let mut take = |judged: &mut Vec<Health>, done: Result<Health, _>| match done {
        Ok(health) => judged.push(health),
        Err(tokio::task::JoinError { .. }) => failed += 1,
    };
    for (cap, object) in batch {
        let found = counted.as_mut().map(|counted| counted.found(&object));
        let healthy = options.repair && found.as_ref().is_some_and(|found| found.is_healthy(client, &object));
        if let Some(found) = found
            && (healthy || !options.repair)
        {
            judged.push(judge(client, cap, object, found, CheckOptions { repair: false, ..options }).await);
            continue;
        }
        let (client, permit) = (client.clone(), permits.clone().acquire_owned().await);
        tasks.spawn(async move {
            let _permit = permit;
            let found = find(&client, object, options.grade).await;
            judge(&client, cap, object, found, options).await
        });
        while let Some(done) = tasks.try_join_next() {
            take(&mut judged, done);
        }
    }
    while let Some(done) = tasks.join_next().await {
        take(&mut judged, done);
    }
    (judged, failed)
}
