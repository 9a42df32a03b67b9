//! `sarsen cp`: files and directories onto the grid, from it, or from one place of it to another, by Tahoe's rules.

mod grid;
mod local;
mod sources;

use std::path::Path;

use anyhow::Context;
use client::Client;
use client::copy::{Problems, TreeProgress};

use super::session::{self, Session};
use super::trees::{self, Place, is_on_grid};
use crate::cli::Cp;
use crate::out::say;
use crate::progress;
use sources::Source;

const HINT: &str = "run the same command again: what is there already is not sent again";

/// What a copy did.
#[derive(Default)]
struct Copied {
    files: u64,
    directories: u64,
    bytes: u64,
    /// Entries that were linked rather than copied.
    linked: u64,
    problems: Problems,
}

impl Copied {
    fn problems(&mut self, mut more: Problems) {
        self.problems.list.append(&mut more.list);
        self.problems.more += more.more;
    }
}

pub(crate) async fn run(dir: &Path, args: &Cp, quiet: bool) -> anyhow::Result<()> {
    trees::open_many_files();
    let (to, from) = args.paths.split_last().context("cp needs what to copy, and where to")?;
    anyhow::ensure!(
        is_on_grid(to) || from.iter().all(|from| is_on_grid(from)),
        "neither {to} nor what is to be copied there is on the grid; the system's cp copies on this machine"
    );
    let target = if is_on_grid(to) { Some(Place::new(dir, to)?) } else { None };
    session::run(dir, quiet, HINT, async |Session { client, .. }| {
        let tree = TreeProgress::default();
        let work = async {
            let (sources, problems) = sources::find(dir, client, from, args.recursive).await?;
            sources::check_names(&sources)?;
            let mut copied = match &target {
                Some(place) => grid::copy(client, &sources, place, args.deep, &tree).await?,
                None => local::copy(client, &sources, to, args.caps_only, &tree).await?,
            };
            copied.problems(problems);
            anyhow::Ok((sources, copied))
        };
        let count = count(dir, from, client, &tree);
        let (sources, copied) = progress::follow_tree("cp", &tree, quiet, count, work).await?;
        print(&sources, &copied, quiet)?;
        trees::end(&copied.problems)
    })
    .await
}

fn print(sources: &[Source], copied: &Copied, quiet: bool) -> anyhow::Result<()> {
    trees::warn(&copied.problems);
    let one = sources.len() == 1 && !sources[0].is_directory();
    let what = match (one, copied.linked > 0 && copied.files == 0) {
        (true, true) => "file linked",
        (true, false) => "file copied",
        (false, true) => "files linked",
        (false, false) => "files copied",
    };
    if copied.problems.is_empty() {
        say!("Success: {what}")?;
    }
    if !quiet {
        let Copied { files, directories, bytes, linked, .. } = copied;
        eprintln!(
            "{files} files copied, {}; {directories} directories; {linked} entries linked",
            crate::sizes::human(*bytes)
        );
    }
    Ok(())
}

/// How much there is to do, for the bar.
async fn count(dir: &Path, from: &[String], client: &Client, tree: &TreeProgress) {
    let local = from.iter().filter(|from| !is_on_grid(from));
    let local: Vec<_> = local.map(|from| (from.into(), client::local::Excludes::default())).collect();
    if local.is_empty() {
        if let [one] = from
            && let Ok(place) = Place::new(dir, one)
            && let Ok(target) = place.find(client).await
        {
            trees::count_grid(client, &target.cap, tree).await;
        }
        return;
    }
    let tree = tree.clone();
    // A bar without totals is no harm.
    let _ = tokio::task::spawn_blocking(move || trees::count_local(local, &tree)).await;
}
