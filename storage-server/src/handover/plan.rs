//! Where shares go: pure decisions about one object, from who holds what of it.

use std::collections::{BTreeMap, BTreeSet};

use protocol::NodeId;
use protocol::placement::{Holders, by_zone, happiness, rank};

/// A server as a place for shares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) server: NodeId,
    pub(crate) zone: Option<String>,
    /// Its stores that take shares, in the object's order.
    pub(crate) stores: Vec<NodeId>,
}

/// The servers in the order in which an object of this bucket uses them; those without a store that takes shares are left out.
pub(crate) fn order(bucket: u16, places: &[Place]) -> Vec<Place> {
    let mut ranked: Vec<([u8; 32], Place)> = Vec::new();
    for place in places {
        let mut stores: Vec<([u8; 32], NodeId)> =
            place.stores.iter().map(|store| (rank(bucket, store), *store)).collect();
        stores.sort();
        let Some((first, _)) = stores.first().copied() else { continue };
        let stores = stores.into_iter().map(|(_, id)| id).collect();
        ranked.push((first, Place { stores, ..place.clone() }));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    by_zone(ranked.into_iter().map(|(_, place)| place), |place| place.zone.clone()).collect()
}

/// Where a share of a server that goes is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) server: NodeId,
    /// Whether it says that it has the share already.
    pub(crate) has: bool,
}

/// Where share `number` goes, given who holds what once this server is gone, and how happy the object is while it is there: to one
/// that says that it has it, if that is as good; else to the first that has nothing of the object, zones with fewest shares of it first;
/// else wherever there are fewest. `None` if nobody is left.
pub(crate) fn new_home(
    number: u16,
    staying: &Holders,
    before: usize,
    order: &[Place],
    refused: &BTreeSet<NodeId>,
) -> Option<Target> {
    let usable = || order.iter().filter(|place| !refused.contains(&place.server));
    let load = loads(staying);
    let here = staying.get(&number).into_iter().flatten().find(|server| !refused.contains(server));
    let has = here.map(|server| Target { server: *server, has: true });
    if has.is_some() && happiness(staying) >= before {
        return has;
    }
    let zone_of: BTreeMap<NodeId, &Option<String>> =
        order.iter().map(|place| (place.server, &place.zone)).collect();
    let in_zone = |zone: &Option<String>| -> usize {
        load.iter()
            .filter(|(server, _)| zone_of.get(server).is_some_and(|of| *of == zone))
            .map(|(_, n)| n)
            .sum()
    };
    // `min_by_key` keeps the first of equals: the object's own order.
    let free =
        usable().filter(|place| !load.contains_key(&place.server)).min_by_key(|place| in_zone(&place.zone));
    let moved = |place: &Place| Target { server: place.server, has: false };
    let least = || usable().min_by_key(|place| load.get(&place.server).copied().unwrap_or(0)).map(moved);
    free.map(moved).or(has).or_else(least)
}

/// How many shares of the object each server has.
fn loads(holders: &Holders) -> BTreeMap<NodeId, usize> {
    let mut load = BTreeMap::new();
    for server in holders.values().flatten() {
        *load.entry(*server).or_default() += 1;
    }
    load
}

/// A share that stands better elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shift {
    pub(crate) number: u16,
    pub(crate) to: NodeId,
}

/// What this server may do for the spread of an object, given who holds what and the order of all servers, this one among them.
///
/// Of all holders exactly one may act, and all servers that see the same holders know which: the one with the most shares, of those the
/// one that stands last. So two never act on one object, as long as they see the same; [`may_let_go`] is for when they do not. It either
/// gives one of several shares to a server without any, or its only one to a server that stands better. Both can only go on for so long:
/// the first makes more servers hold some, the second makes the sum of the holders' places smaller. `takes` says whether a server is to
/// get one; its flag, whether that would be one of several.
pub(crate) fn shift(
    me: &NodeId,
    holders: &Holders,
    order: &[Place],
    takes: impl Fn(&NodeId, bool) -> bool,
) -> Option<Shift> {
    let place_of = |server: &NodeId| order.iter().position(|place| place.server == *server);
    let load = loads(holders);
    // Whoever is not in the order goes anyhow, or takes nothing: it stands last, and others need not wait for it.
    let placed = load.iter().filter_map(|(server, count)| Some(((*count, place_of(server)?), *server)));
    let ((count, mine), actor) = placed.max()?;
    if actor != *me {
        return None;
    }
    let free = order.iter().enumerate().filter(|(_, place)| !load.contains_key(&place.server));
    let free = free.filter(|(_, place)| takes(&place.server, count > 1));
    let numbers = holders.iter().filter(|(_, servers)| servers.contains(me)).map(|(number, _)| *number);
    let before = happiness(holders);
    for (at, place) in free {
        if count == 1 && at >= mine {
            break;
        }
        for number in numbers.clone().rev() {
            let after = happiness(&shifted(holders, number, me, place.server));
            if after > before || count == 1 && after == before && zones_kept(holders, me, place, order) {
                return Some(Shift { number, to: place.server });
            }
        }
    }
    None
}

/// Whether the object's shares are in as many zones afterwards.
fn zones_kept(holders: &Holders, me: &NodeId, to: &Place, order: &[Place]) -> bool {
    let zone_of =
        |server: &NodeId| order.iter().find(|place| place.server == *server).map(|place| &place.zone);
    let zones = |servers: BTreeSet<NodeId>| servers.iter().filter_map(zone_of).collect::<BTreeSet<_>>().len();
    let before: BTreeSet<NodeId> = holders.values().flatten().copied().collect();
    let mut after = before.clone();
    after.remove(me);
    after.insert(to.server);
    zones(after) >= zones(before)
}

fn shifted(holders: &Holders, number: u16, from: &NodeId, to: NodeId) -> Holders {
    let mut after = holders.clone();
    let servers = after.entry(number).or_default();
    servers.remove(from);
    servers.insert(to);
    after.retain(|_, servers| !servers.is_empty());
    after
}

/// Whether this server may let go of share `number`, which it gave to `to`, by who holds what now: `to` has that share and no other, and
/// the object is as happy without ours as it was without theirs. If two servers gave it different shares at once, it has two, and both
/// keep theirs.
pub(crate) fn may_let_go(me: &NodeId, number: u16, to: &NodeId, now: &Holders) -> bool {
    let theirs: Vec<u16> =
        now.iter().filter(|(_, servers)| servers.contains(to)).map(|(number, _)| *number).collect();
    let mut before = now.clone();
    before.values_mut().for_each(|servers| servers.retain(|server| server != to));
    let mut after = now.clone();
    after.entry(number).or_default().remove(me);
    theirs == [number] && happiness(&after) >= happiness(&before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> NodeId {
        NodeId::new([number; 32])
    }

    fn places(count: u8) -> Vec<Place> {
        (0..count).map(|n| Place { server: id(n), zone: None, stores: vec![id(n ^ 0x80)] }).collect()
    }

    fn holders(of: &[(u16, &[NodeId])]) -> Holders {
        of.iter().map(|(number, servers)| (*number, servers.iter().copied().collect())).collect()
    }

    fn all_holders(holders: &Holders) -> BTreeSet<NodeId> {
        holders.values().flatten().copied().collect()
    }

    #[test]
    fn a_share_goes_to_the_first_that_has_nothing() {
        let order = order(7, &places(5));
        let at = |n: usize| order[n].server;
        let staying = holders(&[(1, &[at(0)]), (2, &[at(1)])]);
        let home = |refused: &[NodeId]| {
            new_home(0, &staying, 3, &order, &refused.iter().copied().collect()).map(|target| target.server)
        };
        assert_eq!(home(&[]), Some(at(2)));
        assert_eq!(home(&[at(2), at(3)]), Some(at(4)));
        assert_eq!(home(&[at(2), at(3), at(4)]), Some(at(0)), "rather beside another than nowhere");
        assert_eq!(home(&order.iter().map(|place| place.server).collect::<Vec<_>>()), None);
        let there = holders(&[(0, &[at(4)]), (1, &[at(0)])]);
        let target = new_home(0, &there, 2, &order, &BTreeSet::new());
        assert_eq!(target, Some(Target { server: at(4), has: true }), "it has it already");
        // There is one already, but the object is on one server fewer without us.
        let beside = holders(&[(0, &[at(0)]), (1, &[at(0)])]);
        let target = new_home(0, &beside, 2, &order, &BTreeSet::new());
        assert_eq!(target, Some(Target { server: at(1), has: false }));
    }

    #[test]
    fn zones_with_fewest_shares_come_first() {
        let mut places = places(4);
        places.iter_mut().for_each(|place| place.zone = Some("cellar".into()));
        let order = order(3, &places);
        let mut order_with_attic = order.clone();
        order_with_attic[3].zone = Some("attic".into());
        let staying = holders(&[(1, &[order[0].server])]);
        let home = |order: &[Place]| new_home(0, &staying, 2, order, &BTreeSet::new()).unwrap().server;
        assert_eq!((home(&order), home(&order_with_attic)), (order[1].server, order[3].server));
    }

    /// Every server does what it may, in turn, until nobody may any more: shares end on the first servers, and no step makes less of it.
    #[test]
    fn shifts_end_and_lose_nothing() {
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for bucket in 0..200 {
            let order = order(bucket, &places(7));
            let mut now = Holders::new();
            for number in 0..4 {
                for _ in 0..=random(2) {
                    now.entry(number).or_default().insert(order[random(7) as usize].server);
                }
            }
            let (numbers, mut steps) = (now.len(), 0);
            loop {
                let acting: Vec<_> = order
                    .iter()
                    .filter_map(|place| {
                        Some((place.server, shift(&place.server, &now, &order, |_, _| true)?))
                    })
                    .collect();
                assert!(acting.len() <= 1, "{acting:?}");
                let Some((me, Shift { number, to, .. })) = acting.first().copied() else { break };
                let (happy, servers) = (happiness(&now), all_holders(&now).len());
                now.entry(number).or_default().insert(to);
                if may_let_go(&me, number, &to, &now) {
                    now.entry(number).or_default().remove(&me);
                }
                assert!(
                    happiness(&now) >= happy && all_holders(&now).len() >= servers && now.len() == numbers
                );
                steps += 1;
                assert!(steps < 100, "it does not end");
            }
        }
    }

    #[test]
    fn two_that_gave_to_the_same_server_keep_theirs() {
        let (a, b, to) = (id(1), id(2), id(3));
        let both = holders(&[(0, &[a, to]), (1, &[b, to])]);
        assert!(!may_let_go(&a, 0, &to, &both) && !may_let_go(&b, 1, &to, &both));
        let one = holders(&[(0, &[a, to]), (1, &[b])]);
        assert!(may_let_go(&a, 0, &to, &one) && !may_let_go(&b, 1, &to, &one));
    }
}
