//! Small shares on their way: what gathers for a store while a request to it is under way goes out together as the next one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use protocol::limits::{MAX_SHARES, MAX_SMALL_BODY_LEN};
use protocol::message::{Bytes32, LeaseTerms, PutSmall, PutSmallDone, Request, SmallOutcome, SmallShare};
use protocol::session::{RequestError, read_reply};
use protocol::transport::{Stream, TransportError};
use protocol::{NodeId, frame};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::SendError;
use super::send::{PIECE, REASON};
use crate::Client;
use crate::servers::within;

/// Requests to one store at once.
const UNDER_WAY: usize = 2;
/// The second one is worth its cost once so many shares wait.
const CROWD: usize = 16;
/// Bytes of shares in one request: over a narrow line they still arrive within the patience of those who wait.
const BATCH_LEN: usize = 256 * 1024;
const _: () = assert!(BATCH_LEN <= MAX_SMALL_BODY_LEN);
/// A server and one of its stores.
pub(crate) type Destination = (NodeId, NodeId);

/// What waits for each store.
#[derive(Default)]
pub(crate) struct SmallShares(Mutex<HashMap<Destination, Queue>>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Parcel>,
    under_way: usize,
}

/// One share on its way.
pub(crate) struct Parcel {
    pub(crate) number: u16,
    /// The share file, in two pieces.
    pub(crate) bytes: [Bytes; 2],
    pub(crate) lease: LeaseTerms,
    /// Whom to tell what became of it. Where nobody waits any more, it is not sent.
    pub(crate) answer: mpsc::UnboundedSender<Arrival>,
}

/// What became of a share.
pub(crate) struct Arrival {
    pub(crate) number: u16,
    pub(crate) at: Destination,
    pub(crate) outcome: Result<Arrived, SendError>,
}

/// A share that a store says is durable and leased.
pub(crate) struct Arrived {
    /// H, as the server computed it.
    pub(crate) hash: Bytes32,
    /// Whether it was there before.
    pub(crate) had: bool,
}

impl Parcel {
    pub(crate) fn len(&self) -> usize {
        self.bytes.iter().map(Bytes::len).sum()
    }
}

impl SmallShares {
    fn lock(&self) -> MutexGuard<'_, HashMap<Destination, Queue>> {
        self.0.lock().expect("no code panics while it holds this lock")
    }

    /// Puts a share into the queue; whether somebody must begin to work it off.
    fn push(&self, to: Destination, parcel: Parcel) -> bool {
        let mut queues = self.lock();
        let queue = queues.entry(to).or_default();
        queue.waiting.push_back(parcel);
        let crowded = queue.under_way < UNDER_WAY && queue.waiting.len() >= CROWD;
        let begins = queue.under_way == 0 || crowded;
        queue.under_way += usize::from(begins);
        begins
    }

    /// What goes into the next request; `None`, and one request fewer under way, if nothing waits.
    fn take(&self, to: Destination) -> Option<Vec<Parcel>> {
        let mut queues = self.lock();
        let queue = queues.entry(to).or_default();
        let (mut batch, mut len) = (Vec::new(), 0);
        while let Some(parcel) = queue.waiting.pop_front() {
            if parcel.answer.is_closed() {
                continue;
            }
            len += parcel.len();
            if batch.len() == MAX_SHARES || (len > BATCH_LEN && !batch.is_empty()) {
                queue.waiting.push_front(parcel);
                break;
            }
            batch.push(parcel);
        }
        if batch.is_empty() {
            queue.under_way -= 1;
            return None;
        }
        Some(batch)
    }
}

/// Sends a share to a store with whatever else goes there; what became of it comes through [`Parcel::answer`].
pub(crate) fn dispatch(client: &Client, to: Destination, parcel: Parcel) {
    if client.small_shares().push(to, parcel) {
        tokio::spawn(work_off(client.clone(), to));
    }
}

async fn work_off(client: Client, to: Destination) {
    while let Some(batch) = client.small_shares().take(to) {
        match deliver(&client, to, &batch).await {
            Ok(outcomes) => {
                for (parcel, outcome) in batch.into_iter().zip(outcomes) {
                    parcel.report(to, arrived(outcome));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for parcel in batch {
                    parcel.report(to, Err(SendError::Request(error.clone())));
                }
            }
        }
    }
}

fn arrived(outcome: SmallOutcome) -> Result<Arrived, SendError> {
    match outcome {
        SmallOutcome::Stored(hash) => Ok(Arrived { hash, had: false }),
        SmallOutcome::Had(hash) => Ok(Arrived { hash, had: true }),
        SmallOutcome::Refused(error) => Err(RequestError::Refused(error).into()),
    }
}

impl Parcel {
    fn report(self, at: Destination, outcome: Result<Arrived, SendError>) {
        // Whoever no longer waits does not learn of it.
        let _ = self.answer.send(Arrival { number: self.number, at, outcome });
    }
}

/// One request.
async fn deliver(
    client: &Client,
    (server, store): Destination,
    batch: &[Parcel],
) -> Result<Vec<SmallOutcome>, RequestError> {
    let timeouts = *client.writers().timeouts();
    let session = client.writers().session(&client.grid().server(&server)).await?;
    let mut message = message(store, batch);
    let opened = timeout(timeouts.stall, session.connection().open()).await;
    let mut stream = opened.map_err(|_| RequestError::Timeout { after: timeouts.stall })??;
    while !message.is_empty() {
        let piece = message.split_to(message.len().min(PIECE));
        let sent = timeout(timeouts.stall, stream.send.send(piece)).await;
        if let Err(error) = sent.unwrap_or(Err(TransportError::Lost { reason: "it takes no data".into() })) {
            return Err(reason(&mut stream, error).await);
        }
    }
    if let Err(error) = stream.send.finish() {
        return Err(reason(&mut stream, error).await);
    }
    let done: PutSmallDone = within(timeouts.commit, read_reply(&mut stream)).await?;
    match done.outcomes.len() == batch.len() {
        true => Ok(done.outcomes),
        false => Err(RequestError::Nonsense { what: "not one outcome for each share" }),
    }
}

/// A server that stops reading may have said why.
async fn reason(stream: &mut Stream, error: TransportError) -> RequestError {
    match within(REASON, read_reply::<PutSmallDone>(stream)).await {
        Err(RequestError::Refused(refused)) => RequestError::Refused(refused),
        _ => error.into(),
    }
}

/// The request and the share files: in one piece, which is cheaper than many small ones.
fn message(store: NodeId, batch: &[Parcel]) -> Bytes {
    let shares = batch.iter();
    let shares = shares.map(|parcel| SmallShare { len: parcel.len() as u32, lease: parcel.lease }).collect();
    let head = frame::encode(&Request::PutSmall(PutSmall { store, shares }));
    let body: usize = batch.iter().map(Parcel::len).sum();
    let mut out = BytesMut::with_capacity(head.len() + body);
    out.extend_from_slice(&head);
    for piece in batch.iter().flat_map(|parcel| &parcel.bytes) {
        out.extend_from_slice(piece);
    }
    out.freeze()
}
