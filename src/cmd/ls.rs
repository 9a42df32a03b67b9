//! `sarsen ls`: list a directory.

use std::path::Path;

use client::filestore::{DirView, Target};
use encoding::directory::EntryKind;

use super::long;
use super::session::{self, Session};
use super::target::At;
use crate::cli::Ls;
use crate::out::Lines;

pub(crate) async fn run(home: &Path, args: &Ls, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let at = session.at(&args.path)?;
        let target = at.resolve(&session.client).await?;
        let mut out = Lines::new();
        match (target.kind(), args.json.json) {
            (EntryKind::Directory, true) => {
                let view = open(session, &at, &target).await?;
                json(&view, &target, &mut out).await?;
            }
            (EntryKind::Directory, false) => {
                let view = open(session, &at, &target).await?;
                entries(&view, args, &mut out).await?;
            }
            (_, true) => out.line(format_args!("{:#}", long::tahoe_json(&target)))?,
            (_, false) => one(&file_name(&at, &args.path), &target, args, &mut out)?,
        }
        out.finish()
    })
    .await
}

/// A file is listed by the name it was given with; one without a name, by its cap.
fn file_name(at: &At, given: &str) -> String {
    at.names.last().map_or_else(|| given.to_owned(), ToString::to_string)
}

async fn open(session: &Session, at: &At, target: &Target) -> anyhow::Result<DirView> {
    session.client.open_directory(&target.cap).await.map_err(|error| at.of(error))
}

async fn entries(view: &DirView, args: &Ls, out: &mut Lines) -> anyhow::Result<()> {
    let mut entries = view.entries();
    while let Some((name, entry)) = entries.next().await? {
        let target = Target { cap: view.cap_of(&entry)?, entry: Some(entry) };
        one(name.as_str(), &target, args, out)?;
    }
    Ok(())
}

fn one(name: &str, target: &Target, args: &Ls, out: &mut Lines) -> anyhow::Result<()> {
    let (cap, entry) = (&target.cap, target.entry.as_ref());
    if args.long {
        out.add(format_args!("{} ", long::columns(cap, entry)))?;
    }
    if args.uri {
        out.add(format_args!("{cap} "))?;
    }
    if args.readonly_uri {
        match cap.read() {
            Some(read) => out.add(format_args!("{read} "))?,
            None => out.add(format_args!("- "))?,
        }
    }
    let mark = if args.classify { long::mark(target.kind(), cap) } else { "" };
    let arrow = if args.long { long::arrow(entry) } else { String::new() };
    out.line(format_args!("{}{mark}{}", long::printable(name), long::printable(&arrow)))
}

/// Tahoe's JSON of a directory, written as the entries come: there may be many.
async fn json(view: &DirView, target: &Target, out: &mut Lines) -> anyhow::Result<()> {
    let itself = long::tahoe_json(target);
    let details = itself[1].to_string();
    out.add(format_args!(
        "[\"dirnode\", {}, \"children\": {{",
        details.strip_suffix('}').unwrap_or(&details)
    ))?;
    let mut entries = view.entries();
    let mut comma = "";
    while let Some((name, entry)) = entries.next().await? {
        let child = Target { cap: view.cap_of(&entry)?, entry: Some(entry) };
        let name = serde_json::Value::from(name.as_str());
        out.add(format_args!("{comma}\n{name}: {}", long::tahoe_json(&child)))?;
        comma = ",";
    }
    out.line(format_args!("}}}}]"))
}
