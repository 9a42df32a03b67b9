//! Connectors, listeners and connections.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use protocol::limits::MAX_STREAMS;
use protocol::transport::{Connection, Connector, Handshake, Incoming, Listener, Stream, TransportError};
use protocol::{BoxFuture, NodeId};
use tokio::time::Instant;

use super::duplicate;
use super::state::{Shared, Side, State};
use super::stream::{self, PipeId};
use super::wait::{Step, earlier, wait};

pub(super) struct SimConnector {
    pub(super) net: Arc<Shared>,
    pub(super) key: NodeId,
}

impl Connector for SimConnector {
    fn connect<'a>(
        &'a self,
        id: NodeId,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Result<Box<dyn Connection>, TransportError>> {
        Box::pin(async move {
            let none =
                TransportError::Unreachable { address: id.short(), reason: "no address is known".into() };
            let mut last = none;
            for address in addresses {
                match self.connect_one(id, address).await {
                    Ok(end) => {
                        return Ok(Box::new(SimConnection { end: Arc::new(end) }) as Box<dyn Connection>);
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}

impl SimConnector {
    async fn connect_one(&self, expected: NodeId, address: &str) -> Result<End, TransportError> {
        let unreachable = |reason: &str| TransportError::Unreachable {
            address: address.to_owned(),
            reason: reason.to_owned(),
        };
        let server = self.passage(address).await.map_err(unreachable)?;
        self.travel(self.key, server).await;
        if server != expected {
            self.travel(server, self.key).await;
            return Err(TransportError::WrongKey { address: address.to_owned(), expected });
        }
        let id = self.net.with(|state| {
            let now = Instant::now();
            let here = state.listener_key(address) == Some(server) && !state.links.is_down(server);
            let id = here.then(|| state.begin(self.key, address, now)).flatten()?;
            self.net.note(state, now, format_args!("begin {id} {} -> {address}", self.key.short()));
            Some(id)
        });
        let id = id.ok_or_else(|| unreachable("nobody listens"))?;
        let end = End { net: self.net.clone(), conn: id, side: Side::Client };
        end.until_accepted().await.map_err(unreachable)?;
        let back = self.net.with(|state| self.net.latency(state, server, self.key));
        end.pause(back).await.map_err(unreachable)?;
        Ok(end)
    }

    /// Waits until packets travel both ways to whoever listens at `address`, and tells who that is.
    async fn passage(&self, address: &str) -> Result<NodeId, &'static str> {
        let begun = Instant::now();
        wait(|waker, now| {
            self.net.with(|state| {
                let Some(server) = state.listener_key(address) else {
                    return Step::Done(Err("nobody listens"));
                };
                if state.links.is_down(server) || state.links.is_down(self.key) {
                    return Step::Done(Err("the host is down"));
                }
                let ways = [(self.key, server), (server, self.key)];
                if ways.into_iter().all(|(from, to)| state.links.cut_since(from, to).is_none()) {
                    return Step::Done(Ok(server));
                }
                let ends = state.idle_timeout.map(|timeout| begun + timeout);
                if ends.is_some_and(|ends| ends <= now) {
                    return Step::Done(Err("timed out"));
                }
                state.waiters.add(waker);
                Step::Wait(ends)
            })
        })
        .await
    }

    async fn travel(&self, from: NodeId, to: NodeId) {
        tokio::time::sleep(self.net.with(|state| self.net.latency(state, from, to))).await;
    }
}

/// One side of a connection; the last handle that goes closes it.
pub(super) struct End {
    pub(super) net: Arc<Shared>,
    pub(super) conn: u64,
    pub(super) side: Side,
}

impl Drop for End {
    fn drop(&mut self) {
        self.net.with(|state| state.leave(self.conn, self.side, Instant::now()));
    }
}

impl End {
    /// Waits for `look`, which sees the connection alive; `Err` when it is lost.
    pub(super) async fn wait<T>(
        &self,
        mut look: impl FnMut(&mut State, &Waker, Instant) -> Step<T>,
    ) -> Result<T, &'static str> {
        wait(|waker, now| {
            self.net.with(|state| {
                let silent = state.check_silence(self.conn, now);
                let Some(conn) = state.conns.get(&self.conn) else { return Step::Done(Err("closed")) };
                let lost = match conn.lost_to(self.side, now) {
                    Ok(lost) => lost,
                    Err(reason) => return Step::Done(Err(reason)),
                };
                match look(state, waker, now) {
                    Step::Done(value) => Step::Done(Ok(value)),
                    Step::Wait(moment) => {
                        if let Some(conn) = state.conns.get_mut(&self.conn) {
                            conn.waiters.add(waker);
                        }
                        Step::Wait(earlier(moment, earlier(lost, silent)))
                    }
                }
            })
        })
        .await
    }

    async fn until_accepted(&self) -> Result<(), &'static str> {
        let begun = Instant::now();
        let accepted = self.wait(|state, _, now| {
            let ends = state.idle_timeout.map(|timeout| begun + timeout);
            match state.conns.get(&self.conn) {
                Some(conn) if conn.accepted => Step::Done(Ok(())),
                _ if ends.is_some_and(|ends| ends <= now) => Step::Done(Err("timed out")),
                _ => Step::Wait(ends),
            }
        });
        accepted.await?
    }

    /// Lets time pass in which packets must travel both ways.
    async fn pause(&self, duration: Duration) -> Result<(), &'static str> {
        let until = Instant::now() + duration;
        self.wait(|state, _, now| {
            let Some(conn) = state.conns.get(&self.conn) else { return Step::Done(()) };
            let ways = [(conn.client, conn.server), (conn.server, conn.client)];
            let open = ways.into_iter().all(|(from, to)| state.links.cut_since(from, to).is_none());
            match open {
                true if until <= now => Step::Done(()),
                true => Step::Wait(Some(until)),
                false => Step::Wait(None),
            }
        })
        .await
    }

    fn is_lost(&self) -> bool {
        self.net.with(|state| {
            let now = Instant::now();
            state.check_silence(self.conn, now);
            state.conns.get(&self.conn).is_none_or(|conn| conn.lost_to(self.side, now).is_err())
        })
    }

    fn close(&self) {
        self.net.with(|state| {
            let now = Instant::now();
            self.net.note(state, now, format_args!("close {} {:?}", self.conn, self.side));
            state.lose(self.conn, self.side, "closed", now);
        });
    }
}

pub(super) fn lost(reason: &str) -> TransportError {
    TransportError::Lost { reason: reason.to_owned() }
}

struct SimConnection {
    end: Arc<End>,
}

impl Connection for SimConnection {
    fn open(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async move {
            let stream = self.end.wait(|state, _, _| {
                let Some(conn) = state.conns.get_mut(&self.end.conn) else { return Step::Wait(None) };
                if conn.open_streams >= MAX_STREAMS {
                    return Step::Wait(None);
                }
                conn.open_streams += 1;
                let stream = conn.next_stream;
                conn.next_stream += 1;
                for from in [Side::Client, Side::Server] {
                    state.pipes.insert(PipeId { conn: self.end.conn, stream, from }, stream::Pipe::default());
                }
                Step::Done(stream)
            });
            let stream = stream.await.map_err(lost)?;
            Ok(stream::halves(&self.end, stream))
        })
    }

    fn is_closed(&self) -> bool {
        self.end.is_lost()
    }

    fn rtt(&self) -> Option<Duration> {
        self.end.net.with(|state| {
            let conn = state.conns.get(&self.end.conn)?;
            let ways = [(conn.client, conn.server), (conn.server, conn.client)];
            let middle = |(from, to)| {
                let latency = &state.links.link(from, to).latency;
                (*latency.start() + *latency.end()) / 2
            };
            Some(ways.into_iter().map(middle).sum())
        })
    }

    fn close(&self) {
        self.end.close();
    }
}

pub(super) struct SimListener {
    pub(super) net: Arc<Shared>,
    pub(super) address: String,
    pub(super) id: u64,
}

impl Listener for SimListener {
    fn accept(&self) -> BoxFuture<'_, Option<Handshake>> {
        Box::pin(async move {
            let end = wait(|waker, _| {
                self.net.with(|state| {
                    let listener = state.listeners.get_mut(&self.address);
                    let Some(listener) = listener.filter(|listener| listener.id == self.id) else {
                        return Step::Done(None);
                    };
                    let Some(conn) = listener.queue.pop_front() else {
                        listener.waiters.add(waker);
                        return Step::Wait(None);
                    };
                    state.accept(conn);
                    Step::Done(Some(conn))
                })
            });
            let end = End { net: self.net.clone(), conn: end.await?, side: Side::Server };
            Some(Box::pin(handshake(end)) as Handshake)
        })
    }

    fn close(&self) {
        self.net.with(|state| {
            state.unlisten(&self.address, self.id);
            let mine = state.conns.iter().filter(|(_, conn)| conn.listener == self.id);
            let mine: Vec<u64> = mine.map(|(id, _)| *id).collect();
            mine.into_iter().for_each(|id| state.lose(id, Side::Server, "closed", Instant::now()));
        });
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.net.with(|state| state.unlisten(&self.address, self.id));
    }
}

async fn handshake(end: End) -> Option<Box<dyn Incoming>> {
    let (remote, round) = end.net.with(|state| {
        let conn = state.conns.get(&end.conn)?;
        let round = end.net.latency(state, conn.server, conn.client)
            + end.net.latency(state, conn.client, conn.server);
        Some((conn.client, round))
    })?;
    end.pause(round).await.ok()?;
    Some(Box::new(SimIncoming { end: Arc::new(end), remote }))
}

struct SimIncoming {
    end: Arc<End>,
    remote: NodeId,
}

impl Incoming for SimIncoming {
    fn remote(&self) -> NodeId {
        self.remote
    }

    fn accept_stream(&self) -> BoxFuture<'_, Option<Stream>> {
        Box::pin(async move {
            let stream = self.end.wait(|state, _, now| {
                let Some(conn) = state.conns.get_mut(&self.end.conn) else { return Step::Wait(None) };
                if state.links.cut_since(conn.client, conn.server).is_some() {
                    return Step::Wait(None);
                }
                match conn.arriving.first() {
                    Some((at, stream)) if *at <= now => {
                        let stream = *stream;
                        conn.arriving.pop_first();
                        duplicate::count(state, self.end.conn, stream);
                        Step::Done(stream)
                    }
                    next => Step::Wait(next.map(|(at, _)| *at)),
                }
            });
            Some(stream::halves(&self.end, stream.await.ok()?))
        })
    }

    fn close(&self) {
        self.end.close();
    }
}
