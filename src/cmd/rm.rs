//! `sarsen rm`: take files and directories out of their directories. Tahoe's `unlink` is the same.

use std::path::Path;

use client::Client;
use client::filestore::DirEdit;
use tokio::task::JoinSet;

use super::session;
use super::target::{self, At, NotThere};
use crate::cli::Rm;
use crate::report::{self, Partly};

/// Paths taken out at the same time; those of one directory go in one change.
const AT_ONCE: usize = 64;

pub(crate) async fn run(home: &Path, args: &Rm, quiet: bool) -> anyhow::Result<()> {
    if args.purge {
        return super::purge::run(home, args, quiet).await;
    }
    session::run(home, quiet, session::HINT, async |session| {
        // All of them are looked at before any is touched: a mistake in one is found in time.
        let all: Vec<At> = args.paths.iter().map(|path| session.at(path)).collect::<anyhow::Result<_>>()?;
        if all.iter().any(|at| at.names.is_empty()) {
            return Err(target::NoName { what: "removing it" }.into());
        }
        let (mut running, mut waiting) = (JoinSet::new(), all.into_iter());
        let (mut removed, mut failed) = (0, Vec::new());
        loop {
            while running.len() < AT_ONCE
                && let Some(at) = waiting.next()
            {
                running.spawn(remove(session.client.clone(), at));
            }
            match running.join_next().await {
                None => break,
                Some(Ok(Ok(()))) => removed += 1,
                Some(Ok(Err(error))) if args.force && error.is::<NotThere>() => removed += 1,
                Some(Ok(Err(error))) => failed.push(error),
                Some(Err(error)) => failed.push(error.into()),
            }
        }
        let last = if removed == 0 { failed.pop() } else { None };
        failed.iter().for_each(report::tell);
        match last {
            Some(last) => Err(last),
            None if failed.is_empty() => {
                session.note(format_args!("OK"));
                Ok(())
            }
            None => {
                let again = failed.iter().any(report::is_retryable);
                Err(Partly { what: "some were not removed", again }.into())
            }
        }
    })
    .await
}

async fn remove(client: Client, at: At) -> anyhow::Result<()> {
    let place = at.place(&client, "removing it").await?;
    let writer = target::writer(&place, || format!("removing {}", at.path()))?;
    if place.entry.is_none() {
        return Err(at.not_there().into());
    }
    client.edit_entry(writer, DirEdit::Unlink { name: place.name.clone(), only: None }).await?;
    Ok(())
}
