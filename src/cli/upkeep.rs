//! The grammar of looking after what is stored.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Args)]
pub(crate) struct Check {
    /// What to check: a path or a capability, down to a verify cap; nothing for the default alias
    #[arg(default_value = "", hide_default_value = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Check all that is below, too. With a repair cap no name and no byte of it is read
    #[arg(short = 'r', long, visible_alias = "deep")]
    pub(crate) recursive: bool,
    /// Hold shares against the capability, instead of asking who has what: all of each (full), or random pieces (sampled: 161 of each
    /// share of a file; with -r 459 of a file, of all its shares together)
    #[arg(long, value_name = "GRADE", num_args = 0..=1, require_equals = true, default_missing_value = "full")]
    pub(crate) verify: Option<Thoroughness>,
    /// As --verify=sampled, with so many pieces of 1 KiB of each share: 459 find with 99 % that a hundredth of it is lost
    #[arg(long, value_name = "PIECES", conflicts_with = "verify", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) samples: Option<u32>,
    /// Make missing shares anew, and put them on servers that have none
    #[arg(long)]
    pub(crate) repair: bool,
    /// Add or renew this account's leases on all of it, so that no server lets it go
    #[arg(long, visible_alias = "add-lease")]
    pub(crate) renew: bool,
    /// Print a line of JSON for each thing, and one of totals
    #[arg(long, visible_alias = "raw")]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Thoroughness {
    /// Random pieces of each share, with proofs
    Sampled,
    /// Every share, whole
    Full,
}

#[derive(Args)]
pub(crate) struct Renew {
    /// What to keep, with all there is below: a path or a capability, down to a repair cap; nothing for the default alias
    #[arg(default_value = "", hide_default_value = true, value_name = "PATH")]
    pub(crate) path: String,
    /// How long to keep it, like 90d, in days that the servers run. Without: as long as they hear of this account at least once a year
    #[arg(long = "for", value_name = "DAYS", value_parser = days)]
    pub(crate) duration: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Drain {
    /// The server's directory
    pub(crate) server_dir: PathBuf,
    /// Only say how far it is: exit code 0 once it may be switched off, 3 before
    #[arg(long, conflicts_with = "cancel")]
    pub(crate) status: bool,
    /// Stop handing over, and take new shares again; what was handed over stays where it is
    #[arg(long)]
    pub(crate) cancel: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Sweep {
    /// Roots whose garbage to look for, as ALIAS: or a capability. What any root of this client reaches stays all the same
    #[arg(value_name = "ROOT", required_unless_present = "all")]
    pub(crate) roots: Vec<String>,
    /// Look for the garbage of all aliases
    #[arg(long, conflicts_with = "roots")]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only say how much would be let go
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Let go, too, what was stored without a path, or for roots that no alias names: whoever keeps a capability of it loses it
    #[arg(long)]
    pub(crate) loose: bool,
    /// Leave what was stored or renewed more lately than this, like 12h: an upload that is under way links it later
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = time)]
    pub(crate) older_than: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Rebalance {
    /// The server's directory
    pub(crate) server_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A time as seconds.
fn time(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let found = units.iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit)?.parse::<u64>().ok()?;
        number.checked_mul(*seconds).filter(|seconds| *seconds <= 36_500 * 86_400)
    });
    found.ok_or_else(|| "a time, like 0s, 30m, 12h or 2d".to_owned())
}

/// Days as seconds.
fn days(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('d').unwrap_or(text).parse::<u64>();
    match number {
        Ok(days @ 1..=36_500) => Ok(days * 86_400),
        _ => Err("a number of days, from 1d to 36500d".to_owned()),
    }
}
