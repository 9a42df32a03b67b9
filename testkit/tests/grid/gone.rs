//! Servers that do not answer, and those that never will again: for how long clients wait for them, and when they forget them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use client::membership::Papers;
use client::{Client, GridView, Timeouts};
use protocol::NodeId;
use protocol::membership::MembershipNews;
use testkit::grid::SimGrid;
use tokio::time::Instant;

use crate::members::{closed, owner, revocations};
use crate::support::{SECOND, noise, put, within};

const DAY: Duration = Duration::from_secs(86_400);

fn cache(dir: &Path) -> PathBuf {
    dir.join("servers.cache")
}

/// The same client, each time as its program starts anew.
async fn started(grid: &SimGrid, dir: &Path) -> Client {
    let (settings, seams) = grid.client_parts("alice", "1/1/3", Timeouts::default());
    let client = Client::new(settings, GridView::load(&cache(dir)).unwrap(), seams).unwrap();
    client.refresh().await;
    client
}

/// Runs it once, asking every server; who was known and did not answer, and how long that took.
async fn asked(grid: &SimGrid, dir: &Path) -> (usize, Vec<NodeId>, Duration) {
    let client = started(grid, dir).await;
    let begun = Instant::now();
    let usage = client.usage().await;
    let took = begun.elapsed();
    client.close().await;
    let silent = usage.iter().filter(|asked| asked.outcome.is_err());
    (usage.len(), silent.map(|asked| asked.server.id).collect(), took)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_did_not_answer_is_waited_for_once() {
    let dir = tempfile::tempdir().unwrap();
    let grid = SimGrid::start(90, 3).await;
    let away = grid.servers[0].key.id();
    grid.net.isolate(away);
    let (known, silent, took) = asked(&grid, dir.path()).await;
    assert_eq!((known, silent), (3, vec![away]));
    assert!(took >= SECOND * 4, "{took:?}");
    // The next ones try it, and do not wait.
    for _ in 0..3 {
        let (known, silent, took) = asked(&grid, dir.path()).await;
        assert_eq!((known, silent), (3, vec![away]));
        assert!(took < SECOND, "{took:?}");
    }
    // Whoever takes who is silent for lost waits.
    let client = started(&grid, dir.path()).await;
    client.grid().away().be_patient();
    let begun = Instant::now();
    client.usage().await;
    assert!(begun.elapsed() >= SECOND * 4, "{:?}", begun.elapsed());
    drop(client);
    // A while later it gets its full time once more.
    grid.clock.jump_ahead(SECOND * 700);
    let (_, _, took) = asked(&grid, dir.path()).await;
    assert!(took >= SECOND * 4, "{took:?}");
    // It is back, and nothing is held against it.
    grid.net.rejoin(away);
    assert_eq!(asked(&grid, dir.path()).await.1, []);
    grid.net.isolate(away);
    let (_, _, took) = asked(&grid, dir.path()).await;
    assert!(took >= SECOND * 4, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_was_found_elsewhere_in_the_meantime_is_remembered_too() {
    let dir = tempfile::tempdir().unwrap();
    let grid = SimGrid::start(91, 3).await;
    let away = grid.servers[0].key.id();
    grid.net.isolate(away);
    // Uploads do not wait for the last server as long as a connection may take.
    let mut longest = Vec::new();
    for seed in 0..3 {
        let client = started(&grid, dir.path()).await;
        let begun = Instant::now();
        put(&client, &noise(seed, 100_000)).await.unwrap();
        longest.push(begun.elapsed());
        client.close().await;
    }
    assert!(longest[0] >= SECOND * 2 && longest[1] < SECOND && longest[2] < SECOND, "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_runs_on_waits_for_a_dead_server_once() {
    let mut grid = SimGrid::start(97, 5).await;
    let client = grid.client("2/3/5").await;
    put(&client, &noise(1, 3000)).await.unwrap();
    let dead = grid.servers[0].key.id();
    grid.net.isolate(dead);
    put(&client, &noise(2, 3000)).await.unwrap();
    put(&client, &noise(3, 800_000)).await.unwrap();
    let (mut took, mut seed) = (Vec::new(), 4);
    // For two minutes it stores small and large files, which takes 50 ms for both.
    let begun = Instant::now();
    while begun.elapsed() < SECOND * 120 {
        let started = Instant::now();
        put(&client, &noise(seed, 3000)).await.unwrap();
        put(&client, &noise(seed + 1, 800_000)).await.unwrap();
        took.push(started.elapsed());
        seed += 2;
        tokio::time::sleep(SECOND).await;
    }
    let (longest, all) = (took.iter().max().unwrap(), took.iter().sum::<Duration>());
    assert!(*longest < SECOND && all < SECOND * 16, "{longest:?}, {all:?} of {took:?}");
    // Once it is back it takes its part within seconds.
    grid.net.rejoin(dead);
    put(&client, &noise(seed, 3000)).await.unwrap();
    tokio::time::sleep(SECOND * 5).await;
    put(&client, &noise(seed + 1, 3000)).await.unwrap();
    let report = put(&client, &noise(seed + 2, 800_000)).await.unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reaches_nobody_blames_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let grid = SimGrid::start(92, 3).await;
    assert_eq!(asked(&grid, dir.path()).await.1, []);
    grid.servers.iter().for_each(|server| grid.net.isolate(server.key.id()));
    for _ in 0..2 {
        let (_, silent, took) = asked(&grid, dir.path()).await;
        assert_eq!(silent.len(), 3);
        assert!(took >= SECOND * 4, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_is_forgotten_when_all_say_so_and_it_is_silent() {
    let dir = tempfile::tempdir().unwrap();
    let mut grid = SimGrid::start(93, 3).await;
    let (dead, hidden) = (grid.servers[0].key.id(), grid.servers[1].key.id());
    grid.net.isolate(dead);
    assert_eq!(asked(&grid, dir.path()).await.1, [dead]);
    // A day later the introducer names only one: of the others one is gone, and one is hidden and answers.
    grid.clock.jump_ahead(DAY + SECOND * 3600);
    grid.announce(2).await;
    // Who hears from no introducer forgets nobody.
    grid.net.isolate(grid.introducer.id);
    assert_eq!(asked(&grid, dir.path()).await.0, 3);
    grid.net.rejoin(grid.introducer.id);
    let (known, silent, took) = asked(&grid, dir.path()).await;
    assert_eq!((known, silent), (2, vec![]), "the dead one is forgotten");
    assert!(took < SECOND, "{took:?}");
    assert!(started(&grid, dir.path()).await.grid().servers().iter().any(|server| server.id == hidden));
    // It was not dead after all.
    grid.net.rejoin(dead);
    grid.announce(0).await;
    assert_eq!(asked(&grid, dir.path()).await.0, 3);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_forgotten_by_hand_stays_so_until_it_announces_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut grid = SimGrid::start(94, 3).await;
    let dead = grid.servers[0].key.id();
    asked(&grid, dir.path()).await;
    // A program that runs meanwhile hears of it, and does not bring it back.
    let running = started(&grid, dir.path()).await;
    let view = GridView::load(&cache(dir.path())).unwrap();
    assert!(view.forget(&dead, Duration::from_secs(1_767_225_600)));
    view.save().unwrap();
    view.away().save(Duration::from_secs(1_767_225_600)).unwrap();
    running.refresh().await;
    assert_eq!(running.grid().servers().len(), 2);
    running.close().await;
    assert_eq!(asked(&grid, dir.path()).await.0, 2, "the introducer still names it");
    grid.announce(0).await;
    assert_eq!(asked(&grid, dir.path()).await.0, 3);
}

#[tokio::test(start_paused = true)]
async fn one_that_the_owner_let_go_of_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mut grid = SimGrid::start(95, 3).await;
    closed(&mut grid, 3).await;
    let dead = grid.servers[0].key.id();
    grid.net.isolate(dead);
    assert_eq!(asked(&grid, dir.path()).await.1, [dead], "it is missed");
    let member = |client: &Client| {
        let account = grid.client_host("alice");
        let papers = Papers::new(owner().id(), account);
        let revocations = Some(revocations(1, dead, 100));
        papers.learn(MembershipNews { certificate: None, revocations }).unwrap();
        client.as_member(papers);
    };
    // Cut off from what it knew, it asks it once more, and does not miss it.
    let (settings, seams) = grid.client_parts("alice", "1/1/3", Timeouts::default());
    let client = Client::new(settings, GridView::empty(), seams).unwrap();
    client.refresh().await;
    member(&client);
    let usage = client.usage().await;
    assert_eq!(usage.len(), 2, "{usage:?}");
    // And one that remembers how silent it was forgets it.
    let client = started(&grid, dir.path()).await;
    member(&client);
    within(SECOND, client.refresh()).await;
    assert_eq!(client.grid().servers().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_a_dead_server_is_that_it_does_not_answer() {
    for len in [3000, 800_000] {
        let mut grid = SimGrid::start(96, 5).await;
        let (client, fresh) = (grid.client("2/3/5").await, grid.client("2/3/5").await);
        put(&client, &noise(1, len)).await.unwrap();
        grid.net.isolate(grid.servers[0].key.id());
        // One has a connection to it, and one gets none.
        for (client, said) in [(client, "it does not answer"), (fresh, "it cannot be reached")] {
            let report = put(&client, &noise(2, len)).await.unwrap();
            let reasons: Vec<&str> = report.failures.iter().map(|failure| failure.reason.as_str()).collect();
            assert_eq!(reasons, [said], "{len} bytes");
        }
        let usage = grid.client("2/3/5").await.usage().await;
        let error = usage.iter().find_map(|asked| asked.outcome.as_ref().err()).unwrap();
        assert_eq!(error.to_string(), "no answer within 4 s");
    }
}
