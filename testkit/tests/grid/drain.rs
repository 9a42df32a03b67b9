//! Handing shares over: a server that is drained may be switched off, a new one gets its part, and nothing is ever worse for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use caps::Cap;
use client::Client;
use client::check::{CheckOptions, Grade, State};
use protocol::frame;
use protocol::message::{Bytes32, PutDone, PutReply, Reply, Request, StoreState};
use storage_server::{Order, Phase, Progress, StoreOptions};
use testkit::disk::{Faults, Survival};
use testkit::grid::{DISK, SimGrid};
use testkit::liar::{Lie, corrupt};
use tokio::time::sleep;

use crate::support::{SECOND, TWO_SEGMENTS, noise, put, reads_back, seeds, simulate, within};

pub(crate) const CLAIMED: CheckOptions = CheckOptions { grade: Grade::Claimed, repair: false, renew: None };
pub(crate) const FULL: CheckOptions = CheckOptions { grade: Grade::Full, repair: false, renew: None };

/// What the tests keep an eye on.
pub(crate) type Files = Vec<(Cap, Vec<u8>)>;

pub(crate) async fn files(client: &Client, sizes: &[usize]) -> Files {
    let mut files = Vec::new();
    for (seed, size) in (1..).zip(sizes) {
        let data = noise(seed, *size);
        files.push((put(client, &data).await.unwrap().cap, data));
    }
    files
}

pub(crate) fn give(grid: &mut SimGrid, index: usize, order: Order) {
    order.give(&*grid.servers[index].dir.as_disk()).unwrap();
    grid.hand_over(index);
}

pub(crate) fn how_far(grid: &SimGrid, index: usize, order: Order) -> Option<Progress> {
    order.how_far(&*grid.servers[index].dir.as_disk()).unwrap()
}

/// Waits until a drain is in this phase.
pub(crate) async fn drained(grid: &SimGrid, index: usize, phase: Phase) -> Progress {
    let waiting = async {
        loop {
            sleep(SECOND).await;
            match how_far(grid, index, Order::Drain) {
                Some(progress) if progress.phase == phase => return progress,
                _ => {}
            }
        }
    };
    within(SECOND * 600, waiting).await
}

/// A new client reads everything, and finds all of it on this many servers.
async fn well(grid: &mut SimGrid, shares: &str, files: &Files, options: CheckOptions) {
    let client = grid.client(shares).await;
    for (cap, data) in files {
        let health = client.check(cap, options).await.unwrap().unwrap();
        assert_eq!(health.state, State::Healthy, "{health:?}");
        reads_back(&client, cap, data).await;
    }
}

pub(crate) fn assert_counters_hold(grid: &SimGrid) {
    for server in grid.servers.iter().filter_map(|server| server.server()) {
        for store in server.stores() {
            assert_eq!(store.audit().unwrap(), Vec::<String>::new());
        }
    }
}

pub(crate) fn shares(grid: &SimGrid, index: usize) -> u64 {
    grid.servers[index].server().unwrap().status().stores[0].shares
}

#[test]
fn a_server_that_was_drained_may_be_switched_off() {
    simulate(async {
        let mut grid = SimGrid::start(70, 6).await;
        let owner = grid.client("2/4/4").await;
        let files = files(&owner, &[900, 9_000, 90_000, 700_000, TWO_SEGMENTS]).await;
        let mine = shares(&grid, 0);
        give(&mut grid, 0, Order::Drain);
        let done = drained(&grid, 0, Phase::Complete).await;
        assert_eq!((done.shares, done.done_shares, done.left, done.crowded), (mine, mine, 0, 0), "{done:?}");
        assert!(mine > 0 && done.problems.is_empty() && shares(&grid, 0) == mine, "nothing is taken away");
        // Nothing new goes there, whether its announcement was heard or not.
        let mut refused = [0, 0];
        for heard in [false, true] {
            if heard {
                grid.announce(0).await;
                owner.refresh().await;
            }
            for seed in 0..8 {
                let report = put(&owner, &noise(100 + 10 * u8::from(heard) + seed, 300_000)).await.unwrap();
                assert!(
                    report.shares.values().all(|server| grid.index_of(&server.id) != Some(0)),
                    "{report:?}"
                );
                refused[usize::from(heard)] += report.failures.len();
            }
        }
        assert!(refused[0] > 0 && refused[1] == 0, "{refused:?}");
        well(&mut grid, "2/4/4", &files, FULL).await;
        grid.kill(0);
        well(&mut grid, "2/4/4", &files, FULL).await;
        assert_counters_hold(&grid);
        // Owners have a year to lease what moved; until then it stays.
        sleep(SECOND * (30 * 24 * 3600)).await;
        // A new client would find no announcement that is not too old.
        for (cap, data) in &files {
            assert_eq!(owner.check(cap, CLAIMED).await.unwrap().unwrap().state, State::Healthy);
            reads_back(&owner, cap, data).await;
        }
    });
}

#[test]
fn a_drain_that_is_taken_back_leaves_a_server_as_any() {
    simulate(async {
        let mut grid = SimGrid::start(71, 4).await;
        let owner = grid.client("2/4/4").await;
        let files = files(&owner, &[9_000]).await;
        give(&mut grid, 2, Order::Drain);
        let stuck = drained(&grid, 2, Phase::Waiting).await;
        // All four servers have a share: without one of them there are three.
        assert_eq!((stuck.left, stuck.crowded), (0, 1), "{stuck:?}");
        put(&owner, &noise(60, 9_000)).await.unwrap_err();
        Order::Drain.take_back(&*grid.servers[2].dir.as_disk()).unwrap();
        sleep(SECOND * 5).await;
        assert_eq!(how_far(&grid, 2, Order::Drain), None);
        put(&owner, &noise(60, 9_000)).await.unwrap();
        well(&mut grid, "2/4/4", &files, CLAIMED).await;
    });
}

#[test]
fn a_drain_waits_for_a_server_that_can_take_what_is_left() {
    simulate(async {
        let mut grid = SimGrid::start(72, 4).await;
        let owner = grid.client("2/4/4").await;
        let files = files(&owner, &[9_000, 700_000]).await;
        // One more, which is full.
        let full = grid.add_server(None).await;
        grid.kill(full);
        grid.servers[full].options = StoreOptions { reserve: DISK, ..StoreOptions::default() };
        grid.restart(full).await.unwrap();
        give(&mut grid, 1, Order::Drain);
        let stuck = drained(&grid, 1, Phase::Waiting).await;
        assert!(stuck.crowded == 2 && stuck.problems.iter().any(|p| p.contains("server4")), "{stuck:?}");
        grid.add_server(None).await;
        let done = drained(&grid, 1, Phase::Complete).await;
        assert_eq!((done.left, done.crowded), (0, 0));
        grid.kill(1);
        grid.kill(full);
        well(&mut grid, "2/4/4", &files, FULL).await;
    });
}

#[test]
fn a_drain_that_waits_looks_again_when_it_is_ordered_anew() {
    simulate(async {
        let mut grid = SimGrid::start(73, 4).await;
        let owner = grid.client("2/4/4").await;
        files(&owner, &[9_000]).await;
        give(&mut grid, 1, Order::Drain);
        drained(&grid, 1, Phase::Waiting).await;
        // By now it waits for five minutes each time; a new server comes just after it looked.
        sleep(SECOND * 3600).await;
        let looked = how_far(&grid, 1, Order::Drain).unwrap().updated_s;
        while how_far(&grid, 1, Order::Drain).unwrap().updated_s == looked {
            sleep(SECOND).await;
        }
        grid.add_server(None).await;
        give(&mut grid, 1, Order::Drain);
        assert_eq!(how_far(&grid, 1, Order::Drain), None, "whoever follows it waits for what is found now");
        within(SECOND * 20, drained(&grid, 1, Phase::Complete)).await;
    });
}

/// The server is stopped after ever more time, its power fails or not, and a server that takes shares with it; then it goes on.
#[test]
fn a_drain_that_is_killed_at_any_step_goes_on() {
    for seed in seeds(12) {
        simulate(async {
            let mut grid = SimGrid::start_silent(80 + seed, 6).await;
            let owner = grid.client("2/4/4").await;
            let sizes = [900, 9_000, 20_000, 90_000, 700_000, TWO_SEGMENTS];
            let files = files(&owner, &sizes).await;
            for step in 0..6u64 {
                give(&mut grid, 0, Order::Drain);
                sleep(SECOND * (1 + seed as u32 * 3 + step as u32 * 5) / 200).await;
                let survival = [Survival::Nothing, Survival::Chance, Survival::Everything][step as usize % 3];
                grid.crash(0, survival);
                let other = 1 + (seed + step) as usize % 5;
                if step % 2 == 1 {
                    grid.crash(other, survival);
                    grid.restart(other).await.unwrap();
                }
                grid.restart(0).await.unwrap();
                assert!(
                    grid.servers[0].server().unwrap().stores()[0].is_draining(),
                    "it knows that it is drained"
                );
                well(&mut grid, "2/4/4", &files, CLAIMED).await;
            }
            grid.hand_over(0);
            drained(&grid, 0, Phase::Complete).await;
            grid.crash(0, Survival::Nothing);
            well(&mut grid, "2/4/4", &files, FULL).await;
            assert_counters_hold(&grid);
        });
    }
}

#[test]
fn a_server_that_says_that_it_took_a_share_must_prove_it() {
    for proves_falsely in [false, true] {
        simulate(async {
            let mut grid = SimGrid::start(73, 6).await;
            let owner = grid.client("2/4/4").await;
            let files = files(&owner, &[900, 9_000, 20_000, 50_000]).await;
            let asked = Arc::new(AtomicUsize::new(0));
            let counting = asked.clone();
            // It says that it took the share; or that it has it all along.
            corrupt(&grid, 5, move |request| {
                let Request::Put(put) = request else { return Lie::Truth };
                counting.fetch_add(1, Ordering::Relaxed);
                let hash = put.expected.as_ref().unwrap().hash;
                let said = match proves_falsely {
                    true => frame::encode(&Reply::Ok(PutReply::Have(Bytes32([7; 32])))),
                    false => {
                        let go = frame::encode(&Reply::Ok(PutReply::Go(0)));
                        [go, frame::encode(&Reply::Ok(PutDone { hash }))].concat().into()
                    }
                };
                Lie::Say(said)
            });
            give(&mut grid, 0, Order::Drain);
            let done = drained(&grid, 0, Phase::Complete).await;
            assert!(asked.load(Ordering::Relaxed) > 0, "nobody asked the liar");
            assert_eq!((done.left, done.crowded), (0, 0));
            grid.kill(0);
            grid.kill(5);
            let client = grid.client("2/3/4").await;
            for (cap, data) in &files {
                reads_back(&client, cap, data).await;
            }
        });
    }
}

#[test]
fn damaged_shares_are_told_and_not_handed_over() {
    simulate(async {
        let mut grid = SimGrid::start(74, 6).await;
        let owner = grid.client("2/4/4").await;
        files(&owner, &[200_000, 210_000, 220_000, 230_000]).await;
        let disk = grid.servers[0].disk.clone();
        let (path, len) = disk.files().into_iter().find(|(path, _)| path.starts_with("shares/")).unwrap();
        disk.flip(&path, len as usize / 2);
        give(&mut grid, 0, Order::Drain);
        let done = drained(&grid, 0, Phase::Complete).await;
        assert_eq!((done.damaged, done.done_shares + 1), (1, done.shares), "{done:?}");
    });
}

/// Every server has the names of all in its configuration.
async fn choose_all(grid: &mut SimGrid) {
    let all: BTreeSet<_> = grid.servers.iter().map(|server| server.key.id()).collect();
    for index in 0..grid.servers.len() {
        if grid.servers[index].hand_over_to != all {
            grid.servers[index].hand_over_to = all.clone();
            grid.kill(index);
            grid.restart(index).await.unwrap();
        }
    }
}

/// Orders all servers to rebalance and waits until each of them did.
async fn rebalance(grid: &mut SimGrid, shares: &str, files: &Files) -> u64 {
    choose_all(grid).await;
    let all = 0..grid.servers.len();
    for index in all.clone() {
        give(grid, index, Order::Rebalance);
    }
    let client = grid.client(shares).await;
    for _ in 0..300 {
        // At every moment.
        sleep(SECOND / 10).await;
        let (cap, _) = &files[0];
        let health = client.check(cap, CLAIMED).await.unwrap().unwrap();
        assert_eq!(health.state, State::Healthy, "{health:?}");
        let told = |index: usize| Order::Rebalance.is_given(&*grid.servers[index].dir.as_disk()).unwrap();
        if !all.clone().any(told) {
            break;
        }
    }
    all.map(|index| how_far(grid, index, Order::Rebalance).unwrap().done_shares).sum()
}

#[test]
fn new_servers_get_their_part_and_then_all_rest() {
    for seed in seeds(4) {
        simulate(async {
            let mut grid = SimGrid::start_silent(90 + seed, 5).await;
            let owner = grid.client("2/4/4").await;
            let sizes: Vec<usize> = (0..40).map(|n| 20_000 + n * 11_000).collect();
            let files = files(&owner, &sizes).await;
            let total: u64 = (0..5).map(|index| shares(&grid, index)).sum();
            let new = [grid.add_server(None).await, grid.add_server(None).await];
            // All at once, and again until nobody has anything to do.
            let mut moved = Vec::new();
            for _ in 0..6 {
                moved.push(rebalance(&mut grid, "2/4/4", &files).await);
                well(&mut grid, "2/4/4", &files, CLAIMED).await;
                if moved.last() == Some(&0) {
                    break;
                }
            }
            assert!(moved[0] > 0 && moved.last() == Some(&0), "{moved:?}");
            let now: BTreeMap<usize, u64> = (0..7).map(|index| (index, shares(&grid, index))).collect();
            assert!(new.iter().all(|index| now[index] >= 5), "{now:?}");
            assert_eq!(now.values().sum::<u64>(), total, "no share twice, none lost: {now:?}");
            well(&mut grid, "2/4/4", &files, FULL).await;
            assert_counters_hold(&grid);
        });
    }
}

#[test]
fn several_shares_on_one_server_are_spread_over_new_ones() {
    simulate(async {
        let mut grid = SimGrid::start(95, 2).await;
        let owner = grid.client("2/2/4").await;
        let files = files(&owner, &[9_000, 300_000]).await;
        grid.add_server(None).await;
        grid.add_server(None).await;
        for _ in 0..3 {
            rebalance(&mut grid, "2/2/4", &files).await;
        }
        well(&mut grid, "2/4/4", &files, FULL).await;
        assert!((0..4).all(|index| shares(&grid, index) == 2));
    });
}

#[test]
fn nothing_is_let_go_on_the_word_of_servers_that_anybody_may_invent() {
    simulate(async {
        let mut grid = SimGrid::start(97, 4).await;
        let owner = grid.client("2/4/4").await;
        files(&owner, &[9_000, 300_000]).await;
        for _ in 0..4 {
            grid.add_server(None).await;
        }
        for index in 0..4 {
            give(&mut grid, index, Order::Rebalance);
        }
        sleep(SECOND * 120).await;
        for index in 0..4 {
            let progress = how_far(&grid, index, Order::Rebalance).unwrap();
            assert_eq!((progress.phase, shares(&grid, index)), (Phase::Waiting, 2), "{progress:?}");
            assert!(progress.problems[0].contains("hand_over_to"), "{progress:?}");
        }
    });
}

#[test]
fn a_drain_is_not_complete_while_something_cannot_be_read() {
    simulate(async {
        let mut grid = SimGrid::start(98, 6).await;
        let owner = grid.client("2/4/4").await;
        files(&owner, &[900, 9_000, 300_000]).await;
        grid.servers[0].disk.set_faults(Faults { failing_sync: Some(1), ..Faults::default() });
        let (mut seed, failed) = (50, |grid: &SimGrid| {
            grid.servers[0].server().unwrap().status().stores[0].state == StoreState::Failed
        });
        while !failed(&grid) {
            put(&owner, &noise(seed, 9_000)).await.unwrap();
            seed += 1;
        }
        give(&mut grid, 0, Order::Drain);
        let stuck = drained(&grid, 0, Phase::Waiting).await;
        assert!(stuck.problems.iter().any(|problem| problem.contains("failed")), "{stuck:?}");
        sleep(SECOND * 1200).await;
        assert_eq!(how_far(&grid, 0, Order::Drain).unwrap().phase, Phase::Waiting);
    });
}

#[test]
fn nothing_is_let_go_while_a_server_is_silent() {
    simulate(async {
        let mut grid = SimGrid::start(96, 4).await;
        let owner = grid.client("2/4/4").await;
        files(&owner, &[9_000, 300_000]).await;
        grid.add_server(None).await;
        choose_all(&mut grid).await;
        grid.kill(3);
        for index in [0, 1, 2, 4] {
            give(&mut grid, index, Order::Rebalance);
        }
        sleep(SECOND * 120).await;
        for index in [0, 1, 2] {
            let progress = how_far(&grid, index, Order::Rebalance).unwrap();
            assert_eq!((progress.phase, progress.done_shares), (Phase::Waiting, 0), "{progress:?}");
            assert_eq!(shares(&grid, index), 2);
        }
        assert_eq!(shares(&grid, 4), 0);
    });
}

#[test]
fn a_drained_member_of_a_quorum_is_replaced_by_whoever_may_write() {
    simulate(async {
        let mut grid = SimGrid::start(97, 6).await;
        let owner = grid.client("2/4/4").await;
        let mut directories = Vec::new();
        for _ in 0..6 {
            directories.push(owner.make_directory().await.unwrap().cap().clone());
        }
        give(&mut grid, 0, Order::Drain);
        let done = drained(&grid, 0, Phase::Complete).await;
        assert!(0 < done.slots && done.slots < 6, "{done:?}");
        grid.announce(0).await;
        owner.refresh().await;
        let mut unhealthy = 0;
        for cap in &directories {
            let health = owner.check(cap, CLAIMED).await.unwrap().unwrap();
            let named = health.problems.iter().any(|problem| problem.contains("is being drained"));
            assert_eq!(health.state == State::Unhealthy, named, "{health:?}");
            unhealthy += u64::from(named);
            // A new one does not begin there.
            owner.make_directory().await.unwrap();
            let repair = CheckOptions { repair: true, ..CLAIMED };
            // Without the write cap nothing can be done about it.
            let read_only = owner.check(&cap.verify().unwrap(), repair).await.unwrap().unwrap();
            assert_eq!(read_only.now() == State::Unhealthy, named, "{read_only:?}");
            let health = owner.check(cap, repair).await.unwrap().unwrap();
            assert_eq!(health.now(), State::Healthy, "{health:?}");
        }
        assert_eq!(unhealthy, done.slots);
        // It counts again now and then.
        sleep(SECOND * 700).await;
        let done = drained(&grid, 0, Phase::Complete).await;
        assert_eq!(done.slots, 0, "{done:?}");
        grid.kill(0);
        for cap in &directories {
            let health = owner.check(cap, CLAIMED).await.unwrap().unwrap();
            assert_eq!(health.state, State::Healthy, "{health:?}");
        }
    });
}
