//! Schedules of faults, while clients store files: what was acknowledged is there afterwards, and all kinds of faults do happen.

use std::time::Duration;

use testkit::faults::{Census, ClientHost, Fault, Gate, Host, Kind, Schedule, Severity, run};
use testkit::grid::SimGrid;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::{SECOND, noise, put, reads_back, seeds, simulate, within};

async fn stormy(seed: u64) -> (Census, u64, String) {
    let mut grid = SimGrid::start(seed, 10).await;
    let severity = Severity { lost: 1, rolled_back: 1, ..Severity::default() };
    let schedule = Schedule::random(seed, 10, 3, SECOND * 20, severity);
    let (mut hosts, mut putting) = (Vec::new(), JoinSet::new());
    for number in 0..3 {
        let label = format!("client {number}");
        let client = grid.client_of(&label, "3/5/10", client::Timeouts::default());
        client.refresh().await;
        let host = ClientHost { id: grid.client_host(&label), gate: Gate::default() };
        hosts.push(host.clone());
        let work = async move {
            let mut stored = Vec::new();
            for file in 0..8 {
                let data = noise(number * 16 + file, 3000);
                if let Ok(report) = put(&client, &data).await {
                    stored.push((data, report.cap));
                }
                sleep(SECOND * 2).await;
            }
            stored
        };
        putting.spawn(async move { host.gate.through(work).await });
    }
    let census = run(&schedule, &mut grid, &hosts).await;
    let reader = grid.client("3/5/10").await;
    let mut files = 0;
    for (data, cap) in within(SECOND * 600, putting.join_all()).await.into_iter().flatten() {
        reads_back(&reader, &cap, &data).await;
        files += 1;
    }
    (census, files, grid.net.trace())
}

#[test]
fn files_survive_every_schedule_and_every_fault_happens() {
    let (mut census, mut files) = (Census::default(), 0);
    for seed in seeds(12) {
        let (counted, stored, _) = simulate(stormy(seed));
        census.merge(&counted);
        files += stored;
    }
    println!("{files} files; {census}");
    assert_eq!(census.missing(), []);
    assert!(files > 100, "{files} files were stored");
}

#[test]
fn a_schedule_can_be_repeated() {
    let (one, other) = (simulate(stormy(5)), simulate(stormy(5)));
    assert_eq!(one.0, other.0);
    assert_eq!(one.2, other.2, "the same seed gave other events");
}

#[tokio::test(start_paused = true)]
async fn faults_end_and_overlap() {
    let mut grid = SimGrid::start(1, 3).await;
    let client = grid.client_of("alice", "1/1/3", client::Timeouts::default());
    client.refresh().await;
    let hosts = [ClientHost { id: grid.client_host("alice"), gate: Gate::default() }];
    put(&client, &noise(1, 3000)).await.unwrap();
    let milliseconds = Duration::from_millis;
    let alice = Host::Client(0);
    let schedule = Schedule(vec![
        (milliseconds(0), Fault::Isolate(Host::Server(0), SECOND * 3)),
        (milliseconds(500), Fault::Pause(Host::Server(0), SECOND)),
        (milliseconds(600), Fault::Pause(alice, SECOND)),
        (milliseconds(700), Fault::Crash(1, testkit::disk::Survival::Nothing, SECOND)),
        // It is down already, and then lost for good.
        (milliseconds(800), Fault::Crash(1, testkit::disk::Survival::Nothing, SECOND)),
        (milliseconds(900), Fault::Lose(1)),
        (milliseconds(1000), Fault::ClockJump(2, true, SECOND * 100)),
    ]);
    let begun = Instant::now();
    let gate = hosts[0].gate.clone();
    let (census, worked) = tokio::join!(run(&schedule, &mut grid, &hosts), async {
        sleep(milliseconds(700)).await;
        gate.through(async { begun.elapsed() }).await
    });
    assert_eq!((worked, begun.elapsed()), (milliseconds(1600), SECOND * 3));
    for kind in [Kind::Isolated, Kind::ServerPaused, Kind::ClientPaused, Kind::Crashed, Kind::Lost] {
        assert_eq!(census.count(kind), 1, "{kind:?}: {census}");
    }
    assert!(grid.servers[0].server().is_some() && grid.servers[1].server().is_none());
    let clock = |index: usize| protocol::Clock::unix_time(&*grid.servers[index].clock);
    assert_eq!(clock(2) - clock(0), SECOND * 100);
    // Without server 1, whose share has no place.
    put(&client, &noise(2, 3000)).await.unwrap();
}
