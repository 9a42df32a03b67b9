//! Download: find shares, fetch the blocks of k of them at a time, believe nothing that does not match H, and decode.
//!
//! Slow servers are hedged, failed ones replaced, liars named. A server costs time, never data.

mod budget;
mod error;
mod fetch;
mod file_tree;
mod holdings;
mod object;
mod range;
mod reader;
mod search;
mod sink;
mod table;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use caps::{Cap, ImmutableRead, Literal};
use encoding::{
    ContentKey, Kind, ObjectId, Params, Root, Sections, SegmentDecoder, SegmentEncoder, open_tree,
};
use tokio::task::JoinHandle;

pub(crate) use budget::Budget;
pub use error::{Complaint, DownloadError, ServerAnswer};
pub(crate) use fetch::{Blocks, FetchError, data_roots, fetch_share, gather};
pub(crate) use file_tree::FileTree;
pub(crate) use holdings::KnownShare;
pub(crate) use object::{Object, ObjectRef};
pub(crate) use reader::Body;
pub use reader::ObjectReader;
pub(crate) use search::{LookupError, ask};
pub use sink::{BlockingSink, FileSink, Sink};
pub(crate) use table::Table;

use crate::Client;
use crate::progress::Transfer;
use crate::upload::ReadAt;

/// Bytes of ciphertext that one batch of segments may hold, unless a single segment is larger.
const BATCH_BYTES: u64 = 3 << 20;
/// Batches fetched at once.
const BATCHES: usize = 3;
/// Ranges up to this many bytes are fetched as slices of blocks instead of whole segments.
const SLICE_MAX: u64 = 128 * 1024;
/// The longest payload of a tree object, in bytes. Index nodes have 40 KiB at most.
const MAX_TREE_LEN: u64 = 16 << 20;

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
        match cap {
            Cap::ImmutableRead(cap) if cap.directory => Err(DownloadError::Directory),
            Cap::ImmutableRead(cap) => ObjectReader::open(self.clone(), cap).await,
            cap => Err(DownloadError::NotReadable { kind: cap.kind() }),
        }
    }

    /// Fetches a tree object: both its sections, and its descriptor's salt. What they say is for the caller to judge.
    ///
    /// # Errors
    ///
    /// [`DownloadError`]; [`DownloadError::NotATree`] if `cap` names a direct object.
    pub async fn get_tree(&self, cap: &ImmutableRead) -> Result<(Sections, [u8; 32]), DownloadError> {
        DirectReader::open(self.clone(), cap).await?.sections().await
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

/// An object that was found, with its content key.
pub(crate) struct Opened {
    object: Arc<Object>,
    key: ContentKey,
    decoders: Mutex<Vec<SegmentDecoder>>,
}

impl std::ops::Deref for Opened {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.object
    }
}

impl Opened {
    pub(crate) fn new(object: Arc<Object>, key: ContentKey) -> Arc<Self> {
        Arc::new(Self { object, key, decoders: Mutex::default() })
    }

    /// All of a tree object's plaintext.
    pub(crate) async fn tree_payload(self: &Arc<Self>) -> Result<Vec<u8>, DownloadError> {
        let len = self.geometry().plaintext_len();
        if len > MAX_TREE_LEN {
            return Err(DownloadError::TreeTooLong { len });
        }
        let mut payload = Vec::new();
        self.stream(0..len, &mut payload, &Transfer::default()).await?;
        Ok(payload)
    }

    pub(crate) async fn stream(
        self: &Arc<Self>,
        range: Range<u64>,
        sink: &mut dyn Sink,
        transfer: &Transfer,
    ) -> Result<(), DownloadError> {
        let geometry = self.geometry();
        let segments = geometry.segments_of(&range);
        let segment_len = geometry.params().segment_len();
        let step = (BATCH_BYTES / segment_len).clamp(1, 16);
        // A segment that is larger than a batch is fetched alone: memory stays bounded whatever k is.
        let at_once = if segment_len > BATCH_BYTES { 1 } else { BATCHES };
        let mut next = segments.start;
        let mut batches: VecDeque<Batch> = VecDeque::new();
        loop {
            while batches.len() < at_once && next < segments.end {
                let left = segments.end - next;
                let budget = &self.client.0.budget;
                let lent = match batches.is_empty() {
                    true => budget.for_next(step.min(left), segment_len).await,
                    false => budget.for_ahead(step.min(left), segment_len),
                };
                let Some((count, lent)) = lent else { break };
                transfer.throttle(count * segment_len).await;
                let object = self.clone();
                let (wanted, transfer) = (next..next + count, transfer.clone());
                let task = tokio::spawn(async move { fetch::batch(&object, wanted, &transfer).await });
                batches.push_back(Batch { first: next, task, lent });
                next += count;
            }
            let Some(mut batch) = batches.pop_front() else { return Ok(()) };
            let decoded = (&mut batch.task).await.map_err(|_| DownloadError::Internal)??;
            let lent = batch.lent.take().map(budget::decoded);
            let mut pieces = Vec::new();
            for (segment, parts) in (batch.first..).zip(decoded) {
                trim(geometry.segment_data_range(segment).start, parts, &range, &mut pieces);
            }
            let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
            sink.write(budget::tied(pieces, lent)).await.map_err(DownloadError::Sink)?;
            transfer.advance(bytes);
        }
    }
}

/// An object that was found: its descriptor is verified, its key is right, and enough shares are known. Clones share all of it.
/// Reads the object's own plaintext, which of a tree object is not a file.
#[derive(Clone)]
pub(crate) struct DirectReader {
    opened: Arc<Opened>,
    id: ObjectId,
}

impl DirectReader {
    pub(crate) async fn open(client: Client, cap: &ImmutableRead) -> Result<Self, DownloadError> {
        let object = Object::find(client, cap.into()).await?;
        let (id, _) = object.descriptor.open_cap(cap)?;
        let key = ContentKey::of(&id, object.kind());
        Ok(Self { opened: Opened::new(object, key), id })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.opened.kind()
    }

    /// Bytes of the plaintext.
    pub(crate) fn len(&self) -> u64 {
        self.opened.geometry().plaintext_len()
    }

    pub(crate) fn complaints(&self) -> Vec<Complaint> {
        lock(&self.opened.complaints).clone()
    }

    /// Both sections of a tree object, and its salt.
    pub(crate) async fn sections(&self) -> Result<(Sections, [u8; 32]), DownloadError> {
        if self.kind() != Kind::Tree {
            return Err(DownloadError::NotATree);
        }
        let payload = self.opened.tree_payload().await?;
        Ok((open_tree(&self.id, &payload)?, self.id.salt))
    }

    /// A small range, cheaply. `None` if it must be streamed.
    pub(crate) async fn slice(&self, range: Range<u64>) -> Result<Option<Vec<u8>>, DownloadError> {
        if range.end - range.start > SLICE_MAX {
            return Ok(None);
        }
        range::read_slices(&self.opened, range).await
    }

    /// Bytes that are within the plaintext.
    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, DownloadError> {
        if let Some(bytes) = self.slice(range.clone()).await? {
            return Ok(bytes);
        }
        let mut out = Vec::new();
        self.stream(range, &mut out, &Transfer::default()).await?;
        Ok(out)
    }

    pub(crate) async fn stream(
        &self,
        range: Range<u64>,
        sink: &mut dyn Sink,
        transfer: &Transfer,
    ) -> Result<(), DownloadError> {
        self.opened.stream(range, sink, transfer).await
    }

    /// How many of the first bytes of `file` are already this object's, in whole segments: they are encrypted again and held against
    /// the block roots.
    pub(crate) async fn matching_prefix(&self, file: Arc<dyn ReadAt>) -> Result<u64, DownloadError> {
        let geometry = *self.opened.geometry();
        for segment in 0..geometry.segments() {
            let range = geometry.segment_data_range(segment);
            let roots = fetch::data_roots(&self.opened, segment).await?;
            let (object, file) = (self.opened.clone(), file.clone());
            let matches = move || object.matches(segment, &*file, &roots);
            if !self.opened.client.pool().run(matches).await {
                return Ok(range.start);
            }
        }
        Ok(self.len())
    }
}

/// A batch on its way; given up when dropped.
struct Batch {
    first: u64,
    lent: Option<budget::Lent>,
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

impl Opened {
    /// Whether the file holds this segment where it belongs.
    fn matches(&self, segment: u64, file: &dyn ReadAt, roots: &[Root]) -> bool {
        let range = self.geometry().segment_data_range(segment);
        let params = self.geometry().params();
        let data_only = Params::with_block_len(params.needed(), params.needed(), params.block_len());
        let mut encoder = SegmentEncoder::new(data_only.expect("k-of-k is possible wherever k-of-N is"));
        let mut plaintext = encoding::zeroed((range.end - range.start) as usize);
        let last = segment + 1 == self.geometry().segments();
        file.len().is_ok_and(|len| len >= range.end)
            && file.read_exact_at(range.start, &mut plaintext).is_ok()
            && encoder
                .encode(&self.key, segment, &plaintext, last)
                .is_ok_and(|encoded| encoded.roots == roots)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}
