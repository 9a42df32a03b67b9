//! Bodies of requests on their way into the grid.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use client::Source;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::answer::Problem;
use crate::Gateway;
use crate::incoming::CONVERGENT;

/// The longest list of children.
pub(super) const MAX_JSON: usize = 32 << 20;
/// Pieces between a socket and the grid.
const PIECES: usize = 4;

/// Something that gives bytes in pieces.
pub(super) trait Chunks: Send {
    /// The next piece; `None` at the end.
    fn chunk(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;

    /// How many bytes there will be, where that is known.
    fn len(&self) -> Option<u64>;
}

impl Chunks for Body {
    async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(io::Error::other(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) if piece.is_empty() => {}
                    Ok(piece) => return Ok(Some(piece)),
                    // Trailers say nothing here.
                    Err(_) => {}
                },
            }
        }
    }

    fn len(&self) -> Option<u64> {
        http_body::Body::size_hint(self).exact()
    }
}

/// A small body as a whole, of at most `most` bytes.
pub(super) async fn whole(
    gateway: &Gateway,
    chunks: &mut impl Chunks,
    most: usize,
) -> Result<(BytesMut, OwnedSemaphorePermit), Problem> {
    let too_long = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long");
    if chunks.len().is_some_and(|len| len > most as u64) {
        return Err(too_long());
    }
    let expected = chunks.len().unwrap_or(most as u64) as usize;
    let permit = memory(gateway, expected).await;
    let mut all = BytesMut::new();
    while let Some(piece) = chunks.chunk().await.map_err(ended_early)? {
        if all.len() + piece.len() > most {
            return Err(too_long());
        }
        all.extend_from_slice(&piece);
    }
    Ok((all, permit))
}

async fn memory(gateway: &Gateway, bytes: usize) -> OwnedSemaphorePermit {
    let kib = bytes.div_ceil(1024).max(1) as u32;
    let permits = gateway.tahoe().memory.clone().acquire_many_owned(kib).await;
    permits.expect("nobody closes it")
}

fn ended_early(error: io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::TimedOut => Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        _ => Problem::bad("the body ended early"),
    }
}

/// Hands the body to `store` as a source, and returns what that made of it. A short one is read first, and its memory is lent until
/// `store` is done; a long one is stored as it comes.
pub(super) async fn with_source<T, F>(
    gateway: &Gateway,
    chunks: &mut impl Chunks,
    store: impl FnOnce(Source) -> F,
) -> Result<T, Problem>
where
    F: Future<Output = Result<T, Problem>> + Send,
{
    let long = chunks.len().is_some_and(|len| len > CONVERGENT as u64);
    let mut ahead = VecDeque::new();
    let mut held = 0;
    let mut ended = false;
    let permit = match long {
        true => None,
        false => Some(memory(gateway, chunks.len().map_or(CONVERGENT, |len| len as usize)).await),
    };
    while !long && held <= CONVERGENT {
        match chunks.chunk().await.map_err(ended_early)? {
            Some(piece) => {
                held += piece.len();
                ahead.push_back(piece);
            }
            None => {
                ended = true;
                break;
            }
        }
    }
    if ended {
        let bytes = match ahead.len() {
            1 => ahead.pop_front().unwrap_or_default(),
            _ => {
                let mut all = BytesMut::with_capacity(held);
                ahead.drain(..).for_each(|piece| all.extend_from_slice(&piece));
                all.freeze()
            }
        };
        let done = store(Source::bytes(bytes)).await;
        drop(permit);
        return done;
    }
    let (sender, pieces) = mpsc::channel(PIECES);
    let reader = Reader { ahead, pieces, ended: false };
    let feed = async {
        loop {
            let (piece, last) = match chunks.chunk().await {
                Ok(Some(piece)) => (Ok(Some(piece)), false),
                Ok(None) => (Ok(None), true),
                Err(error) => (Err(error), true),
            };
            // Who stores has had enough: what is wrong, it says itself.
            if sender.send(piece).await.is_err() || last {
                return;
            }
        }
    };
    let stored = store(Source::stream(reader));
    tokio::pin!(stored);
    let fed = tokio::select! {
        done = &mut stored => Some(done),
        () = feed => None,
    };
    match fed {
        Some(done) => done,
        None => stored.await,
    }
}

/// Reads pieces that come over a channel. Only a piece that says so ends it well: a sender that is gone does not.
struct Reader {
    ahead: VecDeque<Bytes>,
    pieces: mpsc::Receiver<io::Result<Option<Bytes>>>,
    ended: bool,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(piece) = self.ahead.front_mut() {
                let part = piece.split_to(piece.len().min(buf.remaining()));
                buf.put_slice(&part);
                if piece.is_empty() {
                    self.ahead.pop_front();
                }
                if !part.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            match std::task::ready!(self.pieces.poll_recv(cx)) {
                Some(Ok(Some(piece))) => self.ahead.push_back(piece),
                Some(Ok(None)) => self.ended = true,
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }
}
