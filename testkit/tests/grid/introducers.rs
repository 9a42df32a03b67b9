//! Who knows whom: introducers that are away, differ or pass on rubbish; and zones.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Client, GridView, Timeouts};
use introducer::{Introducer, MemoryKeep, Parts};
use protocol::announcement::{Announcement, Signed};
use protocol::announcer::announce;
use protocol::message::ErrorCode;
use protocol::session::RequestError;
use protocol::{Clock, InlinePool, NodeAddress, NodeKey};
use testkit::grid::SimGrid;

use crate::support::{SECOND, noise, put, reads_back, within};

/// A second introducer beside the grid's own, with these announcements.
async fn another_introducer(grid: &SimGrid, announcements: &[Arc<Signed>]) -> NodeAddress {
    let key = NodeKey::from_seed(&[77; 32]);
    let mut parts = Parts::new(Arc::new(MemoryKeep::default()));
    parts.clock = grid.clock.clone();
    parts.pool = Arc::new(InlinePool);
    let introducer = Introducer::new(parts).unwrap();
    tokio::spawn(introducer.serve(grid.net.listener(key.id(), "introducer:2")));
    let address = NodeAddress { id: key.id(), host: "introducer:2".into() };
    for signed in announcements {
        let connector = grid.net.connector(signed.open().unwrap().server);
        announce(&*connector, &address, (**signed).clone()).await.unwrap();
    }
    address
}

#[tokio::test(start_paused = true)]
async fn a_grid_works_for_weeks_without_an_introducer() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("servers.cache");
    let mut grid = SimGrid::start(30, 10).await;
    let start = |grid: &SimGrid| {
        let (settings, seams) = grid.client_parts("alice", "3/7/10", Timeouts::default());
        Client::new(settings, GridView::load(&cache).unwrap(), seams).unwrap()
    };
    let client = start(&grid);
    let reports = client.refresh().await;
    assert_eq!(reports[0].outcome.as_ref().unwrap().len(), 10);
    let data = noise(30, 100_000);
    let report = put(&client, &data).await.unwrap();

    // It goes away for good, and every announcement expires.
    grid.net.host_down(grid.introducer.id);
    grid.clock.jump_ahead(SECOND * 86_400 * 60);
    let client = start(&grid);
    let reports = within(SECOND * 5, client.refresh()).await;
    assert!(matches!(reports[0].outcome, Err(RequestError::Transport(_))), "{reports:?}");
    reads_back(&client, &report.cap, &data).await;
    assert_eq!(put(&client, &noise(31, 5000)).await.unwrap().happiness, 10);
    // One that hangs is not waited for for ever.
    grid.net.host_up(grid.introducer.id);
    grid.net.isolate(grid.introducer.id);
    let reports = within(SECOND * 5, start(&grid).refresh()).await;
    assert!(matches!(reports[0].outcome, Err(RequestError::Timeout { .. })), "{reports:?}");
    grid.kill(0);
    reads_back(&start(&grid), &report.cap, &data).await;
}

#[tokio::test(start_paused = true)]
async fn introducers_that_differ_make_a_union() {
    let mut grid = SimGrid::start(32, 10).await;
    let all = grid.announcements();
    let second = another_introducer(&grid, &all[..4]).await;
    // The first one knows one server more, which the second does not.
    grid.add_server(None).await;
    let (mut settings, seams) = grid.client_parts("alice", "3/7/10", Timeouts::default());
    settings.introducers.push(second.clone());
    let client = Client::new(settings.clone(), GridView::empty(), seams.clone()).unwrap();
    let reports = client.refresh().await;
    let named: BTreeMap<_, _> =
        reports.iter().map(|report| (report.address.id, report.outcome.as_ref().unwrap().len())).collect();
    assert_eq!(named, [(grid.introducer.id, 11), (second.id, 4)].into(), "the difference shows");
    assert_eq!(client.grid().servers().len(), 11);
    // Either of them away: what the other names counts, and nobody is forgotten.
    grid.net.isolate(grid.introducer.id);
    within(SECOND * 5, client.refresh()).await;
    assert_eq!(client.grid().servers().len(), 11);
    let fresh = Client::new(settings, GridView::empty(), seams).unwrap();
    within(SECOND * 5, fresh.refresh()).await;
    assert_eq!(fresh.grid().servers().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn announcements_that_are_not_believed() {
    let grid = SimGrid::start(33, 3).await;
    let key = &grid.servers[0].key;
    let now = grid.clock.unix_time().as_secs();
    let honest = Announcement {
        server: key.id(),
        sequence: 50,
        issued_s: now,
        expires_s: now + 1000,
        addresses: vec!["server0:1".into()],
        nickname: "server0".into(),
        zone: None,
        stores: Vec::new(),
        software: "test".into(),
        certificate: None,
    };
    let other = NodeKey::from_seed(&[9; 32]);
    let signature = Announcement { server: other.id(), ..honest.clone() }.sign(&other).signature;
    let foreign = Signed { signature, ..honest.clone().sign(key) };
    let bad = [
        ("foreign", foreign.clone()),
        ("replayed", Announcement { sequence: 1, ..honest.clone() }.sign(key)),
        ("expired", Announcement { issued_s: now - 2000, expires_s: now - 1, ..honest.clone() }.sign(key)),
    ];
    let before = grid.announcements();
    let connector = grid.net.connector(key.id());
    for (what, signed) in bad {
        let error = announce(&*connector, &grid.introducer, signed).await.unwrap_err();
        let refused = matches!(&error, RequestError::Refused(e) if e.code == ErrorCode::BadAnnouncement);
        assert!(refused, "{what}: {error}");
    }
    let error = announce(&*grid.net.connector(other.id()), &grid.introducer, honest.clone().sign(key)).await;
    assert!(matches!(error, Err(RequestError::Refused(_))), "only a server itself announces itself");
    assert_eq!(grid.announcements(), before);
    // A client holds the same against what an introducer passes on.
    let client = grid.client_of("alice", "1/1/3", Timeouts::default());
    client.refresh().await;
    let known = client.grid().server(&key.id());
    assert_eq!(client.grid().learn(foreign), None);
    client.grid().learn(Announcement { sequence: 1, addresses: vec!["evil:1".into()], ..honest }.sign(key));
    assert_eq!(client.grid().server(&key.id()), known);
}

#[tokio::test(start_paused = true)]
async fn a_whole_zone_may_die() {
    let mut grid = SimGrid::start(34, 0).await;
    let zones = ["ash", "birch", "cedar"];
    // Seven in one, four in another, three in the last.
    for zone in [0, 0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0, 2, 1] {
        grid.add_server(Some(zones[zone])).await;
    }
    let client = grid.client("3/7/9").await;
    for size in [3000, 800_000] {
        let data = noise(34, size);
        let report = put(&client, &data).await.unwrap();
        let mut per_zone: BTreeMap<String, usize> = BTreeMap::new();
        for server in report.shares.values() {
            *per_zone.entry(server.zone.clone().unwrap()).or_default() += 1;
        }
        let expected: BTreeMap<_, _> = zones.iter().map(|zone| ((*zone).to_owned(), 3)).collect();
        assert_eq!((report.happiness, per_zone), (9, expected));
        for zone in zones {
            let dead: Vec<usize> =
                (0..grid.servers.len()).filter(|i| grid.servers[*i].zone.as_deref() == Some(zone)).collect();
            dead.iter().for_each(|index| grid.kill(*index));
            let reader = grid.client("3/7/9").await;
            within(SECOND * 5, reads_back(&reader, &report.cap, &data)).await;
            for index in dead {
                grid.restart(index).await.unwrap();
            }
        }
    }
    // Without one zone, the shares go to the other two.
    let dead: Vec<usize> =
        (0..grid.servers.len()).filter(|i| grid.servers[*i].zone.as_deref() == Some("ash")).collect();
    dead.iter().for_each(|index| grid.kill(*index));
    let report = within(SECOND * 5, put(&grid.client("3/6/9").await, &noise(35, 3000))).await.unwrap();
    assert_eq!(report.shares.len(), 9);
    assert!(report.shares.values().all(|server| server.zone.as_deref() != Some("ash")));
}
