//! `sarsen gateway`: the grid over HTTP.

mod files;

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail};
use gateway::serve::{Bounds, Tls, serve_within};
use gateway::token::Openness;
use gateway::{Gateway, Settings, Token, token};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{GatewayCommand, GatewayRun};
use crate::report::Usage;

/// The file in the client's directory that says where its gateway listens, and is held as long as one runs.
const ADDRESS: &str = "gateway.url";

pub(crate) async fn run(home: &Path, command: &GatewayCommand, quiet: bool) -> anyhow::Result<()> {
    match command {
        GatewayCommand::Run(args) => serve(home, args, quiet).await,
        GatewayCommand::Url => show_url(home),
    }
}

/// Prints the address for people.
fn show_url(home: &Path) -> anyhow::Result<()> {
    let url = files::read_held(home, ADDRESS).with_context(|| format!("cannot read {ADDRESS}"))?;
    let url = url.context("no gateway of this client runs: `sarsen gateway run` starts one")?;
    let path = home.join(token::FILE);
    let token = Token::kept(&path).with_context(|| format!("cannot use {}", path.display()))?;
    writeln!(io::stdout(), "{}", with_token(url.trim(), &token))?;
    Ok(())
}

fn with_token(url: &str, token: &Token) -> String {
    format!("{url}#token={}", token.reveal())
}

async fn serve(home: &Path, args: &GatewayRun, quiet: bool) -> anyhow::Result<()> {
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
    let (token, was_open) = Token::of_file(&path, &protocol::OsRandom)
        .with_context(|| format!("cannot use {}", path.display()))?;
    match was_open {
        Some(Openness::Group) => {
            eprintln!("warning: its group could use {}; now only its owner can", path.display());
        }
        Some(Openness::All) => {
            eprintln!("warning: everybody could use {}; it holds a new token now", path.display());
        }
        None => {}
    }
    let url = format!("{}://{}/", if tls.is_some() { "https" } else { "http" }, named(listen));
    if let Some(dir) = &args.tahoe_dir {
        files::write_tahoe_dir(dir, &url, &token)
            .with_context(|| format!("cannot write {}", dir.display()))?;
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
    let running =
        files::write_held(home, ADDRESS, &url).with_context(|| format!("cannot write {ADDRESS}"))?;
    eprintln!("gateway listens on {url}");
    // What is no terminal is kept, often where others read it.
    match io::stderr().is_terminal() {
        true => eprintln!("open {}", with_token(&url, &token)),
        false => eprintln!("`sarsen gateway url` prints the address with the token"),
    }
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
    drop(running);
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

/// Waits for SIGTERM or Ctrl-C.
async fn told_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("signal handlers can be set");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signal handlers can be set");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
