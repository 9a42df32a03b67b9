//! Files on their way through this gateway.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use client::Transfer;
use hyper::body::{Frame, SizeHint};
use serde_json::{Value, json};

/// Transfers that are shown; further ones go unseen.
const SHOWN: usize = 256;

/// All transfers under way.
#[derive(Clone, Default)]
pub(crate) struct Transfers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    last: AtomicU64,
    live: Mutex<BTreeMap<u64, Live>>,
    /// Bytes of finished transfers: up, down.
    moved: [AtomicU64; 2],
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Up,
    Down,
}

struct Live {
    name: String,
    way: Way,
    total: Option<u64>,
    transfer: Transfer,
}

/// As long as this is held, the transfer is under way.
pub(crate) struct UnderWay {
    transfers: Transfers,
    id: u64,
}

/// What readers saw before, to tell rates.
pub(super) type Before = HashMap<u64, (u64, BTreeMap<String, u64>)>;

impl Transfers {
    /// A transfer begins.
    pub(crate) fn begin(&self, name: &str, way: Way, total: Option<u64>, transfer: Transfer) -> UnderWay {
        let id = self.0.last.fetch_add(1, Ordering::Relaxed);
        let mut live = self.lock();
        if live.len() < SHOWN {
            live.insert(id, Live { name: name.to_owned(), way, total, transfer });
        }
        UnderWay { transfers: self.clone(), id }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Live>> {
        self.0.live.lock().expect("no code panics while it holds this lock")
    }

    /// Counts a download for as long as its body is read.
    pub(crate) fn watch_body(&self, name: &str, transfer: Transfer, response: Response) -> Response {
        if hyper::body::Body::is_end_stream(response.body()) {
            return response;
        }
        let total = hyper::body::Body::size_hint(response.body()).exact();
        let total = total.or_else(|| Some(transfer.expected()).filter(|expected| *expected > 0));
        let under_way = self.begin(name, Way::Down, total, transfer);
        response.map(|body| Body::new(Watched { body, _under_way: under_way }))
    }

    /// All transfers, with what moved since `before` and how fast.
    pub(super) fn rates(&self, before: &mut Before, passed: Duration) -> Vec<Value> {
        let live = self.lock();
        before.retain(|id, _| live.contains_key(id));
        let seconds = passed.as_secs_f64().max(1e-3);
        let rate = |now: u64, before: u64| (now.saturating_sub(before) as f64 / seconds).round();
        let mut out = Vec::with_capacity(live.len());
        for (id, one) in live.iter() {
            let done = one.transfer.done();
            let servers: BTreeMap<String, u64> =
                one.transfer.by_server().into_iter().map(|(id, bytes)| (id.to_string(), bytes)).collect();
            let (was, were) = before.get(id).cloned().unwrap_or_default();
            let rates: BTreeMap<&String, f64> = servers
                .iter()
                .map(|(id, bytes)| (id, rate(*bytes, were.get(id).copied().unwrap_or(0))))
                .collect();
            let direction = if one.way == Way::Up { "up" } else { "down" };
            out.push(json!({
                "id": id, "name": one.name, "direction": direction, "done": done, "total": one.total,
                "rate": rate(done, was), "servers": rates,
            }));
            before.insert(*id, (done, servers));
        }
        out
    }

    /// How many are under way, and bytes moved up and down so far.
    pub(super) fn totals(&self) -> (usize, u64, u64) {
        let live = self.lock();
        let moving =
            |way| live.values().filter(|one| one.way == way).map(|one| one.transfer.done()).sum::<u64>();
        let [up, down] = &self.0.moved;
        let up = up.load(Ordering::Relaxed) + moving(Way::Up);
        (live.len(), up, down.load(Ordering::Relaxed) + moving(Way::Down))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Some(one) = self.transfers.lock().remove(&self.id) else { return };
        self.transfers.0.moved[one.way as usize].fetch_add(one.transfer.done(), Ordering::Relaxed);
    }
}

struct Watched {
    body: Body,
    _under_way: UnderWay,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
