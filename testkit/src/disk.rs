//! A disk in memory that behaves as badly as real ones may: it loses what was not synced, tears writes, fills up and fails.
//!
//! Everything below a store runs on it, redb included. A crash keeps what was synced; of what was not, each write (cut at sectors of
//! 512 bytes) and each change of a directory survives or not as the seed decides.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use storage_server::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};

use crate::random::SimRandom;

const SECTOR: usize = 512;

/// What survives a crash of what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// Each sector written and each name changed, with even odds.
    Chance,
    /// Everything, as after `kill -9` without loss of power.
    Everything,
}

/// Faults that a disk can be told to have.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Writes, new files and changes of names fail with `ReadOnlyFilesystem`.
    pub read_only: bool,
    /// Every read fails.
    pub reads_fail: bool,
    /// The sync that brings this count to zero fails, and the disk loses what it should have kept.
    pub failing_sync: Option<u64>,
    /// The sync that brings this count to zero finds the disk frozen: it and everything after it fails. A crash point.
    pub freeze_at_sync: Option<u64>,
}

/// The disk. Clones share it.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

struct State {
    name: String,
    random: SimRandom,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// Paths of files now, and as far as they are durable.
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    dirs: BTreeSet<String>,
    capacity: u64,
    faults: Faults,
    frozen: bool,
    /// Syncs say they were done, and nothing is.
    lying: bool,
    syncs: u64,
    /// Handles from before a crash are dead.
    generation: u64,
    locks: BTreeSet<String>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync: where, and how many bytes.
    unsynced: Vec<(usize, usize)>,
}

impl SimDisk {
    /// An empty disk of so many bytes.
    pub fn new(name: &str, capacity: u64, random: SimRandom) -> Self {
        Self(Arc::new(Mutex::new(State {
            name: name.to_owned(),
            random,
            inodes: BTreeMap::new(),
            next_inode: 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            dirs: BTreeSet::new(),
            capacity,
            faults: Faults::default(),
            frozen: false,
            lying: false,
            syncs: 0,
            generation: 0,
            locks: BTreeSet::new(),
        })))
    }

    /// Sets what shall go wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock_state().faults = faults;
    }

    /// From now on, or no longer, syncs claim to be done and are not: until it tells the truth again, every crash that does not spare
    /// everything takes the disk back to what it was when it began to lie. Crashes do not change that.
    pub fn set_lying(&self, lying: bool) {
        self.lock_state().lying = lying;
    }

    /// Sets how many bytes there are in all.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock_state().capacity = bytes;
    }

    /// How many syncs there were, of files and directories.
    pub fn syncs(&self) -> u64 {
        self.lock_state().syncs
    }

    /// Whether [`Faults::freeze_at_sync`] was reached.
    pub fn is_frozen(&self) -> bool {
        self.lock_state().frozen
    }

    /// Power loss: open files and locks are gone, and what was not synced survives as told. Faults are cleared.
    pub fn crash(&self, survival: Survival) {
        let mut state = self.lock_state();
        let state = &mut *state;
        state.generation += 1;
        state.locks.clear();
        state.faults = Faults::default();
        state.frozen = false;
        let random = &state.random;
        // Single sectors of all that was ever written would make up a disk that no lie explains.
        let survival = if state.lying && survival == Survival::Chance { Survival::Nothing } else { survival };
        let keeps = || match survival {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Chance => random.between(0, 1) == 1,
        };
        for inode in state.inodes.values_mut() {
            inode.crash(survival, &keeps);
        }
        let changed: BTreeSet<String> =
            state.names.keys().chain(state.durable_names.keys()).cloned().collect();
        for path in changed {
            let (now, durable) = (state.names.get(&path).copied(), state.durable_names.get(&path).copied());
            let after = if now == durable || keeps() { now } else { durable };
            match after {
                Some(inode) => drop(state.names.insert(path, inode)),
                None => drop(state.names.remove(&path)),
            }
        }
        state.durable_names.clone_from(&state.names);
    }

    /// Flips one bit of a file, as rotting media do. Returns whether there was such a byte.
    pub fn flip(&self, path: &str, at: usize) -> bool {
        let mut state = self.lock_state();
        let Some(inode) = state.names.get(path).copied() else { return false };
        let inode = state.inodes.get_mut(&inode).expect("names point to inodes");
        let Some(byte) = inode.now.get_mut(at) else { return false };
        *byte ^= 1;
        let flipped = *byte;
        if let Some(byte) = inode.durable.get_mut(at) {
            *byte = flipped;
        }
        true
    }

    /// All files, with their sizes.
    pub fn files(&self) -> Vec<(String, u64)> {
        let state = self.lock_state();
        state.names.iter().map(|(path, inode)| (path.clone(), state.inodes[inode].now.len() as u64)).collect()
    }

    /// A copy of the disk as it is now, for setting an old image back later.
    pub fn image(&self) -> DiskImage {
        let state = self.lock_state();
        DiskImage { inodes: state.inodes.clone(), names: state.names.clone(), dirs: state.dirs.clone() }
    }

    /// Puts an old image in place of what there is; open files are gone.
    pub fn restore(&self, image: &DiskImage) {
        let mut state = self.lock_state();
        state.generation += 1;
        state.locks.clear();
        state.inodes.clone_from(&image.inodes);
        state.names.clone_from(&image.names);
        state.durable_names.clone_from(&image.names);
        state.dirs.clone_from(&image.dirs);
    }

    /// As a store wants it.
    pub fn as_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

/// What a disk held at some moment.
#[derive(Clone, PartialEq, Eq)]
pub struct DiskImage {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    dirs: BTreeSet<String>,
}

impl std::fmt::Debug for DiskImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskImage").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Inode {
    fn crash(&mut self, survival: Survival, keeps: &dyn Fn() -> bool) {
        if survival == Survival::Everything {
            self.durable.clone_from(&self.now);
        } else {
            let mut after = self.durable.clone();
            for (start, len) in std::mem::take(&mut self.unsynced) {
                let end = (start + len).min(self.now.len());
                let mut at = start;
                while at < end {
                    let stop = ((at / SECTOR + 1) * SECTOR).min(end);
                    if keeps() {
                        after.resize(after.len().max(stop), 0);
                        after[at..stop].copy_from_slice(&self.now[at..stop]);
                    }
                    at = stop;
                }
            }
            self.durable = after;
        }
        self.now.clone_from(&self.durable);
        self.unsynced.clear();
    }
}

impl State {
    fn alive(&self, generation: u64) -> io::Result<()> {
        if self.frozen || generation != self.generation {
            return Err(io::Error::other("the disk is gone"));
        }
        Ok(())
    }

    fn writable(&self, generation: u64) -> io::Result<()> {
        self.alive(generation)?;
        if self.faults.read_only { Err(ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[inode].now.len() as u64).sum()
    }

    /// Counts a sync; fails if this is the one that shall.
    fn sync(&mut self, generation: u64) -> io::Result<()> {
        self.writable(generation)?;
        self.syncs += 1;
        if let Some(left) = &mut self.faults.freeze_at_sync {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.frozen = true;
                return Err(io::Error::other("the disk froze"));
            }
        }
        if let Some(left) = &mut self.faults.failing_sync {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.faults.failing_sync = None;
                return Err(io::Error::other("the disk failed to sync"));
            }
        }
        Ok(())
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Disk for SimDisk {
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock_state();
        let generation = state.generation;
        state.alive(generation)?;
        let inode = match (mode, state.names.get(path).copied()) {
            (OpenMode::CreateNew, Some(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew, None) => {
                state.writable(generation)?;
                let folder = folder_of(path);
                if !folder.is_empty() && !state.dirs.contains(folder) {
                    return Err(ErrorKind::NotFound.into());
                }
                let inode = state.next_inode;
                state.next_inode += 1;
                state.inodes.insert(inode, Inode::default());
                state.names.insert(path.to_owned(), inode);
                inode
            }
            (_, None) => return Err(ErrorKind::NotFound.into()),
            (OpenMode::ReadWrite, Some(_)) if state.faults.read_only => {
                return Err(ErrorKind::ReadOnlyFilesystem.into());
            }
            (_, Some(inode)) => inode,
        };
        Ok(Arc::new(SimFile { disk: self.clone(), inode, generation, writable: mode != OpenMode::Read }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock_state();
        state.writable(state.generation)?;
        let inode = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock_state();
        state.writable(state.generation)?;
        state.names.remove(path).map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn create_dir_all(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock_state();
        state.alive(state.generation)?;
        let mut folder = path;
        while !folder.is_empty() {
            if !state.dirs.contains(folder) {
                state.writable(state.generation)?;
                // Folders are taken to be durable at once: their loss would only lose files that the stores check for anyway.
                state.dirs.insert(folder.to_owned());
            }
            folder = folder_of(folder);
        }
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        let state = self.lock_state();
        state.alive(state.generation)?;
        if !path.is_empty() && !state.dirs.contains(path) {
            return Err(ErrorKind::NotFound.into());
        }
        let within = |entry: &str| {
            (folder_of(entry) == path).then(|| entry.rsplit('/').next().unwrap_or(entry).to_owned())
        };
        let files =
            state.names.keys().filter_map(|file| within(file)).map(|name| DirEntry { name, is_dir: false });
        let dirs =
            state.dirs.iter().filter_map(|dir| within(dir)).map(|name| DirEntry { name, is_dir: true });
        Ok(files.chain(dirs).collect())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock_state();
        let generation = state.generation;
        state.sync(generation)?;
        let state = &mut *state;
        if state.lying {
            return Ok(());
        }
        state.durable_names.retain(|file, _| folder_of(file) != path);
        let now = state.names.iter().filter(|(file, _)| folder_of(file) == path);
        state.durable_names.extend(now.map(|(file, inode)| (file.clone(), *inode)));
        Ok(())
    }

    fn available(&self) -> io::Result<u64> {
        let state = self.lock_state();
        state.alive(state.generation)?;
        Ok(state.capacity.saturating_sub(state.used()))
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.lock_state();
        state.alive(state.generation)?;
        if !state.locks.insert(path.to_owned()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned(), generation: state.generation }))
    }

    fn name(&self) -> String {
        self.lock_state().name.clone()
    }
}

struct SimLock {
    disk: SimDisk,
    path: String,
    generation: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.lock_state();
        if state.generation == self.generation {
            state.locks.remove(&self.path);
        }
    }
}

struct SimFile {
    disk: SimDisk,
    inode: u64,
    generation: u64,
    writable: bool,
}

impl SimFile {
    fn inode<'a>(&self, state: &'a mut State) -> &'a mut Inode {
        state.inodes.get_mut(&self.inode).expect("inodes outlive the handles on them")
    }

    fn writable(&self, state: &State) -> io::Result<()> {
        state.writable(self.generation)?;
        if self.writable { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
    }
}

impl DiskFile for SimFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock_state();
        state.alive(self.generation)?;
        if state.faults.reads_fail {
            return Err(io::Error::other("the disk failed to read"));
        }
        let inode = self.inode(&mut state);
        let start = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let bytes = inode.now.get(start..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock_state();
        self.writable(&state)?;
        let start = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
        let room = state.capacity.saturating_sub(state.used());
        let inode = self.inode(&mut state);
        let grows = (start + data.len()).saturating_sub(inode.now.len()) as u64;
        if grows > room {
            return Err(ErrorKind::StorageFull.into());
        }
        let end = start + data.len();
        if inode.now.len() < end {
            inode.now.resize(end, 0);
        }
        inode.now[start..end].copy_from_slice(data);
        inode.unsynced.push((start, data.len()));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock_state();
        self.writable(&state)?;
        let room = state.capacity.saturating_sub(state.used());
        let lying = state.lying;
        let inode = self.inode(&mut state);
        if len.saturating_sub(inode.now.len() as u64) > room {
            return Err(ErrorKind::StorageFull.into());
        }
        let before = inode.now.len();
        inode.now.resize(len as usize, 0);
        if inode.now.len() > before {
            inode.unsynced.push((before, inode.now.len() - before));
        } else {
            // A cut is taken to be durable at once, which is the worse case for a store that cuts too early.
            if !lying {
                inode.durable.truncate(len as usize);
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.lock_state();
        state.alive(self.generation)?;
        Ok(self.inode(&mut state).now.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock_state();
        let synced = state.sync(self.generation);
        if state.lying {
            return synced;
        }
        let inode = self.inode(&mut state);
        if synced.is_ok() {
            inode.durable.clone_from(&inode.now);
        }
        // A failed sync leaves pages marked clean: what was to be written is lost for good.
        inode.unsynced.clear();
        synced
    }
}
