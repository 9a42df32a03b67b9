//! The grammar of the repair agent.

use std::path::PathBuf;

use clap::Subcommand;

use super::Json;

#[derive(Subcommand)]
pub(crate) enum AgentCommand {
    /// Check and repair what is held on a schedule, until told to stop
    Run {
        /// Check and repair all of it once, now
        #[arg(long)]
        once: bool,
        /// Settings in place of agent.toml in the client's directory
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Hold a tree or file: of what is given, only a cap that repairs and cannot read is kept
    Add {
        /// What to call it
        name: String,
        /// A path or a capability, down to a verify cap
        #[arg(value_name = "PATH")]
        path: String,
    },
    /// Show what is held
    List(Json),
    /// Hold it no longer
    Remove {
        /// What it is called
        name: String,
    },
    /// Show what the last checks came to
    Status(Json),
}
