//! `/operations/HANDLE`: long work that goes on after its request was answered.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::answer::{
    Answer, Gone, JSON, Problem, TEXT, Writer, ascii, either, escaped, json as answer_json, page, redirect,
    streamed, text,
};
use super::args::Args;
use super::check::{Brief, share};
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
/// How long they stay that were fetched for the last time: an answer that was lost on its way can be had once more.
const RELEASED: Duration = Duration::from_secs(60);
/// Unhealthy files that are listed, and bad shares.
const MAX_LISTED: usize = 10_000;

/// What is done under a handle.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Stats,
    Size,
    Manifest { origin: String },
    DeepCheck { repair: bool, root: String },
}

/// A line of a manifest.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) path: Vec<String>,
    pub(super) cap: String,
    pub(super) verify: String,
}

impl Line {
    /// Memory is lent in pieces of so many bytes.
    pub(super) const PIECE: usize = 64;

    fn pieces(&self) -> u32 {
        let path: usize = self.path.iter().map(|name| name.len() + 24).sum();
        (path + self.cap.len() + self.verify.len() + 128).div_ceil(Self::PIECE) as u32
    }
}

#[derive(Default)]
struct Found {
    finished: Option<Instant>,
    failure: Option<Failure>,
    totals: Totals,
    manifest: Vec<Arc<Line>>,
    /// The memory that the manifest takes.
    lent: Option<OwnedSemaphorePermit>,
    checked: u64,
    healthy: u64,
    healthy_after: u64,
    repairs: u64,
    repaired: u64,
    corrupt: u64,
    corrupt_after: u64,
    unhealthy: Vec<Value>,
    bad: Vec<Value>,
    bad_after: Vec<Value>,
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

    /// Keeps a line, if there is room for it.
    pub(super) fn listed(&self, room: &Arc<Semaphore>, line: Line) -> bool {
        let Ok(more) = room.clone().try_acquire_many_owned(line.pieces()) else { return false };
        let mut found = self.lock();
        match &mut found.lent {
            Some(lent) => lent.merge(more),
            lent => *lent = Some(more),
        }
        found.manifest.push(Arc::new(line));
        true
    }

    pub(super) fn checked(&self, told: &Told) {
        let path: Vec<&str> = told.walked.path.iter().map(AsRef::as_ref).collect();
        self.note(&told.brief, &told.index, json!(path));
    }

    pub(super) fn part(&self, brief: &Brief) {
        self.note(brief, "part", json!(["(part of a large file or directory)"]));
    }

    /// What is to be said of the whole tree counts as a thing that is not healthy.
    pub(super) fn complains(&self, complaint: Option<String>) {
        let Some(complaint) = complaint else { return };
        self.note(&Brief::Unknown, "", json!(["(the whole tree)"]));
        if let Some(last) = self.lock().unhealthy.last_mut() {
            last[1]["summary"] = complaint.into();
        }
    }

    fn note(&self, brief: &Brief, index: &str, path: Value) {
        let mut found = self.lock();
        found.checked += 1;
        found.healthy += u64::from(brief.was_healthy());
        found.healthy_after += u64::from(brief.is_healthy());
        found.repairs += u64::from(brief.is_repair_attempted());
        found.repaired += u64::from(brief.is_repair_attempted() && brief.is_healthy());
        found.corrupt += brief.bad().len() as u64;
        found.corrupt_after += brief.bad_now().len() as u64;
        let room = MAX_LISTED.saturating_sub(found.bad.len());
        found.bad.extend(brief.bad().iter().take(room).map(|bad| share(bad, index)));
        let room = MAX_LISTED.saturating_sub(found.bad_after.len());
        found.bad_after.extend(brief.bad_now().iter().take(room).map(|bad| share(bad, index)));
        if !brief.was_healthy() && found.unhealthy.len() < MAX_LISTED {
            found.unhealthy.push(json!([path, brief.to_json(index, false)]));
        }
    }
}

/// Notes that work has ended, however it did.
struct Ends(Progress);

impl Drop for Ends {
    fn drop(&mut self) {
        let mut found = self.0.lock();
        if found.finished.is_none() {
            found.finished = Some(Instant::now());
            let text = "the work broke off: this is a defect of this program";
            found.failure = Some(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, text));
        }
    }
}

struct Operation {
    kind: Kind,
    progress: Progress,
    task: AbortHandle,
    /// How long the client wants it kept, and when it said so.
    retain: Option<(Instant, Duration)>,
    /// When its results were first fetched.
    collected: Option<Instant>,
    /// When they were fetched by somebody who said that he would not come again.
    released: Option<Instant>,
}

impl Operation {
    fn is_under_way(&self) -> bool {
        self.progress.lock().finished.is_none()
    }

    /// What is under way stays.
    fn is_over(&self, now: Instant) -> bool {
        let Some(finished) = self.progress.lock().finished else { return false };
        let until = match (self.released, self.retain, self.collected) {
            (Some(released), ..) => released + RELEASED,
            (None, Some((since, keep)), _) => finished.max(since) + keep,
            (None, None, Some(collected)) => collected + COLLECTED,
            (None, None, None) => finished + UNCOLLECTED,
        };
        until <= now
    }
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
        all.retain(|_, operation| !operation.is_over(now));
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
    if all.get(&handle).is_some_and(Operation::is_under_way) {
        return Err(Problem::new(StatusCode::CONFLICT, "other work is under way under this handle"));
    }
    if all.len() >= MAX {
        all.retain(|_, operation| operation.released.is_none());
    }
    if all.len() >= MAX && !all.contains_key(&handle) {
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many handles; fetch or cancel some"));
    }
    let progress = Progress::default();
    let (done, work) = (progress.clone(), work(progress.clone()));
    let task = tokio::spawn(async move {
        let ends = Ends(done);
        let result = work.await;
        let mut found = ends.0.lock();
        found.finished = Some(Instant::now());
        found.failure = result.err().map(|Problem(failure)| failure);
        drop(found);
    });
    let retain = retain.map(|keep| (Instant::now(), keep));
    let task = task.abort_handle();
    let operation = Operation { kind, progress, task, retain, collected: None, released: None };
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
    let operation = all.get_mut(handle).ok_or_else(unknown)?;
    let cancel = args.t() == "cancel";
    let is_post = request.method() == Method::POST;
    if cancel && !is_post {
        return Err(Problem::bad("t=cancel wants a POST"));
    }
    // Who only looks changes nothing.
    if let Some(keep) = retain_for(&args)?.filter(|_| is_post) {
        operation.retain = Some((Instant::now(), keep));
    }
    let release = args.flag("release-after-complete")?;
    let (progress, kind) = (operation.progress.clone(), operation.kind.clone());
    let (failure, finished) = {
        let found = progress.lock();
        (found.failure.clone(), found.finished.is_some())
    };
    if finished {
        operation.collected.get_or_insert_with(Instant::now);
    }
    // Tahoe's own client asks so, with a GET, and leaves nothing behind.
    if finished && release {
        operation.released.get_or_insert_with(Instant::now);
    }
    if cancel {
        all.remove(handle);
    }
    // What follows takes time: others need not wait for it.
    drop(all);
    match failure {
        Some(failure) => Err(Problem(failure)),
        None => render(&kind, &progress, &args),
    }
}

/// `/operations/HANDLE/INDEX`: what a deep check found of one thing. Of what was healthy nothing is kept.
pub(super) async fn one(
    State(gateway): State<Arc<Gateway>>,
    Path((handle, index)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Infallible> {
    either(show_one(&gateway, &handle, &index, &request))
}

fn show_one(gateway: &Gateway, handle: &str, index: &str, request: &Request) -> Answer {
    let progress = {
        let all = gateway.tahoe().operations.lock();
        let operation = all.get(handle).ok_or_else(unknown)?;
        operation.progress.clone()
    };
    let found = progress.lock();
    let is = |listed: &&Value| listed[1]["storage-index"] == index;
    let listed = found.unhealthy.iter().find(is).map(|listed| listed[1].clone());
    drop(found);
    let value = listed.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "No detailed results: it is healthy, or no part")
    })?;
    shown(&value, &Args::of_query(request.uri()))
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown/expired handle")
}

fn shown(value: &Value, args: &Args) -> Answer {
    if args.get("output").is_some_and(|output| output.eq_ignore_ascii_case("json")) {
        return Ok(answer_json(value));
    }
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    Ok(page(format!("<!DOCTYPE html><title>Operation</title><pre>{}</pre>\n", escaped(&text))))
}

fn render(kind: &Kind, progress: &Progress, args: &Args) -> Answer {
    let output = args.get("output").unwrap_or("html").to_ascii_lowercase();
    let found = progress.lock();
    let finished = found.finished.is_some();
    if let Kind::Manifest { origin } = kind {
        let manifest = Manifest {
            lines: found.manifest.clone(),
            origin: origin.clone(),
            stats: found.totals.to_json(),
            finished,
        };
        drop(found);
        return Ok(manifest.respond(output == "json"));
    }
    if output == "text" {
        let finished = if finished { "yes" } else { "no" };
        return Ok(text(format!("finished: {finished}\nsize: {}\n", found.totals.bytes())));
    }
    let value = to_json(kind, &found);
    drop(found);
    shown(&value, args)
}

/// A manifest as far as it goes, to be written while it is sent.
struct Manifest {
    lines: Vec<Arc<Line>>,
    origin: String,
    stats: Value,
    finished: bool,
}

impl Manifest {
    fn respond(self, as_json: bool) -> Response {
        let kind = if as_json { JSON } else { TEXT };
        streamed(kind, move |mut writer| async move {
            let done = match as_json {
                true => self.write_json(&mut writer).await,
                false => self.write_text(&mut writer).await,
            };
            if done.is_ok() {
                let _ = writer.flush().await;
            }
        })
    }

    async fn write_text(&self, writer: &mut Writer) -> Result<(), Gone> {
        let finished = if self.finished { "yes" } else { "no" };
        writer.write(&format!("finished: {finished}\n")).await?;
        for line in &self.lines {
            writer.write(&format!("{} {}\n", line.path.join("/"), line.cap)).await?;
        }
        Ok(())
    }

    async fn write_json(&self, writer: &mut Writer) -> Result<(), Gone> {
        let mut verify: Vec<&str> =
            self.lines.iter().map(|line| line.verify.as_str()).filter(|cap| !cap.is_empty()).collect();
        verify.sort_unstable();
        verify.dedup();
        let origin = json!(self.origin);
        writer
            .write(&format!("{{\"finished\": {}, \"origin\": {origin}, \"manifest\": [", self.finished))
            .await?;
        for (at, line) in self.lines.iter().enumerate() {
            let comma = if at > 0 { ",\n" } else { "" };
            writer.write(&format!("{comma}{}", ascii(&json!([line.path, line.cap]).to_string()))).await?;
        }
        for (name, part) in [("verifycaps", None), ("storage-index", Some(2))] {
            writer.write(&format!("], \"{name}\": [")).await?;
            for (at, cap) in verify.iter().enumerate() {
                let comma = if at > 0 { ",\n" } else { "" };
                let shown = part.map_or(*cap, |part| cap.split(':').nth(part).unwrap_or_default());
                writer.write(&format!("{comma}{}", json!(shown))).await?;
            }
        }
        writer.write(&format!("], \"stats\": {}}}\n", self.stats)).await
    }
}

fn to_json(kind: &Kind, found: &Found) -> Value {
    let mut value = match kind {
        Kind::Stats => found.totals.to_json(),
        Kind::Size => json!({ "size": found.totals.to_json() }),
        Kind::Manifest { .. } => json!({}),
        Kind::DeepCheck { repair, root } => deep_check(found, *repair, root),
    };
    value["finished"] = found.finished.is_some().into();
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
        value["count-corrupt-shares-post-repair"] = found.corrupt_after.into();
        value["list-corrupt-shares"] = found.bad.clone().into();
        value["list-remaining-corrupt-shares"] = found.bad_after.clone().into();
    } else {
        value["count-objects-healthy"] = found.healthy.into();
        value["count-objects-unhealthy"] = (found.checked - found.healthy).into();
        value["count-corrupt-shares"] = found.corrupt.into();
        value["list-corrupt-shares"] = found.bad.clone().into();
    }
    value
}
