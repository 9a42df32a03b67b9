//! Files the command writes: beside their place first, then renamed, so that nobody ever sees half of one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};

/// A file on its way to its place.
pub(crate) struct Beside {
    /// The file, open for reading and writing.
    pub(crate) file: File,
    beside: PathBuf,
    place: PathBuf,
}

impl Beside {
    /// Opens, or makes, the file that stands in for `place` until it is complete. `mark` tells apart what is written: the same mark
    /// finds what an interrupted run left.
    pub(crate) fn open(place: &Path, mark: &str) -> anyhow::Result<Self> {
        let name = place.file_name().with_context(|| format!("{} names no file", place.display()))?;
        if place.is_dir() {
            anyhow::bail!("{} is a folder", place.display());
        }
        let mut beside = OsString::from(".");
        beside.push(name);
        beside.push(format!(".{mark}.part"));
        let beside = place.with_file_name(beside);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&beside);
        let file = file.with_context(|| format!("cannot write beside {}", place.display()))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("another process is writing {}", place.display()))?;
        Ok(Self { file, beside, place: place.to_owned() })
    }

    /// Syncs the file and puts it in its place.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let done = self.file.sync_all().and_then(|()| fs::rename(&self.beside, &self.place));
        done.with_context(|| format!("cannot complete {}", self.place.display()))
    }

    /// Removes what was written so far.
    pub(crate) fn discard(self) {
        // If it stays, the next run finds and checks it.
        let _ = fs::remove_file(&self.beside);
    }
}
