//! `sarsen sweep`: what no root of this account reaches any more, and letting it go.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use caps::VerifyHash;
use client::letting_go::{LetGone, Pile, SweepPlan, SweepWhat};

use super::letting_go::{memory, roots, tell_unread, to_json};
use super::session::{self, Session};
use super::target::{At, NoName};
use crate::cli::Sweep;
use crate::out::say;
use crate::report::{Partly, Usage};
use crate::sizes::{human, plural};

const HINT: &str = "what was let go until then is let go; the same command may be given again";

pub(crate) async fn run(home: &Path, args: &Sweep, quiet: bool) -> anyhow::Result<()> {
    // Before the walk, which may take long.
    let nobody_to_ask = !std::io::stdin().is_terminal() || args.json;
    if nobody_to_ask && !args.yes && !args.dry_run {
        return Err(Usage("there is nobody to ask: say --yes, or --dry-run to look only").into());
    }
    session::run(home, quiet, HINT, async |session| {
        let given: Vec<At> = args.roots.iter().map(|path| session.at(path)).collect::<anyhow::Result<_>>()?;
        anyhow::ensure!(given.iter().all(|at| at.names.is_empty()), Usage("a sweep is of whole roots"));
        let all = roots(session, &given.iter().collect::<Vec<_>>())?;
        let of: Vec<VerifyHash> = match args.all {
            true => all.iter().filter_map(|root| root.cap.verify_hash()).collect(),
            false => given.iter().filter_map(|at| at.root.verify_hash()).collect(),
        };
        let Some(first) = all.first() else { return Err(NoName { what: "a sweep" }.into()) };
        // No backup runs meanwhile: it may link what it remembers.
        let memory = memory(session, &first.cap)?;
        let older_than = Duration::from_secs(args.older_than);
        let what = SweepWhat { roots: all, of, older_than, loose: args.loose };
        let plan = match session.client.plan_sweep(&what).await {
            Ok(plan) => plan,
            Err(error) => {
                tell_unread(&session.client, &error, &what.roots).await;
                return Err(error.into());
            }
        };
        let (found, failures) = (describe(&plan), plan.failures.clone());
        if !args.json {
            print(session, args, &plan)?;
        }
        let wanted = plan.orphans.leases + if args.loose { plan.loose.leases + plan.other.leases } else { 0 };
        let go = wanted > 0 && !args.dry_run && is_wanted(args).await?;
        let gone = match go {
            true => Some(session.client.sweep(plan, args.loose, memory).await?),
            false => None,
        };
        tell(session, args, found, gone.as_ref())?;
        end(session, failures, gone)
    })
    .await
}

/// Whether it was said on the command line, or is said now.
async fn is_wanted(args: &Sweep) -> anyhow::Result<bool> {
    if args.yes {
        return Ok(true);
    }
    eprint!("Let it go? [y/N] ");
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = line.await?.context("cannot read the answer")?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn print(session: &Session, args: &Sweep, plan: &SweepPlan) -> anyhow::Result<()> {
    let amount = |pile: &Pile| {
        format!("{}, {} on all servers together", plural(pile.objects, "object"), human(pile.bytes))
    };
    say!("no root reaches: {}", amount(&plan.orphans))?;
    for (what, pile) in [("stored without a path", plan.loose), ("held for other roots", plan.other)] {
        if pile.leases > 0 {
            say!("{what}: {}", amount(&pile))?;
        }
    }
    if plan.young > 0 {
        let (young, stay) = (
            plural(plan.young, "lease"),
            if plan.young == 1 {
                "is too young to tell, and stays"
            } else {
                "are too young to tell, and stay"
            },
        );
        session.note(format_args!("note: {young} {stay}"));
    }
    if !args.loose && plan.loose.leases + plan.other.leases > 0 {
        session.note(format_args!(
            "note: somebody may keep the capabilities of those; --loose lets them go, too"
        ));
    }
    Ok(())
}

fn describe(plan: &SweepPlan) -> serde_json::Value {
    let pile = |pile: &Pile| serde_json::json!({ "objects": pile.objects, "bytes": pile.bytes, "leases": pile.leases });
    serde_json::json!({
        "orphans": pile(&plan.orphans), "loose": pile(&plan.loose), "other": pile(&plan.other),
        "young": plan.young, "reached": plan.reached, "servers-failed": plan.failures,
    })
}

fn tell(
    session: &Session,
    args: &Sweep,
    mut found: serde_json::Value,
    gone: Option<&LetGone>,
) -> anyhow::Result<()> {
    if args.json {
        found["let-go"] = gone.map(to_json).unwrap_or_default();
        return say!("{found}");
    }
    match gone {
        Some(gone) => say!("let go: {}, {}", plural(gone.objects, "object"), human(gone.bytes)),
        None => {
            session.note(format_args!("nothing was let go"));
            Ok(())
        }
    }
}

fn end(session: &Session, mut failures: Vec<String>, gone: Option<LetGone>) -> anyhow::Result<()> {
    failures.extend(gone.into_iter().flat_map(|gone| gone.failures));
    if failures.is_empty() {
        return Ok(());
    }
    failures.iter().for_each(|failure| session.note(format_args!("note: {failure}")));
    Err(Partly { what: "some servers did not answer, and keep what they have", again: true }.into())
}
