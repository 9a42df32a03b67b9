//! What went wrong, as a status of HTTP.

use axum::http::StatusCode;
use client::check::CheckError;
use client::filestore::{FileStoreError, Refusal};
use client::slot::SlotError;
use client::upload::UploadError;
use client::{DownloadError, PatchError};

/// How a failure is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status.
    pub status: StatusCode,
    /// After how many seconds it may go well.
    pub retry_after: Option<u32>,
    /// Names the kind of failure, for programs.
    pub code: &'static str,
    /// Says what went wrong. It holds no capability.
    pub text: String,
}

/// Seconds after which servers that did not answer may do so.
const RETRY_AFTER: u32 = 10;

impl Failure {
    /// With no promise that it may go well later.
    pub fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, retry_after: None, code, text: text.into() }
    }

    /// The request itself is wrong.
    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", text)
    }

    fn later(text: String) -> Self {
        let new = Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-few-servers", text);
        Self { retry_after: Some(RETRY_AFTER), ..new }
    }

    fn gone(text: String) -> Self {
        Self::new(StatusCode::GONE, "unrecoverable", text)
    }

    fn no_room(text: String) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "no-room", text)
    }

    fn forbidden(text: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, "no-authority", text)
    }

    fn conflict(text: String) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", text)
    }

    fn internal(text: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", text)
    }
}

impl From<&FileStoreError> for Failure {
    fn from(error: &FileStoreError) -> Self {
        use FileStoreError as E;
        let text = error.to_string();
        match error {
            E::Slot(error) => error.into(),
            E::Download(error) => error.into(),
            E::Upload(error) => error.into(),
            E::Patch(PatchError::Download(error)) => error.into(),
            E::Patch(PatchError::Upload(error)) => error.into(),
            E::Patch(_) | E::Name(_) | E::Entry(_) | E::TooDeep => Self::bad(text),
            E::Refused(Refusal::NoEntry { .. }) | E::NoEntry { .. } => {
                Self::new(StatusCode::NOT_FOUND, "not-found", text)
            }
            E::Refused(Refusal::Entry { .. }) => Self::bad(text),
            E::Refused(_) | E::NotADirectory { .. } | E::IsADirectory { .. } => Self::conflict(text),
            E::ReadOnly { .. } | E::NotReadable { .. } => Self::forbidden(text),
            // Whoever wrote it made it wrongly, and nothing brings it back.
            E::Directory(_) | E::Tree(_) | E::Seal(_) => Self::gone(text),
            E::Round { .. } | E::GivenUp => Self::later(text),
            _ => Self::internal(text),
        }
    }
}

impl From<&SlotError> for Failure {
    fn from(error: &SlotError) -> Self {
        let text = error.to_string();
        let refusal = error.is_refusal();
        match error {
            _ if error.is_over_quota() => Self::no_room(text),
            _ if refusal && error.not_a_member().is_some() => Self::forbidden(text),
            _ if refusal => Self::no_room(text),
            SlotError::NotFound { failures, .. } if failures.is_empty() => Self::gone(text),
            SlotError::Deleted | SlotError::Sealed(_) => Self::gone(text),
            SlotError::WrongKey => Self::bad(text),
            _ => Self::later(text),
        }
    }
}

impl From<&DownloadError> for Failure {
    fn from(error: &DownloadError) -> Self {
        use DownloadError as E;
        let text = error.to_string();
        match error {
            E::NotEnoughShares { .. } | E::NoServers if error.is_retryable() => Self::later(text),
            E::NotEnoughShares { .. }
            | E::Decode(_)
            | E::Index(_)
            | E::Sections(_)
            | E::NotATree
            | E::TreeTooLong { .. } => Self::gone(text),
            E::NotReadable { .. } => Self::forbidden(text),
            E::Directory | E::Cap(_) => Self::bad(text),
            E::Range { .. } => Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", text),
            _ => Self::internal(text),
        }
    }
}

impl From<&UploadError> for Failure {
    fn from(error: &UploadError) -> Self {
        use UploadError as E;
        let text = error.to_string();
        match error {
            E::Source(_) => Self::bad("the body ended early"),
            E::NotHappy { .. } if error.is_refusal() && error.not_a_member().is_some() => {
                Self::forbidden(text)
            }
            E::NotHappy { .. } if error.is_refusal() => Self::no_room(text),
            E::NotHappy { .. } | E::NoServers | E::NoneCounts { .. } | E::SourceChanged => Self::later(text),
            E::Encode(_) | E::Index(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text),
            _ => Self::internal(text),
        }
    }
}

impl From<&CheckError> for Failure {
    fn from(error: &CheckError) -> Self {
        Self::bad(error.to_string())
    }
}
