//! `sarsen cp`: files and directories onto the grid, from it, or from one place of it to another, by Tahoe's rules.

mod grid;
mod local;
mod sources;

use std::path::Path;

use anyhow::Context;
use client::Client;
use client::copy::{Problems, TreeProgress};

use super::session::{self, Session};
use super::trees;
use crate::cli::Cp;
use crate::out::say;
use crate::progress;
use sources::{Given, Source};

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
    let given = args.paths.iter().map(|text| Given::parse(dir, text)).collect::<anyhow::Result<Vec<_>>>()?;
    let (target, from) = given.split_last().context("cp needs what to copy, and where to")?;
    let to = args.paths.last().map_or("", String::as_str);
    anyhow::ensure!(
        target.is_on_grid() || from.iter().all(Given::is_on_grid),
        "neither {to} nor what is to be copied there is on the grid; the system's cp copies on this machine"
    );
    session::run(dir, quiet, HINT, async |session| {
        let Session { client, .. } = session;
        let tree = TreeProgress::default();
        let work = async {
            let (sources, problems) = sources::find(client, from, args.recursive).await?;
            sources::check_names(&sources)?;
            if let Given::Grid(at) = target {
                sources::check_places(client, from, &sources, at).await?;
            }
            let mut copied = match target {
                Given::Grid(at) => {
                    grid::copy(&client.under(&at.root), &sources, at, args.deep, &tree).await?
                }
                Given::Local(_) => local::copy(client, &sources, to, args.caps_only, &tree).await?,
            };
            copied.problems(problems);
            anyhow::Ok((sources, copied))
        };
        let count = count(from, client, &tree);
        let (sources, copied) = progress::follow_tree("cp", &tree, quiet, count, work).await?;
        print(&sources, &copied, quiet)?;
        if target.is_on_grid() {
            session.remind();
        }
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
async fn count(from: &[Given], client: &Client, tree: &TreeProgress) {
    let local = from.iter().filter_map(|given| match given {
        Given::Local(path) => Some((path.clone(), client::local::Excludes::default())),
        Given::Grid(_) => None,
    });
    let local: Vec<_> = local.collect();
    if local.is_empty() {
        if let [Given::Grid(at)] = from
            && let Ok(target) = at.resolve(client).await
        {
            trees::count_grid(client, &target.cap, tree).await;
        }
        return;
    }
    let tree = tree.clone();
    // A bar without totals is no harm.
    let _ = tokio::task::spawn_blocking(move || trees::count_local(local, &tree)).await;
}
