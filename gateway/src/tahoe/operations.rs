//! `/operations/HANDLE`: long work that goes on after its request was answered.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use client::check::State as Health;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::answer::{Answer, Problem, either, escaped, json as answer_json, page, redirect, text};
use super::args::Args;
use super::check::Brief;
use super::deep::Told;
use super::linked::Call;
use super::stats::Totals;
use crate::Gateway;
use crate::failure::Failure;

/// Handles at a time.
const MAX: usize = 256;
/// The longest name of one.
const MAX_NAME: usize = 256;
/// How long results wait to be fetched, and how long they stay after that.
const UNCOLLECTED: Duration = Duration::from_secs(4 * 24 * 3600);
const COLLECTED: Duration = Duration::from_secs(24 * 3600);
/// Unhealthy files that are listed.
const MAX_LISTED: usize = 10_000;

/// What is done under a handle.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Stats,
    Size,
    Manifest { origin: String },
    DeepCheck { repair: bool, root: String },
}

#[derive(Default)]
struct Found {
    finished: bool,
    failure: Option<Failure>,
    totals: Totals,
    manifest: Vec<(Vec<String>, String, String)>,
    checked: u64,
    healthy: u64,
    healthy_after: u64,
    repairs: u64,
    repaired: u64,
    corrupt: u64,
    unhealthy: Vec<Value>,
}

/// Where the work notes what it found.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<Mutex<Found>>);

impl Progress {
    fn lock(&self) -> std::sync::MutexGuard<'_, Found> {
        self.0.lock().expect("no code panics while it holds this lock")
    }

    pub(super) fn totals(&self, totals: &Totals) {
        self.lock().totals = totals.clone();
    }

    pub(super) fn listed(&self, entry: (Vec<String>, String, String)) {
        self.lock().manifest.push(entry);
    }

    pub(super) fn checked(&self, told: &Told) {
        let path: Vec<&str> = told.walked.path.iter().map(AsRef::as_ref).collect();
        self.note(told.brief, || json!([path, told.brief.to_json(&told.index, false)]));
    }

    pub(super) fn part(&self, brief: Brief) {
        self.note(brief, || json!([["(part of a large file or directory)"], brief.to_json("part", false)]));
    }

    fn note(&self, brief: Brief, show: impl FnOnce() -> Value) {
        let mut found = self.lock();
        found.checked += 1;
        found.healthy += u64::from(brief.state == Health::Healthy);
        found.healthy_after += u64::from(brief.now() == Health::Healthy);
        found.repairs += u64::from(brief.is_repair_attempted());
        found.repaired += u64::from(brief.is_repair_attempted() && brief.now() == Health::Healthy);
        found.corrupt += u64::from(brief.bad);
        if brief.state != Health::Healthy && found.unhealthy.len() < MAX_LISTED {
            found.unhealthy.push(show());
        }
    }
}

struct Operation {
    kind: Kind,
    progress: Progress,
    task: AbortHandle,
    ends: Instant,
    /// Whether the client said how long to keep it.
    retained: bool,
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All that is under way or waits to be fetched.
#[derive(Default)]
pub(super) struct Operations(Mutex<HashMap<String, Operation>>);

impl Operations {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Operation>> {
        let mut all = self.0.lock().expect("no code panics while it holds this lock");
        let now = Instant::now();
        all.retain(|_, operation| operation.ends > now);
        all
    }
}

fn retain_for(args: &Args) -> Result<Option<Duration>, Problem> {
    let parse =
        |text: &str| text.parse::<u32>().map_err(|_| Problem::bad("retain-for= is no number of seconds"));
    let seconds = args.get("retain-for").map(parse).transpose()?;
    Ok(seconds.map(|seconds| Duration::from_secs(seconds.into())))
}

/// Starts work under the handle that the request names, and leads there.
pub(super) fn start<F>(call: &Call, kind: Kind, work: impl FnOnce(Progress) -> F) -> Answer
where
    F: Future<Output = Result<(), Problem>> + Send + 'static,
{
    let handle = call.args.get("ophandle").filter(|handle| !handle.is_empty());
    let handle = handle.ok_or_else(|| Problem::bad("slow operation requires ophandle="))?.to_owned();
    if handle.len() > MAX_NAME {
        return Err(Problem::bad("the handle is too long"));
    }
    let retain = retain_for(&call.args)?;
    let mut all = call.gateway.tahoe().operations.lock();
    if all.len() >= MAX && !all.contains_key(&handle) {
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many handles; fetch or cancel some"));
    }
    let progress = Progress::default();
    let (done, work) = (progress.clone(), work(progress.clone()));
    let task = tokio::spawn(async move {
        let result = work.await;
        let mut found = done.lock();
        found.finished = true;
        found.failure = result.err().map(|Problem(failure)| failure);
    });
    let ends = Instant::now() + retain.unwrap_or(UNCOLLECTED);
    let operation = Operation { kind, progress, task: task.abort_handle(), ends, retained: retain.is_some() };
    all.insert(handle.clone(), operation);
    drop(all);
    let mut to = format!("/operations/{}", utf8_percent_encode(&handle, NON_ALPHANUMERIC));
    if let Some(output) = call.args.get("output") {
        to.push_str("?output=");
        to.push_str(&utf8_percent_encode(output, NON_ALPHANUMERIC).to_string());
    }
    redirect(StatusCode::FOUND, &to)
}

pub(super) async fn answer(
    State(gateway): State<Arc<Gateway>>,
    Path(handle): Path<String>,
    request: Request,
) -> Result<Response, Infallible> {
    either(show(&gateway, &handle, &request))
}

fn show(gateway: &Gateway, handle: &str, request: &Request) -> Answer {
    let args = Args::of_query(request.uri());
    let mut all = gateway.tahoe().operations.lock();
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown/expired handle");
    let operation = all.get_mut(handle).ok_or_else(unknown)?;
    let cancel = args.t() == "cancel";
    if cancel && request.method() != Method::POST {
        return Err(Problem::bad("t=cancel wants a POST"));
    }
    if let Some(seconds) = retain_for(&args)? {
        operation.ends = Instant::now() + seconds;
        operation.retained = true;
    }
    let shown = {
        let found = operation.progress.lock();
        if found.finished && !operation.retained {
            operation.ends = Instant::now() + COLLECTED;
        }
        let finished = found.finished;
        match &found.failure {
            Some(failure) => (Err(Problem(failure.clone())), finished),
            None => (render(&operation.kind, &found, &args), finished),
        }
    };
    let (answer, finished) = shown;
    if cancel || finished && args.flag("release-after-complete")? {
        all.remove(handle);
    }
    answer
}

fn render(kind: &Kind, found: &Found, args: &Args) -> Answer {
    let output = args.get("output").unwrap_or("html").to_ascii_lowercase();
    let value = to_json(kind, found);
    match (output.as_str(), kind) {
        ("json", _) => Ok(answer_json(&value)),
        ("text", Kind::Manifest { .. }) => {
            let finished = if found.finished { "yes" } else { "no" };
            let lines = found.manifest.iter().map(|(path, cap, _)| format!("{} {cap}\n", path.join("/")));
            Ok(text(format!("finished: {finished}\n{}", lines.collect::<String>())))
        }
        ("text", _) => {
            let finished = if found.finished { "yes" } else { "no" };
            Ok(text(format!("finished: {finished}\nsize: {}\n", found.totals.bytes())))
        }
        _ => {
            let shown = serde_json::to_string_pretty(&value).unwrap_or_default();
            Ok(page(format!("<!DOCTYPE html><title>Operation</title><pre>{}</pre>\n", escaped(&shown))))
        }
    }
}

fn to_json(kind: &Kind, found: &Found) -> Value {
    let mut value = match kind {
        Kind::Stats => found.totals.to_json(),
        Kind::Size => json!({ "size": found.totals.to_json() }),
        Kind::Manifest { origin } => {
            let manifest: Vec<Value> =
                found.manifest.iter().map(|(path, cap, _)| json!([path, cap])).collect();
            let mut verify: Vec<&str> = found
                .manifest
                .iter()
                .map(|(_, _, verify)| verify.as_str())
                .filter(|cap| !cap.is_empty())
                .collect();
            verify.sort_unstable();
            verify.dedup();
            let indexes: Vec<&str> = verify.iter().filter_map(|cap| cap.split(':').nth(2)).collect();
            json!({ "origin": origin, "manifest": manifest, "verifycaps": verify,
                    "storage-index": indexes, "stats": found.totals.to_json() })
        }
        Kind::DeepCheck { repair, root } => deep_check(found, *repair, root),
    };
    value["finished"] = found.finished.into();
    value
}

fn deep_check(found: &Found, repair: bool, root: &str) -> Value {
    let mut value = json!({
        "root-storage-index": root,
        "count-objects-checked": found.checked,
        "list-unhealthy-files": found.unhealthy,
        "stats": found.totals.to_json(),
    });
    if repair {
        value["count-objects-healthy-pre-repair"] = found.healthy.into();
        value["count-objects-unhealthy-pre-repair"] = (found.checked - found.healthy).into();
        value["count-objects-healthy-post-repair"] = found.healthy_after.into();
        value["count-objects-unhealthy-post-repair"] = (found.checked - found.healthy_after).into();
        value["count-repairs-attempted"] = found.repairs.into();
        value["count-repairs-successful"] = found.repaired.into();
        value["count-repairs-unsuccessful"] = (found.repairs - found.repaired).into();
        value["count-corrupt-shares-pre-repair"] = found.corrupt.into();
        value["count-corrupt-shares-post-repair"] = 0.into();
        value["list-corrupt-shares"] = json!([]);
        value["list-remaining-corrupt-shares"] = json!([]);
    } else {
        value["count-objects-healthy"] = found.healthy.into();
        value["count-objects-unhealthy"] = (found.checked - found.healthy).into();
        value["count-corrupt-shares"] = found.corrupt.into();
        value["list-corrupt-shares"] = json!([]);
    }
    value
}
