//! The grammar of the gateway.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum GatewayCommand {
    /// Serve the grid over HTTP until told to stop: Tahoe's web API and a web page
    Run {
        /// Where to listen
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3456")]
        listen: SocketAddr,
        /// A further name by which browsers may call it; may be given several times
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
        /// Write a folder for the `tahoe` command, whose node.url names this gateway
        #[arg(long, value_name = "DIR")]
        tahoe_dir: Option<PathBuf>,
    },
}
