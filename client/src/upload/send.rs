//! Sending shares to many servers at once: in step, with replacement of those that fail, and without waiting for one for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use encoding::{EncodedObject, EncodedSegment};
use protocol::NodeId;
use protocol::message::{Bytes32, ErrorCode, PutDone};
use protocol::session::{RequestError, read_reply};
use protocol::transport::Stream;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

use super::Upload;
use super::error::{SendError, ShareFailure, UploadError};
use super::feed::{Feed, FileOrigin};
use super::offer::{Offer, offer};
use crate::Client;
use crate::placement::{Candidate, assign, happiness};
use crate::servers::within;

/// Blocks that wait for a server before the encoder waits for it.
const QUEUE: usize = 3;

type Outcome = (u16, NodeId, Result<(), SendError>);

/// The shares of one upload on their way.
pub(crate) struct Sending {
    upload: Arc<Upload>,
    origin: Option<FileOrigin>,
    candidates: Vec<Candidate>,
    /// Shares proved to be there before anything was sent.
    found: BTreeMap<u16, NodeId>,
    durable: BTreeMap<u16, NodeId>,
    live: BTreeMap<u16, Lane>,
    /// Shares that are sent from the start to a replacement, beside the others.
    replacing: BTreeMap<u16, NodeId>,
    tasks: JoinSet<Outcome>,
    finished: watch::Sender<Option<Arc<EncodedObject>>>,
    refused: BTreeSet<NodeId>,
    /// Who failed at which share and was given another try.
    forgiven: BTreeSet<(u16, NodeId)>,
    failures: Vec<ShareFailure>,
    sent: Arc<AtomicU64>,
    started: Instant,
}

/// The way to one server.
struct Lane {
    server: NodeId,
    queue: mpsc::Sender<Bytes>,
    task: AbortHandle,
    /// How long the upload waited for this server while most others had nothing to do.
    waited: Duration,
}

impl Sending {
    /// Finds a server for every share. Nothing of the file is sent before enough servers agreed.
    pub(crate) async fn place(upload: &Arc<Upload>, origin: Option<FileOrigin>) -> Result<Self, UploadError> {
        let client = &upload.client;
        let candidates = client.ranked_candidates(upload.id.placement_bucket())?;
        let mut sending = Self {
            upload: upload.clone(),
            origin,
            candidates,
            found: BTreeMap::new(),
            durable: BTreeMap::new(),
            live: BTreeMap::new(),
            replacing: BTreeMap::new(),
            tasks: JoinSet::new(),
            finished: watch::channel(None).0,
            refused: BTreeSet::new(),
            forgiven: BTreeSet::new(),
            failures: Vec::new(),
            sent: Arc::default(),
            started: Instant::now(),
        };
        let accepted = sending.offer_all().await;
        let holders =
            sending.found.iter().map(|(n, s)| (*n, *s)).chain(accepted.iter().map(|(n, (s, ..))| (*n, *s)));
        let reached =
            happiness(&holders.map(|(number, server)| (number, BTreeSet::from([server]))).collect());
        let wanted = client.shares_happy();
        if reached < wanted {
            return Err(UploadError::NotHappy { happiness: reached, wanted, failures: sending.failures });
        }
        for (number, (server, stream, offset)) in accepted {
            sending.start(number, server, stream, offset);
        }
        Ok(sending)
    }

    /// Offers each share to its server, and to the next where one refuses. Once enough servers agreed, those that have not answered
    /// are given little more time: the others wait for the file.
    async fn offer_all(&mut self) -> BTreeMap<u16, (NodeId, Stream, u64)> {
        let mut accepted = BTreeMap::new();
        let mut assigned: BTreeMap<u16, BTreeSet<NodeId>> = BTreeMap::new();
        let mut answered: BTreeMap<u16, BTreeSet<NodeId>> = BTreeMap::new();
        let mut asking: JoinSet<(u16, NodeId, Result<Offer, SendError>)> = JoinSet::new();
        let wanted = self.upload.client.shares_happy();
        let mut rounds = STRAGGLER_ROUNDS;
        loop {
            let total = self.upload.params.total();
            for (number, server) in assign(0..total, &assigned, &self.candidates, &self.refused) {
                assigned.insert(number, BTreeSet::from([server]));
                let candidate = self.candidate(&server);
                let upload = self.upload.clone();
                asking.spawn(async move { (number, server, offer(&upload, number, &candidate).await) });
            }
            let next = match happiness(&answered) >= wanted {
                true => {
                    let silent = assigned.iter().filter(|(number, _)| !answered.contains_key(number));
                    let grace = self.upload.client.writers().grace(silent.flat_map(|(_, servers)| servers));
                    timeout(grace, asking.join_next()).await
                }
                false => Ok(asking.join_next().await),
            };
            let (number, server, answer) = match next {
                Ok(Some(Ok(answer))) => answer,
                Ok(Some(Err(_))) => continue,
                Ok(None) => break,
                Err(_) => {
                    asking.abort_all();
                    asking = JoinSet::new();
                    let silent: Vec<_> =
                        assigned.iter().filter(|(number, _)| !answered.contains_key(number)).collect();
                    let silent: Vec<(u16, NodeId)> =
                        silent.iter().flat_map(|(n, s)| s.iter().map(|s| (**n, *s))).collect();
                    for (number, server) in silent {
                        assigned.remove(&number);
                        let error = silent_error(&self.upload.client, &server);
                        self.failed(number, server, &error);
                    }
                    rounds -= 1;
                    if rounds == 0 {
                        break;
                    }
                    continue;
                }
            };
            match answer {
                Ok(Offer::Have) => drop(self.found.insert(number, server)),
                Ok(Offer::Go(stream, offset)) => drop(accepted.insert(number, (server, stream, offset))),
                Err(error) => {
                    assigned.remove(&number);
                    self.failed(number, server, &error);
                    continue;
                }
            }
            answered.insert(number, BTreeSet::from([server]));
        }
        accepted
    }

    fn candidate(&self, server: &NodeId) -> Candidate {
        let known = self.candidates.iter().find(|candidate| candidate.server == *server);
        known.expect("shares are assigned to candidates").clone()
    }

    fn failed(&mut self, number: u16, server: NodeId, error: &SendError) {
        if !(error.is_worth_another_try() && self.forgiven.insert((number, server))) {
            self.refused.insert(server);
        }
        self.failures.push(blamed_failure(&self.upload.client, number, server, error));
    }

    fn start(&mut self, number: u16, server: NodeId, stream: Stream, offset: u64) {
        let (queue, blocks) = mpsc::channel(QUEUE);
        let share = Share::new(self, number, server, offset);
        let task = async move { (number, server, share.send_queued(stream, blocks).await) };
        let task = self.tasks.spawn(task);
        self.live.insert(number, Lane { server, queue, task, waited: Duration::ZERO });
    }

    /// Whether every share was there before.
    pub(crate) fn all_found(&self) -> bool {
        self.found.len() == usize::from(self.upload.params.total())
    }

    /// Hands one block to each server; waits while all are busy, but not for ever for one.
    pub(crate) async fn block(&mut self, segment: &EncodedSegment) -> Result<(), UploadError> {
        let numbers: Vec<u16> = self.live.keys().copied().collect();
        for number in numbers {
            let Some(lane) = self.live.get(&number) else { continue };
            let block = segment.blocks[usize::from(number)].clone();
            let Err(full) = lane.queue.try_send(block) else { continue };
            let queue = lane.queue.clone();
            let mut handing = std::pin::pin!(queue.send(full.into_inner()));
            loop {
                // A task whose server takes nothing any more ends by itself, and says why.
                if timeout(SLICE, &mut handing).await.is_ok() {
                    break;
                }
                if self.holds_up_the_others(number, SLICE) {
                    self.give_up(number);
                    break;
                }
            }
        }
        self.reap();
        self.still_happy()
    }

    /// Notes that the upload waited for this server for so long, if most of the others had nothing to do meanwhile: a narrow uplink
    /// keeps them all busy and is nobody's fault. Whether it is now the one to be replaced: together the slow ones took more than half
    /// of the time, this one most of it, and the file can do without it.
    fn holds_up_the_others(&mut self, number: u16, waited: Duration) -> bool {
        let idle =
            self.live.values().filter(|lane| lane.queue.capacity() == lane.queue.max_capacity()).count();
        let most_are_idle = idle * 2 >= self.live.len().saturating_sub(1).max(1);
        let Some(lane) = self.live.get_mut(&number).filter(|_| most_are_idle) else { return false };
        lane.waited += waited;
        let mine = lane.waited;
        let all: Duration = self.live.values().map(|lane| lane.waited).sum();
        let worst = self.live.values().all(|lane| lane.waited <= mine);
        let stall = self.upload.client.writers().timeouts().stall;
        worst && mine > stall && all > self.started.elapsed() / 2 && self.can_do_without(number)
    }

    /// Whether another server could take this share, or enough others hold theirs.
    fn can_do_without(&self, number: u16) -> bool {
        let mut held = self.holders();
        let busy: BTreeSet<NodeId> = held.values().flatten().copied().collect();
        held.remove(&number);
        let free = |c: &Candidate| !self.refused.contains(&c.server) && !busy.contains(&c.server);
        (self.origin.is_some() && self.candidates.iter().any(free))
            || happiness(&held) >= self.upload.client.shares_happy()
    }

    fn give_up(&mut self, number: u16) {
        if let Some(lane) = self.live.remove(&number) {
            lane.task.abort();
            self.failed(number, lane.server, &SendError::TooSlow);
            self.replace(number);
        }
    }

    /// Takes in what tasks reported so far.
    fn reap(&mut self) {
        while let Some(done) = self.tasks.try_join_next() {
            self.settle(done);
        }
    }

    fn settle(&mut self, done: Result<Outcome, tokio::task::JoinError>) {
        let Ok((number, server, outcome)) = done else { return };
        let lane = self.live.get(&number).map(|lane| lane.server);
        if lane == Some(server) {
            self.live.remove(&number);
        } else if self.replacing.get(&number) == Some(&server) {
            self.replacing.remove(&number);
        } else {
            // It was given up before it could report.
            return;
        }
        match outcome {
            Ok(()) => drop(self.durable.insert(number, server)),
            Err(SendError::Abandoned) => {}
            Err(error) => {
                self.failed(number, server, &error);
                self.replace(number);
            }
        }
    }

    /// Finds another server for a share and sends it all from the start, beside the others. A stream cannot be read again: its share
    /// is left out.
    fn replace(&mut self, number: u16) {
        let Some(origin) = self.origin.clone() else { return };
        let placed = assign([number], &self.holders(), &self.candidates, &self.refused);
        let Some(server) = placed.get(&number).copied() else { return };
        let candidate = self.candidate(&server);
        let share = Share::new(self, number, server, 0);
        self.tasks.spawn(async move { (number, server, share.send_again(&candidate, origin).await) });
        self.replacing.insert(number, server);
    }

    /// Who has or gets which share, as far as is known now.
    fn holders(&self) -> BTreeMap<u16, BTreeSet<NodeId>> {
        let lanes = self.live.iter().map(|(number, lane)| (number, &lane.server));
        let others = self.replacing.iter().chain(&self.found).chain(&self.durable);
        let mut held: BTreeMap<u16, BTreeSet<NodeId>> = BTreeMap::new();
        for (number, server) in lanes.chain(others) {
            held.entry(*number).or_default().insert(*server);
        }
        held
    }

    /// Fails early when too few servers are left for success.
    fn still_happy(&mut self) -> Result<(), UploadError> {
        let (possible, wanted) = (happiness(&self.holders()), self.upload.client.shares_happy());
        if possible >= wanted {
            return Ok(());
        }
        let failures = std::mem::take(&mut self.failures);
        Err(UploadError::NotHappy { happiness: possible, wanted, failures })
    }

    /// Sends the trailers and waits until every share is durable or given up.
    pub(crate) async fn finish(&mut self, object: &EncodedObject) -> Result<(), UploadError> {
        self.finished.send_replace(Some(Arc::new(object.clone())));
        self.live.values_mut().for_each(|lane| lane.queue = mpsc::channel(1).0);
        while let Some(done) = self.tasks.join_next().await {
            self.settle(done);
        }
        self.durable.extend(self.found.clone());
        Ok(())
    }

    /// Where each share is, durably.
    pub(crate) fn durable(&self) -> BTreeMap<u16, NodeId> {
        self.durable.iter().chain(&self.found).map(|(number, server)| (*number, *server)).collect()
    }

    /// Shares found, bytes sent, failures.
    pub(crate) fn into_outcome(self) -> (BTreeSet<u16>, u64, Vec<ShareFailure>) {
        (self.found.keys().copied().collect(), self.sent.load(Ordering::Relaxed), self.failures)
    }
}

/// What there is to say of a server that has not answered, while others took their shares.
pub(crate) fn silent_error(client: &Client, server: &NodeId) -> SendError {
    match client.writers().is_connected(server) {
        true => SendError::Silent,
        false => SendError::Unreachable,
    }
}

/// What is reported of a share that a server did not take; where that was the server's fault, it is avoided for a while.
pub(crate) fn blamed_failure(
    client: &Client,
    number: u16,
    server: NodeId,
    error: &SendError,
) -> ShareFailure {
    match error {
        SendError::Silent | SendError::Unreachable => client.writers().silent(&server),
        error if error.is_blameworthy() => client.writers().blame(&server),
        _ => {}
    }
    let server = client.grid().server(&server);
    tracing::info!(number, server = server.name(), %error, "a share was not taken");
    ShareFailure { number, server, reason: error.to_string(), code: error.code() }
}

/// One share on its way to one server.
struct Share {
    upload: Arc<Upload>,
    number: u16,
    server: NodeId,
    /// Whether blocks come from a stream, which may give nothing for a while.
    may_pause: bool,
    /// Bytes of it that the server has already.
    offset: u64,
    finished: watch::Receiver<Option<Arc<EncodedObject>>>,
    sent: Arc<AtomicU64>,
}

impl Share {
    fn new(sending: &Sending, number: u16, server: NodeId, offset: u64) -> Self {
        let (upload, finished) = (sending.upload.clone(), sending.finished.subscribe());
        let may_pause = sending.origin.is_none();
        Self { upload, number, server, may_pause, offset, finished, sent: sending.sent.clone() }
    }

    /// Sends blocks as they come, and the trailer when the object is finished.
    async fn send_queued(
        mut self,
        mut stream: Stream,
        mut blocks: mpsc::Receiver<Bytes>,
    ) -> Result<(), SendError> {
        let mut at = 0;
        let mut held = Bytes::new();
        loop {
            // A server that gives up while we wait for the encoder is noticed at the next block.
            let mut block = match timeout(ALIVE, blocks.recv()).await {
                Ok(Some(block)) => block,
                Ok(None) => break,
                Err(_) => {
                    let byte = held.split_to(held.len().min(1));
                    self.send_from(&mut stream, &mut at, byte).await?;
                    continue;
                }
            };
            let end = if self.may_pause {
                block.split_off(block.len() - block.len().min(HELD))
            } else {
                Bytes::new()
            };
            self.send_from(&mut stream, &mut at, std::mem::replace(&mut held, end)).await?;
            self.send_from(&mut stream, &mut at, block).await?;
        }
        self.send_from(&mut stream, &mut at, held).await?;
        let object = self.finished.borrow_and_update().clone().ok_or(SendError::Abandoned)?;
        self.complete(stream, at, &object).await
    }

    /// Sends the whole share to a replacement: reads and encodes the file again.
    async fn send_again(mut self, candidate: &Candidate, origin: FileOrigin) -> Result<(), SendError> {
        let (mut stream, offset) = match offer(&self.upload, self.number, candidate).await? {
            Offer::Have => return Ok(()),
            Offer::Go(stream, offset) => (stream, offset),
        };
        self.offset = offset;
        let upload = self.upload.clone();
        let mut feed = Feed::file(origin);
        let mut at = 0;
        while let Some(segment) = feed.next(&upload).await.map_err(|_| SendError::Source)? {
            let block = segment.encoded.blocks[usize::from(self.number)].clone();
            self.send_from(&mut stream, &mut at, block).await?;
        }
        let object = self.finished.wait_for(Option::is_some).await.map_err(|_| SendError::Abandoned)?.clone();
        let object = object.ok_or(SendError::Abandoned)?;
        self.complete(stream, at, &object).await
    }

    /// Sends what the server lacks of `bytes`, which stand at `at` in the share file.
    async fn send_from(&self, stream: &mut Stream, at: &mut u64, bytes: Bytes) -> Result<(), SendError> {
        let start = *at;
        *at += bytes.len() as u64;
        let skip = self.offset.saturating_sub(start).min(bytes.len() as u64) as usize;
        let mut rest = bytes.slice(skip..);
        let after = self.upload.client.writers().timeouts().stall;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE));
            let len = piece.len() as u64;
            let sent = timeout(after, stream.send.send(piece)).await;
            if let Err(error) = sent.unwrap_or(Err(protocol::transport::TransportError::Lost {
                reason: "it takes no data".into(),
            })) {
                return Err(self.reason(stream, error.into()).await);
            }
            self.sent.fetch_add(len, Ordering::Relaxed);
            self.upload.transfer.moved(self.server, len);
        }
        Ok(())
    }

    /// A server that stops reading may have said why.
    async fn reason(&self, stream: &mut Stream, error: SendError) -> SendError {
        let answer = within(REASON, read_reply::<PutDone>(stream)).await;
        match answer {
            Err(RequestError::Refused(refused)) if refused.code == ErrorCode::Busy => SendError::MadeWay,
            Err(RequestError::Refused(refused)) => RequestError::Refused(refused).into(),
            _ => error,
        }
    }

    async fn complete(
        &self,
        mut stream: Stream,
        mut at: u64,
        object: &EncodedObject,
    ) -> Result<(), SendError> {
        self.send_from(&mut stream, &mut at, object.trailer(self.number)).await?;
        stream.send.finish()?;
        let after = self.upload.client.writers().timeouts().commit;
        let done: PutDone = match within(after, read_reply(&mut stream)).await {
            Err(RequestError::Refused(refused)) if refused.code == ErrorCode::Corrupt && self.offset > 0 => {
                return Err(SendError::DamagedPartial);
            }
            Err(RequestError::Refused(refused)) if refused.code == ErrorCode::Busy => {
                return Err(SendError::MadeWay);
            }
            done => done?,
        };
        if done.hash == Bytes32(*object.hash.as_bytes()) { Ok(()) } else { Err(SendError::WrongHash) }
    }
}

/// How often a server hears something while a stream gives nothing: it gives up who is silent for a minute.
const ALIVE: Duration = Duration::from_secs(20);
/// Bytes of each block of a stream that are kept back for that, one for each time: for as long as a server waits for a block.
const HELD: usize = 32;
/// How often a server that is waited for is looked at.
const SLICE: Duration = Duration::from_millis(100);
/// How often servers that do not answer offers are replaced by others before the upload goes on without.
pub(crate) const STRAGGLER_ROUNDS: usize = 3;
/// Bytes handed to the transport at a time: what must be taken within the stall timeout.
pub(crate) const PIECE: usize = 32 * 1024;
/// How long a server that takes no more bytes may take to say why.
pub(crate) const REASON: Duration = Duration::from_secs(1);
