//! A transport in memory: connections between keys, streams of bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use protocol::transport::{
    Connection, Handshake, Incoming, Listener, RecvHalf, SendHalf, Stream, TransportError,
};
use protocol::{BoxFuture, NodeId};
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, mpsc};

/// A listener and the way to reach it.
pub(crate) struct MemoryListener {
    arrivals: Mutex<mpsc::UnboundedReceiver<Box<dyn Incoming>>>,
    closed: tokio::sync::watch::Sender<bool>,
    pub(crate) dial: mpsc::UnboundedSender<Box<dyn Incoming>>,
}

impl MemoryListener {
    pub(crate) fn new() -> Arc<Self> {
        let (dial, arrivals) = mpsc::unbounded_channel();
        Arc::new(Self {
            arrivals: Mutex::new(arrivals),
            closed: tokio::sync::watch::Sender::new(false),
            dial,
        })
    }

    pub(crate) fn connect(&self, from: NodeId) -> Box<dyn Connection> {
        let (streams, accepted) = mpsc::unbounded_channel();
        let incoming =
            MemoryIncoming { from, accepted: Mutex::new(accepted), closed: self.closed.subscribe() };
        let _ = self.dial.send(Box::new(incoming));
        Box::new(MemoryConnection { streams })
    }
}

impl Listener for MemoryListener {
    fn accept(&self) -> BoxFuture<'_, Option<Handshake>> {
        Box::pin(async {
            let incoming = self.arrivals.lock().await.recv().await?;
            Some(Box::pin(async { Some(incoming) }) as Handshake)
        })
    }

    fn close(&self) {
        self.closed.send_replace(true);
    }
}

struct MemoryIncoming {
    from: NodeId,
    accepted: Mutex<mpsc::UnboundedReceiver<Stream>>,
    closed: tokio::sync::watch::Receiver<bool>,
}

impl Incoming for MemoryIncoming {
    fn remote(&self) -> NodeId {
        self.from
    }

    fn accept_stream(&self) -> BoxFuture<'_, Option<Stream>> {
        Box::pin(async {
            let mut closed = self.closed.clone();
            let mut accepted = self.accepted.lock().await;
            tokio::select! {
                stream = accepted.recv() => stream,
                _ = closed.wait_for(|closed| *closed) => None,
            }
        })
    }

    fn close(&self) {}
}

struct MemoryConnection {
    streams: mpsc::UnboundedSender<Stream>,
}

impl Connection for MemoryConnection {
    fn open(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let (sent, got) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            self.streams
                .send(half(theirs, got.clone(), sent.clone()))
                .map_err(|_| TransportError::Lost { reason: "closed".into() })?;
            Ok(half(ours, sent, got))
        })
    }

    fn is_closed(&self) -> bool {
        self.streams.is_closed()
    }

    fn rtt(&self) -> Option<Duration> {
        None
    }

    fn close(&self) {}
}

fn half(stream: DuplexStream, finished: Arc<AtomicBool>, other: Arc<AtomicBool>) -> Stream {
    let (read, write) = tokio::io::split(stream);
    Stream { send: Box::new(MemorySend(Some(write), finished)), recv: Box::new(MemoryRecv(read, other)) }
}

struct MemorySend(Option<WriteHalf<DuplexStream>>, Arc<AtomicBool>);

impl SendHalf for MemorySend {
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            let half = self.0.as_mut().ok_or(TransportError::Stopped)?;
            half.write_all(&data).await.map_err(|_| TransportError::Stopped)
        })
    }

    fn finish(&mut self) -> Result<(), TransportError> {
        self.1.store(true, Ordering::SeqCst);
        shut(self.0.take());
        Ok(())
    }
}

impl Drop for MemorySend {
    fn drop(&mut self) {
        shut(self.0.take());
    }
}

/// The other side sees the end only once this half is shut down; a duplex does that at the first poll.
fn shut(half: Option<WriteHalf<DuplexStream>>) {
    if let Some(mut half) = half {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let _ = tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut half), &mut context);
    }
}

struct MemoryRecv(ReadHalf<DuplexStream>, Arc<AtomicBool>);

impl AsyncRead for MemoryRecv {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.0).poll_read(cx, buf);
        let ended = matches!(read, Poll::Ready(Ok(()))) && buf.filled().len() == before;
        if ended && buf.remaining() > 0 && !self.1.load(Ordering::SeqCst) {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
        read
    }
}

impl RecvHalf for MemoryRecv {}
