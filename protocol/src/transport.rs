//! The seam between nodes and networks: connections between two keys, each carrying streams in both directions.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::BoxFuture;
use crate::identity::NodeId;

/// Why a connection or stream failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No address of the node could be reached.
    #[error("cannot connect to {address}: {reason}")]
    Unreachable {
        /// The last address tried.
        address: String,
        /// What happened.
        reason: String,
    },
    /// Somebody answered who has another key.
    #[error("whoever answers at {address} has not the key of {expected}")]
    WrongKey {
        /// The address.
        address: String,
        /// Who should have answered.
        expected: NodeId,
    },
    /// The connection was lost or closed.
    #[error("connection lost: {reason}")]
    Lost {
        /// What happened.
        reason: String,
    },
    /// The other side gave up this stream.
    #[error("the other side stopped the stream")]
    Stopped,
}

impl From<TransportError> for io::Error {
    fn from(error: TransportError) -> Self {
        Self::other(error)
    }
}

/// Makes connections.
pub trait Connector: Send + Sync + 'static {
    /// Connects to the node with key `id` at the first of `addresses` (`host:port`) that answers, and makes sure that it has that key.
    /// There is no deadline here: callers set one.
    fn connect<'a>(
        &'a self,
        id: NodeId,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Result<Box<dyn Connection>, TransportError>>;
}

/// A connection that can open streams.
pub trait Connection: Send + Sync + 'static {
    /// Opens a stream.
    fn open(&self) -> BoxFuture<'_, Result<Stream, TransportError>>;

    /// Whether it is known to be lost or closed.
    fn is_closed(&self) -> bool;

    /// The round-trip time as the transport estimates it.
    fn rtt(&self) -> Option<Duration>;

    /// Closes it and all its streams.
    fn close(&self);
}

/// A connection that somebody began: wait for it in a task of its own, with a deadline. `None` if it came to nothing.
pub type Handshake = BoxFuture<'static, Option<Box<dyn Incoming>>>;

/// Takes connections.
pub trait Listener: Send + Sync + 'static {
    /// The next connection that somebody begins; `None` once the listener is closed.
    fn accept(&self) -> BoxFuture<'_, Option<Handshake>>;

    /// Takes no more connections and closes those there are.
    fn close(&self);
}

/// A connection that takes streams.
pub trait Incoming: Send + Sync + 'static {
    /// The key the other side proved to have.
    fn remote(&self) -> NodeId;

    /// The next stream; `None` once the connection is gone.
    fn accept_stream(&self) -> BoxFuture<'_, Option<Stream>>;

    /// Closes it and all its streams.
    fn close(&self);
}

/// A stream in both directions.
pub struct Stream {
    /// What we send.
    pub send: Box<dyn SendHalf>,
    /// What we get.
    pub recv: Box<dyn RecvHalf>,
}

/// The sending half of a stream. Dropped without [`SendHalf::finish`], it tells the other side that the bytes are not complete.
pub trait SendHalf: Send + Sync + 'static {
    /// Sends bytes; waits while the other side takes none.
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>>;

    /// Says that all was sent.
    ///
    /// # Errors
    ///
    /// [`TransportError`] if the other side no longer listens.
    fn finish(&mut self) -> Result<(), TransportError>;
}

/// The receiving half of a stream: reads end at the other side's `finish` with 0 bytes, and with an error if it gave up. Dropped early,
/// it tells the other side to stop.
pub trait RecvHalf: AsyncRead + Unpin + Send + Sync + 'static {}

impl dyn RecvHalf {
    /// Reads until `buffer` holds `len` bytes or the stream ends; returns whether it holds them.
    ///
    /// # Errors
    ///
    /// Whatever the transport fails with.
    pub async fn fill(&mut self, buffer: &mut BytesMut, len: usize) -> io::Result<bool> {
        buffer.reserve(len.saturating_sub(buffer.len()));
        while buffer.len() < len {
            let room = (len - buffer.len()) as u64;
            if (&mut *self).take(room).read_buf(buffer).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
