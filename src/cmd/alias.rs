//! `sarsen alias`: short names for directories. Tahoe's `create-alias`, `add-alias` and `list-aliases` are the same.

use std::path::Path;

use client::{AliasError, Aliases, ClientDir};

use super::{recovery, session};
use crate::caps_from;
use crate::cli::{AliasCommand, AliasList};
use crate::out::say;

pub(crate) async fn run(dir: &Path, command: &AliasCommand, quiet: bool) -> anyhow::Result<()> {
    match command {
        AliasCommand::Create { name } => create(dir, name, quiet).await,
        AliasCommand::Add { name, cap } => add(dir, name, cap, quiet),
        AliasCommand::List(args) => list(dir, args, quiet),
        AliasCommand::Remove { name } => {
            Aliases::of(&ClientDir::open(dir)?).remove(name)?;
            tell(quiet, &format!("Alias {:?} removed", name.trim_end_matches(':')));
            Ok(())
        }
        AliasCommand::Rename { from, to } => {
            let dir = ClientDir::open(dir)?;
            Aliases::of(&dir).rename(from, to)?;
            tell(
                quiet,
                &format!("Alias {:?} is now {:?}", from.trim_end_matches(':'), to.trim_end_matches(':')),
            );
            recovery::remind(&dir, quiet);
            Ok(())
        }
    }
}

/// Makes a directory and gives it a name.
pub(crate) async fn create(dir: &Path, name: &str, quiet: bool) -> anyhow::Result<()> {
    let name = client::aliases::name(name)?;
    let aliases = Aliases::of(&ClientDir::open(dir)?);
    // A name that is taken need not cost a directory; the one that counts is looked at again under the lock.
    if aliases.list()?.aliases.contains_key(&name) {
        return Err(AliasError::Exists { name }.into());
    }
    session::run(dir, quiet, session::HINT, async |session| {
        let child = session.client.make_directory().await?;
        aliases.add(&name, child.cap())?;
        session.note(format_args!("Alias {name:?} created"));
        session.remind();
        Ok(())
    })
    .await
}

/// Gives a directory a name.
pub(crate) fn add(dir: &Path, name: &str, cap: &str, quiet: bool) -> anyhow::Result<()> {
    let dir = ClientDir::open(dir)?;
    Aliases::of(&dir).add(name, &caps_from::read(cap)?)?;
    tell(quiet, &format!("Alias {:?} added", name.trim_end_matches(':')));
    recovery::remind(&dir, quiet);
    Ok(())
}

/// Shows all of them.
pub(crate) fn list(dir: &Path, args: &AliasList, quiet: bool) -> anyhow::Result<()> {
    let aliases = Aliases::of(&ClientDir::open(dir)?);
    let listing = aliases.list()?;
    for line in &listing.damaged {
        tell(
            quiet,
            &format!("note: line {line} of {} is passed over: it is damaged", aliases.path().display()),
        );
    }
    if args.json.json {
        let details = listing.aliases.iter().map(|(name, cap)| {
            let readonly = cap.read().map(|cap| cap.to_string());
            (name.clone(), serde_json::json!({ "readwrite": cap.to_string(), "readonly": readonly }))
        });
        return say!("{:#}", serde_json::Value::Object(details.collect()));
    }
    let width = listing.aliases.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, cap) in &listing.aliases {
        let cap = cap.read().filter(|_| args.readonly_uri).unwrap_or_else(|| cap.clone());
        say!("{name:>width$}: {cap}")?;
    }
    Ok(())
}

fn tell(quiet: bool, text: &str) {
    if !quiet {
        eprintln!("{text}");
    }
}
