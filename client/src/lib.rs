//! The client of a Sarsen grid, as a library: store bytes, get a capability; hold a capability, get the bytes.
//!
//! ```no_run
//! use client::{Client, GetOptions, PutOptions, Source};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::open("sarsen-client".as_ref())?;
//! client.refresh().await; // learn from the introducers which servers exist
//!
//! let report = client.put(Source::bytes("what I love ".repeat(1000)), PutOptions::default()).await?;
//! let cap = report.cap; // the read cap: keep it, it is the only way back
//!
//! let mut bytes = Vec::new();
//! client.get(&cap, &mut bytes, GetOptions::default()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The same example runs against a live grid in the tests (`testkit/tests/grid/library.rs`).
//!
//! How it is built: [`grid`] knows the servers, [`placement`] says in which order an object uses them, [`upload`] and [`download`]
//! move the bytes, [`servers`] keeps the connections. Clock, randomness, transport and the pool for blocking work are arguments
//! ([`Seams`]), so that the same code runs in a simulation.
//!
//! Deliberately absent: a terminal, the environment, the home directory, a global logger; and trust in any server.

mod files;
mod patch;
mod progress;
mod tags;

pub mod agent;
pub mod aliases;
pub mod away;
pub mod backup_db;
pub mod check;
pub mod config;
pub mod copy;
pub mod directory;
pub mod download;
pub mod filestore;
pub mod grid;
pub mod letting_go;
pub mod local;
pub mod membership;
pub mod path;
pub mod placement;
pub mod recovery;
mod room;
pub mod servers;
pub mod slot;
pub mod status;
pub mod upload;
pub mod usage;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use caps::PlacementBucket;
use encoding::Params;
use filestore::{NodeCache, OpenedSlots, Queues};
use placement::Candidate;
use protocol::transport::Connector;
use protocol::{Clock, NodeAddress, NodeId, NodeKey, Pool, Random};
use slot::{SlotMemory, Slots};

pub use aliases::{AliasError, AliasNameError, Aliases};
pub use config::{ClientDir, ConfigError, Settings, Shares};
pub use download::{DownloadError, GetOptions, GetReport, ObjectReader, Sink};
pub use grid::{GridView, IntroducerReport, Server};
pub use patch::{PatchError, Patched};
pub use path::{GridPath, PathError, Root};
pub use progress::Transfer;
pub use servers::{Servers, Timeouts};
pub use status::{GridStatus, ServerStatus};
pub use upload::{PutOptions, PutReport, ShareFailure, Source, UploadError};
use upload::{SmallEncoders, SmallShares, Turns};
pub use usage::ServerUsage;

/// What a client needs of the world.
#[derive(Clone)]
pub struct Seams {
    /// Connections under the account's key, for storing.
    pub account: Arc<dyn Connector>,
    /// Connections under a throwaway key, for reading and for introducers, so that neither key nor port links reads
    /// to the account (the address still may).
    pub anonymous: Arc<dyn Connector>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Where encoding, hashing and files are worked on.
    pub pool: Arc<dyn Pool>,
}

/// A client. Clones share connections and what is known of the grid; each works for the sake of a root, or of none.
#[derive(Clone)]
pub struct Client(Arc<Inner>, letting_go::Sake);

struct Inner {
    seams: Seams,
    settings: Settings,
    params: Params,
    grid: GridView,
    writers: Servers,
    readers: Servers,
    slots: Slots,
    queues: Queues,
    nodes: NodeCache,
    opened_slots: OpenedSlots,
    budget: download::Budget,
    uploads: Turns,
    small_shares: SmallShares,
    small_encoders: SmallEncoders,
    holds: letting_go::Holds,
    superseded: letting_go::Superseded,
    papers: OnceLock<membership::Papers>,
}

impl Client {
    /// The client whose directory is `dir` (made by [`ClientDir::create`]), on real sockets. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn open(dir: &Path) -> Result<Self, ConfigError> {
        let dir = ClientDir::open(dir)?;
        let seams = Seams::real(&dir.account_key()?)?;
        let superseded = letting_go::Superseded::kept_in(dir.path("superseded"));
        let client = Self::made_of(dir.settings()?, dir.grid_view()?, dir.slot_memory(), seams, superseded)?;
        if let Some(papers) = dir.papers()? {
            client.as_member(papers);
        }
        Ok(client)
    }

    /// A client made of its parts.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Shares`] if the encoding parameters are impossible.
    pub fn new(settings: Settings, grid: GridView, seams: Seams) -> Result<Self, ConfigError> {
        Self::remembering(settings, grid, SlotMemory::empty(), seams)
    }

    /// The same, with what members of slots acknowledged in earlier runs.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Shares`] if the encoding parameters are impossible.
    pub fn remembering(
        settings: Settings,
        grid: GridView,
        memory: SlotMemory,
        seams: Seams,
    ) -> Result<Self, ConfigError> {
        Self::made_of(settings, grid, memory, seams, letting_go::Superseded::default())
    }

    fn made_of(
        settings: Settings,
        grid: GridView,
        memory: SlotMemory,
        seams: Seams,
        superseded: letting_go::Superseded,
    ) -> Result<Self, ConfigError> {
        let params = settings.shares.params()?;
        let servers = |connector: &Arc<dyn Connector>| {
            Servers::new(connector.clone(), settings.timeouts, grid.away().clone(), seams.clock.clone())
        };
        let (writers, readers) = (servers(&seams.account), servers(&seams.anonymous));
        let (small_shares, small_encoders) = (SmallShares::default(), SmallEncoders::new(params));
        let slots = Slots::new(memory);
        if let Some(owner) = settings.owner {
            grid.trust(owner);
        }
        let inner = Inner {
            seams,
            settings,
            params,
            grid,
            writers,
            readers,
            slots,
            queues: Queues::default(),
            nodes: NodeCache::default(),
            opened_slots: OpenedSlots::default(),
            budget: download::Budget::default(),
            uploads: Turns::default(),
            small_shares,
            small_encoders,
            holds: letting_go::Holds::default(),
            superseded,
            papers: OnceLock::new(),
        };
        Ok(Self(Arc::new(inner), letting_go::Sake::default()))
    }

    /// Learns from the introducers which servers exist, and keeps it for times without them. Who knows servers from before waits less
    /// long for introducers that do not answer.
    pub async fn refresh(&self) -> Vec<IntroducerReport> {
        let connect = self.0.settings.timeouts.connect;
        let deadline = if self.grid().servers().is_empty() { connect } else { connect / 3 };
        let servers = self.0.grid.refresh(&self.0.seams.anonymous, &self.0.settings.introducers, deadline);
        let (reports, ()) = tokio::join!(servers, self.refresh_papers(deadline));
        self.forget_gone(&reports);
        if let Err(error) = self.0.grid.save() {
            tracing::warn!(error = &error as &dyn std::error::Error, "the list of servers is not kept");
        }
        reports
    }

    /// Forgets servers that are gone: see [`GridView::forget_gone`].
    fn forget_gone(&self, reports: &[IntroducerReport]) {
        let answered = reports.iter().filter_map(|report| report.outcome.as_ref().ok());
        let named: Option<BTreeSet<NodeId>> = answered.fold(None, |all, named| {
            let mut all: BTreeSet<NodeId> = all.unwrap_or_default();
            all.extend(named);
            Some(all)
        });
        self.0.grid.forget_gone(named.as_ref(), self.now(), |server| self.is_revoked(server));
    }

    /// What is known of the grid.
    pub fn grid(&self) -> &GridView {
        &self.0.grid
    }

    /// k, `shares_happy` and N of what this client stores, and the other settings.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The introducers this client asks.
    pub fn introducers(&self) -> &[NodeAddress] {
        &self.0.settings.introducers
    }

    /// Closes all connections, and keeps what members of slots acknowledged.
    pub async fn close(&self) {
        // Whoever is in a hurry may stop waiting here: what matters more is written first.
        self.0.slots.memory.save();
        self.0.writers.note_silent();
        self.0.readers.note_silent();
        if let Err(error) = self.0.grid.away().save(self.now()) {
            tracing::warn!(%error, "which servers do not answer is not kept");
        }
        // Who only read makes itself known to nobody.
        if self.0.writers.is_used() {
            self.let_go_superseded(letting_go::SUPERSEDED_GRACE).await;
        }
        self.0.superseded.save();
        self.0.slots.settle().await;
        self.0.slots.memory.save();
        self.renew_held().await;
        self.0.writers.close().await;
        self.0.readers.close().await;
    }

    /// The servers that may get shares, in the order of an object of this bucket: all but those being drained, or of these the certified and
    /// pinned.
    pub(crate) fn upload_candidates(&self, bucket: PlacementBucket) -> Vec<Candidate> {
        let mut candidates = self.0.grid.takers(bucket);
        candidates.retain(|candidate| self.counts(&self.0.grid.server(&candidate.server)));
        candidates
    }

    /// The same, those that failed lately last.
    pub(crate) fn ranked_candidates(&self, bucket: PlacementBucket) -> Result<Vec<Candidate>, UploadError> {
        let mut candidates = self.upload_candidates(bucket);
        if candidates.is_empty() {
            let known = self.grid().servers().len();
            return Err(if known == 0 { UploadError::NoServers } else { UploadError::NoneCounts { known } });
        }
        // A stable sort: the others keep their own order.
        candidates.sort_by_key(|candidate| self.writers().is_shunned(&candidate.server));
        Ok(candidates)
    }

    /// Whose turn it is to send an object.
    pub(crate) fn uploads(&self) -> &Turns {
        &self.0.uploads
    }

    /// Small shares on their way.
    pub(crate) fn small_shares(&self) -> &SmallShares {
        &self.0.small_shares
    }

    /// Encoders for small objects.
    pub(crate) fn small_encoders(&self) -> &SmallEncoders {
        &self.0.small_encoders
    }

    pub(crate) fn params(&self) -> Params {
        self.0.params
    }

    pub(crate) fn shares_happy(&self) -> usize {
        self.0.settings.shares.happy.into()
    }

    pub(crate) fn convergence_secret(&self) -> &[u8; 32] {
        &self.0.settings.convergence
    }

    pub(crate) fn writers(&self) -> &Servers {
        &self.0.writers
    }

    pub(crate) fn readers(&self) -> &Servers {
        &self.0.readers
    }

    /// Whether the server failed a moment ago, at whatever it was asked.
    pub(crate) fn failed_lately(&self, server: &protocol::NodeId) -> bool {
        self.writers().is_shunned(server) || self.readers().is_shunned(server)
    }

    /// Whether the server did not answer a moment ago, whatever it was asked.
    pub(crate) fn is_away(&self, server: &protocol::NodeId) -> bool {
        self.writers().is_away(server) || self.readers().is_away(server)
    }

    pub(crate) fn queues(&self) -> &Queues {
        &self.0.queues
    }

    pub(crate) fn holds(&self) -> &letting_go::Holds {
        &self.0.holds
    }

    pub(crate) fn superseded(&self) -> &letting_go::Superseded {
        &self.0.superseded
    }

    pub(crate) fn nodes(&self) -> &NodeCache {
        &self.0.nodes
    }

    pub(crate) fn opened_slots(&self) -> &OpenedSlots {
        &self.0.opened_slots
    }

    /// Time since 1970.
    pub(crate) fn now(&self) -> std::time::Duration {
        self.0.seams.clock.unix_time()
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.0.slots
    }

    pub(crate) fn random(&self) -> &Arc<dyn Random> {
        &self.0.seams.random
    }

    pub(crate) fn pool(&self) -> Arc<dyn Pool> {
        self.0.seams.pool.clone()
    }
}

impl Seams {
    /// Real sockets, clocks, threads and randomness.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Socket`] if no UDP socket can be had.
    pub fn real(account: &NodeKey) -> Result<Self, ConfigError> {
        use protocol::quic::QuicConnector;
        let random: Arc<dyn Random> = Arc::new(protocol::OsRandom);
        let throwaway = NodeKey::from_seed(&random.bytes());
        Ok(Self {
            account: Arc::new(QuicConnector::new(socket()?, account)),
            anonymous: Arc::new(QuicConnector::new(socket()?, &throwaway)),
            clock: Arc::new(protocol::SystemClock::default()),
            random,
            pool: Arc::new(protocol::TokioPool),
        })
    }
}

/// A socket for outgoing connections: for both versions of IP where the machine has both.
fn socket() -> Result<quinn::Endpoint, ConfigError> {
    use std::net::{Ipv4Addr, Ipv6Addr};
    let bound = protocol::quic::bind((Ipv6Addr::UNSPECIFIED, 0).into(), None)
        .or_else(|_| protocol::quic::bind((Ipv4Addr::UNSPECIFIED, 0).into(), None));
    let (endpoint, buffers) = bound.map_err(ConfigError::Socket)?;
    tracing::debug!(?buffers, "UDP socket buffers as granted by the kernel");
    Ok(endpoint)
}
