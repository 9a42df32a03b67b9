//! What roots reach: every object and slot below them, by repair caps, no name and no byte read.

use std::collections::HashSet;

use caps::{Cap, PlacementBucket, TraversalKey, VerifyHash};
use encoding::slot::RecordHash;
use encoding::{Children, Kind, open_slot_children};
use tokio::task::JoinSet;

use super::{NamedRoot, Unread};
use crate::Client;
use crate::check::{Node, object_children};
use crate::download::{Object, ObjectRef};
use crate::slot::Freshness;

/// Trees opened at a time.
const OPENING: usize = 64;
/// Parts that cannot be walked and are told of.
const UNREAD_MAX: usize = 100;

/// How to walk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Slots must be read confirmed: what newer records than those seen may name would be missed.
    pub(crate) sure: bool,
    /// Whether to list all that is reached, in full.
    pub(crate) collect: bool,
    /// Whether to ask of each file whether it is a tree after all whose key its link did not say.
    pub(crate) look_into_leaves: bool,
    /// Children that do not count where the directory with this H links them.
    pub(crate) skip: Option<(VerifyHash, HashSet<VerifyHash>)>,
}

/// The first half of H. Who finds another object of the same keeps that one, too.
type Short = [u8; 16];

/// What was reached.
#[derive(Default)]
pub(crate) struct Reach {
    hashes: HashSet<Short>,
    /// All of it, if that was wanted.
    pub(crate) list: Vec<VerifyHash>,
    pub(crate) slots: Vec<VerifyHash>,
    /// What slots said.
    records: Vec<(VerifyHash, PlacementBucket, RecordHash)>,
    pub(crate) unread: Vec<Unread>,
    /// Whether what could not be walked may be there another time.
    pub(crate) retryable: bool,
}

impl Reach {
    /// How many objects and slots there are.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    pub(crate) fn holds(&self, hash: &VerifyHash) -> bool {
        self.hashes.contains(&short(hash))
    }
}

fn short(hash: &VerifyHash) -> Short {
    std::array::from_fn(|i| hash.as_bytes()[i])
}

/// Something to be opened: below which root, and in which slot's own tree.
struct Work {
    node: Node,
    root: usize,
    owner: Option<VerifyHash>,
}

/// What came of opening something.
struct Opened {
    cap: Cap,
    root: usize,
    owner: Option<VerifyHash>,
    record: Option<(VerifyHash, PlacementBucket, RecordHash)>,
    children: Result<Children, Closed>,
}

/// Why something could not be opened, and whether it may be another time.
type Closed = (String, bool);

struct Walk<'a> {
    client: Client,
    roots: Vec<NamedRoot>,
    options: &'a Options,
    seen: HashSet<Short>,
    queue: Vec<Work>,
    opening: JoinSet<Opened>,
    reach: Reach,
}

impl Client {
    /// Walks all that these roots reach.
    pub(crate) async fn reach(&self, roots: Vec<NamedRoot>, options: &Options) -> Reach {
        let mut walk = Walk {
            client: self.clone(),
            roots,
            options,
            seen: HashSet::new(),
            queue: Vec::new(),
            opening: JoinSet::new(),
            reach: Reach::default(),
        };
        for root in 0..walk.roots.len() {
            walk.begin(root).await;
        }
        walk.run().await;
        walk.reach
    }

    /// Whether all slots that were reached still say what they said: then all of it was so at one moment, that between the two looks.
    pub(crate) async fn is_unchanged(&self, reach: &Reach) -> bool {
        let mut looking: JoinSet<bool> = JoinSet::new();
        for (hash, bucket, said) in &reach.records {
            let (client, hash, bucket, said) = (self.clone(), *hash, *bucket, *said);
            if looking.len() >= OPENING && !matches!(looking.join_next().await, Some(Ok(true))) {
                return false;
            }
            looking.spawn(async move {
                let record = client.record_and_freshness(&hash, bucket).await;
                record.is_ok_and(|(record, freshness)| {
                    freshness == Freshness::Confirmed && record.hash() == said
                })
            });
        }
        while let Some(same) = looking.join_next().await {
            if !matches!(same, Ok(true)) {
                return false;
            }
        }
        true
    }
}

impl Walk<'_> {
    async fn begin(&mut self, root: usize) {
        let cap = self.roots[root].cap.clone();
        match self.client.repair_cap(&cap).await {
            // Where its salt could not be had, the verify cap alone leads nowhere.
            Ok(Some(Cap::SlotVerify(verify))) => self.unread(root, Cap::SlotVerify(verify), silent()),
            // A file that is not found now may be one in pieces: as long as nobody can say that it has none, it may have any.
            Ok(Some(known @ Cap::ImmutableVerify(_))) if self.options.sure => {
                let Some(Node::Object { object, .. }) = Node::of(known.clone()) else { return };
                match look_into(&self.client, object).await {
                    Ok(_) => self.push(known, root, None),
                    Err(why) => self.unread(root, known, why),
                }
            }
            Ok(Some(known)) => self.push(known, root, None),
            Ok(None) => {}
            Err(error) => self.unread(root, cap, (error.to_string(), false)),
        }
    }

    fn unread(&mut self, root: usize, cap: Cap, (reason, retryable): Closed) {
        let first = self.reach.unread.is_empty();
        self.reach.retryable = retryable && (first || self.reach.retryable);
        if self.reach.unread.len() < UNREAD_MAX {
            let root = self.roots[root].name.clone();
            self.reach.unread.push(Unread { root, cap, reason });
        }
    }

    fn push(&mut self, cap: Cap, root: usize, owner: Option<VerifyHash>) {
        let Some(node) = Node::of(cap) else { return };
        if !self.seen.insert(node.fingerprint()) {
            return;
        }
        let hash = node.hash();
        if self.reach.hashes.insert(short(&hash)) {
            if self.options.collect {
                self.reach.list.push(hash);
            }
            if matches!(node, Node::Slot { .. }) {
                self.reach.slots.push(hash);
            }
        }
        match node {
            Node::Object { ref cap, key: None, .. } => {
                let directory = matches!(cap, Cap::ImmutableVerify(verify) if verify.directory);
                if directory {
                    let reason = "its link does not say the key that opens the list of what it holds";
                    self.unread(root, cap.clone(), (reason.to_owned(), false));
                } else if self.options.look_into_leaves {
                    self.queue.push(Work { node, root, owner });
                }
            }
            node => self.queue.push(Work { node, root, owner }),
        }
    }

    async fn run(&mut self) {
        loop {
            while self.opening.len() < OPENING
                && let Some(work) = self.queue.pop()
            {
                let (client, sure) = (self.client.clone(), self.options.sure);
                self.opening.spawn(open(client, work, sure));
            }
            match self.opening.join_next().await {
                Some(Ok(opened)) => self.take(opened),
                Some(Err(error)) => {
                    let cap = self.roots[0].cap.clone();
                    self.unread(0, cap, (error.to_string(), true));
                }
                None if self.queue.is_empty() => return,
                None => {}
            }
        }
    }

    fn take(&mut self, opened: Opened) {
        let Opened { cap, root, owner, record, children } = opened;
        self.reach.records.extend(record);
        let children = match children {
            Ok(children) => children,
            Err(why) => return self.unread(root, cap, why),
        };
        if children.unknown > 0 {
            let reason = "it links things of kinds that this program does not know";
            self.unread(root, cap, (reason.to_owned(), false));
        }
        let skip = self.options.skip.as_ref().filter(|(parent, _)| owner == Some(*parent));
        let list = children.list.into_iter().filter(|child| {
            let hash = child.verify_hash();
            skip.is_none_or(|(_, skipped)| hash.is_none_or(|hash| !skipped.contains(&hash)))
        });
        for child in list.collect::<Vec<_>>() {
            self.push(child, root, owner);
        }
    }
}

async fn open(client: Client, Work { node, root, owner }: Work, sure: bool) -> Opened {
    match node {
        Node::Object { cap, object, key } => {
            let children = match key {
                Some(key) => object_children(&client, object, &key).await.ok_or_else(silent),
                None => look_into(&client, object).await,
            };
            Opened { cap, root, owner, record: None, children }
        }
        Node::Slot { cap, at, key, .. } => {
            let (record, children) = open_slot(&client, at, key, sure).await;
            Opened { cap, root, owner: Some(at.0), record, children }
        }
    }
}

type SlotOpened = (Option<(VerifyHash, PlacementBucket, RecordHash)>, Result<Children, Closed>);

async fn open_slot(
    client: &Client,
    (hash, bucket): (VerifyHash, PlacementBucket),
    key: Option<TraversalKey>,
    sure: bool,
) -> SlotOpened {
    let (record, freshness) = match client.record_and_freshness(&hash, bucket).await {
        Ok(found) => found,
        Err(error) => return (None, Err((error.to_string(), true))),
    };
    if sure && freshness != Freshness::Confirmed {
        let reason = "too few of its members answered to be sure that nothing newer is there";
        return (None, Err((reason.to_owned(), true)));
    }
    let said = Some((hash, bucket, record.hash()));
    if record.tombstone {
        return (said, Ok(Children::default()));
    }
    let children = match key {
        Some(key) => {
            let section = open_slot_children(&key, &hash, &record.payload);
            section.ok().and_then(|section| Children::parse(&section).ok())
        }
        None => None,
    };
    let wrong = || ("the list of what it holds cannot be opened".to_owned(), false);
    (said, children.ok_or_else(wrong))
}

/// A file whose link says that nothing hangs off it.
async fn look_into(client: &Client, object: ObjectRef) -> Result<Children, Closed> {
    match Object::find(client.clone(), object).await {
        Ok(object) if object.kind() == Kind::Tree => {
            Err(("its link does not say that it is kept in pieces, nor the key to them".to_owned(), false))
        }
        Ok(_) => Ok(Children::default()),
        Err(error) => Err((error.to_string(), true)),
    }
}

fn silent() -> Closed {
    ("it cannot be read now".to_owned(), true)
}
