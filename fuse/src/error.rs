//! Why a call on the mount failed, as POSIX names it.

use client::filestore::{FileStoreError, Refusal};
use client::slot::SlotError;
use client::{DownloadError, PatchError, UploadError};

/// An error of a call: what programs know by its errno.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FsError {
    /// ENOENT.
    #[error("no such file or directory")]
    NotFound,
    /// EEXIST.
    #[error("it exists already")]
    Exists,
    /// ENOTDIR.
    #[error("it is not a directory")]
    NotADirectory,
    /// EISDIR.
    #[error("it is a directory")]
    IsADirectory,
    /// ENOTEMPTY.
    #[error("the directory is not empty")]
    NotEmpty,
    /// ENAMETOOLONG.
    #[error("the name has more than 255 bytes")]
    NameTooLong,
    /// EILSEQ: names are UTF-8.
    #[error("the name is not UTF-8")]
    BadName,
    /// EROFS: the capability or the mount may not write.
    #[error("it is read-only")]
    ReadOnly,
    /// EPERM.
    #[error("this is not supported here")]
    NotPermitted,
    /// EACCES: servers refuse this account.
    #[error("the grid refuses this account")]
    Refused,
    /// ENOSPC.
    #[error("the grid is full")]
    NoSpace,
    /// EDQUOT.
    #[error("the account is over its quota")]
    Quota,
    /// EIO.
    #[error("the grid could not be read or written")]
    Io,
    /// ETIMEDOUT.
    #[error("too few servers answered in time")]
    TimedOut,
    /// EINVAL.
    #[error("invalid argument")]
    Invalid,
    /// EFBIG.
    #[error("the file would be too large")]
    TooBig,
    /// E2BIG or ENOSPC of attributes: more than an entry holds.
    #[error("too many bytes of extended attributes")]
    AttributesTooBig,
    /// ENODATA.
    #[error("no such attribute")]
    NoAttribute,
    /// ENXIO.
    #[error("no data there")]
    NoData,
    /// ESTALE: it was removed by somebody else.
    #[error("it is gone")]
    Stale,
    /// EBADF.
    #[error("the handle is not open for this")]
    BadHandle,
    /// EOPNOTSUPP.
    #[error("operation not supported")]
    Unsupported,
}

impl From<FileStoreError> for FsError {
    fn from(error: FileStoreError) -> Self {
        tracing::debug!(error = &error as &dyn std::error::Error, "the grid");
        match error {
            FileStoreError::Slot(error) => error.into(),
            FileStoreError::Download(error) => error.into(),
            FileStoreError::Upload(error) => error.into(),
            FileStoreError::Patch(error) => error.into(),
            FileStoreError::Refused(refusal) => refusal.into(),
            FileStoreError::Name(_) => Self::BadName,
            FileStoreError::NoEntry { .. } => Self::NotFound,
            FileStoreError::NotADirectory { .. } => Self::NotADirectory,
            FileStoreError::IsADirectory { .. } => Self::IsADirectory,
            FileStoreError::ReadOnly { .. } => Self::ReadOnly,
            FileStoreError::TooFar { .. } => Self::TooBig,
            FileStoreError::Entry(_) => Self::Invalid,
            _ => Self::Io,
        }
    }
}

impl From<Refusal> for FsError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Exists { .. } => Self::Exists,
            Refusal::IsDirectory { .. } => Self::IsADirectory,
            Refusal::IsFile { .. } => Self::NotADirectory,
            Refusal::NoEntry { .. } => Self::NotFound,
            Refusal::Replaced { .. } => Self::Io,
            _ => Self::Invalid,
        }
    }
}

impl From<SlotError> for FsError {
    fn from(error: SlotError) -> Self {
        match error {
            _ if error.is_over_quota() => Self::Quota,
            _ if error.is_refusal() => Self::Refused,
            SlotError::TooFew { .. }
            | SlotError::Unknown { .. }
            | SlotError::NotHappy { .. }
            | SlotError::NotFound { .. } => Self::TimedOut,
            SlotError::WrongKey => Self::ReadOnly,
            _ => Self::Io,
        }
    }
}

impl From<UploadError> for FsError {
    fn from(error: UploadError) -> Self {
        use protocol::message::ErrorCode;
        match &error {
            _ if error.is_over_quota() => Self::Quota,
            UploadError::NotHappy { failures, .. }
                if failures.iter().any(|failure| failure.code == Some(ErrorCode::NoSpace)) =>
            {
                Self::NoSpace
            }
            _ if error.is_refusal() => Self::Refused,
            _ if error.is_retryable() => Self::TimedOut,
            _ => Self::Io,
        }
    }
}

impl From<DownloadError> for FsError {
    fn from(error: DownloadError) -> Self {
        if error.is_retryable() { Self::TimedOut } else { Self::Io }
    }
}

impl From<PatchError> for FsError {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::Download(error) => error.into(),
            PatchError::Upload(error) => error.into(),
            _ => Self::Io,
        }
    }
}
