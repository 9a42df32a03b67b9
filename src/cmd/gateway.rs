//! `sarsen gateway`: the grid over HTTP.

use std::path::Path;

use anyhow::Context;
use gateway::{Gateway, Settings, Token};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::GatewayCommand;

pub(crate) async fn run(home: &Path, command: &GatewayCommand, quiet: bool) -> anyhow::Result<()> {
    let GatewayCommand::Run { listen, hosts, tahoe_dir: _ } = command;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let listen = listener.local_addr()?;
    let client = super::connected(home, quiet).await?;
    let token = Token::new(String::new());
    let settings = Settings { listen, hosts: hosts.clone(), client_dir: Some(home.to_owned()), token };
    let gateway = Gateway::new(client.clone(), settings);
    eprintln!("gateway on http://{listen}/");
    gateway::serve(listener, gateway, told_to_stop()).await?;
    client.close().await;
    Ok(())
}

/// Waits for SIGTERM or Ctrl-C.
async fn told_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("signal handlers can be set");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signal handlers can be set");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
