//! `sarsen put`: store a file, print its cap; with a path, link it there.

use std::path::Path;

use anyhow::{Context, bail};
use client::{PutOptions, PutReport, Source, Transfer};

use super::session::{self, Session};
use crate::cli::{Format, Put};
use crate::out::say;
use crate::report::Usage;
use crate::{progress, sizes};

mod into;

pub(crate) async fn run(home: &Path, args: &Put, quiet: bool) -> anyhow::Result<()> {
    if args.mutable && args.format == Some(Format::Chk) {
        bail!(Usage("what is CHK is not mutable"));
    }
    let source = match &args.file {
        Some(path) if path != Path::new("-") => open(path)?,
        _ => Source::stream(tokio::io::stdin()),
    };
    session::run(home, quiet, session::HINT, async |session| {
        let transfer = args.bwlimit.map_or_else(Transfer::default, |limit| Transfer::limited(limit.0));
        let put = into::put(session, args, source, transfer.clone());
        let done = progress::follow("put", &transfer, quiet, put).await?;
        print(session, &done, args.json.json)?;
        if args.target.is_some() {
            session.remind();
        }
        Ok(())
    })
    .await
}

/// Whether `put` makes files that may change.
fn is_mutable(args: &Put) -> bool {
    args.mutable || matches!(args.format, Some(Format::Sdmf | Format::Mdmf))
}

/// Options of what is put.
fn options(args: &Put, transfer: Transfer) -> PutOptions {
    PutOptions { transfer, chunked: args.chunked, ..PutOptions::default() }
}

/// A regular file can be read twice, which makes the upload resumable; anything else is a stream.
fn open(path: &Path) -> anyhow::Result<Source> {
    let cannot = || format!("cannot read {}", path.display());
    let kind = std::fs::metadata(path).with_context(cannot)?;
    if kind.is_dir() {
        anyhow::bail!("{} is a folder", path.display());
    }
    if kind.is_file() {
        return Source::file(path).with_context(cannot);
    }
    let stream = std::fs::File::open(path).with_context(cannot)?;
    Ok(Source::stream(tokio::fs::File::from_std(stream)))
}

/// What was done.
struct Done {
    /// The cap to print.
    cap: caps::Cap,
    /// What the upload says, where there was one of an immutable file.
    report: Option<PutReport>,
    /// What became of the place: `created`, `replaced`, `changed`, or nothing where nothing was linked.
    outcome: Option<&'static str>,
}

fn print(session: &Session, done: &Done, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(done);
    }
    say!("{}", done.cap)?;
    if session.quiet {
        return Ok(());
    }
    if let Some(outcome) = done.outcome {
        eprintln!("{outcome}");
    }
    let Some(report) = &done.report else { return Ok(()) };
    for failure in &report.failures {
        eprintln!("note: {failure}");
    }
    match (report.shares.len(), report.found.len()) {
        (0, _) => eprintln!("{} bytes; the capability itself holds them", report.size),
        (all, found) if all == found => {
            eprintln!("{}; the grid had all {all} shares already", sizes::human(report.size))
        }
        (all, found) => {
            let had = if found > 0 { format!(", {found} of them were there already") } else { String::new() };
            eprintln!("{}; {all} shares on {} servers{had}", sizes::human(report.size), report.happiness);
        }
    }
    Ok(())
}

fn print_json(done: &Done) -> anyhow::Result<()> {
    let mut object = serde_json::json!({ "cap": done.cap.to_string() });
    if let Some(outcome) = done.outcome {
        object["outcome"] = outcome.into();
    }
    if let Some(report) = &done.report {
        let shares = report.shares.iter().map(|(number, server)| {
            serde_json::json!({ "number": number, "server": server.id.to_string(), "nickname": server.nickname,
                                "found": report.found.contains(number) })
        });
        let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
        object["size"] = report.size.into();
        object["sent"] = report.sent.into();
        object["happiness"] = report.happiness.into();
        object["shares"] = shares.collect::<Vec<_>>().into();
        object["failures"] = failures.into();
    }
    say!("{object}")
}
