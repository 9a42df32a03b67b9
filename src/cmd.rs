//! The verbs, one file each.

mod agent;
mod alias;
mod backup;
mod bench;
mod cap;
mod check;
mod completions;
mod cp;
mod demo;
mod diff;
mod drain;
mod du;
mod find;
pub(crate) mod forget;
mod gateway;
mod gc;
mod get;
pub(crate) mod grid;
mod init;
mod introducer;
mod join;
mod letting_go;
mod ln;
mod local_grid;
pub(crate) mod long;
mod ls;
mod manifest;
mod mkdir;
mod mount;
pub(crate) mod mv;
mod purge;
mod put;
mod recovery;
mod restore;
mod rm;
mod scrub;
pub(crate) mod server;
mod session;
mod share;
mod signals;
pub(crate) mod slot;
mod stats;
mod status;
mod sweep;
pub(crate) mod target;
mod tree;
mod trees;
mod usage;
mod walk;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use client::Client;

use crate::cli::{CapCommand, Cli, Command};
use crate::report::Interrupted;

pub(crate) async fn run(cli: Cli) -> anyhow::Result<()> {
    let home = || client_dir(cli.dir.clone());
    match cli.command {
        Command::Init(args) => init::run(&home()?, &args, cli.quiet),
        Command::Join(args) => join::client(&home()?, &args, cli.quiet).await,
        Command::Grid(command) => grid::run(&home()?, &command, cli.quiet).await,
        Command::Put(args) => put::run(&home()?, &args, cli.quiet).await,
        Command::Get(args) => get::run(home, &args, cli.quiet).await,
        Command::Cp(args) => cp::run(&home()?, &args, cli.quiet).await,
        Command::Backup(args) => backup::run(&home()?, &args, cli.quiet).await,
        Command::Restore(args) => restore::run(&home()?, &args, cli.quiet).await,
        Command::Status(args) => status::run(&home()?, args.json).await,
        Command::Forget { server } => forget::run(&home()?, &server, cli.quiet),
        Command::Usage(args) => usage::run(&home()?, args.json, cli.quiet).await,
        Command::Alias(command) => alias::run(&home()?, &command, cli.quiet).await,
        Command::Mkdir(args) => mkdir::run(&home()?, &args, cli.quiet).await,
        Command::Ls(args) => ls::run(&home()?, &args, cli.quiet).await,
        Command::Mv(args) => mv::run(&home()?, &args, cli.quiet).await,
        Command::Ln(args) => ln::run(&home()?, &args, cli.quiet).await,
        Command::Rm(args) => rm::run(&home()?, &args, cli.quiet).await,
        Command::Manifest(args) => manifest::run(&home()?, &args, cli.quiet).await,
        Command::Check(args) => check::run(&home()?, &args, cli.quiet).await,
        Command::Renew(args) => check::renew(&home()?, &args, cli.quiet).await,
        Command::Agent(command) => agent::run(&home()?, &command, cli.quiet).await,
        Command::Gateway(command) => gateway::run(&home()?, &command, cli.quiet).await,
        Command::Mount(args) => mount::run(&mount::home(&args, home)?, &args, cli.quiet).await,
        Command::Umount(args) => mount::umount(&home()?, &args, cli.quiet),
        Command::Sweep(args) => sweep::run(&home()?, &args, cli.quiet).await,
        Command::Stats(args) => stats::run(&home()?, &args, cli.quiet).await,
        Command::Find(args) => find::run(&home()?, &args, cli.quiet).await,
        Command::Tree(args) => tree::run(&home()?, &args, cli.quiet).await,
        Command::Diff(args) => diff::run(&home()?, &args, cli.quiet).await,
        Command::Du(args) => du::run(&home()?, &args, cli.quiet).await,
        Command::Slot(command) => slot::run(&home()?, &command, cli.quiet).await,
        Command::CreateAlias { name } => alias::create(&home()?, &name, cli.quiet).await,
        Command::AddAlias { name, cap } => alias::add(&home()?, &name, &cap, cli.quiet),
        Command::ListAliases(args) => alias::list(&home()?, &args, cli.quiet),
        Command::Recovery(command) => recovery::run(&home()?, &command, cli.quiet),
        Command::Cap(CapCommand::Repair { path }) => check::repair_cap(&home()?, &path, cli.quiet).await,
        Command::Cap(CapCommand::Show { cap, json }) => cap::run(&cap, json.json),
        Command::Share(command) => share::run(&command),
        Command::Server(command) => server::run(&command, home).await,
        Command::Introducer(command) => introducer::run(&command).await,
        Command::Demo(args) => demo::run(&args).await,
        Command::Bench(args) => bench::run(&args).await,
        Command::Completions { shell } => completions::completions(shell),
        Command::Man { folder } => completions::man(&folder),
    }
}

/// What an interrupted command takes at most, twice, to say that it is going.
const FAREWELL: Duration = Duration::from_millis(50);

/// `--dir`, `$SARSEN_DIR`, or `sarsen` in the XDG data folder.
pub(crate) fn client_dir(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(dir) = given {
        return Ok(dir);
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(data) = absolute("XDG_DATA_HOME") {
        return Ok(data.join("sarsen"));
    }
    let home = absolute("HOME").context("there is no home folder; name the client's directory with --dir")?;
    Ok(home.join(".local/share/sarsen"))
}

/// A client that knows which servers exist: asked of the introducers now, and of the cache where none answers.
async fn connected(dir: &std::path::Path, quiet: bool) -> anyhow::Result<Client> {
    let client = Client::open(dir)?;
    for report in client.refresh().await {
        if let Err(error) = &report.outcome
            && !quiet
        {
            let known = client.grid().servers().len();
            eprintln!(
                "note: introducer {} does not answer ({error}); {known} servers are known from before",
                report.address.host
            );
        }
    }
    Ok(client)
}

/// Runs `work` until it is done or the user presses Ctrl-C; servers are then told that no more will come.
async fn interruptible<T>(
    client: &Client,
    hint: &'static str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        done = work => return done,
        _ = tokio::signal::ctrl_c() => {}
    }
    // Best effort, and close frames must still leave the socket.
    let _ = tokio::time::timeout(FAREWELL, client.close()).await;
    tokio::time::sleep(FAREWELL).await;
    Err(Interrupted { hint }.into())
}
