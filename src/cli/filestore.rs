//! The grammar of the verbs for directories and what is in them.

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::Json;
use crate::sizes::SizeTest;

#[derive(Args)]
pub(crate) struct Mkdir {
    /// Make an immutable directory, of the children given as NAME=CAP
    #[arg(long)]
    pub(crate) immutable: bool,
    /// What happens anyway
    #[arg(short, long, hide = true)]
    pub(crate) parents: bool,
    /// Where to, directories above it included; nothing for a directory that is linked nowhere. With --immutable, then its children
    #[arg(value_name = "PATH|NAME=CAP")]
    pub(crate) args: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Ls {
    /// The directory or file; nothing for the default alias
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) path: String,
    /// Show mode, size and time
    #[arg(short = 'l', long)]
    pub(crate) long: bool,
    /// Show the strongest cap of each
    #[arg(long)]
    pub(crate) uri: bool,
    /// Show the read cap of each
    #[arg(long)]
    pub(crate) readonly_uri: bool,
    /// Mark directories with /, symbolic links with @, files that may change with *
    #[arg(short = 'F', long)]
    pub(crate) classify: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// What `put` makes, in Tahoe's words.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A mutable file.
    #[value(name = "SDMF", alias = "sdmf")]
    Sdmf,
    /// A mutable file: there is one kind, of any size.
    #[value(name = "MDMF", alias = "mdmf")]
    Mdmf,
    /// An immutable file.
    #[value(name = "CHK", alias = "chk")]
    Chk,
}

#[derive(Args)]
pub(crate) struct FromTo {
    /// What
    pub(crate) from: String,
    /// Where to: into it, if it is a directory or ends in /
    pub(crate) to: String,
}

#[derive(Args)]
pub(crate) struct Rm {
    /// What to take out of its directory; a directory goes with all that is in it
    #[arg(required = true)]
    pub(crate) paths: Vec<String>,
    /// What is not there is no error
    #[arg(short, long)]
    pub(crate) force: bool,
    /// What happens anyway
    #[arg(short, long, short_alias = 'R', hide = true)]
    pub(crate) recursive: bool,
    /// Let go, too: end this account's leases on what no root of it reaches any more
    #[arg(long)]
    pub(crate) purge: bool,
    /// Only say how much would be let go, and remove nothing
    #[arg(long, requires = "purge")]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long, requires = "purge")]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(group(ArgGroup::new("what")))]
pub(crate) struct Manifest {
    /// Where to begin; nothing for the default alias
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) path: String,
    /// Print storage indexes only
    #[arg(short = 's', long, group = "what")]
    pub(crate) storage_index: bool,
    /// Print verify caps only
    #[arg(long, group = "what")]
    pub(crate) verify_cap: bool,
    /// Print repair caps only
    #[arg(long, group = "what")]
    pub(crate) repair_cap: bool,
    /// Print a line of JSON for each, and one of statistics
    #[arg(short = 'r', long, alias = "json", visible_alias = "json", group = "what")]
    pub(crate) raw: bool,
}

#[derive(Args)]
pub(crate) struct Stats {
    /// Where to begin; nothing for the default alias
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) path: String,
    /// Print JSON
    #[arg(short = 'r', long = "json", visible_alias = "raw")]
    pub(crate) json: bool,
}

/// What `find --type` asks for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Files.
    F,
    /// Directories.
    D,
    /// Symbolic links.
    L,
}

#[derive(Args)]
pub(crate) struct Find {
    /// Where to begin; nothing for the default alias
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) path: String,
    /// Only names that match, as a shell matches: *, ?, [a-z]
    #[arg(long, value_name = "GLOB")]
    pub(crate) name: Option<glob::Pattern>,
    /// Only files, directories or symbolic links
    #[arg(long = "type")]
    pub(crate) kind: Option<Kind>,
    /// Only files of more than, less than, or exactly so many bytes
    #[arg(long, value_name = "+N|-N|N", allow_hyphen_values = true)]
    pub(crate) size: Option<SizeTest>,
    /// Show mode, size and time
    #[arg(short = 'l', long)]
    pub(crate) long: bool,
    /// End each path with a NUL instead of a newline, for `xargs -0`
    #[arg(short = '0', long, conflicts_with = "long")]
    pub(crate) print0: bool,
}

#[derive(Args)]
pub(crate) struct Tree {
    /// Where to begin; nothing for the default alias
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) path: String,
    /// No deeper than this
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) depth: Option<u32>,
}

#[derive(Args)]
pub(crate) struct Diff {
    /// One directory or file
    pub(crate) left: String,
    /// The other
    pub(crate) right: String,
}

#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Du {
    /// Where to begin; nothing for the default alias
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) path: String,
    /// Sizes for people instead of bytes
    #[arg(short = 'h', long)]
    pub(crate) human: bool,
    /// Show directories no deeper than this
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<u32>,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    pub(crate) help: Option<bool>,
}

#[derive(Subcommand)]
pub(crate) enum SlotCommand {
    /// Show its newest record: members, quorum, epoch
    Show {
        /// A directory or mutable file
        path: String,
        #[command(flatten)]
        json: Json,
    },
    /// Send the newest record to members that lack it, and show which hold it; a verify cap is enough
    Restore {
        /// A directory or mutable file
        path: String,
        #[command(flatten)]
        json: Json,
    },
    /// Replace members that are lost by stores that the grid has now
    Members {
        /// A directory or mutable file
        path: String,
        /// Do not ask the members there are: for when too many are lost for good. What only they acknowledged is lost
        #[arg(long)]
        force: bool,
    },
    /// The same as `members --force`
    Force {
        /// A directory or mutable file
        path: String,
    },
    /// Delete it for good, wherever it is linked
    Delete {
        /// A directory or mutable file
        path: String,
    },
}
