//! An introducer's directory.
//!
//! ```text
//! introducer.toml    configuration
//! node.key           the private key, 0600
//! introducer.url     where it is: sarsen://<key>@host:port
//! announcements      what servers said of themselves
//! members            what owners of grids signed
//! lock               held while it runs
//! ```

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use protocol::{NodeAddress, NodeId, NodeKey, Random};
use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::files;
use crate::keep::FileKeep;

/// What `introducer.toml` says. Keys it does not know are refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Where it listens; port 0 takes any free one at each start.
    pub listen: SocketAddr,
    /// `host` or `host:port` under which others reach it, if not the address it listens on.
    #[serde(default)]
    pub advertise: Option<String>,
    /// What its owner calls it.
    #[serde(default)]
    pub nickname: String,
    /// Keys of the owners of grids that may publish memberships and invite; empty: whoever comes first.
    #[serde(default, deserialize_with = "keys")]
    pub owners: Vec<NodeId>,
}

fn keys<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<NodeId>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parse = |text: &String| text.parse().map_err(serde::de::Error::custom);
    texts.iter().map(parse).collect()
}

/// Why a directory cannot be made an introducer's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// It is one already.
    #[error("{} already holds an introducer", dir.display())]
    AlreadyThere {
        /// The directory.
        dir: PathBuf,
    },
    /// A key from before cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The disk says no.
    #[error("{} cannot be written", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the disk says.
        source: io::Error,
    },
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Others than its owner may read or change it.
    #[error("others may read {}: whoever did has the key (chmod 600 if nobody did)", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It holds no key.
    #[error("{} holds no key", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The disk says no.
    #[error("{} cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk says.
        source: io::Error,
    },
}

/// Why an introducer's directory cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no introducer in it.
    #[error("{} holds no introducer", dir.display())]
    NotThere {
        /// The directory.
        dir: PathBuf,
    },
    /// Another instance runs on it.
    #[error("another introducer runs on {}", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The configuration makes no sense.
    #[error("{}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which line.
        message: String,
    },
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The disk says no.
    #[error("{} cannot be read", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the disk says.
        source: io::Error,
    },
}

/// Makes `dir` an introducer's directory, with a new key unless there is one. Its address is written at once if `listen` names a port.
///
/// # Errors
///
/// [`InitError`].
pub fn init(dir: &Path, listen: SocketAddr, random: &dyn Random) -> Result<(), InitError> {
    let config = dir.join(CONFIG);
    if config.exists() {
        return Err(InitError::AlreadyThere { dir: dir.to_owned() });
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| InitError::Io { path, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let path = dir.join(KEY);
    let key = if path.exists() {
        read_key(&path)?
    } else {
        let seed = Zeroizing::new(random.bytes::<32>());
        let text = Zeroizing::new(HEXLOWER.encode(&seed[..]) + "\n");
        files::create_secret(&path, text.as_bytes()).map_err(failed(&path))?;
        NodeKey::from_seed(&seed)
    };
    if listen.port() != 0 {
        let url = dir.join(URL);
        let address = NodeAddress { id: key.id(), host: reachable(None, listen) };
        files::replace(&url, format!("{address}\n").as_bytes()).map_err(failed(&url))?;
    }
    // Last, since it is what makes the directory an introducer's.
    files::replace(&config, default_config(listen).as_bytes()).map_err(failed(&config))
}

/// An introducer's directory, locked while this lives.
#[derive(Debug)]
pub struct IntroducerNode {
    dir: PathBuf,
    config: Config,
    key: NodeKey,
    _lock: File,
}

impl IntroducerNode {
    /// Opens and locks a directory that [`init`] made.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(CONFIG);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        let text = files::read_bounded(&path, MAX_CONFIG).map_err(failed(&path))?;
        let text = text.ok_or_else(|| OpenError::NotThere { dir: dir.to_owned() })?;
        let bad = |message: String| OpenError::Config { path: path.clone(), message };
        let text = String::from_utf8(text).map_err(|error| bad(error.to_string()))?;
        let config = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let lock = dir.join(LOCK);
        let lock = File::create(&lock).map_err(failed(&lock))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| OpenError::Locked { dir: dir.to_owned() })?;
        let key = read_key(&dir.join(KEY))?;
        Ok(Self { dir: dir.to_owned(), config, key, _lock: lock })
    }

    /// What `introducer.toml` says.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its key.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Where its announcements are kept.
    pub fn keep(&self) -> FileKeep {
        FileKeep::new(self.dir.join(ANNOUNCEMENTS))
    }

    /// Where memberships are kept.
    pub fn members_keep(&self) -> FileKeep {
        FileKeep::new(self.dir.join(MEMBERS))
    }

    /// Writes `introducer.url`, now that the port is known, and returns what it says.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn write_url(&self, bound: SocketAddr) -> io::Result<NodeAddress> {
        let host = reachable(self.config.advertise.as_deref(), bound);
        let address = NodeAddress { id: self.key.id(), host };
        files::replace(&self.dir.join(URL), format!("{address}\n").as_bytes())?;
        Ok(address)
    }
}

fn read_key(path: &Path) -> Result<NodeKey, KeyError> {
    let path = path.to_owned();
    let text = match files::read_secret(&path) {
        Ok(Some(text)) => text,
        Ok(None) => return Err(KeyError::Exposed { path }),
        Err(source) => return Err(KeyError::Io { path, source }),
    };
    let digits = text.trim_end().as_bytes();
    let mut seed = Zeroizing::new([0; 32]);
    // The length comes first: the decoder insists on room that fits exactly.
    if digits.len() != 64 || HEXLOWER.decode_mut(digits, &mut seed[..]).is_err() {
        return Err(KeyError::Malformed { path });
    }
    Ok(NodeKey::from_seed(&seed))
}

/// `host:port` for others: what the owner says, else the address it listens on, else (it listens on all) the machine's name.
fn reachable(advertise: Option<&str>, bound: SocketAddr) -> String {
    let port = bound.port();
    match advertise {
        Some(host) if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
            host.to_owned()
        }
        Some(host) => format!("{host}:{port}"),
        None if !bound.ip().is_unspecified() => bound.to_string(),
        None => format!("{}:{port}", rustix::system::uname().nodename().to_string_lossy()),
    }
}

fn default_config(listen: SocketAddr) -> String {
    format!(
        r#"# An introducer of a Sarsen grid. Keys that are not known are refused.

# Where it listens (UDP). With port 0 it takes a free port at each start and writes it to introducer.url.
listen = "{listen}"

# The host, or host:port, that introducer.url tells others, if it is not the address above: behind a NAT, or under a name.
# advertise = "introducer.example.org"

# What you call it.
nickname = ""

# Keys of the owners of grids ("sarsen grid init" prints one) that may publish who belongs to them, and invite. Empty: whoever comes first.
owners = []
"#
    )
}

const CONFIG: &str = "introducer.toml";
const KEY: &str = "node.key";
const URL: &str = "introducer.url";
const ANNOUNCEMENTS: &str = "announcements";
const MEMBERS: &str = "members";
const LOCK: &str = "lock";
const MAX_CONFIG: u64 = 64 * 1024;
