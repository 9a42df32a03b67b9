//! What PATH on the command line means: where it begins, and through which names it leads.

use caps::{Cap, CapParseError, VerifyHash};
use client::check::{CheckOptions, Grade, Renewal};
use client::filestore::{Child, FileStoreError, Place, Target};
use client::path::looks_like_cap;
use client::slot::SlotError;
use client::{AliasError, Aliases, Client, ClientDir, GridPath, PathError, Root};
use encoding::directory::{EntryKind, Name};

use super::session::Session;
use crate::caps_from;

/// A path on the grid, its root found.
#[derive(Clone)]
pub(crate) struct At {
    /// Where it begins.
    pub(crate) root: Cap,
    /// The names to follow from there.
    pub(crate) names: Vec<Name>,
    /// Whether it ended in `/`.
    pub(crate) slash: bool,
    begin: Begin,
    /// What was meant, where it looks as if something else was.
    meant: Option<String>,
}

/// What a path begins with, as it may be shown.
#[derive(Clone)]
enum Begin {
    Default,
    Alias(String),
    /// A capability: how it was given, where it stood elsewhere.
    Cap(String),
}

/// A path that has to name something in a directory, and names the root.
#[derive(Debug, thiserror::Error)]
#[error("{what} needs a name in a directory: an alias or a capability alone names none")]
pub(crate) struct NoName {
    /// What was to be done.
    pub(crate) what: &'static str,
}

/// Nothing is there under a path.
#[derive(Debug, thiserror::Error)]
#[error("there is no {path}")]
pub(crate) struct NotThere {
    path: String,
    /// What to look at, or what was meant.
    pub(crate) hint: String,
}

/// A text that was read as a path or a capability, and cannot be used as one; most likely it was meant as something else.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(crate) struct Misread {
    /// Why it cannot be used.
    pub(crate) error: MisreadError,
    /// What was meant.
    pub(crate) hint: String,
}

/// Why such a text cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum MisreadError {
    /// It is no path.
    Path(#[from] PathError),
    /// It is no capability.
    Cap(#[from] CapParseError),
    /// It would be below the default alias, and there is none.
    Alias(#[from] AliasError),
}

/// What went wrong is of this path.
#[derive(Debug, thiserror::Error)]
#[error("{path}")]
pub(crate) struct Of {
    /// The path.
    pub(crate) path: String,
    /// Whether `rm` can take it away, for all that is known.
    pub(crate) is_link: bool,
}

impl At {
    /// Reads a path. A capability may stand in a file (`@FILE`), on standard input (`-`) or in `$SARSEN_CAP` (`env:`). `dir` is asked for only
    /// where an alias has to be looked up.
    pub(crate) fn parse(text: &str, dir: impl Fn() -> anyhow::Result<ClientDir>) -> anyhow::Result<Self> {
        if caps_from::is_elsewhere(text) {
            let (root, begin) = (caps_from::read(text)?, Begin::Cap(text.to_owned()));
            return Ok(Self { root, names: Vec::new(), slash: false, begin, meant: None });
        }
        let path = text.parse::<GridPath>().map_err(|error| match caps_from::file_here(text) {
            Some(hint) => Misread { error: error.into(), hint }.into(),
            None => anyhow::Error::new(error),
        })?;
        let (root, meant) = match &path.root {
            Root::Cap(cap) => (cap.clone(), None),
            root @ Root::Alias(_) => (Aliases::of(&dir()?).resolve(root)?, None),
            Root::Default => {
                let aliases = Aliases::of(&dir()?);
                let meant = meant(text, &path.names, &aliases);
                match (aliases.resolve(&Root::Default), meant) {
                    (Err(error @ AliasError::NoDefault), Some(hint)) => {
                        return Err(Misread { error: error.into(), hint }.into());
                    }
                    (root, meant) => (root?, meant),
                }
            }
        };
        let begin = match path.root {
            Root::Default => Begin::Default,
            Root::Alias(alias) => Begin::Alias(alias),
            Root::Cap(_) => Begin::Cap("CAP".into()),
        };
        Ok(Self { root, names: path.names, slash: path.trailing_slash, begin, meant })
    }

    /// The names as text.
    pub(crate) fn path(&self) -> String {
        joined(&self.names)
    }

    /// What is below this path, as it may be typed again, where the path began with an alias; else from the root on.
    pub(crate) fn below(&self, names: &[Name]) -> String {
        let names = joined(self.names.iter().chain(names));
        match &self.begin {
            Begin::Alias(alias) => format!("{alias}:{names}"),
            Begin::Default | Begin::Cap(_) if names.is_empty() => ".".into(),
            Begin::Default | Begin::Cap(_) => names,
        }
    }

    /// What it leads to.
    pub(crate) async fn resolve(&self, client: &Client) -> anyhow::Result<Target> {
        let target = client.resolve(&self.root, &self.names).await.map_err(|error| self.above(error))?;
        self.check(target.kind())?;
        Ok(target)
    }

    /// What it leads to, to be linked elsewhere.
    pub(crate) async fn child(&self, client: &Client) -> anyhow::Result<Child> {
        let child = match self.names.is_empty() {
            true => client.child_of(self.root.clone()).await.map_err(|error| self.of(error))?,
            false => {
                let place = client.place(&self.root, &self.names).await.map_err(|error| self.above(error))?;
                let entry = place.entry.ok_or_else(|| self.not_there())?;
                place.parent.child_of(&entry)?
            }
        };
        self.check(child.kind)?;
        Ok(child)
    }

    /// Whoever ends a path with `/` means a directory.
    fn check(&self, kind: EntryKind) -> Result<(), FileStoreError> {
        match self.slash && kind != EntryKind::Directory {
            true => Err(FileStoreError::NotADirectory { path: self.shown() }),
            false => Ok(()),
        }
    }

    /// The place it names, which must be below a root.
    pub(crate) async fn place(&self, client: &Client, what: &'static str) -> anyhow::Result<Place> {
        if self.names.is_empty() {
            return Err(NoName { what }.into());
        }
        client.place(&self.root, &self.names).await.map_err(|error| self.above(error))
    }

    /// There is nothing under this path.
    pub(crate) fn not_there(&self) -> NotThere {
        self.no_entry(self.names.len())
    }

    /// The same of the path's first names.
    fn no_entry(&self, depth: usize) -> NotThere {
        let begin = |depth: usize| joined(&self.names[..depth.min(self.names.len())]);
        let (path, above) = (begin(depth), begin(depth.saturating_sub(1)));
        let (path, above) = match &self.begin {
            Begin::Alias(alias) => (format!("{alias}:{path}"), format!(" {alias}:{above}")),
            Begin::Default if !above.is_empty() => (path, format!(" {above}")),
            Begin::Default | Begin::Cap(_) => (path, String::new()),
        };
        let look = || format!("`sarsen ls{above}` shows what is there");
        NotThere { path, hint: self.meant.clone().unwrap_or_else(look) }
    }

    /// An error of the way to what the path names.
    fn above(&self, error: FileStoreError) -> anyhow::Error {
        match error {
            // No name holds a slash.
            FileStoreError::NoEntry { path } => self.no_entry(path.split('/').count()).into(),
            FileStoreError::Slot(SlotError::Deleted) => {
                anyhow::Error::new(error).context(Of { path: self.shown(), is_link: false })
            }
            error => error.into(),
        }
    }

    /// An error of what the path names.
    pub(crate) fn of(&self, error: impl Into<anyhow::Error>) -> anyhow::Error {
        let error = error.into();
        if error.is::<NotThere>() || error.is::<Of>() {
            return error;
        }
        error.context(Of { path: self.shown(), is_link: !self.names.is_empty() })
    }

    /// The place that something called `own` gets: this path, or below it if it is a directory or is meant as one. Directories above are made.
    pub(crate) async fn make_place(
        &self,
        client: &Client,
        own: Option<&Name>,
        what: &'static str,
    ) -> anyhow::Result<(Self, Place)> {
        let into = |at: &Self| -> anyhow::Result<Self> {
            let own = own.ok_or(NoName { what })?;
            let mut inside = at.clone();
            inside.names.push(own.clone());
            inside.slash = false;
            Ok(inside)
        };
        if self.slash || self.names.is_empty() {
            let inside = into(self)?;
            let place = client.make_place(&inside.root, &inside.names).await?;
            return Ok((inside, place));
        }
        let place = client.make_place(&self.root, &self.names).await?;
        if place.entry.as_ref().is_some_and(|entry| entry.kind == EntryKind::Directory) && own.is_some() {
            let inside = into(self)?;
            let place = client.make_place(&inside.root, &inside.names).await?;
            return Ok((inside, place));
        }
        Ok((self.clone(), place))
    }

    /// Whether the path leads through the directory of this H.
    pub(crate) async fn leads_through(&self, client: &Client, hash: &VerifyHash) -> anyhow::Result<bool> {
        Ok(client.leads_through(&self.root, &self.names, hash).await?)
    }

    /// After something that this path names was linked elsewhere: if it begins with a capability, no alias need keep it, and the root that
    /// links it now leases all of it. The link is made either way.
    pub(crate) async fn adopt(&self, session: &Session, cap: &Cap) {
        if !matches!(self.begin, Begin::Cap(_)) {
            return;
        }
        let options = CheckOptions { grade: Grade::Unseen, repair: false, renew: Some(Renewal::WhileAlive) };
        let totals = session.client.check_tree(vec![cap.clone()], options).finish().await;
        if totals.not_renewed + totals.root_only + totals.unknown > 0 {
            session.note(format_args!(
                "note: not all of what was linked is leased by this account now; `sarsen renew` tries again"
            ));
        }
    }

    /// The path for people, without any capability.
    pub(crate) fn shown(&self) -> String {
        match &self.begin {
            Begin::Cap(given) if self.names.is_empty() => given.clone(),
            Begin::Cap(given) => format!("{given}/{}", self.path()),
            Begin::Default | Begin::Alias(_) => self.below(&[]),
        }
    }
}

/// Whether an argument of `cp` is on the grid. Tahoe's rule: it begins with an alias and a colon, or with a cap; or the cap stands elsewhere.
pub(crate) fn is_on_grid(text: &str) -> bool {
    looks_like_cap(text)
        || caps_from::is_elsewhere(text)
        || text.split_once(':').is_some_and(|(alias, _)| !alias.is_empty() && !alias.contains('/'))
}

/// What is meant by a path that names no alias, if what it begins with is one, or all of it is a file of this machine.
fn meant(text: &str, names: &[Name], aliases: &Aliases) -> Option<String> {
    let (first, below) = names.split_first()?;
    let known = aliases.list().is_ok_and(|listing| listing.aliases.contains_key(first.as_str()));
    match known {
        true => Some(format!("did you mean {first}:{}?", joined(below))),
        false => caps_from::file_here(text),
    }
}

/// Names with slashes between them.
pub(crate) fn joined<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    names.into_iter().map(Name::as_str).collect::<Vec<_>>().join("/")
}

/// The name that a file of this machine has, as a name on the grid.
pub(crate) fn own_name(path: &std::path::Path) -> anyhow::Result<Name> {
    let name = path.file_name().ok_or(NoName { what: "putting it" })?;
    let name =
        name.to_str().ok_or_else(|| anyhow::anyhow!("{} is no UTF-8; give it a name", path.display()))?;
    Ok(Name::new(name).map_err(FileStoreError::from)?)
}

/// The write cap of a place's directory.
pub(crate) fn writer(
    place: &Place,
    what: impl FnOnce() -> String,
) -> Result<&caps::SlotWrite, FileStoreError> {
    place.parent.writer().ok_or_else(|| FileStoreError::ReadOnly { what: what() })
}
