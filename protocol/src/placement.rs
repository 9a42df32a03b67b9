//! In which order an object uses stores, and how well its shares are spread: what clients and servers must agree on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::identity::NodeId;

/// Where a store stands in the order of objects of this bucket: the lowest comes first.
pub fn rank(bucket: u16, store: &NodeId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("sarsen v1 placement");
    hasher.update(&bucket.to_le_bytes()).update(store.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Round by round, the next of each zone; zones in the order of their first.
pub fn by_zone<T>(
    permuted: impl Iterator<Item = T>,
    zone_of: impl Fn(&T) -> Option<String>,
) -> impl Iterator<Item = T> {
    let mut zones: Vec<(Option<String>, Vec<T>)> = Vec::new();
    for one in permuted {
        let zone = zone_of(&one);
        match zones.iter_mut().find(|(known, _)| *known == zone) {
            Some((_, members)) => members.push(one),
            None => zones.push((zone, vec![one])),
        }
    }
    let rounds = zones.iter().map(|(_, members)| members.len()).max().unwrap_or(0);
    let mut rest: Vec<_> = zones.into_iter().map(|(_, members)| members.into_iter()).collect();
    (0..rounds).flat_map(move |_| rest.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>())
}

/// Who holds which shares of one object.
pub type Holders = BTreeMap<u16, BTreeSet<NodeId>>;

/// Happiness: how many servers can each be matched with a share of its own, given who holds what. Any k of those servers can lose
/// the others and still have k different shares. Exact (Kuhn's augmenting paths).
pub fn happiness(holders: &Holders) -> usize {
    let mut matching = Matching::default();
    holders.keys().filter(|share| matching.augment(**share, holders)).count()
}

/// Servers, each with the share that it is matched with.
#[derive(Default)]
pub struct Matching {
    share_of: HashMap<NodeId, u16>,
}

impl Matching {
    /// Matches one more share, if that is possible.
    pub fn augment(&mut self, share: u16, holders: &Holders) -> bool {
        self.try_augment(share, holders, &mut BTreeSet::new())
    }

    /// Whether a server has its share.
    pub fn is_matched(&self, server: &NodeId) -> bool {
        self.share_of.contains_key(server)
    }

    /// Matches a server with a share, unless it has one.
    pub fn settle(&mut self, server: NodeId, share: u16) {
        self.share_of.entry(server).or_insert(share);
    }

    fn try_augment(&mut self, share: u16, holders: &Holders, seen: &mut BTreeSet<NodeId>) -> bool {
        for server in holders.get(&share).into_iter().flatten() {
            if !seen.insert(*server) {
                continue;
            }
            let holder = self.share_of.get(server).copied();
            if holder.is_none_or(|other| self.try_augment(other, holders, seen)) {
                self.share_of.insert(*server, share);
                return true;
            }
        }
        false
    }
}
