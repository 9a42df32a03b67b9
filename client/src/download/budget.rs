//! Memory for segments on their way, all downloads of a client together.
//!
//! A download reads ahead as long as there is memory for it, and no further; without any to spare it fetches one segment at a time. What is
//! lent is given back when the last piece of it is dropped, wherever that went.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// KiB of blocks and plaintext at a time.
const KIB: u32 = 96 * 1024;
/// So long a download waits for those that read slowly. Then it fetches its next segment all the same: slow ones must not stop it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Memory that is lent.
pub(crate) type Lent = OwnedSemaphorePermit;

/// Memory to lend.
pub(crate) struct Budget {
    kib: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { kib: Arc::new(Semaphore::new(KIB as usize)), patience: PATIENCE }
    }
}

/// KiB that fetching and decoding takes: the blocks and what comes of them.
fn kib(segments: u64, segment_len: u64) -> u32 {
    (2 * segments * segment_len / 1024).clamp(2, KIB.into()) as u32
}

impl Budget {
    /// Of the next `count` segments as many as there is memory for, and one at least.
    pub(super) async fn for_next(&self, count: u64, segment_len: u64) -> Option<(u64, Option<Lent>)> {
        if let Some(all) = self.for_ahead(count, segment_len) {
            return Some(all);
        }
        let one = timeout(self.patience, self.kib.clone().acquire_many_owned(kib(1, segment_len))).await;
        Some((1, one.ok().and_then(Result::ok)))
    }

    /// Memory for `count` segments that nobody waits for yet, if there is.
    pub(super) fn for_ahead(&self, count: u64, segment_len: u64) -> Option<(u64, Option<Lent>)> {
        let lent = self.kib.clone().try_acquire_many_owned(kib(count, segment_len)).ok()?;
        Some((count, Some(lent)))
    }
}

/// Gives back what the blocks took, once they are decoded.
pub(super) fn decoded(mut lent: Lent) -> Lent {
    let half = lent.num_permits() / 2;
    drop(lent.split(half));
    lent
}

/// Ties what is lent to the pieces.
pub(super) fn tied(pieces: Vec<Bytes>, lent: Option<Lent>) -> Vec<Bytes> {
    let Some(lent) = lent.map(Arc::new) else { return pieces };
    pieces.into_iter().map(|bytes| Bytes::from_owner(Tied { bytes, _lent: lent.clone() })).collect()
}

struct Tied {
    bytes: Bytes,
    _lent: Arc<Lent>,
}

impl AsRef<[u8]> for Tied {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn downloads_share_memory_and_none_starves() {
        let budget = Budget { patience: Duration::from_millis(20), ..Budget::default() };
        let segment = 768 * 1024;
        let (count, lent) = budget.for_next(4, segment).await.unwrap();
        assert_eq!((count, lent.as_ref().unwrap().num_permits()), (4, 2 * 4 * 768));
        let pieces = tied(vec![Bytes::from_static(b"piece"); 3], lent.map(decoded));
        assert_eq!(budget.kib.available_permits(), (KIB - 4 * 768) as usize, "blocks are given back");
        let slice = pieces[2].slice(1..2);
        drop(pieces);
        assert_eq!(budget.kib.available_permits(), (KIB - 4 * 768) as usize, "a piece is still somewhere");
        drop(slice);
        assert_eq!(budget.kib.available_permits(), KIB as usize);
        let all = budget.for_next(1, 64 << 20).await.unwrap();
        assert!(budget.for_ahead(1, segment).is_none());
        let (count, lent) = budget.for_next(4, segment).await.unwrap();
        assert!(count == 1 && lent.is_none(), "after a while it goes on without");
        drop(all);
        assert!(budget.for_ahead(4, segment).is_some());
    }
}
