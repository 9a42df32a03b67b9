//! A server's own directory: its key, its configuration, and what it needs to run.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::announcement::{Announcement, Signed};
use protocol::membership::{MembershipNews, SignedCertificate};
use protocol::session::SOFTWARE;
use protocol::transport::Connector;
use protocol::{Clock, NodeId, NodeKey, OsRandom, Pool, Random, SystemClock, TokioPool};
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError, StorageConfig};
use crate::disk::{Disk, DiskLock, read_file, replace_file};
use crate::error::StoreError;
use crate::handover::{Handover, HandoverParts, Order, Progress};
use crate::members::{Members, MembersError, PAPERS_FILE};
use crate::real_disk::RealDisk;
use crate::server::{Server, ServerLimits, ServerParts};
use crate::store::{Store, StoreOptions, chain, lock};

/// The configuration's file in a server's directory.
pub const CONFIG_FILE: &str = "server.toml";
const KEY_FILE: &str = "node.key";
const SEQUENCE_FILE: &str = "announcement.sequence";
const LOCK_FILE: &str = "lock";
/// How long an announcement is good. Servers announce themselves anew long before.
pub const ANNOUNCEMENT_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Why a server could not be set up, changed or started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// There is a server already.
    #[error("{} holds a server already", dir.display())]
    Exists {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no server.
    #[error("{} holds no server (no {CONFIG_FILE}): `sarsen server init` makes one", dir.display())]
    NotAServer {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process runs it.
    #[error("the server in {} is running already", dir.display())]
    Running {
        /// The directory.
        dir: PathBuf,
    },
    /// The key may be read by others than its owner.
    #[error("{} can be read by others (mode {mode:o}): give it mode 600, and consider the key known", path.display())]
    KeyReadable {
        /// The key's file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key's file holds no key.
    #[error("{} holds no key", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
    },
    /// The configuration is wrong.
    #[error("{} is wrong", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Where and how.
        source: ConfigError,
    },
    /// Its certificate or the revocation list cannot be used.
    #[error("what is known of the grid's members cannot be used")]
    Members(#[from] MembersError),
    /// No such store is configured.
    #[error("no store at {} is configured", path.display())]
    NoSuchStorage {
        /// The directory asked for.
        path: PathBuf,
    },
    /// There is a store at this path in the configuration already.
    #[error("a store at {} is configured already", path.display())]
    StorageExists {
        /// The directory.
        path: PathBuf,
    },
    /// It listens on all addresses and is told to advertise none.
    #[error(
        "nobody would find the server: it listens on all addresses, and `advertise` in {CONFIG_FILE} is empty"
    )]
    NoAddress,
    /// A store could not be created or opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes `dir` a server with this configuration, and its storage directories stores; returns the server's id.
///
/// # Errors
///
/// [`NodeError`].
pub fn init(dir: &Path, config: Config) -> Result<NodeId, NodeError> {
    let key = NodeKey::from_seed(&Zeroizing::new((&OsRandom as &dyn Random).bytes()));
    init_as(dir, config, &key, None)?;
    Ok(key.id())
}

/// As [`init`], with a key that was made before, and the certificate it got.
///
/// # Errors
///
/// [`NodeError`].
pub fn init_as(
    dir: &Path,
    mut config: Config,
    key: &NodeKey,
    certificate: Option<SignedCertificate>,
) -> Result<(), NodeError> {
    let disk = RealDisk::new(dir);
    if dir.join(CONFIG_FILE).exists() || dir.join(KEY_FILE).exists() {
        return Err(NodeError::Exists { dir: dir.to_owned() });
    }
    Config::parse(&config.to_text())
        .map_err(|source| NodeError::Config { path: dir.join(CONFIG_FILE), source })?;
    disk.create_dir_all("").map_err(io(dir, "create", ""))?;
    let _lock = take_lock(dir)?;
    for storage in &mut config.storage {
        storage.id = Some(adopt_or_init(dir, storage)?);
    }
    let text = Zeroizing::new(data_encoding::HEXLOWER.encode(&*key.seed()) + "\n");
    replace_file(&disk, KEY_FILE, text.as_bytes()).map_err(io(dir, "write", KEY_FILE))?;
    if let (Some(owner), Some(certificate)) = (config.owner, certificate) {
        let news = MembershipNews { certificate: Some(certificate), revocations: None };
        let members = Members::open(owner, key.id(), Arc::new(RealDisk::new(dir)))?;
        members.learn(news).map_err(io(dir, "write", PAPERS_FILE))?;
    }
    // Last: with this it is a server.
    write_config(dir, &config.to_text())
}

/// Adds a store, new or moved here from another server; returns its id.
///
/// # Errors
///
/// [`NodeError`].
pub fn add_storage(dir: &Path, mut storage: StorageConfig) -> Result<NodeId, NodeError> {
    let (text, config) = read_config(dir)?;
    if config.storage.iter().any(|known| dir.join(&known.path) == dir.join(&storage.path)) {
        return Err(NodeError::StorageExists { path: storage.path });
    }
    let id = adopt_or_init(dir, &storage)?;
    storage.id = Some(id);
    write_config(dir, &(text.trim_end().to_owned() + "\n" + &storage.to_text()))?;
    Ok(id)
}

/// Takes a store out of the configuration. Its directory is left as it is.
///
/// # Errors
///
/// [`NodeError`].
pub fn remove_storage(dir: &Path, path: &Path) -> Result<(), NodeError> {
    edit_storage(dir, path, |_| None)
}

/// Changes how a store is used; `change` gets what is configured.
///
/// # Errors
///
/// [`NodeError`].
pub fn set_storage(
    dir: &Path,
    path: &Path,
    change: impl FnOnce(&mut StorageConfig),
) -> Result<(), NodeError> {
    edit_storage(dir, path, |storage| {
        let mut storage = storage.clone();
        change(&mut storage);
        Some(storage)
    })
}

/// Replaces one `[[storage]]` block, and leaves every other line as its owner wrote it.
fn edit_storage(
    dir: &Path,
    path: &Path,
    edit: impl FnOnce(&StorageConfig) -> Option<StorageConfig>,
) -> Result<(), NodeError> {
    let (text, config) = read_config(dir)?;
    let wanted = config.storage.iter().position(|storage| dir.join(&storage.path) == dir.join(path));
    let wanted = wanted.ok_or_else(|| NodeError::NoSuchStorage { path: path.to_owned() })?;
    let (mut out, mut block, mut skipping) = (String::new(), 0, false);
    let mut edit = Some(edit);
    for line in text.lines() {
        let head = line.trim_start();
        if head.starts_with('[') {
            let storage = head.starts_with("[[storage]]");
            skipping = storage && block == wanted;
            block += usize::from(storage);
            if skipping && let Some(edited) = edit.take().and_then(|edit| edit(&config.storage[wanted])) {
                out.push_str(edited.to_text().trim_start());
            }
        }
        if !skipping {
            out.push_str(line);
            out.push('\n');
        }
    }
    write_config(dir, &out)
}

/// A directory that is a store stays one, unless a server has it open; any other that is empty or missing becomes one.
fn adopt_or_init(dir: &Path, storage: &StorageConfig) -> Result<NodeId, NodeError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.join(&storage.path)));
    match Store::init(&disk, &OsRandom) {
        Err(StoreError::AlreadyAStore { .. }) => Ok(Store::take_over(&*disk)?),
        other => Ok(other?),
    }
}

fn io<'a>(dir: &'a Path, action: &'static str, file: &'a str) -> impl Fn(io::Error) -> NodeError + 'a {
    move |source| NodeError::Io { action, path: dir.join(file), source }
}

fn take_lock(dir: &Path) -> Result<Box<dyn DiskLock>, NodeError> {
    RealDisk::new(dir).lock(LOCK_FILE).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => NodeError::Running { dir: dir.to_owned() },
        _ => io(dir, "lock", LOCK_FILE)(error),
    })
}

fn read_config(dir: &Path) -> Result<(String, Config), NodeError> {
    let path = dir.join(CONFIG_FILE);
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NodeError::NotAServer { dir: dir.to_owned() },
        _ => io(dir, "read", CONFIG_FILE)(error),
    })?;
    let config = Config::parse(&text).map_err(|source| NodeError::Config { path, source })?;
    Ok((text, config))
}

fn write_config(dir: &Path, text: &str) -> Result<(), NodeError> {
    // What we wrote ourselves must read back, or a slip here would keep the server from starting.
    Config::parse(text).map_err(|source| NodeError::Config { path: dir.join(CONFIG_FILE), source })?;
    replace_file(&RealDisk::new(dir), CONFIG_FILE, text.as_bytes()).map_err(io(dir, "write", CONFIG_FILE))
}

/// Lets the process open as many files as it may at all; returns how many.
fn raise_descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit on open files cannot be raised");
            limit.current
        }
    };
    current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

fn read_key(dir: &Path) -> Result<NodeKey, NodeError> {
    let path = dir.join(KEY_FILE);
    let mode = std::fs::metadata(&path).map_err(io(dir, "read", KEY_FILE))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(NodeError::KeyReadable { path, mode });
    }
    let text = Zeroizing::new(std::fs::read(&path).map_err(io(dir, "read", KEY_FILE))?);
    let bad = || NodeError::BadKey { path: path.clone() };
    let seed = Zeroizing::new(data_encoding::HEXLOWER.decode(text.trim_ascii()).map_err(|_| bad())?);
    let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed.as_slice().try_into().map_err(|_| bad())?);
    Ok(NodeKey::from_seed(&seed))
}

/// The stores of a server that does not run.
pub struct OpenedStores {
    /// The server's configuration.
    pub config: Config,
    /// Its stores, as the configuration lists them.
    pub stores: Vec<Result<Arc<Store>, StoreError>>,
    clock: Arc<dyn Clock>,
    lock: Box<dyn DiskLock>,
}

/// Opens the stores of the server in `dir`, which nobody else runs meanwhile.
///
/// # Errors
///
/// [`NodeError`]; not for a store that cannot be opened.
pub fn open_stores(dir: &Path) -> Result<OpenedStores, NodeError> {
    let (_, config) = read_config(dir)?;
    let lock = take_lock(dir)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let open = |storage: &StorageConfig| {
        let disk = Arc::new(RealDisk::new(dir.join(&storage.path)));
        let options = StoreOptions {
            reserve: storage.reserve.0,
            read_only: storage.read_only,
            expected: storage.id,
            grace: config.grace.0,
            idle_limit: config.idle_limit.0,
            scrub: config.scrub.to_options(),
            ..StoreOptions::default()
        };
        Store::open(disk, clock.clone(), &OsRandom, options)
    };
    let stores = config.storage.iter().map(open).collect();
    Ok(OpenedStores { config, stores, clock, lock })
}

/// Gives a server an order, or takes it back; returns whether the server runs. If it does not, it carries it out once it does.
///
/// # Errors
///
/// [`NodeError`].
pub fn order(dir: &Path, order: Order, given: bool) -> Result<bool, NodeError> {
    read_config(dir)?;
    let disk = RealDisk::new(dir);
    let done = if given { order.give(&disk) } else { order.take_back(&disk) };
    done.map_err(io(dir, "write the orders in", ""))?;
    is_running(dir)
}

/// Whether a server has an order, and how far it is with it.
///
/// # Errors
///
/// [`NodeError`].
pub fn how_far(dir: &Path, order: Order) -> Result<(bool, Option<Progress>), NodeError> {
    read_config(dir)?;
    let disk = RealDisk::new(dir);
    let cannot = io(dir, "read the orders in", "");
    Ok((order.is_given(&disk).map_err(&cannot)?, order.how_far(&disk).map_err(&cannot)?))
}

/// Whether a process runs the server.
///
/// # Errors
///
/// [`NodeError`].
pub fn is_running(dir: &Path) -> Result<bool, NodeError> {
    match take_lock(dir) {
        Ok(_) => Ok(false),
        Err(NodeError::Running { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// A server that is ready to run: give [`Server::serve`] a listener, and introducers an announcement.
pub struct ServerNode {
    /// The server's key.
    pub key: NodeKey,
    /// Its configuration.
    pub config: Config,
    /// The server.
    pub server: Arc<Server>,
    /// What it knows of the grid it belongs to, if it belongs to one.
    pub members: Option<Members>,
    dir: PathBuf,
    sequence: Mutex<()>,
    _lock: Box<dyn DiskLock>,
}

impl ServerNode {
    /// Opens the server in `dir` and its stores. One that cannot be opened is logged and reported as failed; the others serve.
    ///
    /// # Errors
    ///
    /// [`NodeError`].
    pub fn open(dir: &Path) -> Result<Self, NodeError> {
        let OpenedStores { config, stores: opened, clock, lock } = open_stores(dir)?;
        let key = read_key(dir)?;
        let descriptors = raise_descriptors();
        let pool: Arc<dyn Pool> = Arc::new(TokioPool);
        let (mut stores, mut failed) = (Vec::new(), Vec::new());
        for (storage, opened) in config.storage.iter().zip(opened) {
            match opened {
                Ok(store) => stores.push(store),
                Err(error) => {
                    let error = chain(&error);
                    tracing::error!(path = %storage.path.display(), %error, "a store cannot be opened: the server runs without it");
                    failed.extend(storage.id);
                }
            }
        }
        let members = match config.owner {
            Some(owner) => Some(Members::open(owner, key.id(), Arc::new(RealDisk::new(dir)))?),
            None => None,
        };
        let server = Server::new(ServerParts {
            nickname: config.nickname.clone(),
            stores,
            failed,
            admission: config.admission.to_admission(members.as_ref()),
            quotas: config.quotas(),
            clock,
            pool,
            limits: ServerLimits { open_files: (descriptors / 2).clamp(64, 1024), ..ServerLimits::default() },
        });
        Ok(Self {
            key,
            config,
            server,
            members,
            dir: dir.to_owned(),
            sequence: Mutex::default(),
            _lock: lock,
        })
    }

    /// What hands its shares over to other servers, through `connector`. If it is to be drained, it takes nothing new from here on.
    ///
    /// # Errors
    ///
    /// [`NodeError::Io`].
    pub fn handover(&self, connector: Arc<dyn Connector>) -> Result<Arc<Handover>, NodeError> {
        let config = &self.config;
        let parts = HandoverParts {
            id: self.key.id(),
            zone: config.zone.clone(),
            connector,
            introducers: config.introducers.clone(),
            trusted: config.hand_over_to.iter().copied().collect(),
            members: self.members.clone(),
            random: Arc::new(OsRandom),
            dir: Arc::new(RealDisk::new(&self.dir)),
            rebalance: config.rebalance.map(|rate| rate.0),
        };
        Handover::new(self.server.clone(), parts).map_err(io(&self.dir, "read the orders in", ""))
    }

    /// A new announcement, newer than all before it, also those of earlier runs. `now` is the time since 1970, `bound` where the
    /// server listens.
    ///
    /// # Errors
    ///
    /// [`NodeError::NoAddress`], [`NodeError::Io`].
    pub fn announcement(&self, now: Duration, bound: SocketAddr) -> Result<Signed, NodeError> {
        let addresses = match self.config.advertise.is_empty() {
            false => self.config.advertise.clone(),
            true if bound.ip().is_unspecified() => return Err(NodeError::NoAddress),
            true => vec![bound.to_string()],
        };
        let id = self.key.id();
        let announcement = Announcement {
            server: id,
            sequence: self.next_sequence(now)?,
            issued_s: now.as_secs(),
            expires_s: (now + ANNOUNCEMENT_LIFE).as_secs(),
            addresses,
            nickname: self.config.nickname.clone(),
            zone: self.config.zone.clone(),
            stores: self.server.stores().iter().map(|store| store.announced(&id)).collect(),
            software: SOFTWARE.to_owned(),
            certificate: self.members.as_ref().and_then(Members::certificate),
        };
        Ok(announcement.sign(&self.key))
    }

    /// Written down before it is used. Never below the time in seconds, so that a lost file does little harm.
    fn next_sequence(&self, now: Duration) -> Result<u64, NodeError> {
        let _alone = lock(&self.sequence);
        let disk = RealDisk::new(&self.dir);
        let last: u64 = match read_file(&disk, SEQUENCE_FILE, 64) {
            Ok(text) => {
                std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(io(&self.dir, "read", SEQUENCE_FILE)(error)),
        };
        let next = now.as_secs().max(last.saturating_add(1));
        replace_file(&disk, SEQUENCE_FILE, format!("{next}\n").as_bytes()).map_err(io(
            &self.dir,
            "write",
            SEQUENCE_FILE,
        ))?;
        Ok(next)
    }
}
