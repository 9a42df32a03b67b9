//! Answers that are made while they are read: a task writes, a bounded channel holds a little, the socket takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Pieces that wait for the socket.
const PIECES: usize = 4;
/// Bytes gathered before they are sent.
const PIECE: usize = 32 * 1024;
/// How long a reader may take nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// The reader is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// Where the task writes.
pub(crate) struct Out {
    sender: mpsc::Sender<io::Result<Bytes>>,
    gathered: Vec<u8>,
}

impl Out {
    /// Adds bytes or text, sent when enough is there.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Gone> {
        self.gathered.extend_from_slice(bytes.as_ref());
        match self.gathered.len() < PIECE {
            true => Ok(()),
            false => self.flush().await,
        }
    }

    /// Adds bytes that nobody need copy.
    pub(crate) async fn piece(&mut self, bytes: Bytes) -> Result<(), Gone> {
        if bytes.len() < PIECE {
            return self.write(&bytes).await;
        }
        self.flush().await?;
        self.send(Ok(bytes)).await
    }

    /// Adds a line of JSON.
    pub(crate) async fn line(&mut self, value: &impl Serialize) -> Result<(), Gone> {
        serde_json::to_writer(&mut self.gathered, value).map_err(|_| Gone)?;
        self.write(b"\n").await
    }

    /// Sends what was gathered.
    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.gathered));
        self.send(Ok(piece)).await
    }

    /// Breaks the connection, so that nobody takes what was sent for the whole.
    pub(crate) async fn break_off(mut self, why: &(dyn std::error::Error + Send + Sync + 'static)) {
        tracing::warn!(error = why as &dyn std::error::Error, "an answer broke off");
        self.gathered.clear();
        // If nobody reads, nobody is misled.
        let _ = self.send(Err(io::Error::other("the answer cannot be finished"))).await;
    }

    async fn send(&self, piece: io::Result<Bytes>) -> Result<(), Gone> {
        match tokio::time::timeout(PATIENCE, self.sender.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

struct Stream {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    task: AbortHandle,
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.receiver.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer that `work` writes. When nobody reads on, the work ends.
pub(crate) fn answer<F>(content_type: &'static str, work: impl FnOnce(Out) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(PIECES);
    let task = tokio::spawn(work(Out { sender, gathered: Vec::new() })).abort_handle();
    let mut response = Response::new(Body::new(Stream { receiver, task }));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer of lines of JSON. What `work` fails with, if anything, stands in the last line.
pub(crate) fn lines<F>(work: impl FnOnce(Out) -> F) -> Response
where
    F: Future<Output = Result<Out, Gone>> + Send + 'static,
{
    let written = |out| {
        let work = work(out);
        async move {
            if let Ok(mut out) = work.await {
                let _ = out.flush().await;
            }
        }
    };
    answer("application/x-ndjson", written)
}
