//! What is inside a recovery file: TOML, by `docs/spec/recovery.md`.

use std::path::Path;

use caps::{Cap, MAX_CAP_LEN};
use protocol::{NodeAddress, NodeId};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::RecoveryError;
use crate::aliases::Aliases;
use crate::config::{ClientDir, Settings, Shares, secret_from_text, secret_to_text};

const FORMAT: &str = "sarsen-recovery";
/// The version written and the newest read.
pub(super) const VERSION: u32 = 1;

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub(super) struct Contents {
    format: String,
    version: u32,
    account_key: String,
    convergence: String,
    #[zeroize(skip)]
    settings: Kept,
    #[serde(default, rename = "alias")]
    aliases: Vec<Alias>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    introducers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    pinned: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    shares: Shares,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Alias {
    name: String,
    cap: String,
}

/// What tells the version of a file whose other keys may be unknown.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

impl Contents {
    /// What there is to keep of a client, and what to remember of its aliases.
    pub(super) fn collect(dir: &ClientDir) -> Result<(Self, String), RecoveryError> {
        let settings = dir.settings()?;
        let listing = Aliases::of(dir).list()?;
        let marker = super::marker_text(&listing);
        let aliases =
            listing.aliases.iter().map(|(name, cap)| Alias { name: name.clone(), cap: cap.to_string() });
        let contents = Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            account_key: secret_to_text(&*dir.account_secret()?),
            convergence: secret_to_text(&settings.convergence),
            settings: Kept {
                introducers: settings.introducers.iter().map(ToString::to_string).collect(),
                zone: settings.zone.clone(),
                pinned: settings.pinned.iter().map(ToString::to_string).collect(),
                owner: settings.owner.map(|owner| owner.to_string()),
                shares: settings.shares,
            },
            aliases: aliases.collect(),
        };
        Ok((contents, marker))
    }

    pub(super) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(toml::to_string(self).expect("plain values"))
    }

    pub(super) fn from_text(text: &str) -> Result<Self, RecoveryError> {
        let head: Head = parse(text)?;
        if head.format != FORMAT {
            return Err(RecoveryError::NotARecoveryFile);
        }
        if head.version > VERSION {
            return Err(RecoveryError::Newer { version: head.version });
        }
        parse(text)
    }

    /// How many aliases.
    pub(super) fn aliases(&self) -> usize {
        self.aliases.len()
    }

    /// Makes a client's directory of it. Everything is checked before anything is written.
    pub(super) fn write(&self, dir: &Path) -> Result<ClientDir, RecoveryError> {
        let account = secret_from_text(&self.account_key).ok_or_else(|| bad("the account's key"))?;
        let convergence = secret_from_text(&self.convergence).ok_or_else(|| bad("the convergence secret"))?;
        let introducers = self.settings.introducers.iter().map(|text| text.parse::<NodeAddress>());
        let introducers =
            introducers.collect::<Result<_, _>>().map_err(|_| bad("an introducer's address"))?;
        let pinned = self.settings.pinned.iter().map(|text| text.parse::<NodeId>());
        let pinned = pinned.collect::<Result<_, _>>().map_err(|_| bad("a pinned server's key"))?;
        let owner = self.settings.owner.as_ref().map(|text| text.parse::<NodeId>()).transpose();
        let owner = owner.map_err(|_| bad("the key of the grid's owner"))?;
        let settings = Settings {
            introducers,
            pinned,
            owner,
            shares: self.settings.shares,
            zone: self.settings.zone.clone(),
            convergence,
            timeouts: crate::Timeouts::default(),
        };
        let made = ClientDir::restore(dir, &account, &settings)?;
        let mut aliases = Vec::with_capacity(self.aliases.len());
        for alias in &self.aliases {
            let cap = Some(&alias.cap).filter(|cap| cap.len() <= MAX_CAP_LEN);
            let cap: Option<Cap> = cap.and_then(|cap| cap.parse().ok());
            aliases.push((alias.name.as_str(), cap.ok_or_else(|| bad("the cap of an alias"))?));
        }
        Aliases::of(&made).add_all(&aliases)?;
        Ok(made)
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, RecoveryError> {
    // The error's own text repeats the line, which may hold a secret; its message does not.
    toml::from_str(text).map_err(|error: toml::de::Error| bad(&reason(error.message())))
}

/// What a message of the parser says, without anything it quotes.
fn reason(message: &str) -> String {
    message.split(['"', '`']).next().unwrap_or_default().trim().to_owned()
}

fn bad(reason: &str) -> RecoveryError {
    RecoveryError::Contents { reason: reason.to_owned() }
}
