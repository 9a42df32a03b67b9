//! `sarsen manifest`: all there is below a directory, with caps.

use std::path::Path;

use client::filestore::Walked;
use encoding::directory::EntryKind;

use super::stats::Stats;
use super::target::joined;
use super::walk::Walking;
use super::{long, session};
use crate::cli::Manifest;
use crate::out::Lines;

pub(crate) async fn run(home: &Path, args: &Manifest, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let at = session.at(&args.path)?;
        let (mut walking, root) = Walking::begin(session, &at, None).await?;
        let mut out = Lines::new();
        let mut stats = Stats::default();
        // No directory says the root's salt.
        let salt = if args.repair_cap || args.raw {
            session.client.child_of(root.cap.clone()).await?.salt
        } else {
            None
        };
        let mut next = Some(root);
        while let Some(walked) = next {
            if args.raw {
                stats.add(&walked);
            }
            line(&walked, salt.as_ref(), args, &mut out)?;
            next = walking.next().await;
        }
        if args.raw {
            out.line(format_args!("{}", serde_json::json!({ "type": "stats", "stats": stats.to_json() })))?;
        }
        out.finish()?;
        walking.end()
    })
    .await
}

fn line(
    walked: &Walked,
    root_salt: Option<&[u8; 32]>,
    args: &Manifest,
    out: &mut Lines,
) -> anyhow::Result<()> {
    let of_entry = walked.entry.as_ref().and_then(|entry| entry.salt.as_ref());
    let salt = if walked.path.is_empty() { root_salt } else { of_entry };
    // What servers know an object by is H.
    let index = || walked.cap.verify_hash().map(|hash| hash.to_string());
    let verify = || walked.cap.verify().map(|cap| cap.to_string());
    let repair = || encoding::child_of(&walked.cap, salt).map(|cap| cap.to_string());
    if args.raw {
        let kind = match walked.kind() {
            EntryKind::Directory => "directory",
            EntryKind::Unknown => "unknown",
            EntryKind::Symlink => "symlink",
            EntryKind::File => "file",
        };
        let path: Vec<&str> = walked.path.iter().map(|name| name.as_str()).collect();
        let object = serde_json::json!({
            "type": kind, "path": path, "cap": walked.cap.to_string(), "storage-index": index().unwrap_or_default(),
            "verifycap": verify().unwrap_or_default(), "repaircap": repair().unwrap_or_default(),
        });
        return out.line(format_args!("{object}"));
    }
    let alone = match (args.storage_index, args.verify_cap, args.repair_cap) {
        (true, ..) => index(),
        (_, true, _) => verify(),
        (.., true) => repair(),
        _ => return out.line(format_args!("{} {}", walked.cap, long::printable(&joined(&walked.path)))),
    };
    // What is stored nowhere has none.
    alone.map_or(Ok(()), |text| out.line(format_args!("{text}")))
}
