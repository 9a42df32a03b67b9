//! An introducer over both transports, with partitions.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use introducer::{Introducer, MemoryKeep, Parts};
use protocol::announcement::{Announcement, Signed};
use protocol::message::{Announce, Announcements, Done, Request, Subscribe};
use protocol::quic::{QuicConnector, QuicListener, server_config};
use protocol::session::{RequestError, Session, read_reply};
use protocol::transport::{Connector, Stream};
use protocol::{InlinePool, NodeKey};
use testkit::clock::SimClock;
use testkit::net::SimNet;
use testkit::turmoil_net::endpoint;
use tokio::time::{sleep, timeout};

const NOW: Duration = Duration::from_secs(1_800_000_000);
const PATIENCE: Duration = Duration::from_secs(5);

fn key(number: u8) -> NodeKey {
    NodeKey::from_seed(&[number; 32])
}

fn introducer() -> Arc<Introducer> {
    let mut parts = Parts::new(Arc::new(MemoryKeep::default()));
    parts.clock = Arc::new(SimClock::new(NOW));
    parts.pool = Arc::new(InlinePool);
    Introducer::new(parts).unwrap()
}

fn signed(key: &NodeKey, sequence: u64) -> Signed {
    let announcement = Announcement {
        server: key.id(),
        sequence,
        issued_s: NOW.as_secs(),
        expires_s: NOW.as_secs() + 86_400,
        addresses: vec!["granite:1".into()],
        nickname: "granite".into(),
        zone: None,
        stores: Vec::new(),
        software: "test/0".into(),
        certificate: None,
    };
    announcement.sign(key)
}

async fn session(connector: &dyn Connector, address: &str) -> Option<Session> {
    let addresses = [address.to_owned()];
    let connecting = async {
        let connection = connector.connect(key(1).id(), &addresses).await.ok()?;
        Session::start(connection).await.ok()
    };
    timeout(PATIENCE, connecting).await.ok()?
}

/// Announces until it is done; returns how often that took.
async fn announce(connector: &dyn Connector, address: &str, announcement: &Signed) -> u32 {
    let request = Request::Announce(Announce { announcement: announcement.clone() });
    for attempt in 1.. {
        if let Some(session) = session(connector, address).await
            && let Ok(Ok((Done {}, _))) = timeout(PATIENCE, session.request(&request)).await
        {
            return attempt;
        }
        sleep(Duration::from_millis(500)).await;
    }
    unreachable!("the loop has no end");
}

async fn follow(connector: &dyn Connector, address: &str) -> Option<(Session, Announcements, Stream)> {
    let session = session(connector, address).await?;
    let request = Request::Subscribe(Subscribe { follow: true });
    let (list, stream): (Announcements, Stream) =
        timeout(PATIENCE, session.request(&request)).await.ok()?.ok()?;
    Some((session, list, stream))
}

/// Follows until this announcement comes, over as many connections as that takes; returns how many.
async fn until_heard(connector: &dyn Connector, address: &str, wanted: &Signed) -> u32 {
    for attempt in 1.. {
        let Some((_session, first, mut stream)) = follow(connector, address).await else { continue };
        let mut next: Result<Announcements, RequestError> = Ok(first);
        while let Ok(announcements) = next {
            if announcements.list.contains(wanted) {
                return attempt;
            }
            next = read_reply(&mut stream).await;
        }
    }
    unreachable!("the loop has no end");
}

/// A grid's first minutes: a server announces itself again and again, a client follows, both are cut off for a while.
async fn story(net: SimNet) -> (u32, u32) {
    let address = "introducer:1";
    let introducer = introducer();
    let serving = tokio::spawn(introducer.clone().serve(net.listener(key(1).id(), address)));
    let (server, client) = (key(2), key(3));
    let announcing = async {
        let connector = net.connector(server.id());
        let mut attempts = 0;
        for sequence in 1..=10 {
            attempts += announce(&*connector, address, &signed(&server, sequence)).await;
            sleep(Duration::from_secs(3)).await;
        }
        attempts
    };
    let following = async {
        let connector = net.connector(client.id());
        until_heard(&*connector, address, &signed(&server, 10)).await
    };
    let cutting = async {
        for host in [&server, &client] {
            sleep(Duration::from_secs(4)).await;
            net.partition(host.id(), key(1).id());
            sleep(Duration::from_secs(25)).await;
            net.heal_all();
        }
    };
    let (announced, followed, ()) = tokio::join!(announcing, following, cutting);
    introducer.close();
    serving.await.unwrap();
    (announced, followed)
}

fn told(seed: u64) -> (String, Vec<String>, (u32, u32)) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let net = SimNet::new(seed);
        net.keep_events();
        let outcome = story(net.clone()).await;
        (net.trace(), net.events(), outcome)
    })
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 1..=5 {
        let (first, second) = (told(seed), told(seed));
        assert_eq!(first, second, "seed {seed}");
        assert!(first.1.len() > 100, "seed {seed}: {:?}", first.1);
        let (announced, followed) = first.2;
        assert!(announced > 10 && followed > 1, "seed {seed}: the partitions were not felt: {:?}", first.2);
    }
    assert_ne!(told(1).0, told(2).0);
}

#[test]
fn quic_gets_through_a_simulated_network() {
    let mut sim = turmoil::Builder::new()
        .rng_seed(7)
        .simulation_duration(Duration::from_secs(600))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(2))
        .max_message_latency(Duration::from_millis(20))
        .udp_capacity(10_000)
        .build();
    let anywhere = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    sim.host("introducer", move || async move {
        let endpoint = endpoint(anywhere(4433), Some(server_config(&key(1))), 1).await?;
        introducer().serve(Arc::new(QuicListener::new(endpoint))).await;
        Ok(())
    });
    sim.client("server", async move {
        let address = SocketAddr::new(turmoil::lookup("introducer"), 4433).to_string();
        let connector = QuicConnector::new(endpoint(anywhere(0), None, 2).await?, &key(2));
        for sequence in 1..=10 {
            announce(&connector, &address, &signed(&key(2), sequence)).await;
            sleep(Duration::from_secs(3)).await;
        }
        Ok(())
    });
    let heard = Arc::new(AtomicBool::new(false));
    let told = heard.clone();
    sim.client("client", async move {
        let address = SocketAddr::new(turmoil::lookup("introducer"), 4433).to_string();
        let connector = QuicConnector::new(endpoint(anywhere(0), None, 3).await?, &key(3));
        let cutting = async {
            for host in ["server", "client"] {
                sleep(Duration::from_secs(4)).await;
                turmoil::partition(host, "introducer");
                sleep(Duration::from_secs(25)).await;
                turmoil::repair(host, "introducer");
            }
        };
        let last = signed(&key(2), 10);
        let (connections, ()) = tokio::join!(until_heard(&connector, &address, &last), cutting);
        assert!(connections > 1, "the partition was not felt");
        told.store(true, Ordering::Relaxed);
        Ok(())
    });
    sim.run().unwrap();
    assert!(heard.load(Ordering::Relaxed));
}
