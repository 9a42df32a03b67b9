//! Chaining values of the groups of large shares, kept beside them, so that a sample reads and hashes groups in place of whole blocks
//! (`docs/spec/store.md`, "Groups").
//!
//! They are a cache. Any of it may be missing or wrong at any time: whoever uses it holds it against the block's root. So nothing of it is
//! synced, and no failure to write it is a failure of the store. What belongs to a share is a function of it, and never out of date.

use std::io;
use std::sync::Arc;

use encoding::{Descriptor, Params, Root, ShareReport, block_groups, block_root};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::index::{Place, ShareKey};
use crate::open::{list_or_empty, remove_if_there};
use crate::store::{Store, lock};

pub(crate) const GROUPS_DIR: &str = "groups";
/// Shares with fewer bytes in full blocks have none: to hash all of them takes less than a millisecond.
const BLOCKS_LEN_MIN: u64 = 1024 * 1024;
/// Bytes of values in memory while a share comes in: those of 8 MiB.
const BUFFER: usize = 16 * 1024;

/// The path of the chaining values of a share.
fn groups_path(key: ShareKey) -> String {
    let name = key.to_string();
    format!("{GROUPS_DIR}/{}/{name}", &name[..2])
}

/// Bytes that the values of one share have; nothing if none are kept of such a share.
fn values_len(descriptor: &Descriptor) -> u64 {
    let geometry = &descriptor.geometry;
    let (blocks, params) = (geometry.full_blocks(), geometry.params());
    match blocks * u64::from(params.block_len()) < BLOCKS_LEN_MIN {
        true => 0,
        false => blocks * params.group_values_len() as u64,
    }
}

/// The values of a share that is coming in.
pub(crate) struct Gathered {
    disk: Arc<dyn Disk>,
    /// Where they go when there are many, until the share has its place.
    path: String,
    file: Option<Arc<dyn DiskFile>>,
    block_len: u32,
    /// Bytes in the file.
    written: u64,
    values: Vec<u8>,
    /// They could not be written.
    given_up: bool,
}

impl Gathered {
    /// Nothing yet, of an upload of this name.
    pub(crate) fn new(disk: &Arc<dyn Disk>, name: &str, block_len: u32) -> Self {
        let path = format!("{GROUPS_DIR}/{name}.new");
        let given_up = Params::with_block_len(1, 1, block_len).map_or(0, Params::group_values_len) == 0;
        Self { disk: disk.clone(), path, file: None, block_len, written: 0, values: Vec::new(), given_up }
    }

    /// Takes the next piece of the share, and returns its root.
    pub(crate) fn push(&mut self, store: &Store, piece: &[u8]) -> Root {
        if self.given_up || piece.len() != self.block_len as usize {
            return block_root(piece);
        }
        let root = block_groups(piece, &mut self.values);
        if self.values.len() >= BUFFER && self.has_room(store) && self.spill().is_err() {
            self.give_up();
        }
        root
    }

    fn has_room(&mut self, store: &Store) -> bool {
        let room = store.room().is_ok_and(|room| room >= self.values.len() as u64);
        if !room {
            self.give_up();
        }
        room
    }

    fn give_up(&mut self) {
        (self.given_up, self.values) = (true, Vec::new());
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => {
                remove_if_there(&*self.disk, &self.path)?;
                self.file.insert(self.disk.open(&self.path, OpenMode::CreateNew)?)
            }
        };
        file.write_all_at(&self.values, self.written)?;
        self.written += self.values.len() as u64;
        self.values.clear();
        Ok(())
    }

    /// What there is of it when the share turned out to be this one: pieces of its end were no blocks.
    pub(crate) fn of(mut self, report: &ShareReport) -> Option<Self> {
        let wanted = values_len(&report.descriptor);
        let usable = report.descriptor.geometry.params().block_len() == self.block_len;
        if self.given_up || !usable || wanted == 0 || self.written + (self.values.len() as u64) < wanted {
            return None;
        }
        self.values.truncate(wanted.saturating_sub(self.written) as usize);
        match &self.file {
            Some(file) if self.written > wanted => file.set_len(wanted).is_ok().then_some(self),
            _ => Some(self),
        }
    }

    /// Puts it beside the share, which has just got its place. Whoever calls this has the writer.
    pub(crate) fn place(mut self, store: &Store, key: ShareKey) {
        if self.has_room(store)
            && let Err(error) = self.put(&groups_path(key))
        {
            tracing::debug!(store = %store.id(), share = %key, %error, "its groups are not kept");
        }
    }

    fn put(&mut self, path: &str) -> io::Result<()> {
        if let Some((dir, _)) = path.rsplit_once('/') {
            self.disk.create_dir_all(dir)?;
        }
        if self.file.is_none() {
            return write_values(&*self.disk, path, 0, &self.values);
        }
        self.spill()?;
        self.disk.rename(&self.path, path)?;
        self.file = None;
        Ok(())
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// Into the file that is there, or a new one.
fn write_values(disk: &dyn Disk, path: &str, at: u64, values: &[u8]) -> io::Result<()> {
    let file = match disk.open(path, OpenMode::ReadWrite) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.open(path, OpenMode::CreateNew)?,
        other => other?,
    };
    file.write_all_at(values, at)
}

/// Removes what uploads left that were cut off, when the store is opened.
pub(crate) fn remove_unplaced(disk: &dyn Disk) -> io::Result<()> {
    let left = list_or_empty(disk, GROUPS_DIR)?;
    left.iter()
        .filter(|entry| !entry.is_dir)
        .try_for_each(|entry| remove_if_there(disk, &format!("{GROUPS_DIR}/{}", entry.name)))
}

impl Store {
    /// The file with the values of a share, if there is one.
    pub(crate) fn kept_groups(&self, key: ShareKey, descriptor: &Descriptor) -> Option<Arc<dyn DiskFile>> {
        (values_len(descriptor) > 0).then(|| self.disk.open(&groups_path(key), OpenMode::Read).ok()).flatten()
    }

    /// Of a share that goes, or is no longer served.
    pub(crate) fn remove_groups(&self, key: ShareKey) {
        if let Err(error) = remove_if_there(&*self.disk, &groups_path(key)) {
            tracing::warn!(store = %self.id(), share = %key, %error, "the groups of a share could not be removed");
        }
    }

    /// Makes the values from byte `at` on what they should be, for a share whose blocks were read just now.
    pub(crate) fn mend_groups(&self, key: ShareKey, descriptor: &Descriptor, at: u64, values: &[u8]) {
        let wanted = values_len(descriptor).saturating_sub(at).min(values.len() as u64) as usize;
        let values = &values[..wanted];
        if values.is_empty() || !self.medium_writable {
            return;
        }
        let path = groups_path(key);
        let mut kept = vec![0; wanted];
        let read = self.disk.open(&path, OpenMode::Read).and_then(|file| file.read_exact_at(&mut kept, at));
        if read.is_ok() && kept == values || !self.room().is_ok_and(|room| room >= wanted as u64) {
            return;
        }
        // While nobody commits: else the share may go just now, and this would be left.
        let _writer = lock(&self.writer);
        if !self.has_file(key) {
            return;
        }
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        let written =
            self.disk.create_dir_all(dir).and_then(|()| write_values(&*self.disk, &path, at, values));
        if let Err(error) = written {
            tracing::debug!(store = %self.id(), share = %key, %error, "its groups are not kept");
        }
    }

    fn has_file(&self, key: ShareKey) -> bool {
        matches!(self.index().get(key), Ok(Some(location)) if location.place == Place::File)
    }

    /// Removes values of shares that are not here, which a crash may have left: one directory of them. Says no if there is none.
    pub(crate) fn sweep_groups(&self, step: usize) -> io::Result<bool> {
        let mut dirs = list_or_empty(&*self.disk, GROUPS_DIR)?;
        dirs.retain(|entry| entry.is_dir);
        dirs.sort_by(|a, b| a.name.cmp(&b.name));
        let Some(dir) = dirs.get(step) else { return Ok(false) };
        for entry in self.disk.list(&format!("{GROUPS_DIR}/{}", dir.name))? {
            let Some(key) = crate::sweep::parse_name(&entry.name) else { continue };
            if matches!(self.index().get(key), Ok(None)) {
                let _writer = lock(&self.writer);
                if matches!(self.index().get(key), Ok(None)) {
                    self.remove_groups(key);
                }
            }
        }
        Ok(true)
    }
}
