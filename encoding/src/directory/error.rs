//! Why bytes are not a directory.

use caps::{Authority, CapParseError};

use super::metadata::MetadataError;
use super::name::NameError;

/// Why bytes are not a node of a directory, or not the content of a slot.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Not the CBOR that is expected here.
    #[error("the bytes are not those of a directory or of a mutable file")]
    Malformed,
    /// The same content has another encoding, which is the right one.
    #[error("the content is not in the one encoding that it has")]
    NotCanonical,
    /// A format version that this program does not know.
    #[error("the content needs a newer program: its version is {version}")]
    Version {
        /// The version stated.
        version: u64,
    },
    /// A kind of content that this program does not know.
    #[error("the content needs a newer program: its kind is {kind}")]
    Kind {
        /// The kind stated.
        kind: u64,
    },
    /// A mutable file, where a directory is expected.
    #[error("the slot holds a file and not a directory")]
    NotADirectory,
    /// A directory, where a mutable file is expected.
    #[error("the slot holds a directory and not a file")]
    NotAFile,
    /// More bytes than a node or a slot has.
    #[error("content of {len} bytes is more than the {max} that are read")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A level that no tree has.
    #[error("a node at level {level} is deeper than any directory")]
    Level {
        /// The level stated.
        level: u64,
    },
    /// Names that do not ascend, or one that stands twice.
    #[error("names are not in ascending order, or one stands twice")]
    Unordered,
    /// A node without entries or children, or with more children than a node has.
    #[error("a node with {count} items")]
    Count {
        /// Entries or children.
        count: usize,
    },
    /// A reference whose parameters no object has.
    #[error("a reference to a node has impossible parameters")]
    Reference,
    /// Section B does not list the children of section A: whoever walks with a repair cap would be misled.
    #[error("the list of children is not that of the content")]
    Children,
    /// Too many operation ids.
    #[error("{count} operation ids are more than a slot remembers")]
    Operations {
        /// How many.
        count: usize,
    },
    /// A name that is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An entry that is refused.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl From<minicbor::decode::Error> for DirectoryError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Malformed
    }
}

/// Why an entry is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// A kind of entry that this program does not know.
    #[error("an entry needs a newer program: its kind is {kind}")]
    Kind {
        /// The kind stated.
        kind: u64,
    },
    /// A field that this program does not know.
    #[error("an entry needs a newer program: it has a field {field}")]
    Field {
        /// The field's number.
        field: u64,
    },
    /// The read cap is no cap.
    #[error("an entry's read cap: {0}")]
    Cap(#[from] CapParseError),
    /// The read cap is written in another way than it is printed.
    #[error("an entry's read cap is not written as caps are printed")]
    CapForm,
    /// A write cap where every reader would see it.
    #[error("an entry shows a write cap to all readers: it claims more authority than it may carry")]
    TooMuchAuthority,
    /// A cap that reads nothing.
    #[error("an entry needs a read cap, this is a {authority} cap")]
    CannotRead {
        /// What the cap grants.
        authority: Authority,
    },
    /// An unknown cap that does not say that it grants no writing.
    #[error("an entry's cap of an unknown kind alleges no limit (\"ro.\" or \"imm.\")")]
    NoLimit,
    /// A cap of an unknown kind that is said to write, without a read cap of an unknown kind beside it.
    #[error("a write cap of an unknown kind needs its read cap beside it")]
    UnknownWrite,
    /// Neither a read cap nor a write cap.
    #[error("an entry needs a cap")]
    NoCap,
    /// In an immutable directory, a child that may change.
    #[error("an immutable directory holds only what cannot change, and no {kind} cap")]
    NotDeepImmutable {
        /// The kind of cap.
        kind: &'static str,
    },
    /// In an immutable directory, a sealed write cap.
    #[error("an entry of an immutable directory has a sealed write cap")]
    WriteInImmutable,
    /// In a mutable directory, no sealed write cap beside a cap of something that may change: a dummy belongs there.
    #[error("an entry of something mutable has no sealed write cap, not even a dummy")]
    WriteMissing,
    /// A sealed write cap whose length is not the one for this entry.
    #[error("a sealed write cap of {len} bytes")]
    WriteLength {
        /// Bytes given.
        len: usize,
    },
    /// Its kind and its cap contradict each other.
    #[error("an entry's kind is not that of its cap ({cap})")]
    KindOfCap {
        /// The cap's kind.
        cap: &'static str,
    },
    /// A salt beside a cap that has none.
    #[error("an entry has a salt beside a {cap} cap")]
    Salt {
        /// The cap's kind.
        cap: &'static str,
    },
    /// Metadata that are refused.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}
