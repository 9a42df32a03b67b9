//! Offering one share to one server: it has it, it takes it, or it says why not.

use std::time::Duration;

use protocol::NodeId;
use protocol::message::{Bytes16, Bytes32, ErrorCode, Expected, Put, PutReply, Request};
use protocol::session::read_reply;
use protocol::transport::Stream;

use super::Upload;
use super::error::SendError;
use crate::placement::Candidate;
use crate::servers::within;

/// How often, and after which pause, a share is offered again while another run seems to send it. Servers let go of a sender that is
/// silent for two seconds.
const BUSY_RETRIES: usize = 4;
const BUSY_PAUSE: Duration = Duration::from_millis(700);

/// Bytes a second that the slowest disk reads whose server is still waited for.
const SLOW_DISK: u64 = 50_000_000;

/// A server's answer to an offer.
pub(crate) enum Offer {
    /// The share is there, proved and leased.
    Have,
    /// Send the share from this byte on.
    Go(Stream, u64),
}

/// Offers share `number` to the server's stores in turn, until one has or takes it.
pub(crate) async fn offer(upload: &Upload, number: u16, candidate: &Candidate) -> Result<Offer, SendError> {
    let mut last = None;
    for store in &candidate.stores {
        let mut offered = offer_to_store(upload, number, candidate.server, *store, upload.upload_id).await;
        // The same upload may be what a run of ours left that died: then it makes way shortly.
        for _ in 0..BUSY_RETRIES {
            if !matches!(&offered, Err(error) if error.code() == Some(ErrorCode::Busy)) {
                break;
            }
            tokio::time::sleep(BUSY_PAUSE).await;
            offered = offer_to_store(upload, number, candidate.server, *store, upload.upload_id).await;
        }
        match offered {
            // It is under way from elsewhere: go on beside it, under an id of our own.
            Err(error) if error.code() == Some(ErrorCode::Busy) => {
                let own = Bytes16(upload.client.random().bytes());
                return offer_to_store(upload, number, candidate.server, *store, own).await;
            }
            Err(error) if is_about_this_store(&error) => last = Some(error),
            decided => return decided,
        }
    }
    Err(last.unwrap_or(SendError::Abandoned))
}

pub(crate) fn is_about_this_store(error: &SendError) -> bool {
    use ErrorCode::{NoSpace, NotFound, ReadOnly, StoreFailed};
    matches!(error.code(), Some(NoSpace | NotFound | ReadOnly | StoreFailed))
}

async fn offer_to_store(
    upload: &Upload,
    number: u16,
    server: NodeId,
    store: NodeId,
    id: Bytes16,
) -> Result<Offer, SendError> {
    let client = &upload.client;
    let timeouts = *client.writers().timeouts();
    let expected = upload.known.get().and_then(|(object, proofs)| {
        let nonce = proofs.nonce(upload, number, &store)?;
        Some(Expected { hash: Bytes32(*object.hash.as_bytes()), nonce })
    });
    let put = Put {
        upload: id,
        number,
        store,
        block_len: upload.params.block_len(),
        len: share_len(upload, number),
        expected: expected.clone(),
        lease: upload.lease,
    };
    let session = client.writers().session(&client.grid().server(&server)).await?;
    // A server that proves what it has, or goes on from what it has, reads it first.
    let patience = timeouts.answer + Duration::from_secs(put.len.unwrap_or(0) / SLOW_DISK);
    let asked = within(patience, async {
        let mut stream = session.open(&Request::Put(put)).await?;
        let reply: PutReply = read_reply(&mut stream).await?;
        Ok((reply, stream))
    });
    match asked.await? {
        (PutReply::Go(offset), stream) => Ok(Offer::Go(stream, offset)),
        (PutReply::Have(proof), _) => {
            let (Some((object, proofs)), Some(expected)) = (upload.known.get(), expected) else {
                return Err(SendError::BadProof);
            };
            let right = proofs.expected(object, number, &expected.nonce, &store);
            // blake3's own comparison takes constant time.
            if blake3::Hash::from_bytes(right) == blake3::Hash::from_bytes(proof.0) {
                Ok(Offer::Have)
            } else {
                Err(SendError::BadProof)
            }
        }
    }
}

/// Bytes of the share file, where the object or at least its size is known.
fn share_len(upload: &Upload, number: u16) -> Option<u64> {
    if let Some((object, _)) = upload.known.get() {
        return Some(object.share_len(number));
    }
    let geometry = encoding::Geometry::for_plaintext(upload.params, upload.size?).ok()?;
    Some(geometry.share_len(number, encoding::Descriptor::plain_len(upload.params.total())))
}
