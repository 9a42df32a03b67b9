//! Ranges of files: from data shares, by decoding, and past liars.

use std::sync::Arc;

use client::upload::BytesSource;
use client::{Client, DownloadError, GetOptions};
use protocol::message::{ErrorCode, Reply, Request, WireError};
use testkit::grid::SimGrid;
use testkit::liar::{Lie, corrupt};
use testkit::random::SimRandom;

use crate::support::{SECOND, holder, noise, only_blames, put, seeds, simulate, within};

const SEGMENT: u64 = 785_664;
const CELL: u64 = 16_368;
const SIZE: u64 = 3 * SEGMENT + 100_001;

/// Ranges around every boundary there is, and random ones.
fn ranges(seed: u64) -> Vec<std::ops::Range<u64>> {
    let random = SimRandom::new(seed).fork("ranges");
    let mut out =
        vec![0..1, 0..SIZE, SIZE - 1..SIZE, 0..CELL, SEGMENT - 1..2 * SEGMENT + 1, SIZE - 1..SIZE + 100];
    for edge in [CELL, 16 * CELL, 262_144, SEGMENT, 2 * SEGMENT, 3 * SEGMENT, 3 * SEGMENT + 33_344] {
        out.extend([edge - 1..edge, edge..edge + 1, edge - 1..edge + 1, edge - 5000..edge + 5000]);
    }
    for _ in 0..20 {
        let start = random.between(0, SIZE - 1);
        let most = [100, 4096, 70_000, 200_000, SIZE][random.between(0, 4) as usize];
        out.push(start..start + random.between(1, most));
    }
    out
}

async fn all_are_right(
    client: &Client,
    cap: &caps::Cap,
    data: &[u8],
    seed: u64,
) -> Vec<client::download::Complaint> {
    let reader = client.open_object(cap).await.unwrap();
    assert_eq!(reader.size(), SIZE);
    for range in ranges(seed) {
        let end = range.end.min(SIZE);
        let expected = &data[range.start as usize..end as usize];
        let bytes = within(SECOND * 20, reader.read(range.clone())).await.unwrap();
        assert!(bytes == expected, "{range:?}");
        let mut sink = Vec::new();
        let options = GetOptions { range: Some(range.clone()), ..GetOptions::default() };
        let report = within(SECOND * 20, reader.read_into(&mut sink, options)).await.unwrap();
        assert!(sink == expected && report.bytes == expected.len() as u64, "{range:?}");
    }
    for range in [SIZE..SIZE + 1, SIZE + 5..SIZE + 9, 7..7, u64::MAX - 1..u64::MAX] {
        let error = reader.read(range.clone()).await.unwrap_err();
        assert!(matches!(error, DownloadError::Range { size: SIZE, .. }), "{range:?}: {error}");
    }
    reader.complaints()
}

async fn every_way(seed: u64) {
    let data = noise(27, SIZE as usize);
    let mut grid = SimGrid::start(seed, 10).await;
    let report = put(&grid.client("3/7/10").await, &data).await.unwrap();
    let client = grid.client("3/7/10").await;
    let complaints = all_are_right(&client, &report.cap, &data, seed).await;
    assert!(complaints.is_empty(), "{complaints:?}");

    // A liar among the data servers.
    let liar = holder(&grid, &report, 1);
    corrupt(&grid, liar, |request| match request {
        Request::ReadSlice(_) | Request::ReadBlocks(_) => Lie::Body(|_, bytes| bytes[0] ^= 1),
        _ => Lie::Truth,
    });
    let client = grid.client("3/7/10").await;
    only_blames(&grid, &all_are_right(&client, &report.cap, &data, seed).await, liar, true);
    // One that refuses, and one that is silent.
    let refusal = Lie::message(&Reply::<()>::Err(WireError::new(ErrorCode::Busy, "no")));
    for lie in [refusal, Lie::Silence] {
        let bad = holder(&grid, &report, 2);
        corrupt(&grid, bad, move |request| match request {
            Request::ReadSlice(_) | Request::ReadBlocks(_) => lie.clone(),
            _ => Lie::Truth,
        });
        let client = grid.client("3/7/10").await;
        all_are_right(&client, &report.cap, &data, seed).await;
    }
    // All data servers are dead.
    (0..3).for_each(|number| grid.kill(holder(&grid, &report, number)));
    let client = grid.client("3/7/10").await;
    let complaints = all_are_right(&client, &report.cap, &data, seed).await;
    assert!(complaints.iter().all(|complaint| !complaint.corrupt), "{complaints:?}");
}

#[test]
fn from_data_shares_from_parity_and_past_liars() {
    seeds(3).for_each(|seed| simulate(every_way(seed)));
}

#[tokio::test(start_paused = true)]
async fn ranges_of_small_and_literal_files() {
    let mut grid = SimGrid::start(28, 10).await;
    let client = grid.client("3/7/10").await;
    for size in [1u64, 55, 56, 4096, 60_000] {
        let data = noise(28, size as usize);
        let report = put(&client, &data).await.unwrap();
        for range in [0..1, 0..size, size - 1..size, size / 2..size + 7] {
            let mut sink = Vec::new();
            let options = GetOptions { range: Some(range.clone()), ..GetOptions::default() };
            client.get(&report.cap, &mut sink, options).await.unwrap();
            assert!(sink == data[range.start as usize..range.end.min(size) as usize], "{size} {range:?}");
        }
        let options = GetOptions { range: Some(size..size + 1), ..GetOptions::default() };
        let error = client.get(&report.cap, &mut Vec::new(), options).await.unwrap_err();
        assert!(matches!(error, DownloadError::Range { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_download_is_not_simply_believed() {
    let data = noise(29, SIZE as usize);
    let mut grid = SimGrid::start(29, 10).await;
    let report = put(&grid.client("3/7/10").await, &data).await.unwrap();
    let reader = grid.client("3/7/10").await.open_object(&report.cap).await.unwrap();
    let cases = [
        (SIZE, None, SIZE),
        (SIZE - 1, None, 3 * SEGMENT),
        (SEGMENT + 5, None, SEGMENT),
        (5, None, 0),
        (SIZE, Some(2 * SEGMENT), 2 * SEGMENT),
        (SIZE, Some(0), 0),
    ];
    for (len, spoiled, expected) in cases {
        let mut disk = data[..len as usize].to_vec();
        spoiled.into_iter().for_each(|at: u64| disk[at as usize] ^= 1);
        assert_eq!(reader.matching_prefix(Arc::new(BytesSource(disk.into()))).await.unwrap(), expected);
    }
}
