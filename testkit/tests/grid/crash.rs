//! Servers and clients that crash at any moment: nothing that was acknowledged is lost.

use std::time::Duration;

use client::{Client, PutReport, Source, Timeouts};
use testkit::disk::{Faults, Survival};
use testkit::grid::SimGrid;
use testkit::random::SimRandom;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{SECOND, get, noise, put, put_slowly, reads_back, seeds, simulate, whole, within};

/// The client of this name, after a restart.
async fn started(grid: &SimGrid, label: &str, shares: &str) -> Client {
    let client = grid.client_of(label, shares, Timeouts::default());
    client.refresh().await;
    client
}

fn milliseconds(random: &SimRandom, most: u64) -> Duration {
    Duration::from_millis(random.between(0, most))
}

/// A client dies at some moment of a put that takes four seconds; then another one of its name puts the same file. Returns how many
/// bytes that sent.
async fn put_crash_put(seed: u64, data: &[u8]) -> u64 {
    let grid = SimGrid::start(seed, 10).await;
    let random = SimRandom::new(seed).fork("crash");
    let (client, source) = (started(&grid, "alice", "3/7/10").await, Source::bytes(data.to_vec()));
    let rate = whole(data.len()) / 4;
    let task = tokio::spawn(async move { put_slowly(&client, source, rate).await });
    sleep(milliseconds(&random, 4000)).await;
    let done = task.is_finished();
    task.abort();
    let _ = task.await;

    let client = started(&grid, "alice", "3/7/10").await;
    let report = within(SECOND * 5, put(&client, data)).await.unwrap();
    assert_eq!((report.shares.len(), report.happiness), (10, 10), "{:?}", report.failures);
    assert!(!done || report.sent == 0, "what was stored is not sent again");
    reads_back(&client, &report.cap, data).await;
    report.sent
}

#[test]
fn a_client_that_crashes_goes_on_where_it_was() {
    let data = noise(20, 3_500_000);
    let (mut sent, mut runs) = (0, 0);
    for seed in seeds(20) {
        sent += simulate(put_crash_put(seed, &data));
        runs += 1;
    }
    // Crashes come on average in the middle.
    assert!(sent < runs * whole(data.len()) * 7 / 10, "{sent} bytes were sent again in {runs} runs");
}

/// What was acknowledged: the file and where its shares are.
pub(crate) struct Stored {
    data: Vec<u8>,
    report: PutReport,
}

/// Three clients put files of random sizes while servers crash and restart; returns what was acknowledged. All servers are up again.
pub(crate) async fn storm(seed: u64, events: bool) -> (SimGrid, Vec<Stored>) {
    let mut grid = SimGrid::start(seed, 10).await;
    if events {
        grid.net.keep_events();
    }
    let random = SimRandom::new(seed).fork("storm");
    let mut putting = JoinSet::new();
    for number in 0..3 {
        let client = started(&grid, &format!("client {number}"), "3/7/10").await;
        let files = random.fork(&format!("files {number}"));
        putting.spawn(async move {
            let mut stored = Vec::new();
            for _ in 0..4 {
                let size = [3_000, 60_000, 400_000, 1_700_000][files.between(0, 3) as usize];
                let data = noise(files.between(0, 255) as u8, files.between(size / 2, size) as usize);
                let source = Source::bytes(data.clone());
                if let Ok(report) = put_slowly(&client, source, 5_000_000).await {
                    stored.push(Stored { data, report });
                }
                sleep(milliseconds(&files, 300)).await;
            }
            stored
        });
    }
    for _ in 0..12 {
        sleep(milliseconds(&random, 250)).await;
        let index = random.between(0, 9) as usize;
        if grid.servers[index].server().is_some() {
            let survival = [Survival::Nothing, Survival::Chance, Survival::Everything];
            grid.crash(index, survival[random.between(0, 2) as usize]);
        } else {
            grid.restart(index).await.expect("a store opens after any crash");
        }
    }
    let stored = within(SECOND * 300, putting.join_all()).await;
    for index in 0..10 {
        if grid.servers[index].server().is_some() {
            grid.crash(index, Survival::Nothing);
        }
        grid.restart(index).await.expect("a store opens after any crash");
    }
    (grid, stored.into_iter().flatten().collect())
}

/// After a [`storm`], everything acknowledged is there, also after as many servers are lost as happiness exceeds k by: that is the
/// promise. Returns how many files were acknowledged.
async fn storm_and_loss(seed: u64) -> usize {
    let (mut grid, stored) = storm(seed, false).await;
    let client = grid.client("3/7/10").await;
    for Stored { data, report } in &stored {
        reads_back(&client, &report.cap, data).await;
    }
    let random = SimRandom::new(seed).fork("afterwards");
    let least = stored.iter().map(|file| file.report.happiness).min().unwrap_or(3);
    for _ in 0..least - 3 {
        let up: Vec<usize> = (0..10).filter(|index| grid.servers[*index].server().is_some()).collect();
        grid.kill(up[random.between(0, up.len() as u64 - 1) as usize]);
    }
    let client = grid.client("3/7/10").await;
    for Stored { data, report } in &stored {
        reads_back(&client, &report.cap, data).await;
    }
    stored.len()
}

#[test]
fn what_was_stored_survives_crashes_of_servers() {
    let runs = seeds(30);
    let acknowledged: usize = runs.clone().map(|seed| simulate(storm_and_loss(seed))).sum();
    assert!(acknowledged > 2 * runs.count(), "{acknowledged} files are too few to show anything");
}

/// Puts a file to three servers, one of which loses its power at its `at`th sync. Returns whether the sync was reached.
async fn power_loss_at(at: u64, size: usize, survival: Survival) -> bool {
    let mut grid = SimGrid::start(at, 3).await;
    let data = noise(1, size);
    let old = noise(2, 5000);
    let client = started(&grid, "alice", "2/2/3").await;
    let before = put(&client, &old).await.unwrap();
    grid.servers[0].disk.set_faults(Faults { freeze_at_sync: Some(at), ..Faults::default() });
    let report = within(SECOND * 90, put(&client, &data)).await.unwrap();
    let reached = grid.servers[0].disk.is_frozen();
    grid.crash(0, survival);
    grid.restart(0).await.expect("a store opens after any crash");
    let on_zero =
        |report: &PutReport| report.shares.values().any(|server| grid.index_of(&server.id) == Some(0));
    let expected = [(on_zero(&before), before, old), (on_zero(&report), report, data.clone())];
    // Server 0 and one other must do, where server 0 said that it had its share.
    for other in [1, 2] {
        grid.kill(other);
        let reader = grid.client("2/2/3").await;
        for (acknowledged, report, data) in &expected {
            let got = within(SECOND * 30, get(&reader, &report.cap)).await;
            match got {
                Ok((bytes, _)) => assert!(bytes == *data),
                Err(error) => {
                    let doubled =
                        report.shares.values().filter(|server| grid.index_of(&server.id) == Some(3 - other));
                    assert!(!acknowledged && doubled.count() < 2, "sync {at}: {error}");
                }
            }
        }
        grid.restart(other).await.unwrap();
    }
    // And it takes shares again.
    let report = within(SECOND * 90, put(&started(&grid, "alice", "2/3/3").await, &data)).await.unwrap();
    assert_eq!(report.happiness, 3);
    reached
}

#[test]
fn power_loss_at_every_sync_of_one_server() {
    for size in [3_000, 300_000] {
        for survival in [Survival::Nothing, Survival::Chance] {
            let last = (1..).find(|at| !simulate(power_loss_at(*at, size, survival)));
            assert!(
                last.is_some_and(|at| at > 2),
                "a put syncs more than once, and the last one tried was not reached"
            );
        }
    }
}

/// Power fails everywhere at once, at some moment of a put. What is not acknowledged may be there, and is right if so.
async fn blackout(seed: u64) {
    let mut grid = SimGrid::start(seed, 10).await;
    let random = SimRandom::new(seed).fork("blackout");
    let data = noise(3, 1_500_000);
    let (client, source) = (started(&grid, "alice", "3/7/10").await, Source::bytes(data.clone()));
    let task = tokio::spawn(async move { put_slowly(&client, source, 5_000_000).await });
    sleep(milliseconds(&random, 1200)).await;
    (0..10).for_each(|index| grid.crash(index, Survival::Chance));
    let outcome = within(SECOND * 90, task).await.unwrap();
    for index in 0..10 {
        grid.restart(index).await.expect("a store opens after any crash");
    }
    let client = started(&grid, "alice", "3/7/10").await;
    if let Ok(report) = outcome {
        reads_back(&client, &report.cap, &data).await;
    }
    let report = within(SECOND * 5, put(&client, &data)).await.unwrap();
    assert_eq!(report.happiness, 10);
    reads_back(&client, &report.cap, &data).await;
}

#[test]
fn a_blackout_in_the_middle_of_a_put() {
    seeds(10).for_each(|seed| simulate(blackout(seed)));
}
