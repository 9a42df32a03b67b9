//! Why something could not be put back.

use std::io;
use std::path::PathBuf;

use encoding::directory::NameError;

/// Why a file, folder or link cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The name cannot be one.
    #[error("the name of an entry cannot be used")]
    Name(#[from] NameError),
    /// Something that is not replaced has its name: a folder where a file should be, or the other way round, or a symlink where a
    /// folder should be.
    #[error("{path}: something else is in the way")]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// No symlink can point to this: it is empty, too long or contains NUL.
    #[error("{path}: no symlink can point to what it should point to")]
    Target {
        /// The path of the symlink.
        path: PathBuf,
    },
    /// The system says no.
    #[error("{path} cannot be made")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// What is wrong with something that was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The owner cannot be set.
    #[error("its owner cannot be set: {0}")]
    Owner(#[source] io::Error),
    /// The mode cannot be set.
    #[error("its mode cannot be set: {0}")]
    Mode(#[source] io::Error),
    /// Set-user-id or set-group-id is left off, since the owner is not the one who set it.
    #[error("its set-user-id and set-group-id bits are left off: it has another owner here")]
    SetId,
    /// The times cannot be set.
    #[error("its times cannot be set: {0}")]
    Times(#[source] io::Error),
    /// An extended attribute cannot be set.
    #[error("its extended attribute {name:?} cannot be set: {source}")]
    Xattr {
        /// Its name.
        name: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// An extended attribute that the system acts upon is left off, see [`super::Trust::Foreign`].
    #[error("its extended attribute {name:?} is left off: the system would act upon it")]
    XattrLeftOff {
        /// Its name.
        name: String,
    },
    /// It should be another name of a file, and is missing.
    #[error("it cannot be linked to its other name: {0}")]
    HardLink(#[source] RestoreError),
    /// A folder was taken away while it was being filled.
    #[error("it is no longer there: {0}")]
    Gone(#[source] RestoreError),
}
