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
    /// Print a line of JSON for each thing, and one of totals
    #[arg(long, visible_alias = "raw")]
    pub(crate) json: bool,
}
