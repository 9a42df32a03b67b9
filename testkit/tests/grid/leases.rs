//! Leases over the whole way, in simulated time: what ends goes, what is renewed stays.

use client::{DownloadError, PutOptions, Source};
use protocol::NodeKey;
use protocol::message::{Bytes16, Bytes32, Flags, Lease, LeaseTerms, Request};
use protocol::session::Session;
use testkit::grid::{SimGrid, seed_of};
use tokio::time::sleep;

use crate::support::{SECOND, get, noise, reads_back};

const DAY: u32 = 24 * 3600;
const TAG: [u8; 16] = [7; 16];

/// Leases objects on every server for so many days, as the account of the first client.
async fn lease(grid: &SimGrid, days: u32, caps: &[&caps::Cap]) {
    let account = NodeKey::from_seed(&seed_of(&grid.random, "client1"));
    let connector = grid.net.connector(account.id());
    let hashes: Vec<Bytes32> =
        caps.iter().map(|cap| Bytes32(*cap.verify_hash().unwrap().as_bytes())).collect();
    let terms = LeaseTerms { tag: Bytes16(TAG), duration_s: Some((days * DAY).into()) };
    for server in &grid.servers {
        let connection =
            connector.connect(server.key.id(), std::slice::from_ref(&server.address)).await.unwrap();
        let session = Session::start(connection).await.unwrap();
        let ask = Request::Lease(Lease { terms, hashes: hashes.clone() });
        let (flags, _): (Flags, _) = session.request(&ask).await.unwrap();
        assert!(flags.flags.iter().all(|here| *here), "{} lacks one", server.address);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_leased_for_days_goes_after_them_and_what_is_renewed_stays() {
    let mut grid = SimGrid::start(3, 4).await;
    let client = grid.client("2/4/4").await;
    let options = || PutOptions { lease_tag: Some(TAG), ..PutOptions::default() };
    let mut caps = Vec::new();
    // A small one and a large one of each kind.
    for (seed, len) in [(1, 9_000), (2, 700_000), (3, 9_000), (4, 700_000)] {
        caps.push(client.put(Source::bytes(noise(seed, len)), options()).await.unwrap().cap);
    }
    // Slots are charged and never go.
    let directory = client.make_directory().await.unwrap();
    let (ending, renewed) = ([&caps[0], &caps[1]], [&caps[2], &caps[3]]);
    lease(&grid, 3, &caps.iter().collect::<Vec<_>>()).await;
    sleep(SECOND * (2 * DAY)).await;
    lease(&grid, 30, &renewed).await;
    // Three days and the grace, less an hour.
    sleep(SECOND * (8 * DAY - 3600)).await;
    for (seed, cap) in (1..).zip(&caps) {
        let len = if seed % 2 == 1 { 9_000 } else { 700_000 };
        reads_back(&client, cap, &noise(seed, len)).await;
    }
    sleep(SECOND * 7200).await;
    for cap in ending {
        let gone = get(&client, cap).await;
        assert!(matches!(gone, Err(DownloadError::NotEnoughShares { found: 0, .. })), "{gone:?}");
    }
    client.make_directory().await.unwrap();
    client.open_directory(directory.cap()).await.unwrap();
    reads_back(&client, renewed[0], &noise(3, 9_000)).await;
    reads_back(&client, renewed[1], &noise(4, 700_000)).await;
    for server in &grid.servers {
        let server = server.server().unwrap();
        assert_eq!(server.status().stores[0].shares, 2);
        for store in server.stores() {
            assert_eq!(store.audit().unwrap(), Vec::<String>::new());
        }
    }
}
