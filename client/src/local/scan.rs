//! Walking a tree of this machine. No symlink below the root is followed; what cannot be read is said and passed over.

mod entry;
mod error;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use encoding::directory::Name;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use unicode_normalization::is_nfc;

use super::exclude::Excludes;
use super::meta::LocalMetadata;
use super::xattr::{self, Found};

pub use entry::{Entry, Kind, OpenError};
pub use error::{ScanError, SkipReason};

/// The deepest tree walked. Every level keeps a folder open, and a process may have 1,024 files open where nobody raised that.
pub const MAX_DEPTH: usize = 512;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What a scan meets, in this order: a folder, what is in it sorted by name, the end of the folder.
#[derive(Debug)]
pub enum Event {
    /// A folder begins. The first event is the root's, whose name is empty.
    Enter(Entry),
    /// A file or a symlink.
    Entry(Entry),
    /// The folder that was entered last ends: all that is in it has been told.
    Leave(Entry),
    /// Something is left out, or a part of it.
    Skipped {
        /// Its path, for people and for the system.
        path: PathBuf,
        /// Why.
        reason: SkipReason,
    },
}

/// A walk over a tree.
pub struct Scan {
    excludes: Excludes,
    stack: Vec<Level>,
    waiting: Vec<Event>,
}

/// A folder that is being walked.
struct Level {
    folder: Arc<OwnedFd>,
    entry: Entry,
    /// The names still to come, the next one last.
    names: Vec<OsString>,
    /// Names that are taken on the grid; empty where no local name is changed by normalisation.
    taken: HashSet<String>,
}

impl Scan {
    /// Begins a walk at `root`, a folder, or a symlink to one.
    ///
    /// # Errors
    ///
    /// [`ScanError`] if it is no folder or cannot be read.
    pub fn new(root: &Path, excludes: Excludes) -> Result<Self, ScanError> {
        let failed =
            |source: rustix::io::Errno| ScanError::Root { path: root.to_owned(), source: source.into() };
        let folder = openat(CWD, root, FOLDER, Mode::empty()).map_err(failed)?;
        let mut metadata = LocalMetadata::of(&fstat(&folder).map_err(failed)?);
        let mut waiting = Vec::new();
        add_xattrs(&mut metadata, xattr::Target::Open(folder.as_fd()), root, &mut waiting);
        let names = names(&folder).map_err(failed)?;
        let folder = Arc::new(folder);
        let entry = Entry {
            path: root.to_owned(),
            relative: PathBuf::new(),
            name: String::new(),
            kind: Kind::Directory,
            metadata,
            parent: folder.clone(),
        };
        waiting.push(Event::Enter(entry.clone()));
        let stack = vec![Level::new(folder, entry, names)];
        Ok(Self { excludes, stack, waiting })
    }

    /// The next name of the innermost folder.
    fn step(&mut self) -> Option<Event> {
        let level = self.stack.last_mut()?;
        let Some(local) = level.names.pop() else {
            let level = self.stack.pop()?;
            return Some(Event::Leave(level.entry));
        };
        let path = level.entry.path.join(&local);
        match self.visit(&local, &path) {
            Ok(event) => event,
            Err(reason) => Some(Event::Skipped { path, reason }),
        }
    }

    fn visit(&mut self, local: &OsStr, path: &Path) -> Result<Option<Event>, SkipReason> {
        let level = self.stack.last_mut().expect("the caller took a name from it");
        let relative = level.entry.relative.join(local);
        if self.excludes.matches(&local.to_string_lossy(), &relative) {
            return Err(SkipReason::Excluded);
        }
        let name = level.name(local)?;
        let stat = match statat(&level.folder, local, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It went while we looked elsewhere: as if it had gone before.
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(SkipReason::Unreadable(error.into())),
        };
        let kind = kind(&level.folder, local, &stat)?;
        let mut metadata = LocalMetadata::of(&stat);
        let target = xattr::Target::Named(level.folder.as_fd(), local);
        add_xattrs(&mut metadata, target, path, &mut self.waiting);
        let parent = level.folder.clone();
        let entry = Entry { path: path.to_owned(), relative, name, kind, metadata, parent };
        if entry.kind != Kind::Directory {
            return Ok(Some(Event::Entry(entry)));
        }
        self.enter(local, entry).map(Some)
    }

    fn enter(&mut self, local: &OsStr, mut entry: Entry) -> Result<Event, SkipReason> {
        let unreadable = |error: rustix::io::Errno| SkipReason::Unreadable(error.into());
        if self.stack.len() >= MAX_DEPTH {
            return Err(SkipReason::TooDeep);
        }
        let folder =
            openat(&entry.parent, local, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(unreadable)?;
        // What was opened counts, if it is not what was looked at before.
        let mut metadata = LocalMetadata::of(&fstat(&folder).map_err(unreadable)?);
        metadata.xattrs = std::mem::take(&mut entry.metadata.xattrs);
        let same = |other: &LocalMetadata| {
            (other.identity.dev, other.identity.ino) == (metadata.identity.dev, metadata.identity.ino)
        };
        if self.stack.iter().any(|level| same(&level.entry.metadata)) {
            return Err(SkipReason::Cycle);
        }
        entry.metadata = metadata;
        let names = names(&folder).map_err(unreadable)?;
        let folder = Arc::new(folder);
        self.stack.push(Level::new(folder, entry.clone(), names));
        Ok(Event::Enter(entry))
    }
}

/// A single file, as a walk would meet it; a symlink is followed. Its name is the one in `path`. With it, what is left out of it.
///
/// # Errors
///
/// [`ScanError::Root`] if it cannot be looked at; [`ScanError::Single`] if it is no file, or its name can be none on the grid.
pub fn single(path: &Path) -> Result<(Entry, Vec<SkipReason>), ScanError> {
    let failed = |source: std::io::Error| ScanError::Root { path: path.to_owned(), source };
    let refused = |reason: SkipReason| ScanError::Single { path: path.to_owned(), reason };
    let real = std::fs::canonicalize(path).map_err(failed)?;
    let (Some(above), Some(local)) = (real.parent(), real.file_name()) else {
        return Err(refused(SkipReason::Special { what: "a folder" }));
    };
    let folder = openat(CWD, above, FOLDER, Mode::empty()).map_err(|error| failed(error.into()))?;
    let stat = statat(&folder, local, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| failed(error.into()))?;
    match kind(&folder, local, &stat).map_err(refused)? {
        Kind::File => {}
        Kind::Directory => return Err(refused(SkipReason::Special { what: "a folder" })),
        Kind::Symlink { .. } => return Err(refused(SkipReason::Special { what: "a symlink" })),
    }
    let given = path.file_name().unwrap_or(local).to_str().ok_or_else(|| refused(SkipReason::NotUtf8))?;
    let name = Name::new(given).map_err(|error| refused(SkipReason::Name(error)))?.to_string();
    let mut metadata = LocalMetadata::of(&stat);
    let mut waiting = Vec::new();
    add_xattrs(&mut metadata, xattr::Target::Named(folder.as_fd(), local), path, &mut waiting);
    let (relative, parent) = (PathBuf::from(local), Arc::new(folder));
    let entry = Entry { path: path.to_owned(), relative, name, kind: Kind::File, metadata, parent };
    let reasons = waiting.into_iter().filter_map(|event| match event {
        Event::Skipped { reason, .. } => Some(reason),
        _ => None,
    });
    Ok((entry, reasons.collect()))
}

impl Iterator for Scan {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Some(event);
            }
            match self.step() {
                Some(event) if self.waiting.is_empty() => return Some(event),
                // What is said of a file comes before it.
                Some(event) => self.waiting.insert(0, event),
                None if self.stack.is_empty() => return None,
                None => {}
            }
        }
    }
}

impl Level {
    fn new(folder: Arc<OwnedFd>, entry: Entry, names: Vec<OsString>) -> Self {
        let as_they_are = || names.iter().filter_map(|name| name.to_str());
        let all = as_they_are().all(is_nfc);
        let taken =
            if all { HashSet::new() } else { as_they_are().filter(|n| is_nfc(n)).map(Into::into).collect() };
        Self { folder, entry, names, taken }
    }

    /// The name that an entry gets on the grid. Two local names may be one after normalisation; the one that is normalised as it is
    /// wins.
    fn name(&mut self, local: &OsStr) -> Result<String, SkipReason> {
        let text = local.to_str().ok_or(SkipReason::NotUtf8)?;
        let name = Name::new(text).map_err(SkipReason::Name)?.to_string();
        if name != text && !self.taken.insert(name.clone()) {
            return Err(SkipReason::SameName { name });
        }
        Ok(name)
    }
}

fn kind(folder: &OwnedFd, local: &OsStr, stat: &Stat) -> Result<Kind, SkipReason> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Kind::File),
        FileType::Directory => Ok(Kind::Directory),
        FileType::Symlink => {
            let target = readlinkat(folder, local, Vec::new());
            let target = target.map_err(|error| SkipReason::Unreadable(error.into()))?;
            Ok(Kind::Symlink { target: target.into_bytes() })
        }
        FileType::Socket => Err(SkipReason::Special { what: "a socket" }),
        FileType::Fifo => Err(SkipReason::Special { what: "a pipe" }),
        FileType::BlockDevice | FileType::CharacterDevice => Err(SkipReason::Special { what: "a device" }),
        FileType::Unknown => Err(SkipReason::Special { what: "of an unknown kind" }),
    }
}

fn add_xattrs(
    metadata: &mut LocalMetadata,
    target: xattr::Target<'_>,
    path: &Path,
    waiting: &mut Vec<Event>,
) {
    let reason = match xattr::read(target) {
        Ok(Found { kept, left_out }) => {
            metadata.xattrs = kept;
            if left_out.is_empty() {
                return;
            }
            SkipReason::Xattrs { names: left_out }
        }
        Err(error) => SkipReason::XattrsUnreadable(error),
    };
    waiting.push(Event::Skipped { path: path.to_owned(), reason });
}

/// The names in a folder, the first one last.
fn names(folder: &OwnedFd) -> rustix::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    // Of the open folder itself: to open it again takes a right that listing does not.
    for entry in Dir::new(rustix::io::fcntl_dupfd_cloexec(folder, 0)?)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    names.sort_by(|a, b| b.cmp(a));
    Ok(names)
}
