//! Onto the grid, and from one place of it to another.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use client::Client;
use client::copy::{CopyError, CopyProblem, Directories, Files, Form, TreeProgress, UploadOptions, Uploaded};
use client::filestore::{Child, DirEdit, DirView, FileStoreError, Replace};
use client::local::{Entry, Excludes};
use encoding::directory::{EntryKind, Name};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Copied;
use super::sources::Source;
use crate::cmd::target::At;

/// Files named on the command line that are on their way at once.
const FILES_AT_ONCE: usize = 64;

const NO_NAME: &str = "a file given by its cap alone has no name to be copied under: name the target file";

/// Where everything goes.
struct Into<'a> {
    client: &'a Client,
    view: DirView,
    at: &'a At,
    deep: bool,
    tree: &'a TreeProgress,
}

pub(super) async fn copy(
    client: &Client,
    sources: &[Source],
    at: &At,
    deep: bool,
    tree: &TreeProgress,
) -> anyhow::Result<Copied> {
    let found = match client.resolve(&at.root, &at.names).await {
        Ok(target) => Some(target),
        Err(FileStoreError::NoEntry { .. }) => None,
        Err(error) => return Err(anyhow::Error::new(error).context(at.shown())),
    };
    let single = match sources {
        [source] if !source.is_directory() => Some(source),
        _ => None,
    };
    let is_directory = found.as_ref().is_some_and(|found| found.kind() == EntryKind::Directory);
    if let (Some(source), false, false) = (single, is_directory, at.slash)
        && let Some((name, above)) = at.names.split_last()
    {
        let view = client.make_path(&at.root, above).await.with_context(|| at.shown())?;
        let into = Into { client, view, at, deep, tree };
        return into.all(vec![(Some(name.clone()), source)]).await;
    }
    anyhow::ensure!(
        found.is_none() || is_directory,
        "{} is a file: several things or a directory need a directory",
        at.shown()
    );
    let named = sources.iter().map(|source| Ok((source.name()?, source)));
    let named = named.collect::<anyhow::Result<Vec<_>>>()?;
    let view = client.make_path(&at.root, &at.names).await.with_context(|| at.shown())?;
    Into { client, view, at, deep, tree }.all(named).await
}

/// A copy under way.
#[derive(Default)]
struct Work {
    /// What is new, to be linked at the end.
    links: Vec<(Name, Child)>,
    /// What is on the grid already, and is filled into directories of the same names.
    relinks: Vec<(Name, Child)>,
    files: JoinSet<Result<Sent, CopyError>>,
    copied: Copied,
}

/// A local file that was sent.
struct Sent {
    name: Name,
    path: PathBuf,
    size: u64,
    outcome: Result<(Child, Option<CopyProblem>), CopyProblem>,
}

impl Into<'_> {
    async fn all(&self, sources: Vec<(Option<Name>, &Source)>) -> anyhow::Result<Copied> {
        let writer = self.view.writer().ok_or_else(|| CopyError::ReadOnly { path: "the target".into() })?;
        self.check(&sources).await?;
        let mut work = Work::default();
        let permits = Arc::new(Semaphore::new(FILES_AT_ONCE));
        for (name, source) in sources {
            match source {
                Source::LocalFile(entry) => {
                    self.file(&mut work, name.context(NO_NAME)?, (**entry).clone(), &permits).await?;
                }
                Source::LocalFolder { path, .. } => {
                    let (child, done) = self.folder(path, name.as_ref()).await?;
                    work.links.extend(name.zip(child));
                    add(&mut work.copied, done);
                }
                other => self.grid_source(&mut work, name, other).await?,
            }
        }
        let Work { mut links, relinks, mut files, mut copied } = work;
        while let Some(done) = files.join_next().await {
            let Sent { name, path, size, outcome } = done.context("a task of our own died")??;
            match outcome {
                Ok((child, odd)) => {
                    (copied.files, copied.bytes) = (copied.files + 1, copied.bytes + size);
                    copied.problems.list.extend(odd.map(|odd| (path, odd)));
                    links.push((name, child));
                }
                Err(problem) => copied.problems.list.push((path, problem)),
            }
        }
        if !relinks.is_empty() {
            // What was copied whole is nobody else's yet.
            let directories = if self.deep { Directories::Linked } else { Directories::Made };
            let done = self.client.relink(relinks, &self.view, directories, self.tree).await;
            let done = done.map_err(|error| named(self.at.shown(), error))?;
            copied.linked += done.linked;
            copied.directories += done.made;
            copied.problems(done.problems);
        }
        self.link(writer, links).await?;
        Ok(copied)
    }

    async fn file(
        &self,
        work: &mut Work,
        name: Name,
        entry: Entry,
        permits: &Arc<Semaphore>,
    ) -> anyhow::Result<()> {
        let overwrite = self.mutable(&name).await?;
        let (client, tree, permits) = (self.client.clone(), self.tree.clone(), permits.clone());
        work.files.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let (path, size) = (entry.path.clone(), entry.metadata.size);
            let outcome = client.upload_file(entry, overwrite, &tree).await?;
            Ok(Sent { name, path, size, outcome })
        });
        Ok(())
    }

    async fn grid_source(&self, work: &mut Work, name: Option<Name>, source: &Source) -> anyhow::Result<()> {
        let copied = &mut work.copied;
        match source {
            Source::GridFile { child, .. } if self.deep => {
                let name = name.context(NO_NAME)?;
                let overwrite = self.mutable(&name).await?;
                let (child, bytes) = self.client.copy_file(child, overwrite).await?;
                (copied.files, copied.bytes) = (copied.files + 1, copied.bytes + bytes);
                work.links.push((name, child));
            }
            Source::GridFile { child, .. } => work.relinks.push((name.context(NO_NAME)?, (**child).clone())),
            Source::GridDirectory { child, view, .. } if self.deep => {
                let done = self.client.copy_directory(view, Files::Stored, self.tree).await;
                let shown = || name.as_ref().map_or_else(|| "the directory".to_owned(), Name::to_string);
                let done = done.map_err(|error| named(shown(), error))?;
                (copied.files, copied.bytes) = (copied.files + done.files, copied.bytes + done.bytes);
                copied.directories += done.directories;
                copied.problems(done.problems);
                match name {
                    Some(name) => work.relinks.push((name, done.root.with(child.metadata.clone()))),
                    None => {
                        let copy = self.client.open_directory(done.root.cap()).await?;
                        work.relinks.extend(children(&copy).await?);
                    }
                }
            }
            Source::GridDirectory { child, view, .. } => match name {
                Some(name) => work.relinks.push((name, (**child).clone())),
                None => work.relinks.extend(children(view).await?),
            },
            Source::LocalFile(_) | Source::LocalFolder { .. } => {}
        }
        Ok(())
    }

    async fn link(&self, writer: &caps::SlotWrite, links: Vec<(Name, Child)>) -> anyhow::Result<()> {
        let edits: Vec<DirEdit> = links
            .into_iter()
            .map(|(name, child)| DirEdit::Link { name, child: Box::new(child), replace: Replace::OnlyFiles })
            .collect();
        if !edits.is_empty() {
            for outcome in self.client.edit_directory(writer, edits).await? {
                outcome?;
            }
        }
        Ok(())
    }

    /// Uploads a folder; the child to link, unless it was filled into a directory that is there.
    async fn folder(
        &self,
        path: &std::path::Path,
        name: Option<&Name>,
    ) -> anyhow::Result<(Option<Child>, Uploaded)> {
        let options = UploadOptions {
            form: Form::Mutable,
            excludes: Excludes::default(),
            memory: None,
            ignore_timestamps: false,
            progress: self.tree.clone(),
        };
        let existing = match name {
            None => Some(self.view.cap().clone()),
            Some(name) => match self.view.get(name).await? {
                Some(entry) => Some(self.view.cap_of(&entry)?),
                None => None,
            },
        };
        let Some(existing) = existing else {
            let done = self.client.upload_tree(path, options).await?;
            return Ok((Some(done.root), done.done));
        };
        let existing = self.client.open_directory(&existing).await?;
        Ok((None, self.client.fill_up_tree(path, existing, options).await?.done))
    }

    /// The mutable file of this name, which is overwritten in place.
    async fn mutable(&self, name: &Name) -> anyhow::Result<Option<Child>> {
        let Some(entry) = self.view.get(name).await? else { return Ok(None) };
        let child = self.view.child_of(&entry)?;
        let is_writable = matches!(child.caps.write, Some(caps::Cap::SlotWrite(_)));
        Ok((is_writable && entry.kind == EntryKind::File).then_some(child))
    }

    /// Refuses what would be in the way, before anything is copied.
    async fn check(&self, sources: &[(Option<Name>, &Source)]) -> anyhow::Result<()> {
        for (name, source) in sources {
            let Some(name) = name else {
                anyhow::ensure!(source.is_directory(), NO_NAME);
                continue;
            };
            let Some(found) = self.view.get(name).await? else { continue };
            anyhow::ensure!(
                (found.kind == EntryKind::Directory) == source.is_directory(),
                "{name} is in the way: a directory is not replaced by a file, nor a file by a directory"
            );
        }
        Ok(())
    }
}

/// Of what has no path below the root of a copy, says which root.
fn named(root: String, error: CopyError) -> anyhow::Error {
    match error {
        CopyError::Grid { path, source } if path.as_os_str().is_empty() => {
            anyhow::Error::new(source).context(root)
        }
        error => error.into(),
    }
}

async fn children(view: &DirView) -> anyhow::Result<Vec<(Name, Child)>> {
    let mut children = Vec::new();
    for (name, entry) in view.list().await? {
        children.push((name, view.child_of(&entry)?));
    }
    Ok(children)
}

fn add(copied: &mut Copied, done: Uploaded) {
    copied.files += done.files;
    copied.directories += done.directories;
    copied.bytes += done.bytes;
    copied.problems(done.problems);
}
