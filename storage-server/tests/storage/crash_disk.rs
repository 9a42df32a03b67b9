//! A disk in memory that can be cut off at any sync: what was not synced is then lost, kept or torn, as a seed decides.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storage_server::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};

use crate::objects::Seeded;

#[derive(Clone)]
enum FileOp {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

impl FileOp {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(at, data) => {
                let end = *at as usize + data.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*at as usize..end].copy_from_slice(data);
            }
            Self::SetLen(len) => content.resize(*len as usize, 0),
        }
    }
}

#[derive(Clone, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<FileOp>,
}

#[derive(Clone)]
enum DirOp {
    Link(String, u64),
    Unlink(String),
    Rename(String, String, u64),
    MakeDir(String),
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl DirOp {
    fn touches(&self, dir: &str) -> bool {
        match self {
            Self::Link(path, _) | Self::Unlink(path) | Self::MakeDir(path) => parent(path) == dir,
            Self::Rename(from, to, _) => parent(from) == dir || parent(to) == dir,
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link(path, inode) => drop(names.files.insert(path.clone(), *inode)),
            Self::Unlink(path) => drop(names.files.remove(path)),
            Self::Rename(from, to, inode) => {
                names.files.remove(from);
                names.files.insert(to.clone(), *inode);
            }
            Self::MakeDir(path) => drop(names.dirs.insert(path.clone())),
        }
    }
}

#[derive(Clone, Default)]
struct Names {
    files: BTreeMap<String, u64>,
    dirs: BTreeSet<String>,
}

#[derive(Default)]
struct State {
    live: Names,
    durable: Names,
    pending: Vec<DirOp>,
    inodes: HashMap<u64, Inode>,
    next: u64,
    locks: HashSet<String>,
    syncs: usize,
    /// Everything fails once this many syncs were done.
    cut_after: Option<usize>,
    /// The sync of this number fails, once.
    fail_sync: Option<usize>,
    capacity: Option<u64>,
    /// What every opening fails with.
    open_error: Option<i32>,
    /// Files that cannot be read.
    unreadable: HashSet<u64>,
}

impl State {
    fn dead(&self) -> bool {
        self.cut_after.is_some_and(|after| self.syncs >= after)
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead() { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        self.live.files.values().map(|inode| self.inodes[inode].live.len() as u64).sum()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.alive()?;
        self.syncs += 1;
        if self.fail_sync == Some(self.syncs) {
            return Err(io::Error::other("the sync failed"));
        }
        Ok(())
    }
}

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsynced {
    Lost,
    Kept,
    /// Any part of it, by sectors of 512 bytes.
    Torn(u64),
}

#[derive(Clone, Default)]
pub(crate) struct CrashDisk(Arc<Mutex<State>>);

impl CrashDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn syncs(&self) -> usize {
        self.state().syncs
    }

    /// Cuts the power after this many syncs from now.
    pub(crate) fn cut_after(&self, syncs: usize) {
        let mut state = self.state();
        state.cut_after = Some(state.syncs + syncs);
    }

    pub(crate) fn fail_sync(&self, from_now: usize) {
        let mut state = self.state();
        state.fail_sync = Some(state.syncs + from_now);
    }

    pub(crate) fn set_capacity(&self, capacity: Option<u64>) {
        self.state().capacity = capacity;
    }

    pub(crate) fn fail_opens(&self, errno: Option<i32>) {
        self.state().open_error = errno;
    }

    pub(crate) fn used(&self) -> u64 {
        self.state().used()
    }

    pub(crate) fn files(&self) -> Vec<String> {
        self.state().live.files.keys().cloned().collect()
    }

    pub(crate) fn content(&self, path: &str) -> Vec<u8> {
        let state = self.state();
        state.inodes[&state.live.files[path]].live.clone()
    }

    /// Reading this file fails from now on, wherever it is moved.
    pub(crate) fn fail_reads(&self, path: &str) {
        let mut state = self.state();
        let inode = state.live.files[path];
        state.unreadable.insert(inode);
    }

    /// Changes a file's bytes behind the store's back.
    pub(crate) fn damage(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.live.files[path];
        let inode = state.inodes.get_mut(&inode).unwrap();
        change(&mut inode.live);
        inode.durable = inode.live.clone();
        inode.pending.clear();
    }

    /// The disk as it is found when the power is back.
    pub(crate) fn after_crash(&self, unsynced: Unsynced) -> Self {
        let state = self.state();
        let random = match unsynced {
            Unsynced::Torn(seed) => Some(Seeded::new(seed)),
            _ => None,
        };
        let keep = || match &random {
            Some(random) => random.below(2) == 0,
            None => unsynced == Unsynced::Kept,
        };
        let mut names = state.durable.clone();
        for op in state.pending.iter().filter(|_| keep()) {
            op.apply(&mut names);
        }
        // An entry whose directory was lost is lost with it.
        let dirs = names.dirs.clone();
        names.files.retain(|path, _| parent(path).is_empty() || dirs.contains(parent(path)));
        let mut inodes = HashMap::new();
        for inode in names.files.values() {
            let found = &state.inodes[inode];
            let mut content = found.durable.clone();
            for op in &found.pending {
                match (op, &random) {
                    (FileOp::Write(at, data), Some(random)) => {
                        for (index, sector) in data.chunks(512).enumerate().filter(|_| random.below(2) == 0) {
                            FileOp::Write(at + index as u64 * 512, sector.to_vec()).apply(&mut content);
                        }
                    }
                    (op, _) if keep() => op.apply(&mut content),
                    _ => {}
                }
            }
            inodes.insert(*inode, Inode { live: content.clone(), durable: content, pending: Vec::new() });
        }
        let next = state.next;
        let state = State { live: names.clone(), durable: names, inodes, next, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }
}

struct CrashFile(CrashDisk, u64);

impl CrashFile {
    fn change(&self, op: FileOp, grown_to: u64) -> io::Result<()> {
        let mut state = self.0.state();
        state.alive()?;
        let len = state.inodes[&self.1].live.len() as u64;
        let grows = grown_to.saturating_sub(len);
        if grows > 0 && state.capacity.is_some_and(|capacity| state.used() + grows > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = state.inodes.get_mut(&self.1).unwrap();
        op.apply(&mut inode.live);
        inode.pending.push(op);
        Ok(())
    }
}

impl DiskFile for CrashFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.0.state();
        state.alive()?;
        if state.unreadable.contains(&self.1) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let content = &state.inodes[&self.1].live;
        let piece = content.get(offset as usize..offset as usize + buffer.len());
        buffer.copy_from_slice(piece.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.change(FileOp::Write(offset, data.to_vec()), offset + data.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(FileOp::SetLen(len), len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.state().inodes[&self.1].live.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.state();
        state.sync()?;
        let inode = state.inodes.get_mut(&self.1).unwrap();
        let mut durable = std::mem::take(&mut inode.durable);
        for op in std::mem::take(&mut inode.pending) {
            op.apply(&mut durable);
        }
        inode.durable = durable;
        Ok(())
    }
}

struct CrashLock(CrashDisk, String);

impl DiskLock for CrashLock {}

impl Drop for CrashLock {
    fn drop(&mut self) {
        self.0.state().locks.remove(&self.1);
    }
}

impl Disk for CrashDisk {
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.alive()?;
        if let Some(errno) = state.open_error {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let found = state.live.files.get(path).copied();
        let inode = match (mode, found) {
            (OpenMode::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew, None) => {
                if !parent(path).is_empty() && !state.live.dirs.contains(parent(path)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                state.next += 1;
                let inode = state.next;
                state.inodes.insert(inode, Inode::default());
                state.live.files.insert(path.to_owned(), inode);
                state.pending.push(DirOp::Link(path.to_owned(), inode));
                inode
            }
            (_, found) => found.ok_or(io::ErrorKind::NotFound)?,
        };
        Ok(Arc::new(CrashFile(self.clone(), inode)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        let inode = state.live.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.live.files.insert(to.to_owned(), inode);
        state.pending.push(DirOp::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        state.live.files.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.pending.push(DirOp::Unlink(path.to_owned()));
        Ok(())
    }

    fn create_dir_all(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        let mut at = path;
        while !at.is_empty() && state.live.dirs.insert(at.to_owned()) {
            state.pending.push(DirOp::MakeDir(at.to_owned()));
            at = parent(at);
        }
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        let state = self.state();
        state.alive()?;
        if !path.is_empty() && !state.live.dirs.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let name = |full: &String| full.rsplit('/').next().unwrap_or_default().to_owned();
        let files = state.live.files.keys().filter(|file| parent(file) == path);
        let dirs = state.live.dirs.iter().filter(|dir| parent(dir) == path);
        let files = files.map(|file| DirEntry { name: name(file), is_dir: false });
        Ok(files.chain(dirs.map(|dir| DirEntry { name: name(dir), is_dir: true })).collect())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        state.sync()?;
        let (now, later) = std::mem::take(&mut state.pending).into_iter().partition(|op| op.touches(path));
        state.pending = later;
        let now: Vec<DirOp> = now;
        for op in now {
            op.apply(&mut state.durable);
        }
        Ok(())
    }

    fn available(&self) -> io::Result<u64> {
        let state = self.state();
        state.alive()?;
        Ok(state.capacity.map_or(1 << 40, |capacity| capacity.saturating_sub(state.used())))
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        if !self.state().locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(CrashLock(self.clone(), path.to_owned())))
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}
