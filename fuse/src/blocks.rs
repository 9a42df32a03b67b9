//! What was read of the grid: blocks of files, fetched once for all that want them, and ahead of who reads on. They are in memory, and
//! behind that on this machine's disk if there is a cache there.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use caps::VerifyHash;
use client::{DownloadError, ObjectReader};
use tokio::sync::OnceCell;

use crate::cache::DiskCache;

/// Bytes of a block: whole segments of files of 3-of-10, the usual ones, and near enough for others.
pub(crate) const BLOCK: u64 = 4 * 3 * 16 * 16_368;
/// Blocks fetched ahead of who reads a file from front to back.
const AHEAD: u64 = 3;
/// Reads of so few bytes that do not go on from one another fetch what they need and no block.
const SMALL: u64 = 256 * 1024;

type Key = (VerifyHash, u64);
type Block = Arc<OnceCell<Bytes>>;
type Opening = Pin<Box<dyn Future<Output = Result<ObjectReader, DownloadError>> + Send>>;

/// A stored file. The grid is asked for it only if some of it is not here.
#[derive(Clone)]
pub(crate) struct Stored {
    /// What names the content.
    pub(crate) hash: VerifyHash,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) open: Arc<dyn Fn() -> Opening + Send + Sync>,
}

impl Stored {
    async fn fetch(&self, range: Range<u64>) -> Result<Bytes, DownloadError> {
        (self.open)().await?.read(range).await.map(Bytes::from)
    }

    fn block(&self, index: u64) -> Range<u64> {
        index * BLOCK..self.size.min((index + 1) * BLOCK)
    }
}

pub(crate) struct Blocks {
    most: u64,
    disk: Option<Arc<DiskCache>>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    blocks: HashMap<Key, Block>,
    /// The order in which they came, and how long they are.
    order: VecDeque<(Key, u64)>,
    bytes: u64,
    /// Where the last read of a file ended.
    ends: HashMap<VerifyHash, u64>,
}

impl Blocks {
    /// At most `most` bytes of memory.
    pub(crate) fn new(most: u64, disk: Option<DiskCache>) -> Self {
        Self { most, disk: disk.map(Arc::new), held: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no code panics while it holds this lock")
    }

    /// Whether the beginning of this file is in memory, or on its way.
    pub(crate) fn has(&self, hash: VerifyHash) -> bool {
        self.lock().blocks.contains_key(&(hash, 0))
    }

    /// Reads a range that lies within the file.
    pub(crate) async fn read(
        self: &Arc<Self>,
        file: &Stored,
        range: Range<u64>,
    ) -> Result<Bytes, DownloadError> {
        let (first, last) = (range.start / BLOCK, (range.end - 1) / BLOCK);
        let (goes_on, known) = {
            let mut held = self.lock();
            let end = held.ends.insert(file.hash, range.end);
            if held.ends.len() > 4096 {
                held.ends.clear();
            }
            // The kernel's own read-ahead comes in any order.
            let goes_on = end.map_or(range.start == 0, |end| range.start.abs_diff(end) <= BLOCK);
            (goes_on, held.blocks.contains_key(&(file.hash, first)))
        };
        if file.size > BLOCK && !goes_on && !known && range.end - range.start <= SMALL {
            return file.fetch(range).await;
        }
        if goes_on {
            self.fetch_ahead(file, last + 1);
        }
        let mut out = Vec::new();
        for index in first..=last {
            let bytes = self.block(file, index).await?;
            let start = index * BLOCK;
            let piece = range.start.max(start) - start..(range.end - start).min(bytes.len() as u64);
            let piece = bytes.slice(piece.start as usize..piece.end.max(piece.start) as usize);
            if first == last {
                return Ok(piece);
            }
            out.extend_from_slice(&piece);
        }
        Ok(out.into())
    }

    fn cell(&self, file: &Stored, index: u64) -> Block {
        let mut held = self.lock();
        let key = (file.hash, index);
        if let Some(block) = held.blocks.get(&key) {
            return block.clone();
        }
        let (block, range) = (Block::default(), file.block(index));
        let len = range.end - range.start;
        held.blocks.insert(key, block.clone());
        held.order.push_back((key, len));
        held.bytes += len;
        while held.bytes > self.most.max(4 * BLOCK) {
            let Some((oldest, len)) = held.order.pop_front() else { break };
            held.blocks.remove(&oldest);
            held.bytes -= len;
        }
        block
    }

    async fn block(&self, file: &Stored, index: u64) -> Result<Bytes, DownloadError> {
        let cell = self.cell(file, index);
        let bytes = cell.get_or_try_init(async || {
            let Some(disk) = &self.disk else { return file.fetch(file.block(index)).await };
            if let Some(bytes) = disk.get(file.hash, index).await {
                return Ok(bytes);
            }
            let bytes = file.fetch(file.block(index)).await?;
            disk.put((file.hash, index), file.size, &bytes);
            Ok(bytes)
        });
        bytes.await.cloned()
    }

    fn fetch_ahead(self: &Arc<Self>, file: &Stored, from: u64) {
        let ends = file.size.div_ceil(BLOCK);
        for index in from..ends.min(from + AHEAD) {
            if self.lock().blocks.contains_key(&(file.hash, index)) {
                continue;
            }
            let (blocks, file) = (self.clone(), file.clone());
            // Fetched or not, whoever wants it asks for it.
            tokio::spawn(async move { drop(blocks.block(&file, index).await) });
        }
    }
}
