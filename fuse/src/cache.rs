//! What was read of the grid, on this machine's disk: sealed blocks, which the next mount finds again.
//!
//! A block is named and sealed by what it holds: the same file's same block always gives the same bytes, so that a nonce is never used for
//! two contents. Who has the disk learns how much was read, and nothing else; what was changed there is not opened, and fetched anew.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use bytes::Bytes;
use caps::VerifyHash;
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use tokio::sync::Semaphore;

use crate::blocks::BLOCK;

/// Blocks being written at once; what comes beyond is not kept.
const WRITING: usize = 8;
/// Of files longer than this part of the cache, a block is kept when it is fetched for the second time: who reads through a long film
/// once throws nobody's blocks out.
const LONG: u64 = 16;
/// Blocks that are remembered to have been fetched once.
const REMEMBERED: usize = 65_536;

const LOCK: &str = "lock";

/// Names a block.
type Id = [u8; 16];

pub(crate) struct DiskCache {
    dir: PathBuf,
    cipher: ChaCha20Poly1305,
    names: zeroize::Zeroizing<[u8; 32]>,
    most: u64,
    shelf: Mutex<Shelf>,
    writing: Arc<Semaphore>,
    /// Held as long as the mount lives.
    _lock: fs::File,
}

/// What is there.
#[derive(Default)]
struct Shelf {
    blocks: HashMap<Id, Kept>,
    /// By when they were used last.
    order: BTreeMap<u64, Id>,
    uses: u64,
    bytes: u64,
    once: HashSet<Id>,
}

struct Kept {
    len: u64,
    used: u64,
    /// Whether the file says that it was used in this run.
    noted: bool,
}

impl DiskCache {
    /// A cache of at most `most` bytes in `dir`, which is this mount's as long as it lives. `key` seals it.
    ///
    /// # Errors
    ///
    /// What the disk says; that another mount has it.
    pub(crate) fn open(dir: &Path, key: &[u8; 32], most: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = fs::File::options().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
        lock.try_lock()?;
        let mut found: Vec<(SystemTime, Id, u64)> = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let id = entry.file_name().to_str().and_then(id_of);
            match (id, entry.metadata()) {
                (Some(id), Ok(data)) => found.push((data.modified()?, id, data.len())),
                _ if entry.file_name() == LOCK => {}
                // Half written.
                _ => drop(fs::remove_file(entry.path())),
            }
        }
        found.sort_unstable();
        let mut shelf = Shelf::default();
        found.into_iter().for_each(|(_, id, len)| shelf.add(id, len, false));
        let key_of = |use_of: &str| zeroize::Zeroizing::new(blake3::derive_key(use_of, key));
        let cache = Self {
            dir: dir.to_owned(),
            cipher: ChaCha20Poly1305::new((&*key_of("sarsen v1 mount cache seal")).into()),
            names: key_of("sarsen v1 mount cache names"),
            most,
            shelf: Mutex::new(shelf),
            writing: Arc::new(Semaphore::new(WRITING)),
            _lock: lock,
        };
        cache.make_room();
        Ok(cache)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("no code panics while it holds this lock")
    }

    /// Its name, and the nonce under which it is sealed.
    fn id(&self, hash: VerifyHash, index: u64) -> (Id, Nonce) {
        let mut hasher = blake3::Hasher::new_keyed(&self.names);
        hasher.update(hash.as_bytes()).update(&index.to_le_bytes()).update(&BLOCK.to_le_bytes());
        let mut both = [0; 28];
        hasher.finalize_xof().fill(&mut both);
        let (mut id, mut nonce) = ([0; 16], Nonce::default());
        id.copy_from_slice(&both[..16]);
        nonce.copy_from_slice(&both[16..]);
        (id, nonce)
    }

    fn path(&self, id: &Id) -> PathBuf {
        self.dir.join(id.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    /// The block, if it is there.
    pub(crate) async fn get(self: &Arc<Self>, hash: VerifyHash, index: u64) -> Option<Bytes> {
        let (id, nonce) = self.id(hash, index);
        let note = self.shelf().use_it(&id)?;
        let cache = self.clone();
        let read = move || {
            let path = cache.path(&id);
            let sealed = fs::read(&path).ok();
            let opened = sealed.and_then(|sealed| cache.cipher.decrypt(&nonce, &sealed[..]).ok());
            if opened.is_none() {
                cache.discard(&id);
            } else if note {
                let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
            }
            opened.map(Bytes::from)
        };
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    /// Keeps a block of a file of `size` bytes, unless too many are being kept just now.
    pub(crate) fn put(self: &Arc<Self>, (hash, index): (VerifyHash, u64), size: u64, bytes: &Bytes) {
        let (id, nonce) = self.id(hash, index);
        if size > self.most / LONG && self.shelf().is_first(id) {
            return;
        }
        let Ok(permit) = self.writing.clone().try_acquire_owned() else { return };
        let (cache, bytes) = (self.clone(), bytes.clone());
        tokio::task::spawn_blocking(move || {
            // A full disk is no reason not to read.
            if let Err(error) = cache.write(&id, &nonce, &bytes) {
                tracing::debug!(%error, "a block was not kept on disk");
            }
            // Who waits for all permits finds nobody left here who has the cache, and its lock.
            drop(cache);
            drop(permit);
        });
    }

    fn write(&self, id: &Id, nonce: &Nonce, bytes: &Bytes) -> io::Result<()> {
        let sealed = self.cipher.encrypt(nonce, &bytes[..]).map_err(|_| io::Error::other("too long"))?;
        let path = self.path(id);
        let unfinished = path.with_extension(format!("{}", std::process::id()));
        let mut file =
            fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let written = io::Write::write_all(&mut file, &sealed).and_then(|()| fs::rename(&unfinished, &path));
        written.inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
        self.shelf().add(*id, sealed.len() as u64, true);
        self.make_room();
        Ok(())
    }

    fn discard(&self, id: &Id) {
        self.shelf().remove(id);
        let _ = fs::remove_file(self.path(id));
    }

    /// Lets the blocks go that were not used for the longest time.
    fn make_room(&self) {
        loop {
            let oldest = {
                let shelf = self.shelf();
                if shelf.bytes <= self.most {
                    return;
                }
                shelf.order.values().next().copied()
            };
            let Some(oldest) = oldest else { return };
            self.discard(&oldest);
        }
    }
}

impl Shelf {
    fn add(&mut self, id: Id, len: u64, noted: bool) {
        self.remove(&id);
        self.uses += 1;
        self.bytes += len;
        self.order.insert(self.uses, id);
        self.blocks.insert(id, Kept { len, used: self.uses, noted });
    }

    fn remove(&mut self, id: &Id) {
        if let Some(kept) = self.blocks.remove(id) {
            self.order.remove(&kept.used);
            self.bytes -= kept.len;
        }
    }

    /// Whether the file is to be told that it was used; `None`: it is not there.
    fn use_it(&mut self, id: &Id) -> Option<bool> {
        let kept = self.blocks.get_mut(id)?;
        self.uses += 1;
        self.order.remove(&kept.used);
        self.order.insert(self.uses, *id);
        kept.used = self.uses;
        Some(!std::mem::replace(&mut kept.noted, true))
    }

    /// Whether this is fetched for the first time, as far as is remembered.
    fn is_first(&mut self, id: Id) -> bool {
        if self.once.len() >= REMEMBERED {
            self.once.clear();
        }
        self.once.insert(id)
    }
}

fn id_of(name: &str) -> Option<Id> {
    let digits = name.as_bytes().chunks_exact(2);
    let bytes = digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
    (name.len() == 32).then(|| bytes.collect::<Option<Vec<u8>>>())??.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(byte: u8) -> VerifyHash {
        VerifyHash::new([byte; 32])
    }

    fn open(dir: &Path, most: u64) -> Arc<DiskCache> {
        Arc::new(DiskCache::open(dir, &[7; 32], most).unwrap())
    }

    /// Waits for what is being written.
    async fn settle(cache: &DiskCache) {
        drop(cache.writing.acquire_many(WRITING as u32).await.unwrap());
    }

    fn files(dir: &Path) -> Vec<PathBuf> {
        let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| !path.ends_with(LOCK)).collect()
    }

    #[tokio::test]
    async fn what_was_kept_is_found_by_the_next_one_and_tells_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path(), 1_000_000);
        let text = Bytes::from_static(b"what was read and shall not be read by others");
        cache.put((hash(1), 0), 45, &text);
        settle(&cache).await;
        fs::write(dir.path().join("half.123"), b"half").unwrap();
        drop(cache);
        let next = open(dir.path(), 1_000_000);
        assert_eq!(next.get(hash(1), 0).await.unwrap(), text);
        assert!(next.get(hash(1), 1).await.is_none() && next.get(hash(2), 0).await.is_none());
        let [file] = &files(dir.path())[..] else { panic!("what was half written is there still") };
        let sealed = fs::read(file).unwrap();
        assert!(!sealed.windows(4).any(|four| four == b"read"));
        assert!(DiskCache::open(dir.path(), &[7; 32], 1_000_000).is_err(), "it is somebody's");
        drop(next);
        // With another key it is nothing, and goes.
        let stranger = Arc::new(DiskCache::open(dir.path(), &[8; 32], 1_000_000).unwrap());
        assert!(stranger.get(hash(1), 0).await.is_none());
    }

    #[tokio::test]
    async fn what_was_changed_on_disk_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path(), 1_000_000);
        cache.put((hash(1), 0), 10, &Bytes::from_static(b"0123456789"));
        cache.put((hash(2), 0), 10, &Bytes::from_static(b"abcdefghij"));
        settle(&cache).await;
        let [one, other] = &files(dir.path())[..] else { panic!("two blocks") };
        fs::copy(one, other).unwrap();
        let read = (cache.get(hash(1), 0).await, cache.get(hash(2), 0).await);
        assert!(read.0.is_some() != read.1.is_some(), "one of them is the other's bytes");
        assert_eq!(files(dir.path()).len(), 1);
    }

    #[tokio::test]
    async fn it_is_bounded_and_what_is_used_stays() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path(), 50_000);
        for index in 0..20 {
            cache.put((hash(1), index), 1000, &vec![index as u8; 4000].into());
            settle(&cache).await;
            assert!(index == 0 || cache.get(hash(1), 0).await.is_some());
        }
        assert!(files(dir.path()).len() == 12 && cache.get(hash(1), 1).await.is_none());
        // Of what is long, nothing is kept the first time.
        for (times, kept) in [(1, false), (2, true)] {
            cache.put((hash(2), 0), 4000, &vec![1; 3000].into());
            settle(&cache).await;
            assert_eq!(cache.get(hash(2), 0).await.is_some(), kept, "{times}");
        }
    }
}
