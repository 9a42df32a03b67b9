//! The grid as this gateway sees it: asked when somebody wants to know, and no more often than now and then.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use client::status::{GridStatus, Reached, ServerStatus};
use client::{Client, ClientDir, Shares};
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

/// Bytes that a server holds, and may still take.
fn space(up: &Reached) -> (u64, u64) {
    let used = up.status.stores.iter().fold(0u64, |sum, store| sum.saturating_add(store.used));
    let takes = up.status.stores.iter().filter(|store| store.state == StoreState::Writable);
    (used, takes.fold(0u64, |sum, store| sum.saturating_add(store.available)))
}

/// Whether shares may be put there now.
fn takes(client: &Client, server: &ServerStatus) -> bool {
    let Ok(up) = &server.outcome else { return false };
    let drained = server.server.stores.iter().filter(|store| store.draining).count();
    client.counts(&server.server) && space(up).1 > 0 && drained < up.status.stores.len()
}

fn state(server: &ServerStatus) -> &'static str {
    let Ok(up) = &server.outcome else { return "away" };
    let stores = &up.status.stores;
    let any = |wanted| stores.iter().any(|store| store.state == wanted);
    let all_draining =
        !server.server.stores.is_empty() && server.server.stores.iter().all(|store| store.draining);
    match () {
        () if all_draining => "draining",
        () if any(StoreState::Writable) && space(up).1 > 0 => "up",
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
    let mut used = HashMap::new();
    for server in usage {
        if let Ok(usage) = server.outcome {
            used.insert(server.server.id, (usage.used, usage.quota));
        }
    }
    let free = status.servers.iter().filter(|server| takes(client, server)).filter_map(|server| {
        let free = space(server.outcome.as_ref().ok()?).1;
        let quota =
            used.get(&server.server.id).and_then(|(used, quota)| Some(quota.as_ref()?.saturating_sub(*used)));
        Some(quota.map_or(free, |quota| free.min(quota)))
    });
    let can_store = can_store(free.collect(), &shares);
    let quotas: Option<u64> =
        used.values().map(|(_, quota)| *quota).try_fold(0u64, |sum, quota| Some(sum.saturating_add(quota?)));
    let total = used.values().fold(0u64, |sum, (used, _)| sum.saturating_add(*used));
    Ok(Json(json!({
        "servers": status.servers.iter().map(|server| shown(client, server)).collect::<Vec<_>>(),
        "introducers": introducers.collect::<Vec<_>>(),
        "can_store": can_store,
        "k": shares.needed, "happy": shares.happy, "n": shares.total,
        "account": { "id": gateway.shared().account, "used": total, "quota": quotas.filter(|_| !used.is_empty()) },
    })))
}

/// Bytes of files that can still be stored, given what each server has free for this account.
///
/// Every file spreads its shares over all servers that have room, so that these fill alike whatever their size. When the smallest is full
/// the others go on, as long as there are enough of them for happiness. What is free on a large server then is of no use.
fn can_store(mut free: Vec<u64>, shares: &Shares) -> u64 {
    free.sort_unstable();
    let (mut shared, mut before, servers) = (0u128, 0, free.len());
    for (full, free) in free.into_iter().enumerate() {
        let left = servers - full;
        if left < usize::from(shares.happy.max(1)) {
            break;
        }
        shared += u128::from(free - before) * left as u128;
        before = free;
    }
    let bytes = shared * u128::from(shares.needed) / u128::from(shares.total.max(1));
    u64::try_from(bytes).unwrap_or(u64::MAX)
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
            let (used, free) = space(up);
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
    let up = status.servers.iter().filter(|server| takes(client, server)).count();
    let wanted = usize::from(client.settings().shares.happy);
    let code = if up >= wanted { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": up >= wanted, "servers": up, "wanted": wanted }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_on_one_server_alone_stores_nothing() {
        let shares: Shares = "3/7/10".parse().unwrap();
        let with = |big: u64, small: u64, count: usize| {
            let mut free = vec![small; count];
            free.push(big);
            can_store(free, &shares)
        };
        assert_eq!(with(1 << 50, 0, 9), 0, "one big and nine full servers");
        assert_eq!(with(1 << 50, 1000, 9), 3000, "until the nine are full");
        assert_eq!(with(1000, 1000, 9), 3000);
        assert_eq!(with(1000, 1000, 19), 6000);
        assert_eq!(with(1000, 1000, 6), 2100, "seven are enough for happiness");
        assert_eq!(with(1000, 1000, 5), 0);
        assert_eq!(can_store([1000; 7].into_iter().chain([0; 3]).collect(), &shares), 2100);
        assert_eq!(can_store(vec![u64::MAX; 500], &shares), u64::MAX);
    }
}
