//! Finding entries by name.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use client::filestore::{Target, Walk};
use encoding::directory::Name;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::asked::{Asked, Where};
use super::entry::EntryJson;
use super::problem::Problem;
use crate::Gateway;
use crate::stream::{Gone, Out, lines};

/// Entries that are told of.
const FOUND_MAX: usize = 1000;
/// Entries that are looked at.
const LOOKED_MAX: usize = 1_000_000;
/// How long to look.
const LASTS: Duration = Duration::from_secs(120);
/// The longest query, in bytes.
const QUERY_MAX: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    #[serde(rename = "where")]
    place: Where,
    query: String,
}

/// Entries below a directory whose name holds the query, whatever the case.
pub(super) async fn search(
    State(gateway): State<Arc<Gateway>>,
    Asked(asked): Asked<Search>,
) -> Result<Response, Problem> {
    let query = asked.query.trim().to_lowercase();
    if query.is_empty() || query.len() > QUERY_MAX {
        return Err(Problem::bad(format!("a query has 1 to {QUERY_MAX} bytes")));
    }
    let place = asked.place.read(&gateway)?;
    let view = place.directory().await?;
    let walk = place.client.walk(view.cap());
    Ok(lines(async move |out| look(walk, &query, out).await))
}

async fn look(mut walk: Walk, query: &str, mut out: Out) -> Result<Out, Gone> {
    let (mut found, mut looked, begun) = (0, 0, Instant::now());
    let mut truncated = false;
    loop {
        let walked = match tokio::time::timeout(LASTS.saturating_sub(begun.elapsed()), walk.next()).await {
            Ok(Ok(None)) => break,
            Ok(Ok(Some(walked))) => walked,
            // A directory that cannot be read hides what is in it.
            Ok(Err(_)) => {
                truncated = true;
                continue;
            }
            Err(_) => {
                truncated = true;
                break;
            }
        };
        looked += 1;
        truncated |= matches!(walked.opened, Some(Err(_)));
        let Some(name) = walked.path.last() else { continue };
        if name.as_str().to_lowercase().contains(query) {
            if found == FOUND_MAX {
                truncated = true;
                break;
            }
            found += 1;
            let path: Vec<&str> = walked.path.iter().map(Name::as_str).collect();
            let entry = EntryJson::of(name.as_str(), &Target { cap: walked.cap, entry: walked.entry });
            out.line(&json!({ "path": path, "entry": entry })).await?;
            out.flush().await?;
        }
        if looked == LOOKED_MAX {
            truncated = true;
            break;
        }
    }
    out.line(&json!({ "end": true, "truncated": truncated })).await?;
    Ok(out)
}
