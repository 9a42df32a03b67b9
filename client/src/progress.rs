//! Watching and limiting a transfer from outside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::NodeId;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A handle on one transfer: how far it is, and how fast it may go. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Transfer(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    expected: AtomicU64,
    done: AtomicU64,
    by_server: Arc<std::sync::Mutex<BTreeMap<NodeId, u64>>>,
    limit: Option<Arc<Limit>>,
}

#[derive(Debug)]
struct Limit {
    bytes_per_second: u64,
    /// When the bytes let through so far are due.
    due: Mutex<Option<Instant>>,
}

impl Transfer {
    /// A transfer that moves at most so many bytes of shares a second.
    pub fn limited(bytes_per_second: u64) -> Self {
        let limit = Limit { bytes_per_second: bytes_per_second.max(1), due: Mutex::new(None) };
        let limit = Some(Arc::new(limit));
        Self(Arc::new(Inner { limit, ..Inner::default() }))
    }

    /// Bytes of the file that shall be moved; 0 while unknown.
    pub fn expected(&self) -> u64 {
        self.0.expected.load(Ordering::Relaxed)
    }

    /// Bytes of the file that were moved.
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// Bytes of shares that went to each server, or came from it.
    pub fn by_server(&self) -> BTreeMap<NodeId, u64> {
        self.0.by_server.lock().expect("no code panics while it holds this lock").clone()
    }

    pub(crate) fn moved(&self, server: NodeId, bytes: u64) {
        let mut by_server = self.0.by_server.lock().expect("no code panics while it holds this lock");
        *by_server.entry(server).or_default() += bytes;
    }

    /// A transfer under the same limit that counts by itself, but for servers: of what is moved beside the bytes of the file.
    pub(crate) fn beside(&self) -> Self {
        let (limit, by_server) = (self.0.limit.clone(), self.0.by_server.clone());
        Self(Arc::new(Inner { limit, by_server, ..Inner::default() }))
    }

    pub(crate) fn expect(&self, bytes: u64) {
        self.0.expected.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn restart(&self) {
        self.0.done.store(0, Ordering::Relaxed);
    }

    /// Waits until `bytes` more may move.
    pub(crate) async fn throttle(&self, bytes: u64) {
        let Some(limit) = &self.0.limit else { return };
        let mut due = limit.due.lock().await;
        let now = Instant::now();
        let start = due.map_or(now, |due| due.max(now));
        *due = Some(start + Duration::from_secs_f64(bytes as f64 / limit.bytes_per_second as f64));
        drop(due);
        tokio::time::sleep_until(start).await;
    }
}
