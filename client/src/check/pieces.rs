//! Where the pieces of a large file are: the chunks of its tree and the nodes of its index. None of them is read but the index.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use caps::{Cap, RepairCap, RepairKind, TraversalKey, VerifyHash};
use encoding::{Kind, MAX_INDEX_LEVEL, repair_immutable};
use protocol::NodeId;
use tokio::task::JoinSet;

use super::census::census;
use super::deep::{Node, object_children};
use crate::Client;
use crate::download::{DownloadError, Object, ObjectRef};

/// Index nodes of one level that are opened, all at once. Where there are more, these stand for the others.
const OPENED_MAX: usize = 64;

/// The objects that a large file is made of, or an even part of them.
#[derive(Clone, Debug)]
pub struct Pieces {
    objects: Vec<ObjectRef>,
    /// How many there are in all: an estimate, where some were left out.
    pub total: u64,
    /// Index nodes that could not be opened: what hangs off them is not among the pieces.
    pub closed: u64,
}

impl Pieces {
    /// Pieces that are looked at.
    pub fn looked_at(&self) -> usize {
        self.objects.len()
    }
}

/// Pieces whose shares are on the same servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PieceGroup {
    /// How many.
    pub count: usize,
    /// k
    pub needed: u16,
    /// N
    pub total: u16,
    /// Who holds each of the shares that somebody holds, whatever its number.
    pub holders: Vec<BTreeSet<NodeId>>,
}

impl Client {
    /// The objects that this file is made of, its root among them: at most `most`, evenly taken of all. `None` for what is no large file:
    /// one object, a directory, what may change, a literal. Who may only verify a file learns of no piece but the root.
    ///
    /// # Errors
    ///
    /// [`DownloadError`] if not even the root can be read.
    pub async fn pieces(&self, cap: &Cap, most: usize) -> Result<Option<Pieces>, DownloadError> {
        let object = match cap {
            Cap::ImmutableRead(read) if !read.directory => read.into(),
            Cap::ImmutableVerify(verify) if !verify.directory => verify.into(),
            Cap::Repair(RepairCap { kind: RepairKind::Immutable { directory: true, .. }, .. }) => {
                return Ok(None);
            }
            Cap::Repair(repair) => match ObjectRef::of_repair(repair) {
                Some(object) => object,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let root = Object::find(self.clone(), object).await?;
        if root.kind() != Kind::Tree {
            return Ok(None);
        }
        let key = match cap {
            Cap::ImmutableRead(read) => Some(repair_immutable(read, &root.descriptor.salt).traversal_key),
            Cap::Repair(repair) => Some(repair.traversal_key.clone()),
            _ => None,
        };
        Ok(Some(Walk::new(object).run(self, key, most).await))
    }

    /// Which servers say that they hold what of these pieces, those that are alike together.
    pub async fn locate(&self, pieces: &Pieces) -> Vec<PieceGroup> {
        let hashes: Vec<VerifyHash> = pieces.objects.iter().map(|object| object.hash).collect();
        let mut counted = census(self, &hashes).await;
        let mut groups: BTreeMap<(u16, u16, Vec<BTreeSet<NodeId>>), usize> = BTreeMap::new();
        for object in &pieces.objects {
            let mut holders: Vec<_> = counted.take(&object.hash, object.total).into_values().collect();
            holders.sort();
            *groups.entry((object.needed, object.total, holders)).or_default() += 1;
        }
        let group = |((needed, total, holders), count)| PieceGroup { count, needed, total, holders };
        groups.into_iter().map(group).collect()
    }
}

/// A way down an index, level by level.
struct Walk {
    seen: HashSet<VerifyHash>,
    found: Vec<ObjectRef>,
    total: f64,
    closed: u64,
}

impl Walk {
    fn new(root: ObjectRef) -> Self {
        Self { seen: HashSet::from([root.hash]), found: vec![root], total: 1.0, closed: 0 }
    }

    async fn run(mut self, client: &Client, key: Option<TraversalKey>, most: usize) -> Pieces {
        self.closed = u64::from(key.is_none());
        let mut level: Vec<(ObjectRef, TraversalKey)> =
            key.map(|key| (self.found[0], key)).into_iter().collect();
        // How many nodes each one that is opened stands for.
        let mut each = 1.0;
        for _ in 0..=MAX_INDEX_LEVEL {
            each *= level.len() as f64 / level.len().clamp(1, OPENED_MAX) as f64;
            level = self.below(client, evenly(level, OPENED_MAX), each).await;
            if level.is_empty() {
                break;
            }
        }
        self.closed += level.len() as u64;
        Pieces { objects: evenly(self.found, most), total: self.total.round() as u64, closed: self.closed }
    }

    /// Takes in the children of these nodes, and gives those that are nodes themselves.
    async fn below(
        &mut self,
        client: &Client,
        nodes: Vec<(ObjectRef, TraversalKey)>,
        each: f64,
    ) -> Vec<(ObjectRef, TraversalKey)> {
        let mut opening = JoinSet::new();
        for (at, (node, key)) in nodes.into_iter().enumerate() {
            let client = client.clone();
            opening.spawn(async move { (at, object_children(&client, node, &key).await) });
        }
        // In the order of the file, so that what is taken evenly is so of the file.
        let mut opened: Vec<_> = opening.join_all().await;
        opened.sort_by_key(|(at, _)| *at);
        let mut next = Vec::new();
        for (_, children) in opened {
            let Some(children) = children else {
                self.closed += 1;
                continue;
            };
            for child in children.list {
                let Some(Node::Object { object, key, .. }) = Node::of(child) else { continue };
                if self.seen.insert(object.hash) {
                    self.total += each;
                    self.found.push(object);
                    next.extend(key.map(|key| (object, key)));
                }
            }
        }
        next
    }
}

/// At most so many of these, evenly spread, the first among them.
fn evenly<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let len = all.len();
    if len <= most {
        return all;
    }
    let mut taken = 0;
    let keep = |(at, one)| {
        let wanted = taken < most && at == taken * len / most;
        taken += usize::from(wanted);
        wanted.then_some(one)
    };
    all.into_iter().enumerate().filter_map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::evenly;

    #[test]
    fn a_part_is_spread_over_all() {
        assert_eq!(evenly(vec![1, 2, 3], 3), [1, 2, 3]);
        assert_eq!(evenly((0..10).collect(), 3), [0, 3, 6]);
        assert_eq!(evenly((0..10_000).collect(), 2_000).len(), 2_000);
        assert_eq!(evenly(vec![1], 0), [0; 0]);
    }
}
