//! `sarsen rm --purge`: take things out of their directories, and let go what no root reaches any more.

use std::path::Path;

use caps::{Cap, VerifyHash};
use client::filestore::DirEdit;
use client::letting_go::{LetGone, Purge};

use super::letting_go::{memory, roots, tell_unread, to_json};
use super::session::{self, Session};
use super::target::{self, At, NotThere};
use crate::cli::Rm;
use crate::out::say;
use crate::report::{self, Partly};
use crate::sizes::{human, plural, things};

/// What was taken out of one root, in the order of the command line.
struct Taken {
    at: At,
    caps: Vec<Cap>,
    /// Of a dry run: the directory that links it.
    linked_in: Option<VerifyHash>,
}

pub(super) async fn run(home: &Path, args: &Rm, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let all: Vec<At> = args.paths.iter().map(|path| session.at(path)).collect::<anyhow::Result<_>>()?;
        if all.iter().any(|at| at.names.is_empty()) {
            return Err(target::NoName { what: "removing it" }.into());
        }
        // Whatever would stand in the way of letting go is found before anything is removed.
        let kept = roots(session, &all.iter().collect::<Vec<_>>())?;
        let memory = memory(session, &all[0].root)?;
        let (taken, mut failed) = take_out(session, args, all).await;
        let mut total = LetGone::default();
        for Taken { at, caps, linked_in } in taken {
            let (root, kept) = (at.root.clone(), kept.clone());
            let purge = Purge { root, removed: caps, kept: kept.clone(), linked_in, memory: memory.clone() };
            match session.client.purge(purge).await {
                Ok(gone) => add(&mut total, gone),
                Err(error) => {
                    tell_unread(&session.client, &error, &kept).await;
                    failed.push(error.into());
                }
            }
        }
        tell(session, args, &total)?;
        let last = failed.pop();
        failed.iter().for_each(report::tell);
        match last {
            Some(last) => Err(last),
            None if total.failures.is_empty() => Ok(()),
            None => {
                total.failures.iter().for_each(|failure| session.note(format_args!("note: {failure}")));
                let what = match args.dry_run {
                    true => "some servers did not answer: what they would let go is not counted",
                    false => "it was removed, but some servers keep it for now: `sarsen sweep` finds it",
                };
                Err(Partly { what, again: args.dry_run }.into())
            }
        }
    })
    .await
}

/// Removes all of it, and gathers by root what was there.
async fn take_out(session: &Session, args: &Rm, all: Vec<At>) -> (Vec<Taken>, Vec<anyhow::Error>) {
    let (mut taken, mut failed): (Vec<Taken>, Vec<_>) = Default::default();
    for at in all {
        match take_one(session, args, &at).await {
            Ok((cap, linked_in)) => {
                let same = |taken: &&mut Taken| {
                    taken.at.root.verify_hash() == at.root.verify_hash() && taken.linked_in == linked_in
                };
                match taken.iter_mut().find(same) {
                    Some(of_root) => of_root.caps.push(cap),
                    None => taken.push(Taken { at, caps: vec![cap], linked_in }),
                }
            }
            Err(error) if args.force && error.is::<NotThere>() => {}
            Err(error) => failed.push(error),
        }
    }
    (taken, failed)
}

async fn take_one(session: &Session, args: &Rm, at: &At) -> anyhow::Result<(Cap, Option<VerifyHash>)> {
    let place = at.place(&session.client, "removing it").await?;
    let writer = target::writer(&place, || format!("removing {}", at.path()))?;
    let Some(entry) = &place.entry else { return Err(at.not_there().into()) };
    if args.dry_run {
        return Ok((entry.cap.clone(), Some(writer.hash)));
    }
    let unlink = DirEdit::Unlink { name: place.name.clone(), only: None };
    let edited = session.client.edit_entry(writer, unlink).await?;
    // What is let go is what was there in the end.
    Ok((edited.before.map_or_else(|| entry.cap.clone(), |before| before.cap), None))
}

fn add(total: &mut LetGone, gone: LetGone) {
    total.objects += gone.objects;
    total.leases += gone.leases;
    total.bytes += gone.bytes;
    total.renewed += gone.renewed;
    total.unread += gone.unread;
    total.failures.extend(gone.failures);
}

fn tell(session: &Session, args: &Rm, total: &LetGone) -> anyhow::Result<()> {
    if args.json {
        let mut line = to_json(total);
        line["dry-run"] = args.dry_run.into();
        return say!("{line}");
    }
    let done = if args.dry_run { "would be let go" } else { "let go" };
    say!("{} {done}, {} on all servers together", things(total.objects), human(total.bytes))?;
    if total.unread > 0 {
        let unread = plural(total.unread, "part");
        session.note(format_args!(
            "note: {unread} of it could not be walked; what hangs off them is left to `sarsen sweep`"
        ));
    }
    Ok(())
}
