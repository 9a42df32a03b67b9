//! What one key may take of the server: memory, open files, proofs at once. All its connections share it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use protocol::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ReadError;
use crate::store::lock;

/// What there is of something, and the part of it that one key may have.
pub(crate) struct Budget {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
    /// A request for more than this is charged this much.
    own_most: u32,
    all_most: u32,
}

/// Some of a [`Budget`], until it is dropped.
pub(crate) struct Held {
    _permits: [OwnedSemaphorePermit; 2],
}

impl Budget {
    /// A quarter of `count` for one key; the semaphore has them all.
    fn quarter(all: &Arc<Semaphore>, count: usize) -> Self {
        let own = (count / 4).max(1);
        Self {
            own: Arc::new(Semaphore::new(own)),
            all: all.clone(),
            own_most: u32::try_from(own).unwrap_or(u32::MAX),
            all_most: u32::try_from(count / 2).unwrap_or(u32::MAX).max(1),
        }
    }

    /// Waits for some of it.
    pub(crate) async fn take(&self, count: u64) -> Option<Held> {
        let (few, many) = self.counts(count);
        let own = self.own.clone().acquire_many_owned(few).await.ok()?;
        let all = self.all.clone().acquire_many_owned(many).await.ok()?;
        Some(Held { _permits: [own, all] })
    }

    /// Some of it, if there is enough at once.
    fn take_now(&self, count: u64) -> Option<Held> {
        let (few, many) = self.counts(count);
        let own = self.own.clone().try_acquire_many_owned(few).ok()?;
        let all = self.all.clone().try_acquire_many_owned(many).ok()?;
        Some(Held { _permits: [own, all] })
    }

    fn counts(&self, count: u64) -> (u32, u32) {
        let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        (count.min(self.own_most), count.min(self.all_most))
    }
}

/// What one key has taken.
pub(crate) struct Resources {
    /// In KiB.
    pub(crate) memory: Budget,
    pub(crate) files: Budget,
    /// One for each store: reading all of a share takes a disk long.
    proofs: Mutex<HashMap<NodeId, Arc<Semaphore>>>,
}

impl Resources {
    pub(crate) fn new(memory: (&Arc<Semaphore>, usize), files: (&Arc<Semaphore>, usize)) -> Self {
        Self {
            memory: Budget::quarter(memory.0, memory.1),
            files: Budget::quarter(files.0, files.1),
            proofs: Mutex::default(),
        }
    }

    /// Waits for the right to read through a share of this store.
    pub(crate) async fn alone(&self, store: NodeId) -> Option<OwnedSemaphorePermit> {
        let semaphore =
            lock(&self.proofs).entry(store).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        semaphore.acquire_owned().await.ok()
    }
}

/// Memory of work that learns only on its way how much it needs.
pub(crate) struct Charge {
    resources: Arc<Resources>,
    held: Vec<Held>,
    have: u64,
    wanted: u64,
}

/// Why such work stopped.
pub(crate) enum Stop {
    /// To be begun again with this many bytes.
    Needs(u64),
    Error(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Error(error)
    }
}

impl Charge {
    pub(crate) fn new(resources: Arc<Resources>, held: Held, have: u64) -> Self {
        Self { resources, held: vec![held], have, wanted: 0 }
    }

    /// Before this much memory is used.
    pub(crate) fn take(&mut self, len: u64) -> Result<(), Stop> {
        self.wanted = self.wanted.saturating_add(len);
        if self.wanted > self.have {
            let more = self.wanted - self.have;
            self.held.push(self.resources.memory.take_now(kib(more)).ok_or(Stop::Needs(self.wanted))?);
            self.have = self.wanted;
        }
        Ok(())
    }
}

pub(crate) fn kib(len: u64) -> u64 {
    len.div_ceil(1024)
}
