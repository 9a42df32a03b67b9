//! How a store comes to be, and how it is opened.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::{NodeId, NodeKey, Random};

use crate::backend::{BackendHealth, DiskBackend, OverlayBackend};
use crate::commit::{BATCH_LEN_MAX, Writer};
use crate::disk::{Disk, DiskLock, OpenMode};
use crate::error::StoreError;
use crate::groups::{GROUPS_DIR, remove_unplaced};
use crate::identity;
use crate::index::{INDEX_FILE, INDEX_FORMAT, Index, IndexResult, Totals, boxed};
use crate::pack::pack_path;
use crate::rebuild::{RebuildReport, rebuild_index};
use crate::store::{IDLE_LIMIT, Opened, StoreOptions, chain};

const LOCK_FILE: &str = "lock";
const DIRS: [&str; 5] = ["packs", "shares", "partial", "quarantine", GROUPS_DIR];

pub(crate) fn init(disk: &Arc<dyn Disk>, random: &dyn Random) -> Result<NodeId, StoreError> {
    let io = |action| move |source| StoreError::Io { disk: disk.name(), action, source };
    match identity::read(&**disk) {
        Err(StoreError::NotAStore { .. }) => {}
        Err(StoreError::Io { action, source, disk }) => return Err(StoreError::Io { action, source, disk }),
        _ => return Err(StoreError::AlreadyAStore { disk: disk.name() }),
    }
    for dir in ["packs", "shares"] {
        if !list_or_empty(&**disk, dir).map_err(io("list a directory"))?.is_empty() {
            return Err(StoreError::LostIdentity { disk: disk.name() });
        }
    }
    disk.create_dir_all("").map_err(io("create the directory"))?;
    let _lock = take_lock(&**disk)?;
    make_dirs(&**disk).map_err(io("create a directory"))?;
    // What an earlier attempt left: nobody can have stored anything in it.
    remove_if_there(&**disk, INDEX_FILE).map_err(io("remove a file"))?;
    new_index(&**disk, INDEX_FILE, random)
        .map_err(|source| StoreError::Index { disk: disk.name(), source })?;
    disk.sync_dir("").map_err(io("sync the directory"))?;
    // Last: from here on it is a store.
    let key = NodeKey::from_seed(&random.bytes());
    identity::write(&**disk, &key).map_err(io("write the identity file"))?;
    Ok(key.id())
}

pub(crate) fn take_over(disk: &dyn Disk) -> Result<NodeId, StoreError> {
    let key = identity::read(disk)?;
    let _lock = take_lock(disk)?;
    Ok(key.id())
}

pub(crate) fn open(
    disk: Arc<dyn Disk>,
    random: &dyn Random,
    options: &StoreOptions,
) -> Result<Opened, StoreError> {
    let io = |action| {
        let disk = disk.clone();
        move |source| StoreError::Io { disk: disk.name(), action, source }
    };
    // First of all, so that nothing is written where the disk is not mounted.
    let key = identity::read(&*disk)?;
    if let Some(expected) = options.expected.filter(|expected| *expected != key.id()) {
        return Err(StoreError::WrongStore { disk: disk.name(), expected, found: key.id() });
    }
    let lock = take_lock(&*disk)?;
    let (index, mut totals, medium_writable) = open_or_rebuild(&disk, random, options)?;
    if medium_writable {
        make_dirs(&*disk).map_err(io("create a directory"))?;
        remove_unplaced(&*disk).map_err(io("remove a file"))?;
    }
    let packs = index.packs().map_err(|source| StoreError::Index { disk: disk.name(), source })?;
    let (writer, age) = match medium_writable {
        true => find_pack_end(&*disk, packs.last().copied()).map_err(io("cut a pack's tail"))?,
        false => (Writer::at_new_pack(0), Age::Present),
    };
    if age == Age::Old {
        // Promises of slots are in the index alone: the store must not count for those it may have forgotten. Until a share goes to the new
        // pack, this is found and done anew at each opening.
        totals.incarnation = fresh_incarnation(random);
        let begun = index.begin_again(totals.incarnation);
        begun.map_err(|source| StoreError::Index { disk: disk.name(), source })?;
    }
    let partials = list_or_empty(&*disk, "partial").map_err(io("list partial shares"))?;
    let partials: HashSet<String> = partials.into_iter().map(|entry| entry.name).collect();
    let (shares, used) = (totals.shares, totals.used);
    tracing::info!(store = %key.id(), disk = %disk.name(), shares, used, partials = partials.len(), "store opened");
    Ok(Opened { disk, key, lock, index, totals, writer, partials, medium_writable })
}

pub(crate) fn rebuild(disk: &Arc<dyn Disk>, random: &dyn Random) -> Result<RebuildReport, StoreError> {
    identity::read(&**disk)?;
    let _lock = take_lock(&**disk)?;
    rebuild_now(disk, random, IDLE_LIMIT)
}

fn rebuild_now(
    disk: &Arc<dyn Disk>,
    random: &dyn Random,
    idle_limit: Duration,
) -> Result<RebuildReport, StoreError> {
    make_dirs(&**disk).map_err(|source| StoreError::Io {
        disk: disk.name(),
        action: "create a directory",
        source,
    })?;
    let report = rebuild_index(&**disk, random, idle_limit)?;
    tracing::warn!(
        disk = %disk.name(),
        shares = report.shares,
        bad = report.bad,
        incarnation = report.incarnation,
        "index rebuilt from the shares: the store begins a new incarnation, its leases and slot records are lost"
    );
    Ok(report)
}

fn take_lock(disk: &dyn Disk) -> Result<Box<dyn DiskLock>, StoreError> {
    disk.lock(LOCK_FILE).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => StoreError::InUse { disk: disk.name() },
        _ => StoreError::Io { disk: disk.name(), action: "take the lock", source },
    })
}

fn make_dirs(disk: &dyn Disk) -> io::Result<()> {
    for dir in DIRS {
        disk.create_dir_all(dir)?;
    }
    disk.sync_dir("")
}

fn open_or_rebuild(
    disk: &Arc<dyn Disk>,
    random: &dyn Random,
    options: &StoreOptions,
) -> Result<(Index, Totals, bool), StoreError> {
    let index_error = |source| StoreError::Index { disk: disk.name(), source };
    let lost = match open_any_index(&**disk, options) {
        Ok((index, writable)) => match index.totals() {
            Ok(totals) if totals.format > INDEX_FORMAT => {
                let (found, known) = (totals.format, INDEX_FORMAT);
                return Err(StoreError::NewerVersion { disk: disk.name(), found, known });
            }
            Ok(totals) if totals.format > 0 => {
                let totals = upgraded(&**disk, &index, totals, writable, options).map_err(index_error)?;
                return Ok((index, totals, writable));
            }
            Ok(_) => "it was never begun".to_owned(),
            Err(error) if is_damage(&error) => chain(&*error),
            Err(error) => return Err(index_error(error)),
        },
        Err(OpenIndexError::Missing) => "it is missing".to_owned(),
        Err(OpenIndexError::Index(error)) if is_damage(&error) => chain(&*error),
        Err(OpenIndexError::Index(error)) => return Err(index_error(error)),
        Err(OpenIndexError::Io(source)) => {
            return Err(StoreError::Io { disk: disk.name(), action: "open the index", source });
        }
    };
    if options.read_only {
        return Err(StoreError::IndexLost { disk: disk.name() });
    }
    tracing::error!(disk = %disk.name(), reason = %lost, "THE INDEX IS LOST: rebuilding it from the shares; all leases are lost with it");
    rebuild_now(disk, random, options.idle_limit)?;
    let index = open_index(&**disk).map_err(index_error)?;
    let totals = index.totals().map_err(index_error)?;
    Ok((index, totals, true))
}

/// An index of an older format gets what it lacks.
fn upgraded(
    disk: &dyn Disk,
    index: &Index,
    totals: Totals,
    writable: bool,
    options: &StoreOptions,
) -> IndexResult<Totals> {
    if totals.format == INDEX_FORMAT || !writable {
        return Ok(totals);
    }
    tracing::info!(disk = %disk.name(), from = totals.format, to = INDEX_FORMAT, "bringing the index up to date");
    index.upgrade(options.idle_limit.as_secs())
}

enum OpenIndexError {
    Missing,
    Io(io::Error),
    Index(Box<redb::Error>),
}

fn open_any_index(disk: &dyn Disk, options: &StoreOptions) -> Result<(Index, bool), OpenIndexError> {
    let health = Arc::new(BackendHealth::default());
    match disk.open(INDEX_FILE, OpenMode::ReadWrite) {
        Ok(file) if file.is_empty().unwrap_or(false) => Err(OpenIndexError::Missing),
        Ok(file) => {
            let backend = DiskBackend::new(file, health.clone());
            Ok((guarded(|| Index::open(backend, health)).map_err(OpenIndexError::Index)?, true))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenIndexError::Missing),
        Err(error) if options.read_only && cannot_write(&error) => {
            let file = disk.open(INDEX_FILE, OpenMode::Read).map_err(OpenIndexError::Io)?;
            let backend = OverlayBackend::new(file).map_err(OpenIndexError::Io)?;
            Ok((guarded(|| Index::open(backend, health)).map_err(OpenIndexError::Index)?, false))
        }
        Err(error) => Err(OpenIndexError::Io(error)),
    }
}

/// Opens the index that is there, for writing.
pub(crate) fn open_index(disk: &dyn Disk) -> IndexResult<Index> {
    let health = Arc::new(BackendHealth::default());
    let file = disk.open(INDEX_FILE, OpenMode::ReadWrite).map_err(|e| boxed(redb::StorageError::from(e)))?;
    guarded(|| Index::open(DiskBackend::new(file, health.clone()), health))
}

/// Creates an index that begins a new incarnation.
pub(crate) fn new_index(disk: &dyn Disk, path: &str, random: &dyn Random) -> IndexResult<(Index, u64)> {
    let file = disk.open(path, OpenMode::CreateNew).map_err(|e| boxed(redb::StorageError::from(e)))?;
    let health = Arc::new(BackendHealth::default());
    let index = Index::open(DiskBackend::new(file, health.clone()), health)?;
    let incarnation = fresh_incarnation(random);
    index.begin(incarnation)?;
    Ok((index, incarnation))
}

fn fresh_incarnation(random: &dyn Random) -> u64 {
    u64::from_le_bytes(random.bytes()) >> 1 | 1
}

/// redb asserts some things about a file instead of reporting them; a damaged one must not take the server down.
fn guarded(work: impl FnOnce() -> IndexResult<Index>) -> IndexResult<Index> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(boxed(redb::StorageError::Corrupted("opening it failed an assertion".to_owned())))
    })
}

/// Whether the index's content is at fault, rather than the medium or our rights.
fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) | redb::Error::RepairAborted => true,
        redb::Error::Io(error) => {
            matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        }
        redb::Error::TableTypeMismatch { .. } | redb::Error::TableDoesNotExist(_) => true,
        _ => false,
    }
}

fn cannot_write(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Whether the index is of the time of the packs, as far as can be seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    Present,
    Old,
}

/// Where the next record goes. What lies beyond the end that the index knows was never acknowledged, and is cut.
fn find_pack_end(disk: &dyn Disk, last: Option<(u32, u64)>) -> io::Result<(Writer, Age)> {
    let Some((pack, end)) = last else { return Ok((Writer::at_new_pack(0), Age::Present)) };
    let file = match disk.open(&pack_path(pack), OpenMode::ReadWrite) {
        Ok(file) => file,
        // Known, and never begun.
        Err(error) if error.kind() == io::ErrorKind::NotFound && end == 0 => {
            return Ok((Writer::at_new_pack(pack), Age::Present));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::error!(disk = %disk.name(), pack, "a pack file is missing: its shares are lost, or this is an old index, whose packs were rewritten since");
            return Ok((Writer::at_new_pack(pack + 1), Age::Old));
        }
        Err(error) => return Err(error),
    };
    let len = file.len()?;
    if len < end {
        tracing::error!(disk = %disk.name(), pack, missing = end - len, "a pack file is too short: shares are lost");
        return Ok((Writer::at_new_pack(pack + 1), Age::Present));
    }
    if len - end > BATCH_LEN_MAX {
        tracing::error!(disk = %disk.name(), pack, bytes = len - end, "a pack holds more than the index knows of: is this an old index? Rebuild it to find those shares");
        return Ok((Writer::at_new_pack(pack + 1), Age::Old));
    }
    if len > end {
        tracing::info!(disk = %disk.name(), pack, bytes = len - end, "cutting a torn tail");
        file.set_len(end)?;
    }
    Ok((Writer::at(pack, end), Age::Present))
}

pub(crate) fn list_or_empty(disk: &dyn Disk, dir: &str) -> io::Result<Vec<crate::disk::DirEntry>> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

pub(crate) fn remove_if_there(disk: &dyn Disk, path: &str) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
