//! `sarsen server drain` and `sarsen server rebalance`: orders to a server that runs, and how far it is with them.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use storage_server::{Order, Phase, Progress, node};

use crate::cli::{Drain, Rebalance};
use crate::out::say;
use crate::report::Partly;
use crate::sizes::{human, plural};

/// How often it is looked how far the server is.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// A server that wrote nothing for so long may have stopped.
const SILENT: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: &Drain) -> anyhow::Result<()> {
    let dir = &args.server_dir;
    if args.cancel {
        node::order(dir, Order::Drain, false)?;
        eprintln!("It takes new shares again; what was handed over stays where it is.");
        return Ok(());
    }
    if args.status {
        let (given, progress) = node::how_far(dir, Order::Drain)?;
        if !given {
            bail!("the server in {} is not being drained", dir.display());
        }
        return tell(&progress.unwrap_or_default(), args.json);
    }
    if !node::order(dir, Order::Drain, true)? {
        return Err(
            Partly { what: "the server does not run: it is drained once it does", again: true }.into()
        );
    }
    let progress = follow(dir, Order::Drain).await?;
    tell(&progress, args.json)
}

pub(crate) async fn rebalance(args: &Rebalance) -> anyhow::Result<()> {
    if !node::order(&args.server_dir, Order::Rebalance, true)? {
        node::order(&args.server_dir, Order::Rebalance, false)?;
        bail!("the server in {} does not run", args.server_dir.display());
    }
    let progress = follow(&args.server_dir, Order::Rebalance).await?;
    let Progress { done_shares, done_bytes, .. } = progress;
    if args.json {
        say!("{:#}", to_json(&progress))?;
    } else {
        let moved = plural(done_shares, "share");
        say!("moved to where they stand better: {moved} ({})", human(done_bytes))?;
        complain(&progress);
    }
    if progress.phase == Phase::Complete {
        Ok(())
    } else {
        Err(Partly { what: "it could not be carried through", again: true }.into())
    }
}

/// Waits until the server is through, or cannot go on for now.
async fn follow(dir: &Path, order: Order) -> anyhow::Result<Progress> {
    let bar = std::io::stderr().is_terminal().then(ProgressBar::no_length);
    let (mut written, mut heard) = (None, Instant::now());
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (given, progress) = node::how_far(dir, order)?;
        let done = match order {
            // It crosses this one off itself.
            Order::Rebalance => !given,
            Order::Drain if !given => bail!("the drain was cancelled"),
            Order::Drain => progress.as_ref().is_some_and(|progress| progress.phase != Phase::HandingOver),
        };
        if let (Some(bar), Some(progress)) = (&bar, &progress) {
            show(bar, progress);
        }
        if done {
            bar.inspect(ProgressBar::finish_and_clear);
            return Ok(progress.unwrap_or_default());
        }
        if progress != written {
            (written, heard) = (progress, Instant::now());
        } else if heard.elapsed() > SILENT {
            if !node::is_running(dir)? {
                bar.inspect(ProgressBar::finish_and_clear);
                let what = "the server stopped: it goes on when it runs again";
                return Err(Partly { what, again: true }.into());
            }
            heard = Instant::now();
        }
    }
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(progress.bytes);
    bar.set_position(progress.done_bytes);
    let left =
        progress.eta_s().map(|s| format!(", {} left", humantime::format_duration(Duration::from_secs(s))));
    bar.set_message(format!(
        "{} of {} shares{}",
        progress.done_shares,
        progress.shares,
        left.unwrap_or_default()
    ));
    let template = "{msg}: {bytes} of {total_bytes} [{wide_bar}]";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant and valid"));
}

/// Says how far a drain is. Only of one that is complete this is no failure.
fn tell(progress: &Progress, json: bool) -> anyhow::Result<()> {
    if json {
        say!("{:#}", to_json(progress))?;
    } else {
        let Progress { shares, done_shares, done_bytes, bytes, .. } = *progress;
        say!(
            "{done_shares} of {} ({} of {}) are on other servers",
            plural(shares, "share"),
            human(done_bytes),
            human(bytes)
        )?;
        if progress.phase == Phase::HandingOver
            && let Some(eta_s) = progress.eta_s()
        {
            say!("the rest takes about {}", humantime::format_duration(Duration::from_secs(eta_s)))?;
        }
        notes(progress)?;
        complain(progress);
    }
    match progress.phase {
        Phase::Complete => Ok(()),
        Phase::HandingOver => Err(Partly { what: "it is not through yet", again: true }.into()),
        Phase::Waiting => Err(Partly {
            what: "not everything is handed over yet: it goes on, and tries again within five minutes",
            again: true,
        }
        .into()),
    }
}

fn notes(progress: &Progress) -> anyhow::Result<()> {
    let Progress { left, crowded, damaged, unwanted, slots, .. } = *progress;
    if left > 0 {
        say!("no server takes {}", plural(left, "share"))?;
    }
    if crowded > 0 {
        say!(
            "{} would be on fewer servers than now: add one, or switch this one off all the same",
            plural(crowded, "object")
        )?;
    }
    if damaged > 0 {
        let damaged = plural(damaged, "share");
        say!("damaged here, and not handed over: {damaged}; `sarsen check --repair` makes them anew")?;
    }
    if unwanted > 0 {
        say!("leased by nobody, and not handed over: {}", plural(unwanted, "share"))?;
    }
    if slots > 0 {
        let slots = plural(slots, "slot");
        say!(
            "directories and mutable files still count on this server: {slots}; their owners run `sarsen check --repair -r`"
        )?;
    }
    if progress.phase == Phase::Complete {
        say!("the server may be switched off")?;
    }
    Ok(())
}

fn complain(progress: &Progress) {
    progress.problems.iter().for_each(|problem| eprintln!("note: {problem}"));
}

fn to_json(progress: &Progress) -> serde_json::Value {
    serde_json::json!({
        "phase": progress.phase, "shares": progress.shares, "bytes": progress.bytes,
        "done_shares": progress.done_shares, "done_bytes": progress.done_bytes, "sent_bytes": progress.sent_bytes,
        "eta_s": progress.eta_s(), "left": progress.left, "crowded": progress.crowded, "damaged": progress.damaged,
        "unwanted": progress.unwanted, "slots": progress.slots, "problems": progress.problems,
    })
}
