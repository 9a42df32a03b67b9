//! Streams: two pipes, each with a bounded buffer between a sender and a receiver.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use protocol::transport::{RecvHalf, SendHalf, Stream, TransportError};
use protocol::{BoxFuture, NodeId};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::Flow;
use super::duplicate;
use super::ends::{End, lost};
use super::state::{Side, State};
use super::wait::{Step, Timer, Waiters, earlier};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct PipeId {
    pub(super) conn: u64,
    pub(super) stream: u64,
    pub(super) from: Side,
}

impl PipeId {
    /// Not above any pipe of this connection.
    pub(super) fn first_of(conn: u64) -> Self {
        Self { conn, stream: 0, from: Side::Client }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Finished,
    Reset,
}

impl std::fmt::Display for PipeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} {:?}", self.conn, self.stream, self.from)
    }
}

/// What flows in one direction of a stream.
#[derive(Default)]
pub(super) struct Pipe {
    /// Pieces and when they arrive, in order.
    queue: VecDeque<(Instant, Bytes)>,
    buffered: usize,
    sent: u64,
    last: Option<Instant>,
    ending: Option<(Instant, Ending)>,
    /// When the sender learns that nobody reads.
    stopped: Option<Instant>,
    /// Whether the other side was told of the stream; it is, with the first thing its client sends.
    shown: bool,
    sender_gone: bool,
    receiver_gone: bool,
    /// What was sent, as long as it may be sent once more.
    pub(super) copy: Vec<Bytes>,
    /// It is such a copy.
    pub(super) duplicate: bool,
    reader: Waiters,
    writer: Waiters,
}

impl Pipe {
    pub(super) fn wake_both(&mut self, wake: &mut Vec<Waker>) {
        self.reader.wake_into(wake);
        self.writer.wake_into(wake);
    }

    /// A stream's request once more, arriving at `at`, and where the answer goes: nowhere.
    pub(super) fn again(pieces: Vec<Bytes>, at: Instant) -> (Self, Self) {
        let buffered = pieces.iter().map(Bytes::len).sum();
        let there = Self {
            queue: pieces.into_iter().map(|piece| (at, piece)).collect(),
            buffered,
            sent: buffered as u64,
            ending: Some((at, Ending::Finished)),
            shown: true,
            sender_gone: true,
            duplicate: true,
            ..Self::default()
        };
        (there, Self { receiver_gone: true, ..Self::default() })
    }

    /// All that was sent, if it was kept.
    pub(super) fn whole_copy(&mut self) -> Option<Vec<Bytes>> {
        let copy = std::mem::take(&mut self.copy);
        let kept: usize = copy.iter().map(Bytes::len).sum();
        (kept > 0 && kept as u64 == self.sent).then_some(copy)
    }

    fn is_stopped(&self, now: Instant) -> bool {
        self.stopped.is_some_and(|at| at <= now)
    }
}

/// The two halves of a stream as one side has them.
pub(super) fn halves(end: &Arc<End>, stream: u64) -> Stream {
    let outward = PipeId { conn: end.conn, stream, from: end.side };
    let inward = PipeId { from: end.side.other(), ..outward };
    Stream {
        send: Box::new(SimSend { end: end.clone(), pipe: outward, ended: false }),
        recv: Box::new(SimRecv { end: end.clone(), pipe: inward, timer: Timer::default(), done: false }),
    }
}

struct SimSend {
    end: Arc<End>,
    pipe: PipeId,
    ended: bool,
}

impl SimSend {
    /// Takes what fits of `data`.
    fn push(
        &self,
        state: &mut State,
        data: &mut Bytes,
        waker: &Waker,
        now: Instant,
    ) -> Step<Result<(), TransportError>> {
        let Some(conn) = state.conns.get(&self.pipe.conn) else { return Step::Done(Err(lost("closed"))) };
        let (from, to) = conn.direction(self.pipe.from);
        let heard = state.links.cut_since(to, from).is_none();
        let Some(pipe) = state.pipes.get_mut(&self.pipe) else { return Step::Done(Err(lost("closed"))) };
        if heard && pipe.is_stopped(now) {
            return Step::Done(Err(TransportError::Stopped));
        }
        if self.ended {
            return Step::Done(Err(lost("the stream was finished")));
        }
        let taken = data.len().min(WINDOW - pipe.buffered);
        if taken == 0 && !data.is_empty() {
            pipe.writer.add(waker);
            return Step::Wait(pipe.stopped.filter(|_| heard));
        }
        let piece = data.split_to(taken);
        self.queue(state, piece, (from, to), now);
        if data.is_empty() { Step::Done(Ok(())) } else { self.push(state, data, waker, now) }
    }

    fn queue(&self, state: &mut State, piece: Bytes, (from, to): (NodeId, NodeId), now: Instant) {
        let len = piece.len();
        duplicate::keep(state, self.pipe, from, &piece);
        let arrives = now + self.end.net.latency(state, from, to);
        let Some(pipe) = state.pipes.get_mut(&self.pipe) else { return };
        let arrives = pipe.last.map_or(arrives, |last| last.max(arrives));
        pipe.last = Some(arrives);
        pipe.sent += len as u64;
        // What nobody reads takes no room.
        if !pipe.receiver_gone && len > 0 {
            pipe.buffered += len;
            pipe.queue.push_back((arrives, piece));
        }
        self.end.net.note(state, now, format_args!("send {} {len}", self.pipe));
        self.show(state, arrives);
        state.touch(self.pipe, |_| {});
    }

    /// Lets the server's side see the stream, once its client has sent something on it.
    fn show(&self, state: &mut State, arrives: Instant) {
        let Some(pipe) = state.pipes.get_mut(&self.pipe) else { return };
        if self.pipe.from == Side::Client && !std::mem::replace(&mut pipe.shown, true) {
            if let Some(conn) = state.conns.get_mut(&self.pipe.conn) {
                conn.arriving.insert((arrives, self.pipe.stream));
            }
            state.wake_conn(self.pipe.conn);
        }
    }

    fn end(&mut self, ending: Ending) -> Result<(), TransportError> {
        if std::mem::replace(&mut self.ended, true) {
            return Err(lost("the stream was finished"));
        }
        let id = self.pipe;
        self.end.net.with(|state| {
            let now = Instant::now();
            let Some(conn) = state.conns.get(&id.conn) else { return Err(lost("closed")) };
            conn.lost_to(self.end.side, now).map_err(lost)?;
            let (from, to) = conn.direction(id.from);
            let heard = state.links.cut_since(to, from).is_none();
            let arrives = now + self.end.net.latency(state, from, to);
            let Some(pipe) = state.pipes.get_mut(&id) else { return Err(TransportError::Stopped) };
            // A reset overtakes what was sent before it.
            let at = match ending {
                Ending::Finished => pipe.last.map_or(arrives, |last| last.max(arrives)),
                Ending::Reset => arrives,
            };
            pipe.ending = Some((at, ending));
            let stopped = heard && pipe.is_stopped(now);
            self.show(state, at);
            if ending == Ending::Finished {
                duplicate::send_again(&self.end.net, state, id, at);
            }
            let what = if ending == Ending::Reset { "reset" } else { "finish" };
            self.end.net.note(state, now, format_args!("{what} {id}"));
            state.touch(id, |_| {});
            if stopped { Err(TransportError::Stopped) } else { Ok(()) }
        })
    }
}

impl SendHalf for SimSend {
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            let mut data = self.tampered(data);
            let sent = self.end.wait(|state, waker, now| self.push(state, &mut data, waker, now));
            sent.await.map_err(lost)?
        })
    }

    fn finish(&mut self) -> Result<(), TransportError> {
        self.end(Ending::Finished)
    }
}

impl SimSend {
    fn tampered(&self, data: Bytes) -> Bytes {
        let found = self.end.net.with(|state| {
            let (from, to) = state.conns.get(&self.pipe.conn)?.direction(self.pipe.from);
            let tamper = state.tampers.get(&from)?.clone();
            let offset = state.pipes.get(&self.pipe)?.sent;
            let PipeId { conn: connection, stream, .. } = self.pipe;
            Some((tamper, Flow { from, to, connection, stream, offset }))
        });
        match found {
            Some((tamper, flow)) => tamper(&flow, data),
            None => data,
        }
    }
}

impl Drop for SimSend {
    fn drop(&mut self) {
        if !self.ended {
            // Whoever is not there to hear it knows already.
            let _ = self.end(Ending::Reset);
        }
        self.end.net.with(|state| {
            state.touch(self.pipe, |pipe| pipe.sender_gone = true);
            let back = PipeId { from: self.pipe.from.other(), ..self.pipe };
            if self.end.side == Side::Server && state.pipes.get(&back).is_none_or(|pipe| pipe.receiver_gone) {
                state.free_stream(self.pipe.conn);
            }
            forget_if_unused(state, self.pipe);
        });
    }
}

struct SimRecv {
    end: Arc<End>,
    pipe: PipeId,
    timer: Timer,
    /// Whether the end was read, or an error.
    done: bool,
}

impl SimRecv {
    /// At most `room` bytes that have arrived; none at the end.
    fn pull(end: &End, id: PipeId, room: usize, waker: &Waker, now: Instant) -> Step<io::Result<Bytes>> {
        end.net.with(|state| {
            let silent = state.check_silence(id.conn, now);
            let Some(conn) = state.conns.get(&id.conn) else { return Step::Done(Err(gone("closed"))) };
            let lost = conn.lost_to(end.side, now);
            if let (Err(reason), true) = (lost, conn.lost_by(end.side)) {
                return Step::Done(Err(gone(reason)));
            }
            let (from, to) = conn.direction(id.from);
            let next = match Self::arrived(state, id, (from, to), room, now) {
                Step::Wait(next) => next,
                Step::Done(result) => {
                    let len = result.as_ref().map_or(0, Bytes::len);
                    end.net.note(state, now, format_args!("receive {id} {len}"));
                    state.touch(id, |_| {});
                    return Step::Done(result);
                }
            };
            if let Some(pipe) = state.pipes.get_mut(&id) {
                pipe.reader.add(waker);
            }
            match lost {
                Err(reason) => Step::Done(Err(gone(reason))),
                Ok(lost) => Step::Wait(earlier(next, earlier(lost, silent))),
            }
        })
    }

    fn arrived(
        state: &mut State,
        id: PipeId,
        (from, to): (NodeId, NodeId),
        room: usize,
        now: Instant,
    ) -> Step<io::Result<Bytes>> {
        if state.links.cut_since(from, to).is_some() {
            return Step::Wait(None);
        }
        let Some(pipe) = state.pipes.get_mut(&id) else { return Step::Done(Err(gone("closed"))) };
        let ending = pipe.ending.map(|(at, _)| at);
        if matches!(pipe.ending, Some((at, Ending::Reset)) if at <= now) {
            let reset = io::Error::new(io::ErrorKind::ConnectionReset, "the other side gave up the stream");
            return Step::Done(Err(reset));
        }
        match pipe.queue.front_mut() {
            Some((at, piece)) if *at <= now => {
                let admitted = match state.links.admit(from, to, room.min(piece.len()), now) {
                    Ok(admitted) => admitted,
                    Err(later) => return Step::Wait(Some(later)),
                };
                let bytes = piece.split_to(admitted);
                if piece.is_empty() {
                    pipe.queue.pop_front();
                }
                pipe.buffered -= admitted;
                Step::Done(Ok(bytes))
            }
            Some((at, _)) => Step::Wait(earlier(Some(*at), ending)),
            None if ending.is_some_and(|at| at <= now) => Step::Done(Ok(Bytes::new())),
            None => Step::Wait(ending),
        }
    }
}

fn gone(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, format!("connection lost: {reason}"))
}

impl AsyncRead for SimRecv {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { end, pipe, timer, done } = self.get_mut();
        let room = buf.remaining();
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let pulled = timer.drive(cx, |waker, now| Self::pull(end, *pipe, room, waker, now));
        pulled.map(|result| {
            let bytes = result.inspect_err(|_| *done = true)?;
            *done |= bytes.is_empty();
            buf.put_slice(&bytes);
            Ok(())
        })
    }
}

impl RecvHalf for SimRecv {}

impl Drop for SimRecv {
    fn drop(&mut self) {
        let (id, end) = (self.pipe, &self.end);
        end.net.with(|state| {
            let now = Instant::now();
            let Some(conn) = state.conns.get(&id.conn) else { return };
            let (from, to) = conn.direction(id.from);
            let told = now + end.net.latency(state, to, from);
            let stops = !self.done;
            state.touch(id, |pipe| {
                pipe.receiver_gone = true;
                pipe.queue.clear();
                pipe.buffered = 0;
                pipe.stopped = stops.then_some(told);
            });
            if stops {
                end.net.note(state, now, format_args!("stop {id}"));
            }
            let back = PipeId { from: id.from.other(), ..id };
            if end.side == Side::Server && state.pipes.get(&back).is_none_or(|pipe| pipe.sender_gone) {
                state.free_stream(id.conn);
            }
            forget_if_unused(state, id);
        });
    }
}

fn forget_if_unused(state: &mut State, id: PipeId) {
    if state.pipes.get(&id).is_some_and(|pipe| pipe.sender_gone && pipe.receiver_gone) {
        state.pipes.remove(&id);
    }
}

/// Bytes that wait between a sender and a receiver, at most.
const WINDOW: usize = 256 * 1024;
