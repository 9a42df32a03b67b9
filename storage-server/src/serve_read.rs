//! Answers to those who read: lengths, lookups, blocks, tables, slices. No account is needed.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use caps::VerifyHash;
use protocol::limits::{MAX_BATCH, MAX_BLOCKS_PER_READ, MAX_INLINE_SHARE};
use protocol::message::{
    Bulk, Bytes32, ErrorCode, Flags, Found, FoundShare, HasLengths, Lookup, ReadBlocks, ReadSlice, ReadTable,
};
use protocol::transport::Stream;

use crate::answer::{Failure, Pace, answer, begin_answer};
use crate::error::ReadError;
use crate::index::ShareKey;
use crate::pack::MAX_PACKED_LEN;
use crate::read::StoredShare;
use crate::resources::{Charge, Stop};
use crate::server::{Caller, Server};
use crate::store::Store;

/// Bytes of shares that travel inline in one answer.
const INLINE_LEN_MAX: u64 = 1024 * 1024;
/// The longest block there is.
const BLOCK_LEN_MAX: u64 = 1024 * 1024;

impl Server {
    pub(crate) async fn has_lengths(&self, ask: HasLengths, stream: &mut Stream) -> Result<(), Failure> {
        if ask.lengths.len() > MAX_BATCH {
            return Err(Failure::refused(ErrorCode::BadRequest, "too many lengths in one request"));
        }
        let stores = self.stores.clone();
        let flags = self.pool.run(move || {
            let mut any = vec![false; ask.lengths.len()];
            for store in &stores {
                let flags = store.has_lengths(ask.bucket, &ask.lengths)?;
                any.iter_mut().zip(flags).for_each(|(any, flag)| *any |= flag);
            }
            Ok::<_, ReadError>(any)
        });
        let flags = flags.await?;
        answer(stream, self.limits.stalled, &Flags { flags }).await
    }

    pub(crate) async fn lookup(
        &self,
        caller: &Caller,
        lookup: Lookup,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        let inline = lookup.inline.min(MAX_INLINE_SHARE);
        let file = self.file(caller).await?;
        let stores = self.stores.clone();
        let hash = VerifyHash::new(lookup.hash.0);
        let work = move |charge: &mut Charge| find(&stores, hash, inline.into(), charge);
        let ((found, shares), _memory) = self.charged(caller, work).await?;
        drop(file);
        begin_answer(stream, self.limits.stalled, &found).await?;
        self.send_all(stream, shares).await
    }

    pub(crate) async fn read_blocks(
        &self,
        caller: &Caller,
        read: ReadBlocks,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        if read.count > MAX_BLOCKS_PER_READ {
            return Err(Failure::refused(ErrorCode::BadRequest, "too many blocks in one request"));
        }
        let file = self.file(caller).await?;
        let stores = self.stores.clone();
        let work = move |charge: &mut Charge| {
            let share = open_any(&stores, read.hash, read.number)?;
            let blocks = share.blocks(read.first, read.count)?;
            let first = blocks.first().ok_or(ReadError::OutOfRange { what: "blocks" })?;
            if !share.in_pack() {
                // One is read while the other is sent.
                charge.take((first.end - first.start) * blocks.len().min(2) as u64)?;
            }
            let bytes = share.read(first.start, (first.end - first.start) as usize)?;
            Ok((Arc::new(share), blocks, bytes))
        };
        let ((share, blocks, mut bytes), _memory) = self.charged(caller, work).await?;
        // One out of a pack has no file open.
        let _file = (!share.in_pack()).then_some(file);
        let lens: Vec<u64> = blocks.iter().map(|block| block.end - block.start).collect();
        let pace = Pace::new(self.limits.stalled, lens.iter().sum());
        begin_answer(stream, self.limits.stalled, &Bulk { lens }).await?;
        for next in blocks.into_iter().skip(1) {
            let share = share.clone();
            let ahead = self.pool.run(move || share.read(next.start, (next.end - next.start) as usize));
            let (read, sent) = tokio::join!(ahead, pace.send(stream, bytes));
            sent?;
            // The lengths are promised: all that can be said now is that the bytes are not complete.
            bytes = read.map_err(|error| {
                tracing::error!(%error, "a stored share cannot be read on");
                Failure::Gone
            })?;
        }
        pace.send(stream, bytes).await?;
        Ok(stream.send.finish()?)
    }

    pub(crate) async fn read_table(
        &self,
        caller: &Caller,
        read: ReadTable,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        // Bounded before anything is looked up: no share has more columns.
        if read.columns.is_empty() || read.columns.len() > 257 {
            return Err(Failure::refused(ErrorCode::BadRequest, "no share has so many columns"));
        }
        let mut once = HashSet::new();
        if !read.columns.iter().all(|column| once.insert(*column)) {
            return Err(Failure::refused(ErrorCode::BadRequest, "a column is asked for twice"));
        }
        let file = self.file(caller).await?;
        let stores = self.stores.clone();
        let work = move |charge: &mut Charge| {
            let share = open_any(&stores, read.hash, read.number)?;
            share.table_slices_within(&read.columns, read.first, read.count, |len| charge.take(len))
        };
        let (slices, _memory) = self.charged(caller, work).await?;
        drop(file);
        self.bulk(stream, slices).await
    }

    pub(crate) async fn read_slice(
        &self,
        caller: &Caller,
        read: ReadSlice,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        let file = self.file(caller).await?;
        // A block and the slice of it.
        let _memory = self.memory(caller, 2 * BLOCK_LEN_MAX).await?;
        let stores = self.stores.clone();
        let slice = self.pool.run(move || {
            let share = open_any(&stores, read.hash, read.number)?;
            share.block_slice(read.segment, read.start, read.end)
        });
        let slice = slice.await?;
        drop(file);
        self.bulk(stream, vec![slice]).await
    }

    async fn bulk(&self, stream: &mut Stream, pieces: Vec<Bytes>) -> Result<(), Failure> {
        let lens = pieces.iter().map(|piece| piece.len() as u64).collect();
        begin_answer(stream, self.limits.stalled, &Bulk { lens }).await?;
        self.send_all(stream, pieces).await
    }

    /// The rest of an answer.
    async fn send_all(&self, stream: &mut Stream, pieces: Vec<Bytes>) -> Result<(), Failure> {
        let pace = Pace::new(self.limits.stalled, pieces.iter().map(|piece| piece.len() as u64).sum());
        for piece in pieces {
            pace.send(stream, piece).await?;
        }
        Ok(stream.send.finish()?)
    }
}

/// What all stores hold of an object, and the bytes that travel inline. Shares that cannot be read are left out; if there are no
/// others, that is the answer.
fn find(
    stores: &[Arc<Store>],
    hash: VerifyHash,
    inline: u64,
    charge: &mut Charge,
) -> Result<(Found, Vec<Bytes>), Stop> {
    let mut found = Found { shares: Vec::new(), descriptor: None };
    let (mut pieces, mut room, mut failed) = (Vec::new(), INLINE_LEN_MAX, None);
    for store in stores {
        for listed in store.list(hash)? {
            let here = inline.min(room) >= listed.len;
            let key = ShareKey { hash, number: listed.number };
            let mut read = || {
                if here {
                    charge.take(listed.len)?;
                    pieces.push(store.open_share(key)?.read(0, listed.len as usize)?);
                } else if found.descriptor.is_none() {
                    charge.take(listed.len.min(MAX_PACKED_LEN))?;
                    found.descriptor = Some(store.open_share(key)?.descriptor()?.0.to_vec());
                }
                Ok(())
            };
            match read() {
                Ok(()) => {}
                // It went since it was listed.
                Err(Stop::Error(ReadError::NotFound)) => continue,
                Err(Stop::Error(error)) => {
                    failed = Some(error);
                    continue;
                }
                Err(stop) => return Err(stop),
            }
            room -= if here { listed.len } else { 0 };
            let (number, store, len) = (listed.number, store.id(), listed.len);
            found.shares.push(FoundShare { number, store, len, inline: here });
        }
    }
    if !pieces.is_empty() {
        found.descriptor = None;
    }
    match failed {
        Some(error) if found.shares.is_empty() => Err(error.into()),
        _ => Ok((found, pieces)),
    }
}

/// The share, from the first store that has it and can read it.
pub(crate) fn open_any(stores: &[Arc<Store>], hash: Bytes32, number: u16) -> Result<StoredShare, ReadError> {
    open_any_at(stores, hash, number).map(|(_, share)| share)
}

/// The same, with that store.
pub(crate) fn open_any_at(
    stores: &[Arc<Store>],
    hash: Bytes32,
    number: u16,
) -> Result<(&Store, StoredShare), ReadError> {
    let key = ShareKey { hash: VerifyHash::new(hash.0), number };
    let mut failed = ReadError::NotFound;
    for store in stores {
        match store.open_share(key) {
            Err(ReadError::NotFound) => {}
            Err(error) => failed = error,
            Ok(share) => return Ok((store, share)),
        }
    }
    Err(failed)
}
