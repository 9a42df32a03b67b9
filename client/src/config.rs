//! The client's own directory: settings, account key, convergence secret, and the cache of servers.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use data_encoding::BASE32_NOPAD;
use encoding::Params;
use protocol::{NodeAddress, NodeId, NodeKey, Random};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::files::{create_secret, read_secret, write_atomically};
use crate::grid::{CacheError, GridView};
use crate::membership::Papers;
use crate::servers::Timeouts;
use crate::slot::SlotMemory;

const SETTINGS_FILE: &str = "sarsen.toml";
const KEY_FILE: &str = "private/account.key";
const CONVERGENCE_FILE: &str = "private/convergence";
const CACHE_FILE: &str = "servers.cache";
const PAPERS_FILE: &str = "membership";
const MEMORY_FOLDER: &str = "slots";

/// How many shares: k, how many servers must have one, and N.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shares {
    /// k, `shares_needed`: so many shares give the file back.
    pub needed: u16,
    /// `shares_happy`: so many servers must hold a share of their own before a file counts as stored.
    pub happy: u16,
    /// N, `shares_total`: so many shares are made.
    pub total: u16,
}

impl Default for Shares {
    fn default() -> Self {
        Self { needed: 3, happy: 7, total: 10 }
    }
}

impl Shares {
    /// Checks 1 <= k <= happy <= N <= 256.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Shares`].
    pub fn params(self) -> Result<Params, ConfigError> {
        match Params::new(self.needed, self.total) {
            Ok(params) if (self.needed..=self.total).contains(&self.happy) => Ok(params),
            _ => Err(ConfigError::Shares { shares: self }),
        }
    }
}

impl std::str::FromStr for Shares {
    type Err = ConfigError;

    /// `K/HAPPY/N`.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let numbers: Vec<u16> = text.split('/').map_while(|number| number.parse().ok()).collect();
        let &[needed, happy, total] = &numbers[..] else {
            return Err(ConfigError::SharesForm { text: text.to_owned() });
        };
        let shares = Self { needed, happy, total };
        shares.params().map(|_| shares)
    }
}

/// A client's settings.
#[derive(Clone)]
pub struct Settings {
    /// Whom to ask which servers exist.
    pub introducers: Vec<NodeAddress>,
    /// How files are encoded.
    pub shares: Shares,
    /// Where this client is, for itself; servers never see it.
    pub zone: Option<String>,
    /// If not empty, only these servers get shares and count: whoever an introducer names beside them cannot pose as many.
    pub pinned: Vec<NodeId>,
    /// The owner of the grid: if set, only servers that it certified, and those that are pinned, get shares and count.
    pub owner: Option<NodeId>,
    /// The convergence secret: equal files of clients that share it are stored once.
    pub convergence: Zeroizing<[u8; 32]>,
    /// Bounds on waiting.
    pub timeouts: Timeouts,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsFile {
    #[serde(default)]
    introducers: Vec<String>,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    pinned: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(default)]
    shares: Shares,
}

/// Why the client's directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is none.
    #[error("{dir} is not a client's directory")]
    Missing {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// There is one already.
    #[error("{dir} is a client's directory already")]
    Exists {
        /// Where it is.
        dir: PathBuf,
    },
    /// A file in it cannot be read or written.
    #[error("{path} cannot be used")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The settings cannot be understood.
    #[error("{path} cannot be understood: {reason}")]
    Settings {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A key or secret is damaged.
    #[error("{path} does not hold 32 bytes in base32")]
    Secret {
        /// The file.
        path: PathBuf,
    },
    /// Impossible encoding parameters.
    #[error("{}/{}/{} is not within 1 <= K <= HAPPY <= N <= 256", shares.needed, shares.happy, shares.total)]
    Shares {
        /// The parameters.
        shares: Shares,
    },
    /// Not three numbers.
    #[error("{text} is not of the form K/HAPPY/N")]
    SharesForm {
        /// What was given.
        text: String,
    },
    /// The file of the certificate cannot be used.
    #[error("{path} cannot be used: {reason}")]
    Papers {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: protocol::membership::PapersError,
    },
    /// The cache of servers cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// No UDP socket.
    #[error("no UDP socket can be opened")]
    Socket(#[source] io::Error),
}

/// A client's directory on disk.
#[derive(Clone, Debug)]
pub struct ClientDir(PathBuf);

impl ClientDir {
    /// Makes a directory for a new client: a new account, a new convergence secret, and the settings given.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; [`ConfigError::Exists`] if `dir` holds a client already.
    pub fn create(
        dir: &Path,
        introducers: &[NodeAddress],
        shares: Shares,
        zone: Option<String>,
        random: &dyn Random,
    ) -> Result<Self, ConfigError> {
        let account = Zeroizing::new(random.bytes::<32>());
        Self::create_member(dir, &account, introducers, shares, zone, None, random)
    }

    /// The same, for an account whose secret was made before, in the grid of `owner`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; [`ConfigError::Exists`] if `dir` holds a client already.
    pub fn create_member(
        dir: &Path,
        account: &[u8; 32],
        introducers: &[NodeAddress],
        shares: Shares,
        zone: Option<String>,
        owner: Option<NodeId>,
        random: &dyn Random,
    ) -> Result<Self, ConfigError> {
        let convergence = Zeroizing::new(random.bytes::<32>());
        let settings = Settings {
            introducers: introducers.to_vec(),
            shares,
            zone,
            pinned: Vec::new(),
            owner,
            convergence,
            timeouts: Timeouts::default(),
        };
        Self::restore(dir, account, &settings)
    }

    /// Makes a directory for a client that there was before: its account's secret and its settings are given.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; [`ConfigError::Exists`] if `dir` holds a client already.
    pub(crate) fn restore(dir: &Path, account: &[u8; 32], settings: &Settings) -> Result<Self, ConfigError> {
        settings.shares.params()?;
        let made = Self(dir.to_owned());
        if made.path(SETTINGS_FILE).exists() || made.path(KEY_FILE).exists() {
            return Err(ConfigError::Exists { dir: dir.to_owned() });
        }
        let private = made.path("private");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&private).map_err(failed(&private))?;
        for (name, secret) in [(KEY_FILE, account), (CONVERGENCE_FILE, &settings.convergence)] {
            let text = Zeroizing::new(secret_to_text(secret) + "\n");
            create_secret(&made.path(name), text.as_bytes()).map_err(failed(&made.path(name)))?;
        }
        made.write_settings(settings)?;
        Ok(made)
    }

    /// An existing client's directory.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`], or [`ConfigError::File`] where it cannot be seen whether there is one.
    pub fn open(dir: &Path) -> Result<Self, ConfigError> {
        let found = Self(dir.to_owned());
        let path = found.path(SETTINGS_FILE);
        match fs::metadata(&path) {
            Ok(_) => Ok(found),
            Err(error) => Err(unseen(dir, path, error)),
        }
    }

    /// The settings and the convergence secret.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let path = self.path(SETTINGS_FILE);
        let text = fs::read_to_string(&path).map_err(failed(&path))?;
        let bad = |reason: String| ConfigError::Settings { path: path.clone(), reason };
        let file: SettingsFile = toml::from_str(&text).map_err(|e| bad(e.to_string()))?;
        let parse = |text: &String| text.parse().map_err(|e| bad(format!("introducer {text}: {e}")));
        let introducers = file.introducers.iter().map(parse).collect::<Result<_, _>>()?;
        file.shares.params()?;
        let parse = |text: &String| text.parse().map_err(|e| bad(format!("pinned server {text}: {e}")));
        let pinned = file.pinned.iter().map(parse).collect::<Result<_, _>>()?;
        let owner = match &file.owner {
            Some(text) => Some(text.parse().map_err(|e| bad(format!("owner {text}: {e}")))?),
            None => None,
        };
        Ok(Settings {
            introducers,
            pinned,
            owner,
            shares: file.shares,
            zone: file.zone,
            convergence: self.secret(CONVERGENCE_FILE)?,
            timeouts: Timeouts::default(),
        })
    }

    /// The account's key.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn account_key(&self) -> Result<NodeKey, ConfigError> {
        Ok(NodeKey::from_seed(&*self.account_secret()?))
    }

    /// Writes into the settings of a client that joined a grid: its owner, its introducers beside those it had, and its parameters. What its
    /// owner wrote beside the values is lost.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn enter_grid(
        &self,
        owner: NodeId,
        introducers: &[NodeAddress],
        shares: Shares,
    ) -> Result<(), ConfigError> {
        shares.params()?;
        let mut settings = self.settings()?;
        for introducer in introducers {
            if !settings.introducers.contains(introducer) {
                settings.introducers.push(introducer.clone());
            }
        }
        (settings.owner, settings.shares) = (Some(owner), shares);
        self.write_settings(&settings)
    }

    fn write_settings(&self, settings: &Settings) -> Result<(), ConfigError> {
        let file = SettingsFile {
            introducers: settings.introducers.iter().map(ToString::to_string).collect(),
            zone: settings.zone.clone(),
            pinned: settings.pinned.iter().map(ToString::to_string).collect(),
            owner: settings.owner.map(|owner| owner.to_string()),
            shares: settings.shares,
        };
        let text = format!("{SETTINGS_COMMENT}{}", toml::to_string(&file).expect("plain values"));
        let path = self.path(SETTINGS_FILE);
        write_atomically(&path, text.as_bytes(), 0o600).map_err(failed(&path))
    }

    /// Whether the directory holds a client already.
    pub fn holds_client(dir: &Path) -> bool {
        dir.join(SETTINGS_FILE).exists() || dir.join(KEY_FILE).exists()
    }

    /// What this client knows of its membership in the grid of its settings, if they name an owner.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn papers(&self) -> Result<Option<Papers>, ConfigError> {
        let Some(owner) = self.settings()?.owner else { return Ok(None) };
        Papers::load(&self.path(PAPERS_FILE), owner, self.account_key()?.id()).map(Some)
    }

    /// The servers known so far.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Cache`].
    pub fn grid_view(&self) -> Result<GridView, ConfigError> {
        Ok(GridView::load(&self.path(CACHE_FILE))?)
    }

    /// What the members of slots acknowledged to this client.
    pub fn slot_memory(&self) -> SlotMemory {
        SlotMemory::kept_in(&self.path(MEMORY_FOLDER))
    }

    /// What the account's key is made from.
    pub(crate) fn account_secret(&self) -> Result<Zeroizing<[u8; 32]>, ConfigError> {
        self.secret(KEY_FILE)
    }

    fn secret(&self, name: &str) -> Result<Zeroizing<[u8; 32]>, ConfigError> {
        let path = self.path(name);
        let text = read_secret(&path).map_err(failed(&path))?;
        secret_from_text(&text).ok_or(ConfigError::Secret { path })
    }

    /// A file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// A secret as it stands in files: base32.
pub(crate) fn secret_to_text(secret: &[u8; 32]) -> String {
    let mut text = BASE32_NOPAD.encode(secret);
    text.make_ascii_lowercase();
    text
}

/// The secret in such a text.
pub(crate) fn secret_from_text(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let upper = Zeroizing::new(text.trim().to_uppercase());
    let bytes = BASE32_NOPAD.decode(upper.as_bytes()).ok().map(Zeroizing::new)?;
    <[u8; 32]>::try_from(&bytes[..]).ok().map(Zeroizing::new)
}

/// Why there seems to be no client.
fn unseen(dir: &Path, path: PathBuf, source: io::Error) -> ConfigError {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            ConfigError::Missing { dir: dir.to_owned() }
        }
        _ => ConfigError::File { path, source },
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ConfigError + use<> {
    let path = path.to_owned();
    move |source| ConfigError::File { path, source }
}

const SETTINGS_COMMENT: &str = "\
# Settings of a Sarsen client. Unknown keys are refused.
#
# introducers  whom to ask which servers exist: sarsen://<key>@host:port. Several may be named; the union counts.
# zone         a label of your own for where this client is.
# pinned       keys of servers. If any are listed, only these get shares; reading still asks everybody.
# owner        the key of the grid's owner. If set, only servers that it certified, and pinned ones, get shares and count.
# [shares]     needed: so many shares give a file back; happy: so many servers must hold one of their own before a file counts as
#              stored; total: so many are made. Files already stored keep what they were stored with.

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_may_not_be_read_is_not_a_missing_one() {
        let (dir, path) = (Path::new("/d"), PathBuf::from("/d/sarsen.toml"));
        let of = |kind: io::ErrorKind| unseen(dir, path.clone(), kind.into());
        assert!(matches!(of(io::ErrorKind::NotFound), ConfigError::Missing { .. }));
        assert!(matches!(of(io::ErrorKind::NotADirectory), ConfigError::Missing { .. }));
        let denied = of(io::ErrorKind::PermissionDenied);
        assert_eq!(denied.to_string(), "/d/sarsen.toml cannot be used");
        assert!(
            matches!(denied, ConfigError::File { source, .. } if source.to_string() == "permission denied")
        );
    }
}
