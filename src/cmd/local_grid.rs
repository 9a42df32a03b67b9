//! A whole grid in one process, on real sockets and files: for the demo and the benchmark.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use client::{Client, ClientDir, Shares};
use introducer::node::IntroducerNode;
use introducer::{Introducer, Parts};
use protocol::quic::{QuicListener, bind, server_config};
use protocol::{NodeAddress, NodeId, OsRandom};
use storage_server::ServerNode;
use storage_server::config::{Config, StorageConfig};

use super::server::RunningServer;

/// A folder that is removed when this is dropped.
pub(crate) struct TempFolder(PathBuf);

impl TempFolder {
    /// A new folder in `parent`.
    pub(crate) fn new(parent: &Path) -> anyhow::Result<Self> {
        let random: &dyn protocol::Random = &OsRandom;
        let name = format!("sarsen-{:016x}", u64::from_le_bytes(random.bytes()));
        let path = parent.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("note: {} could not be removed: {error}", self.0.display());
        }
    }
}

/// The grid.
pub(crate) struct LocalGrid {
    folder: PathBuf,
    /// The introducer's address.
    pub(crate) introducer: NodeAddress,
    introducing: Arc<Introducer>,
    servers: Vec<RunningServer>,
}

impl LocalGrid {
    /// Starts an introducer and `count` servers below `folder`, each on a free port of 127.0.0.1.
    pub(crate) async fn start(folder: &Path, count: u16) -> anyhow::Result<Self> {
        let home = folder.join("introducer");
        introducer::node::init(&home, super::server::fixed_port("127.0.0.1:0")?, &OsRandom)?;
        let node = IntroducerNode::open(&home)?;
        let introducing = Introducer::new(Parts::new(Arc::new(node.keep())))?;
        let (endpoint, _) = bind(node.config().listen, Some(server_config(node.key())))?;
        let introducer = node.write_url(endpoint.local_addr()?)?;
        let task = introducing.clone();
        tokio::spawn(async move {
            // The node holds the lock of its directory.
            let _node = node;
            task.serve(Arc::new(QuicListener::new(endpoint))).await;
        });
        let mut grid = Self { folder: folder.to_owned(), introducer, introducing, servers: Vec::new() };
        for number in 1..=count {
            grid.add(number).await?;
        }
        grid.announced(usize::from(count)).await?;
        Ok(grid)
    }

    async fn add(&mut self, number: u16) -> anyhow::Result<()> {
        let home = self.folder.join(format!("server{number}"));
        let config = Config {
            listen: "127.0.0.1:0".into(),
            nickname: format!("server{number}"),
            introducers: vec![self.introducer.clone()],
            storage: vec![StorageConfig { path: "storage".into(), ..StorageConfig::default() }],
            ..Config::default()
        };
        storage_server::node::init(&home, config)?;
        self.servers.push(RunningServer::start(ServerNode::open(&home)?).await?);
        Ok(())
    }

    /// Waits until the introducer knows all servers.
    async fn announced(&self, count: usize) -> anyhow::Result<()> {
        let known = async {
            while self.introducing.announcements().len() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), known)
            .await
            .context("the servers do not announce themselves")
    }

    /// Makes a client that knows the introducer; returns its directory.
    pub(crate) fn client_dir(&self) -> anyhow::Result<PathBuf> {
        let dir = self.folder.join("client");
        if !dir.join("sarsen.toml").exists() {
            let count = self.servers.len() as u16;
            let shares = match count {
                10.. => Shares::default(),
                _ => Shares { needed: count.div_ceil(3), happy: (count * 7).div_ceil(10), total: count },
            };
            ClientDir::create(&dir, std::slice::from_ref(&self.introducer), shares, None, &OsRandom)?;
        }
        Ok(dir)
    }

    /// A client that knows all servers.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let client = Client::open(&self.client_dir()?)?;
        client.refresh().await;
        Ok(client)
    }

    /// Stops a server at once, as if its machine had gone.
    pub(crate) fn kill(&mut self, id: &NodeId) -> Option<String> {
        let index = self.servers.iter().position(|server| server.id() == *id)?;
        let server = self.servers.remove(index);
        let name = server.name();
        server.kill();
        Some(name)
    }

    /// Stops everything.
    pub(crate) async fn stop(self) {
        for server in self.servers {
            server.drain(Duration::from_secs(1)).await;
        }
        self.introducing.close();
    }
}
