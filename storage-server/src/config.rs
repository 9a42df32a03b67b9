//! `server.toml`: what a server's owner decides. Unknown keys are refused.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use protocol::identity::AddressError;
use protocol::limits::{MAX_LIST, MAX_TEXT_LEN};
use protocol::{NodeAddress, NodeId};
use serde::{Deserialize, Deserializer};

use crate::members::Members;
use crate::period::Period;
use crate::scrub::{SCRUB_PERIOD, SCRUB_RATE, ScrubOptions};
use crate::server::Admission;
use crate::size::Size;
use crate::store::{GRACE, IDLE_LIMIT};
use crate::usage::Quotas;

/// The content of `server.toml`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen: `address:port`; port 0 takes a free one.
    pub listen: String,
    /// Where others find this server: `host:port`, best first. Empty: where it listens.
    #[serde(default)]
    pub advertise: Vec<String>,
    /// What its owner calls it.
    #[serde(default)]
    pub nickname: String,
    /// What it shares its fate with.
    #[serde(default)]
    pub zone: Option<String>,
    /// Introducers to announce it to.
    #[serde(default, deserialize_with = "addresses")]
    pub introducers: Vec<NodeAddress>,
    /// The owner of the grid that the server belongs to.
    #[serde(default, deserialize_with = "optional_id")]
    pub owner: Option<NodeId>,
    /// Who may store.
    #[serde(default, deserialize_with = "admission")]
    pub admission: AdmissionConfig,
    /// Bytes that an account may be charged, in all stores together.
    #[serde(default)]
    pub quota: Option<Size>,
    /// How long an object stays after its last lease ended.
    #[serde(default = "grace")]
    pub grace: Period,
    /// How long an account may not be heard of before its leases end.
    #[serde(default = "idle_limit")]
    pub idle_limit: Period,
    /// How its stores are scrubbed.
    #[serde(default)]
    pub scrub: ScrubConfig,
    /// Bytes a second at which it hands over by itself what stands better on an emptier server.
    #[serde(default)]
    pub rebalance: Option<Size>,
    /// The servers that it may hand shares over to. Empty: those that the grid's owner certified; without an owner, all that are announced.
    #[serde(default, deserialize_with = "ids")]
    pub hand_over_to: Vec<NodeId>,
    /// Its stores.
    #[serde(default)]
    pub storage: Vec<StorageConfig>,
}

impl Default for Config {
    /// That of a server with no stores, which listens nowhere in particular.
    fn default() -> Self {
        Self {
            listen: String::new(),
            advertise: Vec::new(),
            nickname: String::new(),
            zone: None,
            introducers: Vec::new(),
            owner: None,
            admission: AdmissionConfig::default(),
            quota: None,
            grace: grace(),
            idle_limit: idle_limit(),
            scrub: ScrubConfig::default(),
            rebalance: None,
            hand_over_to: Vec::new(),
            storage: Vec::new(),
        }
    }
}

/// Who may store, as the file says it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum AdmissionConfig {
    /// `"open"`
    #[default]
    Open,
    /// `"members"`: of the grid of [`Config::owner`]
    Members,
    /// `{ accounts = ["<key>", { key = "<key>", quota = "1T" }, ...] }`
    Accounts(Vec<AccountConfig>),
}

/// An account that may store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccountConfig {
    /// Its key.
    pub key: NodeId,
    /// Bytes it may be charged, where that is for it alone.
    pub quota: Option<Size>,
}

impl AdmissionConfig {
    fn to_text(&self) -> String {
        match self {
            Self::Open => quoted("open"),
            Self::Members => quoted("members"),
            Self::Accounts(accounts) => {
                let accounts: Vec<String> = accounts.iter().map(|account| account.to_text()).collect();
                format!("{{ accounts = [{}] }}", accounts.join(", "))
            }
        }
    }

    /// As a server takes it that knows of its grid what `members` does.
    pub fn to_admission(&self, members: Option<&Members>) -> Admission {
        match (self, members) {
            (Self::Open, _) => Admission::Open,
            (Self::Accounts(accounts), _) => {
                Admission::Listed(accounts.iter().map(|account| account.key).collect())
            }
            (Self::Members, Some(members)) => Admission::Members(members.clone()),
            // `Config::parse` lets no such file through: nobody is a member of no grid.
            (Self::Members, None) => Admission::Listed(HashSet::new()),
        }
    }
}

/// How stores are scrubbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrubConfig {
    /// Every share is hashed again once in this time.
    pub period: Period,
    /// Bytes a second that are read for it, at most, of each store.
    pub max_rate: Size,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self { period: Period(SCRUB_PERIOD), max_rate: Size(SCRUB_RATE) }
    }
}

impl ScrubConfig {
    fn to_text(self) -> String {
        let Self { period, max_rate } = self;
        format!(
            r#"# Every share is read and held against its hashes once in this time (by the wall clock or by the time the server runs, whichever has more
# gone by), spread evenly over it, at no more than so many bytes a second of each store. "0s": never.
scrub.period = "{period}"
scrub.max_rate = "{max_rate}""#
        )
    }

    /// As a store takes it.
    pub fn to_options(self) -> ScrubOptions {
        ScrubOptions { period: self.period.0, max_rate: self.max_rate.0 }
    }
}

/// One store.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// Its directory; relative to that of the file.
    pub path: PathBuf,
    /// Bytes of its disk that are left free.
    #[serde(default)]
    pub reserve: Size,
    /// Takes no shares, and serves those it has.
    #[serde(default)]
    pub read_only: bool,
    /// The store that must be there: another disk, or none, is then noticed.
    #[serde(default, deserialize_with = "optional_id")]
    pub id: Option<NodeId>,
}

/// Why `server.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not TOML, an unknown key, a wrong type or value; the message has line and column.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// A text or list is too long, or a text has control characters.
    #[error("{field} is too long, or has control characters in it")]
    TooLong {
        /// Which.
        field: &'static str,
    },
    /// Members of which grid is not said.
    #[error("admission = \"members\" wants to know whose: set `owner` to the key of the grid's owner")]
    NoOwner,
    /// Two stores in one directory.
    #[error("{} is listed as a store twice", path.display())]
    Twice {
        /// The directory.
        path: PathBuf,
    },
}

impl Config {
    /// Reads the text of a `server.toml`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)?;
        let bad = |text: &String| text.len() > MAX_TEXT_LEN || text.chars().any(char::is_control);
        let lists = [("storage", config.storage.len()), ("advertise", config.advertise.len())];
        if let Some((field, _)) = lists.into_iter().find(|(_, len)| *len > MAX_LIST) {
            return Err(ConfigError::TooLong { field });
        }
        let texts = [
            ("nickname", bad(&config.nickname)),
            ("zone", config.zone.as_ref().is_some_and(bad)),
            ("advertise", config.advertise.iter().any(bad)),
        ];
        if let Some((field, _)) = texts.into_iter().find(|(_, bad)| *bad) {
            return Err(ConfigError::TooLong { field });
        }
        if config.admission == AdmissionConfig::Members && config.owner.is_none() {
            return Err(ConfigError::NoOwner);
        }
        let mut seen = HashSet::new();
        match config.storage.iter().find(|store| !seen.insert(&store.path)) {
            Some(store) => Err(ConfigError::Twice { path: store.path.clone() }),
            None => Ok(config),
        }
    }

    /// What accounts may be charged.
    pub fn quotas(&self) -> Quotas {
        let of = match &self.admission {
            AdmissionConfig::Open | AdmissionConfig::Members => BTreeMap::new(),
            AdmissionConfig::Accounts(accounts) => {
                accounts.iter().filter_map(|account| Some((account.key, account.quota?.0))).collect()
            }
        };
        Quotas { each: self.quota.map(|quota| quota.0), of }
    }

    /// The commented text of a new `server.toml`.
    pub fn to_text(&self) -> String {
        let list = |items: Vec<String>| items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
        let introducers = list(self.introducers.iter().map(ToString::to_string).collect());
        let admission = self.admission.to_text();
        let owner = line("owner", self.owner, "<key>");
        let zone = line("zone", self.zone.as_ref(), "cellar");
        let quota = line("quota", self.quota, "100G");
        let rebalance = line("rebalance", self.rebalance, "5M");
        let mut text = format!(
            r#"# A storage server of Sarsen. Unknown keys are refused; sizes are like "50G" (10^9) or "50GiB" (2^30).

# Where to listen (UDP).
listen = {listen}

# Where others find this server, "host:port", best first. Empty: where it listens.
advertise = [{advertise}]

# What you call it; everybody can read it.
nickname = {nickname}

# What it shares its fate with (a house, a rack): copies are spread over zones first.
{zone}

# Introducers to announce it to: "sarsen://<key>@host:port".
introducers = [{introducers}]

# The key of the grid's owner (`sarsen grid init` prints it), by whose certificate this server counts for the grid's clients.
{owner}

# Who may store: "open" (everybody), "members" (whoever the grid's owner admitted), or {{ accounts = ["<key>", ...] }}. Reading needs no account.
# {{ key = "<key>", quota = "1T" }} in place of a key gives that account a quota of its own.
admission = {admission}

# Bytes that an account may be charged on this server, all stores together. Without it: as much as there is room. Where admission is open,
# anybody can make another account.
{quota}

# How long an object stays after its last lease ended, and how long an account may not be heard of before its leases end ("7d", "12h").
# Both count the time the server runs.
grace = "{grace}"
idle_limit = "{idle_limit}"

{scrub}
# Bytes a second at which this server hands over by itself what stands better on an emptier one. Without it, only when it is told to
# (`sarsen server rebalance`).
{rebalance}

# The servers that it may hand shares over to: ["<key>", ...]. Empty: those that the grid's owner certified; without an owner, all that are
# announced.
hand_over_to = [{hand_over_to}]

# Stores, one for each disk. `sarsen server disk add|remove|set` edits them.
#   path       its directory
#   reserve    bytes of the disk that are left free
#   read_only  true: it takes no shares, and serves those it has
#   id         the store that must be there, so that an unmounted or swapped disk is noticed
"#,
            listen = quoted(&self.listen),
            advertise = list(self.advertise.clone()),
            hand_over_to = list(self.hand_over_to.iter().map(ToString::to_string).collect()),
            nickname = quoted(&self.nickname),
            grace = self.grace,
            idle_limit = self.idle_limit,
            scrub = self.scrub.to_text(),
        );
        for store in &self.storage {
            text.push_str(&store.to_text());
        }
        text
    }
}

impl AccountConfig {
    fn to_text(self) -> String {
        match self.quota {
            Some(quota) => format!("{{ key = \"{}\", quota = \"{quota}\" }}", self.key),
            None => quoted(&self.key.to_string()),
        }
    }
}

impl StorageConfig {
    /// Its block in `server.toml`.
    pub fn to_text(&self) -> String {
        let id = self.id.map(|id| format!("id = \"{id}\"\n")).unwrap_or_default();
        let (path, reserve) = (quoted(&self.path.to_string_lossy()), self.reserve);
        let read_only = self.read_only;
        format!("\n[[storage]]\npath = {path}\nreserve = \"{reserve}\"\nread_only = {read_only}\n{id}")
    }
}

fn grace() -> Period {
    Period(GRACE)
}

fn idle_limit() -> Period {
    Period(IDLE_LIMIT)
}

/// What is set; else an example of it, commented out.
fn line(key: &str, value: Option<impl ToString>, example: &str) -> String {
    match value {
        Some(value) => format!("{key} = {}", quoted(&value.to_string())),
        None => format!("# {key} = {}", quoted(example)),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn parsed<T: std::str::FromStr<Err = AddressError>, E: serde::de::Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(|error| E::custom(format_args!("{text:?}: {error}")))
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NodeAddress>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| parsed(text)).collect()
}

fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NodeId>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| parsed(text)).collect()
}

fn optional_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NodeId>, D::Error> {
    parsed(&String::deserialize(deserializer)?).map(Some)
}

fn admission<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AdmissionConfig, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Text {
        Open,
        Members,
        Accounts(Vec<Account>),
    }
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a key, or { key = \"<key>\", quota = \"1T\" }")]
    enum Account {
        Key(String),
        WithQuota(WithQuota),
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct WithQuota {
        key: String,
        quota: Size,
    }
    let account = |account: &Account| {
        let (key, quota) = match account {
            Account::Key(key) => (key, None),
            Account::WithQuota(account) => (&account.key, Some(account.quota)),
        };
        Ok(AccountConfig { key: parsed(key)?, quota })
    };
    match Text::deserialize(deserializer)? {
        Text::Open => Ok(AdmissionConfig::Open),
        Text::Members => Ok(AdmissionConfig::Members),
        Text::Accounts(accounts) => {
            accounts.iter().map(account).collect::<Result<_, _>>().map(AdmissionConfig::Accounts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let config = Config {
            listen: "0.0.0.0:3456".into(),
            advertise: vec!["a.example:3456".into()],
            nickname: "the \"old\" one".into(),
            zone: Some("cellar".into()),
            introducers: vec![format!("sarsen://{}@h:1", NodeId::new([1; 32])).parse().unwrap()],
            owner: Some(NodeId::new([5; 32])),
            admission: AdmissionConfig::Accounts(vec![
                AccountConfig { key: NodeId::new([2; 32]), quota: None },
                AccountConfig { key: NodeId::new([4; 32]), quota: Some(Size(1 << 40)) },
            ]),
            quota: Some(Size(100_000_000_000)),
            grace: "36h".parse().unwrap(),
            idle_limit: "90d".parse().unwrap(),
            scrub: ScrubConfig { period: "14d".parse().unwrap(), max_rate: Size(20_000_000) },
            rebalance: Some(Size(5_000_000)),
            hand_over_to: vec![NodeId::new([9; 32])],
            storage: vec![StorageConfig {
                path: "/disk/a".into(),
                reserve: Size(50_000_000_000),
                read_only: true,
                id: Some(NodeId::new([3; 32])),
            }],
        };
        assert_eq!(Config::parse(&config.to_text()).unwrap(), config);
        assert_eq!(config.quotas().of(&NodeId::new([4; 32])), Some(1 << 40));
        assert_eq!(config.quotas().of(&NodeId::new([2; 32])), Some(100_000_000_000));
        let members = Config { admission: AdmissionConfig::Members, ..config.clone() };
        assert_eq!(Config::parse(&members.to_text()).unwrap(), members);
        let nobodys = Config { owner: None, ..members };
        assert!(matches!(Config::parse(&nobodys.to_text()), Err(ConfigError::NoOwner)));
        let plain = Config {
            zone: None,
            quota: None,
            rebalance: None,
            hand_over_to: vec![],
            admission: AdmissionConfig::Open,
            storage: vec![],
            ..config
        };
        assert_eq!(Config::parse(&plain.to_text()).unwrap(), plain);
    }

    #[test]
    fn errors_name_line_and_key() {
        for (text, line, word) in [
            ("listen = \"a:1\"\nlisen = 1\n", 2, "lisen"),
            ("listen = \"a:1\"\nadmission = \"closed\"\n", 2, "closed"),
            ("listen = \"a:1\"\n\nintroducers = [\"http://x\"]\n", 3, "sarsen://"),
            ("listen = \"a:1\"\n[[storage]]\npath = \"x\"\nreserve = \"5X\"\n", 4, "5X"),
            ("listen = \"a:1\"\n[[storage]]\nreserve = \"5G\"\n", 2, "path"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}")) && error.contains(word), "{error}");
        }
        let twice = "listen = \"a:1\"\n[[storage]]\npath = \"x\"\n[[storage]]\npath = \"x\"\n";
        assert!(matches!(Config::parse(twice), Err(ConfigError::Twice { .. })));
    }
}
