//! Several small shares in one request: each is stored or refused by itself, and what breaks a bound is refused as a whole.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use protocol::NodeId;
use protocol::message::{
    Bytes32, ErrorCode, PutSmall, PutSmallDone, Request, SmallOutcome, SmallShare, Status, StoreState,
};
use protocol::session::{RequestError, Session, read_reply};
use storage_server::{Admission, ServerLimits, StoreOptions};

use crate::objects::{Object, load, object, terms};
use crate::server::{Grid, code, session, start, start_store, stored};

fn put_small(store: NodeId, shares: &[&[u8]]) -> PutSmall {
    let shares = shares.iter().map(|share| SmallShare { len: share.len() as u32, lease: terms() }).collect();
    PutSmall { store, shares }
}

/// Sends a body as far as the other side takes it, and reads the answer.
async fn ask(session: &Session, put: PutSmall, body: &[u8]) -> Result<Vec<SmallOutcome>, RequestError> {
    let count = put.shares.len();
    let mut stream = session.open(&Request::PutSmall(put)).await?;
    for piece in body.chunks(10_000) {
        if stream.send.send(Bytes::copy_from_slice(piece)).await.is_err() {
            break;
        }
    }
    // A server that refuses has heard enough.
    let _ = stream.send.finish();
    let done: PutSmallDone = read_reply(&mut stream).await?;
    assert_eq!(done.outcomes.len(), count);
    Ok(done.outcomes)
}

async fn store_all(grid: &Grid, session: &Session, shares: &[&[u8]]) -> Vec<SmallOutcome> {
    ask(session, put_small(grid.store.id(), shares), &shares.concat()).await.unwrap()
}

fn hash(object: &Object) -> Bytes32 {
    Bytes32(*object.hash.as_bytes())
}

fn refused(outcome: &SmallOutcome) -> Option<ErrorCode> {
    match outcome {
        SmallOutcome::Refused(error) => Some(error.code),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn many_shares_take_one_commit() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    stored(&grid, &session, &object(1000, 4000), 0).await;
    let one = grid.disk.syncs();
    stored(&grid, &session, &object(1001, 4000), 0).await;
    let one = grid.disk.syncs() - one;
    let objects: Vec<Object> = (0..200).map(|seed| object(seed, 2000)).collect();
    let shares: Vec<&[u8]> = objects.iter().map(|object| &object.shares[1][..]).collect();
    let before = grid.disk.syncs();
    let outcomes = store_all(&grid, &session, &shares).await;
    assert_eq!(grid.disk.syncs() - before, one, "as many syncs as one share");
    for (object, outcome) in objects.iter().zip(&outcomes) {
        assert_eq!(*outcome, SmallOutcome::Stored(hash(object)));
        assert_eq!(load(&grid.store, object.key(1)).unwrap(), object.shares[1]);
    }
    // They are leased: what had no lease has none to let go.
    let hashes = objects.iter().map(hash).collect();
    let cancel = protocol::message::CancelLease { tag: terms().tag, hashes, only: None };
    let (flags, _): (protocol::message::Flags, _) =
        session.request(&Request::CancelLease(cancel)).await.unwrap();
    assert_eq!(flags.flags, vec![true; 200]);
    // Again: they are here, nothing is written twice, and they are leased once more.
    let used = grid.store.status().used;
    let again = store_all(&grid, &session, &shares).await;
    let had: Vec<_> = objects.iter().map(|object| SmallOutcome::Had(hash(object))).collect();
    assert_eq!((again, grid.store.status().used), (had, used));
}

#[tokio::test(start_paused = true)]
async fn good_and_bad_in_one_request() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let (first, second, largest) = (object(1, 4000), object(2, 100), object(3, 120_000));
    stored(&grid, &session, &second, 3).await;
    let mut flipped = first.shares[1].clone();
    flipped[17] ^= 1;
    let cut = &first.shares[2][..first.shares[2].len() - 1];
    let footer_only = &first.shares[2][first.shares[2].len() - 16..];
    let rubbish = [0xff; 60_000];
    let shares: [&[u8]; 10] = [
        &first.shares[0],
        &flipped,
        &second.shares[3],
        cut,
        &rubbish,
        &second.shares[0],
        footer_only,
        &[7],
        // The same share twice in one request.
        &first.shares[0],
        &largest.shares[0],
    ];
    assert!(shares.iter().all(|share| share.len() <= 65_536) && largest.shares[0].len() > 60_000);
    let outcomes = store_all(&grid, &session, &shares).await;
    let corrupt = Some(ErrorCode::Corrupt);
    assert_eq!(outcomes[0], SmallOutcome::Stored(hash(&first)));
    assert_eq!(refused(&outcomes[1]), corrupt);
    assert_eq!(outcomes[2], SmallOutcome::Had(hash(&second)));
    assert_eq!(outcomes[5], SmallOutcome::Stored(hash(&second)));
    assert_eq!(outcomes[8], SmallOutcome::Had(hash(&first)));
    assert_eq!(outcomes[9], SmallOutcome::Stored(hash(&largest)));
    for bad in [3, 4, 6, 7] {
        assert_eq!(refused(&outcomes[bad]), corrupt, "{bad}");
    }
    assert_eq!(grid.store.status().shares, 4);
    assert_eq!(load(&grid.store, first.key(0)).unwrap(), first.shares[0]);
}

#[tokio::test(start_paused = true)]
async fn what_breaks_a_bound_is_refused_as_a_whole() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let object = object(1, 4000);
    let good: &[u8] = &object.shares[0];
    let id = grid.store.id();
    let lens = |lens: &[u32]| PutSmall {
        store: id,
        shares: lens.iter().map(|len| SmallShare { len: *len, lease: terms() }).collect(),
    };
    let longer = [good, &[0]].concat();
    let cases: Vec<(PutSmall, &[u8], ErrorCode)> = vec![
        (lens(&[]), &[], ErrorCode::BadRequest),
        (lens(&[0]), &[], ErrorCode::BadRequest),
        (lens(&[65_537]), good, ErrorCode::BadRequest),
        (lens(&[u32::MAX; 512]), good, ErrorCode::BadRequest),
        (lens(&[65_536; 13]), good, ErrorCode::BadRequest),
        (lens(&[1; 513]), good, ErrorCode::BadRequest),
        // Bytes after the shares, and too few.
        (put_small(id, &[good]), &longer, ErrorCode::BadRequest),
        (put_small(id, &[good, good]), &longer, ErrorCode::BadRequest),
        (put_small(id, &[good]), &[], ErrorCode::BadRequest),
        (put_small(NodeId::new([1; 32]), &[good]), good, ErrorCode::NotFound),
        (put_small(NodeId::new([66; 32]), &[good]), good, ErrorCode::StoreFailed),
    ];
    for (case, (put, body, expected)) in cases.into_iter().enumerate() {
        let asked = tokio::time::timeout(Duration::from_secs(1), ask(&session, put, body));
        assert_eq!(code(asked.await.unwrap()), expected, "case {case}");
    }
    assert_eq!(grid.store.status().shares, 0);
    // One that is given up in the middle, and one that stops without a word.
    for silent in [false, true] {
        let mut stream = session.open(&Request::PutSmall(put_small(id, &[good]))).await.unwrap();
        stream.send.send(Bytes::copy_from_slice(&good[..100])).await.unwrap();
        if silent {
            assert!(read_reply::<PutSmallDone>(&mut stream).await.is_err());
        }
    }
    let (status, _): (Status, _) = session.request(&Request::Status).await.unwrap();
    assert_eq!((status.stores[0].state, status.stores[0].shares), (StoreState::Writable, 0));
    assert_eq!(store_all(&grid, &session, &[good]).await, [SmallOutcome::Stored(hash(&object))]);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_takes_what_fits() {
    let options = StoreOptions { reserve: 2_500_000, ..StoreOptions::default() };
    let grid = start_store(Admission::Open, ServerLimits::default(), options);
    let session = session(&grid).await;
    let objects: Vec<Object> = (0..10).map(|seed| object(seed, 100_000)).collect();
    let shares: Vec<&[u8]> = objects.iter().map(|object| &object.shares[0][..]).collect();
    grid.disk.set_capacity(Some(grid.disk.used() + 2_500_000 + 4 * 50_000));
    let outcomes = store_all(&grid, &session, &shares).await;
    let taken = outcomes.iter().filter(|outcome| matches!(outcome, SmallOutcome::Stored(_))).count();
    assert_eq!(taken, 3, "with their records' headers four do not fit");
    assert!(outcomes[3..].iter().all(|outcome| refused(outcome) == Some(ErrorCode::NoSpace)), "{outcomes:?}");
    assert_eq!(load(&grid.store, objects[2].key(0)).unwrap(), objects[2].shares[0]);
    grid.disk.set_capacity(None);
    let again = store_all(&grid, &session, &shares).await;
    assert!(matches!(again[..4], [.., SmallOutcome::Had(_), SmallOutcome::Stored(_)]), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_acknowledges_none_of_them() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let (first, second) = (object(1, 4000), object(2, 4000));
    grid.disk.fail_sync(1);
    let outcomes = store_all(&grid, &session, &[&first.shares[0], &[1], &second.shares[0]]).await;
    let codes: Vec<_> = outcomes.iter().map(refused).collect();
    let failed = Some(ErrorCode::StoreFailed);
    assert_eq!(codes, [failed, Some(ErrorCode::Corrupt), failed]);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_store_is_refused_before_a_byte_is_read() {
    let object = object(1, 4000);
    let share: &[u8] = &object.shares[0];
    let grid = start(Admission::Listed(HashSet::new()));
    let put = put_small(grid.store.id(), &[share]);
    assert_eq!(code(ask(&session(&grid).await, put, &[]).await), ErrorCode::NotAdmitted);
    let options = StoreOptions { read_only: true, ..StoreOptions::default() };
    let grid = start_store(Admission::Open, ServerLimits::default(), options);
    let put = put_small(grid.store.id(), &[share]);
    assert_eq!(code(ask(&session(&grid).await, put, &[]).await), ErrorCode::ReadOnly);
}

#[tokio::test(start_paused = true)]
async fn bodies_wait_for_room_in_memory() {
    let limits = ServerLimits { memory_kib: 1024, ..ServerLimits::default() };
    let grid = start_store(Admission::Open, limits, StoreOptions::default());
    let session = session(&grid).await;
    let object = object(1, 120_000);
    let share: &[u8] = &object.shares[0];
    let put = || put_small(grid.store.id(), &[share; 12]);
    // One key has a quarter: the second waits for the first, and not for ever.
    let holding = session.open(&Request::PutSmall(put())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(code(ask(&session, put(), &[]).await), ErrorCode::Busy);
    drop(holding);
    let outcomes = store_all(&grid, &session, &[share; 12]).await;
    assert!(outcomes.iter().all(|outcome| refused(outcome).is_none()));
}
