//! Requests that are delivered once more.

use bytes::Bytes;
use protocol::NodeId;
use protocol::limits::MAX_STREAMS;
use tokio::time::Instant;

use super::state::{Shared, Side, State};
use super::stream::{Pipe, PipeId};

/// Keeps what a client sends on a stream, where it may be sent once more.
pub(super) fn keep(state: &mut State, id: PipeId, from: NodeId, piece: &Bytes) {
    let wanted = id.from == Side::Client && state.duplicates.contains_key(&state.links.host(from));
    let Some(pipe) = state.pipes.get_mut(&id).filter(|_| wanted) else { return };
    let kept: usize = pipe.copy.iter().map(Bytes::len).sum();
    if kept + piece.len() <= MAX_COPY {
        pipe.copy.push(piece.clone());
    }
}

/// The client finished a stream: its request may come once more, on a stream of its own, after `arrives`.
pub(super) fn send_again(net: &Shared, state: &mut State, id: PipeId, arrives: Instant) -> Option<()> {
    let conn = state.conns.get(&id.conn).filter(|conn| conn.lost.is_none() && id.from == Side::Client)?;
    let duplicates = state.duplicates.get(&state.links.host(conn.client))?.clone();
    let copy = state.pipes.get_mut(&id)?.whole_copy()?;
    if net.random.between(0, 999) >= u64::from(duplicates.permille) {
        return None;
    }
    let at = arrives + net.within(&duplicates.after);
    let conn = state.conns.get_mut(&id.conn).filter(|conn| conn.open_streams < MAX_STREAMS)?;
    conn.open_streams += 1;
    let stream = conn.next_stream;
    conn.next_stream += 1;
    conn.arriving.insert((at, stream));
    let (there, back) = Pipe::again(copy, at);
    state.pipes.insert(PipeId { stream, ..id }, there);
    state.pipes.insert(PipeId { stream, from: Side::Server, ..id }, back);
    net.note(state, arrives, format_args!("again {id} as {stream}"));
    state.wake_conn(id.conn);
    Some(())
}

/// Counts a stream that the server takes, if it is a duplicate.
pub(super) fn count(state: &mut State, conn: u64, stream: u64) {
    let id = PipeId { conn, stream, from: Side::Client };
    state.duplicated += u64::from(state.pipes.get(&id).is_some_and(|pipe| pipe.duplicate));
}

/// Bytes of a request that can be sent once more.
const MAX_COPY: usize = 256 * 1024;
