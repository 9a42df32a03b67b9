//! The server: takes connections, and answers every request that concerns stores.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::limits::MAX_STREAMS;
use protocol::message::{ErrorCode, MAJOR, Request, Status, StoreState, StoreStatus, WireError};
use protocol::session::{SOFTWARE, our_hello};
use protocol::transport::{Handshake, Incoming, Listener, Stream};
use protocol::{Clock, NodeId, Pool};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answer::{Failure, answer, receive_request};
use crate::connections::{Connections, Listed};
use crate::error::ReadError;
use crate::members::{Members, Shown};
use crate::pack::MAX_PACKED_LEN;
use crate::resources::{Charge, Held, Resources, Stop, kib};
use crate::senders::Senders;
use crate::store::{Store, lock};
use crate::usage::{Ledger, Quotas};

/// Who may store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Every account.
    Open,
    /// These accounts.
    Listed(HashSet<NodeId>),
    /// Whoever shows a certificate of the grid's owner that counts.
    Members(Members),
}

impl Admission {
    fn admit(&self, caller: &Caller, now: Duration) -> Result<(), Failure> {
        match self {
            Self::Open => Ok(()),
            Self::Listed(accounts) if accounts.contains(&caller.account) => Ok(()),
            Self::Listed(_) => {
                Err(Failure::refused(ErrorCode::NotAdmitted, "this account may not store here"))
            }
            Self::Members(members) => {
                members.admit(&caller.account, &caller.shown, now).map_err(Failure::Refused)
            }
        }
    }
}

/// What a server is made of.
pub struct ServerParts {
    /// What its owner calls it.
    pub nickname: String,
    /// Its stores.
    pub stores: Vec<Arc<Store>>,
    /// Stores that should be here and could not be opened.
    pub failed: Vec<NodeId>,
    /// Who may store.
    pub admission: Admission,
    /// And how much.
    pub quotas: Quotas,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where disks are used and hashes computed.
    pub pool: Arc<dyn Pool>,
    /// How long and how much.
    pub limits: ServerLimits,
}

/// How long a server waits, and how much it takes on.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// For a handshake, a hello, the header of a request, room in memory.
    pub header: Duration,
    /// Without a byte of a body coming in or going out.
    pub stalled: Duration,
    /// For one block to come in.
    pub block: Duration,
    /// Connections at once.
    pub connections: usize,
    /// KiB of blocks in memory at once; one key gets a quarter at most.
    pub memory_kib: usize,
    /// Share files open at once; one key gets a quarter at most.
    pub open_files: usize,
    /// A connection on which nothing was asked for so long is closed.
    pub idle: Duration,
    /// Between two looks for what nobody leases any more. Simulations of months look less often than a minute.
    pub tidy: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(20),
            stalled: Duration::from_secs(60),
            block: Duration::from_secs(600),
            connections: 1024,
            memory_kib: 32 * 1024,
            open_files: 1024,
            idle: Duration::from_secs(600),
            tidy: TIDY_EVERY,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Running,
    /// What is under way is finished, what is new is refused.
    Draining,
    Stopped,
}

/// A server.
pub struct Server {
    nickname: String,
    pub(crate) stores: Vec<Arc<Store>>,
    failed: Vec<NodeId>,
    admission: Admission,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pool: Arc<dyn Pool>,
    pub(crate) limits: ServerLimits,
    started: Duration,
    phase: watch::Sender<Phase>,
    under_way: watch::Sender<usize>,
    draining: watch::Sender<bool>,
    memory: Arc<Semaphore>,
    files: Arc<Semaphore>,
    pub(crate) samplers: Semaphore,
    listed: Connections,
    pub(crate) senders: Senders,
    /// When accounts were last noted as alive, by our uptime.
    contacts: Mutex<HashMap<NodeId, Duration>>,
}

/// Who asks, and what it has taken of what we have.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) account: NodeId,
    pub(crate) resources: Arc<Resources>,
    /// The certificate of its hello.
    shown: Shown,
    /// Closed with the connection.
    connected: watch::Receiver<()>,
}

impl Caller {
    /// Returns when the connection is gone.
    pub(crate) async fn gone(&self) {
        let mut connected = self.connected.clone();
        while connected.changed().await.is_ok() {}
    }
}

/// Accounts whose contact is remembered in memory.
const CONTACTS_MAX: usize = 4096;
/// How often a newcomer asks again for a place when nobody was idle.
const MAKE_ROOM_EVERY: Duration = Duration::from_secs(1);
/// How often partial shares are looked through.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);
/// How often it is looked for what is over.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Samples that are made at once.
const SAMPLES_AT_ONCE: usize = 2;
/// A server that just started has other things to do first.
const SCRUB_AFTER: Duration = Duration::from_secs(60);
const CONTACT_EVERY: Duration = Duration::from_secs(3600);
/// Time for a refused caller to read why.
const LINGER: Duration = Duration::from_secs(2);

impl Server {
    /// A server of these parts.
    pub fn new(parts: ServerParts) -> Arc<Self> {
        let ServerParts { nickname, stores, failed, admission, quotas, clock, pool, limits } = parts;
        let ledger = Ledger::new(quotas, &stores);
        stores.iter().for_each(|store| store.join(ledger.clone()));
        Arc::new(Self {
            nickname,
            stores,
            failed,
            admission,
            ledger,
            started: clock.uptime(),
            clock,
            pool,
            memory: Arc::new(Semaphore::new(limits.memory_kib)),
            files: Arc::new(Semaphore::new(limits.open_files)),
            samplers: Semaphore::new(SAMPLES_AT_ONCE),
            listed: Connections::default(),
            senders: Senders::default(),
            limits,
            phase: watch::Sender::new(Phase::Running),
            under_way: watch::Sender::new(0),
            draining: watch::Sender::new(false),
            contacts: Mutex::default(),
        })
    }

    /// Takes connections and answers them, until the server was drained or the listener is closed.
    pub async fn serve(self: Arc<Self>, listener: Arc<dyn Listener>) {
        let mut phase = self.phase.subscribe();
        tokio::spawn(self.clone().sweep());
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => {}
            () = self.take_connections(&*listener) => {}
            () = self.expire() => {}
            () = self.tidy() => {}
            () = self.scrub() => {}
        }
        listener.close();
    }

    async fn take_connections(self: &Arc<Self>, listener: &dyn Listener) {
        let connections = Arc::new(Semaphore::new(self.limits.connections));
        while let Some(handshake) = listener.accept().await {
            let permit = loop {
                if let Ok(permit) = connections.clone().try_acquire_owned() {
                    break permit;
                }
                // All taken: the one idle longest makes way; if none is idle now, one may be soon.
                self.listed.make_room();
                if let Ok(Ok(permit)) = timeout(MAKE_ROOM_EVERY, connections.clone().acquire_owned()).await {
                    break permit;
                }
            };
            let server = self.clone();
            tokio::spawn(async move {
                server.handshake(handshake).await;
                drop(permit);
            });
        }
    }

    async fn handshake(self: &Arc<Self>, handshake: Handshake) {
        let Ok(Some(incoming)) = timeout(self.limits.header, handshake).await else { return };
        let new =
            || Resources::new((&self.memory, self.limits.memory_kib), (&self.files, self.limits.open_files));
        match self.listed.list(incoming.remote(), new) {
            Some(listed) => self.connection(&*incoming, &listed).await,
            None => {
                tracing::debug!(key = %incoming.remote(), "one key has too many connections");
                incoming.close();
            }
        }
    }

    /// Refuses what is new and waits for what is under way, for as long as `patience` lasts; then [`Server::serve`] returns.
    pub async fn drain(&self, patience: Duration) {
        self.phase.send_if_modified(|phase| {
            let running = *phase == Phase::Running;
            if running {
                *phase = Phase::Draining;
            }
            running
        });
        let mut under_way = self.under_way.subscribe();
        let left = timeout(patience, under_way.wait_for(|count| *count == 0)).await;
        if left.is_err() {
            let requests = *self.under_way.borrow();
            tracing::warn!(requests, "patience is over: requests under way are cut off");
        }
        self.phase.send_replace(Phase::Stopped);
    }

    /// How the server is. Asks the disks for their free space.
    pub fn status(&self) -> Status {
        let failed = self.failed.iter().map(|id| StoreStatus {
            id: *id,
            incarnation: 0,
            state: StoreState::Failed,
            available: 0,
            used: 0,
            shares: 0,
            scrub: None,
        });
        Status {
            nickname: self.nickname.clone(),
            software: SOFTWARE.to_owned(),
            uptime_s: self.clock.uptime().saturating_sub(self.started).as_secs(),
            stores: self.stores.iter().map(|store| store.status()).chain(failed).collect(),
        }
    }

    /// The stores that are open.
    pub fn stores(&self) -> &[Arc<Store>] {
        &self.stores
    }

    /// Whether its shares are being handed over to other servers, and when that changes.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.stores.iter().for_each(|store| store.set_draining(draining));
        self.draining.send_if_modified(|was| std::mem::replace(was, draining) != draining);
    }

    pub(crate) fn store(&self, id: &NodeId) -> Result<&Arc<Store>, Failure> {
        if self.failed.contains(id) {
            return Err(Failure::refused(ErrorCode::StoreFailed, "the store could not be opened"));
        }
        let store = self.stores.iter().find(|store| store.id() == *id);
        store.ok_or(Failure::refused(ErrorCode::NotFound, "no such store here"))
    }

    pub(crate) fn admit(&self, caller: &Caller) -> Result<(), Failure> {
        self.admission.admit(caller, self.clock.unix_time())
    }

    /// Waits for room in memory for `len` bytes, and keeps it until the permits are dropped.
    pub(crate) async fn memory(&self, caller: &Caller, len: u64) -> Result<Held, Failure> {
        let held = timeout(self.limits.header, caller.resources.memory.take(kib(len))).await.ok().flatten();
        held.ok_or(Failure::refused(ErrorCode::Busy, "too much is under way"))
    }

    /// Waits for the right to have a share file open. Asked for before memory, never after.
    pub(crate) async fn file(&self, caller: &Caller) -> Result<Held, Failure> {
        let held = timeout(self.limits.header, caller.resources.files.take(1)).await.ok().flatten();
        held.ok_or(Failure::refused(ErrorCode::Busy, "too many files are open"))
    }

    /// Runs work in the pool that learns on its way how much memory it needs. If there is not enough at once, what it had is let go, and
    /// it begins again when there is.
    pub(crate) async fn charged<T: Send + 'static>(
        &self,
        caller: &Caller,
        work: impl Fn(&mut Charge) -> Result<T, Stop> + Clone + Send + 'static,
    ) -> Result<(T, Charge), Failure> {
        // A small share is read as soon as it is opened.
        let mut have = MAX_PACKED_LEN;
        loop {
            let held = self.memory(caller, have).await?;
            let mut charge = Charge::new(caller.resources.clone(), held, have);
            let work = work.clone();
            let (done, charge) = self.pool.run(move || (work(&mut charge), charge)).await;
            match done {
                Ok(done) => return Ok((done, charge)),
                Err(Stop::Needs(len)) => have = len.max(have),
                Err(Stop::Error(error)) => return Err(ReadError::into(error)),
            }
        }
    }

    async fn connection(self: &Arc<Self>, incoming: &dyn Incoming, listed: &Listed<'_>) {
        let (_connected, watched) = watch::channel(());
        let Ok(Some(first)) = timeout(self.limits.header, incoming.accept_stream()).await else {
            incoming.close();
            return;
        };
        let Some(shown) = self.hello(first).await else {
            let _ = timeout(LINGER, incoming.accept_stream()).await;
            incoming.close();
            return;
        };
        let (account, resources) = (incoming.remote(), listed.resources.clone());
        let caller = Caller { account, resources, shown, connected: watched };
        self.note_contact(caller.account);
        let streams = Arc::new(Semaphore::new(MAX_STREAMS as usize));
        while let Ok(permit) = streams.clone().acquire_owned().await {
            let stream = tokio::select! {
                biased;
                stream = incoming.accept_stream() => stream,
                () = listed.entry.must_go(self.limits.idle) => {
                    incoming.close();
                    None
                }
            };
            let Some(stream) = stream else { break };
            let (server, caller, busy) = (self.clone(), caller.clone(), listed.entry.begin());
            tokio::spawn(async move {
                server.request(&caller, stream).await;
                drop((permit, busy));
            });
        }
    }

    /// Greets whoever begins a connection; what it showed, unless it is refused.
    async fn hello(&self, mut stream: Stream) -> Option<Shown> {
        let request = receive_request(&mut stream, self.limits.header).await?;
        let refused = match request {
            Request::Hello(hello) if hello.major == MAJOR => {
                tracing::debug!(software = %hello.software.escape_debug(), "hello");
                let shown = Shown::look(hello.certificate.as_ref());
                let answered = answer(&mut stream, self.limits.stalled, &our_hello()).await;
                return answered.is_ok().then_some(shown);
            }
            Request::Hello(hello) => {
                format!("this server speaks version {MAJOR} of the protocol, not {}", hello.major)
            }
            _ => "the first request of a connection must be a hello".to_owned(),
        };
        let failure = Failure::Refused(WireError::new(ErrorCode::UnsupportedVersion, refused));
        failure.answer(&mut stream, self.limits.stalled).await;
        None
    }

    async fn request(self: &Arc<Self>, caller: &Caller, mut stream: Stream) {
        let Some(request) = receive_request(&mut stream, self.limits.header).await else { return };
        let Some(_under_way) = UnderWay::begin(self) else {
            let failure = Failure::refused(ErrorCode::ShuttingDown, "the server is going down");
            return failure.answer(&mut stream, self.limits.stalled).await;
        };
        if let Err(failure) = self.dispatch(caller, request, &mut stream).await {
            failure.answer(&mut stream, self.limits.stalled).await;
        }
    }

    async fn dispatch(
        self: &Arc<Self>,
        caller: &Caller,
        request: Request,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        let stalled = self.limits.stalled;
        match request {
            Request::Hello(_) => answer(stream, stalled, &our_hello()).await,
            Request::Status => {
                let server = self.clone();
                let status = self.pool.run(move || server.status()).await;
                answer(stream, stalled, &status).await
            }
            Request::HasLengths(ask) => self.has_lengths(ask, stream).await,
            Request::Put(put) => self.put(caller, &put, stream).await,
            Request::PutSmall(put) => self.put_small(caller, put, stream).await,
            Request::Lookup(lookup) => self.lookup(caller, lookup, stream).await,
            Request::ReadBlocks(read) => self.read_blocks(caller, read, stream).await,
            Request::ReadTable(read) => self.read_table(caller, read, stream).await,
            Request::ReadSlice(read) => self.read_slice(caller, read, stream).await,
            Request::Census(census) => self.census(caller, census, stream).await,
            Request::Sample(sample) => self.sample(caller, sample, stream).await,
            Request::Usage => self.usage(caller, stream).await,
            Request::Leases(leases) => self.leases(caller, leases, stream).await,
            Request::Lease(lease) => self.lease(caller, lease, stream).await,
            Request::CancelLease(cancel) => self.cancel_lease(caller, cancel, stream).await,
            Request::SlotRead(read) => self.slot_read(caller, read, stream).await,
            Request::SlotReads(reads) => self.slot_reads(caller, reads, stream).await,
            Request::SlotPrepare(prepare) => self.slot_prepare(caller, prepare, stream).await,
            Request::SlotAccept(accept) => self.slot_accept(caller, accept, stream).await,
            Request::Announce(_)
            | Request::Subscribe(_)
            | Request::Publish(_)
            | Request::Membership(_)
            | Request::OpenMailbox(_)
            | Request::UseMailbox(_) => {
                Err(Failure::refused(ErrorCode::Unsupported, "this is a storage server, not an introducer"))
            }
        }
    }

    /// Any contact keeps an account alive. Written down now and then; accounts that never stored anything are not.
    fn note_contact(self: &Arc<Self>, account: NodeId) {
        let now = self.clock.uptime();
        {
            let mut contacts = lock(&self.contacts);
            if contacts.get(&account).is_some_and(|last| now.saturating_sub(*last) < CONTACT_EVERY) {
                return;
            }
            if contacts.len() >= CONTACTS_MAX {
                contacts.clear();
            }
            contacts.insert(account, now);
        }
        let server = self.clone();
        tokio::spawn(async move {
            for store in &server.stores {
                // A store that fails here says so in its own log and state.
                let _ = store.contact(&server.pool, account).await;
            }
        });
    }

    /// Removes parts of shares that nobody came back for, now and then. Never returns.
    async fn expire(&self) {
        loop {
            tokio::time::sleep(EXPIRE_EVERY).await;
            for store in self.stores.clone() {
                self.pool.run(move || store.expire_partials()).await;
            }
        }
    }

    /// Removes what nobody leases any more, at once and from then on now and then. Never returns.
    async fn tidy(&self) {
        loop {
            for store in &self.stores {
                while store.tidy(&self.pool).await {}
            }
            tokio::time::sleep(self.limits.tidy).await;
        }
    }

    /// Hashes every share again, now and then, all stores at once. Never returns.
    async fn scrub(&self) {
        let mut scrubbing = JoinSet::new();
        for store in self.stores.clone() {
            let pool = self.pool.clone();
            scrubbing.spawn(async move {
                let mut wait = SCRUB_AFTER;
                loop {
                    tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
                    wait = store.scrub(&pool).await;
                }
            });
        }
        while scrubbing.join_next().await.is_some() {}
        std::future::pending().await
    }

    /// Removes what a crash may have left beside the shares.
    async fn sweep(self: Arc<Self>) {
        for store in self.stores.clone() {
            for step in 0.. {
                let store = store.clone();
                if !self.pool.run(move || store.sweep(step)).await {
                    break;
                }
            }
        }
    }
}

/// Counts a request while it is under way.
struct UnderWay(Arc<Server>);

impl UnderWay {
    fn begin(server: &Arc<Server>) -> Option<Self> {
        // Counted before the phase is looked at, so that whoever drains either sees it or refuses it.
        server.under_way.send_modify(|count| *count += 1);
        let under_way = Self(server.clone());
        (*server.phase.borrow() == Phase::Running).then_some(under_way)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}
