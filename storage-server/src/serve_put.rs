//! Answers to those who store: put, lease, cancel.

use std::sync::Arc;

use bytes::BytesMut;
use caps::VerifyHash;
use encoding::Params;
use protocol::limits::MAX_BATCH;
use protocol::message::{
    Bytes32, CancelLease, ErrorCode, Expected, Flags, Lease, Put, PutDone, PutReply, WireError,
};
use protocol::transport::{RecvHalf, Stream};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::answer::{Failure, answer, begin_answer};
use crate::error::{PutError, ReadError};
use crate::index::ShareKey;
use crate::pack::MAX_PACKED_LEN;
use crate::read::Proof;
use crate::senders::Sender;
use crate::server::{Caller, Server};
use crate::store::Store;
use crate::upload::Upload;

impl Server {
    pub(crate) async fn put(&self, caller: &Caller, put: &Put, stream: &mut Stream) -> Result<(), Failure> {
        self.admit(caller)?;
        if Params::with_block_len(1, 1, put.block_len).is_err() {
            return Err(Failure::refused(ErrorCode::BadRequest, "no object has blocks of this length"));
        }
        let store = self.store(&put.store)?;
        store.check_writable()?;
        if let Some(expected) = &put.expected
            && let Some(proof) = self.prove(caller, store, put, expected, &mut *stream.recv).await?
        {
            return answer(stream, self.limits.stalled, &PutReply::Have(proof)).await;
        }
        let blocks = store.begin_blocks(&caller.account, put);
        let _file = if blocks { Some(self.file(caller).await?) } else { None };
        let begun = match self.begin(caller, store, put).await {
            Err(PutError::Busy) if self.senders.dislodge(&caller.account, put).await => {
                self.begin(caller, store, put).await
            }
            begun => begun,
        };
        let mut upload = self.resume(caller, store, begun?, &mut *stream.recv).await?;
        let sender = self.senders.list(&caller.account, put);
        // What stays in memory until it is committed; larger shares pass through, block by block.
        let _memory = self.memory(caller, memory_of(put)).await?;
        begin_answer(stream, self.limits.stalled, &PutReply::Go(upload.offset())).await?;
        upload = self.body(caller, put, upload, &sender, &mut *stream.recv).await?;
        let ready = match upload.stays_small(0) {
            true => upload.finish(),
            false => self.pool.run(move || upload.finish()).await,
        };
        let hash = store.commit(&self.pool, ready?).await?;
        answer(stream, self.limits.stalled, &PutDone { hash: Bytes32(*hash.as_bytes()) }).await
    }

    /// If the share is here and intact: proves that, and leases it, durably.
    async fn prove(
        &self,
        caller: &Caller,
        store: &Arc<Store>,
        put: &Put,
        expected: &Expected,
        recv: &mut dyn RecvHalf,
    ) -> Result<Option<Bytes32>, Failure> {
        let key = ShareKey { hash: VerifyHash::new(expected.hash.0), number: put.number };
        let (at, nonce) = (store.clone(), Expected::proof_key(&expected.nonce, &put.store));
        let _file = self.file(caller).await?;
        let held = self.memory(caller, MAX_PACKED_LEN).await?;
        let opened = self.pool.run(move || {
            let _held = held;
            let mut proof = at.open_share(key)?.proof(&nonce)?;
            // A small one is in memory already.
            if proof.is_long() { Ok((Some(proof), None)) } else { Ok((None, proof.step()?)) }
        });
        let read = match opened.await {
            Ok((Some(proof), _)) => {
                tokio::select! {
                    biased;
                    done = self.read_through(caller, store, proof) => done?,
                    failure = abandoned(caller, recv) => return Err(failure),
                }
            }
            Ok((None, done)) => Ok(done),
            Err(error) => Err(error),
        };
        let hash = match read {
            Ok(Some(hash)) => hash,
            Err(error @ (ReadError::Busy(_) | ReadError::Index(_))) => return Err(error.into()),
            // One that is here and cannot be read, or is not what it was, is taken again.
            Ok(None) | Err(_) => return Ok(None),
        };
        let leased = store.lease_known(&self.pool, caller.account, put.lease, vec![key.hash]).await?;
        // The lease is on the object: this very share may have been collected while it was read, and others of the object come again since.
        let at = store.clone();
        let here = self.pool.run(move || at.open_share(key).is_ok()).await;
        Ok((here && leased == [true]).then_some(Bytes32(hash)))
    }

    /// Reads all of a share file: one at a time for each key and store, with no more memory than a piece takes.
    async fn read_through(
        &self,
        caller: &Caller,
        store: &Arc<Store>,
        mut proof: Proof,
    ) -> Result<Result<Option<[u8; 32]>, ReadError>, Failure> {
        let _alone = caller.resources.alone(store.id()).await;
        loop {
            let held = self.memory(caller, proof.buffer_len()).await?;
            let step = self.pool.run(move || {
                let _held = held;
                let step = proof.step();
                (proof, step)
            });
            let (back, done) = step.await;
            match done {
                Ok(None) => proof = back,
                Err(error) => {
                    let share = error.to_string();
                    tracing::error!(store = %store.id(), %share, "a stored share was found bad: it is taken again");
                    return Ok(Err(error));
                }
                done => return Ok(done),
            }
        }
    }

    async fn begin(&self, caller: &Caller, store: &Arc<Store>, put: &Put) -> Result<Upload, PutError> {
        if !store.begin_blocks(&caller.account, put) {
            return store.begin(caller.account, put);
        }
        let (at, account, put) = (store.clone(), caller.account, put.clone());
        self.pool.run(move || at.begin(account, &put)).await
    }

    /// Hashes what an earlier attempt left, for as long as somebody waits for it.
    async fn resume(
        &self,
        caller: &Caller,
        store: &Arc<Store>,
        mut upload: Upload,
        recv: &mut dyn RecvHalf,
    ) -> Result<Upload, Failure> {
        if !upload.to_resume() {
            return Ok(upload);
        }
        let work = async {
            let _alone = caller.resources.alone(store.id()).await;
            while upload.to_resume() {
                let held = self.memory(caller, upload.block_len().into()).await?;
                let step = self.pool.run(move || {
                    let _held = held;
                    let done = upload.resume();
                    (upload, done)
                });
                let (back, done) = step.await;
                upload = back;
                done?;
            }
            Ok(upload)
        };
        tokio::select! {
            biased;
            done = work => done,
            failure = abandoned(caller, recv) => Err(failure),
        }
    }

    /// Takes the rest of a share: while one block is hashed and written, the next comes in.
    async fn body(
        &self,
        caller: &Caller,
        put: &Put,
        mut upload: Upload,
        sender: &Sender,
        recv: &mut dyn RecvHalf,
    ) -> Result<Upload, Failure> {
        let block_len = upload.block_len() as usize;
        let in_memory = put.len.is_some_and(|len| len <= MAX_PACKED_LEN);
        let mut received = upload.offset();
        let mut next = async |buffer: BytesMut| {
            // One byte more than was stated shows that there are more.
            let left = put.len.map_or(u64::MAX, |len| len.saturating_sub(received).saturating_add(1));
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(block_len);
            let room = if in_memory { None } else { Some(self.memory(caller, block_len as u64).await?) };
            let piece = tokio::select! {
                biased;
                piece = self.piece(sender, recv, buffer, most) => piece?,
                () = sender.must_make_way() => {
                    return Err(Failure::refused(ErrorCode::Busy, "another sends the same share, and this one fell silent"));
                }
            };
            received += piece.len() as u64;
            Ok((piece, room))
        };
        let (mut piece, mut room) = next(BytesMut::new()).await?;
        let mut spare = BytesMut::new();
        while !piece.is_empty() {
            if upload.stays_small(piece.len()) {
                upload.push(&piece)?;
                drop(room);
                (piece, room) = next(piece).await?;
                continue;
            }
            let write = self.pool.run(move || {
                let result = upload.push(&piece);
                drop(room);
                (upload, piece, result)
            });
            let (written, following) = tokio::join!(write, next(std::mem::take(&mut spare)));
            let result;
            (upload, spare, result) = written;
            result?;
            (piece, room) = following?;
            if let Some(sync) = upload.background_sync() {
                self.pool.spawn(Box::new(sync));
            }
        }
        Ok(upload)
    }

    /// The next `len` bytes, fewer at the end of the stream.
    async fn piece(
        &self,
        sender: &Sender,
        recv: &mut dyn RecvHalf,
        buffer: BytesMut,
        len: usize,
    ) -> Result<BytesMut, Failure> {
        let mut buffer = buffer;
        buffer.clear();
        let fill = async {
            while buffer.len() < len {
                let room = len - buffer.len();
                // Room grows with what arrives: small shares are many.
                buffer.reserve(room.min(buffer.len().max(16 * 1024)));
                let mut limited = (&mut *recv).take(room as u64);
                match timeout(self.limits.stalled, limited.read_buf(&mut buffer)).await {
                    Ok(Ok(0)) => break,
                    Ok(Ok(_)) => sender.heard(),
                    Ok(Err(_)) | Err(_) => return Err(Failure::Gone),
                }
            }
            Ok(())
        };
        timeout(self.limits.block, fill).await.unwrap_or(Err(Failure::Gone))?;
        Ok(buffer)
    }

    pub(crate) async fn lease(
        &self,
        caller: &Caller,
        lease: Lease,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        self.admit(caller)?;
        let hashes = bounded_hashes(&lease.hashes)?;
        let mut flags = AnyStore::new(hashes.len());
        for store in &self.stores {
            flags.add(store.lease(&self.pool, caller.account, lease.terms, hashes.clone()).await);
        }
        answer(stream, self.limits.stalled, &flags.into_flags()?).await
    }

    pub(crate) async fn cancel_lease(
        &self,
        caller: &Caller,
        cancel: CancelLease,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        self.admit(caller)?;
        let hashes = bounded_hashes(&cancel.hashes)?;
        let mut flags = AnyStore::new(hashes.len());
        let (tag, until) = (cancel.tag.0, cancel.only.map_or(u64::MAX, |only| only.made_until_s));
        let stores: Vec<_> = self
            .stores
            .iter()
            .filter(|store| cancel.only.is_none_or(|only| only.store == store.id()))
            .collect();
        if stores.is_empty() {
            return Err(Failure::refused(ErrorCode::NotFound, "no such store"));
        }
        for store in stores {
            let hashes = hashes.clone();
            flags.add(store.cancel_old_lease(&self.pool, caller.account, tag, hashes, until).await);
        }
        answer(stream, self.limits.stalled, &flags.into_flags()?).await
    }
}

/// What a share that stays in memory takes: itself, and the piece that it is made of. Pieces of larger ones are charged as they come.
fn memory_of(put: &Put) -> u64 {
    match put.len {
        Some(len) if len <= MAX_PACKED_LEN => len + u64::from(put.block_len).min(len + 1),
        _ => MAX_PACKED_LEN,
    }
}

/// Returns when whoever offers a share no longer waits for the answer, or does not wait with its bytes.
async fn abandoned(caller: &Caller, recv: &mut dyn RecvHalf) -> Failure {
    let stream = async {
        match recv.read(&mut [0]).await {
            // It will send nothing, which is no reason not to be told.
            Ok(0) => std::future::pending().await,
            Ok(_) => Failure::refused(ErrorCode::BadRequest, "a share was sent before it was asked for"),
            Err(_) => Failure::Gone,
        }
    };
    tokio::select! {
        biased;
        failure = stream => failure,
        () = caller.gone() => Failure::Gone,
    }
}

pub(crate) fn bounded_hashes(hashes: &[Bytes32]) -> Result<Vec<VerifyHash>, Failure> {
    if hashes.len() > MAX_BATCH {
        return Err(Failure::refused(ErrorCode::BadRequest, "too many objects in one request"));
    }
    Ok(hashes.iter().map(|hash| VerifyHash::new(hash.0)).collect())
}

/// Yes where any store says yes; an error only if no store could answer.
struct AnyStore {
    flags: Vec<bool>,
    answered: bool,
    error: Option<PutError>,
}

impl AnyStore {
    fn new(count: usize) -> Self {
        Self { flags: vec![false; count], answered: false, error: None }
    }

    fn add(&mut self, answer: Result<Vec<bool>, PutError>) {
        match answer {
            Ok(flags) => {
                self.answered = true;
                self.flags.iter_mut().zip(flags).for_each(|(any, flag)| *any |= flag);
            }
            Err(_) if matches!(self.error, Some(PutError::OverQuota { .. })) => {}
            Err(error) => self.error = Some(error),
        }
    }

    fn into_flags(self) -> Result<Flags, Failure> {
        match self.error {
            // That it is not leased is not to be taken for its not being here.
            Some(error)
                if !self.answered
                    || self.flags.contains(&false)
                    || matches!(error, PutError::OverQuota { .. }) =>
            {
                Err(Failure::Refused(WireError::new(error.code(), error.to_string())))
            }
            _ => Ok(Flags { flags: self.flags }),
        }
    }
}
