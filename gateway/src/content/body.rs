//! Bodies that come out of the grid.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use client::filestore::FileStoreError;
use client::{DownloadError, GetOptions, ObjectReader, Sink, Transfer};
use http_body::{Frame, SizeHint};
use protocol::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Pieces between the grid and a socket; of at most [`PIECE`] bytes each.
const PIECES: usize = 2;
/// Bytes of a piece: larger ones are cut without being copied.
const PIECE: usize = 256 * 1024;

/// Where content comes from.
pub(super) enum Source {
    /// It is here already.
    Memory(Bytes),
    /// It is read from servers.
    Grid(ObjectReader),
}

/// A part of a body.
pub(super) enum Part {
    /// What stands between ranges.
    Text(Bytes),
    /// Bytes of the content, within it.
    Content(Range<u64>),
}

impl Part {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Content(range) => range.end - range.start,
        }
    }
}

type Piece = Result<Bytes, FileStoreError>;

/// Begins to read the parts. What goes wrong before the first byte of content is told here, since then the answer can still say so.
///
/// # Errors
///
/// [`FileStoreError`].
pub(super) async fn start(
    source: Source,
    parts: Vec<Part>,
    transfer: Transfer,
) -> Result<Body, FileStoreError> {
    let left = parts.iter().map(Part::len).sum();
    let reader = match source {
        Source::Memory(bytes) => return Ok(Body::from(joined(&bytes, &parts))),
        Source::Grid(reader) => reader,
    };
    // Text comes at once; what follows it tells whether the grid gives anything.
    let first_pieces = if parts.len() > 1 { 2 } else { 1 };
    let (sender, mut pieces) = mpsc::channel(PIECES);
    let task = tokio::spawn(produce(reader, parts, sender, transfer));
    let guard = Abort(task.abort_handle());
    let mut ahead = Vec::new();
    while ahead.len() < first_pieces {
        match pieces.recv().await {
            Some(piece) => ahead.push(piece?),
            None => break,
        }
    }
    ahead.reverse();
    Ok(Body::new(Stream { ahead, pieces, left, _task: guard }))
}

fn joined(bytes: &Bytes, parts: &[Part]) -> Bytes {
    if let [Part::Content(range)] = parts {
        return bytes.slice(range.start as usize..range.end as usize);
    }
    let mut all = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) => all.extend_from_slice(text),
            Part::Content(range) => all.extend_from_slice(&bytes[range.start as usize..range.end as usize]),
        }
    }
    all.into()
}

async fn produce(reader: ObjectReader, parts: Vec<Part>, sender: mpsc::Sender<Piece>, transfer: Transfer) {
    let whole = parts.len() == 1;
    for part in parts {
        let done = match part {
            Part::Text(text) => sender.send(Ok(text)).await.map_err(|_| None),
            Part::Content(range) => {
                let range = (!whole || range != (0..reader.size())).then_some(range);
                let mut sink = Channel(sender.clone());
                let options = GetOptions { range, transfer: transfer.clone() };
                reader.read_into(&mut sink, options).await.map(|_| ()).map_err(Some)
            }
        };
        match done {
            Ok(()) => {}
            // Nobody reads on.
            Err(None | Some(DownloadError::Sink(_))) => return,
            Err(Some(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a download broke off");
                let _ = sender.send(Err(error.into())).await;
                return;
            }
        }
    }
}

/// Hands pieces to whoever writes to the socket, no faster than that takes them.
struct Channel(mpsc::Sender<Piece>);

impl Sink for Channel {
    fn write(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            for mut piece in pieces {
                while !piece.is_empty() {
                    let next = piece.split_to(piece.len().min(PIECE));
                    self.0.send(Ok(next)).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
                }
            }
            Ok(())
        })
    }
}

/// Ends the work when nobody waits for it any more.
struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Stream {
    /// What was read before the answer began, last first.
    ahead: Vec<Bytes>,
    pieces: mpsc::Receiver<Piece>,
    left: u64,
    _task: Abort,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = match self.ahead.pop() {
            Some(piece) => Some(Ok(piece)),
            None => std::task::ready!(self.pieces.poll_recv(cx)),
        };
        Poll::Ready(match next {
            Some(Ok(piece)) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(error)) => Some(Err(io::Error::other(error.to_string()))),
            None if self.left > 0 => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
