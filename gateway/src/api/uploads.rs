//! Resumable uploads, by tus 1.0 (core, creation, termination, expiration).
//!
//! Bytes go into the grid as they come. Small files are gathered first, so that equal files are stored once; of larger ones this process
//! holds no more than a pipe. A directory learns of a file when all of it is stored, and of none before.

mod pipe;
mod request;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tokio::sync::{OwnedMutexGuard, Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::problem::Problem;
use super::{new_id, until};
use crate::Gateway;
use crate::incoming::is_of_type;
use pipe::{Destination, Pipe};
use request::{Wanted, length_of};

/// How long an upload waits for the rest of it; an upload that is done, for somebody who did not hear of it. Servers wait for a block of a
/// large file a little longer.
const WAITS: Duration = Duration::from_secs(540);
/// Uploads at a time, those that wait included.
const UPLOADS_MAX: usize = 256;
/// Bytes of small files that are gathered at a time, over all uploads.
const GATHERED_MAX: usize = 128 << 20;
/// How long a body may give nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait for another request about the same upload to stop.
const TURN: Duration = Duration::from_secs(5);
const TUS: &str = "1.0.0";

/// All uploads.
pub(crate) struct Uploads {
    live: Mutex<HashMap<String, Arc<Upload>>>,
    /// Of bytes that small files may take, what is left.
    room: Arc<Semaphore>,
    done: AtomicU64,
    failed: AtomicU64,
}

impl Default for Uploads {
    fn default() -> Self {
        let room = Arc::new(Semaphore::new(GATHERED_MAX));
        Self { live: Mutex::default(), room, done: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }
}

struct Upload {
    id: String,
    length: u64,
    offset: AtomicU64,
    /// Counts requests: when another comes, the one at work stops.
    turn: watch::Sender<u64>,
    pipe: Arc<tokio::sync::Mutex<Pipe>>,
    destination: Destination,
    touched: Mutex<Instant>,
}

impl Uploads {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Upload>>> {
        self.live.lock().expect("no code panics while it holds this lock")
    }

    fn get(&self, id: &str) -> Result<Arc<Upload>, Problem> {
        let found = self.lock().get(id).cloned();
        found.ok_or_else(|| {
            Problem::not_found("there is no such upload")
                .with_hint("an upload that waited for nine minutes is given up: begin again")
        })
    }

    fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Uploads there are, and how many were done and failed so far.
    pub(super) fn totals(&self) -> (usize, u64, u64) {
        (self.lock().len(), self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

impl Upload {
    fn offset(&self) -> u64 {
        self.offset.load(Ordering::Relaxed)
    }

    fn touched(&self) -> Instant {
        *self.touched.lock().expect("no code panics while it holds this lock")
    }

    fn touch(&self) {
        *self.touched.lock().expect("no code panics while it holds this lock") = Instant::now();
    }

    /// The pipe, once whoever worked on it has stopped: a connection that broke may not have been noticed yet.
    async fn take_over(&self) -> Result<(OwnedMutexGuard<Pipe>, watch::Receiver<u64>), Problem> {
        self.touch();
        self.turn.send_modify(|turn| *turn += 1);
        let mut turn = self.turn.subscribe();
        turn.mark_unchanged();
        let locked =
            || Problem::new(StatusCode::LOCKED, "locked", "another request is finishing this upload");
        let pipe = timeout(TURN, self.pipe.clone().lock_owned()).await.map_err(|_| locked())?;
        Ok((pipe, turn))
    }
}

/// Makes room: of the uploads that are done, the one that was asked about the longest ago is forgotten, if there is one.
fn forget_done(live: &mut HashMap<String, Arc<Upload>>) -> bool {
    let done = live.values().filter(|upload| upload.pipe.try_lock().is_ok_and(|pipe| pipe.entry().is_some()));
    let oldest = done.min_by_key(|upload| upload.touched()).map(|upload| upload.id.clone());
    oldest.is_some_and(|id| live.remove(&id).is_some())
}

/// Gives an upload up when it waited too long. It goes away with the upload.
async fn expire(gateway: Weak<Gateway>, upload: Weak<Upload>) {
    loop {
        let wait = {
            let (Some(gateway), Some(upload)) = (gateway.upgrade(), upload.upgrade()) else { return };
            let idle = upload.touched().elapsed();
            match upload.pipe.try_lock() {
                Ok(_) if idle >= WAITS => return gateway.shared().uploads.forget(&upload.id),
                Ok(_) => WAITS - idle,
                Err(_) => WAITS,
            }
        };
        tokio::time::sleep(wait).await;
    }
}

fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get("tus-resumable") {
        Some(version) if version != TUS => {
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, "tus-version", "tus 1.0.0 is spoken here"))
        }
        _ => Ok(()),
    }
}

fn answer(status: StatusCode, upload: Option<&Upload>, entry: Option<&str>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("tus-resumable", HeaderValue::from_static(TUS));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(upload) = upload {
        headers.insert("upload-offset", upload.offset().into());
        headers.insert("upload-length", upload.length.into());
        // Its date is for people; the gateway counts from the last request.
        headers.insert("sarsen-until", until(WAITS).into());
    }
    if let Some(entry) = entry.and_then(|entry| HeaderValue::from_str(entry).ok()) {
        headers.insert("sarsen-entry", entry);
    }
    response
}

/// What is spoken here.
pub(super) async fn abilities() -> Response {
    let mut response = answer(StatusCode::NO_CONTENT, None, None);
    let headers = response.headers_mut();
    headers.insert("tus-version", HeaderValue::from_static(TUS));
    headers.insert("tus-extension", HeaderValue::from_static("creation,termination,expiration"));
    response
}

/// Begins an upload. What can be refused is refused here, before any byte is sent.
pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    check_version(&headers)?;
    let length = length_of(&headers, "upload-length")?;
    let wanted = Wanted::of(&headers)?;
    let destination = wanted.destination(&gateway, length).await?;
    let shared = gateway.shared();
    let pipe = Pipe::open(&destination, length, &shared.uploads.room, &shared.transfers);
    let id = new_id();
    let upload = Arc::new(Upload {
        id: id.clone(),
        length,
        offset: AtomicU64::new(0),
        turn: watch::Sender::new(0),
        pipe: Arc::new(tokio::sync::Mutex::new(pipe)),
        destination,
        touched: Mutex::new(Instant::now()),
    });
    {
        let mut live = shared.uploads.lock();
        if live.len() >= UPLOADS_MAX && !forget_done(&mut live) {
            return Err(Problem::busy(format!("{UPLOADS_MAX} uploads are under way or wait")));
        }
        live.insert(id.clone(), upload.clone());
    }
    tokio::spawn(expire(Arc::downgrade(&gateway), Arc::downgrade(&upload)));
    let entry = match length {
        0 => Some(finish(&gateway, &upload, upload.pipe.clone().lock_owned().await).await?),
        _ => None,
    };
    let mut response = answer(StatusCode::CREATED, Some(&upload), entry.as_deref());
    let location = HeaderValue::try_from(format!("/api/uploads/{id}"));
    response.headers_mut().extend(location.ok().map(|location| (header::LOCATION, location)));
    Ok(response)
}

/// How far it is.
pub(super) async fn state(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    check_version(&headers)?;
    let upload = gateway.shared().uploads.get(&id)?;
    let (pipe, _) = upload.take_over().await?;
    Ok(answer(StatusCode::OK, Some(&upload), pipe.entry()))
}

/// Takes the next bytes.
pub(super) async fn append(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    check_version(&headers)?;
    if !is_of_type(&headers, "application/offset+octet-stream") {
        let detail = "the body is to be application/offset+octet-stream";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail));
    }
    let at = length_of(&headers, "upload-offset")?;
    let uploads = &gateway.shared().uploads;
    let upload = uploads.get(&id)?;
    let (mut pipe, mut turn) = upload.take_over().await?;
    if at != upload.offset() {
        let detail = format!("the upload is at {}, not at {at}", upload.offset());
        return Err(Problem::new(StatusCode::CONFLICT, "offset", detail));
    }
    if let Err(failed) = take(&upload, &mut pipe, &mut turn, body).await {
        if let Failed::Pipe = failed {
            // The grid took no more: what it says is the answer, and there is nothing to go on with.
            uploads.forget(&id);
            uploads.failed.fetch_add(1, Ordering::Relaxed);
            return Err(pipe.why().await);
        }
        return Err(failed.into());
    }
    let entry = match upload.offset() == upload.length {
        true => Some(finish(&gateway, &upload, pipe).await?),
        false => None,
    };
    Ok(answer(StatusCode::NO_CONTENT, Some(&upload), entry.as_deref()))
}

enum Failed {
    /// The body broke off, or was too slow, too long, or not the newest.
    Body(Problem),
    /// The grid takes no more.
    Pipe,
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Body(problem) => problem,
            Failed::Pipe => Self::busy("the grid takes no more"),
        }
    }
}

/// Brings a body into the pipe. What was taken counts, however the body ends.
async fn take(
    upload: &Upload,
    pipe: &mut Pipe,
    turn: &mut watch::Receiver<u64>,
    mut body: Body,
) -> Result<(), Failed> {
    let failed = |status, code, detail: &str| Err(Failed::Body(Problem::new(status, code, detail)));
    loop {
        let frame = tokio::select! {
            biased;
            _ = turn.changed() => return failed(StatusCode::CONFLICT, "taken-over", "another request goes on with this upload"),
            frame = timeout(PATIENCE, body.frame()) => frame,
        };
        let data = match frame {
            Err(_) => {
                return failed(StatusCode::REQUEST_TIMEOUT, "timeout", "the body gave nothing for a minute");
            }
            Ok(None) => return Ok(()),
            Ok(Some(Err(_))) => return failed(StatusCode::BAD_REQUEST, "broken-off", "the body broke off"),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        if data.len() as u64 > upload.length - upload.offset() {
            return failed(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "that is more than the upload was to have",
            );
        }
        let mut rest = data;
        while !rest.is_empty() {
            upload.touch();
            let taken = tokio::select! {
                biased;
                _ = turn.changed() => return failed(StatusCode::CONFLICT, "taken-over", "another request goes on with this upload"),
                taken = pipe.write(&rest) => taken.map_err(|_| Failed::Pipe)?,
            };
            upload.offset.fetch_add(taken as u64, Ordering::Relaxed);
            rest = rest.split_off(taken);
        }
    }
}

/// Stores what is there and links it, whether or not anybody waits for it; gives the entry as a header has it.
async fn finish(
    gateway: &Arc<Gateway>,
    upload: &Arc<Upload>,
    mut pipe: OwnedMutexGuard<Pipe>,
) -> Result<String, Problem> {
    if let Some(entry) = pipe.entry() {
        return Ok(entry.to_owned());
    }
    let (gateway, upload) = (gateway.clone(), upload.clone());
    let finishing = tokio::spawn(async move {
        let shared = gateway.shared();
        let done = pipe.finish(&upload.destination).await;
        upload.touch();
        match &done {
            Ok(_) => {
                shared.uploads.done.fetch_add(1, Ordering::Relaxed);
                shared.events.note("upload", format!("{} was uploaded", upload.destination.name));
            }
            Err(problem) => {
                shared.uploads.failed.fetch_add(1, Ordering::Relaxed);
                shared.events.note("upload-failed", format!("{} was not uploaded", upload.destination.name));
                if !(pipe.is_whole() && problem.is_retryable()) {
                    shared.uploads.forget(&upload.id);
                }
            }
        }
        done
    });
    finishing.await.unwrap_or_else(|_| Err(Problem::busy("the upload broke off")))
}

/// Gives an upload up.
pub(super) async fn end(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    check_version(&headers)?;
    let uploads = &gateway.shared().uploads;
    let upload = uploads.get(&id)?;
    let (mut pipe, _) = upload.take_over().await?;
    pipe.close();
    uploads.forget(&id);
    Ok(answer(StatusCode::NO_CONTENT, None, None).into_response())
}
