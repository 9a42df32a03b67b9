//! What all zips together may hold in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::format::CHUNK;

/// Zips at a time.
const ZIPS: usize = 32;
/// Bytes of the lists at their ends, all together.
const LISTS: usize = 128 << 20;
/// Bytes of the list of one, so that some are left for others.
const LIST: usize = 96 << 20;
/// Bytes of files that are read ahead, all together.
const AHEAD: usize = 32 << 20;

/// Room for all zips.
pub(crate) struct Room {
    zips: Arc<Semaphore>,
    /// Chunks of lists.
    lists: Arc<Semaphore>,
    /// KiB of files.
    ahead: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        let semaphore = |count| Arc::new(Semaphore::new(count));
        Self { zips: semaphore(ZIPS), lists: semaphore(LISTS / CHUNK), ahead: semaphore(AHEAD / 1024) }
    }
}

impl Room {
    /// A place for one more zip, if there is one.
    pub(super) fn enter(&self) -> Option<Place> {
        let _zip = self.zips.clone().try_acquire_owned().ok()?;
        let list = self.lists.clone().try_acquire_owned().ok()?;
        Some(Place { _zip, list, lists: self.lists.clone(), ahead: self.ahead.clone() })
    }
}

/// What is lent to one zip.
pub(super) struct Place {
    _zip: OwnedSemaphorePermit,
    list: OwnedSemaphorePermit,
    lists: Arc<Semaphore>,
    ahead: Arc<Semaphore>,
}

impl Place {
    /// Whether its list may have so many chunks.
    pub(super) fn allows(&mut self, chunks: usize) -> bool {
        let more = chunks.saturating_sub(self.list.num_permits());
        if more == 0 {
            return true;
        }
        if chunks > LIST / CHUNK {
            return false;
        }
        match self.lists.clone().try_acquire_many_owned(more as u32) {
            Ok(more) => self.list.merge(more),
            Err(_) => return false,
        }
        true
    }

    /// Memory for so many bytes that are read ahead, if there is any.
    pub(super) fn ahead(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        self.ahead.clone().try_acquire_many_owned(bytes.div_ceil(1024) as u32).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_share_their_room_and_give_it_back() {
        let room = Room::default();
        let (mut one, mut two) = (room.enter().unwrap(), room.enter().unwrap());
        let most = LIST / CHUNK;
        assert!(one.allows(most) && !one.allows(most + 1), "none takes all");
        assert!(!two.allows(most) && two.allows(LISTS / CHUNK - most));
        assert!(room.enter().is_none(), "no room for a list");
        drop(one);
        assert!(two.allows(most) && room.enter().is_some());
    }

    #[test]
    fn files_ahead_share_their_room() {
        let room = Room::default();
        let place = room.enter().unwrap();
        let held: Vec<_> = std::iter::from_fn(|| place.ahead(256 << 10)).collect();
        assert_eq!(held.len(), AHEAD / (256 << 10));
        assert!(place.ahead(0).is_some() && place.ahead(1).is_none());
    }
}
