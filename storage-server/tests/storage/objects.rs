//! Shares to store, and short ways to store them.

use std::sync::Arc;

use caps::VerifyHash;
use encoding::{ContentKey, Kind, ObjectBuilder, ObjectId, Params, SegmentEncoder, ShareCheck};
use protocol::message::{Bytes16, LeaseTerms, Put};
use protocol::{Clock, InlinePool, NodeId, Pool, Random};
use storage_server::{Disk, PutError, ShareKey, Store, StoreError, StoreOptions, Upload};

pub(crate) const BLOCK_LEN: u32 = 16 * 1024;

/// An encoded object: its H and share files.
pub(crate) struct Object {
    pub(crate) hash: VerifyHash,
    pub(crate) shares: Vec<Vec<u8>>,
}

impl Object {
    pub(crate) fn key(&self, number: u16) -> ShareKey {
        ShareKey { hash: self.hash, number }
    }
}

/// A 2-of-4 object of `len` bytes that differ by `seed`.
pub(crate) fn object(seed: u64, len: usize) -> Object {
    object_of(seed, len, BLOCK_LEN)
}

/// The same with blocks of another length.
pub(crate) fn object_of(seed: u64, len: usize, block_len: u32) -> Object {
    let params = Params::with_block_len(2, 4, block_len).unwrap();
    let mut data = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut data);
    let plain = blake3::hash(&data);
    let id = ObjectId::convergent(&[7; 32], params, Kind::Direct, len as u64, plain.as_bytes());
    let key = ContentKey::new(&id);
    let mut encoder = SegmentEncoder::new(params);
    let mut builder = ObjectBuilder::new(params, Kind::Direct, &id);
    let mut shares = vec![Vec::new(); 4];
    let segment_len = params.segment_data_len() as usize;
    let count = len.div_ceil(segment_len).max(1);
    for index in 0..count {
        let piece = &data[index * segment_len..len.min((index + 1) * segment_len)];
        let segment = encoder.encode(&key, index as u64, piece, index + 1 == count).unwrap();
        builder.add(&segment).unwrap();
        for (share, block) in shares.iter_mut().zip(&segment.blocks) {
            share.extend_from_slice(block);
        }
    }
    let encoded = builder.finish(len as u64, plain.as_bytes()).unwrap();
    for (number, share) in (0..).zip(&mut shares) {
        share.extend_from_slice(&encoded.trailer(number));
    }
    Object { hash: encoded.hash, shares }
}

/// Randomness that repeats.
pub(crate) struct Seeded(pub(crate) std::sync::Mutex<blake3::OutputReader>);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().into())
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        u64::from_le_bytes((self as &dyn Random).bytes()) % bound
    }
}

impl Random for Seeded {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().unwrap().fill(out);
    }
}

/// A clock that the test moves.
#[derive(Default)]
pub(crate) struct ManualClock(pub(crate) std::sync::atomic::AtomicU64);

impl Clock for ManualClock {
    fn unix_time(&self) -> std::time::Duration {
        self.uptime()
    }

    fn uptime(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

pub(crate) const ACCOUNT: [u8; 32] = [9; 32];
pub(crate) const TAG: Bytes16 = Bytes16([3; 16]);

pub(crate) fn account() -> NodeId {
    NodeId::new(ACCOUNT)
}

pub(crate) fn terms() -> LeaseTerms {
    LeaseTerms { tag: TAG, duration_s: None }
}

pub(crate) fn put_of(store: NodeId, number: u16, len: Option<u64>, upload: u8) -> Put {
    Put {
        upload: Bytes16([upload; 16]),
        number,
        store,
        block_len: BLOCK_LEN,
        len,
        expected: None,
        lease: terms(),
    }
}

pub(crate) fn open(disk: Arc<dyn Disk>, options: StoreOptions) -> Result<Arc<Store>, StoreError> {
    Store::open(disk, Arc::new(ManualClock::default()), &Seeded::new(1), options)
}

pub(crate) fn init(disk: &Arc<dyn Disk>) -> NodeId {
    Store::init(disk, &Seeded::new(2)).unwrap()
}

/// Waits for what an [`InlinePool`] has done already.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

pub(crate) fn inline() -> Arc<dyn Pool> {
    Arc::new(InlinePool)
}

/// A pool that works when it is told to.
#[derive(Default)]
pub(crate) struct Late(std::sync::Mutex<Vec<protocol::pool::Job>>);

impl Late {
    /// Does what came in so far; says how many jobs that were.
    pub(crate) fn work(&self) -> usize {
        let jobs = std::mem::take(&mut *self.0.lock().unwrap());
        jobs.into_iter().map(|job| job()).count()
    }

    /// Keeps the first job back, until what is returned is called.
    pub(crate) fn hold_first(&self) -> protocol::pool::Job {
        self.0.lock().unwrap().remove(0)
    }
}

impl Pool for Late {
    fn spawn(&self, job: protocol::pool::Job) {
        self.0.lock().unwrap().push(job);
    }
}

/// Feeds an upload with the rest of a share.
pub(crate) fn feed(upload: &mut Upload, share: &[u8]) -> Result<(), PutError> {
    for piece in share[upload.offset() as usize..].chunks(BLOCK_LEN as usize) {
        upload.push(piece)?;
    }
    Ok(())
}

/// Stores a share, the whole way.
pub(crate) fn store_share(
    store: &Arc<Store>,
    share: &[u8],
    number: u16,
    upload: u8,
) -> Result<VerifyHash, PutError> {
    let mut put = store.begin(account(), &put_of(store.id(), number, Some(share.len() as u64), upload))?;
    while put.to_resume() {
        put.resume()?;
    }
    feed(&mut put, share)?;
    let ready = put.finish()?;
    now(store.commit(&inline(), ready))
}

/// The share as it is stored, checked.
pub(crate) fn load(store: &Store, key: ShareKey) -> Result<Vec<u8>, storage_server::ReadError> {
    let share = store.open_share(key)?;
    let bytes = share.read(0, share.len() as usize)?.to_vec();
    let check = ShareCheck::new(1).finish(bytes.len() as u64, |at, buffer| {
        buffer.copy_from_slice(&bytes[at as usize..at as usize + buffer.len()]);
        Ok(())
    });
    assert_eq!(check.unwrap().hash, key.hash);
    Ok(bytes)
}
