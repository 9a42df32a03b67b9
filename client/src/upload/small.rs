//! Objects of one segment whose shares are small: encoded at once, sent whole, several files to a request.
//!
//! Asking whether a share is there costs as much as sending it, so nothing is asked: servers say afterwards what they had.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use caps::{Cap, ImmutableRead};
use encoding::{
    ContentKey, Descriptor, EncodeError, EncodedObject, EncodedSegment, ErasureDecoder, Geometry, Kind,
    ObjectBuilder, ObjectId, Params, SegmentEncoder,
};
use protocol::NodeId;
use protocol::limits::MAX_SMALL_SHARE_LEN;
use protocol::message::{Bytes32, LeaseTerms};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::batcher::{Arrival, Arrived, Parcel, dispatch};
use super::error::{SendError, ShareFailure, UploadError};
use super::offer::is_about_this_store;
use super::send::{STRAGGLER_ROUNDS, blamed_failure, silent_error};
use super::source::{ReadAt, changed_or_unreadable};
use super::{Form, PutOptions, PutReport, survives};
use crate::Client;
use crate::grid::Server;
use crate::placement::{Candidate, assign, happiness};
use crate::progress::Transfer;

/// A finished object of one segment, each of whose shares fits into [`MAX_SMALL_SHARE_LEN`].
pub(crate) struct SmallObject {
    pub(crate) object: EncodedObject,
    segment: EncodedSegment,
}

/// Where the shares of an object are, durably and leased: on `shares_happy` servers at least.
pub(crate) struct Placed {
    /// Bytes of shares that were new to their servers.
    pub(crate) sent: u64,
    /// Where each share is.
    pub(crate) shares: BTreeMap<u16, Server>,
    /// Shares that were there already, of these.
    pub(crate) found: BTreeSet<u16>,
    /// How many servers hold a share of their own.
    pub(crate) happiness: usize,
    /// What went wrong on the way and was made up for.
    pub(crate) failures: Vec<ShareFailure>,
}

/// Whether an object of so many bytes is a [`SmallObject`].
pub(crate) fn is_small(params: Params, size: u64) -> bool {
    let Ok(geometry) = Geometry::for_plaintext(params, size) else { return false };
    // The last share is the longest: a parity share has a column more.
    let longest = geometry.share_len(params.total() - 1, Descriptor::plain_len(params.total()));
    geometry.segments() == 1 && longest <= MAX_SMALL_SHARE_LEN.into()
}

/// No object of more bytes is a [`SmallObject`].
pub(crate) fn small_at_most(params: Params) -> usize {
    usize::from(params.needed()) * MAX_SMALL_SHARE_LEN as usize
}

/// Encoders of small objects at rest: each keeps its working memory for the next one.
pub(crate) struct SmallEncoders {
    params: Params,
    idle: Mutex<Vec<(SegmentEncoder, ErasureDecoder)>>,
}

/// More are not kept: so many run at once only now and then.
const IDLE_ENCODERS: usize = 8;

impl SmallEncoders {
    pub(crate) fn new(params: Params) -> Self {
        Self { params, idle: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(SegmentEncoder, ErasureDecoder)>> {
        self.idle.lock().expect("no code panics while it holds this lock")
    }

    /// Encrypts and encodes an object, and decodes it again from its last k blocks. Takes some 100 microseconds: work for the pool.
    ///
    /// # Errors
    ///
    /// [`UploadError::SelfCheck`]; [`UploadError::Encode`] if it is not small.
    pub(crate) fn encode(
        &self,
        form: &Form,
        plaintext: &[u8],
        plaintext_hash: &[u8; 32],
    ) -> Result<SmallObject, UploadError> {
        let (params, size) = (self.params, plaintext.len() as u64);
        if !is_small(params, size) {
            return Err(EncodeError::SegmentLength { index: 0, len: plaintext.len() }.into());
        }
        let taken = self.lock().pop();
        let (mut encoder, mut decoder) = taken.unwrap_or_else(|| {
            (SegmentEncoder::new(params), ErasureDecoder::new(params.needed(), params.total()))
        });
        let (id, kind) = (&form.id, form.kind());
        let segment = encoder.encode(&ContentKey::of(id, kind), 0, plaintext, true)?;
        if !survives(&mut decoder, params, &segment) {
            return Err(UploadError::SelfCheck);
        }
        let mut idle = self.lock();
        if idle.len() < IDLE_ENCODERS {
            idle.push((encoder, decoder));
        }
        drop(idle);
        let mut builder = ObjectBuilder::new(params, kind, id);
        builder.add(&segment)?;
        let stated = form.tree_size.unwrap_or(size);
        Ok(SmallObject { object: builder.finish_tree(size, stated, plaintext_hash)?, segment })
    }
}

impl SmallObject {
    fn bytes(&self, number: u16) -> [Bytes; 2] {
        [self.segment.blocks[usize::from(number)].clone(), self.object.trailer(number)]
    }

    fn total(&self) -> u16 {
        self.object.descriptor.geometry.params().total()
    }
}

impl Client {
    /// Stores a file that [`is_small`]: it is read once, so that what is sent is what was hashed.
    pub(super) async fn put_small_file(
        &self,
        file: Arc<dyn ReadAt>,
        size: u64,
        options: &PutOptions,
    ) -> Result<PutReport, UploadError> {
        let (client, lease_tag) = (self.clone(), options.lease_tag);
        let in_memory = file.in_memory().is_some();
        let job = move || {
            let mut plaintext = vec![0; size as usize];
            file.read_exact_at(0, &mut plaintext).map_err(changed_or_unreadable)?;
            let hash = *blake3::hash(&plaintext).as_bytes();
            let (secret, params) = (client.convergence_secret(), client.params());
            let id = ObjectId::convergent(secret, params, Kind::Direct, size, &hash);
            let form = Form::direct(id, lease_tag);
            let encoded = client.small_encoders().encode(&form, &plaintext, &hash)?;
            Ok::<_, UploadError>((form, encoded))
        };
        let pool = self.pool();
        let encoded = if in_memory { pool.run_on(size as usize, job).await } else { pool.run(job).await };
        let (form, encoded) = encoded?;
        self.put_small_object(&form, &encoded, size, &options.transfer).await
    }

    /// Stores the bytes of a stream that [`is_small`], under a random key.
    pub(super) async fn put_small_stream(
        &self,
        plaintext: Bytes,
        options: &PutOptions,
    ) -> Result<PutReport, UploadError> {
        let hash = *blake3::hash(&plaintext).as_bytes();
        let form = Form::direct(ObjectId::random(self.random().bytes()), options.lease_tag);
        self.put_small_bytes(plaintext, hash, form, &options.transfer).await
    }

    /// Stores bytes that are [`is_small`] as an object of this form.
    pub(super) async fn put_small_bytes(
        &self,
        plaintext: Bytes,
        hash: [u8; 32],
        form: Form,
        transfer: &Transfer,
    ) -> Result<PutReport, UploadError> {
        let (client, size) = (self.clone(), plaintext.len() as u64);
        let job = move || {
            let encoded = client.small_encoders().encode(&form, &plaintext, &hash)?;
            Ok::<_, UploadError>((form, encoded))
        };
        let (form, encoded) = self.pool().run_on(size as usize, job).await?;
        self.put_small_object(&form, &encoded, size, transfer).await
    }

    async fn put_small_object(
        &self,
        form: &Form,
        encoded: &SmallObject,
        len: u64,
        transfer: &Transfer,
    ) -> Result<PutReport, UploadError> {
        let tag = self.lease_tag(form.lease_tag);
        let lease = self.lease_terms(tag);
        let Placed { sent, shares, found, happiness, failures } =
            self.put_small(encoded, lease, transfer).await?;
        if !found.is_empty() {
            self.hold(tag, encoded.object.hash).await;
        }
        transfer.advance(len);
        let size = form.tree_size.unwrap_or(len);
        let cap = Cap::ImmutableRead(ImmutableRead {
            key: form.id.key.clone(),
            hash: encoded.object.hash,
            needed: self.params().needed(),
            total: self.params().total(),
            size,
            directory: form.directory,
        });
        let tree_salt = form.tree_size.map(|_| form.id.salt);
        Ok(PutReport { cap, size, tree_salt, sent, shares, found, happiness, failures })
    }

    /// Makes the shares of an object durable, under this lease, on at least `shares_happy` servers.
    ///
    /// # Errors
    ///
    /// [`UploadError::NoServers`], [`UploadError::NotHappy`]; what was stored by then stays where it is.
    pub(crate) async fn put_small(
        &self,
        object: &SmallObject,
        lease: LeaseTerms,
        transfer: &Transfer,
    ) -> Result<Placed, UploadError> {
        let shares = 0..object.total();
        transfer.throttle(shares.map(|number| object.object.share_len(number)).sum()).await;
        let candidates = self.ranked_candidates(object.object.descriptor.bucket)?;
        let mut placing = Placing::new(self, object, lease, candidates, transfer);
        placing.run().await;
        placing.into_placed()
    }
}

/// The shares of one object on their way.
struct Placing<'a> {
    client: &'a Client,
    object: &'a SmallObject,
    lease: LeaseTerms,
    candidates: Vec<Candidate>,
    /// Who was sent which share and did not answer yet.
    pending: BTreeMap<u16, BTreeSet<NodeId>>,
    durable: BTreeMap<u16, BTreeSet<NodeId>>,
    found: BTreeSet<u16>,
    refused: BTreeSet<NodeId>,
    /// Who failed at which share and was given another try.
    forgiven: BTreeSet<(u16, NodeId)>,
    failures: Vec<ShareFailure>,
    sent: u64,
    transfer: &'a Transfer,
    answer: mpsc::UnboundedSender<Arrival>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
}

impl<'a> Placing<'a> {
    fn new(
        client: &'a Client,
        object: &'a SmallObject,
        lease: LeaseTerms,
        candidates: Vec<Candidate>,
        transfer: &'a Transfer,
    ) -> Self {
        let (answer, arrivals) = mpsc::unbounded_channel();
        Self {
            client,
            object,
            lease,
            candidates,
            pending: BTreeMap::new(),
            durable: BTreeMap::new(),
            found: BTreeSet::new(),
            refused: BTreeSet::new(),
            forgiven: BTreeSet::new(),
            failures: Vec::new(),
            sent: 0,
            transfer,
            answer,
            arrivals,
        }
    }

    /// Sends every share, and sends it elsewhere where that fails. Once enough servers have theirs, or too few are left that could,
    /// those that have not answered are given only as long again as it took so far; while neither is so, free servers help out.
    async fn run(&mut self) {
        let (timeouts, wanted) = (*self.client.writers().timeouts(), self.client.shares_happy());
        let started = Instant::now();
        let end = started + timeouts.connect + timeouts.stall + timeouts.commit;
        let mut rounds = STRAGGLER_ROUNDS;
        let mut decided: Option<Duration> = None;
        self.place();
        while !self.pending.is_empty() {
            let hopeless = happiness(&self.holders()) < wanted;
            if decided.is_none() && (hopeless || happiness(&self.durable) >= wanted) {
                decided = Some(started.elapsed());
            }
            let patience = decided.map_or(timeouts.answer, |after| {
                let grace = self.client.writers().grace(self.pending.values().flatten());
                grace.max(after)
            });
            let until = end.min(Instant::now() + patience);
            match timeout_at(until, self.arrivals.recv()).await {
                Ok(Some(arrival)) => self.settle(arrival),
                // Not while we hold a sender ourselves.
                Ok(None) => break,
                Err(_) if decided.is_none() && until < end => self.help_out(),
                Err(_) => {
                    self.give_up_the_silent();
                    rounds -= 1;
                    if rounds == 0 || hopeless || until == end {
                        break;
                    }
                }
            }
            self.place();
        }
    }

    /// Sends each share that nobody has or gets to the server that should have it.
    fn place(&mut self) {
        let held = |number: &u16| self.pending.contains_key(number) || self.durable.contains_key(number);
        if (0..self.object.total()).all(|number| held(&number)) {
            return;
        }
        for (number, server) in
            assign(0..self.object.total(), &self.holders(), &self.candidates, &self.refused)
        {
            self.send(number, server, 0);
        }
    }

    /// Who has or gets which share, as far as is known now.
    fn holders(&self) -> BTreeMap<u16, BTreeSet<NodeId>> {
        let mut held = self.durable.clone();
        for (number, servers) in &self.pending {
            held.entry(*number).or_default().extend(servers);
        }
        held
    }

    /// Sends a share to the server's store with this place in the object's order, if it has so many.
    fn send(&mut self, number: u16, server: NodeId, store: usize) -> bool {
        let candidate = self.candidates.iter().find(|candidate| candidate.server == server);
        let Some(store) = candidate.and_then(|candidate| candidate.stores.get(store)).copied() else {
            return false;
        };
        let (bytes, lease, answer) = (self.object.bytes(number), self.lease, self.answer.clone());
        self.pending.entry(number).or_default().insert(server);
        dispatch(self.client, (server, store), Parcel { number, bytes, lease, answer });
        true
    }

    /// Takes in what became of a share.
    fn settle(&mut self, Arrival { number, at: (server, store), outcome }: Arrival) {
        if !self.no_longer_pending(number, server) {
            // It was given up before it could answer.
            return;
        }
        let hash = Bytes32(*self.object.object.hash.as_bytes());
        let error = match outcome {
            Ok(arrived) if arrived.hash == hash => return self.arrived(number, server, &arrived),
            Ok(_) => SendError::WrongHash,
            Err(error) => error,
        };
        if is_about_this_store(&error) {
            let candidate = self.candidates.iter().find(|candidate| candidate.server == server);
            let place = candidate.and_then(|c| c.stores.iter().position(|known| *known == store));
            if place.is_some_and(|place| self.send(number, server, place + 1)) {
                return;
            }
        }
        self.failed(number, server, &error);
    }

    fn arrived(&mut self, number: u16, server: NodeId, arrived: &Arrived) {
        self.durable.entry(number).or_default().insert(server);
        if arrived.had {
            self.found.insert(number);
        } else {
            let len = self.object.object.share_len(number);
            self.sent += len;
            self.transfer.moved(server, len);
        }
    }

    fn no_longer_pending(&mut self, number: u16, server: NodeId) -> bool {
        let Some(servers) = self.pending.get_mut(&number) else { return false };
        let was = servers.remove(&server);
        if servers.is_empty() {
            self.pending.remove(&number);
        }
        was
    }

    fn failed(&mut self, number: u16, server: NodeId, error: &SendError) {
        if !(error.is_worth_another_try() && self.forgiven.insert((number, server))) {
            self.refused.insert(server);
        }
        self.failures.push(blamed_failure(self.client, number, server, error));
    }

    fn give_up_the_silent(&mut self) {
        for (number, servers) in std::mem::take(&mut self.pending) {
            for server in servers {
                let error = silent_error(self.client, &server);
                self.failed(number, server, &error);
            }
        }
    }

    /// Sends the shares that are waited for to servers that have nothing to do, beside those that may yet answer.
    fn help_out(&mut self) {
        let busy: BTreeSet<NodeId> = self.holders().into_values().flatten().collect();
        let free = |c: &&Candidate| !self.refused.contains(&c.server) && !busy.contains(&c.server);
        let free: Vec<NodeId> = self.candidates.iter().filter(free).map(|c| c.server).collect();
        let waited: Vec<u16> = self.pending.keys().copied().collect();
        for (number, server) in waited.into_iter().zip(free) {
            self.send(number, server, 0);
        }
    }

    fn into_placed(self) -> Result<Placed, UploadError> {
        let (happiness, wanted) = (happiness(&self.durable), self.client.shares_happy());
        if happiness < wanted {
            return Err(UploadError::NotHappy { happiness, wanted, failures: self.failures });
        }
        let grid = self.client.grid();
        let shares = self.durable.iter();
        let shares = shares.filter_map(|(number, servers)| Some((*number, grid.server(servers.first()?))));
        let shares = shares.collect();
        Ok(Placed { sent: self.sent, shares, found: self.found, happiness, failures: self.failures })
    }
}
