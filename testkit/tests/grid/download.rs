//! Servers that hang, break or are gone while a file is read.

use std::time::Duration;

use caps::Cap;
use client::{DownloadError, PutReport};
use protocol::message::Request;
use testkit::disk::Survival;
use testkit::grid::SimGrid;
use testkit::liar::{Lie, corrupt};
use testkit::net::Link;

use crate::support::{SECOND, TWO_SEGMENTS, get, holder, noise, only_blames, put, reads_back, within};

/// A file of two segments is stored; then something happens to the server of share 0; then a new client reads it.
async fn read_after(mishap: impl AsyncFnOnce(&mut SimGrid, usize), bound: Duration) {
    let mut grid = SimGrid::start(2, 10).await;
    let data = noise(2, TWO_SEGMENTS);
    let writer = grid.client("3/7/10").await;
    let report = put(&writer, &data).await.unwrap();
    let bad = holder(&grid, &report, 0);
    let reader = grid.client("3/7/10").await;
    mishap(&mut grid, bad).await;
    let got = within(bound, reads_back(&reader, &report.cap, &data)).await;
    only_blames(&grid, &got.complaints, bad, false);
}

/// As [`read_after`], where the server does this to every request of that kind.
async fn read_while(kind: fn(&Request) -> bool, lie: Lie, bound: Duration) {
    let lies = async |grid: &mut SimGrid, bad: usize| {
        corrupt(grid, bad, move |request| if kind(request) { lie.clone() } else { Lie::Truth });
    };
    read_after(lies, bound).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_hangs_at_connect() {
    read_after(async |grid, bad| grid.net.isolate(grid.servers[bad].key.id()), SECOND * 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_hangs_at_hello() {
    read_while(|request| matches!(request, Request::Hello(_)), Lie::Silence, SECOND * 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_hangs_at_lookup() {
    read_while(|request| matches!(request, Request::Lookup(_)), Lie::Silence, SECOND * 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_hangs_after_lookup() {
    read_while(|request| matches!(request, Request::ReadBlocks(_)), Lie::Silence, SECOND * 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_hangs_at_the_table() {
    read_while(|request| matches!(request, Request::ReadTable(_)), Lie::Silence, SECOND * 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_hangs_after_half_a_block() {
    read_while(|request| matches!(request, Request::ReadBlocks(_)), Lie::SilenceAfter(100_000), SECOND * 5)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_dies_after_half_a_block() {
    read_while(|request| matches!(request, Request::ReadBlocks(_)), Lie::CloseAfter(100_000), SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_gives_up_streams() {
    read_while(|request| !matches!(request, Request::Hello(_)), Lie::Reset, SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_drops_connections() {
    read_while(|_| true, Lie::Close, SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_sends_one_byte_a_second() {
    let slowly = async |grid: &mut SimGrid, bad: usize| {
        let link = Link { bytes_per_second: Some(1), ..Link::default() };
        grid.net.set_host_link(grid.servers[bad].key.id(), link);
    };
    read_after(slowly, SECOND * 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_found_sends_one_byte_a_second() {
    let mut grid = SimGrid::start(2, 10).await;
    let client = grid.client("3/7/10").await;
    let data = noise(2, TWO_SEGMENTS);
    let report = put(&client, &data).await.unwrap();
    let reader = client.open_object(&report.cap).await.unwrap();
    let bad = holder(&grid, &report, 1);
    let link = Link { bytes_per_second: Some(1), ..Link::default() };
    grid.net.set_host_link(grid.servers[bad].key.id(), link);
    let mut bytes = Vec::new();
    let got = within(SECOND * 5, reader.read_into(&mut bytes, client::GetOptions::default())).await.unwrap();
    assert!(bytes == data);
    only_blames(&grid, &got.complaints, bad, false);
}

#[tokio::test(start_paused = true)]
async fn a_server_is_down() {
    read_after(async |grid, bad| grid.kill(bad), SECOND).await;
}

/// Ten servers and a file on them, a share on each.
async fn stored() -> (SimGrid, PutReport, Vec<u8>) {
    let mut grid = SimGrid::start(3, 10).await;
    let data = noise(3, TWO_SEGMENTS);
    let report = put(&grid.client("3/7/10").await, &data).await.unwrap();
    (grid, report, data)
}

#[tokio::test(start_paused = true)]
async fn any_seven_of_ten_may_be_dead() {
    let (mut grid, report, data) = stored().await;
    for first in [0, 3, 7] {
        let dead: Vec<usize> = (first..first + 7).map(|number| holder(&grid, &report, number % 10)).collect();
        dead.iter().for_each(|index| grid.kill(*index));
        let client = grid.client("3/7/10").await;
        within(SECOND * 2, reads_back(&client, &report.cap, &data)).await;
        for index in dead {
            grid.restart(index).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn seven_of_ten_may_hang() {
    let (mut grid, report, data) = stored().await;
    for number in 0..7 {
        grid.net.isolate(grid.servers[holder(&grid, &report, number)].key.id());
    }
    let client = grid.client("3/7/10").await;
    within(SECOND * 5, reads_back(&client, &report.cap, &data)).await;
}

#[tokio::test(start_paused = true)]
async fn too_few_shares_names_every_server() {
    let (mut grid, report, _) = stored().await;
    let [dead, hung] =
        [0..4, 4..8].map(|numbers| numbers.map(|n| holder(&grid, &report, n)).collect::<Vec<_>>());
    dead.iter().for_each(|index| grid.kill(*index));
    hung.iter().for_each(|index| grid.net.isolate(grid.servers[*index].key.id()));
    let client = grid.client("3/7/10").await;
    let error = within(SECOND * 10, get(&client, &report.cap)).await.unwrap_err();
    assert!(error.is_retryable());
    let DownloadError::NotEnoughShares { needed: 3, found: 2, servers } = error else { panic!("{error}") };
    assert_eq!(servers.len(), 10);
    for index in 0..10 {
        let id = grid.servers[index].key.id();
        let said = servers.iter().find(|answer| answer.server.id == id).expect("every server is named");
        let reached = !dead.contains(&index) && !hung.contains(&index);
        assert_eq!(said.answered, reached, "{}", said.said);
        let expected = match () {
            () if reached => "has share",
            () if dead.contains(&index) => "cannot connect",
            () => "no answer",
        };
        assert!(said.said.starts_with(expected), "{}", said.said);
    }
}

#[tokio::test(start_paused = true)]
async fn shares_that_vanish_between_lookup_and_read() {
    let (mut grid, report, data) = stored().await;
    let client = grid.client("3/7/10").await;
    let reader = client.open_object(&report.cap).await.unwrap();
    for number in 0..7 {
        grid.crash(holder(&grid, &report, number), Survival::Everything);
    }
    let mut bytes = Vec::new();
    let got = within(SECOND * 10, reader.read_into(&mut bytes, client::GetOptions::default())).await.unwrap();
    assert!(bytes == data);
    assert!(got.complaints.iter().all(|complaint| !complaint.corrupt), "{:?}", got.complaints);
    grid.kill(holder(&grid, &report, 7));
    let error =
        within(SECOND * 10, reader.read_into(&mut bytes, client::GetOptions::default())).await.unwrap_err();
    let DownloadError::NotEnoughShares { needed: 3, found: 2, servers } = error else { panic!("{error}") };
    assert_eq!(servers.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn no_server_is_known() {
    let mut grid = SimGrid::start(4, 0).await;
    let client = grid.client("3/7/10").await;
    let error = put(&client, &noise(4, 1000)).await.unwrap_err();
    assert!(matches!(error, client::UploadError::NoServers), "{error}");
    let mut other = SimGrid::start(4, 10).await;
    let report = put(&other.client("3/7/10").await, &noise(4, 1000)).await.unwrap();
    let error = get(&client, &report.cap).await.unwrap_err();
    assert!(matches!(error, DownloadError::NoServers), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_not_on_the_grid() {
    let (mut grid, ..) = stored().await;
    let mut other = SimGrid::start(4, 10).await;
    let report = put(&other.client("3/7/10").await, &noise(4, 1000)).await.unwrap();
    let client = grid.client("3/7/10").await;
    let error = within(SECOND, get(&client, &report.cap)).await.unwrap_err();
    let DownloadError::NotEnoughShares { needed: 3, found: 0, servers } = error else { panic!("{error}") };
    assert_eq!(servers.len(), 10);
    assert!(servers.iter().all(|answer| answer.answered && answer.said == "has no share"));
}

#[tokio::test(start_paused = true)]
async fn altered_caps_are_refused() {
    let (mut grid, report, _) = stored().await;
    let client = grid.client("3/7/10").await;
    let Cap::ImmutableRead(cap) = &report.cap else { panic!("a file has a read cap") };
    type Change = fn(&mut caps::ImmutableRead);
    let changes: [Change; 5] = [
        |cap| cap.needed = 2,
        |cap| cap.needed = 4,
        |cap| cap.total = 11,
        |cap| cap.size += 1,
        |cap| cap.size -= 1,
    ];
    for change in changes {
        let mut altered = cap.clone();
        change(&mut altered);
        let error = within(SECOND * 2, get(&client, &Cap::ImmutableRead(altered))).await.unwrap_err();
        assert!(matches!(error, DownloadError::Cap(encoding::CapError::Parameters)), "{error}");
    }
    // Another key: other servers are asked first, and then it is not this object's.
    let text = report.cap.to_string();
    let other = text.replacen(&text[8..12], "aaaa", 1);
    let error = within(SECOND * 2, get(&client, &other.parse().unwrap())).await.unwrap_err();
    assert!(matches!(error, DownloadError::Cap(_)), "{error}");
    // A cap of another kind.
    let verify = report.cap.verify();
    let error = get(&client, &verify.unwrap()).await.unwrap_err();
    assert!(matches!(error, DownloadError::NotReadable { .. }), "{error}");
}
