//! Sends a request and tells what came of it.

use bytes::Bytes;
use minicbor::Decode;
use protocol::membership::MembershipNews;
use protocol::message::{
    Announcements, Bulk, CensusReply, Done, Flags, Found, Hello, LeasesReply, Letter, PutDone, PutReply,
    PutSmallDone, Request, SmallOutcome, Status, Usage,
};
use protocol::session::{RequestError, Session, read_reply};
use protocol::slot_message::{Held, SlotAnswer, SlotState, SlotStates, Verdict};

use super::table::Cell;

/// Asks, with what follows the request.
pub(super) async fn ask(session: &Session, request: &Request, body: &[u8]) -> Cell {
    match answered(session, request, body).await {
        Ok(cell) => cell,
        Err(RequestError::Refused(error)) => Cell::No(error.code),
        Err(error) => panic!("{request:?}: {error}"),
    }
}

fn told(any: bool) -> Cell {
    if any { Cell::Yes } else { Cell::Nothing }
}

fn verdict(verdict: Verdict) -> Cell {
    if verdict == Verdict::Yes { Cell::Yes } else { Cell::Not(verdict) }
}

async fn answer<T: for<'b> Decode<'b, ()>>(session: &Session, request: &Request) -> Result<T, RequestError> {
    Ok(session.request::<T>(request).await?.0)
}

fn holds(state: &SlotState) -> bool {
    state.held != Held::Nothing
}

async fn answered(session: &Session, request: &Request, body: &[u8]) -> Result<Cell, RequestError> {
    Ok(match request {
        Request::Hello(_) => answer::<Hello>(session, request).await.map(|_| Cell::Yes)?,
        Request::Status => answer::<Status>(session, request).await.map(|_| Cell::Yes)?,
        Request::Usage => answer::<Usage>(session, request).await.map(|_| Cell::Yes)?,
        Request::HasLengths(_) | Request::Lease(_) | Request::CancelLease(_) => {
            told(answer::<Flags>(session, request).await?.flags.contains(&true))
        }
        Request::Put(_) => put(session, request, body).await?,
        Request::PutSmall(_) => put_small(session, request, body).await?,
        Request::Lookup(_) => told(!answer::<Found>(session, request).await?.shares.is_empty()),
        Request::ReadBlocks(_) | Request::ReadTable(_) | Request::ReadSlice(_) | Request::Sample(_) => {
            told(answer::<Bulk>(session, request).await?.lens.iter().sum::<u64>() > 0)
        }
        Request::Census(_) => {
            let reply = answer::<CensusReply>(session, request).await?;
            told(reply.objects.iter().any(|counted| !counted.0.is_empty()))
        }
        Request::Leases(_) => told(!answer::<LeasesReply>(session, request).await?.leases.is_empty()),
        Request::SlotRead(_) => told(holds(&answer(session, request).await?)),
        Request::SlotReads(_) => {
            let SlotStates { states } = answer(session, request).await?;
            told(
                states
                    .iter()
                    .any(|state| matches!(state, protocol::message::Reply::Ok(state) if holds(state))),
            )
        }
        Request::SlotPrepare(_) | Request::SlotAccept(_) => {
            verdict(answer::<SlotAnswer>(session, request).await?.verdict)
        }
        // Whoever ends its side gives the mailbox up.
        Request::OpenMailbox(_) => {
            let mut stream = session.open(request).await?;
            read_reply::<Done>(&mut stream).await.map(|_| Cell::Yes)?
        }
        Request::Announce(_) | Request::Publish(_) => {
            answer::<Done>(session, request).await.map(|_| Cell::Yes)?
        }
        Request::Subscribe(_) => told(!answer::<Announcements>(session, request).await?.list.is_empty()),
        Request::Membership(_) => {
            told(answer::<MembershipNews>(session, request).await?.certificate.is_some())
        }
        Request::UseMailbox(_) => answer::<Letter>(session, request).await.map(|_| Cell::Yes)?,
    })
}

async fn put(session: &Session, request: &Request, body: &[u8]) -> Result<Cell, RequestError> {
    let mut stream = session.open(request).await?;
    let PutReply::Go(from) = read_reply(&mut stream).await? else { return Ok(Cell::Yes) };
    stream.send.send(Bytes::copy_from_slice(&body[from as usize..])).await?;
    stream.send.finish()?;
    read_reply::<PutDone>(&mut stream).await.map(|_| Cell::Yes)
}

async fn put_small(session: &Session, request: &Request, body: &[u8]) -> Result<Cell, RequestError> {
    let mut stream = session.open(request).await?;
    // Whoever refuses it stops reading.
    let _ = stream.send.send(Bytes::copy_from_slice(body)).await;
    let _ = stream.send.finish();
    let PutSmallDone { outcomes } = read_reply(&mut stream).await?;
    Ok(match &outcomes[0] {
        SmallOutcome::Stored(_) | SmallOutcome::Had(_) => Cell::Yes,
        SmallOutcome::Refused(error) => Cell::No(error.code),
    })
}
