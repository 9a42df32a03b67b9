//! Put, kill and get over real QUIC, on a simulated wire with a partition.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Client, GridView, Seams, Settings, Timeouts};
use protocol::announcement::{Announcement, Signed};
use protocol::quic::{QuicConnector, QuicListener, server_config};
use protocol::{Clock, InlinePool, NodeKey};
use storage_server::{Admission, Quotas, Server, ServerLimits, ServerParts, Store, StoreOptions};
use testkit::clock::SimClock;
use testkit::disk::SimDisk;
use testkit::random::SimRandom;
use testkit::turmoil_net::endpoint;

use crate::support::{SECOND, get, noise, put, reads_back, within};

const SERVERS: u8 = 5;
const NOW: Duration = Duration::from_secs(1_800_000_000);

fn anywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

fn name(index: u8) -> String {
    format!("server{index}")
}

/// Serves on the host that calls this, and tells `announced` so; what the disk holds outlives the host.
async fn serve(index: u8, disk: SimDisk, announced: Arc<Mutex<Vec<Signed>>>) -> turmoil::Result {
    let key = NodeKey::from_seed(&[index + 1; 32]);
    let clock = Arc::new(SimClock::new(NOW));
    let random = SimRandom::new(index.into());
    if disk.files().is_empty() {
        Store::init(&disk.as_disk(), &random)?;
    }
    let store = Store::open(disk.as_disk(), clock.clone(), &random, StoreOptions::default())?;
    let announcement = Announcement {
        server: key.id(),
        sequence: 1,
        issued_s: NOW.as_secs(),
        expires_s: NOW.as_secs() + 86_400,
        addresses: vec![SocketAddr::new(turmoil::lookup(name(index)), 4433).to_string()],
        nickname: name(index),
        zone: None,
        stores: vec![store.announced(&key.id())],
        software: "test/0".into(),
        certificate: None,
    };
    announced.lock().unwrap().push(announcement.sign(&key));
    let server = Server::new(ServerParts {
        nickname: name(index),
        stores: vec![store],
        failed: Vec::new(),
        admission: Admission::Open,
        quotas: Quotas::default(),
        clock,
        pool: Arc::new(InlinePool),
        limits: ServerLimits::default(),
    });
    let endpoint = endpoint(anywhere(4433), Some(server_config(&key)), index.into()).await?;
    server.serve(Arc::new(QuicListener::new(endpoint))).await;
    Ok(())
}

async fn client(announced: &Mutex<Vec<Signed>>) -> Result<Client, Box<dyn std::error::Error>> {
    let (account, throwaway) = (NodeKey::from_seed(&[101; 32]), NodeKey::from_seed(&[102; 32]));
    let endpoint = endpoint(anywhere(0), None, 99).await?;
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new(NOW));
    let seams = Seams {
        account: Arc::new(QuicConnector::new(endpoint.clone(), &account)),
        anonymous: Arc::new(QuicConnector::new(endpoint, &throwaway)),
        clock,
        random: Arc::new(SimRandom::new(99)),
        pool: Arc::new(InlinePool),
    };
    let settings = Settings {
        introducers: Vec::new(),
        shares: "2/3/5".parse()?,
        zone: None,
        pinned: Vec::new(),
        owner: None,
        convergence: [5; 32].into(),
        timeouts: Timeouts::default(),
    };
    let grid = GridView::empty();
    for signed in announced.lock().unwrap().iter() {
        grid.learn(signed.clone());
    }
    Ok(Client::new(settings, grid, seams)?)
}

#[test]
fn files_survive_a_partition_and_dead_servers() {
    let mut sim = turmoil::Builder::new()
        .rng_seed(11)
        .simulation_duration(SECOND * 600)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(5))
        .udp_capacity(10_000)
        .build();
    let announced: Arc<Mutex<Vec<Signed>>> = Arc::default();
    for index in 0..SERVERS {
        let disk = SimDisk::new(&name(index), 1 << 28, SimRandom::new(index.into()).fork("disk"));
        let announced = announced.clone();
        sim.host(name(index), move || serve(index, disk.clone(), announced.clone()));
    }
    let done = Arc::new(AtomicBool::new(false));
    let told = done.clone();
    sim.client("client", async move {
        tokio::time::sleep(SECOND).await;
        let client = client(&announced).await?;
        let (small, large) = (noise(50, 3000), noise(51, 700_000));
        let first = within(SECOND * 20, put(&client, &small)).await?;
        assert_eq!((first.happiness, first.failures.len()), (5, 0));
        // One server is cut off: the rest do.
        turmoil::partition("client", "server1");
        let second = within(SECOND * 60, put(&client, &large)).await?;
        assert!(second.happiness >= 4, "{:?}", second.failures);
        reads_back(&client, &first.cap, &small).await;
        turmoil::repair("client", "server1");
        // Two more are lost: any two of those that hold a share of their own give it back.
        ["server0", "server2"].into_iter().for_each(|host| turmoil::partition("client", host));
        for (cap, data) in [(&first.cap, &small), (&second.cap, &large)] {
            let (bytes, report) = within(SECOND * 60, get(&client, cap)).await?;
            assert!(bytes == *data);
            assert!(report.complaints.iter().all(|complaint| !complaint.corrupt), "{:?}", report.complaints);
        }
        told.store(true, Ordering::Relaxed);
        Ok(())
    });
    sim.run().unwrap();
    assert!(done.load(Ordering::Relaxed));
}
