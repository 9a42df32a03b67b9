//! Answers on a stream, with deadlines: whoever does not read does not hold us up for ever.

use std::time::Duration;

use bytes::Bytes;
use minicbor::Encode;
use protocol::frame::{self, FrameError};
use protocol::message::{ErrorCode, Reply, Request, WireError};
use protocol::transport::{Stream, TransportError};
use tokio::time::timeout;

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

/// Sends bytes, in pieces that must each be taken in time.
pub(crate) async fn send_bytes(
    stream: &mut Stream,
    stalled: Duration,
    mut bytes: Bytes,
) -> Result<(), Failure> {
    const PIECE: usize = 64 * 1024;
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        timeout(stalled, stream.send.send(piece)).await.map_err(|_| Failure::Gone)??;
    }
    Ok(())
}
