//! A grid in one process: one introducer, storage servers, clients; on the simulated network and disks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, GridView, Seams, Settings, Shares, Timeouts};
use introducer::{Introducer, MemoryKeep, Parts};
use protocol::announcement::{Announcement, Signed};
use protocol::announcer::{GOOD_FOR, announce};
use protocol::membership::SignedCertificate;
use protocol::session::SOFTWARE;
use protocol::{Clock, InlinePool, NodeAddress, NodeId, NodeKey, Random};
use storage_server::{
    Admission, Handover, HandoverParts, Quotas, Server, ServerLimits, ServerParts, Store, StoreError,
    StoreOptions,
};
use tokio::task::JoinHandle;

use crate::clock::SimClock;
use crate::disk::{SimDisk, Survival};
use crate::net::SimNet;
use crate::random::SimRandom;

/// Bytes of each simulated disk.
pub const DISK: u64 = 1 << 30;
/// When simulations begin: 2026-01-01 UTC.
const BEGIN: Duration = Duration::from_secs(1_767_225_600);

/// The grid.
pub struct SimGrid {
    /// Its network.
    pub net: SimNet,
    /// Everybody's clock; those of servers follow it.
    pub clock: Arc<SimClock>,
    /// Everybody's randomness.
    pub random: Arc<SimRandom>,
    /// Its servers.
    pub servers: Vec<SimServer>,
    /// What new servers do at once, and how often they tidy up.
    pub limits: ServerLimits,
    /// Its introducer.
    pub introducer: NodeAddress,
    introducing: Arc<Introducer>,
    clients: u64,
}

/// A storage server with one store.
pub struct SimServer {
    /// Its key.
    pub key: NodeKey,
    /// Its disk.
    pub disk: SimDisk,
    /// Where its own directory is, with its orders.
    pub dir: SimDisk,
    /// Where it listens.
    pub address: String,
    /// Its zone.
    pub zone: Option<String>,
    /// How its store is opened.
    pub options: StoreOptions,
    /// Who may store.
    pub admission: Admission,
    /// And how much.
    pub quotas: Quotas,
    /// How much it does at once, and how often it tidies up.
    pub limits: ServerLimits,
    /// What it announces of its membership.
    pub certificate: Option<SignedCertificate>,
    /// The servers that its configuration names as those that may get its shares. It is read when the server starts.
    pub hand_over_to: BTreeSet<NodeId>,
    /// Its clock, which may jump alone.
    pub clock: Arc<SimClock>,
    running: Option<Running>,
    sequence: u64,
}

struct Running {
    server: Arc<Server>,
    handover: Arc<Handover>,
    task: JoinHandle<()>,
    handing: Option<JoinHandle<()>>,
}

impl SimGrid {
    /// A grid of `servers` servers, all up and announced. Must be called within a tokio runtime with paused time.
    ///
    /// # Panics
    ///
    /// If a part of it cannot be set up.
    pub async fn start(seed: u64, servers: u16) -> Self {
        println!("seed {seed}");
        Self::start_silent(seed, servers).await
    }

    /// As [`SimGrid::start`], for those that print the seed themselves, when it matters.
    ///
    /// # Panics
    ///
    /// If a part of it cannot be set up.
    pub async fn start_silent(seed: u64, servers: u16) -> Self {
        let random = Arc::new(SimRandom::new(seed));
        let net = SimNet::new(seed);
        let clock = Arc::new(SimClock::new(BEGIN));
        let key = NodeKey::from_seed(&seed_of(&random, "introducer"));
        let mut parts = Parts::new(Arc::new(MemoryKeep::default()));
        parts.clock = clock.clone();
        parts.pool = Arc::new(InlinePool);
        let introducing = Introducer::new(parts).expect("an empty memory loads");
        tokio::spawn(introducing.clone().serve(net.listener(key.id(), "introducer:1")));
        let introducer = NodeAddress { id: key.id(), host: "introducer:1".into() };
        let limits = ServerLimits::default();
        let mut grid =
            Self { net, clock, random, servers: Vec::new(), limits, introducer, introducing, clients: 0 };
        for _ in 0..servers {
            grid.add_server(None).await;
        }
        grid
    }

    /// Adds a server, up and announced; returns its index.
    ///
    /// # Panics
    ///
    /// If it cannot be set up.
    pub async fn add_server(&mut self, zone: Option<&str>) -> usize {
        let index = self.servers.len();
        let name = format!("server{index}");
        let key = NodeKey::from_seed(&seed_of(&self.random, &name));
        let disk = SimDisk::new(&name, DISK, self.random.fork(&format!("{name} disk")));
        let dir = SimDisk::new(&format!("{name} dir"), DISK, self.random.fork(&format!("{name} dir")));
        Store::init(&disk.as_disk(), &*self.random).expect("an empty disk becomes a store");
        self.servers.push(SimServer {
            key,
            disk,
            dir,
            address: format!("{name}:1"),
            zone: zone.map(str::to_owned),
            options: StoreOptions::default(),
            admission: Admission::Open,
            quotas: Quotas::default(),
            limits: self.limits.clone(),
            certificate: None,
            hand_over_to: BTreeSet::new(),
            clock: Arc::new(SimClock::following(self.clock.clone())),
            running: None,
            sequence: 0,
        });
        self.restart(index).await.expect("a new store opens");
        index
    }

    /// Starts server `index` again and announces it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if its store does not open.
    ///
    /// # Panics
    ///
    /// If it runs already, or the introducer refuses it.
    pub async fn restart(&mut self, index: usize) -> Result<(), StoreError> {
        let (random, net) = (self.random.clone(), self.net.clone());
        let server = &mut self.servers[index];
        assert!(server.running.is_none(), "it runs already");
        let clock = server.clock.clone();
        net.host_up(server.key.id());
        let store = Store::open(server.disk.as_disk(), clock.clone(), &*random, server.options.clone())?;
        let parts = ServerParts {
            nickname: format!("server{index}"),
            stores: vec![store],
            failed: Vec::new(),
            admission: server.admission.clone(),
            quotas: server.quotas.clone(),
            clock: clock.clone(),
            pool: Arc::new(InlinePool),
            limits: server.limits.clone(),
        };
        let running = Server::new(parts);
        let listener = net.listener(server.key.id(), &server.address);
        let task = tokio::spawn(running.clone().serve(listener));
        let parts = HandoverParts {
            id: server.key.id(),
            zone: server.zone.clone(),
            connector: net.connector(server.key.id()),
            introducers: vec![self.introducer.clone()],
            trusted: server.hand_over_to.clone(),
            members: match &server.admission {
                Admission::Members(members) => Some(members.clone()),
                _ => None,
            },
            random: random.clone(),
            dir: server.dir.as_disk(),
            rebalance: None,
        };
        let handover = Handover::new(running.clone(), parts).expect("the directory can be read");
        server.running = Some(Running { server: running, handover, task, handing: None });
        self.announce(index).await;
        Ok(())
    }

    /// Announces server `index` as it is now.
    ///
    /// # Panics
    ///
    /// If it does not run, or the introducer refuses it.
    pub async fn announce(&mut self, index: usize) {
        let net = self.net.clone();
        let server = &mut self.servers[index];
        let stores = server.server().expect("it runs").stores();
        let stores = stores.iter().map(|store| store.announced(&server.key.id())).collect();
        server.sequence += 1;
        // Stamped by the grid's clock: what a wrong one does to announcements is another test's matter.
        let now = self.clock.unix_time();
        let signed = Announcement {
            server: server.key.id(),
            sequence: server.sequence,
            issued_s: now.as_secs(),
            expires_s: (now + GOOD_FOR).as_secs(),
            addresses: vec![server.address.clone()],
            nickname: format!("server{index}"),
            zone: server.zone.clone(),
            stores,
            software: SOFTWARE.to_owned(),
            certificate: server.certificate.clone(),
        }
        .sign(&server.key);
        announce(&*net.connector(server.key.id()), &self.introducer, signed)
            .await
            .expect("the introducer takes it");
    }

    /// Lets server `index` carry out its orders, from now on until it stops. Simulations without orders are spared the looking.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn hand_over(&mut self, index: usize) {
        let running = self.servers[index].running.as_mut().expect("it runs");
        running.handing.get_or_insert_with(|| tokio::spawn(running.handover.clone().run()));
    }

    /// Announces all servers that are up once more.
    ///
    /// # Panics
    ///
    /// If the introducer refuses one.
    pub async fn announce_all(&mut self) {
        for index in 0..self.servers.len() {
            if self.servers[index].running.is_some() {
                self.announce(index).await;
            }
        }
    }

    /// Stops server `index` at once: its connections break, and of what its disk did not sync survives what `survival` says.
    pub fn crash(&mut self, index: usize, survival: Survival) {
        let server = &mut self.servers[index];
        if let Some(running) = server.running.take() {
            running.task.abort();
            running.handing.iter().for_each(JoinHandle::abort);
        }
        self.net.host_down(server.key.id());
        server.disk.crash(survival);
        server.dir.crash(survival);
    }

    /// Stops server `index` as `kill -9` does.
    pub fn kill(&mut self, index: usize) {
        self.crash(index, Survival::Everything);
    }

    /// A new client that knows all servers that are announced now.
    ///
    /// # Panics
    ///
    /// If the encoding parameters are impossible.
    pub async fn client(&mut self, shares: &str) -> Client {
        self.client_with(shares, Timeouts::default()).await
    }

    /// As [`SimGrid::client`], with other bounds on waiting.
    ///
    /// # Panics
    ///
    /// If the encoding parameters are impossible.
    pub async fn client_with(&mut self, shares: &str, timeouts: Timeouts) -> Client {
        self.clients += 1;
        let label = format!("client{}", self.clients);
        let client = self.client_of(&label, shares, timeouts);
        client.refresh().await;
        client
    }

    /// The client of this name: the same name is the same account and convergence secret, as after a restart.
    ///
    /// # Panics
    ///
    /// If the encoding parameters are impossible.
    pub fn client_of(&self, label: &str, shares: &str, timeouts: Timeouts) -> Client {
        let (settings, seams) = self.client_parts(label, shares, timeouts);
        Client::new(settings, GridView::empty(), seams).expect("the parameters were parsed")
    }

    /// What [`SimGrid::client_of`] makes a client of, for those that shall be different.
    ///
    /// # Panics
    ///
    /// If the encoding parameters are impossible.
    pub fn client_parts(&self, label: &str, shares: &str, timeouts: Timeouts) -> (Settings, Seams) {
        let account = NodeKey::from_seed(&seed_of(&self.random, label));
        let throwaway = NodeKey::from_seed(&seed_of(&self.random, &format!("{label} reads")));
        self.net.same_host(throwaway.id(), account.id());
        let settings = Settings {
            introducers: vec![self.introducer.clone()],
            shares: shares.parse::<Shares>().expect("K/HAPPY/N"),
            zone: None,
            pinned: Vec::new(),
            owner: None,
            convergence: seed_of(&self.random, &format!("{label} convergence")).into(),
            timeouts,
        };
        let seams = Seams {
            account: self.net.connector(account.id()),
            anonymous: self.net.connector(throwaway.id()),
            clock: self.clock.clone(),
            random: self.random.clone(),
            pool: Arc::new(InlinePool),
        };
        (settings, seams)
    }

    /// The host of the client of this name, for links and partitions.
    pub fn client_host(&self, label: &str) -> NodeId {
        NodeKey::from_seed(&seed_of(&self.random, label)).id()
    }

    /// The index of the server with this key.
    pub fn index_of(&self, id: &NodeId) -> Option<usize> {
        self.servers.iter().position(|server| server.key.id() == *id)
    }

    /// The announcements the introducer passes on.
    pub fn announcements(&self) -> Vec<Arc<Signed>> {
        self.introducing.announcements()
    }
}

impl SimServer {
    /// The server, if it is up.
    pub fn server(&self) -> Option<&Arc<Server>> {
        self.running.as_ref().map(|running| &running.server)
    }
}

/// 32 bytes that depend on the seed and the label alone.
pub fn seed_of(random: &SimRandom, label: &str) -> [u8; 32] {
    let mut out = [0; 32];
    random.fork(label).fill(&mut out);
    out
}
