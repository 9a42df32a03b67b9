//! What is uploaded: something that can be read again anywhere, or a stream.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use encoding::Params;
use protocol::Pool;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::error::UploadError;

/// Bytes that can be read anywhere, more than once.
#[allow(clippy::len_without_is_empty)] // `len` may fail, and an empty file is no special case.
pub trait ReadAt: Send + Sync + 'static {
    /// How many bytes there are now.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buffer` from byte `offset` on.
    ///
    /// # Errors
    ///
    /// What the operating system says; [`io::ErrorKind::UnexpectedEof`] if there are not enough bytes.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// All of it, if it is in memory: then it is neither copied nor read twice.
    fn in_memory(&self) -> Option<Bytes> {
        None
    }
}

/// A file on disk.
#[derive(Debug)]
pub struct FileSource(File);

impl FileSource {
    /// Opens the file at `path`, which must be a regular file.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(Self(file))
    }
}

impl From<File> for FileSource {
    fn from(file: File) -> Self {
        Self(file)
    }
}

impl ReadAt for FileSource {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

/// Bytes in memory.
#[derive(Clone, Debug)]
pub struct BytesSource(pub Bytes);

impl ReadAt for BytesSource {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = self.0.get(start..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn in_memory(&self) -> Option<Bytes> {
        Some(self.0.clone())
    }
}

pub(crate) type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// What to upload.
pub enum Source {
    /// Read twice, found again after a crash, stored once.
    File(Arc<dyn ReadAt>),
    /// Read once, of unknown length.
    Stream(Reader),
}

impl Source {
    /// The file at `path`.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::File(Arc::new(FileSource::open(path)?)))
    }

    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::File(Arc::new(BytesSource(bytes.into())))
    }

    /// Whatever `reader` yields.
    pub fn stream(reader: impl AsyncRead + Send + 'static) -> Self {
        Self::Stream(Box::pin(reader))
    }
}

/// What the first pass learnt.
pub(crate) struct Fingerprints {
    /// BLAKE3 of the file.
    pub(crate) whole: [u8; 32],
    /// BLAKE3 of each segment's bytes: the second pass must find the same. Of what is in memory, and cannot change, they are zeros.
    pub(crate) segments: Vec<[u8; 32]>,
}

impl Fingerprints {
    /// Of `len` bytes in memory, whose hash as a whole is known.
    pub(crate) fn of(len: u64, whole: [u8; 32], params: Params) -> Self {
        Self { whole, segments: vec![[0; 32]; len.div_ceil(params.segment_data_len()) as usize] }
    }
}

/// How many segments one job of the first pass reads.
const SEGMENTS_PER_JOB: u64 = 16;

/// Reads the file once.
pub(crate) async fn fingerprint(
    pool: &Arc<dyn Pool>,
    file: &Arc<dyn ReadAt>,
    size: u64,
    params: Params,
) -> Result<Fingerprints, UploadError> {
    if let Some(bytes) = file.in_memory() {
        let whole = pool.run(move || *blake3::hash(&bytes).as_bytes()).await;
        return Ok(Fingerprints::of(size, whole, params));
    }
    let step = params.segment_data_len();
    let mut hasher = blake3::Hasher::new();
    let mut segments = Vec::new();
    let mut at = 0;
    while at < size {
        let file = file.clone();
        let end = size.min(at + step * SEGMENTS_PER_JOB);
        let job = move || {
            let mut buffer = encoding::zeroed(step.min(size - at) as usize);
            let mut hashes = Vec::new();
            while at < end {
                let piece = &mut buffer[..step.min(end - at) as usize];
                file.read_exact_at(at, piece)?;
                hasher.update(piece);
                hashes.push(*blake3::hash(piece).as_bytes());
                at += piece.len() as u64;
            }
            io::Result::Ok((hasher, hashes))
        };
        let (back, hashes) = pool.run(job).await.map_err(changed_or_unreadable)?;
        hasher = back;
        segments.extend(hashes);
        at = end;
    }
    Ok(Fingerprints { whole: *hasher.finalize().as_bytes(), segments })
}

/// A file that became shorter has changed; anything else is an error of reading.
pub(crate) fn changed_or_unreadable(error: io::Error) -> UploadError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => UploadError::SourceChanged,
        _ => UploadError::Source(error),
    }
}

/// Reads `len` bytes, or fewer where the stream ends before.
pub(crate) async fn read_up_to(stream: &mut Reader, len: usize) -> io::Result<BytesMut> {
    let mut buffer = BytesMut::new();
    read_more(stream, &mut buffer, len).await?;
    Ok(buffer)
}

/// Reads until `buffer` holds `len` bytes or the stream ends.
pub(crate) async fn read_more(stream: &mut Reader, buffer: &mut BytesMut, len: usize) -> io::Result<()> {
    buffer.reserve(len.saturating_sub(buffer.len()));
    while buffer.len() < len {
        let room = (len - buffer.len()) as u64;
        if stream.as_mut().take(room).read_buf(buffer).await? == 0 {
            break;
        }
    }
    Ok(())
}
