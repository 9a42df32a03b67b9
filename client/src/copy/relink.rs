//! From one directory of the grid to another: caps move, and no bytes.

use std::path::{Path, PathBuf};

use caps::Cap;
use encoding::directory::{EntryKind, Name};

use super::{CopyError, CopyProblem, Problems};
use crate::Client;
use crate::filestore::{Child, DirEdit, DirView, FileStoreError, MAX_DEPTH, Replace};

/// What was done.
#[derive(Debug, Default)]
pub struct Relinked {
    /// Entries that were linked.
    pub linked: u64,
    /// Directories that were there and were filled up.
    pub filled_up: u64,
    /// What went wrong.
    pub problems: Problems,
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
    pub async fn relink(&self, children: Vec<(Name, Child)>, into: &DirView) -> Result<Relinked, CopyError> {
        let mut done = Relinked::default();
        // What waits is caps: only what is being filled is open.
        let mut work = self.relink_here(Path::new(""), children, into, &mut done).await?;
        while let Some(Deeper { path, source, target }) = work.pop() {
            if path.components().count() > MAX_DEPTH {
                done.problems.add(path, CopyProblem::Grid(FileStoreError::TooDeep));
                continue;
            }
            let failed = |error| CopyError::grid(&path, error);
            let source = self.open_directory(&source).await.map_err(failed)?;
            let target = self.open_directory(&target).await.map_err(failed)?;
            let mut children = Vec::new();
            for (name, entry) in source.list().await.map_err(failed)? {
                children.push((name, source.child_of(&entry).map_err(failed)?));
            }
            done.filled_up += 1;
            work.extend(self.relink_here(&path, children, &target, &mut done).await?);
        }
        Ok(done)
    }

    /// Links what is not a directory on both sides; those that are come back.
    async fn relink_here(
        &self,
        path: &Path,
        children: Vec<(Name, Child)>,
        view: &DirView,
        done: &mut Relinked,
    ) -> Result<Vec<Deeper>, CopyError> {
        let failed = |error: FileStoreError| CopyError::grid(path, error);
        let (mut edits, mut names, mut deeper) = (Vec::new(), Vec::new(), Vec::new());
        for (name, child) in children {
            let found = view.get(&name).await.map_err(failed)?;
            let both = |kind| child.kind == kind && found.as_ref().is_some_and(|found| found.kind == kind);
            match &found {
                Some(found) if both(EntryKind::Directory) => {
                    let (source, target) = (child.cap().clone(), view.cap_of(found).map_err(failed)?);
                    if source != target && source.read() != target.read() {
                        deeper.push(Deeper { path: path.join(name.as_str()), source, target });
                    }
                }
                Some(_) if child.kind == EntryKind::Directory => {
                    done.problems.add(path.join(name.as_str()), CopyProblem::InTheWay { what: "a file" });
                }
                _ => {
                    names.push(name.clone());
                    edits.push(DirEdit::Link { name, child: Box::new(child), replace: Replace::OnlyFiles });
                }
            }
        }
        if !edits.is_empty() {
            let writer = view.writer().ok_or_else(|| CopyError::ReadOnly { path: path.to_owned() })?;
            let outcomes = self.edit_directory(writer, edits).await.map_err(failed)?;
            for (outcome, name) in outcomes.into_iter().zip(names) {
                match outcome {
                    Ok(_) => done.linked += 1,
                    Err(refusal) => done.problems.add(path.join(name.as_str()), refusal),
                }
            }
        }
        Ok(deeper)
    }
}
