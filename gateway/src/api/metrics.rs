//! Counters for monitoring, as OpenMetrics. Nothing in them names a file, a capability or a server.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::Gateway;

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All of them.
pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    let shared = gateway.shared();
    let (uploads, done, failed) = shared.uploads.totals();
    let (moving, up, down) = shared.transfers.totals();
    let (known, answering) = shared.watch.counts();
    let mut out = String::new();
    let mut put = |name: &str, kind: &str, help: &str, value: u64| {
        let suffix = if kind == "counter" { "_total" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "# TYPE sarsen_gateway_{name} {kind}\n# HELP sarsen_gateway_{name} {help}\nsarsen_gateway_{name}{suffix} {value}\n"
        );
    };
    put("uploads", "gauge", "Resumable uploads under way, waiting or done lately.", uploads as u64);
    put("uploads_done", "counter", "Resumable uploads that were stored and linked.", done);
    put("uploads_failed", "counter", "Resumable uploads that failed.", failed);
    put("transfers", "gauge", "Files on their way.", moving as u64);
    put("sent_bytes", "counter", "Bytes of files that went up.", up);
    put("received_bytes", "counter", "Bytes of files that came down.", down);
    put("tickets", "gauge", "Tickets that can be used.", shared.tickets.len() as u64);
    put("undo_records", "gauge", "Deletions that can be undone.", shared.undos.len() as u64);
    put("events", "counter", "Events noted.", shared.events.count());
    put("event_readers", "gauge", "Pages that watch.", shared.events.readers() as u64);
    put("servers_known", "gauge", "Storage servers known when they were last asked.", known as u64);
    put(
        "servers_answering",
        "gauge",
        "Storage servers that answered when they were last asked.",
        answering as u64,
    );
    out.push_str("# EOF\n");
    ([(header::CONTENT_TYPE, TYPE)], out).into_response()
}
