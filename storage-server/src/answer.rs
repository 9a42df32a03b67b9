//! Answers on a stream, with deadlines: whoever does not read does not hold us up for ever.

use std::time::Duration;

use bytes::Bytes;
use minicbor::Encode;
use protocol::frame::{self, FrameError};
use protocol::message::{ErrorCode, Reply, Request, WireError};
use protocol::transport::{Stream, TransportError};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{PutError, ReadError};

/// Why a request came to no good answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be told.
    Refused(WireError),
    /// Nobody is there to be told, or nothing can be told any more.
    Gone,
}

impl Failure {
    pub(crate) fn refused(code: ErrorCode, message: &str) -> Self {
        Self::Refused(WireError::new(code, message))
    }

    pub(crate) async fn answer(self, stream: &mut Stream, stalled: Duration) {
        let Self::Refused(error) = self else { return };
        tracing::debug!(code = %error.code, message = %error.message, "refused");
        let reply: Reply<()> = Reply::Err(error);
        if send_bytes(stream, stalled, frame::encode(&reply)).await.is_ok() {
            // If this fails, the other side is gone, and there is nobody left to tell.
            let _ = stream.send.finish();
        }
    }
}

impl From<TransportError> for Failure {
    fn from(_: TransportError) -> Self {
        Self::Gone
    }
}

impl From<PutError> for Failure {
    fn from(error: PutError) -> Self {
        Self::Refused(WireError::new(error.code(), crate::store::chain(&error)))
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Refused(WireError::new(error.code(), error.to_string()))
    }
}

/// Reads the header of a request; tells the other side if it is not one.
pub(crate) async fn receive_request(stream: &mut Stream, deadline: Duration) -> Option<Request> {
    match timeout(deadline, frame::receive(&mut *stream.recv)).await {
        Ok(Ok(request)) => Some(request),
        Ok(Err(error @ (FrameError::TooLong { .. } | FrameError::Malformed { .. }))) => {
            Failure::refused(ErrorCode::BadRequest, &error.to_string()).answer(stream, deadline).await;
            None
        }
        Ok(Err(error @ FrameError::Unknown)) => {
            Failure::refused(ErrorCode::Unsupported, &error.to_string()).answer(stream, deadline).await;
            None
        }
        Ok(Err(_)) | Err(_) => None,
    }
}

/// Answers with one message and nothing after it.
pub(crate) async fn answer<T: Encode<()> + Sync + Clone>(
    stream: &mut Stream,
    stalled: Duration,
    message: &T,
) -> Result<(), Failure> {
    begin_answer(stream, stalled, message).await?;
    Ok(stream.send.finish()?)
}

/// Answers with a message that something follows.
pub(crate) async fn begin_answer<T: Encode<()> + Sync + Clone>(
    stream: &mut Stream,
    stalled: Duration,
    message: &T,
) -> Result<(), Failure> {
    send_bytes(stream, stalled, frame::encode(&Reply::Ok(message.clone()))).await
}

/// Sends bytes that are all of an answer, or its beginning.
async fn send_bytes(stream: &mut Stream, stalled: Duration, bytes: Bytes) -> Result<(), Failure> {
    Pace::new(stalled, bytes.len() as u64).send(stream, bytes).await
}

/// Bytes per second that whoever asked must take on the whole.
const RATE_MIN: u64 = 64_000;

/// How slowly an answer may be taken: with no pause longer than `stalled`, and all of it within that and its length by [`RATE_MIN`].
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    stalled: Duration,
    until: Instant,
}

impl Pace {
    /// For an answer of `len` bytes that begins now.
    pub(crate) fn new(stalled: Duration, len: u64) -> Self {
        // No answer is so long that this would be no time any more.
        let taken = Duration::from_secs((len / RATE_MIN).min(1 << 30));
        Self { stalled, until: Instant::now() + stalled + taken }
    }

    /// Sends some of it.
    pub(crate) async fn send(&self, stream: &mut Stream, mut bytes: Bytes) -> Result<(), Failure> {
        const PIECE: usize = 64 * 1024;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            let until = self.until.min(Instant::now() + self.stalled);
            timeout_at(until, stream.send.send(piece)).await.map_err(|_| Failure::Gone)??;
        }
        Ok(())
    }
}
