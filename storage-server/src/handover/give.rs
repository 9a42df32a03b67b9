//! One share on its way to another server: an ordinary upload, under this server's own key, and the proof that it arrived.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use encoding::Descriptor;
use protocol::message::{Bytes16, Bytes32, ErrorCode, Expected, LeaseTerms, Put, PutDone, PutReply, Request};
use protocol::session::{RequestError, read_reply};
use protocol::transport::{Stream, TransportError};
use protocol::{NodeId, Pool, Random};
use tokio::time::timeout;

use super::others::{ANSWER, Others, within};
use super::plan::Place;
use crate::error::ReadError;
use crate::index::ShareKey;
use crate::read::StoredShare;
use crate::store::Store;

/// Bytes that are read and sent at a time.
const PIECE: usize = 256 * 1024;
/// For a piece to be taken.
const STALL: Duration = Duration::from_secs(20);
/// For a share to be made durable.
const COMMIT: Duration = Duration::from_secs(60);
/// Bytes a second that the slowest disk reads whose server is still waited for.
const SLOW_DISK: u64 = 20_000_000;
/// How often a server that is busy is asked again, and after which pause.
const BUSY_RETRIES: usize = 4;
const BUSY_PAUSE: Duration = Duration::from_millis(700);

/// A share that is to be handed over.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) store: Arc<Store>,
    pub(super) key: ShareKey,
    /// Bytes of the share file.
    pub(super) len: u64,
    /// Seconds for which it is wanted there.
    pub(super) lease_s: u64,
}

/// Why a share was not handed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum GiveError {
    /// Ours cannot be read, or is not what it was: there is nothing to hand over.
    #[error("it is damaged here: {0}")]
    Here(#[from] ReadError),
    /// The other server does not take it.
    #[error(transparent)]
    There(#[from] RequestError),
    /// It said that it has it, and cannot prove it.
    #[error("it said that it has the share, and cannot prove that")]
    Lied,
}

impl From<TransportError> for GiveError {
    fn from(error: TransportError) -> Self {
        Self::There(error.into())
    }
}

/// What sharing out needs of the world.
pub(super) struct Giver {
    pub(super) others: Arc<Others>,
    pub(super) pool: Arc<dyn Pool>,
    pub(super) random: Arc<dyn Random>,
}

/// What a server said to an offer.
enum Offered {
    /// It has it, as it proved.
    Proved,
    /// It takes it from this byte on.
    Go(Stream, u64),
}

impl Giver {
    /// Hands a share over to the first of the server's stores that takes it, unless it is there; returns whether bytes were sent. Either
    /// way the server has proved under a fresh nonce that it has all of it.
    pub(super) async fn give(&self, load: &Load, to: &Place) -> Result<bool, GiveError> {
        let mut last = None;
        for store in &to.stores {
            match self.give_to(load, &to.server, store).await {
                Err(GiveError::There(error)) if is_about_this_store(&error) => last = Some(error),
                decided => return decided,
            }
        }
        Err(last.unwrap_or(RequestError::Nonsense { what: "it has no store" }).into())
    }

    async fn give_to(&self, load: &Load, server: &NodeId, store: &NodeId) -> Result<bool, GiveError> {
        let mut offered = self.offer(load, server, store).await;
        for _ in 0..BUSY_RETRIES {
            let busy = |error: &GiveError| matches!(error, GiveError::There(RequestError::Refused(refused)) if refused.code == ErrorCode::Busy);
            if !offered.as_ref().is_err_and(busy) {
                break;
            }
            tokio::time::sleep(BUSY_PAUSE).await;
            offered = self.offer(load, server, store).await;
        }
        let Offered::Go(stream, from) = offered? else { return Ok(false) };
        if let Err(error) = self.send(load, stream, from).await {
            // It says that what it got is not intact: then ours is not, or it lies.
            if matches!(&error, GiveError::There(RequestError::Refused(refused)) if refused.code == ErrorCode::Corrupt)
            {
                self.proof(load, &[0; 32]).await?;
            }
            return Err(error);
        }
        match self.offer(load, server, store).await? {
            Offered::Proved => Ok(true),
            Offered::Go(..) => Err(GiveError::Lied),
        }
    }

    async fn offer(&self, load: &Load, server: &NodeId, store: &NodeId) -> Result<Offered, GiveError> {
        let share = self.open(load).await?;
        let (descriptor, _) = share.descriptor()?;
        let block_len = match Descriptor::parse(&descriptor) {
            Ok(descriptor) => descriptor.geometry.params().block_len(),
            Err(_) => return Err(ReadError::Corrupt.into()),
        };
        let nonce = Bytes32(self.random.bytes());
        let hash = Bytes32(*load.key.hash.as_bytes());
        let put = Put {
            upload: Bytes16(upload_id(load)),
            number: load.key.number,
            store: *store,
            block_len,
            len: Some(load.len),
            expected: Some(Expected { hash, nonce }),
            lease: LeaseTerms { tag: Bytes16(lease_tag()), duration_s: Some(load.lease_s) },
        };
        let session = self.others.session(server).await?;
        // It reads what it has before it answers.
        let patience = ANSWER + Duration::from_secs(load.len / SLOW_DISK);
        let asked = within(patience, async {
            let mut stream = session.open(&Request::Put(put)).await?;
            let reply: PutReply = read_reply(&mut stream).await?;
            Ok((reply, stream))
        });
        match asked.await? {
            (PutReply::Go(from), stream) => Ok(Offered::Go(stream, from)),
            (PutReply::Have(proof), _) => {
                let right = self.proof(load, &Expected::proof_key(&nonce, store)).await?;
                // blake3's own comparison takes constant time.
                match blake3::Hash::from_bytes(right) == blake3::Hash::from_bytes(proof.0) {
                    true => Ok(Offered::Proved),
                    false => Err(GiveError::Lied),
                }
            }
        }
    }

    async fn send(&self, load: &Load, mut stream: Stream, from: u64) -> Result<(), GiveError> {
        let share = Arc::new(self.open(load).await?);
        let mut at = from;
        while at < load.len {
            let len = (load.len - at).min(PIECE as u64) as usize;
            let (source, from) = (share.clone(), at);
            let piece = self.pool.run(move || source.read(from, len)).await?;
            at += len as u64;
            push(&mut stream, piece).await?;
        }
        stream.send.finish()?;
        let done: PutDone = within(COMMIT, read_reply(&mut stream)).await?;
        let right = done.hash == Bytes32(*load.key.hash.as_bytes());
        if right { Ok(()) } else { Err(GiveError::Lied) }
    }

    async fn open(&self, load: &Load) -> Result<StoredShare, GiveError> {
        let (store, key) = (load.store.clone(), load.key);
        Ok(self.pool.run(move || store.open_share(key)).await?)
    }

    /// What proves that a share is here, which shows that ours is intact.
    async fn proof(&self, load: &Load, key: &[u8; 32]) -> Result<[u8; 32], GiveError> {
        let (share, key) = (self.open(load).await?, *key);
        let mut proof = self.pool.run(move || share.proof(&key)).await?;
        loop {
            let (back, done) = self
                .pool
                .run(move || {
                    let done = proof.step();
                    (proof, done)
                })
                .await;
            proof = back;
            if let Some(done) = done? {
                return Ok(done);
            }
        }
    }
}

async fn push(stream: &mut Stream, piece: Bytes) -> Result<(), GiveError> {
    let sent = timeout(STALL, stream.send.send(piece)).await;
    let Err(error) = sent.unwrap_or(Err(TransportError::Lost { reason: "it takes no data".into() })) else {
        return Ok(());
    };
    // A server that stops reading may have said why.
    match within(STALL, read_reply::<PutDone>(stream)).await {
        Err(RequestError::Refused(refused)) => Err(RequestError::Refused(refused).into()),
        _ => Err(error.into()),
    }
}

/// The same share is found again after an interruption.
fn upload_id(load: &Load) -> [u8; 16] {
    let share = [&load.key.hash.as_bytes()[..], &load.key.number.to_le_bytes()].concat();
    let hash = blake3::derive_key("sarsen v1 handover upload id", &share);
    std::array::from_fn(|i| hash[i])
}

/// One for all that this server hands over: what it says of an object's lease later counts.
fn lease_tag() -> [u8; 16] {
    let hash = blake3::derive_key("sarsen v1 handover lease tag", &[]);
    std::array::from_fn(|i| hash[i])
}

/// Whether another store of the same server may take what this one does not.
fn is_about_this_store(error: &RequestError) -> bool {
    use ErrorCode::{NoSpace, NotFound, ReadOnly, StoreFailed};
    let RequestError::Refused(refused) = error else { return false };
    matches!(refused.code, NoSpace | NotFound | ReadOnly | StoreFailed)
}
