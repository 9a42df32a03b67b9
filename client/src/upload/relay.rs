//! One share, made elsewhere, on its way to one server: what repair sends.

use bytes::Bytes;
use caps::VerifyHash;
use protocol::NodeId;
use protocol::message::{Bytes16, Bytes32, LeaseTerms, Put, PutDone, PutReply, Request};
use protocol::session::{RequestError, read_reply};
use protocol::transport::{Stream, TransportError};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::SendError;
use super::offer::is_about_this_store;
use super::send::{PIECE, REASON};
use crate::Client;
use crate::placement::Candidate;
use crate::servers::within;

/// A share that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Consignment {
    pub(crate) hash: VerifyHash,
    pub(crate) number: u16,
    pub(crate) block_len: u32,
    /// Bytes of the share file.
    pub(crate) len: u64,
    pub(crate) lease: LeaseTerms,
}

/// Part of a share file, in order.
pub(crate) enum Piece {
    Block(Bytes),
    /// The last one. A share that ends without it was given up.
    Trailer(Bytes),
}

/// Sends a share to the first of the server's stores that takes it.
pub(crate) async fn relay(
    client: &Client,
    to: &Candidate,
    share: Consignment,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<(), SendError> {
    let mut last = SendError::Abandoned;
    for store in &to.stores {
        match begin(client, to.server, *store, &share).await {
            Ok(stream) => return send(client, stream, &share, &mut pieces).await,
            Err(error) if is_about_this_store(&error) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

async fn begin(
    client: &Client,
    server: NodeId,
    store: NodeId,
    share: &Consignment,
) -> Result<Stream, SendError> {
    let put = Put {
        upload: Bytes16(client.random().bytes()),
        number: share.number,
        store,
        block_len: share.block_len,
        len: Some(share.len),
        expected: None,
        lease: share.lease,
    };
    let session = client.writers().session(&client.grid().server(&server)).await?;
    let asked = within(client.writers().timeouts().answer, async {
        let mut stream = session.open(&Request::Put(put)).await?;
        let reply: PutReply = read_reply(&mut stream).await?;
        Ok((reply, stream))
    });
    match asked.await? {
        (PutReply::Go(0), stream) => Ok(stream),
        // Nothing was sent under this id, and nothing was named that it could have.
        _ => Err(RequestError::Nonsense { what: "it has what it was never sent" }.into()),
    }
}

async fn send(
    client: &Client,
    mut stream: Stream,
    share: &Consignment,
    pieces: &mut mpsc::Receiver<Piece>,
) -> Result<(), SendError> {
    loop {
        match pieces.recv().await {
            Some(Piece::Block(bytes)) => push(client, &mut stream, bytes).await?,
            Some(Piece::Trailer(bytes)) => {
                push(client, &mut stream, bytes).await?;
                break;
            }
            None => return Err(SendError::Abandoned),
        }
    }
    stream.send.finish()?;
    let done: PutDone = within(client.writers().timeouts().commit, read_reply(&mut stream)).await?;
    if done.hash == Bytes32(*share.hash.as_bytes()) { Ok(()) } else { Err(SendError::WrongHash) }
}

async fn push(client: &Client, stream: &mut Stream, mut bytes: Bytes) -> Result<(), SendError> {
    let after = client.writers().timeouts().stall;
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        let sent = timeout(after, stream.send.send(piece)).await;
        if let Err(error) = sent.unwrap_or(Err(TransportError::Lost { reason: "it takes no data".into() })) {
            // A server that stops reading may have said why.
            return Err(match within(REASON, read_reply::<PutDone>(stream)).await {
                Err(RequestError::Refused(refused)) => RequestError::Refused(refused).into(),
                _ => error.into(),
            });
        }
    }
    Ok(())
}
