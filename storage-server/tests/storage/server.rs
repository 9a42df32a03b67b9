//! The server on a transport in memory.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use protocol::NodeId;
use protocol::frame;
use protocol::message::{
    Announce, Bulk, Bytes16, Bytes32, ErrorCode, Expected, Flags, Found, HasLengths, Hello, Lease, Lookup,
    Put, PutDone, PutReply, ReadBlocks, ReadSlice, ReadTable, Request, Status, StoreState,
};
use protocol::session::{RequestError, Session, our_hello, read_reply};
use protocol::transport::Stream;
use storage_server::{Admission, Disk, Quotas, Server, ServerLimits, ServerParts, Store, StoreOptions};

use crate::crash_disk::CrashDisk;
use crate::objects::{
    BLOCK_LEN, ManualClock, Object, Seeded, account, init, inline, load, object, put_of, terms,
};
use crate::wire::MemoryListener;

pub(crate) struct Grid {
    pub(crate) disk: CrashDisk,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<ManualClock>,
    server: Arc<Server>,
    pub(crate) listener: Arc<MemoryListener>,
    serving: tokio::task::JoinHandle<()>,
}

pub(crate) fn start(admission: Admission) -> Grid {
    start_with(admission, ServerLimits::default())
}

fn start_with(admission: Admission, limits: ServerLimits) -> Grid {
    start_store(admission, limits, StoreOptions::default())
}

pub(crate) fn start_store(admission: Admission, limits: ServerLimits, options: StoreOptions) -> Grid {
    let disk = CrashDisk::default();
    let dynamic: Arc<dyn Disk> = Arc::new(disk.clone());
    init(&dynamic);
    let clock = Arc::new(ManualClock::default());
    let store = Store::open(dynamic, clock.clone(), &Seeded::new(1), options).unwrap();
    let server = Server::new(ServerParts {
        nickname: "one".into(),
        stores: vec![store.clone()],
        failed: vec![NodeId::new([66; 32])],
        admission,
        quotas: Quotas::default(),
        clock: Arc::new(ManualClock::default()),
        pool: inline(),
        limits,
    });
    let listener = MemoryListener::new();
    let serving = tokio::spawn(server.clone().serve(listener.clone()));
    Grid { disk, store, clock, server, listener, serving }
}

pub(crate) async fn session(grid: &Grid) -> Session {
    Session::start(grid.listener.connect(account())).await.unwrap()
}

pub(crate) fn code<T>(answer: Result<T, RequestError>) -> ErrorCode {
    match answer {
        Err(RequestError::Refused(error)) => error.code,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("not refused"),
    }
}

async fn put(session: &Session, put: Put, share: &[u8]) -> Result<PutDone, RequestError> {
    let mut stream = session.open(&Request::Put(put)).await?;
    let PutReply::Go(offset) = read_reply(&mut stream).await? else { panic!("not here yet") };
    send(&mut stream, &share[offset as usize..]).await?;
    read_reply(&mut stream).await
}

/// Sends a body as far as the other side takes it.
async fn send(stream: &mut Stream, body: &[u8]) -> Result<(), RequestError> {
    for piece in body.chunks(10_000) {
        if stream.send.send(Bytes::copy_from_slice(piece)).await.is_err() {
            return Ok(());
        }
    }
    Ok(stream.send.finish()?)
}

async fn bulk(session: &Session, request: Request) -> Result<Vec<Vec<u8>>, RequestError> {
    let (bulk, mut stream): (Bulk, Stream) = session.request(&request).await?;
    let mut pieces = Vec::new();
    for len in bulk.lens {
        let mut buffer = BytesMut::new();
        assert!(stream.recv.fill(&mut buffer, len as usize).await.unwrap());
        pieces.push(buffer.to_vec());
    }
    assert!(!stream.recv.fill(&mut BytesMut::new(), 1).await.unwrap());
    Ok(pieces)
}

pub(crate) async fn stored(grid: &Grid, session: &Session, object: &Object, number: u16) {
    let share = &object.shares[usize::from(number)];
    let done =
        put(session, put_of(grid.store.id(), number, Some(share.len() as u64), number as u8), share).await;
    assert_eq!(done.unwrap().hash.0, *object.hash.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn put_and_read_back() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let (small, large) = (object(1, 4000), object(2, 150_000));
    for object in [&small, &large] {
        for number in [0, 2] {
            stored(&grid, &session, object, number).await;
            assert_eq!(load(&grid.store, object.key(number)).unwrap(), object.shares[usize::from(number)]);
        }
        let hash = Bytes32(*object.hash.as_bytes());
        let inline = 8000;
        let (found, mut stream): (Found, _) =
            session.request(&Request::Lookup(Lookup { hash, inline })).await.unwrap();
        let numbers: Vec<u16> = found.shares.iter().map(|share| share.number).collect();
        assert_eq!(numbers, [0, 2]);
        for share in &found.shares {
            assert_eq!((share.inline, share.store), (share.len <= 8000, grid.store.id()));
            if share.inline {
                let mut bytes = BytesMut::new();
                assert!(stream.recv.fill(&mut bytes, share.len as usize).await.unwrap());
                assert_eq!(bytes, object.shares[usize::from(share.number)]);
            }
        }
        assert_eq!(found.descriptor.is_none(), found.shares[0].inline);
        assert!(found.descriptor.is_none_or(|d| encoding::Descriptor::hash(&d) == object.hash));
    }
    // Blocks, table and slices of the large one.
    let (hash, number) = (Bytes32(*large.hash.as_bytes()), 2);
    let share = &large.shares[2];
    let blocks =
        bulk(&session, Request::ReadBlocks(ReadBlocks { hash, number, first: 0, count: 5 })).await.unwrap();
    assert_eq!(blocks.iter().map(Vec::len).sum::<usize>(), blocks.concat().len());
    assert_eq!(blocks.concat(), share[..blocks.concat().len()]);
    let stored = grid.store.open_share(large.key(2)).unwrap();
    let (bytes, layout) = stored.descriptor().unwrap();
    let descriptor = encoding::Descriptor::parse(&bytes).unwrap();
    let ask = ReadTable { hash, number, columns: vec![1, 2], first: 1, count: 2 };
    let slices = bulk(&session, Request::ReadTable(ask)).await.unwrap();
    for (column, slice) in [1, 2].into_iter().zip(&slices) {
        let root = &descriptor.share_roots[column];
        let (at, roots) =
            encoding::open_slice(root, descriptor.geometry.column_len(), 32..96, slice).unwrap();
        let from = layout.column(column as u16).start as usize;
        assert_eq!(roots, share[from + at as usize..][..roots.len()]);
    }
    let ask = ReadSlice { hash, number, segment: 1, start: 100, end: 200 };
    let slices = bulk(&session, Request::ReadSlice(ask)).await.unwrap();
    let block = &blocks[1];
    let (at, opened) =
        encoding::open_slice(&encoding::block_root(block), block.len() as u64, 100..200, &slices[0]).unwrap();
    assert_eq!(opened, block[at as usize..at as usize + opened.len()]);
    let (bucket, lengths) = (descriptor.bucket.0, vec![1, descriptor.geometry.ciphertext_len()]);
    let (flags, _): (Flags, _) =
        session.request(&Request::HasLengths(HasLengths { bucket, lengths })).await.unwrap();
    assert_eq!(flags.flags, [false, true]);
    let (status, _): (Status, _) = session.request(&Request::Status).await.unwrap();
    let states: Vec<_> = status.stores.iter().map(|store| (store.state, store.shares)).collect();
    assert_eq!(states, [(StoreState::Writable, 4), (StoreState::Failed, 0)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_here_is_proved_not_sent() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    for object in [object(1, 4000), object(2, 150_000)] {
        stored(&grid, &session, &object, 0).await;
        let nonce = [5; 32];
        let expected = Some(Expected { hash: Bytes32(*object.hash.as_bytes()), nonce: Bytes32(nonce) });
        let ask = |number| Put { expected: expected.clone(), ..put_of(grid.store.id(), number, None, 9) };
        let (reply, _): (PutReply, _) = session.request(&Request::Put(ask(0))).await.unwrap();
        assert_eq!(
            reply,
            PutReply::Have(Bytes32(
                *blake3::keyed_hash(
                    &Expected::proof_key(&Bytes32(nonce), &grid.store.id()),
                    &object.shares[0]
                )
                .as_bytes()
            ))
        );
        assert_eq!(put(&session, ask(1), &object.shares[1]).await.unwrap().hash.0, *object.hash.as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn interrupted_uploads_go_on() {
    let grid = start(Admission::Open);
    let object = object(1, 300_000);
    let share = &object.shares[0];
    let ask = || Request::Put(put_of(grid.store.id(), 0, Some(share.len() as u64), 1));
    let first = session(&grid).await;
    let mut stream = first.open(&ask()).await.unwrap();
    assert_eq!(read_reply::<PutReply>(&mut stream).await.unwrap(), PutReply::Go(0));
    let part = 5 * BLOCK_LEN as usize + 77;
    for piece in share[..part].chunks(9999) {
        stream.send.send(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (again, _) = match first.request::<PutReply>(&ask()).await {
        Err(RequestError::Refused(error)) => (error.code, ()),
        other => panic!("{:?}", other.map(|(reply, _)| reply)),
    };
    assert_eq!(again, ErrorCode::Busy);
    drop(stream);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut stream = first.open(&ask()).await.unwrap();
    let PutReply::Go(offset) = read_reply(&mut stream).await.unwrap() else { panic!() };
    assert_eq!(offset, 5 * u64::from(BLOCK_LEN));
    send(&mut stream, &share[offset as usize..]).await.unwrap();
    let done: PutDone = read_reply(&mut stream).await.unwrap();
    assert_eq!(done.hash.0, *object.hash.as_bytes());
    assert_eq!(load(&grid.store, object.key(0)).unwrap(), *share);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_upload_is_given_up_and_its_part_kept() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let object = object(1, 300_000);
    let share = &object.shares[0];
    let ask = || Request::Put(put_of(grid.store.id(), 0, Some(share.len() as u64), 1));
    let mut stream = session.open(&ask()).await.unwrap();
    let _: PutReply = read_reply(&mut stream).await.unwrap();
    for piece in share[..100_000].chunks(10_000) {
        stream.send.send(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    let mut again = session.open(&ask()).await.unwrap();
    assert_eq!(read_reply::<PutReply>(&mut again).await.unwrap(), PutReply::Go(6 * u64::from(BLOCK_LEN)));
}

#[tokio::test(start_paused = true)]
async fn refusals_have_names() {
    let grid = start(Admission::Listed(HashSet::from([account()])));
    let store = grid.store.id();
    let object = object(1, 4000);
    let share = &object.shares[0];
    let stranger = Session::start(grid.listener.connect(NodeId::new([4; 32]))).await.unwrap();
    let hashes = vec![Bytes32(*object.hash.as_bytes())];
    let lease = |hashes| Request::Lease(Lease { terms: terms(), hashes });
    assert_eq!(code(put(&stranger, put_of(store, 0, None, 1), share).await), ErrorCode::NotAdmitted);
    assert_eq!(code(stranger.request::<Flags>(&lease(hashes.clone())).await), ErrorCode::NotAdmitted);
    let session = session(&grid).await;
    let len = Some(share.len() as u64);
    let mut bad = share.clone();
    bad[17] ^= 1;
    let cases = [
        (put_of(NodeId::new([1; 32]), 0, len, 1), share, ErrorCode::NotFound),
        (put_of(NodeId::new([66; 32]), 0, len, 1), share, ErrorCode::StoreFailed),
        (put_of(store, 0, Some(1 << 60), 1), share, ErrorCode::BadRequest),
        (put_of(store, 0, Some(1 << 45), 1), share, ErrorCode::NoSpace),
        (put_of(store, 0, Some(100), 1), share, ErrorCode::BadRequest),
        (Put { block_len: 12345, ..put_of(store, 0, len, 1) }, share, ErrorCode::BadRequest),
        (put_of(store, 1, len, 1), share, ErrorCode::BadRequest),
        (put_of(store, 0, len, 1), &bad, ErrorCode::Corrupt),
    ];
    for (ask, body, expected) in cases {
        assert_eq!(code(put(&session, ask.clone(), body).await), expected, "{ask:?}");
    }
    stored(&grid, &session, &object, 0).await;
    // Anybody may read.
    let hash = hashes[0];
    let read = |first, count| Request::ReadBlocks(ReadBlocks { hash, number: 0, first, count });
    assert_eq!(bulk(&stranger, read(0, 1)).await.unwrap().len(), 1);
    for (request, expected) in [
        (read(0, 2), ErrorCode::BadRequest),
        (read(u64::MAX, 1), ErrorCode::BadRequest),
        (read(0, 0), ErrorCode::BadRequest),
        (read(0, 65), ErrorCode::BadRequest),
        (Request::ReadBlocks(ReadBlocks { hash, number: 1, first: 0, count: 1 }), ErrorCode::NotFound),
        (
            Request::ReadSlice(ReadSlice { hash, number: 0, segment: 0, start: 9, end: 9 }),
            ErrorCode::BadRequest,
        ),
        (
            Request::ReadSlice(ReadSlice { hash, number: 0, segment: 1, start: 0, end: 9 }),
            ErrorCode::BadRequest,
        ),
        (
            Request::ReadSlice(ReadSlice { hash, number: 0, segment: 0, start: 0, end: u32::MAX }),
            ErrorCode::BadRequest,
        ),
        (
            Request::ReadTable(ReadTable { hash, number: 0, columns: vec![3], first: 0, count: 1 }),
            ErrorCode::BadRequest,
        ),
        (
            Request::ReadTable(ReadTable { hash, number: 0, columns: vec![0], first: 1, count: u64::MAX }),
            ErrorCode::BadRequest,
        ),
        (
            Request::ReadTable(ReadTable { hash, number: 0, columns: vec![], first: 0, count: 1 }),
            ErrorCode::BadRequest,
        ),
        (
            Request::ReadTable(ReadTable { hash, number: 0, columns: vec![0, 1, 0], first: 0, count: 1 }),
            ErrorCode::BadRequest,
        ),
        (lease(vec![hash; 10_001]), ErrorCode::BadRequest),
        (Request::HasLengths(HasLengths { bucket: 0, lengths: vec![0; 10_001] }), ErrorCode::BadRequest),
        (
            Request::Announce(Announce {
                announcement: protocol::announcement::Signed { payload: vec![], signature: [0; 64] },
            }),
            ErrorCode::Unsupported,
        ),
    ] {
        assert_eq!(code(session.request::<Bulk>(&request).await), expected, "{request:?}");
    }
    grid.disk.damage("packs/00000000.pack", |bytes| bytes[100] ^= 1);
    assert_eq!(code(session.request::<Bulk>(&read(0, 1)).await), ErrorCode::Corrupt);
    let lookup = Request::Lookup(Lookup { hash, inline: 10_000 });
    assert_eq!(code(session.request::<Found>(&lookup).await), ErrorCode::Corrupt);
}

#[tokio::test(start_paused = true)]
async fn rubbish_is_refused_and_does_no_harm() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let mut huge = vec![0xff; 4];
    huge.extend_from_slice(&[0; 100]);
    for rubbish in [huge, vec![3, 0, 0, 0, 1, 2, 3], vec![1, 0, 0, 0, 0xff], vec![0, 0, 0, 0]] {
        let mut stream = session.connection().open().await.unwrap();
        stream.send.send(rubbish.into()).await.unwrap();
        stream.send.finish().unwrap();
        assert_eq!(code(read_reply::<Status>(&mut stream).await), ErrorCode::BadRequest);
    }
    // Every length of a good header cut off, and every bit of it flipped.
    let good = frame::encode(&Request::Put(put_of(grid.store.id(), 0, Some(1000), 1)));
    for at in 0..good.len() {
        let mut flipped = good.to_vec();
        flipped[at] ^= 1 << (at % 8);
        for bytes in [good.slice(..at), flipped.into()] {
            let mut stream = session.connection().open().await.unwrap();
            stream.send.send(bytes).await.unwrap();
            stream.send.finish().unwrap();
            let _ = read_reply::<PutReply>(&mut stream).await;
        }
    }
    let silent = session.connection().open().await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    drop(silent);
    let (status, _): (Status, _) = session.request(&Request::Status).await.unwrap();
    assert_eq!(status.stores[0].state, StoreState::Writable);
}

#[tokio::test(start_paused = true)]
async fn versions_must_agree() {
    let grid = start(Admission::Open);
    for request in [Request::Hello(Hello { major: 2, ..our_hello() }), Request::Status] {
        let connection = grid.listener.connect(account());
        let mut stream = connection.open().await.unwrap();
        frame::send(&mut *stream.send, &request).await.unwrap();
        stream.send.finish().unwrap();
        assert_eq!(code(read_reply::<Hello>(&mut stream).await), ErrorCode::UnsupportedVersion);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(connection.is_closed());
    }
}

#[tokio::test(start_paused = true)]
async fn draining_finishes_what_is_under_way() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let object = object(1, 300_000);
    let share = &object.shares[0];
    let mut stream = session.open(&Request::Put(put_of(grid.store.id(), 0, None, 1))).await.unwrap();
    let _: PutReply = read_reply(&mut stream).await.unwrap();
    let server = grid.server.clone();
    let drained = tokio::spawn(async move { server.drain(Duration::from_secs(30)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = session.request::<Status>(&Request::Status).await;
    assert_eq!(code(refused), ErrorCode::ShuttingDown);
    send(&mut stream, share).await.unwrap();
    let done: PutDone = read_reply(&mut stream).await.unwrap();
    assert_eq!(done.hash.0, *object.hash.as_bytes());
    drained.await.unwrap();
    grid.serving.await.unwrap();
    // One that never ends is cut off.
    let grid = start(Admission::Open);
    let session = self::session(&grid).await;
    let mut stream = session.open(&Request::Put(put_of(grid.store.id(), 0, None, 1))).await.unwrap();
    let _: PutReply = read_reply(&mut stream).await.unwrap();
    tokio::time::timeout(Duration::from_secs(31), grid.server.drain(Duration::from_secs(30))).await.unwrap();
    tokio::time::timeout(Duration::from_secs(1), grid.serving).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn leases_in_bulk() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let object = object(1, 4000);
    stored(&grid, &session, &object, 0).await;
    let mut hashes = vec![Bytes32([0; 32]); 10_000];
    hashes[77] = Bytes32(*object.hash.as_bytes());
    let mut terms = terms();
    terms.tag = Bytes16([8; 16]);
    terms.duration_s = Some(3600);
    let (flags, _): (Flags, _) = session.request(&Request::Lease(Lease { terms, hashes })).await.unwrap();
    assert!(flags.flags.iter().enumerate().all(|(at, flag)| *flag == (at == 77)));
}

#[tokio::test(start_paused = true)]
async fn what_rotted_is_taken_again_not_proved() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let object = object(2, 150_000);
    stored(&grid, &session, &object, 0).await;
    let path = format!("shares/{}/{}.0", &object.hash.to_string()[..2], object.hash);
    grid.disk.damage(&path, |bytes| bytes[20_000] ^= 1);
    let expected = Some(Expected { hash: Bytes32(*object.hash.as_bytes()), nonce: Bytes32([5; 32]) });
    let ask = Put { expected, ..put_of(grid.store.id(), 0, Some(object.shares[0].len() as u64), 9) };
    put(&session, ask.clone(), &object.shares[0]).await.unwrap();
    assert_eq!(load(&grid.store, object.key(0)).unwrap(), object.shares[0]);
    let (reply, _): (PutReply, _) = session.request(&Request::Put(ask)).await.unwrap();
    assert!(matches!(reply, PutReply::Have(_)));
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed() {
    let grid = start(Admission::Open);
    let (idle, busy) = (session(&grid).await, session(&grid).await);
    let mut stream = busy.open(&Request::Put(put_of(grid.store.id(), 0, None, 1))).await.unwrap();
    let _: PutReply = read_reply(&mut stream).await.unwrap();
    for _ in 0..13 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        stream.send.send(Bytes::from_static(&[0; 4000])).await.unwrap();
    }
    assert!(idle.connection().is_closed() && !busy.connection().is_closed());
}

#[tokio::test(start_paused = true)]
async fn the_idle_make_way_for_newcomers() {
    let grid = start_with(Admission::Open, ServerLimits { connections: 2, ..ServerLimits::default() });
    let first = session(&grid).await;
    let mut stream = first.open(&Request::Put(put_of(grid.store.id(), 0, None, 1))).await.unwrap();
    let _: PutReply = read_reply(&mut stream).await.unwrap();
    let second = session(&grid).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let third = tokio::time::timeout(Duration::from_secs(5), session(&grid)).await.unwrap();
    assert!(second.connection().is_closed());
    assert!(!first.connection().is_closed() && !third.connection().is_closed());
}

#[tokio::test(start_paused = true)]
async fn one_key_has_so_many_connections() {
    let grid = start(Admission::Open);
    let mut sessions = Vec::new();
    for _ in 0..128 {
        sessions.push(session(&grid).await);
    }
    assert!(Session::start(grid.listener.connect(account())).await.is_err());
    Session::start(grid.listener.connect(NodeId::new([4; 32]))).await.unwrap();
    // The one idle longest made way for the next attempt.
    tokio::time::sleep(Duration::from_secs(1)).await;
    session(&grid).await;
}

#[tokio::test(start_paused = true)]
async fn leases_on_what_is_not_here_write_nothing() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let before = grid.disk.syncs();
    let ask = Request::Lease(Lease { terms: terms(), hashes: vec![Bytes32([1; 32]); 10_000] });
    let (flags, _): (Flags, _) = session.request(&ask).await.unwrap();
    assert_eq!(flags.flags, vec![false; 10_000]);
    assert_eq!(grid.disk.syncs(), before);
}

#[tokio::test(start_paused = true)]
async fn answers_are_not_taken_for_ever() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let object = object(3, 1_500_000);
    stored(&grid, &session, &object, 0).await;
    let hash = Bytes32(*object.hash.as_bytes());
    let ask = Request::ReadBlocks(ReadBlocks { hash, number: 0, first: 0, count: 40 });
    let (_, mut stream): (Bulk, Stream) = session.request(&ask).await.unwrap();
    let began = tokio::time::Instant::now();
    // Some of it always before it stalls, but too little.
    let broken = loop {
        tokio::time::sleep(Duration::from_secs(20)).await;
        match stream.recv.fill(&mut BytesMut::new(), 10_000).await {
            Ok(true) => {}
            Ok(false) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken && began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_its_part_is_hashed_is_in_nobodys_way() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let object = object(1, 300_000);
    let share = &object.shares[0];
    let ask = || Request::Put(put_of(grid.store.id(), 0, Some(share.len() as u64), 1));
    let mut stream = session.open(&ask()).await.unwrap();
    let _: PutReply = read_reply(&mut stream).await.unwrap();
    stream.send.send(Bytes::copy_from_slice(&share[..6 * BLOCK_LEN as usize + 5])).await.unwrap();
    drop(stream);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Whoever leaves while its part is hashed leaves nothing behind that is in the way of the next.
    for _ in 0..3 {
        drop(session.open(&ask()).await.unwrap());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut stream = session.open(&ask()).await.unwrap();
    assert_eq!(read_reply::<PutReply>(&mut stream).await.unwrap(), PutReply::Go(6 * u64::from(BLOCK_LEN)));
}
