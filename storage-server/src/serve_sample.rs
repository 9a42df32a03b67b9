//! Random chunks of a share with their proofs, for whoever wants to know that it is here. No account is needed.

use std::sync::Arc;

use encoding::{Descriptor, Sampled, SampledShare, ShareLayout};
use protocol::limits::MAX_SHARES;
use protocol::message::{Bulk, ErrorCode, Sample};
use protocol::transport::Stream;
use tokio::time::timeout;

use crate::answer::{Failure, Pace, begin_answer};
use crate::disk::DiskFile;
use crate::error::ReadError;
use crate::index::ShareKey;
use crate::read::{MAX_COLUMN_LEN, StoredShare};
use crate::resources::Charge;
use crate::serve_read::open_any_at;
use crate::server::{Caller, Server};
use crate::store::Store;

impl Server {
    pub(crate) async fn sample(
        &self,
        caller: &Caller,
        sample: Sample,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        if sample.chunks.is_empty() || sample.chunks.len() > MAX_SHARES {
            return Err(Failure::refused(ErrorCode::BadRequest, "a sample is of 1 to 512 chunks"));
        }
        let file = self.file(caller).await?;
        // A short request has a whole block read for each chunk: few of them at a time, whoever asks.
        let turn = timeout(self.limits.header, self.samplers.acquire()).await.ok().and_then(Result::ok);
        let turn = turn.ok_or(Failure::refused(ErrorCode::Busy, "too much is under way"))?;
        let stores = self.stores.clone();
        let sample = Arc::new(sample);
        let work = move |charge: &mut Charge| {
            let (store, share) = open_any_at(&stores, sample.hash, sample.number)?;
            share.sample_within(store, sample.chunks.clone(), |len| charge.take(len))
        };
        let (proof, _memory) = self.charged(caller, work).await?;
        drop((file, turn));
        let pace = Pace::new(self.limits.stalled, proof.len() as u64);
        begin_answer(stream, self.limits.stalled, &Bulk { lens: vec![proof.len() as u64] }).await?;
        pace.send(stream, proof.into()).await?;
        Ok(stream.send.finish()?)
    }
}

impl Store {
    /// Chunks of a share's blocks with their proofs (`docs/spec/objects.md`, "Samples").
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn sample(&self, key: ShareKey, chunks: Vec<u64>) -> Result<Vec<u8>, ReadError> {
        self.open_share(key)?.sample_within(self, chunks, |_| Ok(()))
    }
}

impl StoredShare {
    /// Chunks of its blocks with their proofs. Before anything large is read, `room` is asked for that many bytes.
    fn sample_within<E: From<ReadError>>(
        &self,
        store: &Store,
        chunks: Vec<u64>,
        room: impl FnOnce(u64) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        let (descriptor, layout) = self.descriptor()?;
        let descriptor = Descriptor::parse(&descriptor).map_err(|_| ReadError::Corrupt)?;
        let geometry = descriptor.geometry;
        let sampled = Sampled::new(geometry, chunks).ok_or(ReadError::OutOfRange { what: "chunks" })?;
        let len = geometry.column_len();
        if len > MAX_COLUMN_LEN {
            return Err(ReadError::TooLarge { len, max: MAX_COLUMN_LEN }.into());
        }
        room(len + u64::from(geometry.params().block_len()) + sampled.proof_len())?;
        let column = self.read(layout.column(self.number()).start, len as usize)?;
        let groups = self.file().and_then(|_| store.kept_groups(self.key(), &descriptor));
        Ok(sampled.prove(&column, &mut Opened { share: self, layout, groups })?)
    }
}

/// A share, and what is kept of its groups.
struct Opened<'s> {
    share: &'s StoredShare,
    layout: ShareLayout,
    groups: Option<Arc<dyn DiskFile>>,
}

impl SampledShare for Opened<'_> {
    type Error = ReadError;

    fn read(&mut self, segment: u64, start: u64, bytes: &mut [u8]) -> Result<(), ReadError> {
        self.share.read_into(self.layout.block(segment).start + start, bytes)
    }

    fn group_values(&mut self, segment: u64, values: &mut [u8]) -> bool {
        let at = segment * values.len() as u64;
        self.groups.as_ref().is_some_and(|file| file.read_exact_at(values, at).is_ok())
    }
}
