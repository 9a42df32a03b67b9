//! What requests carry: JSON bodies of bounded size, capabilities with paths, the token.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use caps::{Cap, SlotWrite};
use client::Client;
use client::filestore::{DirView, FileStoreError, MAX_DEPTH, Target};
use encoding::directory::{EntryKind, Name};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::Gateway;
use crate::incoming::{gathered, is_of_type};

/// The longest JSON body, in bytes.
const BODY_MAX: usize = 1 << 20;
/// How long a JSON body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Names in one request.
const NAMES_MAX: usize = 10_000;

/// A JSON body.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Gateway>> for Asked<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        // No form of another site's page can send this type.
        if !is_of_type(request.headers(), "application/json") {
            let detail = "the body is to be application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail));
        }
        let read = tokio::time::timeout(BODY_PATIENCE, gathered(request.into_body(), BODY_MAX)).await;
        let slow =
            |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body takes too long to arrive");
        let too_long = || {
            let detail = format!("the body broke off, or is longer than {BODY_MAX} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
        };
        let body = read.map_err(slow)?.ok_or_else(too_long)?;
        // The message of the parser may quote what was sent: a capability, perhaps.
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Problem::bad(format!("the body is not what is wanted here, at line {line}, column {column}"))
                .with_hint(super::SEE)
        })
    }
}

/// The request carries the token of the installation.
pub(super) struct HasToken;

impl FromRequestParts<Arc<Gateway>> for HasToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        match gateway.settings().token.is_in(&parts.headers) {
            true => Ok(Self),
            false => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "no-token",
                "this needs the token of the installation",
            )
            .with_hint("open the address that `sarsen gateway url` prints")),
        }
    }
}

/// A capability and names below it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    cap: String,
    #[serde(default)]
    path: Vec<String>,
}

/// A body that names one place and no more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    #[serde(rename = "where")]
    pub(super) place: Where,
}

/// A [`Where`] that was understood.
#[derive(Clone)]
pub(super) struct Place {
    /// The client, as it works for the sake of the capability.
    pub(super) client: Client,
    pub(super) root: Cap,
    pub(super) names: Vec<Name>,
}

impl Where {
    /// Understands it; nothing is looked up.
    pub(super) fn read(&self, gateway: &Gateway) -> Result<Place, Problem> {
        let not_a_cap = |error: caps::CapParseError| {
            Problem::new(StatusCode::BAD_REQUEST, "bad-cap", error.to_string())
                .with_hint("a capability is one line that begins with URI:; was it cut when it was copied?")
        };
        let root: Cap = self.cap.trim().parse().map_err(not_a_cap)?;
        if self.path.len() > MAX_DEPTH {
            return Err(FileStoreError::TooDeep.into());
        }
        let names = self.path.iter().map(|name| Name::new(name)).collect::<Result<_, _>>()?;
        Ok(Place { client: gateway.client().under(&root), root, names })
    }
}

impl Place {
    /// What it leads to.
    pub(super) async fn resolve(&self) -> Result<Target, Problem> {
        Ok(self.client.resolve(&self.root, &self.names).await?)
    }

    /// The directory it leads to.
    pub(super) async fn directory(&self) -> Result<DirView, Problem> {
        let target = self.resolve().await?;
        if target.kind() != EntryKind::Directory {
            let path = self.names.last().map_or("what the cap names", Name::as_str).to_owned();
            return Err(FileStoreError::NotADirectory { path }.into());
        }
        Ok(self.client.open_directory(&target.cap).await?)
    }
}

/// The write cap of a directory.
pub(super) fn writer<'v>(view: &'v DirView, what: &str) -> Result<&'v SlotWrite, Problem> {
    view.writer().ok_or_else(|| FileStoreError::ReadOnly { what: what.to_owned() }.into())
}

/// Names that a request gives: some, and not too many.
pub(super) fn names(given: &[String]) -> Result<Vec<Name>, Problem> {
    if given.is_empty() || given.len() > NAMES_MAX {
        return Err(Problem::bad(format!("1 to {NAMES_MAX} names are wanted")));
    }
    let names: Vec<Name> = given.iter().map(|name| Name::new(name)).collect::<Result<_, _>>()?;
    let different: std::collections::HashSet<&Name> = names.iter().collect();
    match different.len() == names.len() {
        true => Ok(names),
        false => Err(Problem::bad("a name stands there twice")),
    }
}
