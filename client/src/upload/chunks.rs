//! Large files as trees: cut into chunks by their content, each chunk an object of its own, above them an index.
//!
//! A chunk is read once: what is hashed is what is encoded, so a file that changes meanwhile gives a mixture at worst, and never the
//! same nonce for different bytes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use caps::{Cap, ImmutableRead};
use encoding::{
    Added, Chunker, EncodeError, Finished, GearTable, GeometryError, IndexBuilder, IndexChild, IndexNode,
    Kind, MAX_PLAINTEXT_LEN, ObjectId,
};
use tokio::task::JoinHandle;

use super::source::{Reader, changed_or_unreadable, read_more, read_up_to};
use super::{BytesSource, Fingerprints, Form, PutOptions, PutReport, ReadAt, TreeKey, UploadError};
use crate::Client;

/// Files shorter than this many bytes are not cut.
pub const CHUNKED_FROM: u64 = 16 * 1024 * 1024;

/// Chunks on their way at once.
const AT_ONCE: usize = 4;
/// Chunks that wait for those before them, where nothing had to be sent for them.
const QUEUE: usize = 64;
/// Chunks remembered, so that what comes up again at once is stored once.
const REMEMBERED: usize = 1024;
/// Failures that a report names.
const FAILURES: usize = 64;
/// Bytes read at a time.
const PIECE: usize = 1024 * 1024;

/// A chunk and its BLAKE3.
type Chunk = (Bytes, [u8; 32]);

impl Client {
    pub(crate) async fn put_file_in_chunks(
        &self,
        file: Arc<dyn ReadAt>,
        options: &PutOptions,
    ) -> Result<PutReport, UploadError> {
        let size = file.len().map_err(UploadError::Source)?;
        if size < CHUNKED_FROM {
            return self.put_file(file, options).await;
        }
        options.transfer.expect(size);
        let mut cutter = Cutter::new(self);
        let mut writer = ChunkWriter::new(self, options);
        let mut at = 0;
        while at < size {
            let (file, len) = (file.clone(), (size - at).min(PIECE as u64) as usize);
            let job = move || {
                let read = cutter.read(&*file, at, len);
                read.map(|()| (cutter.cut(), cutter))
            };
            let chunks;
            (chunks, cutter) = self.pool().run(job).await.map_err(changed_or_unreadable)?;
            at += len as u64;
            writer.add_all(chunks).await?;
        }
        writer.add_all(cutter.end()).await?;
        writer.finish().await
    }

    pub(crate) async fn put_stream_in_chunks(
        &self,
        mut stream: Reader,
        options: &PutOptions,
    ) -> Result<PutReport, UploadError> {
        let mut buffer = read_up_to(&mut stream, CHUNKED_FROM as usize).await.map_err(UploadError::Source)?;
        if (buffer.len() as u64) < CHUNKED_FROM {
            return self.put_file(Arc::new(BytesSource(buffer.freeze())), options).await;
        }
        let mut cutter = Cutter::new(self);
        let mut writer = ChunkWriter::new(self, options);
        while !buffer.is_empty() {
            let job = move || {
                cutter.buffer.unsplit(buffer);
                (cutter.cut(), cutter)
            };
            let chunks;
            (chunks, cutter) = self.pool().run(job).await;
            writer.add_all(chunks).await?;
            buffer = BytesMut::new();
            read_more(&mut stream, &mut buffer, PIECE).await.map_err(UploadError::Source)?;
        }
        writer.add_all(cutter.end()).await?;
        writer.finish().await
    }
}

/// Cuts what was read into chunks.
struct Cutter {
    chunker: Chunker,
    /// What was read and belongs to no chunk yet.
    buffer: BytesMut,
    /// Which byte of the file it begins with.
    start: u64,
    /// How much of it the chunker has seen.
    seen: usize,
}

impl Cutter {
    fn new(client: &Client) -> Self {
        let table = GearTable::new(client.convergence_secret());
        Self { chunker: Chunker::new(table), buffer: BytesMut::new(), start: 0, seen: 0 }
    }

    fn read(&mut self, file: &dyn ReadAt, at: u64, len: usize) -> std::io::Result<()> {
        let start = self.buffer.len();
        self.buffer.resize(start + len, 0);
        file.read_exact_at(at, &mut self.buffer[start..])
    }

    /// The chunks that are complete.
    fn cut(&mut self) -> Vec<Chunk> {
        let ends = self.chunker.feed(&self.buffer[self.seen..]);
        self.seen = self.buffer.len();
        self.split(ends)
    }

    /// The last chunks.
    fn end(mut self) -> Vec<Chunk> {
        let ends = self.chunker.finish();
        self.split(ends)
    }

    fn split(&mut self, ends: Vec<u64>) -> Vec<Chunk> {
        let split = |end| {
            let len = (end - self.start) as usize;
            // Copied, so that no chunk on its way keeps alive what was read beside it.
            let chunk = Bytes::copy_from_slice(&self.buffer[..len]);
            self.buffer.advance(len);
            (self.start, self.seen) = (end, self.seen - len);
            let hash = *blake3::hash(&chunk).as_bytes();
            (chunk, hash)
        };
        ends.into_iter().map(split).collect()
    }
}

/// Stores the chunks of a file, several at a time, and the index above them.
pub(crate) struct ChunkWriter {
    client: Client,
    options: PutOptions,
    queue: VecDeque<Waiting>,
    recent: Recent,
    index: IndexBuilder,
    /// The node of each level that was stored last: holes in a file have many equal ones.
    last_nodes: Vec<Option<(IndexNode, IndexChild)>>,
    size: u64,
    tally: PutReport,
}

/// What comes next in the file, in order.
enum Waiting {
    /// A chunk on its way.
    Chunk([u8; 32], Flying),
    /// The same again as one that is before it in the queue.
    Same([u8; 32]),
    /// Something that is stored already, and its level.
    Known(u8, IndexChild),
}

/// An upload on its way; given up when dropped.
struct Flying(JoinHandle<Result<PutReport, UploadError>>);

impl Drop for Flying {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ChunkWriter {
    pub(crate) fn new(client: &Client, options: &PutOptions) -> Self {
        let mut tally = super::literal(Vec::new(), &options.transfer.beside());
        tally.happiness = usize::MAX;
        Self {
            client: client.clone(),
            options: options.clone(),
            queue: VecDeque::new(),
            recent: Recent::default(),
            index: IndexBuilder::default(),
            last_nodes: Vec::new(),
            size: 0,
            tally,
        }
    }

    async fn add_all(&mut self, chunks: impl IntoIterator<Item = Chunk>) -> Result<(), UploadError> {
        for (bytes, hash) in chunks {
            self.add(bytes, hash).await?;
        }
        Ok(())
    }

    /// Stores the next chunk; waits while enough others are on their way.
    pub(crate) async fn add(&mut self, bytes: Bytes, hash: [u8; 32]) -> Result<(), UploadError> {
        self.grow(bytes.len() as u64)?;
        self.make_room().await?;
        let len = bytes.len() as u64;
        let known = self.recent.known.get(&hash).map(|child| Waiting::Known(0, child.clone()));
        let same = |waiting: &Waiting| matches!(waiting, Waiting::Chunk(other, _) if *other == hash);
        let again = known.or_else(|| self.queue.iter().any(same).then_some(Waiting::Same(hash)));
        if let Some(again) = again {
            self.options.transfer.advance(len);
            self.queue.push_back(again);
            return Ok(());
        }
        let (client, options) = (self.client.clone(), self.options.clone());
        let task = tokio::spawn(async move { client.put_chunk(bytes, hash, &options).await });
        self.queue.push_back(Waiting::Chunk(hash, Flying(task)));
        Ok(())
    }

    /// Takes over what is stored already: a chunk at level 0, or an index node at one level more than its own.
    pub(crate) async fn keep(&mut self, level: u8, child: IndexChild) -> Result<(), UploadError> {
        self.grow(child.size)?;
        self.make_room().await?;
        self.queue.push_back(Waiting::Known(level, child));
        Ok(())
    }

    /// Counts what is added. A tree may be no larger than an object.
    fn grow(&mut self, by: u64) -> Result<(), UploadError> {
        self.size = self.size.saturating_add(by);
        let ciphertext_len = self.size;
        if self.size > MAX_PLAINTEXT_LEN {
            return Err(EncodeError::from(GeometryError::Length { ciphertext_len }).into());
        }
        Ok(())
    }

    async fn make_room(&mut self) -> Result<(), UploadError> {
        let flying = |queue: &VecDeque<Waiting>| {
            queue.iter().filter(|waiting| matches!(waiting, Waiting::Chunk(..))).count()
        };
        while self.queue.len() >= QUEUE || flying(&self.queue) >= AT_ONCE {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits for the first in the queue.
    async fn settle(&mut self) -> Result<(), UploadError> {
        let (level, child) = match self.queue.pop_front() {
            None => return Ok(()),
            Some(Waiting::Known(level, child)) => (level, child),
            Some(Waiting::Same(hash)) => {
                let known = self.recent.known.get(&hash);
                (0, known.expect("what was before it in the queue is remembered").clone())
            }
            Some(Waiting::Chunk(hash, mut flying)) => {
                let report = (&mut flying.0).await.map_err(|_| UploadError::Internal)??;
                let child = IndexChild::new(&read_cap(&report), None);
                self.count(report);
                self.recent.remember(hash, child.clone());
                (0, child)
            }
        };
        self.index(level, child).await
    }

    /// Adds to the index; stores the nodes that are complete.
    async fn index(&mut self, level: u8, child: IndexChild) -> Result<(), UploadError> {
        let mut stack = vec![(level, child)];
        while let Some((level, child)) = stack.pop() {
            if let Added::StoreFirst(node, child) = self.index.add(level, child)? {
                stack.push((level, child));
                stack.push((node.level + 1, self.store(node).await?));
            }
        }
        Ok(())
    }

    async fn store(&mut self, node: IndexNode) -> Result<IndexChild, UploadError> {
        let level = usize::from(node.level);
        if self.last_nodes.len() <= level {
            self.last_nodes.resize(level + 1, None);
        }
        if let Some((last, child)) = &self.last_nodes[level]
            && *last == node
        {
            return Ok(child.clone());
        }
        let report = self.put_node(&node).await?;
        let child = IndexChild::new(&read_cap(&report), report.tree_salt);
        self.count(report);
        self.last_nodes[level] = Some((node, child.clone()));
        Ok(child)
    }

    async fn put_node(&self, node: &IndexNode) -> Result<PutReport, UploadError> {
        let (sections, size, beside) = (node.sections(), node.size(), self.options.transfer.beside());
        let tag = self.options.lease_tag;
        self.client.put_tree_object(sections, size, TreeKey::Convergent, false, tag, &beside).await
    }

    fn count(&mut self, report: PutReport) {
        self.tally.sent += report.sent;
        self.tally.happiness = self.tally.happiness.min(report.happiness);
        let room = FAILURES.saturating_sub(self.tally.failures.len());
        self.tally.failures.extend(report.failures.into_iter().take(room));
    }

    /// Stores the rest of the index. The report is of the whole file; its shares are those of the root.
    pub(crate) async fn finish(mut self) -> Result<PutReport, UploadError> {
        while !self.queue.is_empty() {
            self.settle().await?;
        }
        loop {
            match self.index.finish() {
                Finished::Store(node) => {
                    let level = node.level + 1;
                    let child = self.store(node).await?;
                    self.index(level, child).await?;
                }
                Finished::Root(node) => {
                    let root = self.put_node(&node).await?;
                    self.count(root.clone());
                    let PutReport { sent, happiness, failures, .. } = self.tally;
                    return Ok(PutReport { sent, happiness, failures, ..root });
                }
                Finished::Known(child) => {
                    let (cap, size) = (Cap::ImmutableRead(child.cap()), child.size);
                    return Ok(PutReport { cap, size, tree_salt: child.salt, ..self.tally });
                }
            }
        }
    }
}

fn read_cap(report: &PutReport) -> ImmutableRead {
    match &report.cap {
        Cap::ImmutableRead(cap) => cap.clone(),
        other => unreachable!("an object's cap is no {} cap", other.kind()),
    }
}

/// The chunks stored last.
#[derive(Default)]
struct Recent {
    known: HashMap<[u8; 32], IndexChild>,
    order: VecDeque<[u8; 32]>,
}

impl Recent {
    fn remember(&mut self, hash: [u8; 32], child: IndexChild) {
        self.known.insert(hash, child);
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Client {
    /// Stores a chunk as the object that a file of just these bytes would be.
    async fn put_chunk(
        &self,
        bytes: Bytes,
        hash: [u8; 32],
        options: &PutOptions,
    ) -> Result<PutReport, UploadError> {
        let (params, len) = (self.params(), bytes.len() as u64);
        let id = ObjectId::convergent(self.convergence_secret(), params, Kind::Direct, len, &hash);
        let prints = Fingerprints::of(len, hash, params);
        let form = Form { part: true, ..Form::direct(id, options.lease_tag) };
        self.put_object(Arc::new(BytesSource(bytes)), len, prints, form, &options.transfer).await
    }
}
