//! What a walk does not take along, and why.

use std::io;
use std::path::PathBuf;

use encoding::directory::NameError;

/// Why a tree cannot be walked at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// Its root is no folder, or cannot be read.
    #[error("{path} cannot be read")]
    Root {
        /// The root.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A single file that is none.
    #[error("{path} cannot be copied: {reason}")]
    Single {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: SkipReason,
    },
}

/// Why something in a tree is left out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// The user asked for it.
    #[error("it is excluded")]
    Excluded,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is no file, folder or symlink.
    #[error("it is {what}")]
    Special {
        /// What it is, for people.
        what: &'static str,
    },
    /// Its name is no UTF-8.
    #[error("its name is not UTF-8")]
    NotUtf8,
    /// Its name cannot be one on the grid.
    #[error("its name cannot be used: {0}")]
    Name(#[source] NameError),
    /// Another entry of the folder has the same name after normalisation.
    #[error("another entry is also called {name:?}, once Unicode is normalised")]
    SameName {
        /// The name of both.
        name: String,
    },
    /// A folder that holds itself, as bind mounts can make it.
    #[error("it is a folder that it lies in")]
    Cycle,
    /// A folder below [`super::MAX_DEPTH`] others.
    #[error("it lies below more than {} folders", super::MAX_DEPTH)]
    TooDeep,
    /// Only some extended attributes are left out: too many, too large, unreadable, or with names that are no UTF-8.
    #[error("some of its extended attributes are left out: {}", names.join(", "))]
    Xattrs {
        /// Their names.
        names: Vec<String>,
    },
    /// Only its extended attributes are left out.
    #[error("its extended attributes cannot be read: {0}")]
    XattrsUnreadable(#[source] io::Error),
}

impl SkipReason {
    /// Whether the user should hear of it: all but what the user asked for.
    pub fn is_problem(&self) -> bool {
        !matches!(self, Self::Excluded)
    }

    /// Whether the entry itself comes nevertheless.
    pub fn is_partial(&self) -> bool {
        matches!(self, Self::Xattrs { .. } | Self::XattrsUnreadable(_))
    }
}
