//! Files as trees: cut by content, read in ranges, changed in place, past dead servers and liars.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use caps::{Cap, ImmutableRead};
use client::upload::{BytesSource, CHUNKED_FROM, ReadAt, TreeKey};
use client::{Client, GetOptions, PatchError, PutOptions, PutReport, Source, Transfer};
use encoding::Sections;
use protocol::message::Request;
use testkit::grid::SimGrid;
use testkit::liar::{Lie, corrupt};
use testkit::random::SimRandom;

use crate::support::{SECOND, get, holder, noise, only_blames, put, reads_back, stream_of, whole, within};

const MIB: usize = 1 << 20;

async fn put_chunked(client: &Client, data: &[u8]) -> PutReport {
    let options = PutOptions { chunked: true, ..PutOptions::default() };
    client.put(Source::bytes(data.to_vec()), options).await.unwrap()
}

fn read_cap(report: &PutReport) -> ImmutableRead {
    match &report.cap {
        Cap::ImmutableRead(cap) => cap.clone(),
        other => panic!("{} is no file's", other.kind()),
    }
}

#[tokio::test(start_paused = true)]
async fn sizes_around_the_bound() {
    let mut grid = SimGrid::start(50, 10).await;
    let client = grid.client("3/7/10").await;
    let bound = CHUNKED_FROM as usize;
    let data = noise(50, bound + 5 * MIB);
    for (size, is_tree) in [
        (0, false),
        (56, false),
        (bound - 1, false),
        (bound, true),
        (bound + 1, true),
        (bound + 5 * MIB, true),
    ] {
        let transfer = Transfer::default();
        let options = PutOptions { chunked: true, transfer: transfer.clone(), ..PutOptions::default() };
        let report = client.put(Source::bytes(data[..size].to_vec()), options.clone()).await.unwrap();
        assert_eq!((report.tree_salt.is_some(), report.size), (is_tree, size as u64));
        assert_eq!((transfer.done(), transfer.expected()), (size as u64, size as u64));
        let complaints = reads_back(&client, &report.cap, &data[..size]).await.complaints;
        assert!(complaints.is_empty(), "{complaints:?}");
        // A stream is cut at the same bytes, so it is the same tree.
        let again = client.put(stream_of(&data[..size]), options).await.unwrap();
        assert_eq!((again.cap.to_string(), again.sent), (report.cap.to_string(), 0), "{size} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn the_pieces_of_a_file_are_found_and_an_even_part_of_them_stands_for_all() {
    let mut grid = SimGrid::start(59, 10).await;
    let client = grid.client("3/7/10").await;
    let report = put_chunked(&client, &noise(59, 17 * MIB)).await;
    let all = client.pieces(&report.cap, 1000).await.unwrap().expect("a tree");
    assert!(all.total > 8 && all.looked_at() as u64 == all.total && all.closed == 0, "{all:?}");
    let groups = client.locate(&all).await;
    assert_eq!((groups.len(), groups[0].count as u64, groups[0].holders.len()), (1, all.total, 10));
    let part = client.pieces(&report.cap, 5).await.unwrap().expect("a tree");
    assert_eq!((part.looked_at(), part.total), (5, all.total));
    // Who may walk it sees as much, who may verify it the root alone, and other things have no pieces.
    let repair = client.repair_cap(&report.cap).await.unwrap().unwrap();
    assert_eq!(client.pieces(&repair, 1000).await.unwrap().map(|pieces| pieces.total), Some(all.total));
    let verify = client.pieces(&report.cap.verify().unwrap(), 1000).await.unwrap().expect("a tree");
    assert_eq!((verify.total, verify.looked_at(), verify.closed), (1, 1, 1));
    let small = put(&client, &noise(60, 5000)).await.unwrap();
    assert!(client.pieces(&small.cap, 1000).await.unwrap().is_none());
    let dir = client.make_directory().await.unwrap();
    assert!(client.pieces(dir.cap(), 1000).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_insertion_in_front_sends_little() {
    let mut grid = SimGrid::start(51, 10).await;
    let client = grid.client("3/7/10").await;
    let before = noise(51, 32 * MIB);
    let first = put_chunked(&client, &before).await;
    assert!(first.sent >= whole(before.len()), "{} bytes sent at first", first.sent);
    assert_eq!(put_chunked(&client, &before).await.sent, 0);
    let after = [noise(52, MIB), before].concat();
    let second = put_chunked(&client, &after).await;
    assert!(second.sent <= whole(4 * MIB), "{} bytes sent for 1 MiB in front", second.sent);
    assert_ne!(first.cap, second.cap);
    reads_back(&client, &second.cap, &after).await;
}

#[tokio::test(start_paused = true)]
async fn chunks_that_recur_are_stored_once() {
    let mut grid = SimGrid::start(52, 10).await;
    let client = grid.client("3/7/10").await;
    let zeros = vec![0; 40 * MIB];
    let report = within(SECOND * 30, put_chunked(&client, &zeros)).await;
    assert!(report.sent <= whole(9 * MIB), "{} bytes sent for zeros", report.sent);
    reads_back(&client, &report.cap, &zeros).await;
}

#[tokio::test(start_paused = true)]
async fn ranges_with_dead_servers_and_a_liar() {
    let mut grid = SimGrid::start(53, 10).await;
    let data = noise(53, 20 * MIB + 12_345);
    let report = put_chunked(&grid.client("3/7/10").await, &data).await;
    let ranges = |seed| {
        let random = SimRandom::new(seed).fork("ranges");
        let mut out = vec![0..1, 0..data.len(), data.len() - 1..data.len(), 4 * MIB - 5000..4 * MIB + 5000];
        for most in [100, 5000, 200_000, 2 * MIB, 9 * MIB].repeat(3) {
            let start = random.between(0, data.len() as u64 - 1) as usize;
            out.push(start..(start + random.between(1, most as u64) as usize).min(data.len()));
        }
        out
    };
    let all_are_right = async |client: Client, seed| {
        let reader = client.open_object(&report.cap).await.unwrap();
        for range in ranges(seed) {
            let wanted = range.start as u64..range.end as u64;
            let bytes = within(SECOND * 60, reader.read(wanted.clone())).await.unwrap();
            assert!(bytes == data[range.clone()], "{range:?}");
            let mut sink = Vec::new();
            let options = GetOptions { range: Some(wanted), ..GetOptions::default() };
            within(SECOND * 60, reader.read_into(&mut sink, options)).await.unwrap();
            assert!(sink == data[range.clone()], "{range:?}");
        }
        reader.complaints()
    };
    assert!(all_are_right(grid.client("3/7/10").await, 1).await.is_empty());
    let liar = holder(&grid, &report, 1);
    corrupt(&grid, liar, |request| match request {
        Request::ReadSlice(_) | Request::ReadBlocks(_) => Lie::Body(|_, bytes| bytes[0] ^= 1),
        _ => Lie::Truth,
    });
    let complaints = all_are_right(grid.client("3/7/10").await, 2).await;
    only_blames(&grid, &complaints, liar, true);
    (2..8).for_each(|number| grid.kill(holder(&grid, &report, number)));
    all_are_right(grid.client("3/7/10").await, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_small_range_costs_little() {
    let mut grid = SimGrid::start(54, 10).await;
    let data = noise(54, 24 * MIB);
    let report = put_chunked(&grid.client("3/7/10").await, &data).await;
    let asked = Arc::new(AtomicU64::new(0));
    for server in 0..10 {
        let asked = asked.clone();
        corrupt(&grid, server, move |request| {
            if matches!(request, Request::ReadBlocks(_)) {
                asked.fetch_add(1, Ordering::Relaxed);
            }
            Lie::Truth
        });
    }
    let reader = grid.client("3/7/10").await.open_object(&report.cap).await.unwrap();
    let at = 17 * MIB as u64;
    assert!(reader.read(at..at + 4096).await.unwrap() == data[17 * MIB..17 * MIB + 4096]);
    assert_eq!(asked.load(Ordering::Relaxed), 0, "no whole block is fetched for 4 KiB");
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_download_goes_on() {
    let mut grid = SimGrid::start(55, 10).await;
    let client = grid.client("3/7/10").await;
    let data = noise(55, 20 * MIB);
    let report = put_chunked(&client, &data).await;
    let reader = client.open_object(&report.cap).await.unwrap();
    let matching = async |disk: Vec<u8>| {
        reader.matching_prefix(Arc::new(BytesSource(disk.into()))).await.unwrap() as usize
    };
    assert_eq!(matching(Vec::new()).await, 0);
    assert_eq!(matching(data.clone()).await, data.len());
    assert_eq!(matching([&data[..], b"more"].concat()).await, data.len());
    let part = matching(data[..13 * MIB].to_vec()).await;
    assert!((12 * MIB..=13 * MIB).contains(&part), "{part}");
    let mut spoiled = data.clone();
    spoiled[9 * MIB] ^= 1;
    let part = matching(spoiled).await;
    assert!((8 * MIB..=9 * MIB).contains(&part), "{part}");
}

/// A file of which each byte read is another the next time.
struct Changing {
    len: u64,
    reads: AtomicU64,
}

impl ReadAt for Changing {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.len)
    }

    fn read_exact_at(&self, _: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new_keyed(&[read as u8; 32]).finalize_xof().fill(buffer);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changes_all_the_time_is_what_was_read() {
    let mut grid = SimGrid::start(56, 10).await;
    let client = grid.client("3/7/10").await;
    let source = Arc::new(Changing { len: CHUNKED_FROM, reads: AtomicU64::new(0) });
    let options = PutOptions { chunked: true, ..PutOptions::default() };
    let report = client.put(Source::File(source.clone()), options).await.unwrap();
    let reads = source.reads.load(Ordering::Relaxed);
    assert_eq!(reads, 16, "nothing is read twice");
    let expected: Vec<u8> = (0..reads).flat_map(|read| noise(read as u8, MIB)).collect();
    reads_back(&client, &report.cap, &expected).await;
}

#[tokio::test(start_paused = true)]
async fn tree_objects_of_any_length() {
    let mut grid = SimGrid::start(57, 10).await;
    let client = grid.client("3/7/10").await;
    let transfer = Transfer::default();
    for len in [0, 10, 40_000, 2 * MIB] {
        let sections = Sections { a: noise(57, len), b: noise(58, len / 2) };
        let store = async |key, directory| {
            client.put_tree(sections.clone(), 7, key, directory, None, &transfer).await.unwrap()
        };
        let (cap, salt) = store(TreeKey::Convergent, false).await;
        assert_eq!((cap.size, cap.directory), (7, false));
        assert_eq!(client.get_tree(&cap).await.unwrap(), (sections.clone(), salt));
        assert_eq!(store(TreeKey::Convergent, false).await, (cap.clone(), salt));
        let (random, other_salt) = store(TreeKey::Random, true).await;
        assert!(random.directory && random.hash != cap.hash);
        assert_eq!(client.get_tree(&random).await.unwrap(), (sections.clone(), other_salt));
    }
}

/// A file that is changed on the grid and in memory alike.
struct Twin {
    client: Client,
    cap: Option<ImmutableRead>,
    data: Vec<u8>,
}

impl Twin {
    async fn patch(&mut self, size: usize, edits: &[(usize, Vec<u8>)]) -> u64 {
        let given: Vec<(u64, Bytes)> =
            edits.iter().map(|(at, bytes)| (*at as u64, bytes.clone().into())).collect();
        let base = self.cap.as_ref();
        let patched = self.client.patch(base, size as u64, &given, PutOptions::default()).await.unwrap();
        self.data.resize(size, 0);
        for (at, bytes) in edits {
            self.data[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        assert_eq!(patched.cap.size, size as u64);
        let (_, salt) = self.client.get_tree(&patched.cap).await.unwrap();
        assert_eq!(salt, patched.salt);
        let (bytes, _) = get(&self.client, &Cap::ImmutableRead(patched.cap.clone())).await.unwrap();
        assert!(bytes == self.data, "the patched file has other bytes than it should");
        self.cap = Some(patched.cap);
        patched.sent
    }
}

#[tokio::test(start_paused = true)]
async fn one_byte_of_a_large_file() {
    let mut grid = SimGrid::start(58, 10).await;
    let client = grid.client("3/7/10").await;
    let data = noise(58, 32 * MIB);
    let report = put_chunked(&client, &data).await;
    let mut twin = Twin { client, cap: Some(read_cap(&report)), data };
    let size = twin.data.len();
    assert_eq!(twin.patch(size, &[]).await, 0, "nothing is sent for no change");
    assert_eq!(twin.cap, Some(read_cap(&report)));
    let sent = twin.patch(size, &[(9 * MIB + 5, vec![1])]).await;
    assert!(sent > 0 && sent <= whole(4 * MIB + 100_000), "{sent} bytes sent for one byte");
    // Where it was cut anew the chunks have 1 MiB.
    let sent = twin.patch(size, &[(9 * MIB + 5, vec![2])]).await;
    assert!(sent <= whole(2 * MIB), "{sent} bytes sent for the same byte again");
    let sent = twin.patch(size + 1, &[(size, vec![3])]).await;
    assert!(sent <= whole(2 * MIB), "{sent} bytes sent for one byte more");
    let sent = twin.patch(size - 20 * MIB, &[]).await;
    assert!(sent <= whole(4 * MIB + 100_000), "{sent} bytes sent for a cut");
}

#[tokio::test(start_paused = true)]
async fn holes_and_files_from_nothing() {
    let mut grid = SimGrid::start(59, 10).await;
    let mut twin = Twin { client: grid.client("3/7/10").await, cap: None, data: Vec::new() };
    twin.patch(0, &[]).await;
    twin.patch(1, &[(0, vec![1])]).await;
    twin.patch(3 * MIB, &[(MIB - 1, vec![2; 5]), (MIB + 1, vec![3])]).await;
    let sent = twin.patch(300 * MIB, &[(299 * MIB, vec![4])]).await;
    assert!(sent <= whole(6 * MIB), "{sent} bytes sent for a hole");
    twin.patch(10, &[]).await;
    twin.patch(0, &[]).await;
    twin.patch(100, &[(50, vec![9; 50])]).await;
    let edits = [(99, Bytes::from_static(&[1, 2]))];
    let error = twin.client.patch(twin.cap.as_ref(), 100, &edits, PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, PatchError::OutOfRange { start: 99, len: 2, size: 100 }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_direct_file_is_changed_as_well() {
    let mut grid = SimGrid::start(60, 10).await;
    let client = grid.client("3/7/10").await;
    let data = noise(60, 5 * MIB);
    let report = put(&client, &data).await.unwrap();
    let mut twin = Twin { client, cap: Some(read_cap(&report)), data };
    let sent = twin.patch(5 * MIB + 10, &[(5 * MIB, vec![1; 10])]).await;
    assert!(sent <= whole(MIB), "{sent} bytes sent: the old file is taken over whole");
    twin.patch(5 * MIB + 10, &[(3, vec![2])]).await;
}

#[tokio::test(start_paused = true)]
async fn any_changes_in_any_order() {
    for seed in 0..3 {
        let random = SimRandom::new(seed).fork("patches");
        let mut grid = SimGrid::start(seed, 10).await;
        let mut twin = Twin { client: grid.client("3/7/10").await, cap: None, data: Vec::new() };
        for step in 0..12 {
            let size = random.between(0, 12 * MIB as u64) as usize;
            let size = if random.between(0, 1) == 0 { size } else { twin.data.len().max(1) };
            let mut edits = Vec::new();
            for number in 0..random.between(0, 4) {
                let at = random.between(0, size as u64) as usize;
                let most = [1, 5000, MIB, 3 * MIB][random.between(0, 3) as usize].min(size - at);
                let len = random.between(0, most as u64) as usize;
                edits.push((at, noise((step * 8 + number) as u8, len)));
            }
            twin.patch(size, &edits).await;
        }
    }
}
