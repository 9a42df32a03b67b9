//! What can go wrong in the file store.

use encoding::directory::{DirectoryError, EntryError, NameError, SealError};

use crate::directory::TreeError;
use crate::slot::{EditError, SlotError};
use crate::{DownloadError, PatchError, UploadError};

use super::edit::Refusal;

/// Why something in the file store could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileStoreError {
    /// A slot could not be read or changed.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// An object could not be read.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// An object could not be stored.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// A mutable file could not be changed.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// What was read is not a directory, or a damaged one.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A node of a directory does not fit its place.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// An entry that no directory may hold.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// An entry's write cap does not open, or does not belong to it.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The change was refused, given what is there.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no entry of this name.
    #[error("there is no {path}")]
    NoEntry {
        /// The path, from the root that was given.
        path: String,
    },
    /// Something in the middle of a path, or what is to be listed, is no directory.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The path, from the root that was given.
        path: String,
    },
    /// A directory where a file is wanted.
    #[error("{path} is a directory")]
    IsADirectory {
        /// The path.
        path: String,
    },
    /// A place to write at that lies too far behind the end of a mutable file: all between would be zeros.
    #[error(
        "byte {at} lies more than {} bytes behind the end of the file, which has {size}",
        super::mutable::GAP_MAX
    )]
    TooFar {
        /// Where it was to be written.
        at: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// A directory below more than [`super::MAX_DEPTH`] others.
    #[error("it lies deeper than {} directories, and is not followed", super::MAX_DEPTH)]
    TooDeep,
    /// The cap does not grant this.
    #[error("{what} needs a cap that may write, and this one may not")]
    ReadOnly {
        /// What was to be changed.
        what: String,
    },
    /// A cap that leads to nothing that can be read.
    #[error("a {kind} cap cannot be read")]
    NotReadable {
        /// Its kind.
        kind: &'static str,
    },
    /// The round that was to make this change, together with others, failed.
    #[error("{reason}")]
    Round {
        /// Why.
        reason: String,
    },
    /// The task that worked on this was given up.
    #[error("the change was given up: it may have been made or not")]
    GivenUp,
}

impl From<EditError<Self>> for FileStoreError {
    fn from(error: EditError<Self>) -> Self {
        match error {
            EditError::Refused(error) => error,
            EditError::Slot(error) => error.into(),
        }
    }
}
