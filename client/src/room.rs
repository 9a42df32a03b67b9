//! How much can still be stored: what placement itself would fill, until too few servers have room.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use caps::PlacementBucket;
use protocol::NodeId;
use protocol::message::StoreState;

use crate::placement::{Candidate, assign, candidates};
use crate::{Client, GridStatus, Server, ServerStatus, ServerUsage, Shares};

/// Files whose shares are placed before it is looked who is full: at least, and where there are few servers.
const FILES: (usize, usize) = (16, 128);
/// What of placing they may cost, in shares times servers.
const WORK: usize = 25_000;
/// A part of the servers, one in so many, that may become full at once, which bounds how often files are placed.
const AT_ONCE: usize = 32;

impl ServerStatus {
    /// Bytes that its stores would take now; 0 if it does not answer.
    pub fn available(&self) -> u64 {
        let Ok(up) = &self.outcome else { return 0 };
        let writable = up.status.stores.iter().filter(|store| store.state == StoreState::Writable);
        writable.fold(0, |sum, store| store.available.saturating_add(sum))
    }

    /// The server without the stores that are being drained.
    fn undrained(&self) -> Server {
        let mut server = self.server.clone();
        server.stores.retain(|store| !store.draining);
        server
    }
}

impl Client {
    /// Whether a server gets shares now: it counts, answers, has room, and is not being drained.
    pub fn takes_shares(&self, server: &ServerStatus) -> bool {
        server.available() > 0 && !server.undrained().stores.is_empty() && self.counts(&server.server)
    }

    /// Bytes of files that this client can still store, given what servers said of themselves, and of what this account may use there.
    /// Servers that said nothing of a quota are taken to have none.
    pub fn room(&self, status: &GridStatus, usage: &[ServerUsage]) -> u64 {
        let left = |server: &ServerStatus| {
            let said =
                usage.iter().find(|usage| usage.server.id == server.server.id)?.outcome.as_ref().ok()?;
            Some(said.quota?.saturating_sub(said.used))
        };
        let takers = status.servers.iter().filter(|server| self.takes_shares(server));
        let free = takers.map(|server| {
            let free = server.available().min(left(server).unwrap_or(u64::MAX));
            (server.undrained(), free)
        });
        room(&free.collect::<Vec<_>>(), &self.settings().shares)
    }
}

/// Bytes of files that servers with so much room can take.
///
/// Some files are placed as uploads place theirs, without servers that are full. They show how quickly each server fills, and so which is
/// full first, and then the next. It ends when not as many servers as happiness wants would get shares of a file.
fn room(servers: &[(Server, u64)], shares: &Shares) -> u64 {
    let mut free: HashMap<NodeId, f64> =
        servers.iter().map(|(server, free)| (server.id, *free as f64)).collect();
    let (total, happy) = (shares.total, usize::from(shares.happy.max(shares.needed)));
    let mut full: BTreeSet<NodeId> =
        servers.iter().filter(|(_, free)| *free == 0).map(|(server, _)| server.id).collect();
    let files = (WORK / (usize::from(shares.total) * servers.len()).max(1)).clamp(FILES.0, FILES.1);
    let orders: Vec<Vec<Candidate>> = (0..files)
        .map(|file| {
            // Spread over all buckets, and the same each time.
            let bucket = PlacementBucket((file * (1 << 16) / files) as u16);
            candidates(bucket, servers.iter().map(|(server, _)| server))
        })
        .collect();
    let mut stored = 0.0;
    while let Some(taken) = one_round(&orders, total, &full, happy) {
        let mut lasts: Vec<f64> = taken.iter().map(|(id, shares)| free[id] / *shares as f64).collect();
        lasts.sort_by(f64::total_cmp);
        let Some(rounds) = lasts.get(lasts.len() / AT_ONCE).copied() else { break };
        for (id, shares) in taken {
            let left = free.entry(id).or_default();
            *left -= rounds * shares as f64;
            // A byte less than nothing is what is lost in counting.
            if *left < 1.0 {
                full.insert(id);
            }
        }
        stored += rounds * files as f64;
    }
    // A share of a file has a k-th of its bytes. A float that is too large becomes the largest number.
    (stored * f64::from(shares.needed)).round() as u64
}

/// How many shares of these files each server gets; `None` if one of them would get too few servers.
fn one_round(
    orders: &[Vec<Candidate>],
    total: u16,
    full: &BTreeSet<NodeId>,
    happy: usize,
) -> Option<HashMap<NodeId, u64>> {
    let mut taken: HashMap<NodeId, u64> = HashMap::new();
    for order in orders {
        let placed = assign(0..total, &BTreeMap::new(), order, full);
        let different: BTreeSet<&NodeId> = placed.values().collect();
        if different.len() < happy {
            return None;
        }
        placed.values().for_each(|server| *taken.entry(*server).or_default() += 1);
    }
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::ServedStore;

    fn server(number: u8, zone: Option<&str>) -> Server {
        let id = NodeId::new([number; 32]);
        let store = ServedStore {
            id: NodeId::new([number ^ 0x80; 32]),
            incarnation: 1,
            report: None,
            draining: false,
        };
        Server { stores: vec![store], zone: zone.map(str::to_owned), ..Server::unknown(id) }
    }

    fn alike(free: impl IntoIterator<Item = u64>) -> Vec<(Server, u64)> {
        free.into_iter().enumerate().map(|(at, free)| (server(at as u8, None), free)).collect()
    }

    /// Files of k units, one after the other, until one finds too few servers: what the formula is held against.
    fn filled(mut servers: Vec<(Server, u64)>, shares: &Shares) -> u64 {
        for file in 0u64.. {
            let bucket = PlacementBucket((file.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16);
            let order = candidates(bucket, servers.iter().map(|(server, _)| server));
            let full = servers.iter().filter(|(_, free)| *free == 0).map(|(server, _)| server.id).collect();
            let placed = assign(0..shares.total, &BTreeMap::new(), &order, &full);
            if placed.values().collect::<BTreeSet<_>>().len() < usize::from(shares.happy) {
                return file * u64::from(shares.needed);
            }
            for (server, free) in &mut servers {
                let given = placed.values().filter(|id| **id == server.id).count();
                *free = free.saturating_sub(given as u64);
            }
        }
        unreachable!("servers are full some time")
    }

    fn is_near(free: Vec<(Server, u64)>, shares: &str) {
        let shares: Shares = shares.parse().unwrap();
        let (said, is) = (room(&free, &shares), filled(free, &shares));
        assert!(said.abs_diff(is) * 20 <= is + 20, "{said} said, {is} stored");
    }

    #[test]
    fn it_says_what_placement_fills() {
        is_near(alike([300; 10]), "3/7/10");
        is_near(alike([300; 20]), "3/7/10");
        is_near(alike([300; 7]), "3/7/10");
        is_near(alike([100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100, 1200]), "3/7/10");
        is_near(alike([50, 5000, 50, 5000, 50, 5000]), "1/3/5");
        // Where zones differ, those with few servers fill first, and their servers get more than one share each.
        let zoned = |counts: &[usize], free| {
            let zones = counts.iter().enumerate().flat_map(|(zone, count)| vec![zone; *count]);
            let one = |(at, zone): (usize, usize)| (server(at as u8, Some(&zone.to_string())), free);
            zones.enumerate().map(one).collect::<Vec<_>>()
        };
        is_near(zoned(&[5, 1, 1], 300), "3/7/10");
        is_near(zoned(&[18, 2], 300), "3/7/10");
        is_near(zoned(&[4, 4, 4], 300), "3/7/10");
    }

    #[test]
    fn room_on_one_server_alone_stores_nothing() {
        let shares: Shares = "3/7/10".parse().unwrap();
        let with = |big: u64, small: u64, count: usize| {
            room(&alike(std::iter::repeat_n(small, count).chain([big])), &shares)
        };
        assert_eq!(with(1 << 50, 0, 9), 0, "one big and nine full servers");
        assert_eq!(with(1 << 50, 1000, 9), 3000, "until the nine are full");
        assert_eq!(with(1000, 1000, 9), 3000);
        assert_eq!(with(1000, 1000, 5), 0);
        assert_eq!(room(&[], &shares), 0);
        assert_eq!(room(&alike([u64::MAX; 250]), &shares), u64::MAX);
    }
}
