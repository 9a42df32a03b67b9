//! Checking, verifying and repairing, with no more than a verify or repair cap.

use caps::{Authority, Cap};
use client::check::{CheckOptions, DeepTotals, Grade, Health, Renewal, State};
use client::filestore::{Child, DirEdit, Replace};
use client::{Client, PutOptions, PutReport, Source};
use testkit::grid::SimGrid;
use testkit::liar::{Lie, corrupt};
use tokio::time::sleep;

use crate::filestore::{file, link, name, writer};
use crate::support::{SECOND, TWO_SEGMENTS, holder, noise, put, reads_back, simulate, within};
use crate::upload::to_puts;

const CLAIMED: CheckOptions = CheckOptions { grade: Grade::Claimed, repair: false, renew: None };
const FULL: CheckOptions = CheckOptions { grade: Grade::Full, repair: false, renew: None };
const REPAIR: CheckOptions = CheckOptions { grade: Grade::Claimed, repair: true, renew: None };
const REPAIR_FULLY: CheckOptions = CheckOptions { grade: Grade::Full, repair: true, renew: None };

async fn check(client: &Client, cap: &Cap, options: CheckOptions) -> Health {
    within(SECOND * 300, client.check(cap, options)).await.unwrap().unwrap()
}

async fn check_tree(client: &Client, cap: &Cap, options: CheckOptions) -> (Vec<Health>, DeepTotals) {
    let mut checking = client.check_tree(vec![cap.clone()], options);
    let mut reports = Vec::new();
    while let Some(health) = within(SECOND * 600, checking.next()).await {
        reports.push(health);
    }
    (reports, checking.finish().await)
}

/// Kills the servers that hold these shares.
fn lose(grid: &mut SimGrid, report: &PutReport, shares: std::ops::Range<u16>) -> Vec<usize> {
    let lost: Vec<usize> = shares.map(|number| holder(grid, report, number)).collect();
    lost.iter().for_each(|server| grid.kill(*server));
    lost
}

#[test]
fn who_failed_at_something_else_is_asked_all_the_same() {
    simulate(async {
        let mut grid = SimGrid::start(39, 10).await;
        let client = grid.client("3/7/10").await;
        let report = put(&client, &noise(39, TWO_SEGMENTS)).await.unwrap();
        for index in 0..3 {
            corrupt(&grid, index, to_puts(Lie::Body(|_, bytes| *bytes.last_mut().unwrap() ^= 1)));
        }
        let failed = put(&client, &noise(38, 500_000)).await.unwrap().failures;
        assert!(!failed.is_empty());
        let health = check(&client, &report.cap, CLAIMED).await;
        assert_eq!((health.good, &health.problems[..]), (10, &[][..]));
    });
}

#[test]
fn what_was_lost_is_made_anew_from_a_verify_cap_alone() {
    for size in [4096, 100_000, TWO_SEGMENTS] {
        simulate(async {
            let mut grid = SimGrid::start(40, 12).await;
            let owner = grid.client("3/7/10").await;
            let data = noise(40, size);
            let report = put(&owner, &data).await.unwrap();
            let verify = report.cap.verify().unwrap();
            let keeper = grid.client("3/7/10").await;
            for options in [CLAIMED, FULL] {
                let health = check(&keeper, &verify, options).await;
                assert_eq!((health.state, health.good, health.grade), (State::Healthy, 10, options.grade));
            }
            lose(&mut grid, &report, 0..5);
            let health = check(&keeper, &verify, CLAIMED).await;
            assert_eq!((health.state, health.good, health.happiness), (State::Unhealthy, 5, 5));
            assert_eq!(health.problems.len(), 5, "{:?}", health.problems);
            let health = check(&keeper, &verify, REPAIR).await;
            assert!(health.is_repaired(), "{health:?}");
            assert_eq!((health.made.len(), health.good, health.happiness), (5, 10, 7));
            // All that is left of the old ones goes too.
            lose(&mut grid, &report, 5..7);
            let health = check(&keeper, &verify, FULL).await;
            assert!(health.state == State::Unhealthy && health.good >= 5, "{health:?}");
            reads_back(&grid.client("3/7/10").await, &report.cap, &data).await;
        });
    }
}

#[test]
fn a_rotten_share_is_found_by_fetching_it_and_made_anew() {
    for size in [4096, TWO_SEGMENTS] {
        simulate(async {
            let mut grid = SimGrid::start(41, 10).await;
            let owner = grid.client("3/7/10").await;
            let report = put(&owner, &noise(41, size)).await.unwrap();
            let rotten = holder(&grid, &report, 4);
            let disk = grid.servers[rotten].disk.clone();
            let file = |path: &str| path.starts_with("shares/") || path.starts_with("packs/");
            let (path, len) = disk.files().into_iter().find(|(path, _)| file(path)).unwrap();
            disk.flip(&path, len as usize / 3);
            let verify = report.cap.verify().unwrap();
            let claimed = check(&owner, &verify, CLAIMED).await;
            assert_eq!(claimed.state, State::Healthy, "the server does not know");
            let full = check(&owner, &verify, FULL).await;
            assert_eq!((full.state, full.good), (State::Unhealthy, 9), "{full:?}");
            let repaired = check(&owner, &verify, REPAIR_FULLY).await;
            assert_eq!(repaired.made.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4]);
            assert!(repaired.after.is_some_and(|after| after == State::Healthy), "{repaired:?}");
        });
    }
}

#[test]
fn below_k_nothing_is_made_and_what_comes_back_counts_again() {
    simulate(async {
        let mut grid = SimGrid::start(42, 10).await;
        let owner = grid.client("3/7/10").await;
        let report = put(&owner, &noise(42, 100_000)).await.unwrap();
        let lost = lose(&mut grid, &report, 0..8);
        let health = check(&owner, &report.cap, REPAIR).await;
        assert_eq!((health.state, health.after, health.made.len()), (State::Unrecoverable, None, 0));
        grid.restart(lost[0]).await.unwrap();
        sleep(SECOND * 40).await;
        let health = check(&owner, &report.cap, REPAIR).await;
        assert_eq!((health.state, health.after), (State::Unhealthy, Some(State::Unhealthy)));
        assert_eq!((health.good, health.happiness), (10, 3), "all shares, on three servers");
    });
}

/// A directory with a small file, a file in chunks, a mutable file and a directory of its own.
async fn tree(client: &Client) -> Child {
    let (top, below) = (client.make_directory().await.unwrap(), client.make_directory().await.unwrap());
    let options = PutOptions { chunked: true, ..PutOptions::default() };
    let large = client.put(Source::bytes(noise(43, 17 << 20)), options).await.unwrap();
    let large = client.child_of(large.cap).await.unwrap();
    let mutable =
        client.make_mutable(Source::bytes(noise(44, 200_000)), PutOptions::default()).await.unwrap();
    let small = file(client, &noise(45, 5000)).await;
    let edits = vec![link("large", &large), link("mutable", &mutable), link("below", &below)];
    client.edit_directory(&writer(&top), edits).await.unwrap();
    let again = DirEdit::Link { name: name("small"), child: Box::new(small), replace: Replace::No };
    client.edit_directory(&writer(&below), vec![again, link("up", &top)]).await.unwrap();
    // Members that a lone writer left out are brought up.
    sleep(SECOND).await;
    top
}

#[test]
fn a_repair_cap_walks_checks_and_repairs_all_of_a_tree_and_reads_none_of_it() {
    simulate(async {
        let mut grid = SimGrid::start(43, 12).await;
        let owner = grid.client("3/7/10").await;
        let top = tree(&owner).await;
        let keeper = grid.client("3/7/10").await;
        let repair = keeper.repair_cap(top.cap()).await.unwrap().unwrap();
        assert_eq!(repair.authority(), Authority::Repair);
        let (reports, totals) = check_tree(&keeper, &repair, CLAIMED).await;
        assert_eq!((totals.slots, totals.unknown, totals.root_only), (3, 0, 0), "{totals:?}");
        // The small file, the mutable file's content, the large one's index and its chunks.
        assert!(totals.objects >= 5 && totals.healthy == totals.objects + totals.slots, "{totals:?}");
        let mut hashes: Vec<_> = reports.iter().map(|health| health.hash).collect();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), reports.len(), "each thing once");

        grid.kill(0);
        grid.kill(1);
        let (_, totals) = check_tree(&keeper, &repair, CLAIMED).await;
        assert!(totals.unhealthy > 0 && totals.unrecoverable == 0, "{totals:?}");
        let (_, totals) = check_tree(&keeper, &repair, REPAIR).await;
        // Lost members of slots are replaced by whoever may write.
        assert!(totals.repaired > 0 && totals.unhealthy <= totals.slots, "{totals:?}");
        let (reports, _) = check_tree(&keeper, &repair, CLAIMED).await;
        let ill: Vec<_> = reports.iter().filter(|health| health.state != State::Healthy).collect();
        assert!(ill.iter().all(|health| health.is_slot()), "{ill:?}");
        // The owner's own check replaces them, in all directories.
        let (_, totals) = check_tree(&owner, top.cap(), REPAIR).await;
        assert_eq!((totals.unhealthy, totals.repaired), (0, ill.len() as u64), "{totals:?}");
        let (_, totals) = check_tree(&keeper, &repair, CLAIMED).await;
        assert_eq!(totals.healthy, totals.objects + totals.slots, "{totals:?}");
    });
}

#[test]
fn a_verify_cap_of_a_tree_never_says_that_all_of_it_is_healthy() {
    simulate(async {
        let mut grid = SimGrid::start(44, 10).await;
        let owner = grid.client("3/7/10").await;
        let top = tree(&owner).await;
        let (reports, totals) = check_tree(&owner, &top.cap().verify().unwrap(), CLAIMED).await;
        assert_eq!((reports.len(), totals.root_only), (1, 1), "{totals:?}");
    });
}

#[test]
fn two_repairs_at_once_do_no_harm() {
    simulate(async {
        let mut grid = SimGrid::start(45, 13).await;
        let owner = grid.client("3/7/10").await;
        let data = noise(45, TWO_SEGMENTS);
        let report = put(&owner, &data).await.unwrap();
        lose(&mut grid, &report, 2..5);
        let (one, other) = (grid.client("3/7/10").await, grid.client("3/7/10").await);
        let verify = report.cap.verify().unwrap();
        let (first, second) = tokio::join!(check(&one, &verify, REPAIR), check(&other, &verify, REPAIR));
        assert!(first.is_repaired() && second.is_repaired(), "{first:?} {second:?}");
        assert_eq!(check(&one, &verify, FULL).await.state, State::Healthy);
        reads_back(&grid.client("3/7/10").await, &report.cap, &data).await;
    });
}

#[test]
fn a_server_that_dies_while_it_is_given_a_share_is_replaced_by_another() {
    simulate(async {
        let mut grid = SimGrid::start(46, 13).await;
        let owner = grid.client("3/7/10").await;
        let report = put(&owner, &noise(46, 8 * TWO_SEGMENTS)).await.unwrap();
        let holders: Vec<usize> = (0..10).map(|number| holder(&grid, &report, number)).collect();
        let spare: Vec<usize> = (0..13).filter(|server| !holders.contains(server)).collect();
        grid.kill(holders[0]);
        // It takes some of a share and no more.
        grid.servers[spare[0]].disk.set_capacity(300_000);
        grid.servers[spare[1]].disk.set_capacity(300_000);
        let health = check(&owner, &report.cap, REPAIR).await;
        assert!(health.is_repaired(), "{health:?}");
        let given = grid.index_of(&health.made.last().unwrap().1);
        assert_eq!(given, Some(spare[2]), "{health:?}");
    });
}

#[test]
fn everything_below_a_root_is_leased_by_whoever_holds_its_repair_cap() {
    simulate(async {
        let mut grid = SimGrid::start(47, 10).await;
        let owner = grid.client("3/7/10").await;
        let top = tree(&owner).await;
        owner.close().await;
        let keeper = grid.client("3/7/10").await;
        let repair = keeper.repair_cap(top.cap()).await.unwrap().unwrap();
        let (_, counted) = check_tree(&keeper, &repair, CLAIMED).await;
        let renew = Some(Renewal::Seconds(3600));
        let options = CheckOptions { grade: Grade::Unseen, repair: false, renew };
        let (reports, totals) = check_tree(&keeper, &repair, options).await;
        assert!(reports.is_empty(), "nobody was asked how it is");
        assert_eq!(totals.leased, counted.objects + counted.slots);
        // One share of each object and one copy of each slot on each server.
        assert_eq!((totals.leases, totals.not_renewed), (totals.leased * 10, 0));
        grid.kill(3);
        let (_, totals) = check_tree(&keeper, &repair, options).await;
        assert_eq!((totals.leases, totals.not_renewed), (totals.leased * 9, 1));
    });
}

#[test]
fn a_repair_does_not_shrink_a_slots_members_while_some_are_away() {
    simulate(async {
        let mut grid = SimGrid::start(48, 10).await;
        let owner = grid.client("3/7/10").await;
        let top = owner.make_directory().await.unwrap();
        (0..3).for_each(|server| grid.kill(server));
        let health = check(&owner, top.cap(), REPAIR).await;
        assert_eq!((health.now(), health.good, health.total), (State::Unhealthy, 7, 10), "{health:?}");
        for server in 0..3 {
            grid.restart(server).await.unwrap();
        }
        sleep(SECOND * 40).await;
        let health = check(&owner, top.cap(), CLAIMED).await;
        assert_eq!((health.state, health.good), (State::Healthy, 10), "{health:?}");
    });
}

#[test]
fn a_slot_that_was_made_on_few_servers_gets_more_members_when_there_are_more() {
    simulate(async {
        let mut grid = SimGrid::start(58, 4).await;
        let client = grid.client("2/4/5").await;
        let top = client.make_directory().await.unwrap();
        let before = check(&client, top.cap(), REPAIR).await;
        assert_eq!((before.total, before.state, before.after), (4, State::Healthy, None));
        grid.add_server(None).await;
        grid.add_server(None).await;
        client.refresh().await;
        // Who only looks, or may not write, leaves it; it is well as it is.
        let seen = check(&client, top.cap(), CLAIMED).await;
        assert_eq!((seen.total, seen.state), (4, State::Healthy));
        let reader = top.cap().read().unwrap();
        let seen = check(&client, &reader, REPAIR).await;
        assert_eq!((seen.total, seen.after), (4, None));
        let grown = check(&client, top.cap(), REPAIR).await;
        assert_eq!((grown.total, grown.after), (5, Some(State::Healthy)), "{grown:?}");
        let again = check(&client, top.cap(), REPAIR).await;
        assert_eq!((again.total, again.good, again.after), (5, 5, None));
    });
}
