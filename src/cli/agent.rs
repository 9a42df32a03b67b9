//! The grammar of the repair agent.

use std::path::PathBuf;

use clap::Subcommand;

use super::Json;

#[derive(Subcommand)]
pub(crate) enum AgentCommand {
    /// Check and repair on a schedule what was given to it, until told to stop
    Run {
        /// Check and repair all of it once, now, and say what was found
        #[arg(long)]
        once: bool,
        /// Settings in place of agent.toml in the client's directory
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Give it a tree or file to look after: what it keeps of the capability repairs and cannot read
    Add {
        /// What to call it
        name: String,
        /// A path or a capability, down to a verify cap
        #[arg(value_name = "PATH")]
        path: String,
    },
    /// Show what it looks after
    List(Json),
    /// Look after something no longer
    Remove {
        /// What it is called
        name: String,
    },
    /// Show what the last checks came to
    Status(Json),
}
