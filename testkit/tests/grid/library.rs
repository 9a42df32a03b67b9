//! The example of the client's documentation, against a live grid: real sockets, real files.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, ClientDir, GetOptions, PutOptions, Shares, Source};
use introducer::{Introducer, MemoryKeep, Parts};
use protocol::announcer::announce;
use protocol::quic::{QuicConnector, QuicListener, bind, server_config};
use protocol::{Clock, InlinePool, NodeAddress, NodeKey, OsRandom, Random, SystemClock};
use storage_server::{Admission, Quotas, RealDisk, Server, ServerLimits, ServerParts, Store, StoreOptions};

/// Starts an introducer and four servers with stores under `dir`; they run until the runtime ends.
async fn live_grid(dir: &Path) -> Result<NodeAddress, Box<dyn std::error::Error>> {
    let random: &dyn Random = &OsRandom;
    let loopback = (Ipv4Addr::LOCALHOST, 0).into();
    let key = NodeKey::from_seed(&random.bytes());
    let (endpoint, _) = bind(loopback, Some(server_config(&key)))?;
    let introducer = NodeAddress { id: key.id(), host: endpoint.local_addr()?.to_string() };
    let serving = Introducer::new(Parts::new(Arc::new(MemoryKeep::default())))?;
    tokio::spawn(serving.serve(Arc::new(QuicListener::new(endpoint))));
    for index in 0..4 {
        let key = NodeKey::from_seed(&random.bytes());
        let clock = Arc::new(SystemClock::default());
        let path = dir.join(format!("store{index}"));
        std::fs::create_dir(&path)?;
        let disk: Arc<dyn storage_server::Disk> = Arc::new(RealDisk::new(path));
        Store::init(&disk, random)?;
        let store = Store::open(disk, clock.clone(), random, StoreOptions::default())?;
        let (endpoint, _) = bind(loopback, Some(server_config(&key)))?;
        let announcement = protocol::announcement::Announcement {
            server: key.id(),
            sequence: 1,
            issued_s: clock.unix_time().as_secs(),
            expires_s: (clock.unix_time() + Duration::from_secs(3600)).as_secs(),
            addresses: vec![endpoint.local_addr()?.to_string()],
            nickname: format!("server{index}"),
            zone: None,
            stores: vec![store.announced(&key.id())],
            software: "test".into(),
            certificate: None,
        };
        let server = Server::new(ServerParts {
            nickname: format!("server{index}"),
            stores: vec![store],
            failed: Vec::new(),
            admission: Admission::Open,
            quotas: Quotas::default(),
            clock,
            pool: Arc::new(InlinePool),
            limits: ServerLimits::default(),
        });
        let connector = QuicConnector::new(endpoint.clone(), &key);
        tokio::spawn(server.serve(Arc::new(QuicListener::new(endpoint))));
        announce(&connector, &introducer, announcement.sign(&key)).await?;
    }
    Ok(introducer)
}

#[tokio::test]
async fn the_documented_example_runs() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let introducer = live_grid(dir.path()).await?;
    let own = dir.path().join("client");
    ClientDir::create(&own, &[introducer], Shares { needed: 2, happy: 3, total: 4 }, None, &OsRandom)?;

    // As in `client/src/lib.rs`.
    let client = Client::open(&own)?;
    client.refresh().await; // learn from the introducers which servers exist

    let report = client.put(Source::bytes("what I love ".repeat(1000)), PutOptions::default()).await?;
    let cap = report.cap; // the read cap: keep it, it is the only way back

    let mut bytes = Vec::new();
    client.get(&cap, &mut bytes, GetOptions::default()).await?;

    assert_eq!(bytes, "what I love ".repeat(1000).into_bytes());
    client.close().await;
    Ok(())
}
