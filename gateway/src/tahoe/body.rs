//! Bodies of requests on their way into the grid.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use client::Source;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};

use super::answer::Problem;
use crate::Gateway;
use crate::incoming::CONVERGENT;

/// How long a body may take to be read ahead.
const GATHER: Duration = Duration::from_secs(30);
/// The longest list of children.
pub(super) const MAX_JSON: usize = 8 << 20;
/// What each piece takes in memory beside its bytes, about: a body may come a byte at a time.
const PIECE_COST: usize = 64;
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

/// What was read of a body ahead of storing it, and the memory that was lent for it.
struct Ahead {
    pieces: VecDeque<Bytes>,
    held: usize,
    permit: Option<OwnedSemaphorePermit>,
    until: Until,
}

/// Why no more was read ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Until {
    End,
    Bound,
    NoRoom,
    Late,
}

/// Reads ahead, up to a bound of bytes and time. Memory is lent for what is there, not for what was announced: who is slow to send holds
/// none. Where there is none left, `patient` ones wait for it.
async fn read_ahead(
    gateway: &Gateway,
    chunks: &mut impl Chunks,
    most: usize,
    patient: bool,
) -> Result<Ahead, Problem> {
    let memory = &gateway.tahoe().memory;
    let late = Instant::now() + GATHER;
    let mut ahead = Ahead { pieces: VecDeque::new(), held: 0, permit: None, until: Until::End };
    let (mut cost, mut lent) = (0_usize, 0);
    loop {
        let piece = match timeout_at(late, chunks.chunk()).await {
            Err(_) => return Ok(Ahead { until: Until::Late, ..ahead }),
            Ok(piece) => piece.map_err(ended_early)?,
        };
        let Some(piece) = piece else { return Ok(ahead) };
        ahead.held += piece.len();
        cost += piece.len() + PIECE_COST;
        ahead.pieces.push_back(piece);
        if ahead.held > most {
            return Ok(Ahead { until: Until::Bound, ..ahead });
        }
        let more = cost.div_ceil(1024) - lent;
        if more == 0 {
            continue;
        }
        lent += more;
        let permit = match memory.clone().try_acquire_many_owned(more as u32) {
            Ok(permit) => Some(permit),
            Err(_) if patient => timeout_at(late, memory.clone().acquire_many_owned(more as u32))
                .await
                .ok()
                .and_then(Result::ok),
            Err(_) => None,
        };
        match (permit, &mut ahead.permit) {
            (None, _) => return Ok(Ahead { until: Until::NoRoom, ..ahead }),
            (Some(permit), Some(all)) => all.merge(permit),
            (permit, all) => *all = permit,
        }
    }
}

impl Ahead {
    fn joined(&mut self) -> Bytes {
        if self.pieces.len() <= 1 {
            return self.pieces.pop_front().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(self.held);
        self.pieces.drain(..).for_each(|piece| all.extend_from_slice(&piece));
        all.freeze()
    }
}

/// A small body as a whole, of at most `most` bytes.
pub(super) async fn whole(
    gateway: &Gateway,
    chunks: &mut impl Chunks,
    most: usize,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Problem> {
    let too_long = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long");
    if chunks.len().is_some_and(|len| len > most as u64) {
        return Err(too_long());
    }
    let mut ahead = read_ahead(gateway, chunks, most, true).await?;
    match ahead.until {
        Until::End => Ok((ahead.joined(), ahead.permit)),
        Until::Bound => Err(too_long()),
        Until::NoRoom => {
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many bodies are read at a time"))
        }
        Until::Late => Err(ended_early(io::ErrorKind::TimedOut.into())),
    }
}

fn ended_early(error: io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::TimedOut => Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        _ => Problem::bad("the body ended early"),
    }
}

/// Hands the body to `store` as a source, and returns what that made of it. A short one is read first, and its memory is lent until
/// `store` is done. A long one is stored as it comes, and so is one that comes slowly, or for which there is no memory left.
pub(super) async fn with_source<T, F>(
    gateway: &Gateway,
    chunks: &mut impl Chunks,
    store: impl FnOnce(Source) -> F,
) -> Result<T, Problem>
where
    F: Future<Output = Result<T, Problem>> + Send,
{
    let long = chunks.len().is_some_and(|len| len > CONVERGENT as u64);
    let mut ahead = match long {
        true => Ahead { pieces: VecDeque::new(), held: 0, permit: None, until: Until::Bound },
        false => read_ahead(gateway, chunks, CONVERGENT, false).await?,
    };
    if ahead.until == Until::End {
        let done = store(Source::bytes(ahead.joined())).await;
        drop(ahead);
        return done;
    }
    let (sender, pieces) = mpsc::channel(PIECES);
    let reader = Reader { ahead: ahead.pieces, lent: ahead.permit, pieces, ended: false };
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
    /// The memory of what was read ahead, until that is stored.
    lent: Option<OwnedSemaphorePermit>,
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
                    if self.ahead.is_empty() {
                        self.lent = None;
                    }
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
