//! What `backup` remembers of what it uploaded, so that an unchanged tree costs no reading: `private/backup.redb`.
//!
//! It is a cache: deleting it costs a backup that reads every file again, and nothing else. It holds read caps, so it is as secret as
//! they are. Rows are bound to a grid: what one grid holds says nothing about another.

use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use caps::{Cap, VerifyHash};
use redb::{
    Builder, Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition,
};

use crate::config::ClientDir;
use crate::local::{LocalMetadata, Time};

const FILE: &str = "private/backup.redb";
/// The library's own default is 1 GiB, more than a backup may take.
const CACHE_BYTES: usize = 16 << 20;
/// So many rows are committed, and synced, at once: what a crash may cost is that many uploads.
const BATCH: usize = 1000;
/// Longer paths are filed under their hash.
const MAX_PLAIN_PATH: usize = 512;
/// A file that changed so shortly before it was read may change again within the same tick of the file system's clock, unseen. It is
/// not remembered.
pub const SETTLED: std::time::Duration = std::time::Duration::from_millis(100);
/// The newest form of the rows known.
const VERSION: u32 = 1;

const VERSIONS: TableDefinition<&str, u32> = TableDefinition::new("version");
/// A grid's id -> the number that begins the keys of its rows.
const GRIDS: TableDefinition<[u8; 32], u32> = TableDefinition::new("grids");
/// Grid, path -> size, mtime, ctime (both in nanoseconds), inode, device; uploaded, checked (seconds); salt of a tree; cap.
const FILES: TableDefinition<&[u8], FileRow> = TableDefinition::new("files");
/// Grid, hash -> uploaded, checked (seconds); salt; cap.
const DIRECTORIES: TableDefinition<&[u8], DirectoryRow> = TableDefinition::new("directories");

type FileRow = (u64, i128, i128, u64, u64, u64, u64, Option<[u8; 32]>, &'static str);
type DirectoryRow = (u64, u64, Option<[u8; 32]>, &'static str);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupDbError {
    /// Another process has it open.
    #[error("another backup is running")]
    Busy,
    /// Its file cannot be opened.
    #[error("{path} cannot be used")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It is damaged. It may be deleted.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the database says.
        source: Box<redb::Error>,
    },
    /// A newer program wrote it.
    #[error("{path} is of version {version}; this program reads version {VERSION}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// What is known of something that was uploaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its read cap.
    pub cap: Cap,
    /// The public salt of its root's descriptor, where it is a tree.
    pub salt: Option<[u8; 32]>,
    /// When it was uploaded, in seconds since 1970.
    pub uploaded: u64,
    /// When it was last found healthy, in seconds since 1970.
    pub checked: u64,
}

/// The database, open for one grid. Its methods block: on memory mostly, on the disk when a batch is committed.
pub struct BackupDb {
    path: PathBuf,
    database: Database,
    grid: u32,
    state: Mutex<State>,
}

struct State {
    files: ReadOnlyTable<&'static [u8], FileRow>,
    directories: ReadOnlyTable<&'static [u8], DirectoryRow>,
    new_files: HashMap<Vec<u8>, (Stamp, Known)>,
    new_directories: HashMap<[u8; 32], Known>,
}

/// What tells that a file is the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    mtime: i128,
    ctime: i128,
    ino: u64,
    dev: u64,
}

impl Stamp {
    fn of(meta: &LocalMetadata) -> Self {
        let (mtime, ctime) = (meta.mtime.as_nanos(), meta.ctime.as_nanos());
        Self { size: meta.size, mtime, ctime, ino: meta.identity.ino, dev: meta.identity.dev }
    }
}

impl BackupDb {
    /// Opens, or makes, the database of a client for the grid `grid`, an id of the caller's choice that no other grid has.
    ///
    /// # Errors
    ///
    /// [`BackupDbError`]; [`BackupDbError::Busy`] while another process has it open.
    pub fn open(dir: &ClientDir, grid: &[u8; 32]) -> Result<Self, BackupDbError> {
        let path = dir.path(FILE);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|source| BackupDbError::File { path: path.clone(), source })?;
        let database = Builder::new().set_cache_size(CACHE_BYTES).create_file(file);
        let database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => BackupDbError::Busy,
            error => failed(&path, error),
        })?;
        let prepared = prepare(&database, grid).map_err(|error| failed(&path, error))?;
        let grid = prepared.map_err(|version| BackupDbError::Newer { path: path.clone(), version })?;
        let (files, directories) = tables(&database).map_err(|error| failed(&path, error))?;
        let state = State { files, directories, new_files: HashMap::new(), new_directories: HashMap::new() };
        Ok(Self { path, database, grid, state: Mutex::new(state) })
    }

    /// Whether a client has such a database.
    pub fn is_there(dir: &ClientDir) -> bool {
        dir.path(FILE).exists()
    }

    /// What is known of the file at this absolute path, if size, times, inode and device are what they were.
    ///
    /// # Errors
    ///
    /// [`BackupDbError::Damaged`] or [`BackupDbError::File`].
    pub fn unchanged(&self, path: &Path, meta: &LocalMetadata) -> Result<Option<Known>, BackupDbError> {
        let key = self.path_key(path);
        let state = self.state();
        let stamp = Stamp::of(meta);
        if let Some((found, known)) = state.new_files.get(&key) {
            return Ok((*found == stamp).then(|| known.clone()));
        }
        let row = state.files.get(&key[..]).map_err(|error| failed(&self.path, error))?;
        Ok(row.and_then(|row| {
            let (size, mtime, ctime, ino, dev, uploaded, checked, salt, cap) = row.value();
            let same = stamp == Stamp { size, mtime, ctime, ino, dev };
            let cap = same.then(|| cap.parse().ok()).flatten()?;
            Some(Known { cap, salt, uploaded, checked })
        }))
    }

    /// Remembers a file as it was uploaded. `meta` is from before it was read, which began at `read_at`. Whether it was remembered:
    /// what changed less than [`SETTLED`] before it was read is not.
    ///
    /// # Errors
    ///
    /// [`BackupDbError::Damaged`] or [`BackupDbError::File`], when a batch is committed.
    pub fn record(
        &self,
        path: &Path,
        meta: &LocalMetadata,
        read_at: Time,
        known: Known,
    ) -> Result<bool, BackupDbError> {
        let newest = meta.mtime.as_nanos().max(meta.ctime.as_nanos());
        if newest + SETTLED.as_nanos() as i128 > read_at.as_nanos() {
            return Ok(false);
        }
        let mut state = self.state();
        state.new_files.insert(self.path_key(path), (Stamp::of(meta), known));
        self.commit_if_full(&mut state)?;
        Ok(true)
    }

    /// The immutable directory of this hash, if it was uploaded. The hash is over its entries, as the caller defines it.
    ///
    /// # Errors
    ///
    /// [`BackupDbError::Damaged`] or [`BackupDbError::File`].
    pub fn directory(&self, hash: &[u8; 32]) -> Result<Option<Known>, BackupDbError> {
        let state = self.state();
        if let Some(known) = state.new_directories.get(hash) {
            return Ok(Some(known.clone()));
        }
        let row = state.directories.get(&self.key(hash)[..]).map_err(|error| failed(&self.path, error))?;
        Ok(row.and_then(|row| {
            let (uploaded, checked, salt, cap) = row.value();
            Some(Known { cap: cap.parse().ok()?, salt, uploaded, checked })
        }))
    }

    /// Remembers an immutable directory as it was uploaded.
    ///
    /// # Errors
    ///
    /// [`BackupDbError::Damaged`] or [`BackupDbError::File`], when a batch is committed.
    pub fn record_directory(&self, hash: &[u8; 32], known: Known) -> Result<(), BackupDbError> {
        let mut state = self.state();
        state.new_directories.insert(*hash, known);
        self.commit_if_full(&mut state)
    }

    /// Makes everything recorded durable.
    ///
    /// # Errors
    ///
    /// [`BackupDbError::Damaged`] or [`BackupDbError::File`].
    pub fn flush(&self) -> Result<(), BackupDbError> {
        self.commit(&mut self.state())
    }

    fn commit_if_full(&self, state: &mut State) -> Result<(), BackupDbError> {
        if state.new_files.len() + state.new_directories.len() < BATCH { Ok(()) } else { self.commit(state) }
    }

    fn commit(&self, state: &mut State) -> Result<(), BackupDbError> {
        if state.new_files.is_empty() && state.new_directories.is_empty() {
            return Ok(());
        }
        (state.files, state.directories) = self.write(state).map_err(|error| failed(&self.path, error))?;
        state.new_files.clear();
        state.new_directories.clear();
        Ok(())
    }

    fn write(&self, state: &State) -> Result<Tables, redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut files = transaction.open_table(FILES)?;
            for (key, (stamp, known)) in &state.new_files {
                let cap = zeroize::Zeroizing::new(known.cap.to_string());
                let Stamp { size, mtime, ctime, ino, dev } = *stamp;
                let Known { salt, uploaded, checked, .. } = *known;
                let row = (size, mtime, ctime, ino, dev, uploaded, checked, salt, cap.as_str());
                files.insert(&key[..], row)?;
            }
            let mut directories = transaction.open_table(DIRECTORIES)?;
            for (hash, known) in &state.new_directories {
                let cap = zeroize::Zeroizing::new(known.cap.to_string());
                let row = (known.uploaded, known.checked, known.salt, cap.as_str());
                directories.insert(&self.key(hash)[..], row)?;
            }
        }
        transaction.commit()?;
        tables(&self.database)
    }

    /// Forgets, of every grid, what is about to be let go: the next backup must not take it for stored.
    ///
    /// # Errors
    ///
    /// [`BackupDbError::Damaged`] or [`BackupDbError::File`].
    pub fn forget(&self, gone: &HashSet<VerifyHash>) -> Result<(), BackupDbError> {
        self.flush()?;
        let forgotten = self.forget_rows(gone).map_err(|error| failed(&self.path, error))?;
        let mut state = self.state();
        (state.files, state.directories) = forgotten;
        Ok(())
    }

    fn forget_rows(&self, gone: &HashSet<VerifyHash>) -> Result<Tables, redb::Error> {
        // One that cannot be read is of no use either.
        let stays = |cap: &str| {
            cap.parse::<Cap>().is_ok_and(|cap| cap.verify_hash().is_none_or(|hash| !gone.contains(&hash)))
        };
        let transaction = self.database.begin_write()?;
        transaction.open_table(FILES)?.retain(|_, (.., cap)| stays(cap))?;
        transaction.open_table(DIRECTORIES)?.retain(|_, (.., cap)| stays(cap))?;
        transaction.commit()?;
        tables(&self.database)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panicking thread left is whole: rows go in one at a time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path_key(&self, path: &Path) -> Vec<u8> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.len() <= MAX_PLAIN_PATH {
            return self.key(&[b"p", bytes].concat());
        }
        self.key(&[b"h", &blake3::hash(bytes).as_bytes()[..]].concat())
    }

    fn key(&self, rest: &[u8]) -> Vec<u8> {
        [&self.grid.to_be_bytes(), rest].concat()
    }
}

impl Drop for BackupDb {
    fn drop(&mut self) {
        // Whoever wants to know whether it worked has called `flush`; an interrupted backup still keeps what it did.
        let _ = self.flush();
    }
}

type Tables = (ReadOnlyTable<&'static [u8], FileRow>, ReadOnlyTable<&'static [u8], DirectoryRow>);

fn tables(database: &Database) -> Result<Tables, redb::Error> {
    let transaction = database.begin_read()?;
    Ok((transaction.open_table(FILES)?, transaction.open_table(DIRECTORIES)?))
}

/// Makes what is missing, and finds the number of the grid. The inner error is the version of a newer program.
fn prepare(database: &Database, grid: &[u8; 32]) -> Result<Result<u32, u32>, redb::Error> {
    let transaction = database.begin_write()?;
    let number;
    {
        let mut versions = transaction.open_table(VERSIONS)?;
        let version = versions.get("rows")?.map(|version| version.value());
        match version {
            Some(version) if version > VERSION => return Ok(Err(version)),
            Some(_) => {}
            None => drop(versions.insert("rows", VERSION)?),
        }
        let mut grids = transaction.open_table(GRIDS)?;
        let known = grids.get(grid)?.map(|number| number.value());
        number = match known {
            Some(number) => number,
            None => {
                let next = redb::ReadableTableMetadata::len(&grids)?.try_into().unwrap_or(u32::MAX);
                grids.insert(grid, next)?;
                next
            }
        };
        transaction.open_table(FILES)?;
        transaction.open_table(DIRECTORIES)?;
    }
    transaction.commit()?;
    Ok(Ok(number))
}

fn failed(path: &Path, error: impl Into<redb::Error>) -> BackupDbError {
    let path = path.to_owned();
    match error.into() {
        // What is too short, or no database, is damage; what the disk says is not.
        redb::Error::Io(source)
            if !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            BackupDbError::File { path, source }
        }
        source => BackupDbError::Damaged { path, source: Box::new(source) },
    }
}
