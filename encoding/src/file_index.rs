//! The index of a tree file: which objects its bytes are in, in nodes of at most 256 children, some levels deep (`docs/spec/trees.md`).
//!
//! Nodes end where their children's hashes say so, as chunks end where bytes say so: a change of one chunk changes one node of each level.

use std::ops::Range;

use caps::{Cap, ImmutableRead, ReadKey, VerifyHash};
use minicbor::{Decoder, Encoder};

use crate::children::{Children, child_of, repair_immutable};
use crate::geometry::{GeometryError, Params};
use crate::sections::Sections;

/// The most children of a node.
pub const MAX_FAN_OUT: usize = 256;
/// The level of the highest root there may be; nodes of level 0 list chunks.
pub const MAX_INDEX_LEVEL: u8 = 7;

/// A node with so many children may end where a hash says so.
const MIN_FAN_OUT: usize = 32;
/// It ends after a child whose H begins with a byte below this: one in 128.
const ENDS_BELOW: u8 = 2;
const VERSION: u64 = 1;
const TYPE: &str = "file";

/// A child of an index node: a stretch of the file, and the object that holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexChild {
    /// Bytes of the file that it covers; at least 1.
    pub size: u64,
    /// K.
    pub key: ReadKey,
    /// H.
    pub hash: VerifyHash,
    /// k
    pub needed: u16,
    /// N
    pub total: u16,
    /// Of an index node: its descriptor's salt, from which with K its traversal key follows. `None` for a chunk.
    pub salt: Option<[u8; 32]>,
}

impl IndexChild {
    /// The child that this cap reads; `salt` for index nodes only.
    pub fn new(cap: &ImmutableRead, salt: Option<[u8; 32]>) -> Self {
        Self {
            size: cap.size,
            key: cap.key.clone(),
            hash: cap.hash,
            needed: cap.needed,
            total: cap.total,
            salt,
        }
    }

    /// The cap that reads it.
    pub fn cap(&self) -> ImmutableRead {
        ImmutableRead {
            key: self.key.clone(),
            hash: self.hash,
            needed: self.needed,
            total: self.total,
            size: self.size,
            directory: false,
        }
    }

    fn ends_node(&self) -> bool {
        self.hash.as_bytes()[0] < ENDS_BELOW
    }
}

/// One node of a tree file's index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexNode {
    /// 0 if the children are chunks, else one more than their level.
    pub level: u8,
    /// What it covers, in order.
    pub children: Vec<IndexChild>,
}

/// Why an object is not the index of a file. Whoever made it is at fault, and no server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileIndexError {
    /// Section A is not the CBOR it should be.
    #[error("the index of the file cannot be read")]
    Malformed,
    /// A version that this program does not know.
    #[error("the index of the file needs a newer program: its version is {version}")]
    Version {
        /// The version stated.
        version: u64,
    },
    /// A tree of another type, such as a directory.
    #[error("the tree is not a file")]
    NotAFile,
    /// More levels than any file needs.
    #[error("the index of the file has level {level}, which is too deep")]
    TooDeep {
        /// The level stated or reached.
        level: u64,
    },
    /// A child that is not of the level below.
    #[error("the index of the file has a node of level {level} where {expected} belongs")]
    Level {
        /// The level stated.
        level: u8,
        /// The level below the parent's.
        expected: u8,
    },
    /// Too many children, or none where there is something to cover.
    #[error("a node in the index of the file has {count} children")]
    FanOut {
        /// Children stated.
        count: u64,
    },
    /// A child's k and N are those of no object.
    #[error("the index of the file names an object that cannot be")]
    Parameters(#[source] GeometryError),
    /// The children do not cover what their node stands for.
    #[error("a node in the index of the file covers another number of bytes than the {stated} it should")]
    Size {
        /// Bytes it should cover.
        stated: u64,
    },
    /// A chunk where an index node belongs, or the reverse.
    #[error("the index of the file names an object of the wrong kind")]
    ChildKind,
    /// The salt of a child is not its descriptor's.
    #[error("the index of the file states a wrong salt")]
    Salt,
    /// Section B lists other children than section A: whoever repairs by it would miss some.
    #[error("the two sections of the file's index name different objects")]
    ChildrenDiffer,
}

impl From<minicbor::decode::Error> for FileIndexError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Malformed
    }
}

impl IndexNode {
    /// Bytes of the file that it covers.
    pub fn size(&self) -> u64 {
        self.children.iter().map(|child| child.size).sum()
    }

    /// What is stored of the node.
    pub fn sections(&self) -> Sections {
        Sections { a: self.section_a(), b: self.section_b().to_bytes() }
    }

    fn section_a(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + 100 * self.children.len());
        let mut e = Encoder::new(&mut out);
        let mut write = || -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
            e.array(4)?.u64(VERSION)?.str(TYPE)?.u8(self.level)?.array(self.children.len() as u64)?;
            for child in &self.children {
                e.array(5 + u64::from(child.salt.is_some()))?.u64(child.size)?;
                e.bytes(child.key.expose())?.bytes(child.hash.as_bytes())?;
                e.u16(child.needed)?.u16(child.total)?;
                if let Some(salt) = &child.salt {
                    e.bytes(salt)?;
                }
            }
            Ok(())
        };
        write().expect("writing to a Vec cannot fail");
        out
    }

    fn section_b(&self) -> Children {
        let repair = |child: &IndexChild| match &child.salt {
            Some(salt) => Some(Cap::Repair(repair_immutable(&child.cap(), salt))),
            None => child_of(&Cap::ImmutableRead(child.cap()), None),
        };
        Children { list: self.children.iter().filter_map(repair).collect(), unknown: 0 }
    }

    /// Reads a node that must cover `size` bytes, and be of `level` unless it is a root. Section B is held against section A.
    ///
    /// # Errors
    ///
    /// [`FileIndexError`].
    pub fn parse(sections: &Sections, size: u64, level: Option<u8>) -> Result<Self, FileIndexError> {
        let mut d = Decoder::new(&sections.a);
        let fields = d.array()?;
        let version = d.u64()?;
        if version != VERSION {
            return Err(FileIndexError::Version { version });
        }
        if d.str()? != TYPE {
            return Err(FileIndexError::NotAFile);
        }
        if fields != Some(4) {
            return Err(FileIndexError::Malformed);
        }
        let node = Self::parse_children(&mut d, level)?;
        if d.position() != sections.a.len() {
            return Err(FileIndexError::Malformed);
        }
        node.check_sizes(size)?;
        match Children::parse(&sections.b) {
            Ok(children) if children == node.section_b() => Ok(node),
            _ => Err(FileIndexError::ChildrenDiffer),
        }
    }

    fn parse_children(d: &mut Decoder<'_>, expected: Option<u8>) -> Result<Self, FileIndexError> {
        let level = d.u64()?;
        if level > u64::from(MAX_INDEX_LEVEL) {
            return Err(FileIndexError::TooDeep { level });
        }
        let level = level as u8;
        if let Some(expected) = expected.filter(|expected| *expected != level) {
            return Err(FileIndexError::Level { level, expected });
        }
        let count = d.array()?.ok_or(FileIndexError::Malformed)?;
        if count > MAX_FAN_OUT as u64 {
            return Err(FileIndexError::FanOut { count });
        }
        let children = (0..count).map(|_| read_child(d, level)).collect::<Result<_, _>>()?;
        Ok(Self { level, children })
    }

    fn check_sizes(&self, stated: u64) -> Result<(), FileIndexError> {
        let sum = self.children.iter().try_fold(0u64, |sum, child| sum.checked_add(child.size));
        if self.children.iter().any(|child| child.size == 0) || sum != Some(stated) {
            return Err(FileIndexError::Size { stated });
        }
        // An empty file is one node without children.
        if self.children.is_empty() && self.level > 0 {
            return Err(FileIndexError::FanOut { count: 0 });
        }
        Ok(())
    }

    /// The children that hold any of the bytes `range` of what this node covers, each with the offset at which it begins.
    pub fn children_of(&self, range: &Range<u64>) -> impl Iterator<Item = (u64, &IndexChild)> {
        let mut end = 0;
        let placed = self.children.iter().map(move |child| {
            let start = end;
            end += child.size;
            (start, child)
        });
        let range = range.clone();
        placed.filter(move |(start, child)| *start < range.end && start + child.size > range.start)
    }
}

fn read_child(d: &mut Decoder<'_>, level: u8) -> Result<IndexChild, FileIndexError> {
    let fields = d.array()?;
    let size = d.u64()?;
    let (key, hash) = (ReadKey::new(fixed(d)?), VerifyHash::new(fixed(d)?));
    let (needed, total) = (d.u16()?, d.u16()?);
    Params::new(needed, total).map_err(FileIndexError::Parameters)?;
    let salt = match fields {
        Some(5) => None,
        Some(6) => Some(fixed(d)?),
        _ => return Err(FileIndexError::Malformed),
    };
    // Only index nodes have a traversal key to be derived.
    if salt.is_some() != (level > 0) {
        return Err(FileIndexError::ChildKind);
    }
    Ok(IndexChild { size, key, hash, needed, total, salt })
}

fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], FileIndexError> {
    d.bytes()?.try_into().map_err(|_| FileIndexError::Malformed)
}

/// Puts children into nodes, from left to right, as they become known. It cannot store nodes itself: it hands them out, and takes them
/// back as children of the level above.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    /// For each level, the children of the node that is not full yet.
    open: Vec<Vec<IndexChild>>,
}

/// What became of a child.
#[derive(Debug)]
#[must_use]
pub enum Added {
    /// It has its place.
    Done,
    /// This node must be stored and added at one level more than its own; then the child is to be added again.
    StoreFirst(IndexNode, IndexChild),
}

/// What is left to do at the end.
#[derive(Debug)]
#[must_use]
pub enum Finished {
    /// This node must be stored and added at one level more than its own.
    Store(IndexNode),
    /// This is the root, to be stored.
    Root(IndexNode),
    /// This child, stored before, is the root.
    Known(IndexChild),
}

impl IndexBuilder {
    /// Adds what comes next in the file at `level`: 0 for a chunk, one more than its own for an index node, which may be one of an older
    /// index.
    ///
    /// # Errors
    ///
    /// [`FileIndexError::TooDeep`].
    pub fn add(&mut self, level: u8, child: IndexChild) -> Result<Added, FileIndexError> {
        if level > MAX_INDEX_LEVEL {
            return Err(FileIndexError::TooDeep { level: level.into() });
        }
        let at = usize::from(level);
        if self.open.len() <= at {
            self.open.resize_with(at + 1, Vec::new);
        }
        // What is before it in the file and below it in the tree comes first.
        let below = self.open[..at].iter().position(|children| !children.is_empty());
        if let Some(full) = below.or_else(|| is_full(&self.open[at]).then_some(at)) {
            return Ok(Added::StoreFirst(self.take(full), child));
        }
        self.open[at].push(child);
        Ok(Added::Done)
    }

    /// The next thing to do once everything is added.
    pub fn finish(&mut self) -> Finished {
        let Some(lowest) = self.open.iter().position(|children| !children.is_empty()) else {
            return Finished::Root(IndexNode { level: 0, children: Vec::new() });
        };
        let mut node = self.take(lowest);
        if self.open.iter().any(|children| !children.is_empty()) {
            return Finished::Store(node);
        }
        if node.level > 0 && node.children.len() == 1 {
            return Finished::Known(node.children.remove(0));
        }
        Finished::Root(node)
    }

    fn take(&mut self, at: usize) -> IndexNode {
        IndexNode { level: at as u8, children: std::mem::take(&mut self.open[at]) }
    }
}

/// A full node is handed out only when something follows it, so that no root has a single node below it for nothing.
fn is_full(children: &[IndexChild]) -> bool {
    children.len() >= MAX_FAN_OUT
        || (children.len() >= MIN_FAN_OUT && children.last().is_some_and(IndexChild::ends_node))
}
