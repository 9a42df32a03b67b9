//! The introducer over real QUIC on loopback.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot make its own inputs has nothing to report but the panic"
)]

#[path = "introducer/harness.rs"]
mod harness;
#[path = "introducer/members.rs"]
mod members;
#[path = "introducer/node.rs"]
mod node;
#[path = "introducer/rubbish.rs"]
mod rubbish;

use std::sync::Arc;
use std::time::Duration;

use harness::{NOW_S, Running, announce, announcement, check_refused, key, pushed, subscribe};
use introducer::{FileKeep, Introducer, Keep, LoadError, MemoryKeep, Parts};
use protocol::announcement::Signed;
use protocol::message::ErrorCode;

#[tokio::test]
async fn what_is_announced_is_listed_and_pushed() {
    let running = Running::start();
    let (first, second) = (key(2), key(3));
    let (early, late) = (announcement(&first, 1).sign(&first), announcement(&first, 2).sign(&first));
    let other = announcement(&second, 9).sign(&second);

    let session = running.session(&first).await;
    announce(&session, early.clone()).await.unwrap();
    let reader = running.session(&key(4)).await;
    let (list, mut news) = subscribe(&reader, true).await;
    assert_eq!(list.list, std::slice::from_ref(&early));

    announce(&session, late.clone()).await.unwrap();
    assert_eq!(pushed(&mut news).await, std::slice::from_ref(&late));
    announce(&running.session(&second).await, other.clone()).await.unwrap();
    assert_eq!(pushed(&mut news).await, std::slice::from_ref(&other));

    let mut expected = [late, other];
    expected.sort_by_key(|signed| signed.open().unwrap().server);
    assert_eq!(running.listed().await, expected);
    running.stop().await;
}

#[tokio::test]
async fn bad_announcements_are_refused_by_name() {
    let running = Running::start();
    let server = key(2);
    let session = running.session(&server).await;
    let bad = ErrorCode::BadAnnouncement;
    let known = announcement(&server, 5).sign(&server);
    announce(&session, known.clone()).await.unwrap();

    // The same bytes again are no replay: the answer may have been lost.
    announce(&session, known.clone()).await.unwrap();
    for sequence in [4, 5] {
        let mut replayed = announcement(&server, sequence);
        replayed.nickname = "basalt".into();
        check_refused(announce(&session, replayed.sign(&server)).await, bad, "not newer");
    }

    let mut expired = announcement(&server, 6);
    expired.expires_s = NOW_S - 1;
    check_refused(announce(&session, expired.sign(&server)).await, bad, "expired");

    let mut lasting = announcement(&server, 6);
    lasting.expires_s = u64::MAX;
    check_refused(announce(&session, lasting.sign(&server)).await, bad, "7 days");

    let thief = announcement(&key(3), 6).sign(&key(3));
    let forged = Signed { payload: announcement(&server, 6).sign(&server).payload, ..thief.clone() };
    check_refused(announce(&session, forged).await, bad, "not signed by the server");

    // Rightly signed, but by somebody who is not at the other end.
    check_refused(announce(&session, thief).await, bad, "only a server itself");

    let mut loose = announcement(&server, 6);
    loose.stores[0].incarnation += 1;
    check_refused(announce(&session, loose.sign(&server)).await, bad, "without its own word");

    assert_eq!(running.listed().await, [known]);
    running.stop().await;
}

#[tokio::test]
async fn a_restart_forgets_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("announcements");
    let signed: Vec<Signed> = [2, 3].map(|n| announcement(&key(n), 1).sign(&key(n))).into();
    let running = Running::start_with(Arc::new(FileKeep::new(&path)), |_| {});
    for (number, signed) in [2, 3].into_iter().zip(&signed) {
        announce(&running.session(&key(number)).await, signed.clone()).await.unwrap();
    }
    let before = running.listed().await;
    assert_eq!(before.len(), 2);
    running.stop().await;

    let running = Running::start_with(Arc::new(FileKeep::new(&path)), |_| {});
    assert_eq!(running.listed().await, before);
    let mut replayed = announcement(&key(2), 1);
    replayed.nickname = "basalt".into();
    let session = running.session(&key(2)).await;
    check_refused(announce(&session, replayed.sign(&key(2))).await, ErrorCode::BadAnnouncement, "not newer");
    running.stop().await;
}

#[test]
fn a_newer_or_damaged_file_is_refused_and_a_forged_entry_dropped() {
    let load = |bytes: &[u8]| {
        let keep = MemoryKeep::default();
        keep.replace(bytes).unwrap();
        Introducer::new(Parts::new(Arc::new(keep)))
    };
    let head = b"sarsenAN\x01\0\0\0";
    assert!(load(&[&head[..], &[0x80]].concat()).unwrap().announcements().is_empty());
    assert!(matches!(load(b"sarsenAN\x02\0\0\0\x80"), Err(LoadError::Newer { version: 2 })));
    for damaged in [&b""[..], b"sarsenAN", head, b"sarsenAN\x01\0\0\0\x81", b"sarsenAN\x01\0\0\0\x80\0"] {
        assert!(matches!(load(damaged), Err(LoadError::Damaged)), "{damaged:?}");
    }
    let mut good = announcement(&key(2), 1);
    good.expires_s = 4_000_000_000;
    let good = good.sign(&key(2));
    let forged = Signed { signature: [7; 64], ..good.clone() };
    let list = minicbor::to_vec(vec![forged, good.clone()]).unwrap();
    let kept = load(&[&head[..], &list].concat()).unwrap().announcements();
    assert_eq!(kept.iter().map(|signed| Signed::clone(signed)).collect::<Vec<_>>(), [good]);
}

#[tokio::test]
async fn introducers_know_nothing_of_each_other() {
    let (one, two) = (Running::start(), Running::start());
    let (both, only) = (key(2), key(3));
    let signed = announcement(&both, 1).sign(&both);
    announce(&one.session(&both).await, signed.clone()).await.unwrap();
    announce(&two.session(&both).await, signed.clone()).await.unwrap();
    announce(&two.session(&only).await, announcement(&only, 1).sign(&only)).await.unwrap();
    assert_eq!(one.listed().await, [signed]);
    assert_eq!(two.listed().await.len(), 2);
    one.stop().await;
    assert_eq!(two.listed().await.len(), 2);
    two.stop().await;
}

#[tokio::test]
async fn what_expires_vanishes() {
    let running = Running::start();
    let mut brief = announcement(&key(2), 1);
    brief.expires_s = NOW_S + 60;
    announce(&running.session(&key(2)).await, brief.sign(&key(2))).await.unwrap();
    announce(&running.session(&key(3)).await, announcement(&key(3), 1).sign(&key(3))).await.unwrap();
    running.clock.advance(60);
    assert_eq!(running.listed().await.len(), 2);
    running.clock.advance(1);
    assert_eq!(running.listed().await, [announcement(&key(3), 1).sign(&key(3))]);
    running.stop().await;
}

#[tokio::test]
async fn a_full_introducer_takes_no_new_servers_until_old_ones_expire() {
    let running = Running::start_with(Arc::new(MemoryKeep::default()), |parts| parts.limits.servers = 2);
    for number in [2, 3] {
        let key = key(number);
        announce(&running.session(&key).await, announcement(&key, 1).sign(&key)).await.unwrap();
    }
    let late = running.session(&key(4)).await;
    let mut third = announcement(&key(4), 1);
    third.expires_s = NOW_S + 9_000;
    let third = third.sign(&key(4));
    check_refused(announce(&late, third.clone()).await, ErrorCode::Busy, "already knows 2 servers");
    // Who is known may say something new.
    announce(&running.session(&key(3)).await, announcement(&key(3), 2).sign(&key(3))).await.unwrap();
    running.clock.advance(3_601);
    announce(&late, third.clone()).await.unwrap();
    assert_eq!(running.listed().await, [third]);
    running.stop().await;
}

#[tokio::test]
async fn a_slow_subscriber_misses_nothing() {
    let running = Running::start();
    let server = key(2);
    let reader = running.session(&key(4)).await;
    let (_, mut news) = subscribe(&reader, true).await;
    let session = running.session(&server).await;
    let mut last = None;
    // More news than are kept, and more bytes than fit a stream's window.
    for sequence in 1..=900 {
        let mut large = announcement(&server, sequence);
        large.addresses = vec!["a".repeat(512); 64];
        let signed = large.sign(&server);
        announce(&session, signed.clone()).await.unwrap();
        last = Some(signed);
    }
    let last = last.unwrap();
    let mut messages = 0;
    while pushed(&mut news).await.last() != Some(&last) {
        messages += 1;
    }
    assert!(messages < 899, "nothing was skipped, so nothing was tested");
    running.stop().await;
}

#[tokio::test]
async fn who_hangs_does_not_stop_others() {
    let running = Running::start();
    // One says nothing, one says half a request, one asks and never reads.
    let silent = running.connect(&key(5)).await;
    let half = running.session(&key(6)).await;
    let mut half_stream = half.connection().open().await.unwrap();
    half_stream.send.send(bytes::Bytes::from_static(&[200, 0, 0, 0, 0x82])).await.unwrap();
    let deaf = running.session(&key(7)).await;
    let (_, _deaf_stream) = subscribe(&deaf, true).await;
    let work = async {
        announce(&running.session(&key(2)).await, announcement(&key(2), 1).sign(&key(2))).await.unwrap();
        assert_eq!(running.listed().await.len(), 1);
    };
    tokio::time::timeout(Duration::from_secs(5), work).await.unwrap();
    assert!(!silent.is_closed());
    // Nor do they keep it from closing.
    tokio::time::timeout(Duration::from_secs(15), running.stop()).await.unwrap();
}
