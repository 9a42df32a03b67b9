//! Tahoe's web API (`docs/spec/gateway.md`), as programs written for Tahoe-LAFS 1.20 speak it.
//!
//! `args` reads what a request wants, `linked` and `unlinked` do it. Where an answer of Tahoe's is a defect that no program relies
//! on, the answer here is the right one.

mod answer;
mod args;
mod body;
mod check;
mod children;
mod deep;
mod directory;
mod file;
mod form;
mod json;
mod linked;
mod manifest;
mod metadata;
mod operations;
mod pages;
mod salts;
mod span;
mod stats;
mod status;
mod unlinked;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio::sync::Semaphore;

use crate::Gateway;

/// Bytes of bodies that may be held in memory at a time, all requests together.
const MEMORY: usize = 96 << 20;
/// Bytes of manifests under handles, all together.
const MANIFESTS: usize = 64 << 20;
/// Reports that deep checks keep at a time, all together: about 64 MiB.
const REPORTS: usize = 250_000;

/// What requests of this API share.
pub(crate) struct Shared {
    /// KiB of bodies that may yet be held.
    memory: Arc<Semaphore>,
    /// Pieces of [`operations::Line::PIECE`] bytes of manifests that handles may yet keep.
    lines: Arc<Semaphore>,
    /// Reports that deep checks may yet keep.
    reports: Arc<Semaphore>,
    operations: operations::Operations,
    salts: salts::Salts,
    begun: Instant,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            memory: Arc::new(Semaphore::new(MEMORY / 1024)),
            lines: Arc::new(Semaphore::new(MANIFESTS / operations::Line::PIECE)),
            reports: Arc::new(Semaphore::new(REPORTS)),
            operations: operations::Operations::default(),
            salts: salts::Salts::default(),
            begun: Instant::now(),
        }
    }
}

/// Its routes.
pub fn routes() -> Router<Arc<Gateway>> {
    let mut router = Router::new();
    for prefix in ["/uri", "/cap"] {
        router = router
            .route(prefix, any(unlinked::answer))
            .route(&format!("{prefix}/"), any(unlinked::answer))
            .route(&format!("{prefix}/{{*path}}"), any(linked::answer));
    }
    router
        .route("/file/{*path}", any(linked::named))
        .route("/named/{*path}", any(linked::named))
        .route("/operations/{handle}", any(operations::answer))
        .route("/operations/{handle}/{index}", any(operations::one))
        .route("/status", any(status::status))
        .route("/status/", any(status::status))
        .route("/statistics", any(status::statistics))
        .route("/storage", any(status::storage))
}

/// Answers for the front page as JSON, where that is asked for; the page itself is not ours.
pub(crate) async fn front(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/" && wants_json(request.uri()) {
        return status::welcome(&gateway).await.into_response();
    }
    next.run(request).await
}

/// Whether this asks for the front page as JSON.
pub(crate) fn wants_json(uri: &axum::http::Uri) -> bool {
    args::Args::of_query(uri).get("t") == Some("json")
}
