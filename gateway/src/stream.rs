//! Answers that are made while they are read: a task writes, a bounded channel holds a little, the socket takes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
/// Bytes of a piece: larger ones are cut without being copied.
const LARGEST: usize = 256 * 1024;
/// How long a reader may take nothing. His connection ends sooner, and knows better how slow he is: pieces are large.
const PATIENCE: Duration = Duration::from_secs(300);

/// The reader is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// Where the task writes.
pub(crate) struct Out {
    sender: mpsc::Sender<io::Result<Bytes>>,
    gathered: Vec<u8>,
    /// Something was not sent: what was must not look like the whole.
    broken: Arc<AtomicBool>,
}

impl Drop for Out {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.broken.store(true, Ordering::Release);
        }
    }
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
    pub(crate) async fn piece(&mut self, mut bytes: Bytes) -> Result<(), Gone> {
        if bytes.len() < PIECE {
            return self.write(&bytes).await;
        }
        self.flush().await?;
        while !bytes.is_empty() {
            let next = bytes.split_to(bytes.len().min(LARGEST));
            self.send(Ok(next)).await?;
        }
        Ok(())
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
            _ => {
                self.broken.store(true, Ordering::Release);
                Err(Gone)
            }
        }
    }
}

struct Stream {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    broken: Arc<AtomicBool>,
    task: AbortHandle,
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.receiver.poll_recv(context).map(|piece| match piece {
            // A reader that was too slow, or a task that died: the connection breaks, once.
            None if self.broken.swap(false, Ordering::AcqRel) => {
                Some(Err(io::Error::other("the answer was not finished")))
            }
            piece => piece.map(|piece| piece.map(Frame::data)),
        })
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
    let broken = Arc::new(AtomicBool::new(false));
    let out = Out { sender, gathered: Vec::new(), broken: broken.clone() };
    let task = tokio::spawn(work(out)).abort_handle();
    let mut response = Response::new(Body::new(Stream { receiver, broken, task }));
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_was_not_finished_never_looks_whole() {
        let piece = || Bytes::from(vec![7; PIECE]);
        let slow =
            answer("text/plain", |mut out: Out| async move { while out.piece(piece()).await.is_ok() {} });
        tokio::time::sleep(PATIENCE * 2).await;
        assert!(slow.into_body().collect().await.is_err(), "its reader took nothing for too long");
        let died = answer("text/plain", |mut out: Out| async move {
            let _ = out.piece(piece()).await;
            panic!("a defect");
        });
        assert!(died.into_body().collect().await.is_err());
        let whole = answer("text/plain", |mut out: Out| async move { drop(out.piece(piece()).await) });
        assert_eq!(whole.into_body().collect().await.unwrap().to_bytes().len(), PIECE);
    }
}
