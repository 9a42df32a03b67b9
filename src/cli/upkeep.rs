//! The grammar of looking after what is stored.

use clap::Args;

#[derive(Args)]
pub(crate) struct Check {
    /// What to check: a path or a capability, down to a verify cap; nothing for the default alias
    #[arg(default_value = "", hide_default_value = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Check all that is below, too. With a repair cap no name and no byte of it is read
    #[arg(short = 'r', long, visible_alias = "deep")]
    pub(crate) recursive: bool,
    /// Fetch every share and hold all of it against the capability, instead of asking who has what
    #[arg(long)]
    pub(crate) verify: bool,
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
pub(crate) struct Sweep {
    /// Roots whose garbage to look for, as ALIAS: or a capability. What any root of this client reaches stays all the same
    #[arg(value_name = "ROOT", required_unless_present = "all")]
    pub(crate) roots: Vec<String>,
    /// Look for that of all aliases
    #[arg(long, conflicts_with = "roots")]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only say how much would be let go
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Let go, too, what was stored without a path, or for roots that no alias names. Keep the capabilities of none of it
    #[arg(long)]
    pub(crate) loose: bool,
    /// Leave what was stored or renewed more lately than this, like 12h: an upload that is under way links it later
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = time)]
    pub(crate) older_than: u64,
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
