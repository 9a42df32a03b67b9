//! `sarsen mkdir`: make a directory, print its cap.

use std::path::Path;

use anyhow::bail;
use client::filestore::{Child, DirEdit, FileStoreError, Replace};
use client::path::looks_like_cap;
use encoding::directory::Name;

use super::session::{self, Session};
use super::target;
use crate::caps_from;
use crate::cli::Mkdir;
use crate::out::say;
use crate::report::Usage;

pub(crate) async fn run(home: &Path, args: &Mkdir, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let cap = if args.immutable {
            immutable(session, &args.args).await?
        } else {
            mutable(session, &args.args).await?
        };
        say!("{cap}")
    })
    .await
}

async fn mutable(session: &Session, args: &[String]) -> anyhow::Result<caps::Cap> {
    match args {
        [] => Ok(session.client.make_directory().await?.cap().clone()),
        [path] => {
            let at = session.at(path)?;
            let view = session.under(&at).client.make_path(&at.root, &at.names).await?;
            session.remind();
            Ok(view.cap().clone())
        }
        _ => bail!(Usage("`mkdir` makes one directory; children are for `mkdir --immutable`")),
    }
}

async fn immutable(session: &Session, args: &[String]) -> anyhow::Result<caps::Cap> {
    let (path, children) = match args.split_first() {
        Some((first, rest)) if child_text(first).is_none() => (Some(session.at(first)?), rest),
        _ => (None, args),
    };
    let session = &path.as_ref().map_or_else(|| session.clone(), |at| session.under(at));
    let mut named: Vec<(Name, Child)> = Vec::with_capacity(children.len());
    for text in children {
        let Some((name, cap)) = child_text(text) else {
            bail!(Usage("children of an immutable directory are given as NAME=CAP"));
        };
        let name = Name::new(name).map_err(FileStoreError::from)?;
        if named.iter().any(|(other, _)| *other == name) {
            bail!(Usage("two of the children have the same name"));
        }
        named.push((name, session.client.child_of(caps_from::read(cap)?).await?));
    }
    // What cannot be linked need not be made.
    let place = match &path {
        None => None,
        Some(at) if at.names.is_empty() => bail!(target::NoName { what: "making it" }),
        Some(at) => {
            let place = session.client.make_place(&at.root, &at.names).await?;
            target::writer(&place, || format!("making {}", at.path()))?;
            Some(place)
        }
    };
    let child = session.client.make_immutable(named).await?;
    let cap = child.cap().clone();
    if let (Some(place), Some(at)) = (place, path) {
        let writer = target::writer(&place, || format!("making {}", at.path()))?;
        let link = DirEdit::Link { name: place.name.clone(), child: Box::new(child), replace: Replace::No };
        session.client.edit_entry(writer, link).await?;
        session.remind();
    }
    Ok(cap)
}

/// `NAME=CAP`, if it is that and no path.
fn child_text(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').filter(|(_, cap)| looks_like_cap(cap) || caps_from::is_elsewhere(cap))
}
