//! Making a tree on this machine out of what a directory says, which may have been written by an enemy: names are checked, no symlink
//! is ever gone through, and nothing appears half-written.
//!
//! Folders are made first and get their times last, deepest first, since every entry made in them changes those. Hard links are made
//! when the files they name are complete.

mod apply;
mod error;
mod folder;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::meta::LocalMetadata;
use super::xattr::Target;
use apply::apply;

pub use error::{Problem, RestoreError};
pub use folder::{Folder, NewFile};

/// How far what comes from the grid is trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// It is a backup of one's own: everything is put back, as far as this user may.
    Own,
    /// It may be anybody's: owners, set-user-id and set-group-id bits, and attributes that the system acts upon are left off.
    Foreign,
}

/// What could not be put back, in a tree that was otherwise made.
#[derive(Debug, Default)]
pub struct Report {
    /// How many things keep the owner who made them: only root may give files away, and those of [`Trust::Foreign`] are not.
    pub owners_left_off: u64,
    /// Single things that failed, at most [`MAX_PROBLEMS`].
    pub problems: Vec<(PathBuf, Problem)>,
    /// How many more of them there are.
    pub more_problems: u64,
}

/// The most problems a report lists; the rest is counted.
pub const MAX_PROBLEMS: usize = 10_000;

/// A tree in the making. Its methods may be called from many threads. It remembers every folder and every hard link until the end.
pub struct Restore {
    root: Folder,
    trust: Trust,
    later: Mutex<Later>,
    report: Mutex<Report>,
}

#[derive(Default)]
struct Later {
    /// Folders in the order they were made: parents before children.
    folders: Vec<(Vec<String>, LocalMetadata)>,
    /// The first name of each group.
    first: HashMap<[u8; 16], Vec<String>>,
    /// Other names of it.
    links: Vec<([u8; 16], Vec<String>)>,
}

impl Restore {
    /// Begins a tree at `root`, a folder that is made if it does not exist; a symlink to a folder is followed here, and nowhere else.
    ///
    /// # Errors
    ///
    /// [`RestoreError`].
    pub fn new(root: &Path, trust: Trust) -> Result<Self, RestoreError> {
        let root = Folder::root(root)?;
        Ok(Self { root, trust, later: Mutex::default(), report: Mutex::default() })
    }

    /// The folder it begins at.
    pub fn root(&self) -> &Folder {
        &self.root
    }

    /// Makes a folder, or enters the one that is there. Its metadata is put on at the end.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; [`RestoreError::InTheWay`] if something else has its name.
    pub fn folder(
        &self,
        parent: &Folder,
        name: &str,
        metadata: LocalMetadata,
    ) -> Result<Folder, RestoreError> {
        let folder = parent.enter_or_make(name)?;
        lock(&self.later).folders.push((folder.names().to_vec(), metadata));
        Ok(folder)
    }

    /// Begins a file. It appears under its name with [`Self::finish_file`].
    ///
    /// # Errors
    ///
    /// [`RestoreError`].
    pub fn file(&self, parent: &Folder, name: &str) -> Result<NewFile, RestoreError> {
        parent.begin_file(name)
    }

    /// Puts its metadata on a file whose content is complete, and puts it in its place, instead of what is there. It is not synced.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; [`RestoreError::InTheWay`] if there is a folder.
    pub fn finish_file(&self, file: NewFile, metadata: &LocalMetadata) -> Result<(), RestoreError> {
        apply(Target::Open(file.file_fd()), metadata, self.trust, false, &file.path(), &self.report);
        file.put_in_place()
    }

    /// Makes a symlink, instead of what is there. What it points to is not looked at.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; [`RestoreError::Target`] if no symlink can point to this.
    pub fn symlink(
        &self,
        parent: &Folder,
        name: &str,
        target: &[u8],
        metadata: &LocalMetadata,
    ) -> Result<(), RestoreError> {
        let link = parent.begin_symlink(name, target)?;
        apply(link.target(), metadata, self.trust, true, &parent.path().join(name), &self.report);
        link.put_in_place()
    }

    /// Notes one of several names of one file. The first name of a group is to be made as a file (`true`); the others are linked to
    /// it at the end, when all files are complete.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Name`].
    pub fn hard_link(&self, parent: &Folder, name: &str, group: [u8; 16]) -> Result<bool, RestoreError> {
        folder::check(name)?;
        let path: Vec<String> = parent.names().iter().cloned().chain([name.to_owned()]).collect();
        let mut later = lock(&self.later);
        if later.first.contains_key(&group) {
            later.links.push((group, path));
            return Ok(false);
        }
        later.first.insert(group, path);
        Ok(true)
    }

    /// Makes the hard links, puts on the metadata of all folders and, if given, of the root; and says what could not be done.
    pub fn finish(self, root: Option<&LocalMetadata>) -> Report {
        let later = self.later.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (group, path) in &later.links {
            let first = later.first.get(group).expect("it was entered before its links");
            if let Err(error) = link(&self.root, first, path) {
                problem(&self.report, self.root.path_of(path), Problem::HardLink(error));
            }
        }
        for (names, metadata) in later.folders.iter().rev() {
            let path = self.root.path_of(names);
            match self.root.walk(names) {
                Ok(folder) => {
                    apply(Target::Open(folder.fd()), metadata, self.trust, false, &path, &self.report)
                }
                Err(error) => problem(&self.report, path, Problem::Gone(error)),
            }
        }
        if let Some(metadata) = root {
            let path = self.root.path();
            apply(Target::Open(self.root.fd()), metadata, self.trust, false, path, &self.report);
        }
        self.report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn link(root: &Folder, first: &[String], path: &[String]) -> Result<(), RestoreError> {
    let split = |path: &[String]| -> Result<(Folder, String), RestoreError> {
        let (name, folders) = path.split_last().expect("the path of a file has its name");
        Ok((root.walk(folders)?, name.clone()))
    };
    let ((from, from_name), (to, to_name)) = (split(first)?, split(path)?);
    to.hard_link(&to_name, &from, &from_name)
}

fn problem(report: &Mutex<Report>, path: PathBuf, problem: Problem) {
    let mut report = lock(report);
    if report.problems.len() < MAX_PROBLEMS {
        report.problems.push((path, problem));
    } else {
        report.more_problems += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panicking thread left is whole: everything goes in with one call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
