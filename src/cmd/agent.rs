//! `sarsen agent`: looks after trees by their repair caps, on a schedule.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use caps::Authority;
use client::ClientDir;
use client::agent::{Agent, AgentDir, AgentState, Found, RootState, STATE_VERSION, metrics};
use client::check::CheckError;
use tokio::signal::unix::{SignalKind, signal};

use super::long::without_controls;
use super::session;
use crate::cli::AgentCommand;
use crate::out::say;
use crate::report::{Interrupted, Unchecked, Verdict};
use crate::sizes::plural;

/// How often a waiting agent looks whether it holds something new.
const LOOK: Duration = Duration::from_secs(60);
const HINT: &str = "what was repaired until then stays; the next run goes on";

pub(crate) async fn run(home: &Path, command: &AgentCommand, quiet: bool) -> anyhow::Result<()> {
    let files = AgentDir::of(&ClientDir::open(home)?);
    match command {
        AgentCommand::Run { once, config } => serve(home, &files, *once, config.as_deref(), quiet).await,
        AgentCommand::Add { name, path } => add(home, &files, (name, path), quiet).await,
        AgentCommand::List(args) => list(&files, args.json),
        AgentCommand::Remove { name } => {
            files.remove(name)?;
            if !quiet {
                eprintln!("note: its leases stay for as long as servers hear of this account");
            }
            Ok(())
        }
        AgentCommand::Status(args) => status(&files, args.json),
    }
}

async fn add(home: &Path, files: &AgentDir, (name, path): (&str, &str), quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let cap = session.at(path)?.resolve(&session.client).await?.cap;
        let repair = session.client.repair_cap(&cap).await?.ok_or(CheckError::Literal)?;
        if cap.is_directory() && repair.authority() < Authority::Repair {
            // Of a verify cap no repair cap can be made; of better ones, once the directory is found.
            anyhow::ensure!(
                cap.authority() <= Authority::Verify,
                "the directory cannot be found now, and its repair cap needs what its servers hold"
            );
            session.note(format_args!("note: a directory's verify cap shows its root only"));
        }
        files.add(name, &repair)?;
        session.note(format_args!("{name:?} is held"));
        Ok(())
    })
    .await
}

fn list(files: &AgentDir, json: bool) -> anyhow::Result<()> {
    let roots = files.roots()?;
    if json {
        let rows = roots.iter().map(|held| {
            let cap = held.cap.as_ref();
            serde_json::json!({ "name": held.name, "cap": cap.ok().map(ToString::to_string), "error": cap.err() })
        });
        return say!("{:#}", serde_json::Value::Array(rows.collect()));
    }
    for held in roots {
        match held.cap {
            Ok(cap) => say!("{}: {cap}", held.name)?,
            Err(reason) => say!("{}: not held: {reason}", held.name)?,
        }
    }
    Ok(())
}

async fn serve(
    home: &Path,
    files: &AgentDir,
    once: bool,
    config: Option<&Path>,
    quiet: bool,
) -> anyhow::Result<()> {
    let settings = files.settings(config)?;
    let _only = files.begin()?;
    let state = state(files)?.unwrap_or_default();
    let client = super::connected(home, quiet).await?;
    // Who is silent counts as lost.
    client.grid().away().be_patient();
    let elsewhere = settings.metrics.clone();
    let mut agent = Agent::new(client.clone(), settings, state);
    let publish = |state: &AgentState| {
        if let Err(error) = published(files, state, elsewhere.as_deref()) {
            tracing::error!(error = format!("{error:#}"), "the state is not published");
        }
    };
    let work = async {
        if once {
            agent.hold(files.roots()?);
            agent.visit_all(publish).await;
            return anyhow::Ok(());
        }
        loop {
            match files.roots() {
                Ok(roots) => agent.hold(roots),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "what is held stays as it was")
                }
            }
            let wait = agent.visit_due(publish).await;
            tokio::time::sleep(wait.min(LOOK)).await;
        }
    };
    let told = tokio::select! {
        done = work => done.map(|()| None),
        interrupted = told_to_stop() => Ok(Some(interrupted)),
    };
    // Best effort: whoever says that it must stop does not wait for servers.
    let _ = tokio::time::timeout(Duration::from_secs(2), client.close()).await;
    match told? {
        Some(true) => Err(Interrupted { hint: HINT }.into()),
        Some(false) => Ok(()),
        None => {
            published(files, agent.state(), elsewhere.as_deref())?;
            show(agent.state())?;
            verdict(agent.state())
        }
    }
}

/// Waits for SIGTERM or Ctrl-C, and says whether it was the latter.
async fn told_to_stop() -> bool {
    let mut terminate = signal(SignalKind::terminate()).expect("signal handlers can be set");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signal handlers can be set");
    tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => true,
    }
}

fn published(files: &AgentDir, state: &AgentState, elsewhere: Option<&Path>) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(state).context("the state cannot be written as JSON")?;
    Ok(files.publish(&(json + "\n"), &metrics(state, now()), elsewhere)?)
}

/// What was published last. What is damaged is as good as nothing: the next checks fill it again.
fn state(files: &AgentDir) -> anyhow::Result<Option<AgentState>> {
    let Some(text) = files.state()? else { return Ok(None) };
    match serde_json::from_str::<AgentState>(&text) {
        Ok(state) if state.version > STATE_VERSION => {
            anyhow::bail!("agent.json was written by a newer program (version {})", state.version)
        }
        Ok(state) => Ok(Some(state)),
        Err(error) => {
            tracing::warn!(%error, "agent.json is damaged and ignored");
            Ok(None)
        }
    }
}

fn status(files: &AgentDir, json: bool) -> anyhow::Result<()> {
    let state = state(files)?;
    if json {
        let mut value = serde_json::to_value(&state)?;
        for (name, root) in state.iter().flat_map(|state| &state.roots) {
            value["roots"][name]["ill_for_s"] =
                root.ill_since().map(|since| now().saturating_sub(since)).into();
        }
        return say!("{value:#}");
    }
    let Some(state) = state else { return say!("no check was made yet") };
    show(&state)
}

fn show(state: &AgentState) -> anyhow::Result<()> {
    let answered = state.servers - state.silent.min(state.servers);
    say!("{answered} of {} answered", plural(state.servers, "server"))?;
    for (name, root) in &state.roots {
        tell(name, root)?;
    }
    Ok(())
}

fn tell(name: &str, root: &RootState) -> anyhow::Result<()> {
    let Found { objects, slots, healthy, unhealthy, unrecoverable, repaired, copies, .. } = root.found;
    let checked = root.checked.iter().map(|(grade, at)| format!("{grade} {} ago", age(*at)));
    let checked: Vec<String> = checked.collect();
    let checked = if checked.is_empty() { "never checked".to_owned() } else { checked.join(", ") };
    say!("{name}: {checked}")?;
    if !root.checked.is_empty() {
        say!(
            "  {}, {}: {healthy} healthy, {repaired} repaired, {unhealthy} unhealthy, {unrecoverable} unrecoverable",
            plural(objects, "object"),
            plural(slots, "slot")
        )?;
    }
    if let Some(since) = root.ill_since() {
        say!(
            "  {} not healthy, for {} at most; {} of slots kept",
            root.ill.len(),
            age(since),
            if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") }
        )?;
    }
    if let Some(error) = &root.error {
        say!("  could not be checked {}: {}", plural(root.failures.into(), "time"), without_controls(error))?;
    }
    Ok(())
}

/// How long ago that was.
fn age(at: u64) -> String {
    humantime::format_duration(Duration::from_secs(now().saturating_sub(at))).to_string()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// How a single round exits: by the worst that is left.
fn verdict(state: &AgentState) -> anyhow::Result<()> {
    let sum = |of: fn(&Found) -> u64| state.roots.values().map(|root| of(&root.found)).sum::<u64>();
    let unchecked = state.roots.values().filter(|root| root.error.is_some()).count();
    if sum(|found| found.unrecoverable) > 0 {
        return Err(Verdict::Unrecoverable.into());
    }
    if sum(|found| found.unhealthy) > 0 {
        return Err(Verdict::StillUnhealthy.into());
    }
    if unchecked > 0 {
        return Err(Unchecked { count: unchecked }.into());
    }
    if sum(|found| found.root_only + found.unknown) > 0 {
        return Err(Verdict::NotAll.into());
    }
    if sum(|found| found.not_renewed) > 0 {
        return Err(Verdict::NotAllRenewed.into());
    }
    Ok(())
}
