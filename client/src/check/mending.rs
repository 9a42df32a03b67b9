//! Making lost shares anew and putting them where there are none: only what is missing, from as few shares as needed, in bounded memory.
//!
//! Nothing is ever taken away, so a repair that fails, is killed, or runs twice leaves things no worse than they were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use encoding::{MendError, Root, ShareMender};
use protocol::NodeId;
use protocol::limits::MAX_SMALL_SHARE_LEN;
use protocol::message::{Bytes32, LeaseTerms};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Health;
use super::object::{counted, happy};
use crate::Client;
use crate::download::{Blocks, DownloadError, Object, ObjectRef, data_roots, gather};
use crate::placement::{Candidate, assign, happiness};
use crate::progress::Transfer;
use crate::upload::{Consignment, Parcel, Piece, SendError, dispatch, relay};

/// How often what servers did not take is offered to others.
const ROUNDS: usize = 5;
/// Bytes of ciphertext fetched at a time, unless a single segment is larger.
const STEP_BYTES: u64 = 4 << 20;
/// Blocks that wait for a server before the others wait for it.
const QUEUE: usize = 4;

/// Which share goes where.
type Plan = Vec<(u16, NodeId)>;

/// What became of each share sent.
type Sent = Vec<(u16, NodeId, Result<(), SendError>)>;

/// Why nothing could be made.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error(transparent)]
    Mend(#[from] MendError),
    #[error("the cap's parameters are not those of its object: it was altered")]
    Parameters,
}

/// Brings back the shares of an object that `health` says are missing, on servers that are not `away`.
pub(super) async fn mend(
    client: &Client,
    object: ObjectRef,
    health: &mut Health,
    mut away: BTreeSet<NodeId>,
) {
    // Rather a server that has lost a share than none, but none first.
    let mut refused: BTreeSet<NodeId> = health.bad.iter().map(|bad| bad.server.id).collect();
    refused.extend(&away);
    for _ in 0..ROUNDS {
        let counted = counted(client, &health.holders);
        let mut plan = plan(client, &object, &counted, &refused);
        if plan.is_empty() {
            refused.clone_from(&away);
            plan = self::plan(client, &object, &counted, &refused);
        }
        if plan.is_empty() {
            return;
        }
        match make(client, object, &plan).await {
            Ok(sent) => {
                for (number, server, outcome) in sent {
                    match outcome {
                        Ok(()) => {
                            health.holders.entry(number).or_default().insert(server);
                            health.made.push((number, server));
                        }
                        Err(error) => {
                            let name = client.grid().server(&server).name();
                            health.problems.push(format!("{name} does not take share {number}: {error}"));
                            refused.insert(server);
                            away.insert(server);
                        }
                    }
                }
            }
            Err(MakeError::Mend(error)) => {
                health.wrong_encoding = Some(error.to_string());
                return;
            }
            Err(error) => {
                health.problems.push(error.to_string());
                return;
            }
        }
    }
}

/// The shares that are missing, and copies for servers without one where there are too few of those.
fn plan(
    client: &Client,
    object: &ObjectRef,
    holders: &BTreeMap<u16, BTreeSet<NodeId>>,
    refused: &BTreeSet<NodeId>,
) -> Plan {
    let candidates = client.upload_candidates(object.bucket);
    let missing = (0..object.total).filter(|number| !holders.contains_key(number));
    let mut plan: Plan = assign(missing, holders, &candidates, refused).into_iter().collect();
    let mut after = holders.clone();
    for (number, server) in &plan {
        after.entry(*number).or_default().insert(*server);
    }
    let wanted = happy(client, object);
    for candidate in candidates.iter().filter(|candidate| !refused.contains(&candidate.server)) {
        let now = happiness(&after);
        if now >= wanted {
            break;
        }
        let better = (0..object.total).find(|number| {
            let mut trial = after.clone();
            let new = trial.entry(*number).or_default().insert(candidate.server);
            new && happiness(&trial) > now
        });
        if let Some(number) = better {
            after.entry(number).or_default().insert(candidate.server);
            plan.push((number, candidate.server));
        }
    }
    plan
}

/// Makes the shares of a plan and sends each to its server.
async fn make(client: &Client, wanted: ObjectRef, plan: &Plan) -> Result<Sent, MakeError> {
    let object = Object::find(client.clone(), wanted).await?;
    let params = object.geometry().params();
    if (params.needed(), params.total()) != (wanted.needed, wanted.total) {
        return Err(MakeError::Parameters);
    }
    let numbers: BTreeSet<u16> = plan.iter().map(|(number, _)| *number).collect();
    let mender = ShareMender::new(object.descriptor.clone(), numbers.iter().copied());
    let making = Making { client: client.clone(), wanted, object, numbers: numbers.into_iter().collect() };
    let small = making.numbers.iter().all(|n| mender.share_len(*n) <= u64::from(MAX_SMALL_SHARE_LEN));
    match small {
        true => making.whole(mender, plan).await,
        false => making.streaming(mender, plan).await,
    }
}

struct Making {
    client: Client,
    wanted: ObjectRef,
    object: Arc<Object>,
    /// The shares that are made, in the mender's order.
    numbers: Vec<u16>,
}

impl Making {
    /// The next blocks of all shares that are made.
    async fn blocks(
        &self,
        mender: ShareMender,
        first: u64,
        end: u64,
    ) -> Result<(ShareMender, Vec<Vec<Bytes>>), MakeError> {
        let fetched = gather(&self.object, &(first..end), &Transfer::default()).await?;
        let mut roots: Vec<Vec<Root>> = Vec::new();
        for segment in first..end {
            roots.push(data_roots(&self.object, segment).await?);
        }
        let made = self.client.pool().run(move || mend_segments(mender, fetched, &roots)).await?;
        Ok(made)
    }

    /// Shares that fit into one message are made whole, and travel with those of other objects.
    async fn whole(&self, mender: ShareMender, plan: &Plan) -> Result<Sent, MakeError> {
        let (mender, segments) = self.blocks(mender, 0, self.object.geometry().segments()).await?;
        let trailers = mender.trailers()?;
        let (answers, mut arrivals) = mpsc::unbounded_channel();
        let mut sent = Sent::new();
        for (number, server) in plan {
            let Some(candidate) = self.candidate(server) else { continue };
            let at = self.numbers.iter().position(|made| made == number).expect("the plan's are made");
            let blocks: Vec<u8> = segments.iter().flat_map(|blocks| &blocks[at][..]).copied().collect();
            let bytes = [Bytes::from(blocks), trailers[at].clone()];
            let Some(store) = candidate.stores.first() else { continue };
            let parcel = Parcel { number: *number, bytes, lease: self.lease(), answer: answers.clone() };
            dispatch(&self.client, (*server, *store), parcel);
        }
        drop(answers);
        while let Some(arrival) = arrivals.recv().await {
            let outcome = arrival.outcome.and_then(|arrived| {
                let right = arrived.hash == Bytes32(*self.wanted.hash.as_bytes());
                if right { Ok(()) } else { Err(SendError::WrongHash) }
            });
            sent.push((arrival.number, arrival.at.0, outcome));
        }
        Ok(sent)
    }

    /// Larger shares are sent while they are made.
    async fn streaming(&self, mut mender: ShareMender, plan: &Plan) -> Result<Sent, MakeError> {
        let mut tasks = JoinSet::new();
        let mut lanes = Vec::new();
        for (number, server) in plan {
            let Some(candidate) = self.candidate(server) else { continue };
            let (queue, pieces) = mpsc::channel(QUEUE);
            let share = Consignment {
                hash: self.wanted.hash,
                number: *number,
                block_len: self.object.geometry().params().block_len(),
                len: mender.share_len(*number),
                lease: self.lease(),
            };
            let client = self.client.clone();
            tasks.spawn(async move {
                let sent = relay(&client, &candidate, share, pieces).await;
                (share.number, candidate.server, sent)
            });
            lanes.push((*number, queue));
        }
        let geometry = *self.object.geometry();
        let step = (STEP_BYTES / geometry.params().segment_len()).max(1);
        let mut next = 0;
        while next < geometry.segments() && !lanes.is_empty() {
            let end = geometry.segments().min(next + step);
            let (again, segments) = self.blocks(mender, next, end).await?;
            mender = again;
            for blocks in segments {
                self.feed(&mut lanes, &blocks, Piece::Block).await;
            }
            next = end;
        }
        if next == geometry.segments() {
            self.feed(&mut lanes, &mender.trailers()?, Piece::Trailer).await;
        }
        drop(lanes);
        Ok(tasks.join_all().await)
    }

    /// Gives every server that still takes something its piece.
    async fn feed(
        &self,
        lanes: &mut Vec<(u16, mpsc::Sender<Piece>)>,
        made: &[Bytes],
        kind: fn(Bytes) -> Piece,
    ) {
        let mut open = Vec::new();
        for (number, queue) in lanes.drain(..) {
            let at = self.numbers.iter().position(|n| *n == number).expect("the plan's are made");
            // One that failed says why when it is joined; one that takes so long is left behind, lest the others give up waiting.
            let patience = self.client.writers().timeouts().stall;
            if let Ok(Ok(())) = timeout(patience, queue.send(kind(made[at].clone()))).await {
                open.push((number, queue));
            }
        }
        *lanes = open;
    }

    fn candidate(&self, server: &NodeId) -> Option<Candidate> {
        let candidates = self.client.upload_candidates(self.wanted.bucket);
        candidates.into_iter().find(|candidate| candidate.server == *server)
    }

    fn lease(&self) -> LeaseTerms {
        let tag = super::leasing::tag(&self.client, &self.wanted.hash);
        self.client.lease_terms(tag)
    }
}

fn mend_segments(
    mut mender: ShareMender,
    fetched: BTreeMap<u16, Blocks>,
    roots: &[Vec<Root>],
) -> Result<(ShareMender, Vec<Vec<Bytes>>), MendError> {
    let mut columns: Vec<_> =
        fetched.into_iter().map(|(number, blocks)| (number, blocks.into_iter())).collect();
    let mut segments = Vec::new();
    for roots in roots {
        let of_segment = columns.iter_mut().filter_map(|(number, blocks)| Some((*number, blocks.next()?)));
        segments.push(mender.segment(of_segment.collect(), roots)?);
    }
    Ok((mender, segments))
}
