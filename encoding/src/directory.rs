//! What a directory says: names, entries, the nodes of its tree, and what its slot holds (`docs/spec/directories.md`).
//!
//! A directory maps names to entries. A small one stands whole in its slot ([`SlotDirectory`]); a larger one folds edits into a tree
//! of immutable [`Node`]s, each an object of its own. An immutable directory is such a tree by itself. Everything here has exactly one
//! encoding: what parses is written back to the letter.
//!
//! ```
//! use encoding::directory::{Entry, EntryKind, Mutability, Name, Node};
//!
//! let cap = "URI:LIT:nbswy3dp".parse()?;
//! let node = Node::Leaf(vec![(Name::new("hello.txt")?, Entry::new(EntryKind::File, cap))]);
//! let sections = node.to_sections();
//! assert_eq!(Node::parse(&sections, Mutability::Immutable)?, node);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Deliberately absent: where nodes are kept and how they are joined to a tree (crate `client`).

mod caps;
mod cbor;
mod content;
mod entry;
mod error;
mod literal;
mod metadata;
mod name;
mod node;
mod seal;

pub use caps::ChildCaps;
pub use content::{FileContent, MAX_REMEMBERED, OperationId, SlotContent, SlotDirectory, SlotFile};
pub use entry::{Entry, EntryKind};
pub use error::{DirectoryError, EntryError};
pub use literal::{literal_directory, open_literal};
pub use metadata::{
    MAX_EXTRA_LEN, MAX_SYMLINK_LEN, MAX_XATTR_NAME_LEN, MAX_XATTRS_LEN, Metadata, MetadataError, Time,
};
pub use name::{MAX_NAME_LEN, Name, NameError};
pub use node::{
    INNER_MAX, LEAF_MAX_LEN, LEAF_TARGET_LEN, MAX_NODE_LEN, MAX_TREE_LEVEL, Node, NodeRef, leaf_item_len,
};
pub use seal::{SealError, SealedWrite, open_write, seal_write};

/// Whether a directory may change. What an immutable one holds may not change either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutability {
    /// The directory of a slot.
    Mutable,
    /// `DIR2-CHK` and `DIR2-LIT`.
    Immutable,
}
