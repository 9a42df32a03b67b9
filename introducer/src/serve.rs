//! What an introducer answers.

mod connection;
mod follow;
mod mailbox;
mod members;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use protocol::announcement::{Announcement, AnnouncementError, Signed};
use protocol::transport::Listener;
use protocol::{Clock, NodeId, Pool, SystemClock, TokioPool};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::grids::Grids;
use crate::keep::{self, Keep, LoadError, MemoryKeep};
use crate::registry::{AnnounceError, Limits, Registry};

/// What an introducer is made of.
#[derive(Clone)]
#[non_exhaustive]
pub struct Parts {
    /// Says when announcements expire.
    pub clock: Arc<dyn Clock>,
    /// For checking signatures and writing.
    pub pool: Arc<dyn Pool>,
    /// Where announcements outlive a restart.
    pub keep: Arc<dyn Keep>,
    /// Where memberships do.
    pub members: Arc<dyn Keep>,
    /// How much it takes on.
    pub limits: Limits,
}

impl Parts {
    /// The machine's clock and threads, the default limits, and memberships in memory only.
    pub fn new(keep: Arc<dyn Keep>) -> Self {
        let clock = Arc::new(SystemClock::default());
        let members = Arc::new(MemoryKeep::default());
        Self { clock, pool: Arc::new(TokioPool), keep, members, limits: Limits::default() }
    }
}

/// An introducer. See the crate's documentation.
pub struct Introducer {
    parts: Parts,
    registry: Mutex<Registry>,
    /// The generation of the registry that is durable.
    saved: Arc<tokio::sync::Mutex<u64>>,
    /// Each new announcement, for whoever follows; who falls behind by more than this holds gets the whole list again.
    news: broadcast::Sender<Arc<Signed>>,
    grids: Mutex<Grids>,
    /// Held while memberships are written.
    members_saved: Arc<tokio::sync::Mutex<()>>,
    /// Each grid about whose members there is news.
    member_news: broadcast::Sender<NodeId>,
    mailboxes: Mutex<mailbox::Mailboxes>,
    closing: watch::Sender<bool>,
    connections: Arc<Semaphore>,
}

impl std::fmt::Debug for Introducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Introducer").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl Introducer {
    /// An introducer that remembers what was kept.
    ///
    /// # Errors
    ///
    /// [`LoadError`].
    pub fn new(parts: Parts) -> Result<Arc<Self>, LoadError> {
        let mut registry = Registry::default();
        let now = parts.clock.unix_time();
        let kept = parts.keep.load()?.map(|bytes| keep::decode(&bytes)).transpose()?;
        for signed in kept.into_iter().flatten() {
            let inserted = match signed.open() {
                Ok(announcement) => registry.insert(&announcement, signed, now, &parts.limits),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = inserted {
                warn!(%error, "a kept announcement is dropped");
            }
        }
        let grids = parts.members.load()?.map(|bytes| Grids::decode(&bytes)).transpose()?.unwrap_or_default();
        let saved = Arc::new(tokio::sync::Mutex::new(registry.generation()));
        Ok(Arc::new(Self {
            registry: Mutex::new(registry),
            saved,
            news: broadcast::Sender::new(NEWS),
            grids: Mutex::new(grids),
            members_saved: Arc::default(),
            member_news: broadcast::Sender::new(NEWS),
            mailboxes: Mutex::default(),
            closing: watch::Sender::new(false),
            connections: Arc::new(Semaphore::new(parts.limits.connections)),
            parts,
        }))
    }

    /// Answers on `listener` until [`Introducer::close`], or until the listener is closed.
    pub async fn serve(self: Arc<Self>, listener: Arc<dyn Listener>) {
        let mut tasks = JoinSet::new();
        let mut sweep = tokio::time::interval(SWEEP);
        let mut closing = self.closing.subscribe();
        loop {
            let handshake = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => break,
                Some(_) = tasks.join_next() => continue,
                _ = sweep.tick() => {
                    tasks.spawn(self.clone().sweep());
                    continue;
                }
                handshake = listener.accept() => handshake,
            };
            let Some(handshake) = handshake else { break };
            match self.connections.clone().try_acquire_owned() {
                Ok(permit) => {
                    tasks.spawn(connection::serve(self.clone(), handshake, permit));
                }
                Err(_) => {
                    warn!(limit = self.parts.limits.connections, "too many connections, one is turned away")
                }
            }
        }
        // Requests under way are answered; each connection sees to that and gives up in time.
        while tasks.join_next().await.is_some() {}
        listener.close();
    }

    /// Ends every [`Introducer::serve`], after the requests under way.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// The announcements that have not expired, in the order of the servers' keys.
    pub fn announcements(&self) -> Vec<Arc<Signed>> {
        self.registry().live(self.parts.clock.unix_time())
    }

    /// Takes an announcement that `remote` brought: checks it, passes it on, makes it durable.
    async fn announce(&self, remote: NodeId, signed: Signed) -> Result<(), AnnounceError> {
        let now = self.parts.clock.unix_time();
        let check = move || signed.open_fresh(now).map(|announcement| (announcement, signed));
        let (announcement, signed) = self.parts.pool.run(check).await?;
        self.check(&announcement, remote, now)?;
        let news = self.registry().insert(&announcement, signed, now, &self.parts.limits)?;
        if let Some(signed) = news {
            debug!(server = %announcement.server.short(), sequence = announcement.sequence, "announced");
            // Nobody follows if this fails.
            let _ = self.news.send(signed);
        }
        self.save().await.map_err(AnnounceError::Keep)
    }

    fn check(&self, announcement: &Announcement, remote: NodeId, now: Duration) -> Result<(), AnnounceError> {
        let server = announcement.server;
        if server != remote {
            return Err(AnnounceError::Foreign { announced: server, connected: remote });
        }
        let max = self.parts.limits.lifetime;
        if announcement.expires_s > (now + max).as_secs() {
            return Err(AnnounceError::TooLasting { max });
        }
        if announcement.expires_s < announcement.issued_s {
            return Err(AnnouncementError::Expired { server }.into());
        }
        Ok(())
    }

    /// Makes what is known durable. Many who wait share one write.
    async fn save(&self) -> std::io::Result<()> {
        let wanted = self.registry().generation();
        let mut saved = self.saved.clone().lock_owned().await;
        if *saved >= wanted {
            return Ok(());
        }
        let (generation, list) = self.registry().all();
        let keep = self.parts.keep.clone();
        // The lock goes with the work: should the waiter be dropped, the next writer still waits for this one.
        let write = move || keep.replace(&keep::encode(&list)).map(|()| *saved = generation);
        self.parts.pool.run(write).await
    }

    async fn sweep(self: Arc<Self>) {
        let now = self.parts.clock.unix_time();
        if !self.registry().forget_expired(now, GRACE, None) {
            return;
        }
        debug!("expired announcements are forgotten");
        if let Err(error) = self.save().await {
            warn!(%error, "the announcements could not be kept");
        }
    }

    fn grids(&self) -> MutexGuard<'_, Grids> {
        self.grids.lock().expect("no holder panics")
    }

    fn mailboxes(&self) -> MutexGuard<'_, mailbox::Mailboxes> {
        self.mailboxes.lock().expect("no holder panics")
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().expect("no holder panics")
    }
}

/// Announcements that a follower may fall behind by.
const NEWS: usize = 256;
/// How often expired announcements are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// Expired announcements are hidden at once, but forgotten only after this: a clock that jumps ahead for a day costs nothing.
const GRACE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
