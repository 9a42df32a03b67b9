//! Errors as our own API tells them: `application/problem+json` (RFC 9457).

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use client::AliasError;
use client::check::CheckError;
use client::filestore::{FileStoreError, Refusal};
use client::slot::SlotError;
use client::{DownloadError, UploadError};
use encoding::directory::NameError;

use crate::status::{self, Meaning, RETRY_AFTER_S};

/// What went wrong, for programs and for people. It names no capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    hint: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), hint: None }
    }

    /// The request makes no sense.
    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// As many as there may be at a time are there.
    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    }

    pub(super) fn with_hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    fn meaning(meaning: Meaning, detail: String) -> Self {
        Self { status: meaning.status, code: meaning.code, detail, hint: meaning.hint }
    }

    /// Whether trying again later may help.
    pub(super) fn is_retryable(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// The document.
    pub(super) fn json(&self) -> serde_json::Value {
        let mut out = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Some(hint) = self.hint {
            out["hint"] = hint.into();
        }
        out
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.json().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.is_retryable() {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<FileStoreError> for Problem {
    fn from(error: FileStoreError) -> Self {
        Self::meaning(status::of_filestore(&error), error.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::meaning(status::of_refusal(&refusal), refusal.to_string())
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        FileStoreError::from(error).into()
    }
}

impl From<SlotError> for Problem {
    fn from(error: SlotError) -> Self {
        Self::meaning(status::of_slot(&error), error.to_string())
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        Self::meaning(status::of_upload(&error), error.to_string())
    }
}

impl From<DownloadError> for Problem {
    fn from(error: DownloadError) -> Self {
        Self::meaning(status::of_download(&error), error.to_string())
    }
}

impl From<CheckError> for Problem {
    fn from(error: CheckError) -> Self {
        Self::meaning(status::of_check(&error), error.to_string())
    }
}

impl From<AliasError> for Problem {
    fn from(error: AliasError) -> Self {
        let meaning = status::of_alias(&error);
        // What the operating system says of a file of the client's directory is not for whoever asks over HTTP.
        let detail = match meaning.status {
            StatusCode::INTERNAL_SERVER_ERROR => "the list of aliases cannot be used".to_owned(),
            _ => error.to_string(),
        };
        Self::meaning(meaning, detail)
    }
}
