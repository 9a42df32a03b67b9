//! Requests that are delivered once more.

use std::time::Duration;

use bytes::Bytes;
use testkit::net::Duplicates;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use crate::{Pair, client};

#[tokio::test(start_paused = true)]
async fn a_finished_request_comes_once_more_and_later() {
    let second = Duration::from_secs(1);
    let pair = Pair::new().await;
    pair.net.set_duplicates(client(), Some(Duplicates { permille: 1000, after: second * 5..=second * 6 }));
    let (mut near, mut far) = pair.stream(b"do").await;
    near.send.send(Bytes::from_static(b" it")).await.unwrap();
    near.send.finish().unwrap();
    let mut asked = Vec::new();
    far.recv.read_to_end(&mut asked).await.unwrap();
    assert_eq!(asked, b"do it");
    far.send.send(Bytes::from_static(b"done")).await.unwrap();
    far.send.finish().unwrap();
    let mut answer = Vec::new();
    near.recv.read_to_end(&mut answer).await.unwrap();
    assert_eq!((answer.as_slice(), pair.net.duplicated()), (&b"done"[..], 0));

    let begun = Instant::now();
    let mut again = pair.incoming.accept_stream().await.unwrap();
    assert!((second * 4..second * 7).contains(&begun.elapsed()));
    asked.clear();
    again.recv.read_to_end(&mut asked).await.unwrap();
    assert_eq!((asked.as_slice(), pair.net.duplicated()), (&b"do it"[..], 1));
    // Nobody reads the answer, however long.
    for _ in 0..8 {
        again.send.send(Bytes::from(vec![0; 256 * 1024])).await.unwrap();
    }
    again.send.finish().unwrap();
    assert!(timeout(second * 60, pair.incoming.accept_stream()).await.is_err(), "once more, not twice");
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_or_not_asked_for_comes_once() {
    let pair = Pair::new().await;
    let second = Duration::from_secs(1);
    let (mut near, _far) = pair.stream(b"x").await;
    pair.net.set_duplicates(client(), Some(Duplicates { permille: 1000, after: second..=second }));
    // Its beginning was not kept.
    near.send.finish().unwrap();
    let (near, _far_too) = pair.stream(b"y").await;
    drop(near);
    pair.net.set_duplicates(client(), None);
    let (mut near, _far_again) = pair.stream(b"z").await;
    near.send.finish().unwrap();
    assert!(timeout(second * 60, pair.incoming.accept_stream()).await.is_err());
    assert_eq!(pair.net.duplicated(), 0);
}
