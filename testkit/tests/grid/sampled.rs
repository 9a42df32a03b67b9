//! Sampled checks: what a few random pieces of each share find, and whom they blame; and what a store's own scrub finds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use caps::Cap;
use client::check::{CheckOptions, Grade, Health, State};
use client::filestore::{DirEdit, Replace};
use client::{Client, PutReport};
use protocol::NodeId;
use protocol::message::{Bulk, Bytes32, ErrorCode, Reply, Request, Sample, WireError};
use protocol::session::RequestError;
use storage_server::ScrubOptions;
use testkit::grid::SimGrid;
use testkit::liar::{Lie, corrupt};
use testkit::net::Link;
use tokio::time::sleep;

use crate::filestore::{file, name, writer};
use crate::support::{SECOND, TWO_SEGMENTS, holder, noise, put, reads_back, session, simulate, within};

const CLAIMED: CheckOptions = CheckOptions { grade: Grade::Claimed, repair: false, renew: None };
const FULL: CheckOptions = CheckOptions { grade: Grade::Full, repair: false, renew: None };
/// A file whose shares have 2 MB: 1,955 chunks.
const LARGE: usize = 6_000_000;

fn sampled(chunks: Option<u32>) -> CheckOptions {
    CheckOptions { grade: Grade::Sampled { chunks }, ..CLAIMED }
}

async fn check(client: &Client, cap: &Cap, options: CheckOptions) -> Health {
    within(SECOND * 300, client.check(cap, options)).await.unwrap().unwrap()
}

/// Ten servers with a share each, one of which lies as `lie` says when it is asked for samples of chunks.
async fn with_liar(
    seed: u64,
    size: usize,
    lie: impl Fn(&[u64]) -> Lie + Send + Sync + 'static,
) -> (SimGrid, Client, PutReport, NodeId) {
    let mut grid = SimGrid::start(seed, 11).await;
    let owner = grid.client("3/7/10").await;
    let report = put(&owner, &noise(seed as u8, size)).await.unwrap();
    let liar = holder(&grid, &report, 4);
    corrupt(&grid, liar, move |request| match request {
        Request::Sample(sample) => lie(&sample.chunks),
        _ => Lie::Truth,
    });
    let id = grid.servers[liar].key.id();
    // The liar's listener is a new one.
    let keeper = grid.client("3/7/10").await;
    (grid, keeper, report, id)
}

/// All that is found is share 4, at the liar.
fn only_four(health: &Health, liar: NodeId) {
    assert_eq!((health.state, health.good), (State::Unhealthy, 9), "{health:?}");
    assert!(!health.holders.contains_key(&4));
    assert!(health.bad.iter().all(|bad| bad.number == 4 && bad.server.id == liar), "{health:?}");
}

#[test]
fn what_is_all_there_is_healthy_and_small_shares_come_whole() {
    simulate(async {
        let mut grid = SimGrid::start(60, 10).await;
        let owner = grid.client("3/7/10").await;
        for (size, chunks, looked) in [
            (4096, None, None),
            (100_000, Some(1), None),
            (TWO_SEGMENTS, None, Some(161)),
            (TWO_SEGMENTS, Some(1), Some(1)),
            // All there are of it.
            (TWO_SEGMENTS, Some(5000), Some(326)),
        ] {
            let report = put(&owner, &noise(60, size)).await.unwrap();
            let health = check(&owner, &report.cap.verify().unwrap(), sampled(chunks)).await;
            assert_eq!((health.state, health.good), (State::Healthy, 10), "{health:?}");
            assert_eq!((health.sampled, health.bad.len()), (looked, 0), "{size}: {health:?}");
        }
    });
}

#[test]
fn a_dropped_share_is_found_by_the_first_sample() {
    simulate(async {
        for keeps_the_end in [false, true] {
            let mut grid = SimGrid::start(61, 10).await;
            let owner = grid.client("3/7/10").await;
            let report = put(&owner, &noise(61, TWO_SEGMENTS)).await.unwrap();
            let server = holder(&grid, &report, 4);
            let disk = &grid.servers[server].disk;
            let (path, len) = disk.files().into_iter().find(|(path, _)| path.starts_with("shares/")).unwrap();
            if keeps_the_end {
                // All blocks, and neither table nor descriptor: it still says what it had.
                assert!((0..len - 2000).step_by(500).all(|at| disk.flip(&path, at as usize)));
            } else {
                disk.as_disk().remove(&path).unwrap();
            }
            let claimed = check(&owner, &report.cap, CLAIMED).await;
            assert_eq!(claimed.state, State::Healthy, "the server does not know");
            let health = check(&owner, &report.cap, sampled(Some(1))).await;
            only_four(&health, grid.servers[server].key.id());
            assert_eq!(health.bad.len(), usize::from(keeps_the_end), "{health:?}");
        }
    });
}

/// How often so many chunks of each share, in 60 checks, find what a cheat who proves all he still has lost: chunks of which `lost` says so.
fn finds(seed: u64, chunks: u32, lost: fn(u64) -> bool) -> usize {
    let found = |options: CheckOptions| {
        simulate(async move {
            let asked = Arc::new(AtomicU64::new(0));
            let counter = asked.clone();
            let (_grid, keeper, report, liar) = with_liar(seed, LARGE, move |chunks| {
                counter.fetch_add(chunks.len() as u64, Ordering::Relaxed);
                // What it sends for a chunk that it lost cannot be right.
                let spoil: fn(u64, &mut [u8]) = |at, piece| {
                    if at == 0 {
                        piece[0] ^= 1
                    }
                };
                if chunks.iter().any(|chunk| lost(*chunk)) { Lie::Body(spoil) } else { Lie::Truth }
            })
            .await;
            let mut found = 0;
            for _ in 0..60 {
                let health = check(&keeper, &report.cap, options).await;
                if health.state == State::Unhealthy {
                    only_four(&health, liar);
                    found += 1;
                }
            }
            assert_eq!(asked.load(Ordering::Relaxed), 60 * u64::from(chunks));
            found
        })
    };
    found(sampled(Some(chunks)))
}

#[test]
fn one_lost_hundredth_is_found_with_99_of_100_by_459_chunks() {
    // Spread out, and in one piece: 20 of 1,955.
    for lost in [|chunk| chunk % 100 == 37, |chunk| (1000..1020).contains(&chunk)] {
        assert!(finds(62, 459, lost) >= 58, "about 59.5 of 60 are to be expected");
        let few = finds(63, 46, lost);
        assert!((12..34).contains(&few), "{few}: about 22 of 60 are to be expected");
    }
}

#[test]
fn a_rotten_hundredth_of_a_disk_is_found_and_made_anew_elsewhere() {
    simulate(async {
        let mut grid = SimGrid::start(64, 11).await;
        let owner = grid.client("3/7/10").await;
        let data = noise(64, LARGE);
        let report = put(&owner, &data).await.unwrap();
        let server = holder(&grid, &report, 4);
        let disk = &grid.servers[server].disk;
        let (path, len) = disk.files().into_iter().find(|(path, _)| path.starts_with("shares/")).unwrap();
        // One chunk in a hundred. An honest server's proofs rest on the group around the chunk, so a few samples do.
        assert!((0..len - 4000).step_by(102_400).all(|at| disk.flip(&path, at as usize)));
        let repair = CheckOptions { repair: true, ..sampled(None) };
        let health = check(&owner, &report.cap, repair).await;
        assert!(health.is_repaired(), "{health:?}");
        assert_eq!(health.made.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4]);
        assert_ne!(health.made[0].1, grid.servers[server].key.id(), "elsewhere");
        // The old one is still on somebody's disk, and is no more than a copy too many.
        let full = check(&owner, &report.cap, FULL).await;
        assert_eq!((full.state, full.bad.len()), (State::Healthy, 1));
        reads_back(&grid.client("3/7/10").await, &report.cap, &data).await;
    });
}

#[test]
fn rotten_groups_are_found_and_rotten_values_of_groups_are_not_missed() {
    simulate(async {
        let mut grid = SimGrid::start(59, 10).await;
        let owner = grid.client("3/7/10").await;
        let report = put(&owner, &noise(59, LARGE)).await.unwrap();
        let file_of = |server: usize, dir: &str| {
            let files = grid.servers[server].disk.files();
            files.into_iter().find(|(path, _)| path.starts_with(dir)).unwrap()
        };
        // The values that a server keeps are its own affair.
        for share in 0..10 {
            let server = holder(&grid, &report, share);
            let (path, len) = file_of(server, "groups/");
            assert_eq!(len, 7 * 16 * 32, "one for each group of a full block");
            if share % 2 == 0 {
                assert!((0..len).all(|at| grid.servers[server].disk.flip(&path, at as usize)));
            }
        }
        for chunks in [1, 20, 459] {
            let health = check(&owner, &report.cap, sampled(Some(chunks))).await;
            assert_eq!((health.state, health.sampled), (State::Healthy, Some(chunks)), "{health:?}");
        }
        // A byte of each group, at a server whose values are right, and at one whose are not.
        for share in [5, 4] {
            let server = holder(&grid, &report, share);
            let (path, len) = file_of(server, "shares/");
            let flip = || {
                (0..len - 4000)
                    .step_by(16 * 1024)
                    .all(|at| grid.servers[server].disk.flip(&path, at as usize))
            };
            assert!(flip());
            for _ in 0..5 {
                let health = check(&owner, &report.cap, sampled(Some(1))).await;
                assert_eq!((health.state, health.bad.len()), (State::Unhealthy, 1), "{health:?}");
                assert_eq!(
                    (health.bad[0].number, health.bad[0].server.id),
                    (share, grid.servers[server].key.id())
                );
            }
            assert!(flip());
            assert_eq!(check(&owner, &report.cap, sampled(Some(20))).await.state, State::Healthy);
        }
    });
}

#[test]
fn who_proves_something_else_is_blamed_and_who_proves_nothing_is_not_counted() {
    let refused = |code| Lie::message(&Reply::<()>::Err(WireError::new(code, "no")));
    let lies: [(Lie, bool); 8] = [
        (Lie::Body(|_, piece| piece.iter_mut().for_each(|byte| *byte ^= 1)), true),
        // The answer to another question is none.
        (Lie::Ask(Request::Status), true),
        (refused(ErrorCode::NotFound), true),
        (refused(ErrorCode::Corrupt), true),
        (refused(ErrorCode::Busy), false),
        (Lie::Silence, false),
        (Lie::SilenceAfter(5000), false),
        (Lie::Close, false),
    ];
    for (lie, bad) in lies {
        simulate(async move {
            let (_grid, keeper, report, liar) = with_liar(65, TWO_SEGMENTS, move |_| lie.clone()).await;
            let health = check(&keeper, &report.cap, sampled(Some(5))).await;
            only_four(&health, liar);
            assert_eq!(
                (health.bad.len(), health.problems.len()),
                (usize::from(bad), usize::from(!bad)),
                "{health:?}"
            );
            let repaired =
                check(&keeper, &report.cap, CheckOptions { repair: true, ..sampled(Some(5)) }).await;
            // Who only did not answer may get it again.
            assert!(repaired.is_repaired() && !(bad && repaired.made[0].1 == liar), "{repaired:?}");
        });
    }
}

#[test]
fn senseless_samples_are_refused() {
    simulate(async {
        let mut grid = SimGrid::start(69, 4).await;
        let owner = grid.client("2/3/4").await;
        let report = put(&owner, &noise(69, TWO_SEGMENTS)).await.unwrap();
        let server = &grid.servers[holder(&grid, &report, 1)];
        let session = session(&grid, server).await;
        let hash = Bytes32(*report.cap.verify_hash().unwrap().as_bytes());
        let ask = async |number, chunks: Vec<u64>| {
            let request = Request::Sample(Sample { hash, number, chunks });
            match session.request::<Bulk>(&request).await {
                Ok((bulk, _)) => Ok(bulk.lens),
                Err(RequestError::Refused(error)) => Err(error.code),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(ask(1, vec![0, 5]).await.map(|lens| lens.len()), Ok(1));
        for chunks in [vec![], vec![3, 3], vec![4, 3], vec![1 << 40], (0..513).collect()] {
            assert_eq!(ask(1, chunks).await, Err(ErrorCode::BadRequest));
        }
        for number in [0, 7] {
            assert_eq!(ask(number, vec![0]).await, Err(ErrorCode::NotFound));
        }
    });
}

#[test]
fn a_whole_tree_is_sampled() {
    simulate(async {
        let mut grid = SimGrid::start(66, 10).await;
        let owner = grid.client("3/7/10").await;
        let top = owner.make_directory().await.unwrap();
        let link = |text: &str, child| DirEdit::Link {
            name: name(text),
            child: Box::new(child),
            replace: Replace::No,
        };
        let mut edits = Vec::new();
        for (at, size) in [5000, 70_000, TWO_SEGMENTS, 2 * TWO_SEGMENTS].into_iter().enumerate() {
            edits.push(link(&format!("f{at}"), file(&owner, &noise(at as u8, size)).await));
        }
        owner.edit_directory(&writer(&top), edits).await.unwrap();
        sleep(SECOND).await;
        let totals = async |options| {
            let mut checking = owner.check_tree(vec![top.cap().clone()], options);
            while within(SECOND * 60, checking.next()).await.is_some() {}
            checking.finish().await
        };
        let healthy = totals(sampled(None)).await;
        assert_eq!((healthy.objects, healthy.healthy), (4, 5), "{healthy:?}");
        let disk = &grid.servers[3].disk;
        for (path, len) in disk.files().into_iter().filter(|(path, _)| path.starts_with("shares/")) {
            assert!((0..len - 3000).step_by(1024).all(|at| disk.flip(&path, at as usize)));
        }
        let rotten = totals(sampled(Some(1))).await;
        assert_eq!((rotten.unhealthy, rotten.bad_shares), (2, 2), "{rotten:?}");
        let repaired = totals(CheckOptions { repair: true, ..sampled(Some(1)) }).await;
        assert_eq!(repaired.repaired, 2, "{repaired:?}");
    });
}

#[test]
fn a_share_that_dribbles_in_is_given_up() {
    simulate(async {
        let mut grid = SimGrid::start(67, 10).await;
        let owner = grid.client("3/7/10").await;
        let report = put(&owner, &noise(67, LARGE)).await.unwrap();
        let keeper = grid.client("3/7/10").await;
        let slow = holder(&grid, &report, 4);
        // No piece of 32 KiB stalls.
        let link = Link { bytes_per_second: Some(6_000), ..Link::default() };
        grid.net.set_host_link(grid.servers[slow].key.id(), link);
        let health = within(SECOND * 300, keeper.check(&report.cap, FULL)).await.unwrap().unwrap();
        only_four(&health, grid.servers[slow].key.id());
        assert!(health.bad.is_empty() && health.problems.len() == 1, "slow is not bad: {health:?}");
    });
}

#[test]
fn a_store_scrubs_itself_and_a_claim_says_since_when() {
    simulate(async {
        let mut grid = SimGrid::start(68, 4).await;
        let owner = grid.client("2/3/4").await;
        let data = noise(68, TWO_SEGMENTS);
        let report = put(&owner, &data).await.unwrap();
        let claimed = check(&owner, &report.cap, CLAIMED).await;
        assert_eq!((claimed.state, claimed.scrubbed_s), (State::Healthy, None));
        let rotten = holder(&grid, &report, 1);
        let disk = &grid.servers[rotten].disk;
        let (path, _) = disk.files().into_iter().find(|(path, _)| path.starts_with("shares/")).unwrap();
        disk.flip(&path, 1000);
        let period = ScrubOptions::default().period;
        sleep(period + Duration::from_secs(2 * 3600)).await;
        let claimed = check(&owner, &report.cap, CLAIMED).await;
        assert_eq!((claimed.state, claimed.good), (State::Unhealthy, 3), "it knows, and says so");
        assert!(claimed.scrubbed_s.is_some());
        let status = owner.status().await;
        let bad = status.servers.iter().map(|server| {
            let store = &server.outcome.as_ref().unwrap().status.stores[0];
            (server.server.id, store.scrub.unwrap().bad)
        });
        for (id, bad) in bad {
            assert_eq!(bad, u64::from(id == grid.servers[rotten].key.id()));
        }
        let repaired = check(&owner, &report.cap, CheckOptions { repair: true, ..CLAIMED }).await;
        assert!(repaired.is_repaired(), "{repaired:?}");
        assert_eq!(check(&owner, &report.cap, FULL).await.state, State::Healthy);
        reads_back(&owner, &report.cap, &data).await;
    });
}
