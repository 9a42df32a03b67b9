//! The grammar of the gateway.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub(crate) enum GatewayCommand {
    /// Serve the grid over HTTP until told to stop: Tahoe's web API and a web page
    Run(GatewayRun),
    /// Print the address of the gateway that runs, with the token, to open in a browser
    Url,
}

#[derive(Args)]
pub(crate) struct GatewayRun {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3456")]
    pub(crate) listen: SocketAddr,
    /// A further name by which browsers may call it; may be given several times
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,
    /// Write a folder for the `tahoe` command, whose node.url names this gateway
    #[arg(long, value_name = "DIR")]
    pub(crate) tahoe_dir: Option<PathBuf>,
    /// Speak TLS, with the certificates in this PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Listen beyond this machine without TLS and let in whoever comes: who reaches it may use this account
    #[arg(long)]
    pub(crate) insecure: bool,
}
