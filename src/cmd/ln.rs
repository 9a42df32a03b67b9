//! `sarsen ln`: link a file or directory under a further name.

use std::path::Path;

use client::filestore::{DirEdit, Replace};

use super::session::{self, Session};
use super::target::{self, At};
use crate::cli::FromTo;

pub(crate) async fn run(home: &Path, args: &FromTo, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let (from, to) = (session.at(&args.from)?, session.at(&args.to)?);
        link(session, &from, &to).await?;
        session.note(format_args!("OK"));
        session.remind();
        Ok(())
    })
    .await
}

async fn link(session: &Session, from: &At, to: &At) -> anyhow::Result<()> {
    let session = &session.under(to);
    let client = &session.client;
    let child = from.child(client).await?;
    let cap = child.cap().clone();
    let (to, place) = to.make_place(client, from.names.last(), "linking it").await?;
    let writer = target::writer(&place, || format!("making {}", to.path()))?;
    let link =
        DirEdit::Link { name: place.name.clone(), child: Box::new(child), replace: Replace::OnlyFiles };
    client.edit_entry(writer, link).await?;
    from.adopt(session, &cap).await;
    Ok(())
}
