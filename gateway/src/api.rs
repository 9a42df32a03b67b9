//! The gateway's own API: JSON, streams of lines, resumable uploads, tickets. `docs/spec/gateway.md` describes it, and so does
//! `/api/openapi.json`.
//!
//! No address shows a capability: they travel in bodies. Whoever names one is authorised by it; what no capability authorises needs the
//! token.

mod asked;
mod checking;
mod entry;
mod events;
mod folders;
mod grid;
mod map;
mod metrics;
mod moving;
mod problem;
mod search;
mod share;
mod tickets;
mod transfers;
mod undo;
mod uploads;
mod zip;

pub(crate) use problem::Problem;
pub(crate) use transfers::{One, Way};

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, head, options, patch, post};
use encoding::directory::Time;
use protocol::{OsRandom, Random};
use tokio::sync::Semaphore;

use crate::{Gateway, Settings};

/// What was linked from elsewhere and is being leased, at a time.
const ADOPTING: usize = 4;

/// What requests of our API share.
pub(crate) struct Shared {
    tickets: tickets::Tickets,
    undos: undo::Undos,
    uploads: uploads::Uploads,
    pub(crate) transfers: transfers::Transfers,
    events: events::Events,
    watch: grid::Watch,
    zips: zip::Room,
    maps: map::Known,
    adopting: Arc<Semaphore>,
    /// The id of the client's account.
    account: Option<String>,
}

impl Shared {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            account: grid::account(settings),
            tickets: tickets::Tickets::default(),
            undos: undo::Undos::default(),
            uploads: uploads::Uploads::default(),
            transfers: transfers::Transfers::default(),
            events: events::Events::default(),
            watch: grid::Watch::default(),
            zips: zip::Room::default(),
            maps: map::Known::default(),
            adopting: Arc::new(Semaphore::new(ADOPTING)),
        }
    }
}

/// The document that describes all routes.
const OPENAPI: &str = include_str!("api/openapi.json");

async fn openapi() -> Response {
    ([(axum::http::header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn alive() -> &'static str {
    "ok\n"
}

/// What is to be read where nothing is.
const SEE: &str = "GET /api/openapi.json describes every address and what it takes";

async fn no_such_route() -> Problem {
    Problem::not_found("there is no such address").with_hint(SEE)
}

async fn no_such_method() -> Problem {
    let detail = "this address knows other methods";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail).with_hint(SEE)
}

/// Path and methods of every route.
fn table() -> Vec<(&'static str, MethodRouter<Arc<Gateway>>)> {
    vec![
        ("/api/aliases", get(folders::aliases)),
        ("/api/list", post(folders::list)),
        ("/api/stat", post(folders::stat)),
        ("/api/mkdir", post(folders::mkdir)),
        ("/api/newroot", post(folders::new_root)),
        ("/api/move", post(moving::move_)),
        ("/api/copy", post(moving::copy)),
        ("/api/delete", post(undo::delete)),
        ("/api/undo", post(undo::undo)),
        ("/api/tickets", post(tickets::create)),
        ("/t/{id}/{name}", get(tickets::serve)),
        ("/api/uploads", options(uploads::abilities).post(uploads::create)),
        ("/api/uploads/{id}", head(uploads::state).merge(patch(uploads::append)).delete(uploads::end)),
        ("/api/share", post(share::share)),
        ("/api/qr", post(share::qr)),
        ("/api/map", post(map::map)),
        ("/api/check", post(checking::check)),
        ("/api/search", post(search::search)),
        ("/api/grid", get(grid::grid)),
        ("/api/events", get(events::events)),
        ("/api/openapi.json", get(openapi)),
        ("/metrics", get(metrics::metrics)),
        ("/healthz", get(alive)),
        ("/readyz", get(grid::ready)),
    ]
}

/// Its routes.
pub fn routes() -> Router<Arc<Gateway>> {
    let mut router = Router::new();
    for (path, methods) in table() {
        router = router.route(path, methods);
    }
    let router = router.method_not_allowed_fallback(no_such_method).route("/api/{*rest}", any(no_such_route));
    // Bodies are bounded where they are read: uploads by what was announced, all others by a megabyte.
    router.layer(DefaultBodyLimit::disable())
}

/// 128 bits that nobody can guess, as text for addresses.
fn new_id() -> String {
    let random: &dyn Random = &OsRandom;
    data_encoding::BASE32_NOPAD.encode(&random.bytes::<16>()).to_ascii_lowercase()
}

/// Seconds since 1970.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn until(lasts: Duration) -> u64 {
    (since_1970() + lasts).as_secs()
}

fn now() -> Time {
    let now = since_1970();
    Time { seconds: now.as_secs() as i64, nanoseconds: now.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_document_names_every_route_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(super::OPENAPI).unwrap();
        let described: BTreeSet<&str> =
            document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let routed: BTreeSet<&str> = super::table().into_iter().map(|(path, _)| path).collect();
        assert_eq!(described, routed);
    }
}
