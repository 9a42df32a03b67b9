//! Bodies and streams that may pause, but not for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A request's body of which some byte must come now and then, and enough of them in all.
///
/// Only time that we wait for the other side counts, not time in which the grid takes what came.
pub(super) struct IdleBody {
    body: Incoming,
    pause: Pause,
    /// How long it may yet be waited for; every byte adds to it.
    patience: Duration,
    /// What one byte adds.
    each: Duration,
    since: Option<Instant>,
}

impl IdleBody {
    pub(super) fn new(body: Incoming, bounds: &super::Bounds) -> Self {
        let each = Duration::from_secs(1) / bounds.rate.max(1);
        Self { body, pause: Pause::new(bounds.idle), patience: bounds.grace, each, since: None }
    }

    /// Something came.
    fn came(&mut self, bytes: usize) {
        self.pause.end();
        if let Some(since) = self.since.take() {
            self.patience = self.patience.saturating_sub(since.elapsed());
        }
        self.patience = self.patience.saturating_add(self.each.saturating_mul(bytes as u32));
    }
}

impl Body for IdleBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                let bytes = match &frame {
                    Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                    _ => 0,
                };
                self.came(bytes);
                Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
            }
            Poll::Pending => {
                self.since.get_or_insert_with(Instant::now);
                let patience = self.patience;
                ready!(self.pause.poll_longer_than(cx, patience));
                Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose other side must take what is written now and then, and enough of it in all.
///
/// Time that we wait for it is lent; what it takes gives time back, up to what there was in the beginning.
pub(super) struct Watched<S> {
    stream: S,
    pause: Pause,
    most: Duration,
    left: Duration,
    /// What one byte gives back.
    each: Duration,
    since: Option<Instant>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, bounds: &super::Bounds) -> Self {
        let (most, each) = (bounds.taking, Duration::from_secs(1) / bounds.rate.max(1));
        Self { stream, pause: Pause::new(most), most, left: most, each, since: None }
    }

    /// `took` tells how many bytes were taken.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
        took: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = &polled {
            self.pause.end();
            if let Some(since) = self.since.take() {
                self.left = self.left.saturating_sub(since.elapsed());
            }
            let bytes = done.as_ref().map_or(0, took) as u32;
            self.left = self.left.saturating_add(self.each.saturating_mul(bytes)).min(self.most);
            return polled;
        }
        self.since.get_or_insert_with(Instant::now);
        let left = self.left;
        ready!(self.pause.poll_longer_than(cx, left));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, polled, |took| *took)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, polled, |took| *took)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, polled, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, polled, |()| 0)
    }
}

/// How long something has been waited for.
struct Pause {
    most: Duration,
    sleep: Pin<Box<Sleep>>,
    running: bool,
}

impl Pause {
    fn new(most: Duration) -> Self {
        Self { most, sleep: Box::pin(sleep(most)), running: false }
    }

    fn end(&mut self) {
        self.running = false;
    }

    /// Ready when the pause is too long, or longer than this.
    fn poll_longer_than(&mut self, cx: &mut Context<'_>, bound: Duration) -> Poll<()> {
        if !self.running {
            self.running = true;
            self.sleep.as_mut().reset(Instant::now() + self.most.min(bound));
        }
        self.sleep.as_mut().poll(cx)
    }
}

/// An answer's body that holds something as long as it lasts.
pub(super) struct Held {
    body: axum::body::Body,
    _busy: super::Busy,
}

impl Held {
    pub(super) fn new(body: axum::body::Body, busy: super::Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
