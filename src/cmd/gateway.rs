//! `sarsen gateway`: the grid over HTTP.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use gateway::serve::{Bounds, Tls, serve_within};
use gateway::{Gateway, Settings, Token, token};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{GatewayCommand, GatewayRun};
use crate::report::Usage;

pub(crate) async fn run(home: &Path, command: &GatewayCommand, quiet: bool) -> anyhow::Result<()> {
    let GatewayCommand::Run(args) = command;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificates), Some(key)) => Some(Tls::of_files(certificates, key)?),
        _ => None,
    };
    refuse_open(args, tls.is_some())?;
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let listen = listener.local_addr()?;
    let client = super::connected(home, quiet).await?;
    let path = home.join(token::FILE);
    let token = Token::of_file(&path, &protocol::OsRandom)
        .with_context(|| format!("cannot use {}", path.display()))?;
    let url = format!("{}://{}/", if tls.is_some() { "https" } else { "http" }, named(listen));
    if let Some(dir) = &args.tahoe_dir {
        write_tahoe_dir(dir, &url, &token).with_context(|| format!("cannot write {}", dir.display()))?;
    }
    if args.insecure && !listen.ip().is_loopback() {
        eprintln!(
            "warning: whoever reaches {listen} may read what passes, and use this account (--insecure)"
        );
    }
    if listen.ip().is_unspecified() && args.hosts.is_empty() {
        eprintln!(
            "warning: it listens on all addresses and goes by none but this machine's own: name those that others use with --host"
        );
    }
    eprintln!("gateway listens on {url}");
    eprintln!("open {url}#token={}", token.reveal());
    let settings = Settings {
        listen,
        hosts: args.hosts.clone(),
        client_dir: Some(home.to_owned()),
        token,
        tls: tls.is_some(),
        insecure: args.insecure,
    };
    let gateway = Gateway::new(client.clone(), settings);
    serve_within(listener, gateway, tls, Bounds::default(), told_to_stop()).await?;
    client.close().await;
    Ok(())
}

/// Beyond loopback what passes is to be read by nobody on the way.
fn refuse_open(args: &GatewayRun, tls: bool) -> anyhow::Result<()> {
    if args.listen.ip().is_loopback() || tls || args.insecure {
        return Ok(());
    }
    bail!(Usage("another address than this machine's own wants --tls-cert and --tls-key, or --insecure"))
}

/// As programs on this machine name it.
fn named(listen: SocketAddr) -> SocketAddr {
    let mut named = listen;
    match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => named.set_ip([127, 0, 0, 1].into()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => named.set_ip([127, 0, 0, 1].into()),
        _ => {}
    }
    named
}

/// Makes a folder that the `tahoe` command takes for a node's. What its user keeps there stays.
fn write_tahoe_dir(dir: &Path, url: &str, token: &Token) -> io::Result<()> {
    let private = dir.join("private");
    DirBuilder::new().recursive(true).mode(0o700).create(&private)?;
    fs::write(dir.join("node.url"), format!("{url}\n"))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(private.join("aliases")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // `tahoe status` sends what stands here.
    let path = private.join("api_auth_token");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    write!(file, "{}", token.reveal())
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
