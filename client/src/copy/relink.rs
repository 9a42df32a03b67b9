//! From one directory of the grid to another: caps move, and no bytes. Directories that others may have are made anew.

use std::path::{Path, PathBuf};

use caps::Cap;
use encoding::directory::{EntryKind, Name};

use super::{CopyError, CopyProblem, Files, Problems, TreeProgress};
use crate::Client;
use crate::filestore::{Child, DirEdit, DirView, FileStoreError, MAX_DEPTH, Replace};

/// What becomes of a directory whose name nothing in the target has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Directories {
    /// It is linked itself: it was made for this, and nobody else has it.
    Linked,
    /// Another one is made of what is in it, and linked.
    Made,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Relinked {
    /// Entries that were linked, those in directories that were made among them.
    pub linked: u64,
    /// Directories that were made.
    pub made: u64,
    /// Directories that were there and were filled up.
    pub filled_up: u64,
    /// What went wrong.
    pub problems: Problems,
}

/// A copy under way.
struct Relinking<'a> {
    client: &'a Client,
    directories: Directories,
    progress: &'a TreeProgress,
    done: Relinked,
}

/// A directory that is to be filled into one of the same name.
struct Deeper {
    path: PathBuf,
    source: Cap,
    target: Cap,
}

impl Client {
    /// Links children in a directory, in one round. A directory whose name a directory has is not linked: what is in it is linked in
    /// that one, and so on.
    ///
    /// # Errors
    ///
    /// [`CopyError`].
    pub async fn relink(
        &self,
        children: Vec<(Name, Child)>,
        into: &DirView,
        directories: Directories,
        progress: &TreeProgress,
    ) -> Result<Relinked, CopyError> {
        let mut relinking = Relinking { client: self, directories, progress, done: Relinked::default() };
        // What waits is caps: only what is being filled is open.
        let mut work = relinking.here(Path::new(""), children, into).await?;
        while let Some(Deeper { path, source, target }) = work.pop() {
            if path.components().count() > MAX_DEPTH {
                relinking.done.problems.add(path, CopyProblem::Grid(FileStoreError::TooDeep));
                continue;
            }
            let failed = |error| CopyError::grid(&path, error);
            let source = self.open_directory(&source).await.map_err(failed)?;
            let target = self.open_directory(&target).await.map_err(failed)?;
            let mut children = Vec::new();
            for (name, entry) in source.list().await.map_err(failed)? {
                children.push((name, source.child_of(&entry).map_err(failed)?));
            }
            relinking.done.filled_up += 1;
            work.extend(relinking.here(&path, children, &target).await?);
        }
        Ok(relinking.done)
    }
}

impl Relinking<'_> {
    /// Links what is not a directory on both sides; those that are come back.
    async fn here(
        &mut self,
        path: &Path,
        children: Vec<(Name, Child)>,
        view: &DirView,
    ) -> Result<Vec<Deeper>, CopyError> {
        let failed = |error: FileStoreError| CopyError::grid(path, error);
        let writer = || view.writer().ok_or_else(|| CopyError::ReadOnly { path: path.to_owned() });
        let (mut edits, mut names, mut deeper) = (Vec::new(), Vec::new(), Vec::new());
        for (name, mut child) in children {
            let found = view.get(&name).await.map_err(failed)?;
            let is_directory = child.kind == EntryKind::Directory;
            match &found {
                Some(found) if is_directory && found.kind == EntryKind::Directory => {
                    let (source, target) = (child.cap().clone(), view.cap_of(found).map_err(failed)?);
                    if source != target && source.read() != target.read() {
                        deeper.push(Deeper { path: path.join(name.as_str()), source, target });
                    }
                    continue;
                }
                Some(_) if is_directory => {
                    let problem = CopyProblem::InTheWay { what: "a file" };
                    self.done.problems.add(path.join(name.as_str()), problem);
                    continue;
                }
                _ => {}
            }
            // What cannot be linked need not be made.
            writer()?;
            let is_new = is_directory && self.directories == Directories::Made;
            if is_new {
                let Some(made) = self.make(&path.join(name.as_str()), child).await? else { continue };
                child = made;
            } else if !is_directory {
                self.progress.advance(child.caps.read.size().unwrap_or(0));
            }
            names.push((name.clone(), is_new));
            edits.push(DirEdit::Link { name, child: Box::new(child), replace: Replace::OnlyFiles });
        }
        if !edits.is_empty() {
            let outcomes = self.client.edit_directory(writer()?, edits).await.map_err(failed)?;
            for (outcome, (name, is_new)) in outcomes.into_iter().zip(names) {
                match outcome {
                    Ok(_) => self.done.linked += u64::from(!is_new),
                    Err(refusal) => self.done.problems.add(path.join(name.as_str()), refusal),
                }
            }
        }
        Ok(deeper)
    }

    /// Another directory with the same things in it, unless it cannot be read.
    async fn make(&mut self, path: &Path, child: Child) -> Result<Option<Child>, CopyError> {
        let view = match self.client.open_directory(child.cap()).await {
            Ok(view) => view,
            Err(error) if CopyError::is_hopeless(&error) => return Err(CopyError::grid(path, error)),
            Err(error) => {
                self.done.problems.add(path, CopyProblem::Grid(error));
                return Ok(None);
            }
        };
        let copied = self.client.copy_directory(&view, Files::Linked, self.progress).await?;
        self.done.made += copied.directories;
        self.done.linked += copied.linked;
        for (below, problem) in copied.problems.list {
            self.done.problems.add(path.join(below), problem);
        }
        self.done.problems.more += copied.problems.more;
        Ok(Some(copied.root.with(child.metadata)))
    }
}
