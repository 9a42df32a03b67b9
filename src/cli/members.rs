//! The grammar of belonging to a grid.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use client::Shares;
use protocol::invitation::Invitation;
use protocol::{NodeAddress, NodeId};
use storage_server::config::StorageConfig;

use super::Json;
use crate::cmd::server::storage_spec;

/// The longest time that an invitation waits.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Subcommand)]
pub(crate) enum GridCommand {
    /// Become the owner of a new grid: make its key, and the list of its members
    Init {
        /// An introducer's address; may be given several times
        #[arg(long = "introducer", value_name = "URL", required = true)]
        introducers: Vec<NodeAddress>,
        /// What clients that join are told: so many shares give a file back, so many servers must hold one, so many are made
        #[arg(long, value_name = "K/HAPPY/N", default_value = "3/7/10")]
        shares: Shares,
    },
    /// Print a one-time code with which somebody joins, and wait until it is used
    Invite {
        #[command(flatten)]
        what: MemberArgs,
        /// How long to wait, like 24h; at most 7 days
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = lifetime)]
        expires: Duration,
    },
    /// Admit a client or server whose key is known
    Admit {
        /// The key: `sarsen status` shows a client's own
        key: NodeId,
        #[command(flatten)]
        what: MemberArgs,
    },
    /// Take back all certificates of a member
    Revoke {
        /// Its name or its key
        #[arg(value_name = "NAME|KEY")]
        member: String,
    },
    /// Show all members, and until when their certificates count
    Members(Json),
    /// Sign a new certificate for every member; to be done within 30 days, by hand or by a timer
    Renew,
}

#[derive(Args)]
pub(crate) struct MemberArgs {
    /// A storage server, not a client
    #[arg(long)]
    pub(crate) server: bool,
    /// What the server shares its fate with: a house, a rack, an owner. It counts more than what the server says of itself
    #[arg(long, requires = "server")]
    pub(crate) zone: Option<String>,
    /// What to call it; without, what it calls itself
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Args)]
pub(crate) struct Join {
    /// The invitation
    #[arg(value_name = "CODE@HOST[:PORT]")]
    pub(crate) invitation: Invitation,
    /// What to call this client
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Args)]
pub(crate) struct ServerJoin {
    /// The invitation, made with `grid invite --server`
    #[arg(value_name = "CODE@HOST[:PORT]")]
    pub(crate) invitation: Invitation,
    /// The server's directory; without, `sarsen-server` beside a client's
    pub(crate) server_dir: Option<PathBuf>,
    /// A folder to store shares in, one per disk; may be given several times
    #[arg(long = "storage", value_name = "PATH[,reserve=SIZE]", value_parser = storage_spec, required = true)]
    pub(crate) storage: Vec<StorageConfig>,
    /// Where to listen (UDP), which others must reach; port 0 takes a free one and keeps it
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:0")]
    pub(crate) listen: String,
    /// What to call it
    #[arg(long)]
    pub(crate) nickname: Option<String>,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if (Duration::from_secs(1)..=LONGEST).contains(&time) => Ok(time),
        _ => Err("a time from 1s to 7d, like 30m or 24h".to_owned()),
    }
}
