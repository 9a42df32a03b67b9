//! Nodes of a directory's tree, each an object of kind *tree* with two sections.

use caps::{Cap, ImmutableRead, MAX_SIZE, ReadKey, VerifyHash};
use minicbor::Decoder;

use super::Mutability;
use super::cbor::{Out, Written, array_len, array_of, counted, finished, fixed, written};
use super::entry::{Entry, read_name};
use super::error::DirectoryError;
use super::name::Name;
use crate::{Children, MAX_CHILDREN, Sections, repair_immutable};

/// About how many bytes of entries a leaf gets.
pub const LEAF_TARGET_LEN: usize = 24 * 1024;
/// The most bytes of entries in a leaf of several; a single entry may be larger.
pub const LEAF_MAX_LEN: usize = 48 * 1024;
/// The most children of an inner node.
pub const INNER_MAX: usize = 192;
/// The most bytes of section A of a node that are read.
pub const MAX_NODE_LEN: usize = 256 * 1024;
/// The highest level a node may have; leaves are at level 0.
pub const MAX_TREE_LEVEL: u8 = 15;
/// The most entries below a node.
const MAX_ENTRIES: u64 = 1 << 48;

const VERSION: u64 = 1;

/// Where a node is, and how much is below it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeRef {
    /// The read cap of the node's object; it says *directory*.
    pub cap: ImmutableRead,
    /// The salt of the object's descriptor.
    pub salt: [u8; 32],
    /// Entries below, in all leaves.
    pub count: u64,
}

/// A node of a directory's tree. Names ascend strictly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// Entries. Level 0.
    Leaf(Vec<(Name, Entry)>),
    /// Nodes one level below, each under the first name in it.
    Inner {
        /// 1 above leaves, at most [`MAX_TREE_LEVEL`].
        level: u8,
        /// The children.
        children: Vec<(Name, NodeRef)>,
    },
}

impl Node {
    /// 0 for a leaf.
    pub fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner { level, .. } => *level,
        }
    }

    /// Entries or children.
    pub fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Inner { children, .. } => children.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first name.
    pub fn first(&self) -> Option<&Name> {
        match self {
            Self::Leaf(entries) => entries.first().map(|(name, _)| name),
            Self::Inner { children, .. } => children.first().map(|(name, _)| name),
        }
    }

    /// The last name: of an entry, or the first of the last child.
    pub fn last(&self) -> Option<&Name> {
        match self {
            Self::Leaf(entries) => entries.last().map(|(name, _)| name),
            Self::Inner { children, .. } => children.last().map(|(name, _)| name),
        }
    }

    /// Entries below, in all leaves, as far as this node says.
    pub fn count(&self) -> u64 {
        match self {
            Self::Leaf(entries) => entries.len() as u64,
            Self::Inner { children, .. } => {
                children.iter().fold(0, |sum, (_, child)| sum.saturating_add(child.count))
            }
        }
    }

    /// Whether names ascend strictly.
    pub fn is_ordered(&self) -> bool {
        match self {
            Self::Leaf(entries) => entries.is_sorted_by(|(a, _), (b, _)| a < b),
            Self::Inner { children, .. } => children.is_sorted_by(|(a, _), (b, _)| a < b),
        }
    }

    /// Checks everything that a reader will check, for whoever is about to store the node in a directory of this mutability.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub fn check(&self, mutability: Mutability) -> Result<(), DirectoryError> {
        let count = self.len();
        match self {
            Self::Leaf(entries) => entries.iter().try_for_each(|(_, entry)| entry.check(mutability))?,
            Self::Inner { level, .. } if !(1..=MAX_TREE_LEVEL).contains(level) => {
                return Err(DirectoryError::Level { level: (*level).into() });
            }
            Self::Inner { .. } if count > INNER_MAX => return Err(DirectoryError::Count { count }),
            Self::Inner { .. } => {}
        }
        match count {
            0 => Err(DirectoryError::Count { count }),
            _ if !self.is_ordered() => Err(DirectoryError::Unordered),
            _ => Ok(()),
        }
    }

    /// The two sections of the node's payload.
    pub fn to_sections(&self) -> Sections {
        Sections { a: self.to_bytes(), b: self.children().to_bytes() }
    }

    /// Section A.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        written(|e| {
            e.array(3)?.u64(VERSION)?.u8(self.level())?.array(self.len() as u64)?;
            match self {
                Self::Leaf(entries) => {
                    entries.iter().try_for_each(|(name, entry)| write_item(e, name, entry))
                }
                Self::Inner { children, .. } => {
                    children.iter().try_for_each(|(name, child)| write_child(e, name, child))
                }
            }
        })
    }

    /// What section B lists: the children, in order.
    pub fn children(&self) -> Children {
        let mut out = Children::default();
        match self {
            Self::Leaf(entries) => entries.iter().for_each(|(_, entry)| entry.list_children(&mut out)),
            Self::Inner { children, .. } => {
                out.list.extend(children.iter().map(|(_, child)| child.repair_cap()))
            }
        }
        out
    }

    /// A node of a directory of this mutability from its sections.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub fn parse(sections: &Sections, mutability: Mutability) -> Result<Self, DirectoryError> {
        let node = Self::parse_bytes(&sections.a, mutability)?;
        if node.is_empty() {
            return Err(DirectoryError::Count { count: 0 });
        }
        let children = node.children();
        if children.list.len() > MAX_CHILDREN || children.to_bytes() != sections.b {
            return Err(DirectoryError::Children);
        }
        Ok(node)
    }

    /// A node from section A alone; it may be empty.
    pub(super) fn parse_bytes(bytes: &[u8], mutability: Mutability) -> Result<Self, DirectoryError> {
        if bytes.len() > MAX_NODE_LEN {
            return Err(DirectoryError::TooLong { len: bytes.len(), max: MAX_NODE_LEN });
        }
        let mut d = Decoder::new(bytes);
        array_of(&mut d, 3)?;
        match d.u64()? {
            VERSION => {}
            version => return Err(DirectoryError::Version { version }),
        }
        let level = d.u64()?;
        let node = match u8::try_from(level) {
            Ok(0) => Self::Leaf(read_entries(&mut d, mutability)?),
            Ok(level @ 1..=MAX_TREE_LEVEL) => Self::Inner { level, children: read_refs(&mut d)? },
            _ => return Err(DirectoryError::Level { level }),
        };
        finished(&d)?;
        if !node.is_ordered() {
            return Err(DirectoryError::Unordered);
        }
        if node.to_bytes() != bytes {
            return Err(DirectoryError::NotCanonical);
        }
        Ok(node)
    }
}

fn read_entries(d: &mut Decoder<'_>, mutability: Mutability) -> Result<Vec<(Name, Entry)>, DirectoryError> {
    let mut entries = Vec::new();
    for _ in 0..array_len(d)? {
        array_of(d, 2)?;
        entries.push((read_name(d)?, Entry::read(d, mutability)?));
    }
    Ok(entries)
}

fn read_refs(d: &mut Decoder<'_>) -> Result<Vec<(Name, NodeRef)>, DirectoryError> {
    let count = array_len(d)?;
    if count > INNER_MAX {
        return Err(DirectoryError::Count { count });
    }
    let mut children = Vec::new();
    for _ in 0..count {
        array_of(d, 2)?;
        children.push((read_name(d)?, NodeRef::read(d)?));
    }
    Ok(children)
}

fn write_item(e: &mut Out<'_>, name: &Name, entry: &Entry) -> Written {
    e.array(2)?.str(name.as_str())?;
    entry.write(e)
}

fn write_child(e: &mut Out<'_>, name: &Name, child: &NodeRef) -> Written {
    e.array(2)?.str(name.as_str())?;
    child.write(e)
}

/// Bytes that an entry takes in a leaf.
pub fn leaf_item_len(name: &Name, entry: &Entry) -> usize {
    counted(|e| write_item(e, name, entry))
}

impl NodeRef {
    /// The repair cap of the node and all that is below it.
    pub fn repair_cap(&self) -> Cap {
        Cap::Repair(repair_immutable(&self.cap, &self.salt))
    }

    pub(super) fn write(&self, e: &mut Out<'_>) -> Written {
        e.array(7)?;
        write_object(e, &self.cap)?;
        e.bytes(&self.salt)?.u64(self.count)?;
        Ok(())
    }

    pub(super) fn read(d: &mut Decoder<'_>) -> Result<Self, DirectoryError> {
        array_of(d, 7)?;
        let cap = read_object(d, true)?;
        let (salt, count) = (fixed(d)?, d.u64()?);
        if count == 0 || count > MAX_ENTRIES {
            return Err(DirectoryError::Reference);
        }
        Ok(Self { cap, salt, count })
    }
}

/// K, H, k, N and size: five items.
pub(super) fn write_object(e: &mut Out<'_>, cap: &ImmutableRead) -> Written {
    e.bytes(cap.key.expose())?.bytes(cap.hash.as_bytes())?;
    e.u16(cap.needed)?.u16(cap.total)?.u64(cap.size)?;
    Ok(())
}

pub(super) fn read_object(d: &mut Decoder<'_>, directory: bool) -> Result<ImmutableRead, DirectoryError> {
    let (key, hash) = (ReadKey::new(fixed(d)?), VerifyHash::new(fixed(d)?));
    let (needed, total, size) = (d.u64()?, d.u64()?, d.u64()?);
    match (u16::try_from(needed), u16::try_from(total)) {
        (Ok(needed), Ok(total)) if (1..=total).contains(&needed) && total <= 256 && size <= MAX_SIZE => {
            Ok(ImmutableRead { key, hash, needed, total, size, directory })
        }
        _ => Err(DirectoryError::Reference),
    }
}
