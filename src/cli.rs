//! The command line's grammar.

mod agent;
pub(crate) mod foreign;
mod gateway;
mod members;
mod mount;
mod trees;
mod upkeep;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use client::Shares;
use protocol::NodeAddress;
use storage_server::config::StorageConfig;

use crate::cmd::server::storage_spec;
use crate::sizes::{ByteRange, Size};
pub(crate) use agent::AgentCommand;
pub(crate) use gateway::{GatewayCommand, GatewayRun};
pub(crate) use members::{GridCommand, Join, MemberArgs, ServerJoin};
pub(crate) use mount::{MountArgs, UmountArgs};
pub(crate) use trees::{Backup, Cp, Restore};
pub(crate) use upkeep::{Check, Drain, Rebalance, Renew, Sweep, Thoroughness};

mod filestore;

pub(crate) use filestore::{
    Diff, Du, Find, Format, FromTo, Kind, Ls, Manifest, Mkdir, Rm, SlotCommand, Stats, Tree,
};

/// A storage grid that outlives its disks: files are encrypted and erasure-coded here, and held by servers that nobody needs to trust.
#[derive(Parser)]
#[command(name = "sarsen", version, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Cli {
    /// The client's own directory
    #[arg(long, global = true, env = "SARSEN_DIR", value_name = "DIR", help_heading = EVERYWHERE)]
    pub(crate) dir: Option<PathBuf>,
    /// Say more on stderr; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = EVERYWHERE)]
    pub(crate) verbose: u8,
    /// Show no progress and no notes on stderr, only errors
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where help shows what every verb takes.
const EVERYWHERE: &str = "Options of every verb";

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  error; of `diff`: they differ
  2  usage
  3  partly done
  4  not found
  5  too few servers, or a timeout: a retry may help
  6  refused: authority, quota or admission
  7  unhealthy: something is missing or damaged, and can still be read
  8  unrecoverable: too little is left
  9  repaired: it was unhealthy, and is healthy now
  130  interrupted

PATH is ALIAS:a/b, CAP/a/b, or a/b below the alias `sarsen` (or `tahoe`).
CAP may be the capability itself, @FILE to read it from a file, - for standard input, or env: for $SARSEN_CAP.
Sizes: 50G is 50 * 10^9 bytes, 50GiB is 50 * 2^30.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make this client's directory: a new account and its settings
    Init(Init),
    /// Join a grid with a one-time code from its owner: makes this client's directory if there is none
    Join(Join),
    /// Store a file and print its cap
    Put(Put),
    /// Fetch a file
    Get(Get),
    /// Copy files and directories onto the grid, from it, or within it
    Cp(Cp),
    /// Back up a folder, reading only what changed since the last time
    Backup(Backup),
    /// Bring a tree back as it was
    Restore(Restore),
    /// Make a directory and print its cap
    Mkdir(Mkdir),
    /// List a directory
    Ls(Ls),
    /// Move or rename on the grid
    Mv(FromTo),
    /// Link a file or directory under a further name
    Ln(FromTo),
    /// Take files and directories out of their directories
    #[command(visible_alias = "unlink")]
    Rm(Rm),
    /// List all there is below a directory, with caps
    Manifest(Manifest),
    /// Check whether all shares are there, verify and repair them
    #[command(visible_alias = "deep-check")]
    Check(Check),
    /// Keep a whole tree: add or renew this account's leases on everything in it
    Renew(Renew),
    /// Look after trees without reading them: check, repair and keep them on a schedule
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Serve the grid over HTTP: Tahoe's web API and a web page
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// Show a directory as a folder of this machine, to read and to write
    Mount(MountArgs),
    /// End a mount, when all that was written is on the grid
    Umount(UmountArgs),
    /// Find what no root of this account reaches any more, and let it go
    Sweep(Sweep),
    /// Count and measure all there is below a directory
    Stats(Stats),
    /// Find files by name, kind and size
    Find(Find),
    /// Show a directory and all below it, indented
    Tree(Tree),
    /// Show what differs between two directories
    Diff(Diff),
    /// Show how much is below each directory
    Du(Du),
    /// Look after the slot of a directory or mutable file
    #[command(subcommand)]
    Slot(SlotCommand),
    /// Show introducers, servers, space and round-trip times
    Status(Json),
    /// Forget a server that is gone for good, until it announces itself anew
    Forget {
        /// Its name, its key, or how its key begins
        server: String,
    },
    /// Show how much this client's account is charged on each server, and how much it may be
    Usage(Json),
    /// Give directories short names
    #[command(subcommand)]
    Alias(AliasCommand),
    /// The same as `alias create`, as Tahoe calls it
    CreateAlias {
        /// The name
        name: String,
    },
    /// The same as `alias add`, as Tahoe calls it
    AddAlias {
        /// The name
        name: String,
        /// The directory's cap
        cap: String,
    },
    /// The same as `alias list`, as Tahoe calls it
    ListAliases(AliasList),
    /// Keep this client's aliases, keys and settings in one file under a passphrase
    #[command(subcommand)]
    Recovery(RecoveryCommand),
    /// Look into capabilities
    #[command(subcommand)]
    Cap(CapCommand),
    /// Look into share files, with no server running
    #[command(subcommand)]
    Share(ShareCommand),
    /// Run a storage server
    #[command(subcommand)]
    Server(ServerCommand),
    /// Own a grid: admit members and let them go
    #[command(subcommand)]
    Grid(GridCommand),
    /// Run an introducer
    #[command(subcommand)]
    Introducer(IntroducerCommand),
    /// Run a whole grid in one process: put a file, kill servers, get it back
    Demo(Demo),
    /// Measure each stage on this machine, and how near a grid comes to what they allow
    Bench(Bench),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    Man {
        /// The folder
        folder: PathBuf,
    },
}

impl Command {
    /// Whether this is a mount: it works for a program that waits, and may use all processors.
    pub(crate) fn is_mount(&self) -> bool {
        matches!(self, Self::Mount(_))
    }

    /// Whether this runs until it is stopped, and logs.
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(
            self,
            Self::Server(ServerCommand::Run { .. })
                | Self::Introducer(IntroducerCommand::Run { .. })
                | Self::Agent(AgentCommand::Run { once: false, .. })
                | Self::Gateway(GatewayCommand::Run(_))
                | Self::Mount(MountArgs { daemon: false, .. })
        )
    }
}

#[derive(Args)]
pub(crate) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Init {
    /// An introducer's address; may be given several times
    #[arg(long = "introducer", value_name = "URL")]
    pub(crate) introducers: Vec<NodeAddress>,
    /// So many shares give a file back, so many servers must hold one, so many are made
    #[arg(long, value_name = "K/HAPPY/N", default_value = "3/7/10")]
    pub(crate) shares: Shares,
    /// A label for where this client is
    #[arg(long)]
    pub(crate) zone: Option<String>,
}

#[derive(Args)]
pub(crate) struct Put {
    /// The file; - or nothing for standard input
    #[arg(value_name = "FILE|-")]
    pub(crate) file: Option<PathBuf>,
    /// Where to link it, or a mutable file to write; nothing to link it nowhere
    #[arg(value_name = "PATH|CAP")]
    pub(crate) target: Option<String>,
    /// Make a mutable file and print its write cap
    #[arg(short, long)]
    pub(crate) mutable: bool,
    /// What to make, as Tahoe calls it: SDMF and MDMF are mutable
    #[arg(long, ignore_case = true)]
    pub(crate) format: Option<Format>,
    /// Write over a mutable file from this byte on, and leave the rest of it
    #[arg(long, value_name = "N", requires = "target")]
    pub(crate) offset: Option<u64>,
    /// Cut a large file by its content, so that putting it again after a change sends only what has changed
    #[arg(long)]
    pub(crate) chunked: bool,
    /// Send at most so many bytes a second
    #[arg(long, value_name = "SIZE")]
    pub(crate) bwlimit: Option<Size>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Args)]
pub(crate) struct Get {
    /// The file
    #[arg(value_name = "PATH|CAP")]
    pub(crate) path: String,
    /// Where to; - or nothing for standard output
    #[arg(value_name = "FILE|-")]
    pub(crate) file: Option<PathBuf>,
    /// Where to, as an option
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    pub(crate) output: Option<PathBuf>,
    /// Only these bytes, both ends included
    #[arg(long, value_name = "START-END")]
    pub(crate) range: Option<ByteRange>,
    /// Fetch at most so many bytes a second
    #[arg(long, value_name = "SIZE")]
    pub(crate) bwlimit: Option<Size>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Subcommand)]
pub(crate) enum AliasCommand {
    /// Make a directory and give it a name
    Create {
        /// The name
        name: String,
    },
    /// Give a directory a name
    Add {
        /// The name
        name: String,
        /// The directory's cap
        cap: String,
    },
    /// Show all names, and the caps they stand for
    List(AliasList),
    /// Forget a name; the directory stays
    Remove {
        /// The name
        name: String,
    },
    /// Give a name another name
    Rename {
        /// The name it has
        from: String,
        /// The name it shall have
        to: String,
    },
}

#[derive(Args)]
pub(crate) struct AliasList {
    /// Show read caps instead of write caps
    #[arg(long)]
    pub(crate) readonly_uri: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Subcommand)]
pub(crate) enum RecoveryCommand {
    /// Write the recovery file of this client
    Export(RecoveryArgs),
    /// Make this client's directory out of a recovery file
    Import(RecoveryArgs),
}

#[derive(Args)]
pub(crate) struct RecoveryArgs {
    /// The recovery file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

#[derive(Args)]
pub(crate) struct Passphrase {
    /// Read the passphrase from the first line of a file, instead of the terminal or $SARSEN_PASSPHRASE
    #[arg(long, value_name = "F")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum CapCommand {
    /// Show kind, authority and parameters, and the weaker caps that follow from it
    Show {
        /// The capability
        cap: String,
        #[command(flatten)]
        json: Json,
    },
    /// Print the cap that checks and repairs all there is below, and reads none of it
    Repair {
        /// A path or a capability; nothing for the default alias
        #[arg(default_value = "", hide_default_value = true)]
        path: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum ShareCommand {
    /// Show what a share file holds and whether it is intact; no key is needed
    Show {
        /// The share file
        file: PathBuf,
        #[command(flatten)]
        json: Json,
    },
    /// Put a file together from bare share files
    Assemble {
        /// Its read cap
        cap: String,
        /// Share files; damaged and foreign ones are passed over
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Where to; - for standard output
        #[arg(short, value_name = "OUT")]
        output: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum ServerCommand {
    /// Make a server's directory
    Init {
        /// The directory
        server_dir: PathBuf,
        /// An introducer's address; may be given several times
        #[arg(long = "introducer", value_name = "URL", required = true)]
        introducers: Vec<NodeAddress>,
        /// Where to listen
        #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:0")]
        listen: String,
        /// A folder to store shares in, one per disk; may be given several times
        #[arg(long = "storage", value_name = "PATH[,reserve=SIZE]", value_parser = storage_spec)]
        storage: Vec<StorageConfig>,
        /// What to call it
        #[arg(long)]
        nickname: Option<String>,
        /// What it shares its fate with: a house, a rack, an owner
        #[arg(long)]
        zone: Option<String>,
    },
    /// Join a grid with a one-time code from its owner: makes a server's directory
    Join(ServerJoin),
    /// Run it, until SIGTERM or Ctrl-C
    Run {
        /// The directory
        server_dir: PathBuf,
    },
    /// Remove at once what nobody leases any more; the server must not run
    Gc(Gc),
    /// Say how the scrubbing of its stores goes, or do it (--now); the server must not run
    Scrub(Scrub),
    /// Hand every share over to other servers, so that it may be switched off; it must run
    Drain(Drain),
    /// Hand over now what stands better on an emptier server; it must run
    Rebalance(Rebalance),
    /// Change its disks
    #[command(subcommand)]
    Disk(DiskCommand),
}

#[derive(Args)]
pub(crate) struct Gc {
    /// The server's directory
    pub(crate) server_dir: PathBuf,
    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not wait for the grace; what was found without a lease keeps its time all the same
    #[arg(long)]
    pub(crate) now: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Args)]
pub(crate) struct Scrub {
    /// The server's directory
    pub(crate) server_dir: PathBuf,
    /// Hash every share now, as fast as the disks can; bad ones go into quarantine
    #[arg(long)]
    pub(crate) now: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Subcommand)]
pub(crate) enum DiskCommand {
    /// Add a storage folder
    Add(DiskArgs),
    /// Take a storage folder out; its shares stay in it
    Remove(DiskArgs),
    /// Change a storage folder's reserve
    Set(DiskArgs),
}

#[derive(Args)]
pub(crate) struct DiskArgs {
    /// The server's directory
    pub(crate) server_dir: PathBuf,
    /// The storage folder
    #[arg(value_name = "PATH[,reserve=SIZE]", value_parser = storage_spec)]
    pub(crate) storage: StorageConfig,
}

#[derive(Subcommand)]
pub(crate) enum IntroducerCommand {
    /// Make an introducer's directory; DIR/introducer.url will hold its address
    Init {
        /// The directory
        introducer_dir: PathBuf,
        /// Where to listen
        #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:0")]
        listen: String,
    },
    /// Run it, until SIGTERM or Ctrl-C
    Run {
        /// The directory
        introducer_dir: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct Demo {
    /// How many storage servers
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) servers: u16,
    /// End when the story is told, instead of staying up
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Args)]
pub(crate) struct Bench {
    /// How many bytes to move through the grid
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    pub(crate) size: Size,
    /// Where the grid of the measurement keeps its shares, instead of the folder for temporary files
    #[arg(long, value_name = "FOLDER")]
    pub(crate) storage: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}
