//! A body that is handed on in small pieces, and no more of it than is asked for.
//!
//! Whoever takes a form apart takes all that is ready, and gathers the head of a part until it is whole. So no piece follows another at
//! once, and only so many come until something became of them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// Bytes of a piece.
const PIECE: usize = 32 * 1024;
/// Bytes that may come before a part's head is whole.
const MOST: usize = 64 * 1024;

/// How much may yet be taken.
#[derive(Clone)]
pub(super) struct Thirst(Arc<AtomicUsize>);

impl Thirst {
    /// Something became of what came.
    pub(super) fn renew(&self) {
        self.0.store(MOST, Ordering::Relaxed);
    }

    /// Whether all was taken, and nothing became of it.
    pub(super) fn is_quenched(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// Such a body.
pub(super) struct Sips {
    body: Body,
    piece: Bytes,
    /// Whether the last poll gave a piece.
    gave: bool,
    thirst: Thirst,
}

impl Sips {
    pub(super) fn of(body: Body) -> (Self, Thirst) {
        let thirst = Thirst(Arc::new(AtomicUsize::new(MOST)));
        (Self { body, piece: Bytes::new(), gave: false, thirst: thirst.clone() }, thirst)
    }
}

impl http_body::Body for Sips {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if std::mem::take(&mut self.gave) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let left = self.thirst.0.load(Ordering::Relaxed);
        if left == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::FileTooLarge.into())));
        }
        while self.piece.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                // Trailers say nothing here.
                Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
            }
        }
        let len = self.piece.len().min(PIECE).min(left);
        self.thirst.0.store(left - len, Ordering::Relaxed);
        self.gave = true;
        let piece = self.piece.split_to(len);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
