//! `sarsen put`: store a file, print its read cap.

use std::path::Path;

use anyhow::Context;
use client::{PutOptions, PutReport, Source, Transfer};

use crate::cli::Put;
use crate::out::say;
use crate::{progress, sizes};

pub(crate) async fn run(dir: &Path, args: &Put, quiet: bool) -> anyhow::Result<()> {
    let source = match &args.file {
        Some(path) if path != Path::new("-") => open(path)?,
        _ => Source::stream(tokio::io::stdin()),
    };
    let transfer = args.bwlimit.map_or_else(Transfer::default, |limit| Transfer::limited(limit.0));
    let client = super::connected(dir, quiet).await?;
    let options = PutOptions { transfer: transfer.clone(), chunked: args.chunked, ..PutOptions::default() };
    let put = async { Ok(client.put(source, options).await?) };
    let hint = "put the same file again to go on where it stopped";
    let report = super::interruptible(&client, hint, progress::follow("put", &transfer, quiet, put)).await?;
    client.close().await;
    print(&report, args.json.json, quiet)
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

fn print(report: &PutReport, json: bool, quiet: bool) -> anyhow::Result<()> {
    if json {
        let shares = report.shares.iter().map(|(number, server)| {
            serde_json::json!({ "number": number, "server": server.id.to_string(), "nickname": server.nickname,
                                "found": report.found.contains(number) })
        });
        let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
        let object = serde_json::json!({
            "cap": report.cap.to_string(), "size": report.size, "sent": report.sent, "happiness": report.happiness,
            "shares": shares.collect::<Vec<_>>(), "failures": failures,
        });
        return say!("{object}");
    }
    say!("{}", report.cap)?;
    if quiet {
        return Ok(());
    }
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
