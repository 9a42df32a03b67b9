//! Something in a tree.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, fstat, openat};

use crate::local::meta::LocalMetadata;

/// What it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Directory,
    /// A symlink; what it points to need not exist.
    Symlink {
        /// What it points to, as it stands there: not always UTF-8.
        target: Vec<u8>,
    },
}

/// Something in a tree.
#[derive(Clone)]
pub struct Entry {
    /// Its path: the root's as it was given, and the local names below it.
    pub path: PathBuf,
    /// Its path below the root; empty for the root itself.
    pub relative: PathBuf,
    /// Its name on the grid: the local one, normalised. Empty for the root.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// All else that is known of it. It is from before the content is read.
    pub metadata: LocalMetadata,
    pub(super) parent: Arc<OwnedFd>,
}

/// Why a file that was met cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system says no.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// Another file, or something else, has its name by now.
    #[error("something else took its place")]
    Replaced,
    /// It changed since it was met.
    #[error("it changed while it was read")]
    Changed,
}

impl Entry {
    /// Whether normalisation changed the name: a restored tree will have the new one.
    pub fn is_renamed(&self) -> bool {
        self.relative.file_name().unwrap_or_default() != OsStr::new(&self.name)
    }

    /// Opens the file. Neither a symlink nor a pipe that took its place is opened, and another file is refused.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(&self) -> Result<File, OpenError> {
        let unreadable = |error: rustix::io::Errno| OpenError::Unreadable(error.into());
        let name = self.relative.file_name().unwrap_or_default();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&self.parent, name, flags, Mode::empty()).map_err(|error| match error {
            rustix::io::Errno::LOOP => OpenError::Replaced,
            error => unreadable(error),
        })?;
        let file = File::from(file);
        let now = LocalMetadata::of(&fstat(&file).map_err(unreadable)?).identity;
        if (now.dev, now.ino) != (self.metadata.identity.dev, self.metadata.identity.ino) {
            return Err(OpenError::Replaced);
        }
        Ok(file)
    }

    /// To be asked after the file has been read to its end: whether what was read is what was met.
    ///
    /// # Errors
    ///
    /// [`OpenError::Changed`] if size or mtime changed meanwhile.
    pub fn check_unchanged(&self, file: &File) -> Result<(), OpenError> {
        let now = fstat(file).map_err(|error| OpenError::Unreadable(error.into()))?;
        let now = LocalMetadata::of(&now);
        let what = |meta: &LocalMetadata| (meta.size, meta.mtime);
        if what(&now) == what(&self.metadata) { Ok(()) } else { Err(OpenError::Changed) }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?}, {:?})", self.path, self.kind)
    }
}
