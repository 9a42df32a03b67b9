//! Download: find shares, fetch the blocks of k of them at a time, believe nothing that does not match H, and decode.
//!
//! Slow servers are hedged, failed ones replaced, liars named. A server costs time, never data.

mod error;
mod fetch;
mod holdings;
mod range;
mod search;
mod sink;
mod table;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use caps::{Cap, ImmutableRead, Literal};
use encoding::{ContentKey, Descriptor, Geometry, Kind, Params, Root, SegmentDecoder, SegmentEncoder};
use protocol::message::Bytes32;
use tokio::task::JoinHandle;

pub use error::{Complaint, DownloadError, ServerAnswer};
pub use sink::{BlockingSink, FileSink, Sink};

use crate::Client;
use crate::progress::Transfer;
use crate::upload::ReadAt;
use holdings::Holdings;
use search::Search;
use table::Table;

/// Bytes of ciphertext that one batch of segments may hold, unless a single segment is larger.
const BATCH_BYTES: u64 = 3 << 20;
/// Batches fetched at once.
const BATCHES: usize = 3;
/// Ranges up to this many bytes are fetched as slices of blocks instead of whole segments.
const SLICE_MAX: u64 = 128 * 1024;

/// Which part of a file is wanted, and who watches.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// The bytes wanted; `None` for all. What lies past the end of the file is left out.
    pub range: Option<Range<u64>>,
    /// Watches and limits the transfer.
    pub transfer: Transfer,
}

/// What became of a download.
#[derive(Clone, Debug, Default)]
pub struct GetReport {
    /// Bytes delivered.
    pub bytes: u64,
    /// Servers that lied, failed or were slow, and what they did. The bytes delivered are right all the same.
    pub complaints: Vec<Complaint>,
}

impl Client {
    /// Fetches what `cap` names into `sink`.
    ///
    /// # Errors
    ///
    /// [`DownloadError`]. Bytes handed to the sink before an error are right.
    pub async fn get(
        &self,
        cap: &Cap,
        sink: &mut dyn Sink,
        options: GetOptions,
    ) -> Result<GetReport, DownloadError> {
        if let Cap::Literal(literal) = cap {
            return get_literal(literal, sink, options).await;
        }
        let reader = self.open_object(cap).await?;
        reader.read_into(sink, options).await
    }

    /// Finds the object that `cap` names, for reading ranges of it.
    ///
    /// # Errors
    ///
    /// [`DownloadError`].
    pub async fn open_object(&self, cap: &Cap) -> Result<ObjectReader, DownloadError> {
        let Cap::ImmutableRead(cap) = cap else {
            return Err(DownloadError::NotReadable { kind: cap.kind() });
        };
        ObjectReader::open(self.clone(), cap.clone()).await
    }
}

/// Writes what a literal holds: no client and no grid is needed.
///
/// # Errors
///
/// [`DownloadError::Range`], [`DownloadError::Sink`].
pub async fn get_literal(
    literal: &Literal,
    sink: &mut dyn Sink,
    options: GetOptions,
) -> Result<GetReport, DownloadError> {
    let range = clip(&options.range, literal.bytes.len() as u64)?;
    let piece = Bytes::copy_from_slice(&literal.bytes[range.start as usize..range.end as usize]);
    let bytes = piece.len() as u64;
    options.transfer.expect(bytes);
    options.transfer.advance(bytes);
    sink.write(vec![piece]).await.map_err(DownloadError::Sink)?;
    Ok(GetReport { bytes, complaints: Vec::new() })
}

fn clip(range: &Option<Range<u64>>, size: u64) -> Result<Range<u64>, DownloadError> {
    match range {
        None => Ok(0..size),
        Some(range) if range.start >= size || range.end <= range.start => {
            Err(DownloadError::Range { start: range.start, size })
        }
        Some(range) => Ok(range.start..range.end.min(size)),
    }
}

/// An object that was found: its descriptor is verified, its key is right, and enough shares are known. Clones share all of it.
#[derive(Clone)]
pub struct ObjectReader(Arc<Object>);

pub(crate) struct Object {
    client: Client,
    hash: Bytes32,
    descriptor: Descriptor,
    key: ContentKey,
    holdings: Mutex<Holdings>,
    search: tokio::sync::Mutex<Search>,
    table: Table,
    decoders: Mutex<Vec<SegmentDecoder>>,
    complaints: Mutex<Vec<Complaint>>,
}

impl ObjectReader {
    async fn open(client: Client, cap: ImmutableRead) -> Result<Self, DownloadError> {
        let mut search = Search::new(&client, &cap);
        let (holdings, complaints) = (Mutex::new(Holdings::default()), Mutex::default());
        search.until(&client, &holdings, &complaints, cap.needed.into()).await;
        let Some(descriptor) = search.descriptor() else {
            return Err(search.not_enough(cap.needed, &lock(&holdings)));
        };
        let descriptor = descriptor.clone();
        let key = check(&cap, &descriptor)?;
        if lock(&holdings).distinct() < usize::from(cap.needed) {
            return Err(search.not_enough(cap.needed, &lock(&holdings)));
        }
        Ok(Self(Arc::new(Object {
            table: Table::new(descriptor.geometry),
            client,
            hash: Bytes32(*cap.hash.as_bytes()),
            descriptor,
            key,
            holdings,
            search: tokio::sync::Mutex::new(search),
            decoders: Mutex::default(),
            complaints,
        })))
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.0.geometry().plaintext_len()
    }

    /// Servers that lied, failed or were slow so far.
    pub fn complaints(&self) -> Vec<Complaint> {
        lock(&self.0.complaints).clone()
    }

    /// Reads a range of the file into memory: cheap for small ones, since only the groups around it are fetched.
    ///
    /// # Errors
    ///
    /// [`DownloadError`].
    pub async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, DownloadError> {
        let range = clip(&Some(range), self.size())?;
        if range.end - range.start <= SLICE_MAX
            && let Some(bytes) = range::read_slices(&self.0, range.clone()).await?
        {
            return Ok(bytes);
        }
        let mut out = Vec::new();
        self.read_into(&mut out, GetOptions { range: Some(range), ..GetOptions::default() }).await?;
        Ok(out)
    }

    /// Reads the file, or a range of it, into a sink.
    ///
    /// # Errors
    ///
    /// [`DownloadError`]. Bytes handed to the sink before an error are right.
    pub async fn read_into(
        &self,
        sink: &mut dyn Sink,
        options: GetOptions,
    ) -> Result<GetReport, DownloadError> {
        let range = clip(&options.range, self.size())?;
        options.transfer.expect(range.end - range.start);
        if range.end - range.start <= SLICE_MAX
            && options.range.is_some()
            && let Some(bytes) = range::read_slices(&self.0, range.clone()).await?
        {
            let bytes = Bytes::from(bytes);
            options.transfer.advance(bytes.len() as u64);
            let delivered = bytes.len() as u64;
            sink.write(vec![bytes]).await.map_err(DownloadError::Sink)?;
            return Ok(GetReport { bytes: delivered, complaints: self.complaints() });
        }
        self.stream(range.clone(), sink, &options.transfer).await?;
        Ok(GetReport { bytes: range.end - range.start, complaints: self.complaints() })
    }

    async fn stream(
        &self,
        range: Range<u64>,
        sink: &mut dyn Sink,
        transfer: &Transfer,
    ) -> Result<(), DownloadError> {
        let geometry = self.0.geometry();
        let segments = geometry.segments_of(&range);
        let step = (BATCH_BYTES / geometry.params().segment_len()).clamp(1, 16);
        // A segment that is larger than a batch is fetched alone: memory stays bounded whatever k is.
        let at_once = if geometry.params().segment_len() > BATCH_BYTES { 1 } else { BATCHES };
        let mut next = segments.start;
        let mut batches: VecDeque<Batch> = VecDeque::new();
        loop {
            while batches.len() < at_once && next < segments.end {
                let end = segments.end.min(next + step);
                transfer.throttle((end - next) * geometry.params().segment_len()).await;
                let object = self.0.clone();
                let wanted = next..end;
                let task = tokio::spawn(async move { fetch::batch(&object, wanted).await });
                batches.push_back(Batch { first: next, task });
                next = end;
            }
            let Some(mut batch) = batches.pop_front() else { return Ok(()) };
            let decoded = (&mut batch.task).await.map_err(|_| DownloadError::Internal)??;
            let mut pieces = Vec::new();
            for (segment, parts) in (batch.first..).zip(decoded) {
                trim(geometry.segment_data_range(segment).start, parts, &range, &mut pieces);
            }
            let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
            sink.write(pieces).await.map_err(DownloadError::Sink)?;
            transfer.advance(bytes);
        }
    }

    /// How many of the first bytes of `file` are already this object's, in whole segments: what an interrupted download left is
    /// encrypted again and held against the block roots, so nothing on a disk is simply believed.
    ///
    /// # Errors
    ///
    /// [`DownloadError`] if the table of block roots cannot be fetched.
    pub async fn matching_prefix(&self, file: Arc<dyn ReadAt>) -> Result<u64, DownloadError> {
        let geometry = *self.0.geometry();
        for segment in 0..geometry.segments() {
            let range = geometry.segment_data_range(segment);
            let roots = fetch::data_roots(&self.0, segment).await?;
            let (object, file) = (self.0.clone(), file.clone());
            let matches = move || object.matches(segment, &*file, &roots);
            if !self.0.client.pool().run(matches).await {
                return Ok(range.start);
            }
        }
        Ok(self.size())
    }
}

/// A batch on its way; given up when dropped.
struct Batch {
    first: u64,
    task: JoinHandle<Result<Vec<Vec<Bytes>>, DownloadError>>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The parts of a segment (whose first byte is number `start` of the file) that lie in `range`.
fn trim(mut start: u64, parts: Vec<Bytes>, range: &Range<u64>, pieces: &mut Vec<Bytes>) {
    for part in parts {
        let end = start + part.len() as u64;
        let (from, to) = (range.start.clamp(start, end), range.end.clamp(start, end));
        if from < to {
            pieces.push(part.slice((from - start) as usize..(to - start) as usize));
        }
        start = end;
    }
}

/// Holds the descriptor against the cap, and derives the content key.
fn check(cap: &ImmutableRead, descriptor: &Descriptor) -> Result<ContentKey, DownloadError> {
    let (id, _) = descriptor.open_cap(cap)?;
    match descriptor.kind {
        Kind::Direct => Ok(ContentKey::new(&id)),
        Kind::Tree => Err(DownloadError::Tree),
    }
}

impl Object {
    /// Whether the file holds this segment where it belongs.
    fn matches(&self, segment: u64, file: &dyn ReadAt, roots: &[Root]) -> bool {
        let range = self.geometry().segment_data_range(segment);
        let params = self.geometry().params();
        let data_only = Params::with_block_len(params.needed(), params.needed(), params.block_len());
        let mut encoder = SegmentEncoder::new(data_only.expect("k-of-k is possible wherever k-of-N is"));
        let mut plaintext = vec![0; (range.end - range.start) as usize];
        let last = segment + 1 == self.geometry().segments();
        file.len().is_ok_and(|len| len >= range.end)
            && file.read_exact_at(range.start, &mut plaintext).is_ok()
            && encoder
                .encode(&self.key, segment, &plaintext, last)
                .is_ok_and(|encoded| encoded.roots == roots)
    }

    fn geometry(&self) -> &Geometry {
        &self.descriptor.geometry
    }

    fn needed(&self) -> u16 {
        self.geometry().params().needed()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}
