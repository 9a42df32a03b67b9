//! The directory of a grid's owner: its key, what new members are told, and the ledger. And telling introducers.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::membership::{SignedCertificate, SignedRevocations};
use protocol::message::{Done, MAX_PUBLISHED, Publish, Request};
use protocol::session::{RequestError, Session};
use protocol::transport::Connector;
use protocol::{NodeAddress, NodeKey, Random};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ledger::Ledger;
use crate::Shares;
use crate::config::{secret_from_text, secret_to_text};
use crate::files::{create_secret, read_secret, write_atomically};
use crate::servers::within;

const KEY_FILE: &str = "owner.key";
const SETTINGS_FILE: &str = "grid.toml";
const LEDGER_FILE: &str = "members.toml";
const LOCK_FILE: &str = "lock";

/// What new members are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridSettings {
    /// The grid's introducers.
    pub introducers: Vec<NodeAddress>,
    /// How its clients encode.
    pub shares: Shares,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsFile {
    introducers: Vec<String>,
    shares: Shares,
}

/// Why an owner's directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// There is one already.
    #[error("{} holds the owner of a grid already", dir.display())]
    Exists {
        /// Where it is.
        dir: PathBuf,
    },
    /// There is none.
    #[error("{} holds no owner of a grid", dir.display())]
    Missing {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// Another process changes it.
    #[error("another process is at work in {}", dir.display())]
    Busy {
        /// Where.
        dir: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file cannot be understood.
    #[error("{} cannot be understood: {reason}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The directory of a grid's owner, with its key.
pub struct OwnerDir {
    dir: PathBuf,
    /// The owner's key.
    pub key: NodeKey,
    /// What new members are told.
    pub settings: GridSettings,
}

impl OwnerDir {
    /// Makes `dir` that of a new owner.
    ///
    /// # Errors
    ///
    /// [`OwnerError`].
    pub fn create(dir: &Path, settings: &GridSettings, random: &dyn Random) -> Result<Self, OwnerError> {
        if dir.join(KEY_FILE).exists() {
            return Err(OwnerError::Exists { dir: dir.to_owned() });
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))?;
        let file = SettingsFile {
            introducers: settings.introducers.iter().map(ToString::to_string).collect(),
            shares: settings.shares,
        };
        let text = format!("{COMMENT}{}", toml::to_string(&file).expect("plain values"));
        let path = dir.join(SETTINGS_FILE);
        write_atomically(&path, text.as_bytes(), 0o600).map_err(failed(&path))?;
        let seed = Zeroizing::new(random.bytes::<32>());
        let text = Zeroizing::new(secret_to_text(&seed) + "\n");
        let path = dir.join(KEY_FILE);
        // Last: with this there is an owner.
        create_secret(&path, text.as_bytes()).map_err(failed(&path))?;
        Ok(Self { dir: dir.to_owned(), key: NodeKey::from_seed(&seed), settings: settings.clone() })
    }

    /// An existing one.
    ///
    /// # Errors
    ///
    /// [`OwnerError`].
    pub fn open(dir: &Path) -> Result<Self, OwnerError> {
        let path = dir.join(KEY_FILE);
        if !path.exists() {
            return Err(OwnerError::Missing { dir: dir.to_owned() });
        }
        let text = read_secret(&path).map_err(failed(&path))?;
        let malformed = |path: &Path, reason: String| OwnerError::Malformed { path: path.to_owned(), reason };
        let seed = secret_from_text(&text).ok_or_else(|| malformed(&path, "it holds no key".into()))?;
        let path = dir.join(SETTINGS_FILE);
        let text = fs::read_to_string(&path).map_err(failed(&path))?;
        let file: SettingsFile = toml::from_str(&text).map_err(|e| malformed(&path, e.to_string()))?;
        let parse =
            |text: &String| text.parse().map_err(|e| malformed(&path, format!("introducer {text}: {e}")));
        let introducers = file.introducers.iter().map(parse).collect::<Result<_, _>>()?;
        file.shares.params().map_err(|e| malformed(&path, e.to_string()))?;
        let settings = GridSettings { introducers, shares: file.shares };
        Ok(Self { dir: dir.to_owned(), key: NodeKey::from_seed(&seed), settings })
    }

    /// The ledger as it is.
    ///
    /// # Errors
    ///
    /// [`OwnerError`].
    pub fn ledger(&self) -> Result<Ledger, OwnerError> {
        let path = self.dir.join(LEDGER_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ledger::default()),
            Err(source) => return Err(OwnerError::File { path, source }),
        };
        toml::from_str(&text).map_err(|e| OwnerError::Malformed { path, reason: e.to_string() })
    }

    /// Changes the ledger; durable when this returns. No two processes do so at once.
    ///
    /// # Errors
    ///
    /// [`OwnerError`], or what `change` says; then nothing is changed.
    pub fn change<T, E: From<OwnerError>>(
        &self,
        change: impl FnOnce(&mut Ledger) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = self.dir.join(LOCK_FILE);
        let lock = fs::File::create(&path).map_err(failed(&path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| OwnerError::Busy { dir: self.dir.clone() })?;
        let mut ledger = self.ledger()?;
        let done = change(&mut ledger)?;
        let text = toml::to_string(&ledger).expect("plain values");
        let path = self.dir.join(LEDGER_FILE);
        write_atomically(&path, text.as_bytes(), 0o600).map_err(failed(&path))?;
        Ok(done)
    }
}

/// Tells all `introducers` at once what the owner signed, each within `deadline`; what became of each. `connector` proves the owner's key.
pub async fn publish(
    connector: &Arc<dyn Connector>,
    introducers: &[NodeAddress],
    certificates: Vec<SignedCertificate>,
    revocations: Option<SignedRevocations>,
    deadline: Duration,
) -> Vec<(NodeAddress, Result<(), RequestError>)> {
    let mut parts: Vec<Publish> = certificates
        .chunks(MAX_PUBLISHED)
        .map(|chunk| Publish { certificates: chunk.to_vec(), revocations: None })
        .collect();
    if let Some(revocations) = revocations {
        // First, so that nothing that was taken back is passed on.
        parts.insert(0, Publish { certificates: Vec::new(), revocations: Some(revocations) });
    }
    let parts = Arc::new(parts);
    let mut telling = Vec::new();
    for address in introducers {
        let (connector, address, parts) = (connector.clone(), address.clone(), parts.clone());
        telling.push(tokio::spawn(async move {
            let told = within(deadline, publish_to(&*connector, &address, &parts)).await;
            (address, told)
        }));
    }
    let mut told = Vec::new();
    for telling in telling {
        told.extend(telling.await.ok());
    }
    told
}

async fn publish_to(
    connector: &dyn Connector,
    address: &NodeAddress,
    parts: &[Publish],
) -> Result<(), RequestError> {
    let connection = connector.connect(address.id, std::slice::from_ref(&address.host)).await?;
    let session = Session::start(connection).await?;
    for part in parts {
        let (Done {}, _) = session.request(&Request::Publish(part.clone())).await?;
    }
    session.connection().close();
    Ok(())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> OwnerError + use<> {
    let path = path.to_owned();
    move |source| OwnerError::File { path, source }
}

const COMMENT: &str = "\
# What new members of this grid are told.
#
# introducers  sarsen://<key>@host:port; the first one carries invitations.
# [shares]     how its clients encode: any `needed` shares give a file back, `happy` servers must hold one, `total` are made.

";
