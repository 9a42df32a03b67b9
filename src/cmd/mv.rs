//! `sarsen mv`: move or rename on the grid.

use std::path::Path;

use caps::SlotWrite;
use client::filestore::{DirEdit, Place, Replace};
use encoding::directory::{Entry, EntryKind};

use super::session::{self, Session};
use super::target::{self, At};
use crate::cli::FromTo;
use crate::report::Partly;

/// A directory that would end up below itself.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be {what} into itself")]
pub(crate) struct IntoItself {
    /// Its path.
    pub(crate) path: String,
    /// What was to be done: `moved`, `copied`.
    pub(crate) what: &'static str,
}

pub(crate) async fn run(home: &Path, args: &FromTo, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let (from, to) = (session.at(&args.from)?, session.at(&args.to)?);
        move_it(session, &from, &to).await?;
        session.note(format_args!("OK"));
        Ok(())
    })
    .await
}

async fn move_it(session: &Session, from: &At, to: &At) -> anyhow::Result<()> {
    let session = &session.under(to);
    let client = &session.client;
    let old = from.place(client, "moving it").await?;
    let Some(entry) = &old.entry else { return Err(from.not_there().into()) };
    let from_writer = target::writer(&old, || format!("moving {}", from.path()))?;
    if entry.kind == EntryKind::Directory
        && let Some(hash) = entry.cap.verify_hash()
        && to.leads_through(client, &hash).await?
    {
        return Err(IntoItself { path: from.shown(), what: "moved" }.into());
    }
    let (to, new) = to.make_place(client, Some(&old.name), "moving it").await?;
    let to_writer = target::writer(&new, || format!("making {}", to.path()))?;
    if from_writer.hash == to_writer.hash {
        let rename =
            DirEdit::Rename { from: old.name.clone(), to: new.name.clone(), replace: Replace::OnlyFiles };
        client.edit_entry(from_writer, rename).await?;
        return Ok(());
    }
    between(session, (&old, entry, from_writer), (&new, to_writer)).await?;
    from.adopt(session, &entry.cap).await;
    Ok(())
}

/// From one directory to another: it is in both for a moment, and never in none.
async fn between(
    session: &Session,
    (old, entry, from): (&Place, &Entry, &SlotWrite),
    (new, to): (&Place, &SlotWrite),
) -> anyhow::Result<()> {
    let child = Box::new(old.parent.child_of(entry)?);
    let link = DirEdit::Link { name: new.name.clone(), child, replace: Replace::OnlyFiles };
    session.client.edit_entry(to, link).await?;
    // Somebody may have put something else there meanwhile: that stays.
    let unlink = DirEdit::Unlink { name: old.name.clone(), only: Some(entry.cap.clone()) };
    match session.client.edit_entry(from, unlink).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let what = "it was linked where it was to go, and is still where it was";
            Err(anyhow::Error::new(Partly { what, again: true }).context(error.to_string()))
        }
    }
}
