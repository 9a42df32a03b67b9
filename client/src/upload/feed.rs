//! The segments of an upload, encoded ahead of the network by a few.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use encoding::{EncodeError, EncodedSegment, ErasureDecoder, Params, SegmentEncoder};
use tokio::sync::oneshot;

use super::Upload;
use super::error::UploadError;
use super::source::{Fingerprints, ReadAt, Reader, changed_or_unreadable, read_more};

/// How many segments are encoded ahead: one for each of two cores.
const AHEAD: usize = 2;

/// A segment on its way to the servers.
pub(crate) struct FedSegment {
    pub(crate) encoded: EncodedSegment,
    pub(crate) plaintext_len: u64,
}

/// Makes the segment, in the pool.
type Encoding = Box<dyn FnOnce(&Upload) -> Result<FedSegment, UploadError> + Send>;
type Pending = oneshot::Receiver<Result<FedSegment, UploadError>>;

/// Where segments come from.
pub(crate) struct Feed {
    origin: Origin,
    next: u64,
    pending: VecDeque<Pending>,
}

enum Origin {
    File(FileOrigin),
    Stream { buffer: BytesMut, reader: Reader, hasher: Box<blake3::Hasher>, size: u64, ended: bool },
}

/// A file that was read once already.
#[derive(Clone)]
pub(crate) struct FileOrigin {
    file: Arc<dyn ReadAt>,
    size: u64,
    prints: Arc<Fingerprints>,
}

impl Feed {
    /// The file's segments from the first one on.
    pub(crate) fn file(origin: FileOrigin) -> Self {
        Self { origin: Origin::File(origin), next: 0, pending: VecDeque::new() }
    }

    pub(crate) fn stream(head: BytesMut, reader: Reader) -> Self {
        let origin = Origin::Stream { buffer: head, reader, hasher: Box::default(), size: 0, ended: false };
        Self { origin, next: 0, pending: VecDeque::new() }
    }

    /// The file behind the feed, if it can be read again.
    pub(crate) fn origin(&self) -> Option<FileOrigin> {
        match &self.origin {
            Origin::File(origin) => Some(origin.clone()),
            Origin::Stream { .. } => None,
        }
    }

    /// Bytes and BLAKE3 of all that was fed. Final once [`Feed::next`] returned `None`.
    pub(crate) fn totals(&self) -> (u64, [u8; 32]) {
        match &self.origin {
            Origin::File(origin) => origin.totals(),
            Origin::Stream { hasher, size, .. } => (*size, *hasher.finalize().as_bytes()),
        }
    }

    /// The next segment.
    pub(crate) async fn next(&mut self, upload: &Arc<Upload>) -> Result<Option<FedSegment>, UploadError> {
        while self.pending.len() < AHEAD {
            let Some(pending) = self.begin(upload).await? else { break };
            self.pending.push_back(pending);
        }
        match self.pending.pop_front() {
            None => Ok(None),
            Some(pending) => pending.await.expect("the job answers before it ends").map(Some),
        }
    }

    async fn begin(&mut self, upload: &Arc<Upload>) -> Result<Option<Pending>, UploadError> {
        let index = self.next;
        let step = upload.params.segment_data_len();
        let work: Encoding = match &mut self.origin {
            Origin::File(origin) => {
                if index as usize >= origin.prints.segments.len() {
                    return Ok(None);
                }
                let origin = origin.clone();
                Box::new(move |upload| origin.encode(upload, index))
            }
            Origin::Stream { buffer, reader, hasher, size, ended } => {
                if *ended {
                    return Ok(None);
                }
                // One byte more than a segment tells whether this one is the last.
                read_more(reader, buffer, step as usize + 1).await.map_err(UploadError::Source)?;
                let last = buffer.len() as u64 <= step;
                let plaintext = buffer.split_to(buffer.len().min(step as usize)).freeze();
                hasher.update(&plaintext);
                *size += plaintext.len() as u64;
                *ended = last;
                Box::new(move |upload| Ok(upload.encoders.encode(upload, index, &plaintext, last)?))
            }
        };
        self.next += 1;
        let (sender, receiver) = oneshot::channel();
        let shared = upload.clone();
        // Nobody waits any more if the upload was given up.
        upload.client.pool().spawn(Box::new(move || drop(sender.send(work(&shared)))));
        Ok(Some(receiver))
    }
}

impl FileOrigin {
    pub(crate) fn new(file: Arc<dyn ReadAt>, size: u64, prints: Fingerprints) -> Self {
        Self { file, size, prints: Arc::new(prints) }
    }

    /// Bytes and BLAKE3 of the file.
    pub(crate) fn totals(&self) -> (u64, [u8; 32]) {
        (self.size, self.prints.whole)
    }

    /// Reads and encodes segment `index`; what changed since the first pass is not encoded.
    pub(crate) fn encode(&self, upload: &Upload, index: u64) -> Result<FedSegment, UploadError> {
        let step = upload.params.segment_data_len();
        let start = index * step;
        let last = index as usize + 1 == self.prints.segments.len();
        if let Some(bytes) = self.file.in_memory() {
            let piece = bytes.slice(start as usize..self.size.min(start + step) as usize);
            return Ok(upload.encoders.encode(upload, index, &piece, last)?);
        }
        let mut plaintext = encoding::zeroed(step.min(self.size - start) as usize);
        self.file.read_exact_at(start, &mut plaintext).map_err(changed_or_unreadable)?;
        if *blake3::hash(&plaintext).as_bytes() != self.prints.segments[index as usize] {
            return Err(UploadError::SourceChanged);
        }
        Ok(upload.encoders.encode(upload, index, &plaintext, last)?)
    }

    /// How many segments the file has.
    pub(crate) fn segments(&self) -> u64 {
        self.prints.segments.len() as u64
    }
}

/// Encoders at rest: each keeps its working memory for the next job that takes it.
pub(crate) struct EncoderShelf {
    params: Params,
    idle: Mutex<Vec<SegmentEncoder>>,
}

impl EncoderShelf {
    pub(crate) fn new(params: Params) -> Self {
        Self { params, idle: Mutex::default() }
    }

    fn encode(
        &self,
        upload: &Upload,
        index: u64,
        plaintext: &[u8],
        last: bool,
    ) -> Result<FedSegment, EncodeError> {
        let taken = self.lock().pop();
        let mut encoder = taken.unwrap_or_else(|| SegmentEncoder::new(self.params));
        let encoded = encoder.encode(&upload.key, index, plaintext, last)?;
        self.lock().push(encoder);
        Ok(FedSegment { encoded, plaintext_len: plaintext.len() as u64 })
    }

    pub(crate) fn decoder(&self) -> ErasureDecoder {
        ErasureDecoder::new(self.params.needed(), self.params.total())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SegmentEncoder>> {
        self.idle.lock().expect("no code panics while it holds this lock")
    }
}
