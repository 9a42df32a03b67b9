//! What is to be copied.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use client::copy::{CopyProblem, Problems};
use client::filestore::{Child, DirView};
use client::local::Entry;
use client::{Client, ClientDir};
use encoding::directory::{EntryKind, Name};

use crate::cmd::mv::IntoItself;
use crate::cmd::target::{At, is_on_grid};

/// What was named on the command line. It is read once: a cap on standard input is there once.
pub(super) enum Given {
    Grid(At),
    Local(PathBuf),
}

impl Given {
    pub(super) fn parse(dir: &Path, text: &str) -> anyhow::Result<Self> {
        match is_on_grid(text) {
            true => Ok(Self::Grid(At::parse(text, || Ok(ClientDir::open(dir)?))?)),
            false => Ok(Self::Local(text.into())),
        }
    }

    pub(super) fn is_on_grid(&self) -> bool {
        matches!(self, Self::Grid(_))
    }

    fn shown(&self) -> String {
        match self {
            Self::Grid(at) => at.shown(),
            Self::Local(path) => path.display().to_string(),
        }
    }
}

/// Something that is to be copied.
pub(super) enum Source {
    /// A file of this machine.
    LocalFile(Box<Entry>),
    /// A folder of this machine. Without a name, what is in it is copied rather than itself.
    LocalFolder { path: PathBuf, name: Option<Name> },
    /// Anything of the grid that is no directory. It has no name where its bare cap was given.
    GridFile { name: Option<Name>, child: Box<Child> },
    /// A directory of the grid.
    GridDirectory { name: Option<Name>, child: Box<Child>, view: Box<DirView> },
}

impl Source {
    pub(super) fn is_directory(&self) -> bool {
        matches!(self, Self::LocalFolder { .. } | Self::GridDirectory { .. })
    }

    /// The name it will have in a directory.
    pub(super) fn name(&self) -> anyhow::Result<Option<Name>> {
        match self {
            Self::LocalFile(entry) => Ok(Some(Name::new(&entry.name)?)),
            Self::LocalFolder { name, .. }
            | Self::GridFile { name, .. }
            | Self::GridDirectory { name, .. } => Ok(name.clone()),
        }
    }
}

/// Looks all of them up, before anything is copied. With them, what cannot be taken along.
pub(super) async fn find(
    client: &Client,
    from: &[Given],
    recursive: bool,
) -> anyhow::Result<(Vec<Source>, Problems)> {
    let mut problems = Problems::default();
    let mut sources = Vec::new();
    for given in from {
        let source = match given {
            Given::Grid(at) => on_grid(client, at).await.map_err(|error| at.of(error))?,
            Given::Local(path) => on_this_machine(path, &mut problems)?,
        };
        anyhow::ensure!(
            recursive || !source.is_directory(),
            "cannot copy directories without --recursive: {} is one",
            given.shown()
        );
        sources.push(source);
    }
    Ok((sources, problems))
}

async fn on_grid(client: &Client, at: &At) -> anyhow::Result<Source> {
    let name = at.names.last().cloned();
    let child = at.child(client).await?;
    if child.kind != EntryKind::Directory {
        return Ok(Source::GridFile { name, child: Box::new(child) });
    }
    let view = client.open_directory(child.cap()).await?;
    Ok(Source::GridDirectory { name, child: Box::new(child), view: Box::new(view) })
}

fn on_this_machine(path: &Path, problems: &mut Problems) -> anyhow::Result<Source> {
    let found = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !found.is_dir() {
        let (entry, left_out) = client::local::scan::single(path)?;
        // Of a file's attributes some may be left out.
        problems.list.extend(left_out.into_iter().map(|reason| (path.to_owned(), CopyProblem::from(reason))));
        return Ok(Source::LocalFile(Box::new(entry)));
    }
    let name = match path.file_name() {
        // `.` and `..` have no name of their own: what is in them is meant.
        None => None,
        Some(name) => {
            let name =
                name.to_str().with_context(|| format!("the name of {} is not UTF-8", path.display()))?;
            Some(Name::new(name)?)
        }
    };
    Ok(Source::LocalFolder { path: path.to_owned(), name })
}

/// Refuses two sources of one name.
pub(super) fn check_names(sources: &[Source]) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    for source in sources {
        if let Some(name) = source.name()? {
            anyhow::ensure!(seen.insert(name.clone()), "two of the things to be copied are called {name}");
        }
    }
    Ok(())
}

/// Refuses a directory that would end up in itself.
pub(super) async fn check_places(
    client: &Client,
    from: &[Given],
    sources: &[Source],
    to: &At,
) -> anyhow::Result<()> {
    for (given, source) in from.iter().zip(sources) {
        if let Source::GridDirectory { child, .. } = source
            && let Some(hash) = child.caps.read.verify_hash()
            && to.leads_through(client, &hash).await?
        {
            return Err(IntoItself { path: given.shown(), what: "copied" }.into());
        }
    }
    Ok(())
}
