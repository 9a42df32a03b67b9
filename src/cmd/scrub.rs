//! `sarsen server scrub`: how the scrubbing of a server's stores goes, or all of it at once.

use std::time::{Duration, Instant};

use storage_server::node::{self, OpenedStores};
use storage_server::{ScrubReport, Store};

use super::long::{day, without_controls};
use crate::cli::Scrub;
use crate::out::say;
use crate::report::{BadShares, Partly, tell_of};
use crate::sizes::human;

/// What came of one store.
struct Outcome {
    report: ScrubReport,
    took: Duration,
}

pub(crate) fn run(args: &Scrub) -> anyhow::Result<()> {
    let opened = node::open_stores(&args.server_dir)?;
    let (mut stores, mut failed, mut count) = (Vec::new(), false, 0);
    for (path, store, outcome) in scrub(&opened, args.now) {
        let (store, outcome) = match (store, outcome) {
            (Ok(store), Some(Ok(outcome))) => (store, Some(outcome)),
            (Ok(store), None) => (store, None),
            (Ok(_), Some(Err(error))) => {
                tell_of(&path, &error);
                failed = true;
                continue;
            }
            (Err(error), _) => {
                tell_of(&path, error);
                failed = true;
                continue;
            }
        };
        count += outcome.as_ref().map_or(0, |outcome| outcome.report.bad.len());
        match args.json.json {
            true => stores.push(to_json(&path, store, outcome.as_ref())),
            false => print(&path, store, outcome.as_ref())?,
        }
    }
    if args.json.json {
        say!("{:#}", serde_json::json!({ "now": args.now, "stores": stores }))?;
    }
    match (count, failed) {
        (1.., _) => Err(BadShares { count }.into()),
        (0, true) => Err(Partly { what: "not all stores could be looked through", again: true }.into()),
        (0, false) => Ok(()),
    }
}

type Row<'o> = (
    String,
    &'o Result<std::sync::Arc<Store>, storage_server::StoreError>,
    Option<Result<Outcome, storage_server::PutError>>,
);

/// All stores at once: each has a disk of its own.
fn scrub(opened: &OpenedStores, now: bool) -> Vec<Row<'_>> {
    let paths = opened.config.storage.iter().map(|storage| storage.path.display().to_string());
    std::thread::scope(|scope| {
        let started: Vec<_> = opened
            .stores
            .iter()
            .map(|store| {
                let store = store.as_ref().ok().filter(|_| now);
                store.map(|store| {
                    scope.spawn(move || {
                        let began = Instant::now();
                        let report = store.scrub_now()?;
                        Ok(Outcome { report, took: began.elapsed() })
                    })
                })
            })
            .collect();
        let done = started.into_iter().map(|thread| {
            let panicked = |_| Err(storage_server::PutError::Failed);
            thread.map(|thread| thread.join().unwrap_or_else(panicked))
        });
        paths.zip(&opened.stores).zip(done).map(|((path, store), done)| (path, store, done)).collect()
    })
}

fn print(path: &str, store: &Store, outcome: Option<&Outcome>) -> anyhow::Result<()> {
    say!("{path}")?;
    if let Some(Outcome { report, took }) = outcome {
        let seconds = took.as_secs_f64();
        let (bytes, rate) = (human(report.bytes), human((report.bytes as f64 / seconds.max(1e-9)) as u64));
        say!("  {} shares, {bytes} in {seconds:.1} s: {rate} a second", report.shares)?;
        for bad in &report.bad {
            say!("  share {} is bad: {}", bad.key, without_controls(&bad.reason))?;
        }
        return say!("  {} bad", report.bad.len());
    }
    let status = store.status();
    let scrub = status.scrub.unwrap_or_default();
    match scrub.finished_s.and_then(day) {
        Some(day) => say!("  scrubbed {day}")?,
        None => say!("  not scrubbed yet")?,
    }
    say!("  this pass: {} of {}", human(scrub.done), human(status.used))?;
    say!("  {} shares checked so far, {} bad, {} unreadable", scrub.checked, scrub.bad, scrub.unreadable)
}

fn to_json(path: &str, store: &Store, outcome: Option<&Outcome>) -> serde_json::Value {
    let status = store.status();
    let scrub = status.scrub.unwrap_or_default();
    let mut out = serde_json::json!({
        "path": path, "state": format!("{:?}", status.state), "used": status.used, "finished": scrub.finished_s,
        "done": scrub.done, "checked": scrub.checked, "bad": scrub.bad, "unreadable": scrub.unreadable,
    });
    if let Some(Outcome { report, took }) = outcome {
        let bad = report.bad.iter().map(|bad| {
            serde_json::json!({ "share": bad.key.to_string(), "reason": bad.reason, "unreadable": bad.unreadable })
        });
        out["now"] = serde_json::json!({
            "shares": report.shares, "bytes": report.bytes, "seconds": took.as_secs_f64(), "found": bad.collect::<Vec<_>>(),
        });
    }
    out
}
