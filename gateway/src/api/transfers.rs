//! Files on their way through this gateway, by whichever of its two APIs, and those that were on their way lately.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use caps::Cap;
use client::Transfer;
use hyper::body::{Frame, SizeHint};
use serde_json::{Value, json};

/// Transfers that are shown to those who watch; further ones only count.
const SHOWN: usize = 256;
/// Transfers that are remembered when they have ended.
const PAST: usize = 64;

/// All transfers under way.
#[derive(Clone, Default)]
pub(crate) struct Transfers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    last: AtomicU64,
    seen: Mutex<Seen>,
    /// Bytes of transfers that ended: up, down.
    moved: [AtomicU64; 2],
    /// Transfers that came to their end: up, down.
    done: [AtomicU64; 2],
}

#[derive(Default)]
struct Seen {
    live: BTreeMap<u64, Arc<One>>,
    past: VecDeque<Arc<One>>,
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Up,
    Down,
}

/// One transfer.
pub(crate) struct One {
    name: String,
    way: Way,
    total: Option<u64>,
    /// What it is of, where that is known: the verify cap.
    cap: Option<Cap>,
    transfer: Transfer,
    is_whole: AtomicBool,
}

impl One {
    pub(crate) fn way(&self) -> Way {
        self.way
    }

    pub(crate) fn cap(&self) -> Option<&Cap> {
        self.cap.as_ref()
    }

    /// Bytes that are to move, and that moved.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let expected = self.total.unwrap_or_else(|| self.transfer.expected());
        // What did not come from servers, or went in one piece with others, was not counted on its way.
        (expected, if self.is_whole() { expected } else { self.transfer.done() })
    }

    /// Whether it came to its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole.load(Ordering::Relaxed)
    }
}

/// As long as this is held, the transfer is under way.
pub(crate) struct UnderWay {
    transfers: Transfers,
    id: u64,
    one: Arc<One>,
}

impl UnderWay {
    /// All of it was moved: it did not break off.
    pub(crate) fn finish(&self) {
        if !self.one.is_whole.swap(true, Ordering::Relaxed) {
            self.transfers.0.done[self.one.way as usize].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What readers saw before, to tell rates.
pub(super) type Before = HashMap<u64, (u64, BTreeMap<String, u64>)>;

impl Transfers {
    /// A transfer begins. The name is for people; of the capability nothing is kept that reads.
    pub(crate) fn begin(
        &self,
        name: &str,
        way: Way,
        total: Option<u64>,
        cap: Option<&Cap>,
        transfer: Transfer,
    ) -> UnderWay {
        let id = self.0.last.fetch_add(1, Ordering::Relaxed);
        let (name, cap) = (name.to_owned(), cap.and_then(Cap::verify));
        let one = Arc::new(One { name, way, total, cap, transfer, is_whole: AtomicBool::new(false) });
        self.lock().live.insert(id, one.clone());
        UnderWay { transfers: self.clone(), id, one }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.seen.lock().expect("no code panics while it holds this lock")
    }

    /// Counts a download for as long as its body is read.
    pub(crate) fn watch_body(
        &self,
        name: &str,
        cap: &Cap,
        transfer: Transfer,
        response: Response,
    ) -> Response {
        if hyper::body::Body::is_end_stream(response.body()) || !response.status().is_success() {
            return response;
        }
        let total = hyper::body::Body::size_hint(response.body()).exact();
        let under_way = self.begin(name, Way::Down, total, Some(cap), transfer);
        response.map(|body| Body::new(Watched { body, under_way }))
    }

    /// Those under way and those that ended lately, the newest first.
    pub(crate) fn seen(&self) -> (Vec<Arc<One>>, Vec<Arc<One>>) {
        let seen = self.lock();
        (seen.live.values().rev().cloned().collect(), seen.past.iter().rev().cloned().collect())
    }

    /// How many came to their end, up and down.
    pub(crate) fn done(&self) -> [u64; 2] {
        let [up, down] = &self.0.done;
        [up.load(Ordering::Relaxed), down.load(Ordering::Relaxed)]
    }

    /// All transfers, with what moved since `before` and how fast.
    pub(super) fn rates(&self, before: &mut Before, passed: Duration) -> Vec<Value> {
        let live: Vec<(u64, Arc<One>)> =
            self.lock().live.iter().take(SHOWN).map(|(id, one)| (*id, one.clone())).collect();
        before.retain(|id, _| live.iter().any(|(known, _)| known == id));
        let seconds = passed.as_secs_f64().max(1e-3);
        let rate = |now: u64, before: u64| (now.saturating_sub(before) as f64 / seconds).round();
        let mut out = Vec::with_capacity(live.len());
        for (id, one) in &live {
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
        let seen = self.lock();
        let live = &seen.live;
        let moving =
            |way| live.values().filter(|one| one.way == way).map(|one| one.transfer.done()).sum::<u64>();
        let [up, down] = &self.0.moved;
        let up = up.load(Ordering::Relaxed) + moving(Way::Up);
        (live.len(), up, down.load(Ordering::Relaxed) + moving(Way::Down))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut seen = self.transfers.lock();
        seen.live.remove(&self.id);
        if seen.past.len() >= PAST {
            seen.past.pop_front();
        }
        seen.past.push_back(self.one.clone());
        let moved = &self.transfers.0.moved[self.one.way as usize];
        moved.fetch_add(self.one.transfer.done(), Ordering::Relaxed);
    }
}

struct Watched {
    body: Body,
    under_way: UnderWay,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        // Who knows its length is not asked again.
        if frame.is_none() || self.body.is_end_stream() {
            self.under_way.finish();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
