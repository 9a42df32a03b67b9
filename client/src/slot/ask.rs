//! Asking the members: one request to one store each, all at once, and what they answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use caps::VerifyHash;
use encoding::slot::{Ballot, MAX_COUNTER_JUMP, Member, Promise, Record, RecordHash, SignedRecord};
use protocol::NodeId;
use protocol::message::{Bytes32, ErrorCode, LeaseTerms, Request};
use protocol::session::RequestError;
use protocol::slot_message::{
    Held, RecordBytes, SlotAccept, SlotAnswer, SlotPrepare, SlotPromise, SlotRead, SlotState, Verdict,
};
use tokio::task::JoinSet;

use super::error::MemberFailure;
use crate::Client;
use crate::grid::Server;
use crate::servers::{Servers, within};
use crate::tags::loose_tag;

/// What one store showed last.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) incarnation: u64,
    pub(crate) promised: Ballot,
    /// Ballot and hash of its record.
    pub(crate) held: Option<(Ballot, RecordHash)>,
}

impl Shown {
    /// Whether the store, as this member, holds exactly this record.
    pub(crate) fn holds(&self, member: &Member, record: &SignedRecord) -> bool {
        self.incarnation == member.incarnation && self.held.is_some_and(|(_, hash)| hash == record.hash())
    }
}

/// Half of what members follow, so that a ballot above one that is believed is not too far for them.
const BELIEVED_JUMP: u64 = MAX_COUNTER_JUMP / 2;

/// What a store was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A promise.
    Prepare,
    /// To accept.
    Accept,
}

/// Whose lease comes with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leasing {
    /// Nobody's: who only reads keeps nothing for others.
    Never,
    /// Ours, where the slot is new to the store.
    IfNew,
    /// Ours.
    Always,
}

/// What a store was asked to do.
pub(crate) enum Asked {
    /// And whether ballot and hash would do.
    Read(SlotState, bool),
    Moved(Kind, SlotAnswer),
}

/// A record by which an answer may say that the store holds the same: the one that was at hand when it was asked, which is not always the
/// newest one at hand when the answer comes.
type Hinted = Option<(Ballot, RecordHash)>;

/// What came of asking one store.
pub(crate) struct Answered {
    store: NodeId,
    hinted: Hinted,
    asked: Result<Asked, Arc<RequestError>>,
}

/// The members of one slot being asked, and all they said so far.
pub(crate) struct Round {
    client: Client,
    hash: VerifyHash,
    asking: JoinSet<Answered>,
    pub(crate) shown: BTreeMap<NodeId, Shown>,
    pub(crate) failures: BTreeMap<NodeId, MemberFailure>,
    pub(crate) newest: Option<Arc<SignedRecord>>,
    /// Stores that show a newer record than the newest one at hand, of which we have only the ballot.
    pub(crate) to_fetch: Vec<NodeId>,
    outbid: bool,
}

impl Round {
    pub(crate) fn new(client: &Client, hash: VerifyHash, newest: Option<Arc<SignedRecord>>) -> Self {
        Self {
            client: client.clone(),
            hash,
            asking: JoinSet::new(),
            shown: BTreeMap::new(),
            failures: BTreeMap::new(),
            newest,
            to_fetch: Vec::new(),
            outbid: false,
        }
    }

    /// Asks a store what it has; with `brief`, ballot and hash will do.
    pub(crate) fn read(&mut self, store: NodeId, brief: bool) {
        let known = self.newest.as_ref().map(|record| Bytes32(record.hash().0));
        self.reading(store, known, brief);
    }

    /// Asks a store for its record, whole: that it has it is not enough.
    pub(crate) fn read_whole(&mut self, store: NodeId) {
        self.reading(store, None, false);
    }

    fn reading(&mut self, store: NodeId, known: Option<Bytes32>, brief: bool) {
        let ask = SlotRead { hash: self.wire_hash(), store: Some(store), known, brief };
        let (client, server) = (self.client.clone(), self.client.grid().server_of(&store));
        // Who was told of no record cannot have the same.
        let hinted = known.and_then(|_| self.hinted());
        self.asking.spawn(async move {
            let asked = match server {
                Some(server) => client.slots().gathering.read(&client, &server, ask).await,
                None => Err(unannounced()),
            };
            Answered { store, hinted, asked: asked.map(|state| Asked::Read(state, brief)) }
        });
    }

    /// For who waits to hear of every member: whether there is a point in asking this one. One that failed a moment ago did not answer.
    pub(crate) fn is_there(&mut self, store: &NodeId) -> bool {
        let there = !self.is_shunned(store);
        if !there {
            let failure = MemberFailure::new(*store, self.name(store), "it does not answer");
            self.failures.insert(*store, failure);
        }
        there
    }

    /// Asks a server whether any of its stores has the slot.
    pub(crate) fn search(&mut self, server: Server) {
        let ask = SlotRead { hash: self.wire_hash(), store: None, known: None, brief: false };
        let client = self.client.clone();
        self.asking.spawn(async move {
            let mut asked = client.slots().gathering.read(&client, &server, ask).await;
            // It speaks for its own stores, which have signed that it serves them, and for no others.
            let is_its_own = |state: &SlotState| server.stores.iter().any(|store| store.id == state.store);
            if asked.as_ref().is_ok_and(|state| !is_its_own(state)) {
                asked = Err(RequestError::Nonsense { what: "it answers for another server's store" }.into());
            }
            let store = asked.as_ref().map_or(server.id, |state| state.store);
            Answered { store, hinted: None, asked: asked.map(|state| Asked::Read(state, false)) }
        });
    }

    /// Asks a store for a promise. It is shown the base, lest it has none.
    pub(crate) fn prepare(&mut self, store: NodeId, promise: Promise, shown: Option<&SignedRecord>) {
        let ask = SlotPrepare {
            hash: self.wire_hash(),
            store,
            promise: on_wire(&promise),
            record: shown.map(|record| RecordBytes(record.bytes().to_vec())),
            known: self.newest.as_ref().map(|record| Bytes32(record.hash().0)),
        };
        self.moving(store, Request::SlotPrepare(ask), self.hinted(), (Kind::Prepare, false));
    }

    /// Sends a store a record to accept.
    pub(crate) fn accept(&mut self, store: NodeId, record: &SignedRecord, leasing: Leasing) {
        let lease = (leasing == Leasing::Always).then(|| slot_lease(&self.client));
        let ask =
            SlotAccept { hash: self.wire_hash(), store, record: RecordBytes(record.bytes().to_vec()), lease };
        let hinted = Some((record.ballot(), record.hash()));
        self.moving(store, Request::SlotAccept(ask), hinted, (Kind::Accept, leasing == Leasing::IfNew));
    }

    fn moving(&mut self, store: NodeId, request: Request, hinted: Hinted, (kind, leases): (Kind, bool)) {
        let (client, server) = (self.client.clone(), self.client.grid().server_of(&store));
        self.asking.spawn(async move {
            let asked = match server {
                Some(server) => {
                    let lease = leases.then(|| slot_lease(&client));
                    let moved = move_slot(client.writers(), &server, request, lease).await;
                    moved.map(|answer| Asked::Moved(kind, answer)).map_err(Arc::new)
                }
                None => Err(unannounced()),
            };
            Answered { store, hinted, asked }
        });
    }

    fn hinted(&self) -> Hinted {
        self.newest.as_ref().map(|record| (record.ballot(), record.hash()))
    }

    /// The next answer; `None` when all have answered.
    pub(crate) async fn next(&mut self) -> Option<(NodeId, Option<(Kind, Verdict)>)> {
        loop {
            let Ok(Answered { store, hinted, asked }) = self.asking.join_next().await? else { continue };
            match asked {
                Ok(Asked::Read(state, brief)) => {
                    self.take_state(store, state, hinted, brief);
                    return Some((store, None));
                }
                Ok(Asked::Moved(kind, answer)) => {
                    self.take_state(store, answer.state, hinted, false);
                    self.outbid |= answer.verdict == Verdict::Outbid;
                    if answer.verdict == Verdict::Yes {
                        self.failures.remove(&store);
                    } else {
                        let failure = MemberFailure::verdict(store, self.name(&store), answer.verdict);
                        self.failures.insert(store, failure);
                    }
                    return Some((store, Some((kind, answer.verdict))));
                }
                Err(error) => {
                    let failure = MemberFailure::asked(store, self.name(&store), &error);
                    self.failures.insert(store, failure);
                    return Some((store, None));
                }
            }
        }
    }

    /// The next answer; `None` when all have answered, or when another writer is ahead at some member and the others take their time: servers
    /// that died would else hold up two writers who halved the others between them.
    pub(crate) async fn next_in_race(&mut self) -> Option<(NodeId, Option<(Kind, Verdict)>)> {
        if !self.outbid {
            return self.next().await;
        }
        let hedge = self.client.writers().timeouts().hedge;
        tokio::time::timeout(hedge, self.next()).await.ok().flatten()
    }

    /// Whether waiting on is in vain: another writer is ahead at some member, and those that say yes, with those that may still be heard of
    /// soon, make no quorum of `record`.
    pub(crate) fn is_lost(&self, record: &Record, yes: impl Fn(&Member) -> bool) -> bool {
        let heard = |store: &NodeId| self.shown.contains_key(store) || self.failures.contains_key(store);
        self.outbid
            && !record.is_quorum(|member| {
                let store = NodeId::new(member.store);
                yes(member) || !(heard(&store) || self.is_shunned(&store))
            })
    }

    fn is_shunned(&self, store: &NodeId) -> bool {
        let server = self.client.grid().server_of(store);
        server.is_none_or(|server| self.client.failed_lately(&server.id))
    }

    /// Whether all have answered that were asked.
    pub(crate) fn is_over(&self) -> bool {
        self.asking.is_empty()
    }

    /// Lets those that have not answered go on, and waits for them no longer.
    pub(crate) fn leave(&mut self) {
        self.asking.detach_all();
    }

    /// The highest ballot that anyone holds or promised. None of it is signed but the newest record: what is of another epoch than that, or
    /// absurdly far ahead of it, is not believed.
    pub(crate) fn highest(&self) -> Ballot {
        let newest = self.newest.as_ref().map_or(Ballot::default(), |record| record.ballot());
        let within = |ballot: &Ballot| {
            ballot.epoch == newest.epoch && ballot.counter <= newest.counter.saturating_add(BELIEVED_JUMP)
        };
        let each = |shown: &Shown| [shown.promised, shown.held.map_or(Ballot::default(), |held| held.0)];
        self.shown.values().flat_map(each).filter(within).max().unwrap_or_default().max(newest)
    }

    pub(crate) fn failures(&self) -> Vec<MemberFailure> {
        self.failures.values().cloned().collect()
    }

    /// How many of the record's members satisfy `yes`, and how many would have to.
    pub(crate) fn count(&self, record: &Record, yes: impl Fn(&Member) -> bool) -> (usize, usize) {
        (record.config.members.iter().filter(|member| yes(member)).count(), record.config.quorum.into())
    }

    fn take_state(&mut self, store: NodeId, state: SlotState, hinted: Hinted, brief: bool) {
        let held = match state.held {
            Held::Nothing => None,
            Held::Same => hinted,
            Held::Brief(..) if !brief => {
                let said = "it answers in brief what it was asked in full";
                let failure = MemberFailure::answered(store, self.name(&store), said);
                self.failures.insert(store, failure);
                return;
            }
            Held::Brief(ballot, hash) => {
                let ballot = Ballot::parse(&ballot.0);
                if self.newest.as_ref().is_none_or(|newest| newest.ballot() < ballot) {
                    self.to_fetch.push(store);
                }
                Some((ballot, RecordHash(hash.0)))
            }
            // All members answer at once: that they say the same costs nothing more.
            Held::Record(bytes) if self.newest.as_ref().is_some_and(|newest| newest.bytes() == bytes.0) => {
                self.hinted()
            }
            Held::Record(bytes) => match SignedRecord::parse(&self.hash, &bytes.0) {
                Ok(record) => {
                    let held = (record.ballot(), record.hash());
                    self.learn(Arc::new(record));
                    Some(held)
                }
                Err(error) => {
                    let failure = MemberFailure::answered(store, self.name(&store), error);
                    self.failures.insert(store, failure);
                    return;
                }
            },
        };
        let promised = state.promised.map_or(Ballot::default(), |ballot| Ballot::parse(&ballot.0));
        self.shown.insert(store, Shown { incarnation: state.incarnation, promised, held });
    }

    fn learn(&mut self, record: Arc<SignedRecord>) {
        if self.newest.as_ref().is_none_or(|newest| newest.ballot() < record.ballot()) {
            self.newest = Some(record);
        }
    }

    fn name(&self, store: &NodeId) -> String {
        self.client.grid().server_of(store).map_or_else(|| store.short(), |server| server.name())
    }

    fn wire_hash(&self) -> Bytes32 {
        Bytes32(*self.hash.as_bytes())
    }
}

/// The lease that whoever made a slot holds on it.
fn slot_lease(client: &Client) -> LeaseTerms {
    client.lease_terms(client.root_tag().unwrap_or_else(loose_tag))
}

fn unannounced() -> Arc<RequestError> {
    RequestError::Nonsense { what: "no server announces this store" }.into()
}

fn on_wire(promise: &Promise) -> SlotPromise {
    SlotPromise { ballot: Bytes32(promise.ballot.to_bytes()), signature: promise.signature }
}

/// Requests about slots are small, and so are the answers: no reason to wait longer than for a connection.
pub(super) fn patience(servers: &Servers) -> Duration {
    servers.timeouts().connect.min(servers.timeouts().answer)
}

/// A slot that is new to the store comes again with a lease, where one is to be had.
async fn move_slot(
    servers: &Servers,
    server: &Server,
    mut request: Request,
    lease: Option<LeaseTerms>,
) -> Result<SlotAnswer, RequestError> {
    let session = servers.session(server).await?;
    loop {
        let asked = within(patience(servers), session.request::<SlotAnswer>(&request)).await;
        let refused = matches!(&asked, Err(RequestError::Refused(e)) if e.code == ErrorCode::NotAdmitted);
        if let Request::SlotAccept(accept) = &mut request
            && lease.is_some()
            && refused
            && accept.lease.is_none()
        {
            accept.lease = lease;
            continue;
        }
        let (answer, _) = asked.inspect_err(|error| servers.failed(&server.id, error))?;
        return Ok(answer);
    }
}
