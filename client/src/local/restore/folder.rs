//! Open folders, and what is made in them: every call names one entry of an open folder, so nobody can put a symlink in the way.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding::directory::Name;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, mkdirat, openat, renameat, symlinkat, unlinkat};
use rustix::io::Errno;

use super::error::RestoreError;
use crate::local::xattr::Target;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// The longest target of a symlink that Linux takes, in bytes.
const MAX_TARGET: usize = 4095;

/// An open folder of a tree in the making. Clones share it.
#[derive(Clone)]
pub struct Folder {
    fd: Arc<OwnedFd>,
    path: PathBuf,
    names: Vec<String>,
}

/// A file that has no name yet that anybody looks for. If it is dropped, it is gone.
pub struct NewFile {
    file: File,
    place: Place,
}

/// A symlink that has no name yet that anybody looks for.
pub(super) struct NewSymlink(Place);

/// Something under a name of its own, on its way to its place.
struct Place {
    folder: Folder,
    beside: OsString,
    name: String,
    done: bool,
}

/// Refuses what is no name of an entry. Names that are not in NFC are taken as they are.
pub(super) fn check(name: &str) -> Result<(), RestoreError> {
    Name::new(name)?;
    Ok(())
}

fn failed(path: PathBuf) -> impl FnOnce(Errno) -> RestoreError {
    move |error| match error {
        Errno::EXIST | Errno::ISDIR | Errno::NOTDIR | Errno::LOOP | Errno::NOTEMPTY => {
            RestoreError::InTheWay { path }
        }
        error => RestoreError::Io { path, source: error.into() },
    }
}

impl Folder {
    pub(super) fn root(path: &Path) -> Result<Self, RestoreError> {
        if let Err(source) = std::fs::create_dir_all(path) {
            return Err(match source.kind() {
                std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
                    RestoreError::InTheWay { path: path.to_owned() }
                }
                _ => RestoreError::Io { path: path.to_owned(), source },
            });
        }
        let fd = openat(CWD, path, FOLDER, Mode::empty()).map_err(failed(path.to_owned()))?;
        Ok(Self { fd: Arc::new(fd), path: path.to_owned(), names: Vec::new() })
    }

    /// Its path, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn path_of(&self, names: &[String]) -> PathBuf {
        names.iter().fold(self.path.clone(), |path, name| path.join(name))
    }

    /// Its names below the root.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Goes down from here, through no symlink.
    pub(super) fn walk(&self, names: &[String]) -> Result<Self, RestoreError> {
        let mut folder = self.clone();
        for name in names {
            folder = folder.enter(name)?;
        }
        Ok(folder)
    }

    fn enter(&self, name: &str) -> Result<Self, RestoreError> {
        check(name)?;
        let path = self.path.join(name);
        let fd = openat(&self.fd, name, FOLDER | OFlags::NOFOLLOW, Mode::empty());
        let fd = fd.map_err(failed(path.clone()))?;
        let names = self.names.iter().cloned().chain([name.to_owned()]).collect();
        Ok(Self { fd: Arc::new(fd), path, names })
    }

    pub(super) fn enter_or_make(&self, name: &str) -> Result<Self, RestoreError> {
        check(name)?;
        // Nobody else looks into it before its own mode is put on.
        match mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => self.enter(name),
            Err(error) => Err(failed(self.path.join(name))(error)),
        }
    }

    pub(super) fn begin_file(&self, name: &str) -> Result<NewFile, RestoreError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = |beside: &OsString| openat(&self.fd, beside, flags, Mode::RUSR | Mode::WUSR);
        let (place, fd) = self.beside(name, make)?;
        Ok(NewFile { file: File::from(fd), place })
    }

    pub(super) fn begin_symlink(&self, name: &str, target: &[u8]) -> Result<NewSymlink, RestoreError> {
        if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) {
            check(name)?;
            return Err(RestoreError::Target { path: self.path.join(name) });
        }
        let target = std::ffi::OsStr::from_bytes(target);
        let (place, ()) = self.beside(name, |beside| symlinkat(target, &self.fd, beside))?;
        Ok(NewSymlink(place))
    }

    pub(super) fn hard_link(&self, name: &str, from: &Self, from_name: &str) -> Result<(), RestoreError> {
        check(from_name)?;
        // Without the flag for it, a symlink is linked and not followed.
        let make = |beside: &OsString| linkat(&from.fd, from_name, &self.fd, beside, AtFlags::empty());
        let (place, ()) = self.beside(name, make)?;
        let beside = place.beside.clone();
        place.put()?;
        // A rename between two names of one file does nothing at all, and leaves both.
        match unlinkat(&self.fd, &beside, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(self.path.join(name))(error)),
        }
    }

    /// Makes something under a name that nobody has.
    fn beside<T>(
        &self,
        name: &str,
        make: impl Fn(&OsString) -> Result<T, Errno>,
    ) -> Result<(Place, T), RestoreError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        check(name)?;
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let beside = OsString::from(format!(".sarsen-{}-{number}.part", std::process::id()));
            match make(&beside) {
                Ok(made) => {
                    let place = Place { folder: self.clone(), beside, name: name.to_owned(), done: false };
                    return Ok((place, made));
                }
                // Left by another process of the same number.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(self.path.join(name))(error)),
            }
        }
    }
}

impl NewFile {
    /// The file, to be written.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    pub(super) fn file_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The path it will have, for people.
    pub fn path(&self) -> PathBuf {
        self.place.folder.path.join(&self.place.name)
    }

    pub(super) fn put_in_place(self) -> Result<(), RestoreError> {
        self.place.put()
    }
}

impl NewSymlink {
    pub(super) fn target(&self) -> Target<'_> {
        Target::Named(self.0.folder.fd(), &self.0.beside)
    }

    pub(super) fn put_in_place(self) -> Result<(), RestoreError> {
        self.0.put()
    }
}

impl Place {
    fn put(mut self) -> Result<(), RestoreError> {
        let renamed = renameat(&self.folder.fd, &self.beside, &self.folder.fd, &self.name);
        renamed.map_err(failed(self.folder.path.join(&self.name)))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.done {
            // If it stays, it is at least named so that people know what it was.
            let _ = unlinkat(&self.folder.fd, &self.beside, AtFlags::empty());
        }
    }
}
