//! Streams and connections, as `protocol::transport` describes them.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::limits::MAX_STREAMS;
use protocol::transport::{RecvHalf, TransportError};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use crate::{ADDRESS, Pair, client, server};

async fn read(recv: &mut dyn RecvHalf, len: usize) -> BytesMut {
    let mut buffer = BytesMut::new();
    assert!(recv.fill(&mut buffer, len).await.unwrap());
    buffer
}

#[tokio::test(start_paused = true)]
async fn both_ways_and_half_closed() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream(b"question").await;
    near.send.finish().unwrap();
    let mut question = Vec::new();
    far.recv.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"question");
    far.send.send(Bytes::from_static(b"answer")).await.unwrap();
    far.send.finish().unwrap();
    let mut answer = Vec::new();
    near.recv.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
    assert!(near.send.send(Bytes::from_static(b"more")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_sender_dropped_early_is_an_error_not_an_end() {
    let pair = Pair::new().await;
    let (near, mut far) = pair.stream(b"part").await;
    drop(near.send);
    let mut buffer = Vec::new();
    let error = far.recv.read_to_end(&mut buffer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_dropped_early_stops_the_sender() {
    let pair = Pair::new().await;
    let (mut near, far) = pair.stream(b"first").await;
    drop(far.recv);
    let stopped = loop {
        if let Err(error) = near.send.send(Bytes::from_static(&[0; 1000])).await {
            break error;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert!(matches!(stopped, TransportError::Stopped), "{stopped}");
}

#[tokio::test(start_paused = true)]
async fn a_sender_waits_for_its_reader() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream(b"").await;
    let large = Bytes::from(vec![3; 3 << 20]);
    let waits = timeout(Duration::from_secs(5), near.send.send(large.clone())).await;
    assert!(waits.is_err(), "more was buffered than the bound allows");
    let mut got = 0;
    let rest = Bytes::from(vec![4; 1 << 20]);
    let (sent, ()) = tokio::join!(near.send.send(rest), async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            got += far.recv.read(&mut buffer).await.unwrap();
            if buffer[0] == 4 && got >= 1 << 20 {
                break;
            }
        }
    });
    sent.unwrap();
    assert!(got < 2 << 20, "what a cancelled send had not sent must not arrive: {got}");
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_read_can_be_cancelled() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream(b"abc").await;
    let mut buffer = BytesMut::new();
    assert!(timeout(Duration::from_secs(1), far.recv.fill(&mut buffer, 6)).await.is_err());
    near.send.send(Bytes::from_static(b"def")).await.unwrap();
    assert!(far.recv.fill(&mut buffer, 6).await.unwrap());
    assert_eq!(buffer, &b"abcdef"[..]);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_the_connection() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream(b"kept").await;
    drop(pair.connection);
    // The stream holds the connection open.
    near.send.send(Bytes::from_static(b"alive")).await.unwrap();
    assert_eq!(read(&mut *far.recv, 9).await, &b"keptalive"[..]);
    drop(near);
    assert!(pair.incoming.accept_stream().await.is_none());
    assert!(pair.net.connections().is_empty());
}

#[tokio::test(start_paused = true)]
async fn closing_ends_every_stream() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream(b"x").await;
    read(&mut *far.recv, 1).await;
    pair.listener.close();
    let error = near.recv.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert!(pair.connection.is_closed());
    assert!(pair.connection.open().await.is_err());
    assert!(matches!(near.send.send(Bytes::from_static(b"y")).await, Err(TransportError::Lost { .. })));
    assert!(pair.listener.accept().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn streams_are_bounded() {
    let pair = Pair::new().await;
    let mut open = Vec::new();
    for _ in 0..MAX_STREAMS {
        open.push(pair.stream(b"x").await);
    }
    let second = Duration::from_secs(1);
    assert!(timeout(second, pair.connection.open()).await.is_err());
    let (near, far) = open.pop().unwrap();
    drop(near);
    assert!(timeout(second, pair.connection.open()).await.is_err());
    drop(far);
    assert!(timeout(second, pair.connection.open()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stream_shows_with_its_first_bytes() {
    let pair = Pair::new().await;
    let mut quiet = pair.connection.open().await.unwrap();
    assert!(timeout(Duration::from_secs(1), pair.incoming.accept_stream()).await.is_err());
    quiet.send.finish().unwrap();
    let mut far = pair.incoming.accept_stream().await.unwrap();
    assert_eq!(far.recv.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_waits_until_it_is_accepted() {
    let pair = Pair::new().await;
    let connector = pair.net.connector(client());
    let addresses = [ADDRESS.to_owned()];
    let begun = Instant::now();
    let error = connector.connect(server(), &addresses).await.err().unwrap();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
    assert!(begun.elapsed() >= Duration::from_secs(20));
    // Given up by its client, it comes to nothing for the server.
    assert!(pair.listener.accept().await.unwrap().await.is_none());
}
