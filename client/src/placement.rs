//! Which server gets which share: a deterministic order, zones first, and exact bipartite matching for happiness.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use caps::PlacementBucket;
use protocol::NodeId;
pub use protocol::placement::happiness;
use protocol::placement::{Matching, by_zone, rank};

use crate::grid::Server;

/// A server as a place for one object's shares, in the object's own order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The server.
    pub server: NodeId,
    /// Its stores, in the object's order: the first takes the share.
    pub stores: Vec<NodeId>,
    /// Its zone.
    pub zone: Option<String>,
}

/// The servers in the order in which an object of this bucket uses them.
///
/// Stores are permuted by a hash of bucket and store id, a server stands where its first store does, and then each round takes one
/// server of every zone. Every client computes the same order from the same servers, so a reader knows whom to ask first.
pub fn candidates<'a>(
    bucket: PlacementBucket,
    servers: impl IntoIterator<Item = &'a Server>,
) -> Vec<Candidate> {
    let mut ranked: Vec<([u8; 32], Candidate)> = Vec::new();
    for server in servers {
        let mut stores: Vec<([u8; 32], NodeId)> =
            server.stores.iter().map(|store| (rank(bucket.0, &store.id), store.id)).collect();
        stores.sort();
        let Some((first, _)) = stores.first() else { continue };
        let first = *first;
        let stores = stores.into_iter().map(|(_, id)| id).collect();
        ranked.push((first, Candidate { server: server.id, stores, zone: server.zone.clone() }));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    by_zone(ranked.into_iter().map(|(_, candidate)| candidate), |candidate| candidate.zone.clone()).collect()
}

/// Where each of `shares` shall go, given who holds some already and who may take more.
///
/// Shares that are held stay where they are. The others go, in their order, to servers that a maximum matching leaves free, in the order
/// of `candidates` but zones that hold fewer shares first; when no server is free, to the one that holds the fewest. On an empty grid
/// with enough servers share i goes to candidate i. Returns the new placements only; a share for which there is no server is left out.
pub fn assign(
    shares: impl IntoIterator<Item = u16>,
    held: &BTreeMap<u16, BTreeSet<NodeId>>,
    candidates: &[Candidate],
    refused: &BTreeSet<NodeId>,
) -> BTreeMap<u16, NodeId> {
    let mut matching = Matching::default();
    for share in held.keys() {
        matching.augment(*share, held);
    }
    let mut load = Load::new(candidates);
    held.values().flatten().for_each(|server| load.add(server));
    let mut placed = BTreeMap::new();
    for share in shares {
        if held.get(&share).is_some_and(|servers| !servers.is_empty()) {
            continue;
        }
        let usable = candidates.iter().filter(|c| !refused.contains(&c.server));
        let choice = usable.min_by_key(|c| {
            let taken = matching.is_matched(&c.server);
            // `min_by_key` keeps the first of equals: the candidates' own order.
            (taken, if taken { load.of_server(&c.server) } else { 0 }, load.of_zone(&c.zone))
        });
        let Some(choice) = choice else { break };
        matching.settle(choice.server, share);
        load.add(&choice.server);
        placed.insert(share, choice.server);
    }
    placed
}

/// How many shares each server and each zone has.
struct Load<'a> {
    zone_of: HashMap<NodeId, &'a Option<String>>,
    servers: HashMap<NodeId, usize>,
    zones: HashMap<&'a Option<String>, usize>,
}

impl<'a> Load<'a> {
    fn new(candidates: &'a [Candidate]) -> Self {
        let zone_of = candidates.iter().map(|c| (c.server, &c.zone)).collect();
        Self { zone_of, servers: HashMap::new(), zones: HashMap::new() }
    }

    fn add(&mut self, server: &NodeId) {
        *self.servers.entry(*server).or_default() += 1;
        if let Some(zone) = self.zone_of.get(server) {
            *self.zones.entry(zone).or_default() += 1;
        }
    }

    fn of_server(&self, server: &NodeId) -> usize {
        self.servers.get(server).copied().unwrap_or(0)
    }

    fn of_zone(&self, zone: &Option<String>) -> usize {
        self.zones.get(zone).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: u8, zone: Option<&str>) -> Server {
        let id = NodeId::new([number; 32]);
        let store = NodeId::new([number ^ 0x80; 32]);
        let stores =
            vec![crate::grid::ServedStore { id: store, incarnation: 1, report: None, draining: false }];
        Server { id, stores, zone: zone.map(str::to_owned), ..Server::unknown(id) }
    }

    fn set(numbers: &[u8]) -> BTreeSet<NodeId> {
        numbers.iter().map(|n| NodeId::new([*n; 32])).collect()
    }

    #[test]
    fn happiness_is_a_maximum_matching() {
        let check = |holdings: &[(u16, &[u8])], expected| {
            let holdings = holdings.iter().map(|(share, servers)| (*share, set(servers))).collect();
            assert_eq!(happiness(&holdings), expected);
        };
        check(&[], 0);
        check(&[(0, &[1]), (1, &[1]), (2, &[1])], 1);
        check(&[(0, &[1, 2]), (1, &[1])], 2);
        check(&[(0, &[1, 2]), (1, &[1]), (2, &[2])], 2);
        check(&[(0, &[1]), (1, &[1, 2]), (2, &[2, 3]), (3, &[3])], 3);
    }

    #[test]
    fn happiness_agrees_with_trying_everything() {
        fn best(shares: &[BTreeSet<NodeId>], used: &BTreeSet<NodeId>) -> usize {
            let Some((first, rest)) = shares.split_first() else { return 0 };
            let with = first.difference(used).map(|server| {
                let used = used.iter().chain([server]).copied().collect();
                1 + best(rest, &used)
            });
            with.max().unwrap_or(0).max(best(rest, used))
        }
        let mut state = 1u64;
        for _ in 0..300 {
            let mut holdings = BTreeMap::new();
            for share in 0..5u16 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let bits = (state >> 33) as u8;
                holdings.insert(
                    share,
                    (0..5).filter(|i| bits >> i & 1 == 1).map(|i| NodeId::new([i; 32])).collect(),
                );
            }
            let shares: Vec<_> = holdings.values().cloned().collect();
            assert_eq!(happiness(&holdings), best(&shares, &BTreeSet::new()));
        }
    }

    #[test]
    fn an_empty_grid_gets_share_i_on_candidate_i() {
        let servers: Vec<Server> = (0..12).map(|i| server(i, None)).collect();
        let order = candidates(PlacementBucket(7), &servers);
        let placed = assign(0..10, &BTreeMap::new(), &order, &BTreeSet::new());
        for (share, server) in &placed {
            assert_eq!(*server, order[usize::from(*share)].server);
        }
        assert_eq!(placed.len(), 10);
        let reversed: Vec<Server> = servers.into_iter().rev().collect();
        assert_eq!(order, candidates(PlacementBucket(7), &reversed));
    }

    #[test]
    fn zones_come_first() {
        let servers: Vec<Server> = (0..9)
            .map(|i| {
                server(
                    i,
                    Some(if i < 6 {
                        "big"
                    } else if i < 8 {
                        "mid"
                    } else {
                        "small"
                    }),
                )
            })
            .collect();
        let order = candidates(PlacementBucket(3), &servers);
        let zones: BTreeSet<_> = order[..3].iter().map(|c| c.zone.clone()).collect();
        assert_eq!(zones.len(), 3, "the first three servers stand in three zones");
    }

    #[test]
    fn shares_stay_and_the_rest_fills_the_gaps() {
        let servers: Vec<Server> = (0..4).map(|i| server(i, None)).collect();
        let order = candidates(PlacementBucket(1), &servers);
        let held: BTreeMap<u16, BTreeSet<NodeId>> =
            [(0, [order[2].server].into()), (3, [order[0].server].into())].into();
        let placed = assign(0..4, &held, &order, &[order[1].server].into());
        assert_eq!(placed.keys().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(placed[&1], order[3].server, "the only free server that did not refuse");
        let mut all = held;
        for (share, server) in placed {
            all.entry(share).or_default().insert(server);
        }
        assert_eq!(happiness(&all), 3);
    }

    #[test]
    fn more_shares_than_servers_are_spread_evenly() {
        let servers: Vec<Server> = (0..3).map(|i| server(i, None)).collect();
        let order = candidates(PlacementBucket(1), &servers);
        let placed = assign(0..10, &BTreeMap::new(), &order, &BTreeSet::new());
        for candidate in &order {
            let count = placed.values().filter(|server| **server == candidate.server).count();
            assert!((3..=4).contains(&count));
        }
        assert!(assign(0..10, &BTreeMap::new(), &[], &BTreeSet::new()).is_empty());
    }
}
