//! `sarsen gateway`: the grid over HTTP.

mod address;
mod held;
mod stop;
mod tahoe_dir;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use client::{Client, ClientDir};
use gateway::serve::{Bounds, Tls, serve_within};
use gateway::token::Openness;
use gateway::{Gateway, Settings, Token, token};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::signals::Signals;
use crate::cli::{GatewayCommand, GatewayRun};
use crate::out::say;
use crate::report::GatewayError;
use crate::sizes::plural;

/// The file in the client's directory that says where its gateway listens, and is held as long as one runs.
const ADDRESS: &str = "gateway.url";
/// What servers may take, at the end, to be told that no more will come.
const FAREWELL: Duration = Duration::from_secs(2);

pub(crate) async fn run(home: &Path, command: &GatewayCommand, quiet: bool) -> anyhow::Result<()> {
    match command {
        GatewayCommand::Run(args) => serve(home, args, quiet).await,
        GatewayCommand::Url => show_url(home),
    }
}

/// Prints the address for people.
fn show_url(home: &Path) -> anyhow::Result<()> {
    ClientDir::open(home)?;
    let path = home.join(ADDRESS);
    let url = held::read_held(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let url = url.ok_or(GatewayError::None)?;
    let path = home.join(token::FILE);
    let token = Token::kept(&path).with_context(|| format!("cannot use {}", path.display()))?;
    say!("{}", with_token(&url, &token))
}

fn with_token(url: &str, token: &Token) -> String {
    format!("{url}#token={}", token.reveal())
}

async fn serve(home: &Path, args: &GatewayRun, quiet: bool) -> anyhow::Result<()> {
    address::refuse_open(args)?;
    if let Some(dir) = &args.tahoe_dir {
        tahoe_dir::refuse_foreign(dir)?;
    }
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificates), Some(key)) => Some(Tls::of_files(certificates, key)?),
        _ => None,
    };
    ClientDir::open(home)?;
    let mut running = held::Held::take(&home.join(ADDRESS)).await?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|source| GatewayError::Listen { address: args.listen, source })?;
    let listen = listener.local_addr()?;
    let client = super::connected(home, quiet).await?;
    let token = token_of(home)?;
    let url = address::url(listen, args);
    if let Some(dir) = &args.tahoe_dir {
        tahoe_dir::write(dir, &url, &token).with_context(|| format!("cannot write {}", dir.display()))?;
    }
    for warning in address::warnings(listen, args) {
        if !quiet || warning.starts_with("warning") {
            eprintln!("{warning}");
        }
    }
    running.say(&url).with_context(|| format!("cannot write {ADDRESS}"))?;
    if !quiet {
        tell(args, &url, &token);
        tokio::spawn(warn_of_silence(client.clone()));
    }
    let settings = Settings {
        listen,
        hosts: args.hosts.clone(),
        client_dir: Some(home.to_owned()),
        token,
        tls: tls.is_some(),
        insecure: args.insecure,
    };
    let (gateway, bounds) = (Gateway::new(client.clone(), settings), Bounds::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let signals = Signals::new().context("signals cannot be waited for")?;
    let serving = serve_within(listener, gateway.clone(), tls, bounds, async {
        let _ = stopped.await;
    });
    stop::serve_until(signals, &gateway, serving, (stop, bounds.stop), quiet).await?;
    drop(running);
    let _ = tokio::time::timeout(FAREWELL, client.close()).await;
    Ok(())
}

fn token_of(home: &Path) -> anyhow::Result<Token> {
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
    Ok(token)
}

/// Says where it is and what else there is to know.
fn tell(args: &GatewayRun, url: &str, token: &Token) {
    eprintln!("gateway listens on {url}");
    // What is no terminal is kept, often where others read it.
    match io::stderr().is_terminal() {
        true => eprintln!("open {}", with_token(url, token)),
        false => eprintln!("`sarsen gateway url` prints the address with the token"),
    }
    if let Some(dir) = &args.tahoe_dir {
        let dir = dir.display();
        eprintln!("`tahoe -d {dir}` uses it; its aliases are those of {dir}, not those of `sarsen alias`");
    }
}

/// Who starts a gateway for nobody had better know. Those who come meanwhile are served.
async fn warn_of_silence(client: Client) {
    let status = client.status().await;
    let known = status.servers.len();
    let answer = status.servers.iter().filter(|server| server.outcome.is_ok()).count();
    if let Some(warning) = silence(answer, known, client.settings().shares.happy.into()) {
        eprintln!("{warning}");
    }
}

fn silence(answer: usize, known: usize, happy: usize) -> Option<String> {
    let shows = "`sarsen status` shows why";
    match (answer, known) {
        (_, 0) => Some(format!("warning: no server is known, so nothing can be read or stored; {shows}")),
        (0, _) => Some(format!(
            "warning: none of {} answers, so nothing can be read or stored for now; {shows}",
            plural(known as u64, "known server")
        )),
        _ if answer < happy => {
            let verb = if answer == 1 { "answers" } else { "answer" };
            Some(format!(
                "warning: only {answer} of {} {verb}, and {happy} are wanted to store anything; {shows}",
                plural(known as u64, "known server")
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::silence;

    #[test]
    fn servers_that_do_not_answer_are_told_of() {
        assert_eq!(silence(7, 10, 7), None);
        assert!(silence(0, 0, 1).unwrap().contains("no server is known"));
        assert!(silence(0, 1, 1).unwrap().contains("none of 1 known server answers"));
        assert!(silence(1, 10, 7).unwrap().contains("only 1 of 10 known servers answers, and 7"));
        assert!(silence(6, 10, 7).unwrap().contains("only 6 of 10 known servers answer, and 7"));
    }
}
