//! Reading files that are trees: down the index to the chunks, several of them ahead of the reader.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use caps::ImmutableRead;
use encoding::{FileIndexError, IndexChild, IndexNode, Kind};
use protocol::BoxFuture;
use tokio::task::JoinHandle;

use super::error::{Complaint, DownloadError, complain};
use super::{DirectReader, SLICE_MAX, Sink, lock};
use crate::Client;
use crate::progress::Transfer;
use crate::upload::ReadAt;

/// Chunks fetched at once.
const AHEAD: usize = 4;
/// Longer pieces are streamed by themselves instead of being held in memory.
const HELD_MAX: u64 = 4 << 20;
/// Chunks that stay open for the next small read.
const OPEN_CHUNKS: usize = 8;
/// Index nodes that are kept.
const KEPT_NODES: usize = 64;

/// A file that is a tree, its root verified.
pub(crate) struct FileTree {
    client: Client,
    root: Arc<IndexNode>,
    size: u64,
    nodes: Mutex<VecDeque<(IndexChild, Arc<IndexNode>)>>,
    chunks: Mutex<VecDeque<(IndexChild, DirectReader)>>,
    complaints: Mutex<Vec<Complaint>>,
}

/// A chunk and the byte of the file at which it begins.
struct Leaf {
    start: u64,
    child: IndexChild,
}

impl FileTree {
    pub(crate) async fn open(
        client: Client,
        cap: &ImmutableRead,
        object: &DirectReader,
    ) -> Result<Self, DownloadError> {
        let (sections, _) = object.sections().await?;
        let root = Arc::new(IndexNode::parse(&sections, cap.size, None)?);
        let complaints = Mutex::new(object.complaints());
        let (nodes, chunks) = (Mutex::default(), Mutex::default());
        Ok(Self { client, root, size: cap.size, nodes, chunks, complaints })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn complaints(&self) -> Vec<Complaint> {
        lock(&self.complaints).clone()
    }

    /// The root of the index.
    pub(crate) fn root(&self) -> &Arc<IndexNode> {
        &self.root
    }

    /// The index node that `child` of a node of level `level` + 1 names.
    pub(crate) async fn node(&self, child: &IndexChild, level: u8) -> Result<Arc<IndexNode>, DownloadError> {
        if let Some(node) = find(&self.nodes, child) {
            return Ok(node);
        }
        let object = DirectReader::open(self.client.clone(), &child.cap()).await?;
        if object.kind() != Kind::Tree {
            return Err(FileIndexError::ChildKind.into());
        }
        let (sections, salt) = object.sections().await?;
        self.take_complaints(&object);
        if child.salt != Some(salt) {
            return Err(FileIndexError::Salt.into());
        }
        let node = Arc::new(IndexNode::parse(&sections, child.size, Some(level))?);
        keep(&self.nodes, child, node.clone(), KEPT_NODES);
        Ok(node)
    }

    /// The chunk that `child` of a node of level 0 names.
    async fn chunk(&self, child: &IndexChild) -> Result<DirectReader, DownloadError> {
        if let Some(object) = find(&self.chunks, child) {
            return Ok(object);
        }
        let object = DirectReader::open(self.client.clone(), &child.cap()).await?;
        if object.kind() != Kind::Direct {
            return Err(FileIndexError::ChildKind.into());
        }
        keep(&self.chunks, child, object.clone(), OPEN_CHUNKS);
        Ok(object)
    }

    fn take_complaints(&self, object: &DirectReader) {
        object.complaints().into_iter().for_each(|complaint| complain(&self.complaints, complaint));
    }

    /// A small range. `None` if it must be streamed.
    pub(crate) async fn slice(&self, range: Range<u64>) -> Result<Option<Vec<u8>>, DownloadError> {
        if range.end - range.start > SLICE_MAX {
            return Ok(None);
        }
        let (mut out, mut walk) = (Vec::new(), Walk::new(self, range.clone()));
        while let Some(leaf) = walk.next(self).await? {
            let object = self.chunk(&leaf.child).await?;
            let read = object.read(leaf.within(&range)).await;
            self.take_complaints(&object);
            out.extend(read?);
        }
        Ok(Some(out))
    }

    pub(crate) async fn stream(
        self: &Arc<Self>,
        range: Range<u64>,
        sink: &mut dyn Sink,
        transfer: &Transfer,
    ) -> Result<(), DownloadError> {
        let mut walk = Walk::new(self, range.clone());
        let mut queue: VecDeque<Coming> = VecDeque::new();
        let mut more = true;
        loop {
            while more && queue.len() < AHEAD {
                match walk.next(self).await? {
                    Some(leaf) => queue.push_back(self.begin(&leaf, &range, transfer)),
                    None => more = false,
                }
            }
            match queue.pop_front() {
                None => return Ok(()),
                Some(Coming::Held(mut fetching)) => {
                    let pieces = (&mut fetching.0).await.map_err(|_| DownloadError::Internal)??;
                    let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
                    sink.write(pieces).await.map_err(DownloadError::Sink)?;
                    transfer.advance(bytes);
                }
                Some(Coming::Long(child, within)) => {
                    let object = self.chunk(&child).await?;
                    let streamed = object.stream(within, sink, transfer).await;
                    self.take_complaints(&object);
                    streamed?;
                }
            }
        }
    }

    fn begin(self: &Arc<Self>, leaf: &Leaf, range: &Range<u64>, transfer: &Transfer) -> Coming {
        let within = leaf.within(range);
        let child = leaf.child.clone();
        if within.end - within.start > HELD_MAX {
            return Coming::Long(child, within);
        }
        let (tree, beside) = (self.clone(), transfer.beside());
        Coming::Held(Fetching(tokio::spawn(async move {
            let object = tree.chunk(&child).await?;
            let mut held = Held(Vec::new());
            let streamed = object.stream(within, &mut held, &beside).await;
            tree.take_complaints(&object);
            streamed.map(|()| held.0)
        })))
    }

    pub(crate) async fn matching_prefix(&self, file: Arc<dyn ReadAt>) -> Result<u64, DownloadError> {
        let there = file.len().unwrap_or(0).min(self.size);
        let mut walk = Walk::new(self, 0..there);
        while let Some(Leaf { start, child }) = walk.next(self).await? {
            let object = self.chunk(&child).await?;
            let part = Part { file: file.clone(), start, len: child.size };
            let matching = object.matching_prefix(Arc::new(part)).await;
            self.take_complaints(&object);
            let matching = matching?;
            if matching < child.size {
                return Ok(start + matching);
            }
        }
        // Whole chunks matched as far as the file on disk goes.
        Ok(there)
    }
}

impl Leaf {
    /// The part of the chunk that lies in `range` of the file, counted from the chunk's start.
    fn within(&self, range: &Range<u64>) -> Range<u64> {
        range.start.saturating_sub(self.start)..(range.end - self.start).min(self.child.size)
    }
}

fn find<T: Clone>(kept: &Mutex<VecDeque<(IndexChild, T)>>, child: &IndexChild) -> Option<T> {
    let kept = lock(kept);
    kept.iter().find(|(known, _)| known == child).map(|(_, found)| found.clone())
}

fn keep<T>(kept: &Mutex<VecDeque<(IndexChild, T)>>, child: &IndexChild, one: T, most: usize) {
    let mut kept = lock(kept);
    kept.push_back((child.clone(), one));
    if kept.len() > most {
        kept.pop_front();
    }
}

/// A chunk that is wanted.
enum Coming {
    /// It is being fetched into memory.
    Held(Fetching),
    /// This part of it is streamed when its turn comes.
    Long(IndexChild, Range<u64>),
}

/// A fetch on its way; given up when dropped.
struct Fetching(JoinHandle<Result<Vec<Bytes>, DownloadError>>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Pieces in memory.
struct Held(Vec<Bytes>);

impl Sink for Held {
    fn write(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'_, io::Result<()>> {
        self.0.extend(pieces);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The part of a file that one chunk should be.
struct Part {
    file: Arc<dyn ReadAt>,
    start: u64,
    len: u64,
}

impl ReadAt for Part {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.len()?.saturating_sub(self.start).min(self.len))
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(self.start + offset, buffer)
    }
}

/// From chunk to chunk through a range of the file; nodes are fetched when they are reached.
struct Walk {
    range: Range<u64>,
    /// From the root down: a node, its next child, and where that begins.
    path: Vec<(Arc<IndexNode>, usize, u64)>,
}

impl Walk {
    fn new(tree: &FileTree, range: Range<u64>) -> Self {
        Self { range, path: vec![(tree.root.clone(), 0, 0)] }
    }

    async fn next(&mut self, tree: &FileTree) -> Result<Option<Leaf>, DownloadError> {
        while let Some((node, next, at)) = self.path.last_mut() {
            let Some(child) = node.children.get(*next) else {
                self.path.pop();
                continue;
            };
            let (start, end) = (*at, *at + child.size);
            (*next, *at) = (*next + 1, end);
            if end <= self.range.start {
                continue;
            }
            if start >= self.range.end {
                self.path.clear();
                break;
            }
            let (child, level) = (child.clone(), node.level);
            if level == 0 {
                return Ok(Some(Leaf { start, child }));
            }
            let below = tree.node(&child, level - 1).await?;
            self.path.push((below, 0, start));
        }
        Ok(None)
    }
}
