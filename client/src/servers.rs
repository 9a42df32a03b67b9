//! Connections to servers: made on demand, pooled, and with a memory for failures.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::membership::SignedCertificate;
use protocol::session::{RequestError, Session};
use protocol::transport::Connector;
use protocol::{Clock, NodeId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::away::{Away, BRIEF};
use crate::grid::Server;

/// A connection that was not made in so long, when the client goes, counts as failed.
const TOO_LONG: Duration = Duration::from_secs(1);
/// So long at least requests wait for a connection to a server that has not been reached for a while: a round trip or two.
const BRIEFEST: Duration = Duration::from_millis(200);

/// How long to wait, and how much to ask at once. Everything that waits has a bound here.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection and its hello.
    pub connect: Duration,
    /// For the first answer to a request.
    pub answer: Duration,
    /// For the next 32 KiB of a stream, in either direction: slower than that counts as failed. Ten streams may share one narrow line.
    pub stall: Duration,
    /// For a server to make a share durable.
    pub commit: Duration,
    /// Once enough servers took their shares, how long each further answer may still take.
    pub grace: Duration,
    /// After this long without an answer a read asks another server too.
    pub hedge: Duration,
    /// A server that failed is not tried again for this long, unless nobody else is left.
    pub shun: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(4),
            answer: Duration::from_secs(10),
            stall: Duration::from_secs(15),
            commit: Duration::from_secs(60),
            grace: Duration::from_secs(3),
            hedge: Duration::from_millis(300),
            shun: Duration::from_secs(30),
        }
    }
}

/// The pool of connections under one key.
pub struct Servers {
    connector: Arc<dyn Connector>,
    timeouts: Timeouts,
    away: Arc<Away>,
    clock: Arc<dyn Clock>,
    shown: Mutex<Shown>,
    slots: Mutex<BTreeMap<NodeId, Arc<Slot>>>,
}

/// What servers are shown in hellos, and how often that has changed.
#[derive(Clone, Default)]
struct Shown {
    certificate: Option<SignedCertificate>,
    changes: u64,
}

/// A session, and what was shown when it began.
struct Pooled {
    session: Session,
    changes: u64,
}

#[derive(Default)]
struct Slot {
    session: tokio::sync::Mutex<Option<Pooled>>,
    failed: Mutex<Option<Instant>>,
    /// The connection that is being made, if one is.
    connecting: Mutex<Option<Attempt>>,
    missed: Mutex<Missed>,
}

/// A connection that is being made, until `over` has no sender any more.
#[derive(Clone)]
struct Attempt {
    begun: Instant,
    over: watch::Receiver<()>,
}

/// How often in a row no connection came about, in this run.
#[derive(Default)]
struct Missed {
    times: u32,
    last: Option<Instant>,
}

impl Missed {
    /// Requests that waited for a connection together count as one.
    fn note(&mut self) {
        let now = Instant::now();
        if self.last.is_none_or(|last| now - last >= BRIEFEST) {
            *self = Self { times: self.times.saturating_add(1), last: Some(now) };
        }
    }

    /// How long a request waits for the next one, of `full`: who never came is waited for less and less.
    fn patience(&self, full: Duration) -> Duration {
        match self.times {
            0 => full,
            times => full.min(BRIEFEST.max(BRIEF / 2u32.saturating_pow(times - 1))),
        }
    }
}

impl Slot {
    async fn connect(
        &self,
        connector: &dyn Connector,
        server: &Server,
        shown: Shown,
    ) -> Result<Session, RequestError> {
        let mut pooled = self.session.lock().await;
        if let Some(session) = usable(&pooled, shown.changes) {
            return Ok(session);
        }
        *pooled = None;
        let connection = connector.connect(server.id, &server.addresses).await?;
        let session = Session::start_as(connection, shown.certificate).await?;
        *pooled = Some(Pooled { session: session.clone(), changes: shown.changes });
        Ok(session)
    }

    fn blame(&self) {
        *lock(&self.failed) = Some(Instant::now());
    }
}

/// The pooled session, unless it is lost or showed something older.
fn usable(pooled: &Option<Pooled>, changes: u64) -> Option<Session> {
    let pooled = pooled.as_ref().filter(|pooled| pooled.changes >= changes)?;
    (!pooled.session.connection().is_closed()).then(|| pooled.session.clone())
}

impl Servers {
    /// A pool that connects through `connector`, and remembers in `away` whom it could not reach.
    pub fn new(
        connector: Arc<dyn Connector>,
        timeouts: Timeouts,
        away: Arc<Away>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { connector, timeouts, away, clock, shown: Mutex::default(), slots: Mutex::default() }
    }

    /// The bounds on waiting.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// A session with the server: the pooled one, or a new one.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if it cannot be reached in time or does not speak our protocol.
    pub async fn session(&self, server: &Server) -> Result<Session, RequestError> {
        let slot = self.slot(&server.id);
        let changes = lock(&self.shown).changes;
        if let Some(session) = slot.session.try_lock().ok().and_then(|pooled| usable(&pooled, changes)) {
            return Ok(session);
        }
        let (full, now) = (self.timeouts.connect, self.clock.unix_time());
        let mut patience = self.away.patience(&server.id, now, full);
        if !self.away.is_patient() {
            patience = patience.min(lock(&slot.missed).patience(full));
        }
        if patience < full {
            return self.session_within(patience, &slot, server).await;
        }
        let (connecting, _) = self.connect(&slot, server);
        connecting.await.unwrap_or(Err(RequestError::Timeout { after: full }))
    }

    /// The same with a server that did not answer: one connection is tried for all that ask, and goes on when they wait no longer.
    async fn session_within(
        &self,
        patience: Duration,
        slot: &Arc<Slot>,
        server: &Server,
    ) -> Result<Session, RequestError> {
        let late = RequestError::Timeout { after: patience };
        let under_way = lock(&slot.connecting).clone();
        let Some(mut attempt) = under_way else {
            let (connecting, attempt) = self.connect(slot, server);
            let Ok(made) = tokio::time::timeout_at(attempt.begun + patience, connecting).await else {
                slot.blame();
                return Err(late);
            };
            return made.unwrap_or(Err(late));
        };
        // Nobody sends: it ends with its sender.
        let over = tokio::time::timeout_at(attempt.begun + patience, attempt.over.changed()).await.is_ok();
        let changes = lock(&self.shown).changes;
        if let Some(session) = slot.session.try_lock().ok().and_then(|pooled| usable(&pooled, changes))
            && over
        {
            return Ok(session);
        }
        slot.blame();
        Err(late)
    }

    /// Begins to connect, in a task of its own: who asks may find what it wants elsewhere before the time is up, and must not ask a dead
    /// server anew each time.
    fn connect(
        &self,
        slot: &Arc<Slot>,
        server: &Server,
    ) -> (JoinHandle<Result<Session, RequestError>>, Attempt) {
        let shown = lock(&self.shown).clone();
        let (connector, server, after) = (self.connector.clone(), server.clone(), self.timeouts.connect);
        let (away, clock, slot) = (self.away.clone(), self.clock.clone(), slot.clone());
        let (ends, over) = watch::channel(());
        let attempt = lock(&slot.connecting).get_or_insert(Attempt { begun: Instant::now(), over }).clone();
        let connecting = tokio::spawn(async move {
            // Whoever waits for a connection that another makes waits no longer than for one of its own.
            let made = within(after, slot.connect(&*connector, &server, shown)).await;
            *lock(&slot.connecting) = None;
            match &made {
                Err(error) => {
                    slot.blame();
                    if matches!(error, RequestError::Timeout { .. } | RequestError::Transport(_)) {
                        lock(&slot.missed).note();
                        away.failed(server.id, clock.unix_time());
                    }
                }
                Ok(_) => {
                    let missed = std::mem::take(&mut *lock(&slot.missed)).times > 0;
                    // It was held against it that it did not answer, and nothing else.
                    if away.answered(&server.id) || missed {
                        *lock(&slot.failed) = None;
                    }
                }
            }
            drop(ends);
            made
        });
        (connecting, attempt)
    }

    /// What servers are shown from the next connection on. What is under way on older ones goes on; what begins now begins anew.
    pub(crate) fn present(&self, certificate: Option<SignedCertificate>) {
        let mut shown = lock(&self.shown);
        if shown.certificate != certificate {
            *shown = Shown { certificate, changes: shown.changes + 1 };
        }
    }

    /// Remembers that the server just failed.
    pub fn blame(&self, id: &NodeId) {
        self.slot(id).blame();
    }

    /// Remembers how a request to the server failed. Who says no does not fail. Of one that says nothing, the connection may be to a
    /// process that is gone: the next request gets another.
    pub(crate) fn failed(&self, id: &NodeId, error: &RequestError) {
        match error {
            RequestError::Refused(_) => {}
            RequestError::Timeout { .. } => self.silent(id),
            _ => self.blame(id),
        }
    }

    /// Remembers that the server did not answer in time, on whatever connection: the next one is waited for briefly.
    pub(crate) fn silent(&self, id: &NodeId) {
        let slot = self.slot(id);
        slot.blame();
        lock(&slot.missed).note();
        self.let_go(id);
    }

    /// How much longer these servers are waited for once the others suffice: briefly, if none of them answered lately.
    pub(crate) fn grace<'a>(&self, servers: impl IntoIterator<Item = &'a NodeId>) -> Duration {
        let grace = self.timeouts.grace;
        let patience = |id| match self.away.is_patient() {
            true => grace,
            false => lock(&self.slot(id).missed).patience(grace),
        };
        servers.into_iter().map(patience).max().unwrap_or(grace)
    }

    /// Takes the connection to the server out of the pool: what is under way on it goes on, the next session is a new one.
    pub(crate) fn let_go(&self, id: &NodeId) {
        if let Ok(mut pooled) = self.slot(id).session.try_lock() {
            *pooled = None;
        }
    }

    /// Whether the server failed recently, so that others should be asked first.
    pub fn is_shunned(&self, id: &NodeId) -> bool {
        lock(&self.slot(id).failed).is_some_and(|at| at.elapsed() < self.timeouts.shun)
    }

    /// Whether the server failed recently by not answering at all: who only failed at something is asked all the same.
    pub(crate) fn is_away(&self, id: &NodeId) -> bool {
        self.is_shunned(id) && lock(&self.slot(id).missed).times > 0
    }

    /// Whether there is a connection to the server that has not been lost.
    pub(crate) fn is_connected(&self, id: &NodeId) -> bool {
        let changes = lock(&self.shown).changes;
        self.slot(id).session.try_lock().is_ok_and(|pooled| usable(&pooled, changes).is_some())
    }

    /// Whether any server was asked for anything.
    pub(crate) fn is_used(&self) -> bool {
        !lock(&self.slots).is_empty()
    }

    /// What connections are still being made, long after it was begun, counts as failed: who was found elsewhere was not waited for.
    pub(crate) fn note_silent(&self) {
        let slots = lock(&self.slots);
        let silent = slots.iter().filter(|(_, slot)| {
            lock(&slot.connecting).as_ref().is_some_and(|attempt| attempt.begun.elapsed() >= TOO_LONG)
        });
        silent.for_each(|(id, _)| self.away.failed(*id, self.clock.unix_time()));
    }

    /// Closes all connections.
    pub async fn close(&self) {
        let slots: Vec<Arc<Slot>> = lock(&self.slots).values().cloned().collect();
        for slot in slots {
            // What is still being connected has nothing to close.
            if let Some(session) = slot.session.try_lock().ok().and_then(|mut pooled| pooled.take()) {
                session.session.connection().close();
            }
        }
    }

    fn slot(&self, id: &NodeId) -> Arc<Slot> {
        lock(&self.slots).entry(*id).or_default().clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}

/// Waits for `work` at most `after`.
pub(crate) async fn within<T>(
    after: Duration,
    work: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    tokio::time::timeout(after, work).await.unwrap_or(Err(RequestError::Timeout { after }))
}
