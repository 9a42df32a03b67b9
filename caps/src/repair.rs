//! Repair caps: Sarsen's own kind, for agents that look after trees they cannot read (DESIGN section 7).

use std::fmt;

use crate::keys::{PlacementBucket, TraversalKey, VerifyHash};

/// Walks, checks, verifies, renews and repairs a tree, and reads no name and no byte of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepairCap {
    /// Opens the section that lists the children's repair caps.
    pub traversal_key: TraversalKey,
    /// H.
    pub hash: VerifyHash,
    /// Where to look; in place of SI, which this cap does not reveal.
    pub bucket: PlacementBucket,
    /// What it names, with the parameters that kind needs.
    pub kind: RepairKind,
}

/// What a repair cap names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RepairKind {
    /// An immutable object.
    Immutable {
        /// k, `shares_needed`.
        needed: u16,
        /// N, `shares_total`.
        total: u16,
        /// Bytes of the file.
        size: u64,
        /// Whether the content is a directory's.
        directory: bool,
    },
    /// A slot.
    Slot {
        /// Whether the content is a directory's.
        directory: bool,
    },
}

impl RepairKind {
    pub(crate) fn is_directory(self) -> bool {
        let (Self::Immutable { directory, .. } | Self::Slot { directory }) = self;
        directory
    }

    pub(crate) fn is_mutable(self) -> bool {
        matches!(self, Self::Slot { .. })
    }

    pub(crate) fn size(self) -> Option<u64> {
        match self {
            Self::Immutable { size, .. } => Some(size),
            Self::Slot { .. } => None,
        }
    }
}

impl fmt::Display for RepairCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, hash, bucket) = (self.traversal_key.base32(), self.hash, self.bucket);
        write!(f, "URI:SARSEN-REPAIR:{key}:{hash}:{bucket}:")?;
        match self.kind {
            RepairKind::Immutable { needed, total, size, directory } => {
                write!(f, "{}:{needed}:{total}:{size}", if directory { "DIR2-CHK" } else { "CHK" })
            }
            RepairKind::Slot { directory } => f.write_str(if directory { "DIR2" } else { "SSK" }),
        }
    }
}
