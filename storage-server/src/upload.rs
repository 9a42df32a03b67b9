//! A share on its way in: bounded memory, checked as it arrives, found again after an interruption.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use encoding::ShareCheck;
use protocol::NodeId;
use protocol::limits::MAX_SHARE_LEN;
use protocol::message::{LeaseTerms, Put, StoreState};

use crate::backend::is_full;
use crate::commit::{Change, NewShare, ShareBytes};
use crate::disk::{DiskFile, OpenMode};
use crate::error::PutError;
use crate::groups::Gathered;
use crate::index::ShareKey;
use crate::pack::MAX_PACKED_LEN;
use crate::store::{Store, lock};
use crate::usage::Hold;

/// Bytes of a share written before they are synced while the rest is still coming.
const SYNC_EVERY: u64 = 32 * 1024 * 1024;
/// Bytes beyond those it sent that an upload is promised.
const RESERVE_AHEAD: u64 = 64 * 1024 * 1024;
/// A partial share that was not touched for so long, while the store was served, is removed.
const PARTIAL_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Partial shares that an account may have in a store.
const PARTIALS_MAX: usize = 4096;
/// Blocks of a partial share that [`Upload::resume`] hashes in one call.
const RESUME_STEP: u64 = 16;

/// What uploads a store has under way, and what lies there of earlier ones.
#[derive(Default)]
pub(crate) struct Uploads {
    /// Bytes that each upload under way still wants.
    active: HashMap<String, u64>,
    wanted: u64,
    /// Partial share files by name.
    partials: BTreeMap<String, Partial>,
}

/// A partial share file.
struct Partial {
    /// When it was last used, or found; by the clock's uptime.
    used: Duration,
    /// Its bytes, as far as they are known: nothing of one that was found.
    len: u64,
    /// It counts against its account's quota, if that has one.
    hold: Option<Hold>,
}

impl Partial {
    fn new(now: Duration) -> Self {
        Self { used: now, len: 0, hold: None }
    }
}

impl Uploads {
    pub(crate) fn new(partials: HashSet<String>, now: Duration) -> Self {
        Self {
            partials: partials.into_iter().map(|name| (name, Partial::new(now))).collect(),
            ..Self::default()
        }
    }

    /// The idle partial of this account that was used the longest ago, if the account has too many.
    fn one_too_many(&self, account: &NodeId) -> Option<String> {
        // `.` comes after `-`, which ends the account's name.
        let own = self.partials.range(format!("{account}-")..format!("{account}."));
        own.clone().nth(PARTIALS_MAX - 1)?;
        let idle = own.filter(|(name, _)| !self.active.contains_key(*name));
        idle.min_by_key(|(_, partial)| partial.used).map(|(name, _)| name.clone())
    }

    /// All that are idle, as far as they are ours.
    fn idle(&self) -> impl Iterator<Item = (&String, &Partial)> {
        // Of other files in the folder nothing is known.
        let ours = |name: &str| name.split('-').count() == 3;
        self.partials.iter().filter(move |(name, _)| !self.active.contains_key(*name) && ours(name))
    }

    /// Bytes of idle partials.
    pub(crate) fn idle_bytes(&self) -> u64 {
        self.idle().map(|(_, partial)| partial.len).sum()
    }

    /// Partials that nobody used for [`PARTIAL_LIFE`].
    fn expired(&self, now: Duration) -> Vec<String> {
        let old = |(_, partial): &(&String, &Partial)| now.saturating_sub(partial.used) >= PARTIAL_LIFE;
        self.idle().filter(old).map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn wanted(&self) -> u64 {
        self.wanted
    }

    fn set_wanted(&mut self, name: &str, wanted: u64) {
        if let Some(old) = self.active.get_mut(name) {
            self.wanted = self.wanted - *old + wanted;
            *old = wanted;
        }
    }
}

/// The right to be the one upload of this name, until it is dropped.
pub(crate) struct Claim {
    store: Arc<Store>,
    name: String,
    /// What is held of the account's quota for it.
    pub(crate) hold: Option<Hold>,
    /// The chaining values that are to be kept beside the share.
    groups: Mutex<Option<Gathered>>,
}

impl Claim {
    fn new(store: &Arc<Store>, name: String) -> Result<Self, PutError> {
        let mut uploads = lock(&store.uploads);
        if uploads.active.contains_key(&name) {
            return Err(PutError::Busy);
        }
        uploads.active.insert(name.clone(), 0);
        let hold = uploads.partials.get_mut(&name).and_then(|partial| partial.hold.take());
        drop(uploads);
        Ok(Self { store: store.clone(), name, hold, groups: Mutex::default() })
    }

    pub(crate) fn path(&self) -> String {
        format!("partial/{}", self.name)
    }

    /// The share got its place.
    pub(crate) fn place_groups(&self, key: ShareKey) {
        if let Some(groups) = lock(&self.groups).take() {
            groups.place(&self.store, key);
        }
    }

    /// The partial file is no longer there.
    pub(crate) fn forget_partial(&self) {
        lock(&self.store.uploads).partials.remove(&self.name);
    }

    /// Removes the partial file.
    pub(crate) fn discard(&self) {
        match self.store.disk.remove(&self.path()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(store = %self.store.id(), %error, "a partial share could not be removed");
            }
            _ => self.forget_partial(),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let now = self.store.now();
        let mut uploads = lock(&self.store.uploads);
        uploads.set_wanted(&self.name, 0);
        uploads.active.remove(&self.name);
        if let Some(partial) = uploads.partials.get_mut(&self.name) {
            partial.used = now;
            partial.hold = self.hold.take().inspect(|hold| hold.set(partial.len));
        }
    }
}

/// A share on its way in. Dropped before [`Upload::finish`], it leaves what was written for a later attempt.
pub struct Upload {
    claim: Claim,
    account: NodeId,
    number: u16,
    lease: LeaseTerms,
    block_len: u32,
    stated: Option<u64>,
    /// Bytes taken so far, those of an earlier attempt among them.
    len: u64,
    /// Bytes of an earlier attempt that are still to be hashed end here.
    resume_to: u64,
    check: ShareCheck,
    groups: Gathered,
    /// What came so far, while it is small and there is no file.
    small: Vec<u8>,
    file: Option<Arc<dyn DiskFile>>,
    unsynced: u64,
    /// Room is promised for the bytes before this one.
    reserved_to: u64,
    /// Held while a sync runs: of two at a time, only one would be told of a failure.
    syncing: Arc<Mutex<()>>,
}

impl Store {
    /// Whether beginning this upload needs the disk: if not, it may be begun where nothing may block.
    pub fn begin_blocks(&self, account: &NodeId, put: &Put) -> bool {
        put.len.is_none_or(|len| len > MAX_PACKED_LEN)
            || lock(&self.uploads).partials.contains_key(&partial_name(account, put))
    }

    /// Removes partial shares that nobody came back for.
    pub fn expire_partials(self: &Arc<Self>) {
        if self.state() != StoreState::Writable {
            return;
        }
        let expired = lock(&self.uploads).expired(self.now());
        for name in expired {
            // Somebody may just now have come back for it.
            if let Ok(claim) = Claim::new(self, name) {
                tracing::info!(store = %self.id(), partial = %claim.name, "nobody came back for a partial share: removed");
                claim.discard();
            }
        }
    }

    /// Removes the partial share, or that of an account, that nobody has used for the longest time; says no if there is none.
    pub(crate) fn discard_oldest_partial(self: &Arc<Self>, of: Option<&NodeId>) -> bool {
        let prefix = of.map_or(String::new(), |account| format!("{account}-"));
        let oldest = {
            let uploads = lock(&self.uploads);
            let idle = uploads.idle().filter(|(name, _)| name.starts_with(&prefix));
            idle.min_by_key(|(_, partial)| partial.used).map(|(name, _)| name.clone())
        };
        let Some(claim) = oldest.and_then(|name| Claim::new(self, name).ok()) else { return false };
        tracing::info!(store = %self.id(), partial = %claim.name, "an interrupted upload makes way: removed");
        claim.discard();
        // One that cannot be removed would be found again for ever.
        !lock(&self.uploads).partials.contains_key(&claim.name)
    }

    /// Interrupted uploads of accounts with a quota count against it, whatever it says.
    pub(crate) fn hold_partials(self: &Arc<Self>) {
        let names: Vec<String> = lock(&self.uploads).idle().map(|(name, _)| name.clone()).collect();
        for name in names {
            let account = name.split('-').next().and_then(|account| account.parse().ok());
            let Some(hold) = account.and_then(|account| self.hold(account)) else { continue };
            let len = self.disk.open(&format!("partial/{name}"), OpenMode::Read).and_then(|file| file.len());
            if let Some(partial) = lock(&self.uploads).partials.get_mut(&name) {
                partial.len = len.unwrap_or(0);
                hold.set(partial.len);
                partial.hold = Some(hold);
            }
        }
    }

    /// Begins an upload, or takes up an earlier one under the same account, upload id and share number.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub fn begin(self: &Arc<Self>, account: NodeId, put: &Put) -> Result<Upload, PutError> {
        self.check_writable()?;
        if let Some(len) = put.len.filter(|len| *len > MAX_SHARE_LEN) {
            return Err(PutError::TooLong { len, max: MAX_SHARE_LEN });
        }
        let claim = Claim::new(self, partial_name(&account, put))?;
        let groups = Gathered::new(&self.disk, &claim.name, put.block_len);
        let mut upload = Upload {
            claim,
            account,
            number: put.number,
            lease: put.lease,
            block_len: put.block_len,
            stated: put.len,
            len: 0,
            resume_to: 0,
            check: ShareCheck::new(put.block_len),
            groups,
            small: Vec::new(),
            file: None,
            unsynced: 0,
            reserved_to: 0,
            syncing: Arc::default(),
        };
        upload.find_partial()?;
        upload.hold()?;
        upload.reserve()?;
        Ok(upload)
    }
}

impl Upload {
    fn store(&self) -> &Arc<Store> {
        &self.claim.store
    }

    fn find_partial(&mut self) -> Result<(), PutError> {
        if !lock(&self.store().uploads).partials.contains_key(&self.claim.name) {
            return Ok(());
        }
        let io = |e: std::io::Error| self.store().failed("open a partial share", e);
        let file = match self.store().disk.open(&self.claim.path(), OpenMode::ReadWrite) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.claim.forget_partial();
                return Ok(());
            }
            Err(error) => return Err(io(error)),
        };
        let found = file.len().map_err(io)?;
        let whole = found - found % u64::from(self.block_len);
        if self.stated.is_some_and(|stated| whole > stated) {
            // Another share than last time.
            self.claim.discard();
            return Ok(());
        }
        if whole == 0 {
            file.set_len(0).map_err(io)?;
        }
        self.resume_to = whole;
        self.file = Some(file);
        if let Some(partial) = lock(&self.store().uploads).partials.get_mut(&self.claim.name) {
            partial.len = whole;
        }
        Ok(())
    }

    fn room_for(&self, needed: u64) -> Result<u64, PutError> {
        self.store().room_for(needed).map_err(|e| self.store().failed("ask for free space", e))
    }

    /// Makes sure that the account may be charged for it, where its length is known. What the account left here itself makes way for it.
    fn hold(&mut self) -> Result<(), PutError> {
        if self.claim.hold.is_none() {
            self.claim.hold = self.store().hold(self.account);
        }
        let Some(hold) = &self.claim.hold else { return Ok(()) };
        loop {
            match hold.reach(self.stated.unwrap_or(self.resume_to)) {
                Err(PutError::OverQuota { .. })
                    if self.store().discard_oldest_partial(Some(&self.account)) => {}
                reached => return reached,
            }
        }
    }

    /// Makes sure that room for the rest could be had, where its length is known. Promised is only the beginning of it, as far as there is
    /// room now: nothing makes way for bytes that are only spoken of.
    fn reserve(&mut self) -> Result<(), PutError> {
        let Some(stated) = self.stated.filter(|len| *len > MAX_PACKED_LEN) else { return Ok(()) };
        let needed = stated - self.resume_to;
        let io = |e| self.store().failed("ask for free space", e);
        let (room, could) = self.store().room_and_more().map_err(io)?;
        if needed > could {
            return Err(PutError::NoSpace { needed, available: could });
        }
        self.reserved_to = self.resume_to + needed.min(RESERVE_AHEAD).min(room);
        lock(&self.store().uploads).set_wanted(&self.claim.name, self.reserved_to - self.resume_to);
        Ok(())
    }

    /// Makes sure there is room up to `end`, and promises more where that runs low.
    fn reserve_to(&mut self, end: u64, stated: u64) -> Result<(), PutError> {
        if self.reserved_to < stated.min(end + RESERVE_AHEAD / 2) {
            let missing = stated.min(end + RESERVE_AHEAD) - self.reserved_to;
            let available = self.room_for(end.saturating_sub(self.reserved_to))?;
            self.reserved_to += missing.min(available);
            if self.reserved_to < end {
                return Err(PutError::NoSpace { needed: missing, available });
            }
        }
        lock(&self.store().uploads).set_wanted(&self.claim.name, self.reserved_to - end);
        Ok(())
    }

    /// Whether [`Upload::resume`] has something to do: to be called until it has not.
    pub fn to_resume(&self) -> bool {
        self.len < self.resume_to
    }

    /// Hashes some of what an earlier attempt left.
    ///
    /// # Errors
    ///
    /// [`PutError::Failed`].
    pub fn resume(&mut self) -> Result<(), PutError> {
        let block_len = u64::from(self.block_len);
        let Some(file) = self.file.clone() else { return Ok(()) };
        let end = self.resume_to.min(self.len + RESUME_STEP * block_len);
        let mut block = encoding::zeroed(self.block_len as usize);
        while self.len < end {
            if let Err(error) = file.read_exact_at(&mut block, self.len) {
                tracing::warn!(store = %self.store().id(), %error, "a partial share cannot be read on: it is taken up from here");
                self.resume_to = self.len;
                break;
            }
            self.check.push_root(self.groups.push(&self.claim.store, &block));
            self.len += block_len;
        }
        if self.to_resume() {
            return Ok(());
        }
        file.set_len(self.len).map_err(|e| self.store().failed("cut a partial share", e))
    }

    /// Where to go on: how much of the share is here already.
    pub fn offset(&self) -> u64 {
        self.len
    }

    /// Bytes of a full block: what [`Upload::push`] takes at a time.
    pub fn block_len(&self) -> u32 {
        self.block_len
    }

    /// Whether a piece of this length would only be put into memory: then it may be pushed where nothing may block.
    pub fn stays_small(&self, piece: usize) -> bool {
        self.file.is_none() && (self.small.len() + piece) as u64 <= MAX_PACKED_LEN
    }

    /// Takes the next `block_len` bytes, or at the end fewer.
    ///
    /// # Errors
    ///
    /// [`PutError`]. Where there is no room, nothing of the share is kept.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), PutError> {
        debug_assert!(piece.len() <= self.block_len as usize);
        let max = self.stated.unwrap_or(MAX_SHARE_LEN);
        let len = self.len + piece.len() as u64;
        if len > max {
            return Err(PutError::TooLong { len, max });
        }
        if let Some(Err(error)) = self.claim.hold.as_ref().map(|hold| hold.reach_ahead(len)) {
            self.claim.discard();
            return Err(error);
        }
        if self.stays_small(piece.len()) {
            self.small.extend_from_slice(piece);
        } else if let Err(error) = self.write(piece) {
            if matches!(error, PutError::NoSpace { .. }) {
                self.claim.discard();
            }
            return Err(error);
        }
        self.check.push_root(self.groups.push(&self.claim.store, piece));
        self.len = len;
        Ok(())
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), PutError> {
        let needed = (self.small.len() + piece.len()) as u64;
        match self.stated {
            Some(stated) => self.reserve_to(self.len + piece.len() as u64, stated)?,
            None => {
                let available = self.room_for(needed)?;
                if needed > available {
                    return Err(PutError::NoSpace { needed, available });
                }
            }
        }
        let full = |error: std::io::Error, action| match is_full(&error) {
            true => PutError::NoSpace { needed, available: 0 },
            false => self.store().failed(action, error),
        };
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self.create().map_err(|e| full(e, "create a partial share"))?,
        };
        if !self.small.is_empty() {
            file.write_all_at(&self.small, 0).map_err(|e| full(e, "write a partial share"))?;
        }
        file.write_all_at(piece, self.len).map_err(|e| full(e, "write a partial share"))?;
        self.small = Vec::new();
        self.file = Some(file);
        self.unsynced += needed;
        if let Some(partial) = lock(&self.store().uploads).partials.get_mut(&self.claim.name) {
            partial.len = self.len + piece.len() as u64;
        }
        Ok(())
    }

    fn create(&self) -> std::io::Result<Arc<dyn DiskFile>> {
        let crowded = lock(&self.store().uploads).one_too_many(&self.account);
        if let Some(oldest) = crowded.and_then(|name| Claim::new(self.store(), name).ok()) {
            tracing::info!(store = %self.store().id(), partial = %oldest.name, "an account has too many partial shares: the oldest is removed");
            oldest.discard();
        }
        let file = self.store().disk.open(&self.claim.path(), OpenMode::CreateNew)?;
        let now = self.store().now();
        lock(&self.store().uploads).partials.insert(self.claim.name.clone(), Partial::new(now));
        Ok(file)
    }

    /// Work to do beside what follows, if any is due: it makes durable what was written, so that the end need not wait for all of it.
    pub fn background_sync(&mut self) -> Option<impl FnOnce() + Send + 'static> {
        if self.unsynced < SYNC_EVERY {
            return None;
        }
        self.unsynced = 0;
        let (file, syncing, store) = (self.file.clone()?, self.syncing.clone(), self.store().clone());
        Some(move || {
            let Ok(_alone) = syncing.try_lock() else { return };
            if let Err(error) = file.sync() {
                store.fence("sync a partial share", &error);
            }
        })
    }

    /// Decides whether what came is an intact share; if so it is ready for [`Store::commit`], if not nothing of it is kept.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub fn finish(self) -> Result<ReadyShare, PutError> {
        if let Some(stated) = self.stated.filter(|stated| *stated != self.len) {
            return Err(PutError::TooShort { len: self.len, stated });
        }
        let Self { mut claim, account, number, lease, len, check, groups, small, file, syncing, .. } = self;
        let store = claim.store.clone();
        let checked = match &file {
            Some(file) => check.finish(len, |at, buffer| file.read_exact_at(buffer, at)),
            None => check.finish(len, |at, buffer| read_slice(&small, at, buffer)),
        };
        let report = match checked {
            Ok(report) => report,
            Err(encoding::ShareError::Io(error)) => return Err(store.failed("read a share back", error)),
            Err(reason) => {
                claim.discard();
                return Err(PutError::Corrupt { reason: Arc::new(reason) });
            }
        };
        if report.number != number {
            claim.discard();
            return Err(PutError::WrongNumber { stated: number, found: report.number });
        }
        if let Some(file) = &file {
            let _alone = lock(&syncing);
            file.sync().map_err(|e| store.fence("sync a share", &e))?;
            claim.groups = Mutex::new(groups.of(&report));
        }
        // A small one has nothing on disk to guard: whoever sends it too at the same time is answered by the same commit.
        let hold = if file.is_some() { None } else { claim.hold.take() };
        let bytes = if file.is_some() { ShareBytes::File(claim) } else { ShareBytes::Small(small.into()) };
        let share = NewShare::new(&report, len, bytes, account, lease);
        Ok(ReadyShare(Change::Share(NewShare { hold, ..share })))
    }
}

/// An intact share that only waits to be committed.
pub struct ReadyShare(pub(crate) Change);

pub(crate) fn read_slice(bytes: &[u8], at: u64, buffer: &mut [u8]) -> std::io::Result<()> {
    let at = usize::try_from(at).map_err(|_| std::io::ErrorKind::UnexpectedEof)?;
    let end = at.checked_add(buffer.len()).ok_or(std::io::ErrorKind::UnexpectedEof)?;
    buffer.copy_from_slice(bytes.get(at..end).ok_or(std::io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

fn partial_name(account: &NodeId, put: &Put) -> String {
    let upload = data_encoding::HEXLOWER.encode(&put.upload.0);
    format!("{account}-{upload}-{}", put.number)
}
