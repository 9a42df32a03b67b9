//! Why there is no recovery file, or no client out of one.

use std::io;
use std::path::PathBuf;

use crate::aliases::AliasError;
use crate::config::ConfigError;

/// Why a recovery file cannot be made or read. No variant repeats what is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The file to write to is there already.
    #[error("{path} exists already, and is not overwritten")]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// The folder to import into holds something.
    #[error("{dir} is not an empty folder")]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{path} cannot be used")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is too large to be a recovery file.
    #[error("{path} is too large (the largest read is {} bytes)", super::MAX_FILE_LEN)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A passphrase of no characters.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// A passphrase that is no UTF-8.
    #[error("the passphrase is not UTF-8 text")]
    PassphraseNotText,
    /// A work factor that scrypt does not know, or that nobody could open again.
    #[error("scrypt's work factor is 1 to {}, not {given}", super::MAX_WORK_FACTOR)]
    WorkFactor {
        /// What was given.
        given: u8,
    },
    /// Not an age file at all, or one for keys instead of a passphrase.
    #[error("this is not a recovery file")]
    NotARecoveryFile,
    /// The passphrase does not open it.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// It is cut short or damaged.
    #[error("the recovery file is cut short or damaged")]
    Damaged,
    /// Opening it would take too much time and memory.
    #[error(
        "the recovery file asks for too much work (2^{required}; at most 2^{} is done)",
        super::MAX_WORK_FACTOR
    )]
    TooMuchWork {
        /// The power of two it asks for.
        required: u8,
    },
    /// A newer program wrote it.
    #[error(
        "the recovery file is of version {version}; this program reads version {}",
        super::contents::VERSION
    )]
    Newer {
        /// Its version.
        version: u32,
    },
    /// It was opened, and does not hold what it should.
    #[error("the recovery file does not hold what it should: {reason}")]
    Contents {
        /// What is wrong, without any value.
        reason: String,
    },
    /// The client's directory cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The aliases cannot be used.
    #[error(transparent)]
    Alias(#[from] AliasError),
}
