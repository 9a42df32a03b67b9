//! Small files: many shares in one request, and servers that hang, break, refuse or lie about them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Client, PutOptions, PutReport, Source, UploadError};
use protocol::announcement::{AnnouncedStore, Announcement};
use protocol::announcer::announce;
use protocol::message::{
    Bytes32, ErrorCode, PutSmallDone, Reply, Request, SmallOutcome, SmallShare, WireError,
};
use protocol::{Clock, NodeKey};
use testkit::grid::{DISK, SimGrid};
use testkit::liar::{Lie, corrupt};
use testkit::net::Link;
use tokio::task::JoinSet;

use crate::support::{SECOND, failed, noise, put, reads_back, within};
use crate::upload::{offers_meet, with_a_spare};

/// How many requests of which kind the servers get: single shares, batches, shares in batches.
#[derive(Default)]
struct Asked {
    puts: AtomicUsize,
    batches: AtomicUsize,
    shares: AtomicUsize,
}

impl Asked {
    fn of(grid: &SimGrid) -> Arc<Self> {
        let asked = Arc::new(Self::default());
        for index in 0..grid.servers.len() {
            let asked = asked.clone();
            corrupt(grid, index, move |request| {
                match request {
                    Request::Put(_) => drop(asked.puts.fetch_add(1, Ordering::Relaxed)),
                    Request::PutSmall(put) => {
                        asked.batches.fetch_add(1, Ordering::Relaxed);
                        asked.shares.fetch_add(put.shares.len(), Ordering::Relaxed);
                    }
                    _ => {}
                }
                Lie::Truth
            });
        }
        asked
    }

    /// What came since the last call.
    fn take(&self) -> [usize; 3] {
        [&self.puts, &self.batches, &self.shares].map(|count| count.swap(0, Ordering::Relaxed))
    }
}

/// Stores so many files of 4 KiB at once.
async fn put_many(client: &Client, count: u8) -> Vec<(Vec<u8>, PutReport)> {
    let mut putting = JoinSet::new();
    for seed in 0..count {
        let client = client.clone();
        putting.spawn(async move {
            let data = noise(seed, 4096);
            let report = client.put(Source::bytes(data.clone()), PutOptions::default()).await.unwrap();
            (data, report)
        });
    }
    putting.join_all().await
}

#[tokio::test(start_paused = true)]
async fn files_stored_at_once_share_requests() {
    let mut grid = SimGrid::start(50, 10).await;
    let client = grid.client("3/7/10").await;
    let asked = Asked::of(&grid);
    let syncs = |grid: &SimGrid| grid.servers.iter().map(|server| server.disk.syncs()).sum::<u64>();
    put(&client, &noise(99, 4096)).await.unwrap();
    assert_eq!(asked.take(), [0, 10, 10]);
    let before = syncs(&grid);
    let stored = within(SECOND, put_many(&client, 64)).await;
    let [puts, batches, shares] = asked.take();
    assert_eq!((puts, shares), (0, 640));
    assert!((10..=60).contains(&batches), "{batches} requests for 640 shares");
    let syncs = syncs(&grid) - before;
    assert!(syncs < 640, "{syncs} syncs for 640 shares");
    for (data, report) in &stored {
        assert_eq!((report.happiness, report.shares.len(), report.found.len()), (10, 10, 0));
        assert!(report.failures.is_empty());
        reads_back(&client, &report.cap, data).await;
    }
    // Again: everything is sent, and nothing of it was new.
    let again = put_many(&client, 64).await;
    assert_eq!(asked.take()[2], 640);
    assert!(again.iter().all(|(_, report)| report.sent == 0 && report.found.len() == 10));
}

#[tokio::test(start_paused = true)]
async fn the_longest_small_file() {
    let mut grid = SimGrid::start(51, 10).await;
    let client = grid.client("3/7/10").await;
    let asked = Asked::of(&grid);
    let params = encoding::Params::new(3, 10).unwrap();
    let share_len = |size: u64| {
        let geometry = encoding::Geometry::for_plaintext(params, size).unwrap();
        geometry.share_len(9, encoding::Descriptor::plain_len(10))
    };
    let longest = (190_000..200_000).rev().find(|size| share_len(*size) <= 65_536).unwrap();
    for (size, small) in [(56, true), (longest, true), (longest + 1, false)] {
        let data = noise(1, size as usize);
        let report = put(&client, &data).await.unwrap();
        assert_eq!(report.happiness, 10);
        let [puts, batches, _] = asked.take();
        assert_eq!((puts, batches), if small { (0, 10) } else { (10, 0) }, "{size} bytes");
        reads_back(&client, &report.cap, &data).await;
    }
    // Many of the longest do not exceed what a request may carry.
    let mut putting = JoinSet::new();
    for seed in 0..40 {
        let client = client.clone();
        putting.spawn(async move { put(&client, &noise(seed, longest as usize)).await.unwrap().happiness });
    }
    assert_eq!(putting.join_all().await, [10; 40]);
}

fn answer(outcomes: Vec<SmallOutcome>) -> Lie {
    Lie::message(&Reply::Ok(PutSmallDone { outcomes }))
}

#[tokio::test(start_paused = true)]
async fn lies_about_shares_do_not_count() {
    let other = Bytes32([7; 32]);
    let lies = [
        answer(vec![SmallOutcome::Stored(other)]),
        answer(vec![SmallOutcome::Had(other)]),
        answer(vec![SmallOutcome::Refused(WireError::new(ErrorCode::Corrupt, "so there"))]),
        answer(vec![]),
        answer(vec![SmallOutcome::Stored(other); 2]),
        answer(vec![SmallOutcome::Stored(other); 513]),
        Lie::Say((&[0xff; 4][..]).into()),
        Lie::Say((&b"\x05\0\0\0hello"[..]).into()),
        Lie::Say(bytes::Bytes::new()),
        Lie::Body(|_, bytes| bytes.fill(0)),
    ];
    // The last one changes nothing: there is no body after the answer.
    let (harmless, lies) = lies.split_last().unwrap();
    for (case, lie) in lies.iter().enumerate() {
        println!("case {case}");
        offers_meet(lie.clone(), 4096, SECOND).await;
    }
    let mut grid = SimGrid::start(52, 10).await;
    let client = grid.client("3/7/10").await;
    let lie = harmless.clone();
    corrupt(&grid, 0, move |request| match request {
        Request::PutSmall(_) => lie.clone(),
        _ => Lie::Truth,
    });
    assert_eq!(put(&client, &noise(1, 4096)).await.unwrap().happiness, 10);
}

#[tokio::test(start_paused = true)]
async fn who_lies_about_a_hash_is_avoided_for_a_while() {
    let mut grid = SimGrid::start(53, 11).await;
    let client = grid.client("3/7/10").await;
    corrupt(&grid, 4, |request| match request {
        Request::PutSmall(put) => answer(vec![SmallOutcome::Had(Bytes32([1; 32])); put.shares.len()]),
        _ => Lie::Truth,
    });
    let mut failures = 0;
    for seed in 0..20 {
        let report = put(&client, &noise(seed, 4096)).await.unwrap();
        assert_eq!((report.happiness, report.found.len()), (10, 0));
        assert!(failed(&grid, &report.failures).iter().all(|index| *index == 4));
        failures += report.failures.len();
    }
    assert_eq!(failures, 1, "it is asked last from then on, and ten others are enough");
}

#[tokio::test(start_paused = true)]
async fn servers_break_off() {
    offers_meet(Lie::Close, 4096, SECOND).await;
    offers_meet(Lie::Reset, 4096, SECOND).await;
    with_a_spare(4096, async |grid, bad| grid.kill(bad), SECOND).await;
    let isolated = async |grid: &mut SimGrid, bad: usize| grid.net.isolate(grid.servers[bad].key.id());
    with_a_spare(4096, isolated, SECOND * 10).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_know_the_request_has_failed() {
    // As a server without it does: it answers after the message, and reads nothing of what follows.
    let unknown = WireError::new(ErrorCode::Unsupported, "the message is of an unknown kind");
    let lie = Lie::message(&Reply::<()>::Err(unknown));
    offers_meet(lie.clone(), 4096, SECOND).await;
    let mut grid = SimGrid::start(54, 10).await;
    for index in 0..10 {
        let lie = lie.clone();
        corrupt(&grid, index, move |request| match request {
            Request::PutSmall(_) => lie.clone(),
            _ => Lie::Truth,
        });
    }
    let error = within(SECOND, put(&grid.client("3/7/10").await, &noise(1, 150_000))).await.unwrap_err();
    let UploadError::NotHappy { happiness: 0, wanted: 7, failures } = error else { panic!("{error}") };
    assert!(failures.iter().all(|failure| failure.code == Some(ErrorCode::Unsupported)), "{failures:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_and_a_slow_server() {
    with_a_spare(4096, async |grid, bad| grid.servers[bad].disk.set_capacity(0), SECOND).await;
    let slow = async |grid: &mut SimGrid, bad: usize| {
        let link = Link { bytes_per_second: Some(100), ..Link::default() };
        grid.net.set_host_link(grid.servers[bad].key.id(), link);
    };
    with_a_spare(100_000, slow, SECOND * 5).await;
    // Some of the files of one request fit: the others go elsewhere.
    let mut grid = SimGrid::start(55, 11).await;
    let client = grid.client("3/7/10").await;
    let disk = grid.servers[0].disk.clone();
    put(&client, &noise(99, 100_000)).await.unwrap();
    let used: u64 = disk.files().iter().map(|(_, len)| len).sum();
    disk.set_capacity(used + 30_000);
    let stored = within(SECOND * 2, put_many(&client, 40)).await;
    let on_first =
        |report: &PutReport| report.shares.values().any(|server| grid.index_of(&server.id) == Some(0));
    let there = stored.iter().filter(|(_, report)| on_first(report)).count();
    assert!((1..20).contains(&there), "{there} fit");
    for (data, report) in &stored {
        assert_eq!(report.happiness, 10);
        assert!(failed(&grid, &report.failures).iter().all(|index| *index == 0));
        reads_back(&client, &report.cap, data).await;
    }
    disk.set_capacity(DISK);
}

#[tokio::test(start_paused = true)]
async fn dead_servers_are_made_up_for_while_enough_are_left() {
    let mut grid = SimGrid::start(56, 10).await;
    let client = grid.client("3/7/10").await;
    put(&client, &noise(0, 4096)).await.unwrap();
    [1, 2, 3].into_iter().for_each(|index| grid.kill(index));
    let report = within(SECOND * 5, put(&client, &noise(1, 4096))).await.unwrap();
    assert_eq!((report.happiness, report.shares.len()), (7, 10));
    let named: BTreeSet<usize> = failed(&grid, &report.failures).into_iter().collect();
    assert_eq!(named, [1, 2, 3].into());
    grid.kill(4);
    let error = within(SECOND * 5, put(&client, &noise(2, 4096))).await.unwrap_err();
    assert!(error.is_retryable() && !error.is_refusal());
    let UploadError::NotHappy { happiness: 6, wanted: 7, failures } = error else { panic!("{error}") };
    let named: BTreeSet<usize> = failed(&grid, &failures).into_iter().collect();
    assert_eq!(named, [1, 2, 3, 4].into());
    for index in 1..5 {
        grid.restart(index).await.unwrap();
    }
    tokio::time::sleep(SECOND * 31).await;
    assert_eq!(put(&client, &noise(2, 4096)).await.unwrap().happiness, 10);
}

#[tokio::test(start_paused = true)]
async fn silent_servers_are_helped_out_by_others_before_they_are_given_up() {
    // Four of the first ten say nothing: six are too few, and four more are there.
    let mut plain = SimGrid::start(57, 14).await;
    let report = put(&plain.client("3/7/10").await, &noise(1, 4096)).await.unwrap();
    let silent: Vec<usize> =
        (0..4).map(|number| plain.index_of(&report.shares[&number].id).unwrap()).collect();
    let mut grid = SimGrid::start(57, 14).await;
    for index in &silent {
        corrupt(&grid, *index, |request| match request {
            Request::PutSmall(_) => Lie::Silence,
            _ => Lie::Truth,
        });
    }
    let client = grid.client("3/7/10").await;
    let report = within(SECOND * 25, put(&client, &noise(1, 4096))).await.unwrap();
    assert_eq!((report.happiness, report.shares.len()), (10, 10));
    let named: BTreeSet<usize> = failed(&grid, &report.failures).into_iter().collect();
    assert_eq!(named, silent.iter().copied().collect());
    // Without the others it ends too.
    let mut grid = SimGrid::start(58, 10).await;
    for index in 0..4 {
        corrupt(&grid, index, |request| match request {
            Request::PutSmall(_) => Lie::Silence,
            _ => Lie::Truth,
        });
    }
    let client = grid.client("3/7/10").await;
    let error = within(SECOND * 90, put(&client, &noise(1, 4096))).await.unwrap_err();
    assert!(matches!(error, UploadError::NotHappy { happiness: 6, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn another_store_of_the_same_server() {
    // Every server announces a store beside its own that it does not have; for about half of them that one comes first.
    let mut grid = SimGrid::start(59, 10).await;
    for server in &grid.servers {
        let id = server.key.id();
        let absent = AnnouncedStore::new(&NodeKey::from_seed(id.as_bytes()), 1, &id);
        let signed = Announcement {
            server: id,
            sequence: 1000,
            issued_s: grid.clock.unix_time().as_secs(),
            expires_s: (grid.clock.unix_time() + Duration::from_secs(3600)).as_secs(),
            addresses: vec![server.address.clone()],
            nickname: "two stores".into(),
            zone: None,
            stores: vec![absent, server.server().unwrap().stores()[0].announced(&id)],
            software: "test".into(),
            certificate: None,
        }
        .sign(&server.key);
        announce(&*grid.net.connector(id), &grid.introducer, signed).await.unwrap();
    }
    let client = grid.client("3/7/10").await;
    let asked = Asked::of(&grid);
    let report = within(SECOND, put(&client, &noise(1, 4096))).await.unwrap();
    assert_eq!((report.happiness, report.shares.len()), (10, 10));
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert!((11..20).contains(&asked.take()[1]), "some were asked for the other store first");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_is_not_sent() {
    let mut grid = SimGrid::start(60, 10).await;
    let client = grid.client("3/7/10").await;
    put(&client, &noise(99, 4096)).await.unwrap();
    let lens: Arc<Mutex<Vec<usize>>> = Arc::default();
    for index in 0..10 {
        let lens = lens.clone();
        corrupt(&grid, index, move |request| {
            if let Request::PutSmall(put) = request {
                lens.lock()
                    .unwrap()
                    .push(put.shares.iter().map(|SmallShare { len, .. }| *len as usize).sum());
            }
            Lie::Truth
        });
    }
    let given_up = tokio::time::timeout(Duration::from_millis(1), put_many(&client, 8)).await;
    assert!(given_up.is_err());
    let report = within(SECOND, put(&client, &noise(50, 4096))).await.unwrap();
    assert_eq!(report.happiness, 10);
    let sent: usize = lens.lock().unwrap().iter().sum();
    assert!(sent < 8 * 10 * 2000, "{sent} bytes: what still waited was dropped");
}
