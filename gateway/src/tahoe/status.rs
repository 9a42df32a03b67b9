//! How the gateway and the grid are: `/status`, `/statistics`, `/storage`, `/?t=json`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::{Problem, either, escaped, json as answer_json, page, text};
use super::args::Args;
use super::check::index;
use crate::Gateway;
use crate::api::{One, Way};

/// What went through here, as Tahoe tells of it.
fn of_transfer(one: &One, is_active: bool) -> Value {
    let (expected, done) = one.bytes();
    let share = if expected == 0 { 1.0 } else { (done as f64 / expected as f64).min(1.0) };
    let status = match (is_active, one.is_whole()) {
        (true, _) => "Working",
        (false, true) => "Finished",
        (false, false) => "Failed",
    };
    // Of an upload nothing is known before it is stored.
    let index = one.cap().map(index).unwrap_or_default();
    let mut value = json!({ "storage-index-string": index, "total-size": expected, "status": status });
    match one.way() {
        Way::Up => {
            value["type"] = "upload".into();
            value["progress-hash"] = 1.0.into();
            value["progress-ciphertext"] = share.into();
            value["progress-encode-push"] = share.into();
        }
        Way::Down => {
            value["type"] = "download".into();
            value["progress"] = share.into();
        }
    }
    value
}

fn shown(request: &Request, value: &Value) -> Response {
    let args = Args::of_query(request.uri());
    // A program that posts its arguments wants JSON, too.
    if args.t() == "json" || request.method() == axum::http::Method::POST {
        return answer_json(value);
    }
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    page(format!("<!DOCTYPE html><title>Status</title><pre>{}</pre>\n", escaped(&text)))
}

pub(super) async fn status(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (active, recent) = gateway.shared().transfers.seen();
    let to_json =
        |list: &[Arc<One>], is_active| list.iter().map(|one| of_transfer(one, is_active)).collect::<Vec<_>>();
    shown(&request, &json!({ "active": to_json(&active, true), "recent": to_json(&recent, false) }))
}

pub(super) async fn statistics(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let uptime = gateway.tahoe().begun.elapsed().as_secs_f64();
    let [up, down] = gateway.shared().transfers.done();
    if Args::of_query(request.uri()).t() == "openmetrics" {
        return text(format!(
            "tahoe_counters_uploader_files_uploaded {up}\ntahoe_counters_downloader_files_downloaded {down}\ntahoe_stats_node_uptime {uptime}\n# EOF\n"
        ));
    }
    let value = json!({ "counters": { "uploader.files_uploaded": up, "downloader.files_downloaded": down },
                        "stats": { "node.uptime": uptime } });
    shown(&request, &value)
}

/// This node holds no shares.
pub(super) async fn storage(request: Request) -> Result<Response, Infallible> {
    let args = Args::of_query(request.uri());
    if args.t() == "json" {
        return Ok(answer_json(&json!({ "stats": null, "bucket-counter": null, "lease-checker": null })));
    }
    either(Err(Problem::new(
        StatusCode::NOT_FOUND,
        "No Storage Server Running: servers of the grid run apart from this gateway",
    )))
}

/// `GET /?t=json`: introducers and servers.
pub(super) async fn welcome(gateway: &Gateway) -> Response {
    let status = gateway.client().status().await;
    let statuses: Vec<String> = status
        .introducers
        .iter()
        .map(
            |report| {
                if report.outcome.is_ok() { "Connected".to_owned() } else { "Trying to connect".to_owned() }
            },
        )
        .collect();
    let servers: Vec<Value> = status
        .servers
        .iter()
        .map(|server| {
            let reached = server.outcome.as_ref().ok();
            let space = reached.map(|reached| reached.status.stores.iter().map(|store| store.available).sum::<u64>());
            let connection = if reached.is_some() { "Connected" } else { "Trying to connect" };
            json!({ "nodeid": server.server.id.to_string(), "nickname": server.server.nickname,
                    "available_space": space, "version": reached.map(|reached| reached.status.software.clone()),
                    "connection_status": connection, "last_received_data": null })
        })
        .collect();
    answer_json(&json!({ "introducers": { "statuses": statuses }, "servers": servers }))
}
