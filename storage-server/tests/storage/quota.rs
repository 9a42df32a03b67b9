//! Quotas: what an account may be charged on a server, however it comes and however much of it at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::message::{
    Bytes16, Bytes32, ErrorCode, Expected, Flags, Lease, LeaseTerms, Put, PutDone, PutReply, PutSmall,
    PutSmallDone, Request, SmallOutcome, SmallShare, StoreUsage, Usage,
};
use protocol::session::{RequestError, Session, read_reply};
use protocol::{NodeId, Pool, TokioPool};
use storage_server::{Admission, Disk, Quotas, Server, ServerLimits, ServerParts, Store, StoreOptions};

use crate::collect::sound;
use crate::crash_disk::CrashDisk;
use crate::objects::{ManualClock, Object, Seeded, account, inline, object, put_of, terms};
use crate::server::code;
use crate::wire::MemoryListener;

struct Setup {
    disks: Vec<CrashDisk>,
    stores: Vec<Arc<Store>>,
    listener: Arc<MemoryListener>,
    serving: tokio::task::JoinHandle<()>,
}

/// A server of two stores where the account has this quota.
fn start(quota: u64) -> Setup {
    serve(disks(), quota, inline())
}

fn disks() -> Vec<CrashDisk> {
    let disks = vec![CrashDisk::default(), CrashDisk::default()];
    for (seed, disk) in (5..).zip(&disks) {
        Store::init(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &Seeded::new(seed)).unwrap();
    }
    disks
}

fn serve(disks: Vec<CrashDisk>, quota: u64, pool: Arc<dyn Pool>) -> Setup {
    let open =
        |disk: &CrashDisk| crate::objects::open(Arc::new(disk.clone()), StoreOptions::default()).unwrap();
    let stores: Vec<_> = disks.iter().map(open).collect();
    let server = Server::new(ServerParts {
        nickname: "one".into(),
        stores: stores.clone(),
        failed: Vec::new(),
        admission: Admission::Open,
        quotas: Quotas { each: None, of: BTreeMap::from([(account(), quota)]) },
        clock: Arc::new(ManualClock::default()),
        pool,
        limits: ServerLimits::default(),
    });
    let listener = MemoryListener::new();
    let serving = tokio::spawn(server.serve(listener.clone()));
    Setup { disks, stores, listener, serving }
}

impl Setup {
    async fn session(&self, of: NodeId) -> Session {
        Session::start(self.listener.connect(of)).await.unwrap()
    }

    /// Bytes of all packs, whatever of them counts.
    fn packs(&self) -> u64 {
        let in_packs = |disk: &CrashDisk| -> u64 {
            let files = disk.files().into_iter().filter(|file| file.starts_with("packs/"));
            files.map(|file| disk.content(&file).len() as u64).sum()
        };
        self.disks.iter().map(in_packs).sum()
    }

    fn charged(&self) -> u64 {
        self.stores.iter().map(|store| store.charged(&account()).unwrap()).sum()
    }

    /// Stops it and lets another begin on the same disks.
    async fn restart(self, quota: u64) -> Self {
        self.serving.abort();
        let _ = self.serving.await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        drop((self.stores, self.listener));
        serve(self.disks, quota, inline())
    }
}

async fn usage(session: &Session) -> Usage {
    session.request(&Request::Usage).await.unwrap().0
}

async fn put(session: &Session, put: Put, share: &[u8]) -> Result<PutDone, RequestError> {
    let mut stream = session.open(&Request::Put(put)).await?;
    let PutReply::Go(offset) = read_reply(&mut stream).await? else { panic!("not here yet") };
    for piece in share[offset as usize..].chunks(10_000) {
        if stream.send.send(Bytes::copy_from_slice(piece)).await.is_err() {
            break;
        }
    }
    let _ = stream.send.finish();
    read_reply(&mut stream).await
}

async fn put_small(session: &Session, store: NodeId, shares: &[&[u8]]) -> Vec<SmallOutcome> {
    let listed = shares.iter().map(|share| SmallShare { len: share.len() as u32, lease: terms() }).collect();
    let mut stream = session.open(&Request::PutSmall(PutSmall { store, shares: listed })).await.unwrap();
    stream.send.send(Bytes::from(shares.concat())).await.unwrap();
    stream.send.finish().unwrap();
    read_reply::<PutSmallDone>(&mut stream).await.unwrap().outcomes
}

/// What stands before a share in a pack.
const RECORD_HEAD: u64 = 64;

async fn put_one_small(session: &Session, store: NodeId, share: &[u8]) -> Result<(), RequestError> {
    match put_small(session, store, &[share]).await.pop() {
        Some(SmallOutcome::Refused(error)) => Err(RequestError::Refused(error)),
        _ => Ok(()),
    }
}

fn is_over(outcome: &SmallOutcome) -> bool {
    matches!(outcome, SmallOutcome::Refused(error) if error.code == ErrorCode::OverQuota)
}

async fn lease(session: &Session, terms: LeaseTerms, objects: &[&Object]) -> Result<Vec<bool>, RequestError> {
    let hashes = objects.iter().map(|object| Bytes32(*object.hash.as_bytes())).collect();
    session.request::<Flags>(&Request::Lease(Lease { terms, hashes })).await.map(|(flags, _)| flags.flags)
}

#[tokio::test(start_paused = true)]
async fn all_stores_count_together_and_usage_says_so() {
    let objects: Vec<Object> = (0..4).map(|seed| object(seed, 140_000)).collect();
    let len = objects[0].shares[0].len() as u64;
    let setup = start(3 * len + 100);
    let session = setup.session(account()).await;
    let ids = [setup.stores[0].id(), setup.stores[1].id()];
    let ask = |at: usize| put_of(ids[at % 2], 0, Some(len), at as u8);
    for (at, object) in objects.iter().take(3).enumerate() {
        put(&session, ask(at), &object.shares[0]).await.unwrap();
    }
    let refused = session.request::<PutReply>(&Request::Put(ask(3))).await;
    assert_eq!(code(refused), ErrorCode::OverQuota, "before a byte is sent");
    let stores = vec![StoreUsage { store: ids[0], used: 2 * len }, StoreUsage { store: ids[1], used: len }];
    assert_eq!(usage(&session).await, Usage { used: 3 * len, quota: Some(3 * len + 100), stores });
    // Another tag, or the share once more, costs nothing.
    let other = LeaseTerms { tag: Bytes16([77; 16]), ..terms() };
    assert_eq!(lease(&session, other, &[&objects[0]]).await.unwrap(), [true]);
    let expected = Some(Expected { hash: Bytes32(*objects[0].hash.as_bytes()), nonce: Bytes32([5; 32]) });
    let again = Request::Put(Put { expected, ..put_of(ids[0], 0, Some(len), 9) });
    assert!(matches!(session.request::<PutReply>(&again).await.unwrap().0, PutReply::Have(_)));
    // Others are charged for themselves and know nothing of it.
    let stranger = setup.session(NodeId::new([8; 32])).await;
    assert_eq!(lease(&stranger, terms(), &[&objects[0]]).await.unwrap(), [true]);
    let told = usage(&stranger).await;
    assert_eq!((told.used, told.quota), (len, None));
    put(&stranger, ask(3), &objects[3].shares[0]).await.unwrap();
    // What others stored costs as much.
    assert_eq!(code(lease(&session, terms(), &[&objects[3]]).await), ErrorCode::OverQuota);
    // Letting go makes room.
    let hashes = vec![Bytes32(*objects[1].hash.as_bytes())];
    let cancel = protocol::message::CancelLease { tag: terms().tag, hashes, only: None };
    let (flags, _): (Flags, _) = session.request(&Request::CancelLease(cancel)).await.unwrap();
    assert_eq!(flags.flags, [true]);
    assert_eq!(lease(&session, terms(), &[&objects[3]]).await.unwrap(), [true]);
    assert_eq!(setup.charged(), 3 * len);
    setup.stores.iter().for_each(|store| sound(store));
    drop((session, stranger));
    let setup = setup.restart(3 * len + 100).await;
    let session = setup.session(account()).await;
    assert_eq!(usage(&session).await.used, 3 * len);
    assert_eq!(code(session.request::<PutReply>(&Request::Put(ask(3))).await), ErrorCode::OverQuota);
}

#[tokio::test(start_paused = true)]
async fn small_shares_are_refused_one_by_one() {
    let objects: Vec<Object> = (0..10).map(|seed| object(seed, 3000)).collect();
    let shares: Vec<&[u8]> = objects.iter().map(|object| &object.shares[0][..]).collect();
    let len = shares[0].len() as u64;
    let setup = start(4 * len + 10);
    let session = setup.session(account()).await;
    let store = setup.stores[0].id();
    let outcomes = put_small(&session, store, &shares).await;
    let over: Vec<bool> = outcomes.iter().map(is_over).collect();
    assert_eq!(over, [false, false, false, false, true, true, true, true, true, true]);
    assert_eq!((setup.charged(), setup.stores[0].status().shares), (4 * len, 4));
    sound(&setup.stores[0]);
    // Nothing of what is refused is written, however often it comes.
    let written = setup.packs();
    assert!(written < 5 * len, "{written} bytes for four shares of {len}");
    for _ in 0..20 {
        assert!(put_small(&session, store, &shares[4..]).await.iter().all(is_over));
    }
    assert_eq!(setup.packs(), written);
    // What is here and leased already costs nothing, however often it comes.
    let again = put_small(&session, store, &shares[..4]).await;
    assert!(again.iter().all(|outcome| matches!(outcome, SmallOutcome::Had(_))), "{again:?}");
    // One whose bytes came twice in a batch, first by an account that may not: the other gets it.
    let stranger = setup.session(NodeId::new([8; 32])).await;
    assert!(is_over(&put_small(&session, store, &shares[5..6]).await[0]));
    assert!(matches!(put_small(&stranger, store, &shares[5..6]).await[..], [SmallOutcome::Stored(_)]));
    sound(&setup.stores[0]);
}

/// A lease on an object costs all that is here of it: what that makes of a small share is known before it is written.
#[tokio::test(start_paused = true)]
async fn a_small_share_of_what_others_stored_is_refused_before_it_is_written() {
    let object = object(1, 3000);
    let [first, second, third] = [0, 1, 2].map(|number: usize| &object.shares[number][..]);
    let len = first.len() as u64;
    let setup = start(2 * len + 10);
    let store = setup.stores[0].id();
    let stranger = setup.session(NodeId::new([8; 32])).await;
    put_small(&stranger, store, &[first, second]).await;
    let (session, written) = (setup.session(account()).await, setup.packs());
    for _ in 0..20 {
        assert!(is_over(&put_small(&session, store, &[third]).await[0]));
    }
    assert_eq!((setup.packs(), setup.charged()), (written, 0));
    // Both that are there cost no more than that, together.
    let outcomes = put_small(&session, store, &[first, second]).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, SmallOutcome::Had(_))), "{outcomes:?}");
    assert_eq!(setup.charged(), 2 * len);
    sound(&setup.stores[0]);
}

#[tokio::test(start_paused = true)]
async fn an_upload_without_a_length_is_stopped_where_the_quota_ends() {
    let object = object(1, 600_000);
    let share = &object.shares[0];
    let setup = start(100_000);
    let session = setup.session(account()).await;
    let store = setup.stores[0].id();
    assert_eq!(code(put(&session, put_of(store, 0, None, 1), share).await), ErrorCode::OverQuota);
    assert_eq!(setup.charged(), 0);
    assert!(setup.disks[0].files().iter().all(|file| !file.starts_with("partial/")));
    // And nothing of it is held.
    let whole = &crate::objects::object(2, 150_000).shares[0];
    put(&session, put_of(store, 0, None, 2), whole).await.unwrap();
    assert_eq!(setup.charged(), whole.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn interrupted_uploads_count_and_make_way_for_the_account_s_next() {
    let (first, second) = (object(1, 600_000), object(2, 600_000));
    let len = first.shares[0].len() as u64;
    let setup = start(len + len / 2);
    let store = setup.stores[0].id();
    let ask = |upload| Request::Put(put_of(store, 0, Some(len), upload));
    let begin = async |session: &Session, upload| {
        let mut stream = session.open(&ask(upload)).await.unwrap();
        let PutReply::Go(_) = read_reply(&mut stream).await? else { panic!("not here yet") };
        Ok::<_, RequestError>(stream)
    };
    let session = setup.session(account()).await;
    let mut stream = begin(&session, 1).await.unwrap();
    for piece in first.shares[0][..250_000].chunks(10_000) {
        stream.send.send(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    assert_eq!(code(begin(&session, 2).await), ErrorCode::OverQuota, "the first is under way");
    drop((stream, session));
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    let partials = |setup: &Setup| {
        setup.disks[0].files().into_iter().filter(|file| file.starts_with("partial/")).count()
    };
    assert_eq!(partials(&setup), 1);
    // Also after a restart.
    let setup = setup.restart(len + len / 2).await;
    let session = setup.session(account()).await;
    put(&session, put_of(store, 0, Some(len), 3), &second.shares[0]).await.unwrap();
    assert_eq!((partials(&setup), setup.charged()), (0, len));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_uploads_at_once_stay_within_the_quota() {
    // 1,000 of 250 objects, by four connections; some state their length, some do not, some are small, and of those half come whole.
    let objects: Vec<Object> = (0..250)
        .map(|seed| object(seed, if seed % 5 == 0 { 140_000 } else { 2000 + 10 * seed as usize }))
        .collect();
    let all: u64 = objects.iter().flat_map(|object| &object.shares).map(|share| share.len() as u64).sum();
    let quota = all / 3;
    let setup = serve(disks(), quota, Arc::new(TokioPool));
    let mut uploads = tokio::task::JoinSet::new();
    for number in 0..4u16 {
        let session = setup.session(account()).await;
        for (at, object) in objects.iter().enumerate() {
            let share = object.shares[usize::from(number)].clone();
            let len = (at % 2 == 0).then_some(share.len() as u64);
            let mut ask = put_of(setup.stores[at % 2].id(), number, len, 0);
            ask.upload = Bytes16([at as u8; 16]);
            let session = session.clone();
            uploads.spawn(async move {
                let outcome = match share.len() < 10_000 && at % 3 == 0 {
                    true => put_one_small(&session, ask.store, &share).await,
                    false => put(&session, ask, &share).await.map(drop),
                };
                (share.len() as u64, outcome)
            });
        }
    }
    let (mut stored, mut packed, mut refused) = (0, 0, 0);
    while let Some(done) = uploads.join_next().await {
        let (len, outcome) = done.unwrap();
        match outcome {
            Ok(_) => {
                stored += len;
                packed += if len <= 65_536 { len + RECORD_HEAD } else { 0 };
            }
            Err(RequestError::Refused(error)) => {
                assert!(matches!(error.code, ErrorCode::OverQuota | ErrorCode::Busy), "{error}");
                refused += 1;
            }
            // It was refused while it sent.
            Err(_) => refused += 1,
        }
        let charged = setup.charged();
        assert!(charged <= quota, "{charged} of {quota}");
    }
    assert_eq!(setup.charged(), stored);
    assert_eq!(setup.packs(), packed, "nothing that was refused was written");
    assert!(refused > 300 && stored > quota / 2, "{refused} refused, {stored} of {quota} stored");
    setup.stores.iter().for_each(|store| sound(store));
    // What was on its way is let go: the rest of the quota can be used.
    let session = setup.session(account()).await;
    let left = quota - stored;
    let fits = objects.iter().flat_map(|o| &o.shares).any(|share| share.len() as u64 <= left);
    let last = object(9999, 1000);
    if fits && (last.shares[0].len() as u64) < left {
        let store = setup.stores[0].id();
        assert!(!is_over(&put_small(&session, store, &[&last.shares[0]]).await[0]));
    }
}
