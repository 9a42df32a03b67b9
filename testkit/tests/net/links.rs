//! Links, partitions and hosts that go down.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::NodeId;
use protocol::transport::TransportError;
use testkit::net::{Link, SimNet};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use crate::{ADDRESS, Pair, client, server};

const SECOND: Duration = Duration::from_secs(1);

fn link(latency: Duration, bytes_per_second: Option<u64>) -> Link {
    Link { latency: latency..=latency, bytes_per_second }
}

#[tokio::test(start_paused = true)]
async fn latency_and_rate_belong_to_a_direction_and_can_change() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream(b"x").await;
    far.recv.read_u8().await.unwrap();

    pair.net.set_link(client(), server(), link(SECOND, None));
    let begun = Instant::now();
    near.send.send(Bytes::from_static(b"late")).await.unwrap();
    far.recv.read_u32().await.unwrap();
    assert_eq!(begun.elapsed(), SECOND);

    pair.net.set_link(server(), client(), link(Duration::ZERO, Some(1)));
    far.send.send(Bytes::from(vec![5; 5000])).await.unwrap();
    let begun = Instant::now();
    let mut buffer = BytesMut::new();
    near.recv.fill(&mut buffer, 11).await.unwrap();
    assert_eq!(begun.elapsed(), SECOND * 10);
    pair.net.set_link(server(), client(), link(Duration::ZERO, Some(1000)));
    near.recv.fill(&mut buffer, 5000).await.unwrap();
    assert!((SECOND * 14..SECOND * 16).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_partition_stalls_and_heals() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream(b"x").await;
    far.recv.read_u8().await.unwrap();
    pair.net.partition(client(), server());
    near.send.send(Bytes::from_static(b"y")).await.unwrap();
    assert!(timeout(SECOND * 10, far.recv.read_u8()).await.is_err());
    pair.net.heal(client(), server());
    assert_eq!(timeout(SECOND, far.recv.read_u8()).await.unwrap().unwrap(), b'y');
}

#[tokio::test(start_paused = true)]
async fn a_long_partition_ends_the_connection_for_both() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream(b"x").await;
    far.recv.read_u8().await.unwrap();
    let begun = Instant::now();
    pair.net.isolate(server());
    let (here, there) = tokio::join!(near.recv.read_u8(), far.recv.read_u8());
    assert!(here.is_err() && there.is_err());
    assert_eq!(begun.elapsed(), SECOND * 20);
    pair.net.rejoin(server());
    assert!(pair.connection.is_closed() && pair.net.connections().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_way_only() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream(b"x").await;
    pair.net.partition_one_way(client(), server());
    assert!(timeout(SECOND, far.recv.read_u16()).await.is_err());
    far.send.send(Bytes::from_static(b"z")).await.unwrap();
    assert_eq!(timeout(SECOND, near.recv.read_u8()).await.unwrap().unwrap(), b'z');
}

#[tokio::test(start_paused = true)]
async fn new_connections_hang_in_a_partition_and_fail_where_nobody_is() {
    let net = SimNet::new(7);
    let _listener = net.listener(server(), ADDRESS);
    let connector = net.connector(client());
    let here = [ADDRESS.to_owned()];
    let begun = Instant::now();
    net.partition(client(), server());
    let error = connector.connect(server(), &here).await.err().unwrap();
    assert!(matches!(&error, TransportError::Unreachable { reason, .. } if reason == "timed out"), "{error}");
    assert_eq!(begun.elapsed(), SECOND * 20);
    net.set_idle_timeout(None);
    assert!(timeout(SECOND * 1000, connector.connect(server(), &here)).await.is_err());
    net.heal_all();

    net.host_down(server());
    let error = connector.connect(server(), &here).await.err().unwrap();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
    net.host_up(server());
    let error = connector.connect(NodeId::new([9; 32]), &here).await.err().unwrap();
    assert!(matches!(error, TransportError::WrongKey { .. }), "{error}");
    let error = connector.connect(server(), &["basalt:1".to_owned()]).await.err().unwrap();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_goes_down_takes_all_its_keys_along() {
    let pair = Pair::new().await;
    let (mut near, _far) = pair.stream(b"x").await;
    let owner = NodeId::new([3; 32]);
    pair.net.same_host(client(), owner);
    pair.net.host_down(owner);
    assert!(near.recv.read_u8().await.is_err());
    assert!(pair.incoming.accept_stream().await.is_none());
    assert!(pair.net.connector(client()).connect(server(), &[ADDRESS.to_owned()]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn connections_can_be_dropped() {
    let pair = Pair::new().await;
    assert_eq!(pair.net.drop_connections(server(), client()), 1);
    assert!(pair.connection.is_closed());
    assert!(pair.incoming.accept_stream().await.is_none());
    assert_eq!(pair.net.drop_connections(server(), client()), 0);
}

#[tokio::test(start_paused = true)]
async fn bytes_can_be_replaced_on_their_way() {
    let pair = Pair::new().await;
    let hook = |flow: &testkit::net::Flow, bytes: Bytes| {
        assert_eq!((flow.from, flow.to, flow.stream), (server(), client(), 0));
        bytes
            .iter()
            .enumerate()
            .map(|(i, byte)| if flow.offset + i as u64 == 4 { !byte } else { *byte })
            .collect()
    };
    pair.net.set_tamper(server(), Some(Arc::new(hook)));
    let (mut near, mut far) = pair.stream(b"x").await;
    far.send.send(Bytes::from_static(&[0, 0, 0])).await.unwrap();
    far.send.send(Bytes::from_static(&[0, 0, 0])).await.unwrap();
    far.send.finish().unwrap();
    let mut got = Vec::new();
    near.recv.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, [0, 0, 0, 0, 255, 0]);
}
