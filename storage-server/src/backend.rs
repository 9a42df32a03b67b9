//! redb on a [`Disk`](crate::Disk): it is never given a path.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

use crate::disk::DiskFile;
use crate::error::is_passing;

/// What happened to the index's file, as the store needs to know it.
#[derive(Debug, Default)]
pub(crate) struct BackendHealth {
    /// The database handle was given up: nothing of it may reach the file any more.
    pub(crate) closed: AtomicBool,
    /// A sync failed.
    pub(crate) sync_failed: AtomicBool,
    /// A write failed because the medium is full.
    pub(crate) full: AtomicBool,
    /// A write failed because the system is short of something.
    pub(crate) short: AtomicBool,
}

/// The index's file.
pub(crate) struct DiskBackend {
    file: Arc<dyn DiskFile>,
    health: Arc<BackendHealth>,
}

impl DiskBackend {
    pub(crate) fn new(file: Arc<dyn DiskFile>, health: Arc<BackendHealth>) -> Self {
        Self { file, health }
    }

    fn writable(&self) -> io::Result<()> {
        if self.health.closed.load(Ordering::Acquire) || self.health.sync_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("the index was given up"));
        }
        Ok(())
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.as_ref().is_err_and(is_full) {
            self.health.full.store(true, Ordering::Release);
        }
        if result.as_ref().is_err_and(is_passing) {
            self.health.short.store(true, Ordering::Release);
        }
        result
    }
}

/// Whether an error says that the medium, or our share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl std::fmt::Debug for DiskBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskBackend").finish_non_exhaustive()
    }
}

impl StorageBackend for DiskBackend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        self.note(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.writable()?;
        let result = self.file.sync();
        if result.is_err() {
            self.health.sync_failed.store(true, Ordering::Release);
        }
        result
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.writable()?;
        self.note(self.file.write_all_at(data, offset))
    }
}

const PAGE: u64 = 4096;

/// The index's file on a medium that cannot be written: what redb writes to put itself in order stays in memory.
pub(crate) struct OverlayBackend {
    file: Arc<dyn DiskFile>,
    state: Mutex<Overlay>,
}

struct Overlay {
    len: u64,
    /// Bytes of the file that still count: cut off by a shorter `set_len`, they read as zeroes afterwards.
    base: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl OverlayBackend {
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let len = file.len()?;
        Ok(Self { file, state: Mutex::new(Overlay { len, base: len, pages: BTreeMap::new() }) })
    }

    fn page(&self, overlay: &Overlay, index: u64) -> io::Result<Box<[u8]>> {
        if let Some(page) = overlay.pages.get(&index) {
            return Ok(page.clone());
        }
        let mut page = vec![0; PAGE as usize].into_boxed_slice();
        let start = index * PAGE;
        let have = overlay.base.saturating_sub(start).min(PAGE) as usize;
        self.file.read_exact_at(&mut page[..have], start)?;
        Ok(page)
    }
}

impl std::fmt::Debug for OverlayBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OverlayBackend").finish_non_exhaustive()
    }
}

impl StorageBackend for OverlayBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let overlay = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > overlay.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < out.len() {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let count = (PAGE as usize - within).min(out.len() - done);
            let page = self.page(&overlay, at / PAGE)?;
            out[done..done + count].copy_from_slice(&page[within..within + count]);
            done += count;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut overlay = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        overlay.base = overlay.base.min(len);
        overlay.pages.retain(|index, _| index * PAGE < len);
        if let Some(page) = overlay.pages.get_mut(&(len / PAGE)) {
            page[(len % PAGE) as usize..].fill(0);
        }
        overlay.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut overlay = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let count = (PAGE as usize - within).min(data.len() - done);
            let mut page = self.page(&overlay, at / PAGE)?;
            page[within..within + count].copy_from_slice(&data[done..done + count]);
            overlay.pages.insert(at / PAGE, page);
            done += count;
        }
        overlay.len = overlay.len.max(offset + data.len() as u64);
        Ok(())
    }
}
