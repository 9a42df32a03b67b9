//! The seam between a store and its medium: one directory, as few operations as a store needs.
//!
//! [`RealDisk`](crate::RealDisk) is the real one; tests bring disks that lose what was not synced, tear writes, fill up and fail.
//! What a store assumes of the medium is stated in `docs/spec/store.md`.

use std::io;
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// It must exist; nothing is written.
    Read,
    /// It must exist.
    ReadWrite,
    /// It must not exist. Created for its owner's eyes only.
    CreateNew,
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// The last part of its path.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// One directory on a medium. Paths are relative to it, their parts joined by `/`; the empty path is the directory itself.
pub trait Disk: Send + Sync + 'static {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// `NotFound`, `AlreadyExists`, `PermissionDenied`, `ReadOnlyFilesystem` and whatever else the medium says.
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, replacing what had it. Durable once both directories are synced.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable once its directory is synced.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Creates a directory and those above it that are missing. Durable once the directories above are synced.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn create_dir_all(&self, path: &str) -> io::Result<()>;

    /// The names in a directory, in no order.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn list(&self, path: &str) -> io::Result<Vec<DirEntry>>;

    /// Makes a directory's names durable. Never retried after it failed.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// Bytes that may still be written.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn available(&self) -> io::Result<u64>;

    /// Locks a file for this process alone, until the guard is dropped; the file is created where the medium is writable.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody holds the lock; whatever else the medium says.
    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>>;

    /// What the medium is called, for people.
    fn name(&self) -> String;
}

/// A lock that is held until this is dropped.
pub trait DiskLock: Send + Sync {}

/// An open file. It stays readable while others rename or remove it.
pub trait DiskFile: Send + Sync {
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the file ends before; whatever else the medium says.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `data` at `offset`, extending the file where needed.
    ///
    /// # Errors
    ///
    /// `StorageFull` and whatever else the medium says. Any part may have been written.
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file, or extends it with zeroes.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Bytes of the file.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes content and length durable. Never retried after it failed.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    fn sync(&self) -> io::Result<()>;
}

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
///
/// `InvalidData` if it is longer; whatever else the medium says.
pub(crate) fn read_file(disk: &dyn Disk, path: &str, max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let len = file.len()?;
    if len > max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Writes a file so that after a crash it has either its old content or the new one, and is durable on return.
///
/// # Errors
///
/// Whatever the medium says.
pub(crate) fn replace_file(disk: &dyn Disk, path: &str, content: &[u8]) -> io::Result<()> {
    let new = format!("{path}.new");
    match disk.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&new, OpenMode::CreateNew)?;
    file.write_all_at(content, 0)?;
    file.sync()?;
    disk.rename(&new, path)?;
    disk.sync_dir(path.rsplit_once('/').map_or("", |(dir, _)| dir))
}
