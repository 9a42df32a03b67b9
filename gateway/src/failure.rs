//! What went wrong, as Tahoe's web API tells it: a status and a line of text.

use axum::http::StatusCode;
use client::check::CheckError;
use client::filestore::FileStoreError;

use crate::status::{self, Meaning};

/// How a failure is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status.
    pub status: StatusCode,
    /// Says what went wrong. It holds no capability.
    pub text: String,
}

impl Failure {
    /// A failure of this status.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// The request itself is wrong.
    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    fn of(meaning: Meaning, text: String) -> Self {
        // To whoever sends it the input is a body.
        let text = if meaning.code == "broken-off" { "the body ended early".to_owned() } else { text };
        Self::new(meaning.status, text)
    }
}

impl From<&FileStoreError> for Failure {
    fn from(error: &FileStoreError) -> Self {
        Self::of(status::of_filestore(error), error.to_string())
    }
}

impl From<&CheckError> for Failure {
    fn from(error: &CheckError) -> Self {
        Self::of(status::of_check(error), error.to_string())
    }
}
