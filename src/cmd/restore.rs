//! `sarsen restore`: a tree of the grid becomes a folder, as it was.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use client::ClientDir;
use client::copy::{DownloadOptions, Downloaded, TreeProgress};
use client::local::Trust;
use encoding::directory::EntryKind;

use super::session::{self, Session};
use super::target::At;
use super::trees;
use crate::cli::Restore;
use crate::out::say;
use crate::{progress, sizes};

const HINT: &str = "run the same command again with --merge to complete the folder";

pub(crate) async fn run(dir: &Path, args: &Restore, quiet: bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    trees::open_many_files();
    let at = At::parse(&args.from, || Ok(ClientDir::open(dir)?))?;
    check(&args.local, args.merge)?;
    session::run(dir, quiet, HINT, async |Session { client, .. }| {
        let tree = TreeProgress::default();
        let target = at.resolve(client).await.map_err(|error| at.of(error))?;
        anyhow::ensure!(
            target.kind() == EntryKind::Directory,
            "{} is not a directory; `sarsen get` fetches files",
            at.shown()
        );
        let options = DownloadOptions {
            trust: Trust::Own,
            root: target.entry.as_ref().map(|entry| entry.metadata.clone()),
            caps_only: false,
            progress: tree.clone(),
        };
        let count = trees::count_grid(client, &target.cap, &tree);
        let work = client.download_tree(&target.cap, &args.local, options);
        let done = progress::follow_tree("restore", &tree, quiet, count, work).await?;
        trees::warn(&done.problems);
        print(args, &done, begun, quiet)?;
        trees::end(&done.problems)
    })
    .await
}

/// Refuses what is there and not an empty folder.
fn check(local: &Path, merge: bool) -> anyhow::Result<()> {
    if merge {
        return Ok(());
    }
    match std::fs::read_dir(local) {
        Ok(mut entries) => anyhow::ensure!(
            entries.next().is_none(),
            "{} is not empty; --merge puts the tree into it all the same",
            local.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot use {}", local.display())),
    }
    Ok(())
}

fn print(args: &Restore, done: &Downloaded, begun: Instant, quiet: bool) -> anyhow::Result<()> {
    if args.json.json {
        let summary = serde_json::json!({
            "files": done.files, "directories": done.directories, "symlinks": done.symlinks,
            "hard_links": done.hard_links, "bytes": done.bytes, "owners_left_off": done.owners_left_off,
            "problems": done.problems.list.len() as u64 + done.problems.more,
            "seconds": begun.elapsed().as_secs_f64(),
        });
        return say!("{summary}");
    }
    if quiet {
        return Ok(());
    }
    match done.owners_left_off {
        0 => {}
        1 => {
            eprintln!("note: 1 restored file or directory is yours: only root can give it back to its owner")
        }
        count => eprintln!(
            "note: {count} restored files and directories are yours: only root can give them back to their owners"
        ),
    }
    eprintln!(
        "{} files, {} directories, {} symlinks, {} hard links restored; {}",
        done.files,
        done.directories,
        done.symlinks,
        done.hard_links,
        sizes::human(done.bytes)
    );
    Ok(())
}
