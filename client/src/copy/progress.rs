//! How far the copy of a tree is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Transfer;

/// How far the copy of a tree is. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct TreeProgress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: AtomicU64,
    bytes: AtomicU64,
    expected_entries: AtomicU64,
    expected_bytes: AtomicU64,
    number: AtomicU64,
    moving: Mutex<HashMap<u64, Transfer>>,
}

/// A file on its way; when it is dropped it is no longer on its way.
#[derive(Debug)]
pub struct Moving {
    progress: TreeProgress,
    number: u64,
    /// To be handed to whatever moves it.
    pub transfer: Transfer,
}

impl TreeProgress {
    /// Says how much there is to do, once that is known.
    pub fn expect(&self, entries: u64, bytes: u64) {
        self.0.expected_bytes.store(bytes, Ordering::Relaxed);
        self.0.expected_entries.store(entries, Ordering::Relaxed);
    }

    /// Entries and bytes that there are; zero while that is not known.
    pub fn expected(&self) -> (u64, u64) {
        (self.0.expected_entries.load(Ordering::Relaxed), self.0.expected_bytes.load(Ordering::Relaxed))
    }

    /// Entries and bytes that are done, those of files on their way included.
    pub fn done(&self) -> (u64, u64) {
        let moving: u64 = self.moving().values().map(Transfer::done).sum();
        (self.0.entries.load(Ordering::Relaxed), self.0.bytes.load(Ordering::Relaxed) + moving)
    }

    pub(super) fn advance(&self, bytes: u64) {
        self.0.entries.fetch_add(1, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn begin(&self) -> Moving {
        let number = self.0.number.fetch_add(1, Ordering::Relaxed);
        let transfer = Transfer::default();
        self.moving().insert(number, transfer.clone());
        Moving { progress: self.clone(), number, transfer }
    }

    fn moving(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Transfer>> {
        // Each change is one call: nothing is ever half-done.
        self.0.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.progress.moving().remove(&self.number);
    }
}
