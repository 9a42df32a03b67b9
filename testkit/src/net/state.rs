//! The network's state: one lock around connections, streams and links. Wakers are called after it is let go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::task::Waker;
use std::time::Duration;

use protocol::NodeId;
use tokio::time::Instant;

use super::links::Links;
use super::stream::{Pipe, PipeId};
use super::trace::Trace;
use super::wait::{Waiters, earlier};
use super::{Duplicates, Tamper};
use crate::random::SimRandom;

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) random: SimRandom,
    pub(super) started: Instant,
}

impl Shared {
    /// Looks at or changes the state, then wakes whom that concerns.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let (result, wake) = {
            let mut state = self.state.lock().expect("no holder panics");
            let result = work(&mut state);
            (result, std::mem::take(&mut state.wake))
        };
        wake.into_iter().for_each(Waker::wake);
        result
    }

    /// Changes something that may concern everybody.
    pub(super) fn change<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        self.with(|state| {
            let result = work(state);
            state.wake_all();
            result
        })
    }

    /// A latency drawn for one piece in this direction.
    pub(super) fn latency(&self, state: &State, from: NodeId, to: NodeId) -> Duration {
        self.within(&state.links.link(from, to).latency)
    }

    /// A time drawn from a range.
    pub(super) fn within(&self, range: &RangeInclusive<Duration>) -> Duration {
        let nanoseconds =
            |latency: &Duration| u64::try_from(latency.as_nanos()).expect("latencies are below years");
        Duration::from_nanos(self.random.between(nanoseconds(range.start()), nanoseconds(range.end())))
    }

    /// Notes an event in the trace.
    pub(super) fn note(&self, state: &mut State, now: Instant, what: std::fmt::Arguments<'_>) {
        let at = (now - self.started).as_micros();
        state.trace.note(format!("{at} {what}"));
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

pub(super) struct Lost {
    pub(super) reason: &'static str,
    by: Side,
    /// When each side learns of it: client, server.
    seen: [Instant; 2],
}

pub(super) struct Conn {
    pub(super) client: NodeId,
    pub(super) server: NodeId,
    pub(super) listener: u64,
    pub(super) begun: Instant,
    pub(super) accepted: bool,
    pub(super) lost: Option<Lost>,
    /// Streams on their way to the server's side, which accepts them.
    pub(super) arriving: BTreeSet<(Instant, u64)>,
    pub(super) next_stream: u64,
    /// Streams the server's side still has a half of, or never saw.
    pub(super) open_streams: u32,
    /// Whoever waits for streams, for room for streams, for the handshake.
    pub(super) waiters: Waiters,
    /// Which sides are gone: client, server.
    gone: [bool; 2],
}

impl Conn {
    /// The keys of the sending and the receiving side.
    pub(super) fn direction(&self, from: Side) -> (NodeId, NodeId) {
        match from {
            Side::Client => (self.client, self.server),
            Side::Server => (self.server, self.client),
        }
    }

    /// Why the connection is lost as far as this side knows; or when it will know.
    pub(super) fn lost_to(&self, side: Side, now: Instant) -> Result<Option<Instant>, &'static str> {
        match &self.lost {
            None => Ok(None),
            Some(lost) if lost.seen[side as usize] <= now => Err(lost.reason),
            Some(lost) => Ok(Some(lost.seen[side as usize])),
        }
    }

    pub(super) fn lost_by(&self, side: Side) -> bool {
        self.lost.as_ref().is_some_and(|lost| lost.by == side)
    }
}

pub(super) struct ListenerState {
    pub(super) id: u64,
    pub(super) key: NodeId,
    pub(super) queue: VecDeque<u64>,
    pub(super) waiters: Waiters,
}

pub(super) struct State {
    pub(super) links: Links,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) tampers: BTreeMap<NodeId, Tamper>,
    /// By host.
    pub(super) duplicates: BTreeMap<NodeId, Duplicates>,
    pub(super) duplicated: u64,
    pub(super) listeners: BTreeMap<String, ListenerState>,
    pub(super) conns: BTreeMap<u64, Conn>,
    pub(super) pipes: BTreeMap<PipeId, Pipe>,
    pub(super) trace: Trace,
    /// Whoever waits for the network to change.
    pub(super) waiters: Waiters,
    wake: Vec<Waker>,
    next_conn: u64,
    next_listener: u64,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            links: Links::default(),
            idle_timeout: Some(IDLE_TIMEOUT),
            tampers: BTreeMap::new(),
            duplicates: BTreeMap::new(),
            duplicated: 0,
            listeners: BTreeMap::new(),
            conns: BTreeMap::new(),
            pipes: BTreeMap::new(),
            trace: Trace::default(),
            waiters: Waiters::default(),
            wake: Vec::new(),
            next_conn: 0,
            next_listener: 0,
        }
    }

    fn wake_all(&mut self) {
        self.waiters.wake_into(&mut self.wake);
        self.listeners.values_mut().for_each(|listener| listener.waiters.wake_into(&mut self.wake));
        self.conns.values_mut().for_each(|conn| conn.waiters.wake_into(&mut self.wake));
        self.pipes.values_mut().for_each(|pipe| pipe.wake_both(&mut self.wake));
    }

    pub(super) fn listen(&mut self, key: NodeId, address: &str) -> u64 {
        if let Some(before) = self.listeners.get(address) {
            self.unlisten(address, before.id);
        }
        let id = self.next_listener;
        self.next_listener += 1;
        let listener = ListenerState { id, key, queue: VecDeque::new(), waiters: Waiters::default() };
        self.listeners.insert(address.to_owned(), listener);
        id
    }

    /// Takes a listener away, unless another took its place.
    pub(super) fn unlisten(&mut self, address: &str, id: u64) {
        if self.listeners.get(address).is_none_or(|listener| listener.id != id) {
            return;
        }
        let Some(mut listener) = self.listeners.remove(address) else { return };
        listener.waiters.wake_into(&mut self.wake);
        for conn in listener.queue {
            self.lose(conn, Side::Server, "the listener closed", Instant::now());
        }
    }

    pub(super) fn listener_key(&self, address: &str) -> Option<NodeId> {
        self.listeners.get(address).map(|listener| listener.key)
    }

    /// Puts a new connection into the queue of the listener at an address, whose key was checked.
    pub(super) fn begin(&mut self, client: NodeId, address: &str, now: Instant) -> Option<u64> {
        let listener = self.listeners.get_mut(address).filter(|listener| listener.queue.len() < BACKLOG)?;
        let id = self.next_conn;
        self.next_conn += 1;
        listener.queue.push_back(id);
        listener.waiters.wake_into(&mut self.wake);
        let conn = Conn {
            client,
            server: listener.key,
            listener: listener.id,
            begun: now,
            accepted: false,
            lost: None,
            arriving: BTreeSet::new(),
            next_stream: 0,
            open_streams: 0,
            waiters: Waiters::default(),
            gone: [false, true],
        };
        self.conns.insert(id, conn);
        Some(id)
    }

    /// The server's side takes the connection.
    pub(super) fn accept(&mut self, id: u64) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.accepted = true;
            conn.gone[Side::Server as usize] = false;
            conn.waiters.wake_into(&mut self.wake);
        }
    }

    /// Connections that are not lost, and their keys.
    pub(super) fn connections(&self) -> Vec<(u64, (NodeId, NodeId))> {
        let live = self.conns.iter().filter(|(_, conn)| conn.lost.is_none());
        live.map(|(id, conn)| (*id, (conn.client, conn.server))).collect()
    }

    /// Ends a connection; the other side learns of it when it can.
    pub(super) fn lose(&mut self, id: u64, by: Side, reason: &'static str, now: Instant) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.lost.is_none()) else { return };
        let (from, to) = conn.direction(by);
        let silence = self.idle_timeout.unwrap_or(Duration::from_secs(FOREVER_S));
        let later = match self.links.cut_since(from, to) {
            Some(_) => now + silence,
            None => now + *self.links.link(from, to).latency.end(),
        };
        let mut seen = [now; 2];
        seen[by.other() as usize] = later;
        conn.lost = Some(Lost { reason, by, seen });
        self.wake_conn(id);
    }

    /// Loses the connection if it heard nothing for too long. Returns when that will be.
    pub(super) fn check_silence(&mut self, id: u64, now: Instant) -> Option<Instant> {
        let conn = self.conns.get(&id).filter(|conn| conn.lost.is_none())?;
        let ways = [(conn.client, conn.server), (conn.server, conn.client)];
        let [there, back] = ways.map(|(from, to)| self.links.cut_since(from, to));
        let ends = earlier(there, back)?.max(conn.begun) + self.idle_timeout?;
        if ends > now {
            return Some(ends);
        }
        let conn = self.conns.get_mut(&id)?;
        conn.lost = Some(Lost { reason: "timed out", by: Side::Client, seen: [now; 2] });
        self.wake_conn(id);
        None
    }

    /// A side of a connection has no handles any more.
    pub(super) fn leave(&mut self, id: u64, side: Side, now: Instant) {
        self.lose(id, side, "closed", now);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.gone[side as usize] = true;
        if conn.gone == [true; 2] {
            self.conns.remove(&id);
            self.pipes.retain(|pipe, _| pipe.conn != id);
        }
    }

    /// A stream is of no more use to the server's side: there is room for another.
    pub(super) fn free_stream(&mut self, id: u64) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.open_streams = conn.open_streams.saturating_sub(1);
        }
        self.wake_conn(id);
    }

    pub(super) fn wake_conn(&mut self, id: u64) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.waiters.wake_into(&mut self.wake);
        }
        let range = PipeId::first_of(id)..PipeId::first_of(id + 1);
        self.pipes.range_mut(range).for_each(|(_, pipe)| pipe.wake_both(&mut self.wake));
    }

    /// Changes a pipe and wakes whoever waits at its ends.
    pub(super) fn touch(&mut self, id: PipeId, change: impl FnOnce(&mut Pipe)) {
        if let Some(pipe) = self.pipes.get_mut(&id) {
            change(pipe);
            pipe.wake_both(&mut self.wake);
        }
    }
}

/// As the QUIC endpoints of this workspace have it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
const FOREVER_S: u64 = 100 * 365 * 24 * 60 * 60;
/// Connections that may wait to be accepted.
const BACKLOG: usize = 1024;
