//! Servers that hang, break, refuse or lie while a file is stored.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use client::check::{CheckOptions, State};
use client::{Client, GetOptions, GridView, PutOptions, PutReport, Source, Timeouts, Transfer, UploadError};
use protocol::message::{Bytes32, ErrorCode, PutDone, PutReply, Reply, Request, WireError};
use storage_server::Admission;
use testkit::disk::{Faults, Survival};
use testkit::grid::{DISK, SimGrid};
use testkit::liar::{Lie, corrupt};
use testkit::net::Link;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{
    SECOND, TWO_SEGMENTS, failed, holder, noise, put, put_slowly, reads_back, simulate, stream_of, whole,
    within,
};

/// One segment of 3-of-10 whose shares are too long to travel with others.
const ONE_SEGMENT: usize = 500_000;
/// Five segments of 3-of-10.
const FIVE_SEGMENTS: usize = 3_500_000;

fn is_put(request: &Request) -> bool {
    matches!(request, Request::Put(_) | Request::PutSmall(_))
}

pub(crate) fn to_puts(lie: Lie) -> impl Fn(&Request) -> Lie + Send + Sync + 'static {
    move |request| if is_put(request) { lie.clone() } else { Lie::Truth }
}

/// Every share has a place of its own, and `bad` has none.
fn replaced(grid: &SimGrid, report: &PutReport, bad: usize) {
    // One that failed when it was asked what it holds is not even offered a share.
    assert!(failed(grid, &report.failures).iter().all(|index| *index == bad), "{:?}", report.failures);
    assert!(report.failures.len() <= 2, "it gets another try at the most");
    assert_eq!((report.shares.len(), report.happiness), (10, 10));
    assert!((0..10).all(|number| holder(grid, report, number) != bad));
}

/// With one spare server, something is wrong with the one that should get share 0: the spare one gets it.
pub(crate) async fn with_a_spare(size: usize, mishap: impl AsyncFn(&mut SimGrid, usize), bound: Duration) {
    let data = noise(7, size);
    let mut plain = SimGrid::start(7, 11).await;
    let report = put(&plain.client("3/7/10").await, &data).await.unwrap();
    let bad = holder(&plain, &report, 0);
    for stream in [false, true] {
        let mut grid = SimGrid::start(7, 11).await;
        let client = grid.client("3/7/10").await;
        mishap(&mut grid, bad).await;
        let source = if stream { stream_of(&data) } else { Source::bytes(data.clone()) };
        let report = within(bound, client.put(source, client::PutOptions::default())).await.unwrap();
        if stream {
            // Random keys: the bad server may be the spare one, and what went wrong late is not made up for.
            assert!(
                report.happiness >= 9 && failed(&grid, &report.failures).iter().all(|index| *index == bad)
            );
        } else {
            replaced(&grid, &report, bad);
        }
        reads_back(&client, &report.cap, &data).await;
    }
}

/// As [`with_a_spare`], where the server does this to every offer of a share.
pub(crate) async fn offers_meet(lie: Lie, size: usize, bound: Duration) {
    with_a_spare(size, async |grid, bad| corrupt(grid, bad, to_puts(lie.clone())), bound).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_is_down() {
    with_a_spare(TWO_SEGMENTS, async |grid, bad| grid.kill(bad), SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_hangs_at_connect() {
    with_a_spare(TWO_SEGMENTS, async |grid, bad| grid.net.isolate(grid.servers[bad].key.id()), SECOND * 10)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_hangs_at_hello() {
    let hangs = async |grid: &mut SimGrid, bad: usize| {
        corrupt(grid, bad, |request| match request {
            Request::Hello(_) => Lie::Silence,
            _ => Lie::Truth,
        });
    };
    with_a_spare(TWO_SEGMENTS, hangs, SECOND * 10).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_hangs_at_the_offer() {
    offers_meet(Lie::Silence, TWO_SEGMENTS, SECOND * 15).await;
    offers_meet(Lie::Silence, ONE_SEGMENT, SECOND * 15).await;
    offers_meet(Lie::Silence, 4096, SECOND * 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_takes_an_offer_and_no_data() {
    let go = protocol::frame::encode(&Reply::Ok(PutReply::Go(0)));
    offers_meet(Lie::Hold(go.clone()), FIVE_SEGMENTS, SECOND * 30).await;
    offers_meet(Lie::Hold(go), ONE_SEGMENT, SECOND * 70).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_never_says_done() {
    offers_meet(Lie::SilenceAfter(0), TWO_SEGMENTS, SECOND * 70).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_drops_the_connection() {
    offers_meet(Lie::Close, TWO_SEGMENTS, SECOND).await;
    offers_meet(Lie::CloseAfter(0), TWO_SEGMENTS, SECOND).await;
    offers_meet(Lie::Reset, TWO_SEGMENTS, SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_refuses() {
    use ErrorCode::{Busy, NoSpace, NotAdmitted, NotFound, OverQuota, ReadOnly, ShuttingDown, StoreFailed};
    for code in [Busy, NoSpace, NotAdmitted, NotFound, OverQuota, ReadOnly, ShuttingDown, StoreFailed] {
        let refusal = Lie::message(&Reply::<()>::Err(WireError::new(code, "so there")));
        // Busy is worth some patience; small shares go elsewhere at once.
        offers_meet(refusal.clone(), ONE_SEGMENT, SECOND * 5).await;
        offers_meet(refusal, 100_000, SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_offers_with_rubbish() {
    let lies = [
        Lie::Say((&[0xff; 4][..]).into()),
        Lie::Say((&b"\x05\0\0\0hello"[..]).into()),
        Lie::message(&Reply::Ok(PutReply::Go(u64::MAX))),
        Lie::message(&Reply::Ok(PutReply::Go(1))),
    ];
    for lie in lies {
        offers_meet(lie, TWO_SEGMENTS, SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn false_claims_to_have_a_share_do_not_count() {
    let lie = Lie::message(&Reply::Ok(PutReply::Have(Bytes32([7; 32]))));
    // A file of one segment is offered with its H, a longer one without: the claim is senseless then.
    offers_meet(lie.clone(), ONE_SEGMENT, SECOND).await;
    offers_meet(lie, TWO_SEGMENTS, SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn another_hash_at_the_end_does_not_count() {
    offers_meet(Lie::Body(|_, bytes| *bytes.last_mut().unwrap() ^= 1), TWO_SEGMENTS, SECOND).await;
    let done = protocol::frame::encode(&Reply::Ok(PutDone { hash: Bytes32([1; 32]) }));
    let go = protocol::frame::encode(&Reply::Ok(PutReply::Go(0)));
    offers_meet(Lie::Say([go, done].concat().into()), ONE_SEGMENT, SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_full() {
    with_a_spare(TWO_SEGMENTS, async |grid, bad| grid.servers[bad].disk.set_capacity(0), SECOND).await;
    // Room for the offer, and none for the data: somebody else filled the disk in between.
    let fills = async |grid: &mut SimGrid, bad: usize| {
        let disk = grid.servers[bad].disk.clone();
        let used: u64 = disk.files().iter().map(|(_, len)| len).sum();
        disk.set_capacity(used + 400_000);
        tokio::spawn(async move {
            sleep(Duration::from_millis(12)).await;
            disk.set_capacity(used);
        });
    };
    with_a_spare(TWO_SEGMENTS, fills, SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_read_only() {
    let read_only = |disk: &testkit::disk::SimDisk| {
        disk.set_faults(Faults { read_only: true, ..Faults::default() });
    };
    with_a_spare(TWO_SEGMENTS, async |grid, bad| read_only(&grid.servers[bad].disk), SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_is_read_only() {
    let read_only = async |grid: &mut SimGrid, bad: usize| {
        grid.kill(bad);
        grid.servers[bad].options.read_only = true;
        grid.restart(bad).await.unwrap();
    };
    with_a_spare(TWO_SEGMENTS, read_only, SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn an_account_is_not_admitted() {
    let listed = async |grid: &mut SimGrid, bad: usize| {
        grid.kill(bad);
        grid.servers[bad].admission = Admission::Listed(HashSet::new());
        grid.restart(bad).await.unwrap();
    };
    with_a_spare(TWO_SEGMENTS, listed, SECOND).await;
    let mut grid = SimGrid::start(8, 10).await;
    for index in 0..10 {
        listed(&mut grid, index).await;
    }
    let error = put(&grid.client("3/7/10").await, &noise(8, 1000)).await.unwrap_err();
    assert!(error.is_refusal(), "{error:?}");
    let UploadError::NotHappy { happiness: 0, wanted: 7, failures } = error else { panic!("{error}") };
    let named: BTreeSet<usize> = failed(&grid, &failures).into_iter().collect();
    assert_eq!(named, (0..10).collect());
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_fences_the_store() {
    for size in [4096, ONE_SEGMENT, TWO_SEGMENTS] {
        let fails = async |grid: &mut SimGrid, bad: usize| {
            grid.servers[bad].disk.set_faults(Faults { failing_sync: Some(1), ..Faults::default() });
        };
        with_a_spare(size, fails, SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fenced_store_takes_nothing_until_it_is_opened_again() {
    let mut grid = SimGrid::start(8, 10).await;
    let client = grid.client("3/7/10").await;
    grid.servers[4].disk.set_faults(Faults { failing_sync: Some(1), ..Faults::default() });
    for file in 0..3 {
        let data = noise(file, 4096);
        let report = within(SECOND, put(&client, &data)).await.unwrap();
        assert_eq!((report.happiness, report.shares.len()), (9, 10));
        reads_back(&client, &report.cap, &data).await;
    }
    grid.crash(4, Survival::Chance);
    grid.restart(4).await.unwrap();
    sleep(SECOND * 31).await;
    assert_eq!(put(&client, &noise(3, 4096)).await.unwrap().happiness, 10);
}

/// A slow upload of five segments to twelve servers; after a second, `mishap` befalls the servers of shares 0 and 1.
async fn in_the_middle(stream: bool, mishap: impl Fn(&mut SimGrid, usize)) -> (SimGrid, PutReport) {
    let data = noise(9, FIVE_SEGMENTS);
    let mut plain = SimGrid::start(9, 12).await;
    let first = put(&plain.client("3/7/10").await, &data).await.unwrap();
    let mut grid = SimGrid::start(9, 12).await;
    let client = grid.client("3/7/10").await;
    let source = if stream { stream_of(&data) } else { Source::bytes(data.clone()) };
    let (putting, same) = (client.clone(), client.clone());
    let task = tokio::spawn(async move { put_slowly(&putting, source, whole(FIVE_SEGMENTS) / 4).await });
    sleep(SECOND).await;
    for number in 0..2 {
        mishap(&mut grid, holder(&plain, &first, number));
    }
    let report = within(SECOND * 90, task).await.unwrap().unwrap();
    reads_back(&same, &report.cap, &data).await;
    (grid, report)
}

#[tokio::test(start_paused = true)]
async fn servers_die_in_the_middle() {
    let (grid, report) = in_the_middle(false, |grid, index| grid.kill(index)).await;
    assert_eq!((report.shares.len(), report.happiness), (10, 10), "{:?}", report.failures);
    assert_eq!(failed(&grid, &report.failures).len(), 2);
    let (_, report) = in_the_middle(true, |grid, index| grid.kill(index)).await;
    assert!((8..=10).contains(&report.happiness), "a stream is not read again");
}

#[tokio::test(start_paused = true)]
async fn servers_hang_in_the_middle() {
    let isolate = |grid: &mut SimGrid, index: usize| grid.net.isolate(grid.servers[index].key.id());
    let (grid, report) = in_the_middle(false, isolate).await;
    assert_eq!((report.shares.len(), report.happiness), (10, 10), "{:?}", report.failures);
    assert_eq!(failed(&grid, &report.failures).len(), 2, "each is named once: {:?}", report.failures);
    assert!(
        report.sent < whole(FIVE_SEGMENTS) * 13 / 10,
        "each lost share is sent once more: {}",
        report.sent
    );
}

#[tokio::test(start_paused = true)]
async fn servers_become_slow_in_the_middle() {
    let slow = |grid: &mut SimGrid, index: usize| {
        let link = Link { bytes_per_second: Some(1), ..Link::default() };
        grid.net.set_host_link(grid.servers[index].key.id(), link);
    };
    let (grid, report) = in_the_middle(false, slow).await;
    assert_eq!((report.shares.len(), report.happiness), (10, 10), "{:?}", report.failures);
    assert_eq!(failed(&grid, &report.failures).len(), 2, "each is named once: {:?}", report.failures);
    assert!(
        report.sent < whole(FIVE_SEGMENTS) * 13 / 10,
        "each lost share is sent once more: {}",
        report.sent
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_without_three_servers() {
    let data = noise(10, FIVE_SEGMENTS);
    let mut grid = SimGrid::start(10, 10).await;
    let client = grid.client("3/7/10").await;
    let (putting, source) = (client.clone(), stream_of(&data));
    let task = tokio::spawn(async move { put_slowly(&putting, source, whole(FIVE_SEGMENTS) / 4).await });
    sleep(SECOND).await;
    [2, 5, 8].into_iter().for_each(|index| grid.kill(index));
    let report = within(SECOND * 30, task).await.unwrap().unwrap();
    assert_eq!((report.shares.len(), report.happiness), (7, 7));
    assert_eq!(failed(&grid, &report.failures), [2, 5, 8]);
    reads_back(&client, &report.cap, &data).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_happy_any_more_fails_early() {
    let mut grid = SimGrid::start(10, 10).await;
    let client = grid.client("3/7/10").await;
    let source = stream_of(&noise(10, 10 * FIVE_SEGMENTS));
    let rate = whole(FIVE_SEGMENTS) / 4;
    let task = tokio::spawn(async move { put_slowly(&client, source, rate).await });
    sleep(SECOND).await;
    [1, 2, 5, 8].into_iter().for_each(|index| grid.kill(index));
    let error = within(SECOND * 10, task).await.unwrap().unwrap_err();
    let UploadError::NotHappy { happiness, wanted: 7, failures } = error else { panic!("{error}") };
    assert!(happiness < 7);
    assert_eq!(failed(&grid, &failures), [1, 2, 5, 8]);
}

#[tokio::test(start_paused = true)]
async fn one_slow_server_does_not_hold_up_the_rest() {
    let data = noise(11, 10 * FIVE_SEGMENTS);
    let mut grid = SimGrid::start(11, 10).await;
    let client = grid.client("3/7/10").await;
    let slow = Link { bytes_per_second: Some(5_000), ..Link::default() };
    grid.net.set_host_link(grid.servers[3].key.id(), slow);
    let report = within(SECOND * 60, put(&client, &data)).await.unwrap();
    assert_eq!(failed(&grid, &report.failures), [3], "{:?}", report.failures);
    assert_eq!((report.shares.len(), report.happiness), (10, 9));
}

#[tokio::test(start_paused = true)]
async fn a_narrow_uplink_is_nobodys_fault() {
    let data = noise(31, FIVE_SEGMENTS);
    let mut grid = SimGrid::start(31, 10).await;
    let client = grid.client("3/7/10").await;
    for server in &grid.servers {
        // Each gets its part of a line of 100 kB/s.
        grid.net.set_host_link(server.key.id(), Link { bytes_per_second: Some(10_000), ..Link::default() });
    }
    let report = within(SECOND * 300, put(&client, &data)).await.unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!((report.shares.len(), report.happiness), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn too_few_servers_are_named_and_a_second_try_goes_on() {
    let data = noise(12, FIVE_SEGMENTS);
    let mut grid = SimGrid::start(12, 10).await;
    // Nothing is sent while too few agree.
    [0, 1, 2, 3].into_iter().for_each(|index| grid.kill(index));
    let error = within(SECOND * 5, put(&again(&grid, "alice").await, &data)).await.unwrap_err();
    assert!(error.is_retryable() && !error.is_refusal());
    let UploadError::NotHappy { happiness: 6, wanted: 7, failures } = error else { panic!("{error}") };
    let named: BTreeSet<usize> = failed(&grid, &failures).into_iter().collect();
    assert!(named.is_subset(&[0, 1, 2, 3].into()), "{named:?}");
    assert!(grid.servers[4].disk.files().iter().all(|(path, _)| !path.starts_with("shares/")));
    for index in 0..4 {
        grid.restart(index).await.unwrap();
    }
    // Four die in the middle.
    let (putting, source) = (again(&grid, "alice").await, Source::bytes(data.clone()));
    let task = tokio::spawn(async move { put_slowly(&putting, source, whole(FIVE_SEGMENTS) / 4).await });
    sleep(SECOND * 2).await;
    [6, 7, 8, 9].into_iter().for_each(|index| grid.kill(index));
    let error = within(SECOND * 30, task).await.unwrap().unwrap_err();
    let UploadError::NotHappy { happiness, wanted: 7, failures } = error else { panic!("{error}") };
    assert!(happiness <= 6, "{happiness}");
    let named: BTreeSet<usize> = failed(&grid, &failures).into_iter().collect();
    assert_eq!(named, [6, 7, 8, 9].into());
    for index in 6..10 {
        grid.restart(index).await.unwrap();
    }
    let client = again(&grid, "alice").await;
    let report = within(SECOND * 5, put(&client, &data)).await.unwrap();
    assert_eq!((report.shares.len(), report.happiness), (10, 10), "{:?}", report.failures);
    assert!(report.sent < whole(FIVE_SEGMENTS) * 7 / 10, "sent {} of {}", report.sent, whole(FIVE_SEGMENTS));
    reads_back(&client, &report.cap, &data).await;
}

async fn at_once(clients: &[&Client], data: &[u8]) -> Vec<PutReport> {
    let mut putting = JoinSet::new();
    for client in clients {
        let (client, data) = ((*client).clone(), data.to_vec());
        putting.spawn(async move { put(&client, &data).await });
    }
    putting.join_all().await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(start_paused = true)]
async fn the_same_file_at_once_is_sent_once() {
    for size in [ONE_SEGMENT, TWO_SEGMENTS] {
        let data = noise(14, size);
        let mut grid = SimGrid::start(14, 10).await;
        let client = grid.client("3/7/10").await;
        let reports = within(SECOND, at_once(&[&client; 3], &data)).await;
        for report in &reports {
            assert!(report.failures.is_empty(), "{:?}", report.failures);
            assert_eq!((report.shares.len(), report.happiness), (10, 10));
        }
        assert_eq!(reports.iter().filter(|report| report.sent > 0).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_file_at_once_from_two_places_blames_no_server() {
    for seed in 15..20 {
        let data = noise(seed, TWO_SEGMENTS);
        let grid = SimGrid::start(seed.into(), 10).await;
        // As two processes of one account.
        let (one, two) = (again(&grid, "alice").await, again(&grid, "alice").await);
        let reports = within(SECOND * 20, at_once(&[&one, &two], &data)).await;
        assert!(reports.iter().all(|report| report.happiness == 10), "{reports:?}");
        // Who had to make way knows who is at fault: nobody.
        for client in [&one, &two] {
            let checked = client.check(&reports[0].cap, CheckOptions::default()).await.unwrap().unwrap();
            assert_eq!((checked.now(), checked.good), (State::Healthy, 10), "{checked:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_file_again_sends_nothing() {
    for size in [100, 4096, ONE_SEGMENT, TWO_SEGMENTS] {
        let data = noise(13, size);
        let mut grid = SimGrid::start(13, 10).await;
        let client = grid.client("3/7/10").await;
        let empty: Vec<_> = grid.servers.iter().map(|server| server.disk.image()).collect();
        let first = put(&client, &data).await.unwrap();
        let second = within(SECOND, put(&client, &data)).await.unwrap();
        assert_eq!((second.sent, second.found.len(), second.happiness), (0, 10, 10));
        assert_eq!(first.cap, second.cap);

        // One server lost its disk: only its share is sent.
        let lost = holder(&grid, &first, 4);
        grid.kill(lost);
        grid.servers[lost].disk.restore(&empty[lost]);
        grid.restart(lost).await.unwrap();
        client.refresh().await;
        sleep(SECOND * 31).await;
        let third = within(SECOND * 5, put(&client, &data)).await.unwrap();
        assert_eq!(
            (third.found.len(), third.shares.len(), third.happiness),
            (9, 10, 10),
            "{:?}",
            third.failures
        );
        let one = first.sent / 10;
        assert!(
            (one * 9 / 10..=one * 12 / 10).contains(&third.sent),
            "sent {}, a share has {one}",
            third.sent
        );
        assert_eq!(third.cap, first.cap);
        reads_back(&client, &third.cap, &data).await;
    }
}

/// The client of this name after a restart.
pub(crate) async fn again(grid: &SimGrid, label: &str) -> Client {
    sharing_secret(grid, label, label).await
}

/// Another account with the convergence secret of `label`.
async fn sharing_secret(grid: &SimGrid, label: &str, account: &str) -> Client {
    let (settings, _) = grid.client_parts(label, "3/7/10", Timeouts::default());
    let (_, seams) = grid.client_parts(account, "3/7/10", Timeouts::default());
    let client = Client::new(settings, GridView::empty(), seams).unwrap();
    client.refresh().await;
    client
}

#[tokio::test(start_paused = true)]
async fn two_uploads_of_one_file_at_once() {
    for size in [100, 4096, ONE_SEGMENT, TWO_SEGMENTS] {
        for other in ["alice", "bob"] {
            let data = noise(15, size);
            let grid = SimGrid::start(15, 10).await;
            let one = sharing_secret(&grid, "alice", "alice").await;
            let two = sharing_secret(&grid, "alice", other).await;
            let both = async { tokio::join!(put(&one, &data), put(&two, &data)) };
            let (first, second) = within(SECOND * 10, both).await;
            let (first, second) = (first.unwrap(), second.unwrap());
            assert_eq!(first.cap, second.cap);
            for report in [&first, &second] {
                assert_eq!(
                    (report.happiness, report.shares.len()),
                    (10, 10),
                    "{other} {:?}",
                    report.failures
                );
            }
            reads_back(&one, &first.cap, &data).await;
            // Nothing is left over.
            for server in &grid.servers {
                assert!(server.disk.files().iter().all(|(path, _)| !path.starts_with("partial/")));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_false_proof_does_not_help_a_second_upload() {
    let data = noise(16, TWO_SEGMENTS);
    let mut grid = SimGrid::start(16, 10).await;
    let client = grid.client("3/7/10").await;
    let first = put(&client, &data).await.unwrap();
    let liar = holder(&grid, &first, 2);
    corrupt(&grid, liar, to_puts(Lie::message(&Reply::Ok(PutReply::Have(Bytes32([9; 32]))))));
    let second = within(SECOND * 5, put(&client, &data)).await.unwrap();
    assert_eq!(failed(&grid, &second.failures), [liar]);
    assert!(!second.found.contains(&2));
    assert_eq!((second.found.len(), second.happiness), (9, 9));
}

#[tokio::test(start_paused = true)]
async fn every_disk_is_full() {
    let mut grid = SimGrid::start(19, 10).await;
    let client = grid.client("3/7/10").await;
    let kept = noise(19, TWO_SEGMENTS);
    let report = put(&client, &kept).await.unwrap();
    grid.servers.iter().for_each(|server| server.disk.set_capacity(1_000_000));
    for size in [4096, ONE_SEGMENT, FIVE_SEGMENTS] {
        let error = within(SECOND * 5, put(&client, &noise(20, size))).await.unwrap_err();
        assert!(error.is_refusal(), "{error:?}");
    }
    reads_back(&client, &report.cap, &kept).await;
    grid.servers.iter().for_each(|server| server.disk.set_capacity(DISK));
    assert_eq!(put(&client, &noise(20, FIVE_SEGMENTS)).await.unwrap().happiness, 10);
}

#[test]
fn a_transfer_counts_what_went_to_each_server_and_came_from_it() {
    simulate(async {
        let mut grid = SimGrid::start(77, 10).await;
        let client = grid.client("3/7/10").await;
        // Whether its shares go by themselves or many at a time.
        for len in [TWO_SEGMENTS, 5000] {
            let (data, up, down) = (noise(7, len), Transfer::default(), Transfer::default());
            let options = PutOptions { transfer: up.clone(), ..PutOptions::default() };
            let report = client.put(Source::bytes(data.clone()), options).await.unwrap();
            let sent = up.by_server();
            assert_eq!(sent.len(), 10);
            assert_eq!(sent.values().sum::<u64>(), report.sent);
            let mut bytes = Vec::new();
            let options = GetOptions { transfer: down.clone(), ..GetOptions::default() };
            client.get(&report.cap, &mut bytes, options).await.unwrap();
            assert!(bytes == data);
            let came = down.by_server();
            assert!(came.len() >= 3 && came.values().sum::<u64>() >= len as u64, "{came:?}");
        }
    });
}

#[test]
fn a_stream_that_pauses_for_minutes_is_stored() {
    simulate(async {
        let mut grid = SimGrid::start(78, 10).await;
        let client = grid.client("3/7/10").await;
        let data = noise(8, 3 * TWO_SEGMENTS);
        // Nothing for nine minutes: before the first segment is there, in the middle, and before the end.
        let (mut writer, reader) = tokio::io::duplex(64 << 10);
        let parts: Vec<Vec<u8>> = [0..300_000, 300_000..2_000_000, 2_000_000..data.len()]
            .into_iter()
            .map(|range| data[range].to_vec())
            .collect();
        tokio::spawn(async move {
            for part in parts {
                tokio::io::AsyncWriteExt::write_all(&mut writer, &part).await.unwrap();
                tokio::time::sleep(SECOND * 540).await;
            }
        });
        let report = client.put(Source::stream(reader), PutOptions::default()).await.unwrap();
        assert_eq!(report.happiness, 10, "{:?}", report.failures);
        reads_back(&client, &report.cap, &data).await;
    });
}
