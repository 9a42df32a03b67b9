//! Changing a file that is a tree: only the chunks that a change touches and the index nodes above them are made anew. What is stored
//! never changes; the result is another tree that shares the rest.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use caps::{Cap, ImmutableRead};
use encoding::{IndexChild, IndexNode};

use crate::download::{Body, FileTree};
use crate::upload::ChunkWriter;
use crate::{Client, DownloadError, ObjectReader, PutOptions, UploadError};

/// What is newly cut has this many bytes; the last piece of a stretch has less than half as much again.
const CHUNK_LEN: u64 = 1024 * 1024;
/// The same of long stretches: each chunk costs every server a request. One of these that is changed later is cut into short ones.
const LONG_CHUNK_LEN: u64 = 4 * CHUNK_LEN;
/// From so many bytes on a stretch is long.
const LONG: u64 = 8 * LONG_CHUNK_LEN;

/// The tree that a change led to.
#[derive(Clone, Debug)]
pub struct Patched {
    /// Its read cap.
    pub cap: ImmutableRead,
    /// Its descriptor's salt, which with the key makes its repair cap.
    pub salt: [u8; 32],
    /// Bytes of shares that were sent.
    pub sent: u64,
}

/// Why a file could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// An edit goes beyond the new end of the file.
    #[error("{len} bytes from byte {start} on do not fit into a file of {size} bytes")]
    OutOfRange {
        /// Where the edit begins.
        start: u64,
        /// Its length.
        len: u64,
        /// The new size.
        size: u64,
    },
    /// The old file could not be read.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The new one could not be stored.
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl Client {
    /// Makes the file that has `new_size` bytes and equals `base` (nothing, if there is none) with `edits` written over it, the later
    /// ones over the earlier; what is neither is zeros. The result is always a tree. `base` may be a tree or a direct object, and is
    /// re-used chunk by chunk: a changed byte costs one chunk of the base and the index nodes above it.
    ///
    /// # Errors
    ///
    /// [`PatchError`].
    pub async fn patch(
        &self,
        base: Option<&ImmutableRead>,
        new_size: u64,
        edits: &[(u64, Bytes)],
        options: PutOptions,
    ) -> Result<Patched, PatchError> {
        for (start, bytes) in edits {
            let len = bytes.len() as u64;
            if start.checked_add(len).is_none_or(|end| end > new_size) {
                return Err(PatchError::OutOfRange { start: *start, len, size: new_size });
            }
        }
        let base = match base {
            Some(cap) => Some(self.open_base(cap).await?),
            None => None,
        };
        let mut patch = Patch {
            client: self,
            new_size,
            edits,
            old_size: base.as_ref().map_or(0, |base| base.reader.size()),
            base: base.as_ref().map(|base| &base.reader),
            writer: ChunkWriter::new(self, &options),
            region: 0..0,
            zeros: None,
        };
        if let Some(base) = &base {
            patch.walk(base).await?;
        }
        let report = patch.finish().await?;
        match (report.cap, report.tree_salt) {
            (Cap::ImmutableRead(cap), Some(salt)) => Ok(Patched { cap, salt, sent: report.sent }),
            _ => unreachable!("the root of an index is a tree object"),
        }
    }

    async fn open_base(&self, cap: &ImmutableRead) -> Result<Base, DownloadError> {
        let reader = self.open_object(&Cap::ImmutableRead(cap.clone())).await?;
        let (root, tree) = match &reader.0 {
            Body::Tree(tree) => (tree.root().clone(), Some(tree.clone())),
            // As if it were the only chunk of a tree.
            Body::Direct(_) => {
                (Arc::new(IndexNode { level: 0, children: vec![IndexChild::new(cap, None)] }), None)
            }
        };
        Ok(Base { reader, root, tree })
    }
}

/// The file that is changed.
struct Base {
    reader: ObjectReader,
    root: Arc<IndexNode>,
    tree: Option<Arc<FileTree>>,
}

struct Patch<'a> {
    client: &'a Client,
    base: Option<&'a ObjectReader>,
    old_size: u64,
    new_size: u64,
    edits: &'a [(u64, Bytes)],
    writer: ChunkWriter,
    /// The bytes of the new file that are to be cut anew, as far as the walk has come.
    region: Range<u64>,
    /// The last piece of zeros and its hash.
    zeros: Option<(Bytes, [u8; 32])>,
}

impl Patch<'_> {
    /// Goes through the old file from front to back: takes over what stays, and gathers what does not.
    async fn walk(&mut self, base: &Base) -> Result<(), PatchError> {
        let mut path = vec![(base.root.clone(), 0, 0)];
        while let Some((node, next, at)) = path.last_mut() {
            let Some(child) = node.children.get(*next).cloned() else {
                path.pop();
                continue;
            };
            let (level, range) = (node.level, *at..*at + child.size);
            (*next, *at) = (*next + 1, range.end);
            if range.start >= self.new_size {
                break;
            }
            let grows = range.end == self.old_size && self.new_size > self.old_size;
            if level > 0 && (grows || self.touches(&range)) {
                let tree = base.tree.as_ref().expect("only trees have levels above 0");
                let below = tree.node(&child, level - 1).await?;
                path.push((below, 0, range.start));
            } else if self.touches(&range) || (level == 0 && grows && child.size < CHUNK_LEN) {
                // A short last chunk grows along with the file.
                self.region.end = range.end.min(self.new_size);
            } else {
                self.rewrite().await?;
                self.writer.keep(level, child).await?;
                self.region = range.end..range.end;
            }
        }
        Ok(())
    }

    /// Whether these bytes of the old file are changed or cut off.
    fn touches(&self, range: &Range<u64>) -> bool {
        let hit = |(start, bytes): &(u64, Bytes)| {
            !bytes.is_empty() && *start < range.end && start + bytes.len() as u64 > range.start
        };
        range.end > self.new_size || self.edits.iter().any(hit)
    }

    /// Cuts what was gathered into chunks and stores them.
    async fn rewrite(&mut self) -> Result<(), PatchError> {
        while !self.region.is_empty() {
            let left = self.region.end - self.region.start;
            let whole = if left >= LONG { LONG_CHUNK_LEN } else { CHUNK_LEN };
            let len = if left >= whole * 3 / 2 { whole } else { left };
            let piece = self.region.start..self.region.start + len;
            let (bytes, hash) = self.piece(&piece).await?;
            self.writer.add(bytes, hash).await?;
            self.region.start = piece.end;
        }
        Ok(())
    }

    /// The bytes `piece` of the new file, and their BLAKE3.
    async fn piece(&mut self, piece: &Range<u64>) -> Result<(Bytes, [u8; 32]), PatchError> {
        let len = (piece.end - piece.start) as usize;
        let kept = piece.start..piece.end.min(self.old_size);
        if kept.is_empty() && !self.touches(piece) {
            if let Some(zeros) = self.zeros.as_ref().filter(|(bytes, _)| bytes.len() == len) {
                return Ok(zeros.clone());
            }
            let zeros = self.hashed(encoding::zeroed(len).into()).await;
            self.zeros = Some(zeros.clone());
            return Ok(zeros);
        }
        if let Some(bytes) = self.gathered(piece) {
            return Ok(self.hashed(bytes.freeze()).await);
        }
        let mut bytes = encoding::zeroed(len);
        if let Some(base) = self.base.filter(|_| !kept.is_empty() && !self.covers(&kept)) {
            let old = base.read(kept.clone()).await?;
            bytes[..old.len()].copy_from_slice(&old);
        }
        for (start, edit) in self.edits {
            let (from, to) = ((*start).max(piece.start), (start + edit.len() as u64).min(piece.end));
            if from < to {
                let source = &edit[(from - start) as usize..(to - start) as usize];
                bytes[(from - piece.start) as usize..(to - piece.start) as usize].copy_from_slice(source);
            }
        }
        Ok(self.hashed(bytes.into()).await)
    }

    /// The bytes of edits that follow each other and cover all of this, as those of a file do that is written from front to back.
    fn gathered(&self, piece: &Range<u64>) -> Option<BytesMut> {
        let mut bytes = BytesMut::with_capacity((piece.end - piece.start) as usize);
        for (start, edit) in self.edits {
            let (at, end) = (piece.start + bytes.len() as u64, start + edit.len() as u64);
            if end <= piece.start || *start >= piece.end || edit.is_empty() {
                continue;
            }
            // One over another, or a hole: that is not so simple.
            if *start > at || (*start < at && !bytes.is_empty()) {
                return None;
            }
            bytes.extend_from_slice(&edit[(at - start) as usize..(end.min(piece.end) - start) as usize]);
        }
        (bytes.len() as u64 == piece.end - piece.start).then_some(bytes)
    }

    /// Whether one edit covers all of these bytes, so that nobody needs the old ones.
    fn covers(&self, range: &Range<u64>) -> bool {
        self.edits.iter().any(|(start, edit)| *start <= range.start && start + edit.len() as u64 >= range.end)
    }

    async fn hashed(&self, bytes: Bytes) -> (Bytes, [u8; 32]) {
        let job = move || {
            let hash = *blake3::hash(&bytes).as_bytes();
            (bytes, hash)
        };
        self.client.pool().run(job).await
    }

    async fn finish(mut self) -> Result<crate::PutReport, PatchError> {
        self.region.end = self.new_size;
        self.rewrite().await?;
        Ok(self.writer.finish().await?)
    }
}
