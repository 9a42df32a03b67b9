//! `sarsen server`: make one, run one, change its disks.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use protocol::announcement::Signed;
use protocol::announcer::{announce, keep_announced};
use protocol::quic::{QuicConnector, QuicListener, SocketBuffers, bind, reachable, server_config};
use protocol::{Clock, NodeId, SystemClock};
use storage_server::config::{Config, StorageConfig};
use storage_server::members::keep_informed;
use storage_server::{ServerNode, node};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::cli::{DiskCommand, ServerCommand};

/// How long a server that is told to stop waits for what is under way.
const DRAIN: Duration = Duration::from_secs(30);
/// Below this the kernel's UDP buffers cost throughput.
const SMALL_BUFFER: usize = 1 << 20;

/// `home` is where clients live: a server that joins lives beside it.
pub(crate) async fn run(
    command: &ServerCommand,
    home: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> anyhow::Result<()> {
    match command {
        ServerCommand::Init { server_dir, introducers, listen, storage, nickname, zone } => {
            let mut stores = storage.clone();
            if stores.is_empty() {
                // Beside the configuration, on the same disk.
                stores.push(StorageConfig { path: "storage".into(), ..StorageConfig::default() });
            }
            let config = Config {
                listen: fixed_port(listen)?.to_string(),
                nickname: nickname.clone().unwrap_or_default(),
                zone: zone.clone(),
                introducers: introducers.clone(),
                storage: stores,
                ..Config::default()
            };
            node::init(server_dir, config)?;
            eprintln!("Start it with: sarsen server run {}", server_dir.display());
            Ok(())
        }
        ServerCommand::Join(args) => super::join::server(&home()?, args).await,
        ServerCommand::Run { server_dir } => serve(server_dir).await,
        ServerCommand::Gc(args) => super::gc::run(args),
        ServerCommand::Scrub(args) => super::scrub::run(args),
        ServerCommand::Drain(args) => super::drain::run(args).await,
        ServerCommand::Rebalance(args) => super::drain::rebalance(args).await,
        ServerCommand::Disk(DiskCommand::Add(args)) => {
            let id = node::add_storage(&args.server_dir, args.storage.clone())?;
            eprintln!("store {id}; restart the server to use it");
            Ok(())
        }
        ServerCommand::Disk(DiskCommand::Remove(args)) => {
            node::remove_storage(&args.server_dir, &args.storage.path)?;
            eprintln!("its shares stay where they are; restart the server to let go of them");
            Ok(())
        }
        ServerCommand::Disk(DiskCommand::Set(args)) => {
            let spec = &args.storage;
            node::set_storage(&args.server_dir, &spec.path, |storage| storage.reserve = spec.reserve)?;
            eprintln!("restart the server for it to take effect");
            Ok(())
        }
    }
}

/// `PATH[,reserve=SIZE]`. A path from the command line is relative to where the user stands.
pub(crate) fn storage_spec(text: &str) -> Result<StorageConfig, String> {
    let (path, reserve) = match text.rsplit_once(",reserve=") {
        Some((path, size)) => {
            (path, size.parse().map_err(|error: storage_server::size::SizeError| error.to_string())?)
        }
        None => (text, storage_server::size::Size::default()),
    };
    let path = std::path::absolute(path).map_err(|error| format!("{path} is not a path: {error}"))?;
    Ok(StorageConfig { path, reserve, ..StorageConfig::default() })
}

async fn serve(dir: &Path) -> anyhow::Result<()> {
    let server = RunningServer::start(ServerNode::open(dir)?).await?;
    told_to_stop().await;
    tracing::info!("finishing what is under way");
    server.drain(DRAIN).await;
    tracing::info!("stopped");
    Ok(())
}

/// A server on its socket, announcing itself.
pub(crate) struct RunningServer {
    node: Arc<ServerNode>,
    endpoint: quinn::Endpoint,
    serving: tokio::task::JoinHandle<()>,
    _announcing: JoinSet<()>,
}

impl RunningServer {
    /// Binds the socket, serves, and announces.
    pub(crate) async fn start(node: ServerNode) -> anyhow::Result<Self> {
        let node = Arc::new(node);
        let listen = &node.config.listen;
        let bound = bind(parse_address(listen)?, Some(server_config(&node.key)));
        let (endpoint, buffers) = bound.with_context(|| format!("cannot listen on {listen}"))?;
        warn_of_small_buffers(buffers);
        let address = endpoint.local_addr()?;
        tracing::info!(id = %node.key.id(), %address, "the server listens");
        let connector = Arc::new(QuicConnector::new(endpoint.clone(), &node.key));
        let handover = node.handover(connector.clone())?;
        let serving = tokio::spawn(node.server.clone().serve(Arc::new(QuicListener::new(endpoint.clone()))));
        let mut announcing = JoinSet::new();
        announcing.spawn(handover.run());
        announcing.spawn(announce_changes(node.clone(), connector.clone(), address));
        follow_members(&node, &connector, address, &mut announcing);
        for introducer in &node.config.introducers {
            let node = node.clone();
            let sign = Arc::new(move || signed(&node, address));
            announcing.spawn(keep_announced(connector.clone(), introducer.clone(), sign));
        }
        Ok(Self { node, endpoint, serving, _announcing: announcing })
    }

    pub(crate) fn id(&self) -> NodeId {
        self.node.key.id()
    }

    pub(crate) fn name(&self) -> String {
        self.node.config.nickname.clone()
    }

    /// Finishes what is under way, then stops.
    pub(crate) async fn drain(self, patience: Duration) {
        self.node.server.drain(patience).await;
        // Close frames must still leave the socket.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }

    /// Stops in the middle of everything.
    pub(crate) fn kill(self) {
        self.serving.abort();
        self.endpoint.close(1u8.into(), b"killed");
    }
}

/// Tells the introducers at once that the server is being drained, or no longer is. One that does not hear of it now does later.
async fn announce_changes(node: Arc<ServerNode>, connector: Arc<QuicConnector>, address: SocketAddr) {
    let mut draining = node.server.draining();
    while draining.changed().await.is_ok() {
        for introducer in &node.config.introducers {
            let Some(signed) = signed(&node, address) else { continue };
            if let Err(error) = announce(&*connector, introducer, signed).await {
                tracing::warn!(introducer = introducer.host, %error, "the introducer cannot be told");
            }
        }
    }
}

/// Follows at every introducer who belongs to the grid. With a certificate that is new the server announces itself anew at once.
fn follow_members(
    node: &Arc<ServerNode>,
    connector: &Arc<QuicConnector>,
    address: SocketAddr,
    tasks: &mut JoinSet<()>,
) {
    let Some(members) = &node.members else { return };
    match members.own(SystemClock::default().unix_time()) {
        Ok(own) => tracing::info!(
            name = own.name,
            until = super::grid::date(own.not_after_s),
            "a member of the grid"
        ),
        Err(reason) => {
            tracing::warn!(%reason, "no member of the grid for now: its clients give this server no shares")
        }
    }
    for introducer in &node.config.introducers {
        let (node, connector, members) = (node.clone(), connector.clone(), members.clone());
        let again = connector.clone();
        let changed = Arc::new(move || -> protocol::BoxFuture<'static, ()> {
            let (node, connector) = (node.clone(), again.clone());
            Box::pin(async move {
                let Some(signed) = signed(&node, address) else { return };
                for introducer in &node.config.introducers {
                    // Who is not reached now is told with the next announcement.
                    let _ = announce(&*connector, introducer, signed.clone()).await;
                }
            })
        });
        tasks.spawn(keep_informed(connector, introducer.clone(), members, changed));
    }
}

fn signed(node: &ServerNode, bound: SocketAddr) -> Option<Signed> {
    let now = SystemClock::default().unix_time();
    let made = node.announcement(now, reachable(bound));
    made.inspect_err(|error| {
        tracing::error!(error = error as &dyn std::error::Error, "no announcement can be made")
    })
    .ok()
}

/// Waits for SIGTERM or Ctrl-C. A second one ends the process at once.
pub(crate) async fn told_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("signal handlers can be set");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signal handlers can be set");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    });
}

/// The address to listen on for good: a port of 0 becomes one that is free now, so that the address outlives restarts.
pub(crate) fn fixed_port(listen: &str) -> anyhow::Result<SocketAddr> {
    let address = parse_address(listen)?;
    if address.port() != 0 {
        return Ok(address);
    }
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot listen on {listen}"))?;
    Ok(socket.local_addr()?)
}

fn parse_address(text: &str) -> anyhow::Result<SocketAddr> {
    text.parse().with_context(|| format!("{text} is not an address of the form 1.2.3.4:5678 or [::1]:5678"))
}

pub(crate) fn warn_of_small_buffers(buffers: SocketBuffers) {
    let smallest = buffers.receive.min(buffers.send);
    if smallest < SMALL_BUFFER {
        tracing::warn!(
            granted = smallest,
            "the kernel caps UDP buffers: set net.core.rmem_max and wmem_max to 4194304 for full speed"
        );
    }
}
