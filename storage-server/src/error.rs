//! What can go wrong in a store, one enum per operation.

use std::io;

use encoding::ShareError;
use protocol::NodeId;
use protocol::message::ErrorCode;

/// Why a store could not be created or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory is no store: most likely its disk is not mounted. Nothing was written there.
    #[error("{disk} is not a store (no identity file): is its disk mounted?")]
    NotAStore {
        /// The directory.
        disk: String,
    },
    /// Another store than the expected one is mounted there.
    #[error("{disk} holds store {found}, not {expected}: is the right disk mounted?")]
    WrongStore {
        /// The directory.
        disk: String,
        /// The store that should be there.
        expected: NodeId,
        /// The store that is there.
        found: NodeId,
    },
    /// There is a store already.
    #[error("{disk} is a store already")]
    AlreadyAStore {
        /// The directory.
        disk: String,
    },
    /// There is data of some store whose identity file is gone.
    #[error("{disk} holds shares but no identity file: it will not be made a new store over them")]
    LostIdentity {
        /// The directory.
        disk: String,
    },
    /// It was written by a newer program.
    #[error("{disk} has store format {found}, this program knows {known}: it needs a newer program")]
    NewerVersion {
        /// The directory.
        disk: String,
        /// The format found.
        found: u64,
        /// The newest format this program knows.
        known: u64,
    },
    /// The identity file is damaged.
    #[error("the identity file of {disk} is damaged")]
    BadIdentity {
        /// The directory.
        disk: String,
    },
    /// Another process has it open.
    #[error("{disk} is in use by another process")]
    InUse {
        /// The directory.
        disk: String,
    },
    /// The medium failed.
    #[error("cannot {action} in {disk}")]
    Io {
        /// The directory.
        disk: String,
        /// What was tried.
        action: &'static str,
        /// What the medium said.
        source: io::Error,
    },
    /// The index cannot be read, and is not to be rebuilt because the store is opened read-only.
    #[error("the index of {disk} is lost, and a store opened read-only is not rebuilt")]
    IndexLost {
        /// The directory.
        disk: String,
    },
    /// The index failed.
    #[error("the index of {disk} failed")]
    Index {
        /// The directory.
        disk: String,
        /// What it said.
        source: Box<redb::Error>,
    },
}

/// Why a share was not stored, or a lease not recorded.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The store takes no shares.
    #[error("the store is read-only")]
    ReadOnly,
    /// Not enough room beside the reserve.
    #[error("not enough room: {needed} bytes are needed, {available} are left beside the reserve")]
    NoSpace {
        /// Bytes wanted.
        needed: u64,
        /// Bytes there are, without the reserve and what other uploads still want.
        available: u64,
    },
    /// The account would be charged more than it may on this server.
    #[error(
        "the account's quota is used up: {needed} bytes are needed, {left} are left of it on this server"
    )]
    OverQuota {
        /// Bytes wanted.
        needed: u64,
        /// Bytes of the quota that are neither charged nor on their way.
        left: u64,
    },
    /// The same share of the same upload is on its way already.
    #[error("this share of this upload is on its way already")]
    Busy,
    /// The share is longer than the bound, than stated, or shorter than stated.
    #[error("a share of {len} bytes, where at most {max} were expected")]
    TooLong {
        /// Bytes sent or stated.
        len: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// The share ended before the length stated.
    #[error("the share ended after {len} of {stated} bytes")]
    TooShort {
        /// Bytes sent.
        len: u64,
        /// Bytes stated.
        stated: u64,
    },
    /// The share fails its own hashes. Nothing of it was kept.
    #[error("the share is not intact: {reason}")]
    Corrupt {
        /// What is wrong with it.
        #[source]
        reason: std::sync::Arc<ShareError>,
    },
    /// The share is intact but has another number than the upload said.
    #[error("share {found} was sent where share {stated} was announced")]
    WrongNumber {
        /// The number it was announced with.
        stated: u16,
        /// The number it has.
        found: u16,
    },
    /// The system is short of something that comes back: open files, memory. The store goes on.
    #[error("too much is under way on this system: {reason}")]
    Overloaded {
        /// What the system said.
        reason: std::sync::Arc<io::Error>,
    },
    /// A slot that is new to the store came without a lease: nobody asks for it to be kept.
    #[error("a slot that is new here needs a lease")]
    NoLease,
    /// The disk cannot read all that was written to it.
    #[error("the disk is failing: shares in it could not be read")]
    Failing,
    /// The disk failed; the store takes nothing more until it is opened again.
    #[error("the disk failed")]
    Failed,
}

impl PutError {
    /// As the wire says it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::ReadOnly => ErrorCode::ReadOnly,
            Self::NoSpace { .. } => ErrorCode::NoSpace,
            Self::OverQuota { .. } => ErrorCode::OverQuota,
            Self::Busy | Self::Overloaded { .. } => ErrorCode::Busy,
            Self::TooLong { .. } | Self::TooShort { .. } | Self::WrongNumber { .. } => ErrorCode::BadRequest,
            Self::Corrupt { .. } => ErrorCode::Corrupt,
            Self::NoLease => ErrorCode::NotAdmitted,
            Self::Failing | Self::Failed => ErrorCode::StoreFailed,
        }
    }
}

/// Why a stored share could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is not here.
    #[error("no such share here")]
    NotFound,
    /// What is asked for lies outside of the share.
    #[error("the share has no such {what}")]
    OutOfRange {
        /// Block, column or range.
        what: &'static str,
    },
    /// The answer would be larger than a server makes in one piece.
    #[error("the answer would have {len} bytes, at most {max} are made at once")]
    TooLarge {
        /// Bytes.
        len: u64,
        /// The bound.
        max: u64,
    },
    /// What is stored fails its own hashes.
    #[error("the stored share is corrupt")]
    Corrupt,
    /// The system is short of something that comes back: open files, memory.
    #[error("too much is under way on this system")]
    Busy(#[source] io::Error),
    /// The medium failed.
    #[error("the disk failed")]
    Io(#[source] io::Error),
    /// The index failed.
    #[error("the index failed")]
    Index(#[from] Box<redb::Error>),
}

impl ReadError {
    /// As the wire says it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::NotFound,
            Self::OutOfRange { .. } => ErrorCode::BadRequest,
            Self::TooLarge { .. } => ErrorCode::Unsupported,
            Self::Corrupt => ErrorCode::Corrupt,
            Self::Busy(_) => ErrorCode::Busy,
            Self::Io(_) | Self::Index(_) => ErrorCode::StoreFailed,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        if is_passing(&error) { Self::Busy(error) } else { Self::Io(error) }
    }
}

/// Whether an error says nothing about the medium, only that the system is short of something for now: open files, memory, a limit on
/// the length of files. It is no reason to give up a store.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let kind = matches!(
        error.kind(),
        io::ErrorKind::OutOfMemory
            | io::ErrorKind::Interrupted
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::WouldBlock
    );
    kind || is_out_of_files(error) || Errno::from_io_error(error).is_some_and(|errno| errno == Errno::NOMEM)
}

/// Whether no file could be opened for want of a descriptor: of a sync, this can only have been the opening before it.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error).is_some_and(|errno| errno == Errno::MFILE || errno == Errno::NFILE)
}
