//! A store: one directory on one disk, self-contained, with its own failure.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use encoding::slot::Member;
use protocol::announcement::AnnouncedStore;
use protocol::message::{Scrubbed, StoreReport, StoreState, StoreStatus};
use protocol::{Clock, NodeId, NodeKey, Random};

use crate::collect::Collector;
use crate::commit::{Queue, Writer};
use crate::disk::{Disk, DiskFile, DiskLock, OpenMode};
use crate::error::{PutError, ReadError, StoreError, is_out_of_files, is_passing};
use crate::index::{Index, IndexResult, Totals};
use crate::pack::{PACK_LEN, pack_path};
use crate::scrub::{ScrubOptions, Scrubber, UNREADABLE_MAX};
use crate::upload::Uploads;
use crate::usage::Ledger;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Bytes of the disk that are left free.
    pub reserve: u64,
    /// Takes no shares; on a medium that can be written, leases still are.
    pub read_only: bool,
    /// The store that should be there, where somebody wrote that down.
    pub expected: Option<NodeId>,
    /// How long an object stays after its last lease ended; of the time the store is served.
    pub grace: Duration,
    /// How long an account may not be heard of before its leases end; likewise. Shares that are found without a lease stay so long.
    pub idle_limit: Duration,
    /// Bytes from which on a pack takes no more records.
    pub pack_len: u64,
    /// How often all of it is hashed again.
    pub scrub: ScrubOptions,
}

/// See [`StoreOptions::grace`].
pub const GRACE: Duration = Duration::from_secs(7 * 24 * 3600);
/// See [`StoreOptions::idle_limit`].
pub const IDLE_LIMIT: Duration = Duration::from_secs(400 * 24 * 3600);

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            reserve: 0,
            read_only: false,
            expected: None,
            grace: GRACE,
            idle_limit: IDLE_LIMIT,
            pack_len: PACK_LEN,
            scrub: ScrubOptions::default(),
        }
    }
}

/// An open store. Everything it does blocks, except where it is async; servers call it in their pool.
pub struct Store {
    pub(crate) disk: Arc<dyn Disk>,
    key: NodeKey,
    id: NodeId,
    clock: Arc<dyn Clock>,
    options: StoreOptions,
    /// Whether the medium could be opened for writing.
    pub(crate) medium_writable: bool,
    opened_at: Duration,
    uptime_before: u64,
    incarnation: u64,
    index: RwLock<Arc<Index>>,
    state: AtomicU8,
    draining: AtomicBool,
    totals: Mutex<Totals>,
    /// What the disk had free, and when.
    free: Mutex<Option<(Duration, u64)>>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) uploads: Mutex<Uploads>,
    pub(crate) collector: Collector,
    pub(crate) scrubber: Scrubber,
    /// Of the server that serves it.
    pub(crate) ledger: OnceLock<Arc<Ledger>>,
    pack_files: Mutex<BTreeMap<u32, Arc<dyn DiskFile>>>,
    /// Last, so that the lock goes when everything else has.
    _lock: Box<dyn DiskLock>,
}

/// What [`Store::open`] found, before it is a store.
pub(crate) struct Opened {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) key: NodeKey,
    pub(crate) lock: Box<dyn DiskLock>,
    pub(crate) index: Index,
    pub(crate) totals: Totals,
    pub(crate) writer: Writer,
    pub(crate) partials: HashSet<String>,
    pub(crate) medium_writable: bool,
}

const WRITABLE: u8 = 0;
const READ_ONLY: u8 = 1;
const FAILED: u8 = 2;
/// Free space of which no disk writes a noticeable part within [`PLENTY_FOR`].
const PLENTY: u64 = 16 << 30;
/// How long a disk with [`PLENTY`] is believed to have it.
const PLENTY_FOR: Duration = Duration::from_millis(500);
/// Pack files kept open for reading.
const PACK_FILES_MAX: usize = 64;

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("id", &self.id).field("disk", &self.disk.name()).finish_non_exhaustive()
    }
}

impl Store {
    /// Makes an empty directory, or one that does not exist yet, a store, and returns its id.
    ///
    /// # Errors
    ///
    /// [`StoreError::AlreadyAStore`], [`StoreError::LostIdentity`], [`StoreError::InUse`], [`StoreError::Io`].
    pub fn init(disk: &Arc<dyn Disk>, random: &dyn Random) -> Result<NodeId, StoreError> {
        crate::open::init(disk, random)
    }

    /// The id of the store in a directory, which is not opened for that.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotAStore`], [`StoreError::NewerVersion`], [`StoreError::BadIdentity`], [`StoreError::Io`].
    pub fn identify(disk: &dyn Disk) -> Result<NodeId, StoreError> {
        crate::identity::read(disk).map(|key| key.id())
    }

    /// As [`Store::identify`], of a store that another server is to have: nobody may have it open.
    ///
    /// # Errors
    ///
    /// As [`Store::identify`], and [`StoreError::InUse`].
    pub fn take_over(disk: &dyn Disk) -> Result<NodeId, StoreError> {
        crate::open::take_over(disk)
    }

    /// Opens a store. An index that is lost or unreadable is rebuilt from the shares, and the store begins a new incarnation.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        random: &dyn Random,
        options: StoreOptions,
    ) -> Result<Arc<Self>, StoreError> {
        let opened = crate::open::open(disk, random, &options)?;
        Ok(Arc::new(Self::new(opened, clock, options)))
    }

    /// Makes a store's index anew from its packs and share files, each of them checked; the bad ones are put into quarantine.
    /// Leases are lost with the index. The store begins a new incarnation.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn rebuild(disk: &Arc<dyn Disk>, random: &dyn Random) -> Result<crate::RebuildReport, StoreError> {
        crate::open::rebuild(disk, random)
    }

    fn new(opened: Opened, clock: Arc<dyn Clock>, options: StoreOptions) -> Self {
        let now = clock.uptime();
        let state = if options.read_only || !opened.medium_writable { READ_ONLY } else { WRITABLE };
        Self {
            id: opened.key.id(),
            key: opened.key,
            opened_at: now,
            clock,
            options,
            medium_writable: opened.medium_writable,
            uptime_before: opened.totals.uptime_s,
            incarnation: opened.totals.incarnation,
            index: RwLock::new(Arc::new(opened.index)),
            state: AtomicU8::new(state),
            draining: AtomicBool::new(false),
            totals: Mutex::new(opened.totals),
            free: Mutex::default(),
            writer: Mutex::new(opened.writer),
            queue: Mutex::default(),
            uploads: Mutex::new(Uploads::new(opened.partials, now)),
            collector: Collector::default(),
            scrubber: Scrubber::default(),
            ledger: OnceLock::new(),
            pack_files: Mutex::default(),
            disk: opened.disk,
            _lock: opened.lock,
        }
    }

    /// The store's key.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Changes whenever promises may have been lost: when the index was rebuilt.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The store, as records of slots name it.
    pub fn member(&self) -> Member {
        Member { store: *self.id.as_bytes(), incarnation: self.incarnation }
    }

    /// What the store says of the server that serves it.
    pub fn announced(&self, server: &NodeId) -> AnnouncedStore {
        let StoreStatus { state, available, used, scrub, .. } = self.status();
        let Scrubbed { bad, finished_s: scrubbed_s, .. } = scrub.unwrap_or_default();
        let report = StoreReport { state, available, used, bad, scrubbed_s };
        let announced = AnnouncedStore::new(&self.key, self.incarnation, server);
        AnnouncedStore { report: Some(report), draining: self.is_draining(), ..announced }
    }

    /// The directory, for people.
    pub fn name(&self) -> String {
        self.disk.name()
    }

    /// Whether it takes shares.
    pub fn state(&self) -> StoreState {
        match self.state.load(Ordering::Acquire) {
            WRITABLE if self.is_failing() => StoreState::Failing,
            WRITABLE => StoreState::Writable,
            READ_ONLY => StoreState::ReadOnly,
            _ => StoreState::Failed,
        }
    }

    /// Whether its shares are being handed over to other servers: it takes nothing new meanwhile.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Release);
    }

    /// How it is: one read, nothing is walked.
    pub fn status(&self) -> StoreStatus {
        let totals = *lock(&self.totals);
        let state = match self.state() {
            StoreState::Writable if self.is_draining() => StoreState::ReadOnly,
            state => state,
        };
        let available = if state == StoreState::Writable { self.room().unwrap_or(0) } else { 0 };
        StoreStatus {
            id: self.id,
            incarnation: self.incarnation,
            state,
            available,
            used: totals.used,
            shares: totals.shares,
            scrub: Some(self.scrub_status(&totals.scrub)),
        }
    }

    /// Seconds this store was served, over all its runs: what leases are counted in.
    pub fn uptime_s(&self) -> u64 {
        self.uptime_before + self.clock.uptime().saturating_sub(self.opened_at).as_secs()
    }

    /// The same, as far as it is durable.
    pub(crate) fn written_uptime_s(&self) -> u64 {
        lock(&self.totals).uptime_s
    }

    pub(crate) fn grace_s(&self) -> u64 {
        self.options.grace.as_secs()
    }

    pub(crate) fn idle_s(&self) -> u64 {
        self.options.idle_limit.as_secs()
    }

    pub(crate) fn pack_len(&self) -> u64 {
        self.options.pack_len
    }

    /// Bytes of shares whose leases have ended.
    pub(crate) fn dying_bytes(&self) -> u64 {
        lock(&self.totals).dying
    }

    /// What an account is charged in this store: one read.
    ///
    /// # Errors
    ///
    /// [`ReadError::Index`].
    pub fn charged(&self, account: &NodeId) -> Result<u64, ReadError> {
        Ok(self.index().charged(account)?)
    }

    /// What the index's counters say wrongly, by counting everything anew. For tests.
    ///
    /// # Errors
    ///
    /// [`ReadError::Index`].
    #[doc(hidden)]
    pub fn audit(&self) -> Result<Vec<String>, ReadError> {
        Ok(self.index().audit()?)
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.uptime()
    }

    /// Bytes that may still be promised: what the disk has, less the reserve, less what uploads under way still want.
    pub(crate) fn room(&self) -> io::Result<u64> {
        let wanted = lock(&self.uploads).wanted();
        Ok(self.free()?.saturating_sub(self.options.reserve).saturating_sub(wanted))
    }

    /// What the disk has free. Where it is plenty, what it was a moment ago will do: every commit asks.
    fn free(&self) -> io::Result<u64> {
        let now = self.now();
        let mut known = lock(&self.free);
        let plenty = self.options.reserve.saturating_add(PLENTY);
        match *known {
            Some((at, free)) if free > plenty && now.saturating_sub(at) < PLENTY_FOR => Ok(free),
            _ => {
                let free = self.disk.available()?;
                *known = Some((now, free));
                Ok(free)
            }
        }
    }

    /// What comes of a failed write, open or look at the medium: if it was only the system that is short of something, the store goes on.
    pub(crate) fn failed(&self, action: &'static str, error: io::Error) -> PutError {
        if is_passing(&error) {
            tracing::warn!(store = %self.id, action, %error, "the system is short of something");
            return PutError::Overloaded { reason: Arc::new(error) };
        }
        self.fence(action, &error)
    }

    /// Makes a directory's names durable. What could not even be opened for that was not synced, and is no failed sync.
    pub(crate) fn sync_dir(&self, path: &str) -> Result<(), PutError> {
        self.disk.sync_dir(path).map_err(|error| match is_out_of_files(&error) {
            true => self.failed("open a directory", error),
            false => self.fence("sync a directory", &error),
        })
    }

    /// Likewise of the index.
    pub(crate) fn index_error(&self, action: &'static str, error: redb::Error) -> PutError {
        let waits_for_reopening = self.index().health.closed.load(Ordering::Acquire);
        match error {
            redb::Error::Io(error) => self.failed(action, error),
            // The handle was given up, and could not be replaced yet for want of a descriptor: the next batch tries again.
            redb::Error::PreviousIo if waits_for_reopening => {
                PutError::Overloaded { reason: Arc::new(io::Error::other("the index is being opened again")) }
            }
            error => self.fence(action, &error),
        }
    }

    /// Takes nothing more, for good: the medium broke its word.
    pub(crate) fn fence(&self, action: &'static str, error: &(dyn std::error::Error + 'static)) -> PutError {
        if self.state.swap(FAILED, Ordering::AcqRel) != FAILED {
            let error = chain(error);
            tracing::error!(store = %self.id, disk = %self.disk.name(), action, %error, "the disk failed: the store takes nothing more until it is opened again");
        }
        PutError::Failed
    }

    pub(crate) fn check_writable(&self) -> Result<(), PutError> {
        match self.state() {
            StoreState::Writable if self.is_draining() => Err(PutError::ReadOnly),
            StoreState::Writable => Ok(()),
            StoreState::ReadOnly => Err(PutError::ReadOnly),
            StoreState::Failing => Err(PutError::Failing),
            _ => Err(PutError::Failed),
        }
    }

    pub(crate) fn index(&self) -> Arc<Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// After the index failed for lack of room, which redb does not forgive its handle: opens it again.
    pub(crate) fn reopen_index(&self) -> IndexResult<Arc<Index>> {
        let mut slot = self.index.write().unwrap_or_else(PoisonError::into_inner);
        slot.give_up();
        let index = Arc::new(crate::open::open_index(&*self.disk)?);
        *slot = index.clone();
        Ok(index)
    }

    /// Whether the medium could not read several shares.
    fn is_failing(&self) -> bool {
        self.totals().scrub.unreadable >= UNREADABLE_MAX
    }

    pub(crate) fn totals(&self) -> Totals {
        *lock(&self.totals)
    }

    pub(crate) fn scrub_options(&self) -> ScrubOptions {
        self.options.scrub
    }

    /// Seconds since 1970, as the wall clock has it.
    pub(crate) fn unix_s(&self) -> u64 {
        self.clock.unix_time().as_secs()
    }

    pub(crate) fn set_totals(&self, totals: Totals) {
        *lock(&self.totals) = totals;
    }

    /// A pack, open for reading and, where the medium can be written, for writing.
    pub(crate) fn pack_file(&self, pack: u32) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = lock(&self.pack_files).get(&pack) {
            return Ok(file.clone());
        }
        let mode = if self.medium_writable { OpenMode::ReadWrite } else { OpenMode::Read };
        let file = self.disk.open(&pack_path(pack), mode)?;
        self.keep_pack_file(pack, file.clone());
        Ok(file)
    }

    /// Before a pack's file is removed.
    pub(crate) fn forget_pack_file(&self, pack: u32) {
        lock(&self.pack_files).remove(&pack);
    }

    pub(crate) fn keep_pack_file(&self, pack: u32, file: Arc<dyn DiskFile>) {
        let mut files = lock(&self.pack_files);
        if files.len() >= PACK_FILES_MAX {
            files.pop_first();
        }
        files.insert(pack, file);
    }
}

/// Locks, also after a panic elsewhere: what our mutexes guard is consistent between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
