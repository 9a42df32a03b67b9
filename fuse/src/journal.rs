//! What the mount was told and is not on the grid yet, on this machine's disk, sealed.
//!
//! A journal is a folder of numbered segments; the highest number counts, and lower ones are left-overs of a change of segments that a
//! crash cut short. A segment is a header and records, each sealed by ChaCha20-Poly1305 under a key of this segment, with its place as
//! the nonce. Records are facts in the order in which they came about: who reads them in that order knows what is owed to the grid. A
//! record that was cut off, and all behind it, was never acknowledged as durable.

mod record;
mod segment;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use record::{ChildRow, EmptiedRow, MetaRow, NameRow, NodeKind, NodeRow, Record};
use segment::{Reader, Writer};

/// A place in a journal.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    segment: u64,
    count: u64,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another mount uses it.
    #[error("another mount of the same directory runs already")]
    InUse,
    /// It was written under another key, by a newer program, or is damaged in the middle.
    #[error("the journal {path} cannot be read: {reason}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// What the disk says.
    #[error("the journal in {path}")]
    Io {
        /// Which folder or file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

/// The journal of one mount.
pub(crate) struct Journal {
    dir: PathBuf,
    key: zeroize::Zeroizing<[u8; 32]>,
    number: u64,
    salt: [u8; 32],
    writer: Writer,
    /// Held as long as the mount lives.
    _lock: File,
}

impl Journal {
    /// Opens the journal in `dir`, or makes one; and what it says.
    ///
    /// # Errors
    ///
    /// [`JournalError`].
    pub(crate) fn open(
        dir: &Path,
        key: &[u8; 32],
        salt: [u8; 32],
    ) -> Result<(Self, Vec<Record>), JournalError> {
        let at = |source| JournalError::Io { path: dir.to_owned(), source };
        private_folder(dir).map_err(at)?;
        let lock =
            File::options().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(at)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(JournalError::InUse),
            Err(fs::TryLockError::Error(error)) => return Err(at(error)),
        }
        let numbers = segments(dir).map_err(at)?;
        let mut records = Vec::new();
        let last = numbers.last().copied().unwrap_or(0);
        if last > 0 {
            records = Reader::open(&path(dir, last), key)?.records()?;
        }
        // Behind what was cut off nothing may be written: what is known goes to the front of a new segment.
        let number = last + 1;
        let writer = begin(dir, number, records.iter(), (key, salt)).map_err(at)?;
        sync_folder(dir).map_err(at)?;
        remove_others(dir, number).map_err(at)?;
        let key = zeroize::Zeroizing::new(*key);
        Ok((Self { dir: dir.to_owned(), key, number, salt, writer, _lock: lock }, records))
    }

    /// Adds a fact. It survives the end of this process at once, and the end of this machine's power after [`Journal::sync`].
    ///
    /// # Errors
    ///
    /// What the disk says. After that nothing can be added before [`Journal::restart`].
    pub(crate) fn append(&mut self, record: &Record) -> io::Result<()> {
        self.writer.append(record)
    }

    /// What is to be synced to make durable what was added, by who does not hold this up; the answer goes to [`Journal::synced`].
    pub(crate) fn to_sync(&self) -> (Arc<File>, Point) {
        let (file, count) = self.writer.to_sync();
        (file, Point { segment: self.number, count })
    }

    /// What was added up to this point is durable, unless it did not go `well`: then nothing can be added before [`Journal::restart`].
    pub(crate) fn synced(&mut self, point: Point, well: bool) {
        if point.segment == self.number {
            self.writer.synced(point.count, well);
        }
    }

    /// Whether it wants a [`Journal::restart`].
    pub(crate) fn is_broken(&self) -> bool {
        self.writer.is_broken()
    }

    /// As if the disk had failed in the middle of a record.
    #[cfg(test)]
    pub(crate) fn break_off(&mut self) {
        self.writer.break_off();
    }

    /// Whether anything was added since it was last made durable.
    pub(crate) fn is_dirty(&self) -> bool {
        self.writer.is_dirty()
    }

    /// Bytes on disk.
    pub(crate) fn len(&self) -> u64 {
        self.writer.len()
    }

    /// Begins anew with these facts, in place of all others.
    ///
    /// # Errors
    ///
    /// What the disk says; then the old ones still count.
    pub(crate) fn restart(&mut self, records: impl IntoIterator<Item = Record>) -> io::Result<()> {
        let number = self.number + 1;
        // As unlike all others as the first one, which was random: each attempt at a segment has its own.
        self.salt = *blake3::keyed_hash(&self.salt, &number.to_le_bytes()).as_bytes();
        let salt = self.salt;
        // It counts from now on, whatever else goes wrong: its number is higher.
        self.writer = begin(&self.dir, number, records, (&self.key, salt))?;
        self.number = number;
        sync_folder(&self.dir)?;
        remove_others(&self.dir, number)
    }
}

/// Begins a segment with these records. It gets its name when it is whole and synced.
fn begin<R: std::borrow::Borrow<Record>>(
    dir: &Path,
    number: u64,
    records: impl IntoIterator<Item = R>,
    (key, salt): (&[u8; 32], [u8; 32]),
) -> io::Result<Writer> {
    let unfinished = dir.join("unfinished");
    let mut writer = Writer::create(&unfinished, key, salt)?;
    for record in records {
        writer.append(record.borrow())?;
    }
    writer.sync()?;
    fs::rename(&unfinished, path(dir, number))?;
    Ok(writer)
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.journal"))
}

fn private_folder(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Numbers of the segments that are whole enough to count: one whose header was cut off holds nothing.
fn segments(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_suffix(".journal")).and_then(|n| n.parse().ok());
        if let Some(number) = number
            && entry.metadata()?.len() >= segment::HEADER_LEN
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn remove_others(dir: &Path, number: u64) -> io::Result<()> {
    for other in segments(dir)?.into_iter().filter(|other| *other != number) {
        fs::remove_file(path(dir, other))?;
    }
    Ok(())
}
