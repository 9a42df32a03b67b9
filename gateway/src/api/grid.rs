//! The grid as this gateway sees it: asked when somebody wants to know, and no more often than now and then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use client::status::{GridStatus, ServerStatus};
use client::{Client, ClientDir};
use protocol::NodeId;
use protocol::message::StoreState;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::asked::HasToken;
use super::problem::Problem;
use crate::{Gateway, Settings};

/// How long what the servers said is taken for what they would say.
const FRESH: Duration = Duration::from_secs(2);
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the servers said last.
#[derive(Default)]
pub(crate) struct Watch {
    last: tokio::sync::Mutex<Option<(Instant, Arc<GridStatus>)>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    answering: BTreeMap<NodeId, bool>,
    known: usize,
    up: usize,
}

impl Watch {
    /// What all servers say. Those who ask at the same time share one answer.
    pub(super) async fn status(&self, gateway: &Gateway) -> Arc<GridStatus> {
        let mut last = self.last.lock().await;
        if let Some((at, status)) = &*last
            && at.elapsed() < FRESH
        {
            return status.clone();
        }
        let silent = GridStatus { introducers: Vec::new(), servers: Vec::new() };
        let asked = tokio::time::timeout(PATIENCE, gateway.client().status()).await;
        let status = Arc::new(asked.unwrap_or(silent));
        self.compare(gateway, &status);
        *last = Some((Instant::now(), status.clone()));
        status
    }

    /// Tells of servers that were lost, and of those that are back.
    fn compare(&self, gateway: &Gateway, status: &GridStatus) {
        let mut seen = self.seen.lock().expect("no code panics while it holds this lock");
        for server in &status.servers {
            let (name, answers) = (server.server.name(), server.outcome.is_ok());
            match (seen.answering.insert(server.server.id, answers), answers) {
                (Some(true), false) => {
                    gateway.shared().events.note("server-lost", format!("{name} does not answer any more"));
                }
                (Some(false), true) => {
                    gateway.shared().events.note("server-back", format!("{name} answers again"));
                }
                (None, false) => {
                    gateway.shared().events.note("server-lost", format!("{name} does not answer"));
                }
                _ => {}
            }
        }
        seen.known = status.servers.len();
        seen.up = status.servers.iter().filter(|server| server.outcome.is_ok()).count();
    }

    /// Servers known and answering, as of the last time that anybody asked.
    pub(super) fn counts(&self) -> (usize, usize) {
        let seen = self.seen.lock().expect("no code panics while it holds this lock");
        (seen.known, seen.up)
    }
}

fn state(server: &ServerStatus) -> &'static str {
    let Ok(up) = &server.outcome else { return "away" };
    let stores = &up.status.stores;
    let any = |wanted| stores.iter().any(|store| store.state == wanted);
    let all_draining =
        !server.server.stores.is_empty() && server.server.stores.iter().all(|store| store.draining);
    match () {
        () if all_draining => "draining",
        () if any(StoreState::Writable) && server.available() > 0 => "up",
        () if any(StoreState::Writable) => "full",
        () if any(StoreState::ReadOnly) => "read-only",
        () if any(StoreState::Failing) => "failing",
        () => "failed",
    }
}

/// Servers by zone, with what is left on them.
pub(super) async fn grid(
    State(gateway): State<Arc<Gateway>>,
    _token: HasToken,
) -> Result<Json<Value>, Problem> {
    let client = gateway.client();
    let (status, usage) = tokio::join!(gateway.shared().watch.status(&gateway), client.usage());
    let shares = client.settings().shares;
    let introducers = status
        .introducers
        .iter()
        .map(|report| json!({ "address": report.address.to_string(), "answers": report.outcome.is_ok() }));
    // Where there are hundreds of servers it takes a moment.
    let counting = (client.clone(), status.clone());
    let counted = tokio::task::spawn_blocking(move || (counting.0.room(&counting.1, &usage), usage)).await;
    let (can_store, usage) = counted.map_err(|_| Problem::busy("what is left could not be counted"))?;
    let used: Vec<(u64, Option<u64>)> = usage
        .iter()
        .filter_map(|usage| usage.outcome.as_ref().ok())
        .map(|usage| (usage.used, usage.quota))
        .collect();
    let quotas: Option<u64> =
        used.iter().map(|(_, quota)| *quota).try_fold(0u64, |sum, quota| Some(sum.saturating_add(quota?)));
    let total = used.iter().fold(0u64, |sum, (used, _)| sum.saturating_add(*used));
    Ok(Json(json!({
        "servers": status.servers.iter().map(|server| shown(client, server)).collect::<Vec<_>>(),
        "introducers": introducers.collect::<Vec<_>>(),
        "can_store": can_store,
        "k": shares.needed, "happy": shares.happy, "n": shares.total,
        "account": { "id": gateway.shared().account, "used": total, "quota": quotas.filter(|_| !used.is_empty()) },
    })))
}

/// The id of the client's account.
pub(super) fn account(settings: &Settings) -> Option<String> {
    let dir = ClientDir::open(settings.client_dir.as_deref()?).ok()?;
    Some(dir.account_key().ok()?.id().to_string())
}

fn shown(client: &Client, server: &ServerStatus) -> Value {
    let known = &server.server;
    let mut out = json!({
        "id": known.id.to_string(), "name": known.name(), "zone": known.zone, "state": state(server),
        "answers": server.outcome.is_ok(), "counts": client.counts(known), "stores": known.stores.len(),
    });
    match &server.outcome {
        Ok(up) => {
            let used = up.status.stores.iter().fold(0u64, |sum, store| sum.saturating_add(store.used));
            let free = server.available();
            (out["used"], out["free"]) = (used.into(), free.into());
            out["capacity"] = used.saturating_add(free).into();
            out["rtt_ms"] = (up.round_trip.as_secs_f64() * 1e3).into();
            out["stores"] = up.status.stores.len().into();
        }
        Err(_) => {
            let reported = known.stores.iter().filter_map(|store| store.report.as_ref());
            let used = reported.fold(0u64, |sum, report| sum.saturating_add(report.used));
            (out["used"], out["free"], out["capacity"]) = (used.into(), 0.into(), used.into());
            out["rtt_ms"] = Value::Null;
        }
    }
    out
}

/// Whether as many servers take shares as are needed to store something.
pub(super) async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    let client = gateway.client();
    let status = gateway.shared().watch.status(&gateway).await;
    let up = status.servers.iter().filter(|server| client.takes_shares(server)).count();
    let wanted = usize::from(client.settings().shares.happy);
    let code = if up >= wanted { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": up >= wanted, "servers": up, "wanted": wanted }))).into_response()
}
