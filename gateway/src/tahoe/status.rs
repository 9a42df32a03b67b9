//! How the gateway and the grid are: `/status`, `/statistics`, `/storage`, `/?t=json`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use caps::Cap;
use client::Transfer;
use serde_json::{Value, json};

use super::answer::{Problem, either, escaped, json as answer_json, page, text};
use super::args::Args;
use super::check::index;
use crate::Gateway;

/// Transfers remembered.
const MAX: usize = 64;

/// What goes on and what went on lately.
pub(super) struct Recent {
    begun: Instant,
    list: Mutex<VecDeque<Op>>,
    uploads: AtomicU64,
    downloads: AtomicU64,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            list: Mutex::default(),
            uploads: AtomicU64::new(0),
            downloads: AtomicU64::new(0),
        }
    }
}

struct Op {
    kind: &'static str,
    index: String,
    size: Option<u64>,
    transfer: Transfer,
    /// Whoever works on it holds the other end.
    alive: std::sync::Weak<()>,
}

impl Op {
    fn is_active(&self) -> bool {
        match self.kind {
            "upload" => self.alive.strong_count() > 0,
            _ => self.transfer.done() < self.transfer.expected(),
        }
    }

    fn to_json(&self) -> Value {
        let expected = self.size.unwrap_or_else(|| self.transfer.expected());
        let share = if expected == 0 { 1.0 } else { self.transfer.done() as f64 / expected as f64 };
        let status = if self.is_active() { "Working" } else { "Finished" };
        let mut value = json!({ "type": self.kind, "storage-index-string": self.index, "total-size": expected,
                                "status": status });
        if self.kind == "upload" {
            value["progress-hash"] = 1.0.into();
            value["progress-ciphertext"] = share.into();
            value["progress-encode-push"] = share.into();
        } else {
            value["progress"] = share.into();
        }
        value
    }
}

impl Recent {
    fn note(&self, op: Op) {
        let mut list = self.list.lock().expect("no code panics while it holds this lock");
        if list.len() >= MAX {
            // One that has ended, if there is one.
            let at = list.iter().position(|op| !op.is_active()).unwrap_or_default();
            list.remove(at);
        }
        list.push_back(op);
    }

    /// An upload; it is under way until what this returns is dropped.
    pub(super) fn upload(&self, size: Option<u64>, transfer: &Transfer) -> Arc<()> {
        let held = Arc::new(());
        self.uploads.fetch_add(1, Ordering::Relaxed);
        let alive = Arc::downgrade(&held);
        // Nothing is known of it before it is stored.
        self.note(Op { kind: "upload", index: String::new(), size, transfer: transfer.clone(), alive });
        held
    }

    /// A download.
    pub(super) fn download(&self, cap: &Cap) -> Transfer {
        let transfer = Transfer::default();
        self.downloads.fetch_add(1, Ordering::Relaxed);
        let alive = std::sync::Weak::new();
        self.note(Op {
            kind: "download",
            index: index(cap),
            size: cap.size(),
            transfer: transfer.clone(),
            alive,
        });
        transfer
    }
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
    let list = gateway.tahoe().recent.list.lock().expect("no code panics while it holds this lock");
    let (active, recent): (Vec<&Op>, Vec<&Op>) = list.iter().rev().partition(|op| op.is_active());
    let to_json = |ops: Vec<&Op>| ops.into_iter().map(Op::to_json).collect::<Vec<_>>();
    shown(&request, &json!({ "active": to_json(active), "recent": to_json(recent) }))
}

pub(super) async fn statistics(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let recent = &gateway.tahoe().recent;
    let uptime = recent.begun.elapsed().as_secs_f64();
    let (up, down) = (recent.uploads.load(Ordering::Relaxed), recent.downloads.load(Ordering::Relaxed));
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
