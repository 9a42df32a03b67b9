//! Sending shares to many servers at once: in step, with replacement of those that fail, and without waiting for one for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use encoding::{EncodedObject, EncodedSegment};
use protocol::NodeId;
use protocol::message::{Bytes32, PutDone};
use protocol::session::{RequestError, read_reply};
use protocol::transport::Stream;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

use super::Upload;
use super::error::{SendError, ShareFailure, UploadError};
use super::feed::{Feed, FileOrigin};
use super::offer::{Offer, offer};
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
    failures: Vec<ShareFailure>,
    sent: Arc<AtomicU64>,
    started: Instant,
}

/// The way to one server.
struct Lane {
    server: NodeId,
    queue: mpsc::Sender<Bytes>,
    task: AbortHandle,
    /// How long the upload waited for this server alone.
    waited: Duration,
}

impl Sending {
    /// Finds a server for every share. Nothing of the file is sent before enough servers agreed.
    pub(crate) async fn place(upload: &Arc<Upload>, origin: Option<FileOrigin>) -> Result<Self, UploadError> {
        let client = &upload.client;
        let mut candidates = client.grid().candidates(upload.id.placement_bucket());
        if candidates.is_empty() {
            return Err(UploadError::NoServers);
        }
        // A stable sort: those that failed lately come last, in their own order.
        candidates.sort_by_key(|candidate| client.writers().is_shunned(&candidate.server));
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

    /// Offers each share to its server, and to the next where one refuses.
    async fn offer_all(&mut self) -> BTreeMap<u16, (NodeId, Stream, u64)> {
        let mut accepted = BTreeMap::new();
        let mut assigned: BTreeMap<u16, BTreeSet<NodeId>> = BTreeMap::new();
        let mut asking: JoinSet<(u16, NodeId, Result<Offer, SendError>)> = JoinSet::new();
        loop {
            let total = self.upload.params.total();
            for (number, server) in assign(total, &assigned, &self.candidates, &self.refused) {
                assigned.insert(number, BTreeSet::from([server]));
                let candidate = self.candidate(&server);
                let upload = self.upload.clone();
                asking.spawn(async move { (number, server, offer(&upload, number, &candidate).await) });
            }
            let Some(answer) = asking.join_next().await else { break };
            let Ok((number, server, answer)) = answer else { continue };
            match answer {
                Ok(Offer::Have) => drop(self.found.insert(number, server)),
                Ok(Offer::Go(stream, offset)) => drop(accepted.insert(number, (server, stream, offset))),
                Err(error) => {
                    assigned.remove(&number);
                    self.failed(number, server, &error);
                }
            }
        }
        accepted
    }

    fn candidate(&self, server: &NodeId) -> Candidate {
        let known = self.candidates.iter().find(|candidate| candidate.server == *server);
        known.expect("shares are assigned to candidates").clone()
    }

    fn failed(&mut self, number: u16, server: NodeId, error: &SendError) {
        self.refused.insert(server);
        let transport = matches!(error, SendError::Request(e) if !matches!(e, RequestError::Refused(_)));
        if transport || matches!(error, SendError::TooSlow) {
            self.upload.client.writers().blame(&server);
        }
        let server = self.upload.client.grid().server(&server);
        tracing::info!(number, server = server.name(), %error, "a share was not taken");
        self.failures.push(ShareFailure { number, server, reason: error.to_string() });
    }

    fn start(&mut self, number: u16, server: NodeId, stream: Stream, offset: u64) {
        let (queue, blocks) = mpsc::channel(QUEUE);
        let share = Share::new(self, number, offset);
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
        let stall = self.upload.client.writers().timeouts().stall;
        let mut slow = Vec::new();
        for (number, lane) in &mut self.live {
            let block = segment.blocks[usize::from(*number)].clone();
            let Err(full) = lane.queue.try_send(block) else { continue };
            let block = full.into_inner();
            let before = Instant::now();
            let handed = timeout(stall, lane.queue.send(block)).await;
            lane.waited += before.elapsed();
            let too_slow = lane.waited > stall && lane.waited > self.started.elapsed() / 2;
            // A task that takes no more has ended, and says why itself.
            let ended = matches!(handed, Ok(Err(_)));
            if !ended && (handed.is_err() || too_slow) {
                slow.push(*number);
            }
        }
        for number in slow {
            if let Some(lane) = self.live.remove(&number) {
                lane.task.abort();
                self.failed(number, lane.server, &SendError::TooSlow);
                self.replace(number);
            }
        }
        self.reap();
        self.still_happy()
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
        let mut held = self.holders();
        // Only this share is to be placed now; others that are being replaced keep their own tasks.
        for other in (0..self.upload.params.total()).filter(|other| *other != number) {
            held.entry(other).or_default();
        }
        let placeholder = NodeId::new([0; 32]);
        for servers in held.values_mut().filter(|servers| servers.is_empty()) {
            servers.insert(placeholder);
        }
        let placed = assign(self.upload.params.total(), &held, &self.candidates, &self.refused);
        let Some(server) = placed.get(&number).copied() else { return };
        let candidate = self.candidate(&server);
        let share = Share::new(self, number, 0);
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

/// One share on its way to one server.
struct Share {
    upload: Arc<Upload>,
    number: u16,
    /// Bytes of it that the server has already.
    offset: u64,
    finished: watch::Receiver<Option<Arc<EncodedObject>>>,
    sent: Arc<AtomicU64>,
}

impl Share {
    fn new(sending: &Sending, number: u16, offset: u64) -> Self {
        let (upload, finished) = (sending.upload.clone(), sending.finished.subscribe());
        Self { upload, number, offset, finished, sent: sending.sent.clone() }
    }

    /// Sends blocks as they come, and the trailer when the object is finished.
    async fn send_queued(
        mut self,
        mut stream: Stream,
        mut blocks: mpsc::Receiver<Bytes>,
    ) -> Result<(), SendError> {
        let mut at = 0;
        loop {
            // A server that gives up while we wait for the encoder is noticed at the next block.
            let Some(block) = blocks.recv().await else { break };
            self.send_from(&mut stream, &mut at, block).await?;
        }
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
        }
        Ok(())
    }

    /// A server that stops reading may have said why.
    async fn reason(&self, stream: &mut Stream, error: SendError) -> SendError {
        let answer = within(Duration::from_secs(1), read_reply::<PutDone>(stream)).await;
        match answer {
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
        let done: PutDone = within(after, read_reply(&mut stream)).await?;
        if done.hash == Bytes32(*object.hash.as_bytes()) { Ok(()) } else { Err(SendError::WrongHash) }
    }
}

/// Bytes handed to the transport at a time: what must be taken within the stall timeout.
const PIECE: usize = 256 * 1024;
