//! Which connections there are and how long each was idle: the idle make way for newcomers, and nobody has too many.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use protocol::NodeId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::resources::Resources;
use crate::store::lock;

/// Connections of one key.
const PER_KEY: usize = 128;
/// Keys whose resources are remembered before those of the departed are forgotten.
const KEYS_MAX: usize = 4096;

/// All connections that said hello or may yet.
#[derive(Default)]
pub(crate) struct Connections(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    open: BTreeMap<u64, Arc<Entry>>,
    keys: HashMap<NodeId, Weak<Resources>>,
}

/// One of them.
pub(crate) struct Entry {
    key: NodeId,
    activity: Mutex<Activity>,
    close: Notify,
}

struct Activity {
    under_way: usize,
    since: Instant,
    closing: bool,
}

/// Lists a connection until it is dropped.
pub(crate) struct Listed<'a> {
    connections: &'a Connections,
    number: u64,
    pub(crate) entry: Arc<Entry>,
    pub(crate) resources: Arc<Resources>,
}

/// A stream under way.
pub(crate) struct Busy(Arc<Entry>);

impl Connections {
    /// Lists a connection, unless its key has too many; then the one of that key idle longest is told to go.
    pub(crate) fn list(&self, key: NodeId, new: impl FnOnce() -> Resources) -> Option<Listed<'_>> {
        let mut state = lock(&self.0);
        if state.open.values().filter(|entry| entry.key == key).count() >= PER_KEY {
            state.close_idle(|entry| entry.key == key);
            return None;
        }
        if state.keys.len() >= KEYS_MAX {
            state.keys.retain(|_, resources| resources.strong_count() > 0);
        }
        let resources = state.keys.get(&key).and_then(Weak::upgrade);
        let resources = resources.unwrap_or_else(|| Arc::new(new()));
        state.keys.insert(key, Arc::downgrade(&resources));
        let activity = Activity { under_way: 0, since: Instant::now(), closing: false };
        let entry = Arc::new(Entry { key, activity: Mutex::new(activity), close: Notify::new() });
        state.next += 1;
        let number = state.next;
        state.open.insert(number, entry.clone());
        drop(state);
        Some(Listed { connections: self, number, entry, resources })
    }

    /// Tells the connection idle longest to go, if any is idle.
    pub(crate) fn make_room(&self) {
        lock(&self.0).close_idle(|_| true);
    }
}

impl State {
    fn close_idle(&self, of: impl Fn(&Entry) -> bool) {
        let idle = self.open.values().filter(|entry| of(entry)).filter_map(|entry| {
            let activity = lock(&entry.activity);
            (activity.under_way == 0 && !activity.closing).then_some((activity.since, entry))
        });
        if let Some((_, entry)) = idle.min_by_key(|(since, _)| *since) {
            lock(&entry.activity).closing = true;
            entry.close.notify_one();
        }
    }
}

impl Entry {
    /// A stream came.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        let mut activity = lock(&self.activity);
        activity.under_way += 1;
        Busy(self.clone())
    }

    /// Returns when the connection shall be closed: nothing was under way for `idle`, or others want its place.
    pub(crate) async fn must_go(&self, idle: Duration) {
        loop {
            let until = {
                let activity = lock(&self.activity);
                let now = Instant::now();
                match activity.under_way {
                    0 if activity.closing || now >= activity.since + idle => return,
                    0 => activity.since + idle,
                    _ => now + idle / 8,
                }
            };
            tokio::select! {
                biased;
                () = self.close.notified() => {}
                () = sleep_until(until) => {}
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut activity = lock(&self.0.activity);
        activity.under_way -= 1;
        activity.since = Instant::now();
        activity.closing = false;
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        lock(&self.connections.0).open.remove(&self.number);
    }
}
