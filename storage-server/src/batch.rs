//! One batch of changes: bytes first, then the one transaction that makes them count.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use protocol::message::StoreState;

use crate::apply::Apply;
use crate::backend::is_full;
use crate::collect::Tidy;
use crate::commit::{Answer, Change, NewShare, Outcome, ShareBytes, Writer};
use crate::compact::MovedRecord;
use crate::disk::OpenMode;
use crate::error::{PutError, ReadError};
use crate::index::{CONTACT_GRAIN_S, IndexResult, Location, Place, ShareKey};
use crate::open::remove_if_there;
use crate::pack::{Record, pack_path, record_len};
use crate::read::share_path;
use crate::store::Store;
use crate::upload::Claim;

/// A share of the batch that is new to the store.
struct Fresh {
    /// Which change it is.
    at: usize,
    location: Location,
}

/// What goes to the end of the pack.
struct Appendix<'c> {
    small: Vec<(usize, &'c NewShare, &'c Bytes)>,
    moves: Vec<(usize, &'c MovedRecord)>,
}

pub(crate) struct Batch<'s> {
    store: &'s Store,
    /// Decided already, and not by the transaction.
    answers: Vec<Option<Answer>>,
    shares: Vec<Fresh>,
    /// Records that were copied: share, old place, new place.
    moved: Vec<(ShareKey, Place, Place)>,
    /// Where the pack ends with what was appended.
    end: Option<u64>,
    /// Packs whose files were removed.
    forgotten: Vec<u32>,
    /// Share files that nothing refers to once the transaction is durable.
    unlinked: Vec<ShareKey>,
    /// Bad shares that nothing refers to by then.
    quarantined: Vec<(ShareKey, Location)>,
}

impl<'s> Batch<'s> {
    pub(crate) fn new(store: &'s Store, changes: &[Change]) -> Self {
        let mut batch = Self {
            store,
            answers: vec![None; changes.len()],
            shares: Vec::new(),
            moved: Vec::new(),
            end: None,
            forgotten: Vec::new(),
            unlinked: Vec::new(),
            quarantined: Vec::new(),
        };
        batch.admit(changes);
        batch
    }

    pub(crate) fn into_answers(self) -> Vec<Answer> {
        self.answers.into_iter().map(|answer| answer.unwrap_or(Err(PutError::Failed))).collect()
    }

    /// Refuses what the store's state forbids.
    fn admit(&mut self, changes: &[Change]) {
        let state = self.store.state();
        for (answer, change) in self.answers.iter_mut().zip(changes) {
            let refused = match change {
                _ if state == StoreState::Failed => Some(PutError::Failed),
                // What is bad is put aside wherever that can be written.
                Change::Tidy(Tidy::Scrub(_)) if self.store.medium_writable => None,
                Change::Share(_) if self.store.is_draining() => Some(PutError::ReadOnly),
                Change::Share(_) | Change::Tidy(_) if state == StoreState::ReadOnly => {
                    Some(PutError::ReadOnly)
                }
                Change::Share(_) if state == StoreState::Failing => Some(PutError::Failing),
                _ if !self.store.medium_writable => Some(PutError::ReadOnly),
                _ => None,
            };
            *answer = refused.map(Err);
        }
    }

    /// Puts the bytes of shares that are new where they belong, durably.
    pub(crate) fn write_shares(&mut self, writer: &mut Writer, changes: &[Change]) {
        let (mut first, mut leasing) = (HashMap::new(), HashSet::new());
        let (mut large, mut copies) = (Vec::new(), Vec::new());
        let mut appendix = Appendix { small: Vec::new(), moves: Vec::new() };
        for (at, change) in changes.iter().enumerate() {
            if self.answers[at].is_some() {
                continue;
            }
            let share = match change {
                Change::Share(share) => share,
                Change::Tidy(Tidy::Move(records)) => {
                    appendix.moves.extend(records.iter().map(|record| (at, record)));
                    continue;
                }
                Change::Tidy(Tidy::Forget(packs)) => {
                    if let Err(error) = self.remove_packs(writer, packs) {
                        self.answers[at] = Some(Err(error));
                    }
                    continue;
                }
                _ => continue,
            };
            if let Some(original) = first.get(&share.key) {
                copies.push((at, *original));
                continue;
            }
            match self.is_here(share) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    self.answers[at] = Some(Err(error));
                    continue;
                }
            }
            // What is over a quota is not even written.
            let new_lease = !leasing.contains(&(share.account, share.key.hash));
            if let Err(error) = self.afford(share, new_lease) {
                self.answers[at] = Some(Err(error));
                continue;
            }
            leasing.insert((share.account, share.key.hash));
            first.insert(share.key, at);
            match &share.bytes {
                ShareBytes::Small(bytes) => appendix.small.push((at, share, bytes)),
                ShareBytes::File(claim) => large.push((at, share, claim)),
            }
        }
        if let Err(error) = self.write_small(writer, &appendix) {
            self.shares.clear();
            self.moved.clear();
            let small = appendix.small.iter().map(|(at, ..)| *at);
            for at in small.chain(appendix.moves.iter().map(|(at, _)| *at)) {
                self.answers[at].get_or_insert(Err(error.clone()));
            }
        }
        self.write_large(writer, &large);
        for (at, original) in copies {
            if let Some(Err(error)) = &self.answers[original] {
                self.answers[at] = Some(Err(error.clone()));
            }
        }
    }

    /// Whether the share is here and good, so that the new copy is not needed. One that cannot be read is replaced; so is a file by a
    /// file, which was just checked while nobody knows how the old one is.
    fn is_here(&self, share: &NewShare) -> Result<bool, PutError> {
        let key = share.key;
        let stored = match self.store.open_share(key) {
            Ok(stored) => stored,
            Err(error) => return self.is_replaced(key, error),
        };
        match &share.bytes {
            _ if stored.in_pack() => Ok(true),
            ShareBytes::File(_) => Ok(false),
            ShareBytes::Small(bytes) => match stored.read(0, bytes.len()) {
                Ok(old) => Ok(old == bytes),
                Err(error) => self.is_replaced(key, error),
            },
        }
    }

    /// Holds of the account's quota, if it has one, what a share that is not here costs it. The transaction decides by what is then.
    fn afford(&self, share: &NewShare, new_lease: bool) -> Result<(), PutError> {
        let Some(hold) = share.hold() else { return Ok(()) };
        let index = self.store.index();
        let unreadable = |error: Box<redb::Error>| self.store.index_error("read the index", *error);
        let mut cost =
            if new_lease { index.cost(&share.account, share.key.hash).map_err(unreadable)? } else { 0 };
        // One that is replaced has its row, and costs nothing more.
        if index.get(share.key).map_err(unreadable)?.is_none() {
            cost = cost.saturating_add(share.location.len);
        }
        hold.reach(cost)
    }

    fn is_replaced(&self, key: ShareKey, error: ReadError) -> Result<bool, PutError> {
        match error {
            ReadError::NotFound => Ok(false),
            ReadError::Busy(error) => Err(PutError::Overloaded { reason: Arc::new(error) }),
            ReadError::Index(error) => Err(self.store.index_error("read the index", *error)),
            error => {
                tracing::warn!(store = %self.store.id(), share = %key, %error, "a share that cannot be read is replaced");
                Ok(false)
            }
        }
    }

    /// Appends small shares, and those of packs that are given up, to the pack: one write, one sync.
    fn write_small(&mut self, writer: &mut Writer, appendix: &Appendix<'_>) -> Result<(), PutError> {
        if appendix.small.is_empty() && appendix.moves.is_empty() {
            return Ok(());
        }
        let mut room = self.store.room().map_err(|e| self.store.failed("ask for free space", e))?;
        self.start_pack(writer)?;
        let (pack, start) = (writer.pack, writer.end.unwrap_or(0));
        let mut records = Vec::new();
        let mut add = |key, bytes: &[u8]| {
            let place = Place::Pack { pack, offset: (start + records.len() as u64) as u32 };
            records.extend_from_slice(&Record::new(key, bytes).to_bytes());
            records.extend_from_slice(bytes);
            place
        };
        for (at, share, bytes) in &appendix.small {
            let needed = record_len(bytes.len());
            if needed > room {
                self.answers[*at] = Some(Err(PutError::NoSpace { needed, available: room }));
                continue;
            }
            room -= needed;
            let place = add(share.key, bytes);
            self.shares.push(Fresh { at: *at, location: Location { place, ..share.location } });
        }
        // These make room, so they may take some of the reserve.
        for (_, record) in &appendix.moves {
            self.moved.push((record.key, record.from, add(record.key, &record.bytes)));
        }
        self.append(writer, &records)?;
        self.end = Some(start + records.len() as u64);
        Ok(())
    }

    /// Removes the files of packs in which nothing is live. Their rows go with the transaction; should that not come to pass, this is done
    /// again.
    fn remove_packs(&mut self, writer: &Writer, packs: &[u32]) -> Result<(), PutError> {
        let known = self.store.index().live();
        for pack in known.map_err(|e| self.store.index_error("read the index", *e))? {
            if !packs.contains(&pack.pack) || pack.live > 0 || pack.pack >= writer.pack {
                continue;
            }
            // Of one that was never begun, a file of that name is not ours.
            if pack.end > 0 {
                self.store.forget_pack_file(pack.pack);
                remove_if_there(&*self.store.disk, &pack_path(pack.pack))
                    .map_err(|e| self.disk_error("remove a pack", e))?;
            }
            self.forgotten.push(pack.pack);
        }
        Ok(())
    }

    /// Gives large shares, which are synced already, their final names: one sync for each directory.
    fn write_large(&mut self, writer: &mut Writer, large: &[(usize, &NewShare, &Claim)]) {
        let (mut dirs, mut placed) = (HashSet::new(), Vec::new());
        for (at, share, claim) in large {
            match self.place_file(writer, share.key, claim) {
                Ok(dir) => {
                    dirs.insert(dir.clone());
                    placed.push((*at, dir));
                    self.shares.push(Fresh { at: *at, location: share.location });
                }
                Err(error) => self.answers[*at] = Some(Err(error)),
            }
        }
        for dir in dirs {
            let Err(error) = self.store.sync_dir(&dir) else { continue };
            // They have their names, but who knows for how long: not acknowledged. Sent again, they are named again.
            for (at, _) in placed.iter().filter(|(_, of)| *of == dir) {
                self.shares.retain(|fresh| fresh.at != *at);
                self.answers[*at] = Some(Err(error.clone()));
            }
        }
    }

    /// Makes sure that there is a pack to append to.
    fn start_pack(&self, writer: &mut Writer) -> Result<(), PutError> {
        if writer.end.is_some() {
            return Ok(());
        }
        loop {
            match self.store.disk.open(&pack_path(writer.pack), OpenMode::CreateNew) {
                Ok(file) => {
                    self.store.sync_dir("packs").inspect_err(|_| {
                        // Empty, and known to nobody: if it stays, its number is passed over.
                        let _ = self.store.disk.remove(&pack_path(writer.pack));
                    })?;
                    self.store.keep_pack_file(writer.pack, file);
                    writer.end = Some(0);
                    return Ok(());
                }
                // One that the index does not know, of a crash before its first commit or of a newer index: it is left alone.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => writer.pack += 1,
                Err(error) => return Err(self.disk_error("create a pack", error)),
            }
        }
    }

    fn append(&self, writer: &Writer, records: &[u8]) -> Result<(), PutError> {
        if records.is_empty() {
            return Ok(());
        }
        let file = self.store.pack_file(writer.pack).map_err(|e| self.disk_error("open a pack", e))?;
        let end = writer.end.unwrap_or(0);
        if let Err(error) = file.write_all_at(records, end) {
            // Whatever of it was written lies beyond the end that counts.
            let _ = file.set_len(end);
            return Err(self.disk_error("append to a pack", error));
        }
        file.sync().map_err(|e| self.store.fence("sync a pack", &e))
    }

    /// Gives a share's file its final name; returns the directory to sync.
    fn place_file(&self, writer: &mut Writer, key: ShareKey, claim: &Claim) -> Result<String, PutError> {
        let disk = &*self.store.disk;
        let path = share_path(key);
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned();
        if !writer.dirs.contains(&dir) {
            disk.create_dir_all(&dir).map_err(|e| self.disk_error("create a directory", e))?;
            self.store.sync_dir("shares")?;
            writer.dirs.insert(dir.clone());
        }
        self.store.scrubber.replaced(key);
        disk.rename(&claim.path(), &path).map_err(|e| self.disk_error("name a share", e))?;
        claim.forget_partial();
        claim.place_groups(key);
        Ok(dir)
    }

    fn disk_error(&self, action: &'static str, error: io::Error) -> PutError {
        match is_full(&error) {
            true => PutError::NoSpace { needed: 0, available: 0 },
            false => self.store.failed(action, error),
        }
    }

    /// After the medium broke its word nothing of the batch counts.
    pub(crate) fn refuse_all(&mut self) {
        for answer in &mut self.answers {
            answer.get_or_insert(Err(PutError::Failed));
        }
    }

    /// Where the pack ends with this batch.
    pub(crate) fn pack_end(&self, writer: &Writer) -> Option<(u32, u64)> {
        self.end.map(|end| (writer.pack, end))
    }

    pub(crate) fn write_index(&mut self, changes: &[Change], writer: &Writer) -> IndexResult<()> {
        let index = self.store.index();
        if !self.has_work(changes)? {
            return Ok(());
        }
        let uptime_s = self.store.uptime_s();
        let end = self.pack_end(writer);
        let (answers, unlinked, totals, charges, holds) = index.write(|rows| {
            rows.totals.uptime_s = rows.totals.uptime_s.max(uptime_s);
            if let Some((pack, end)) = end {
                rows.set_pack(pack, end)?;
            }
            let mut apply = Apply {
                rows,
                store: self.store,
                fresh: self.fresh(changes),
                moved: self.moved.clone(),
                forgotten: self.forgotten.clone(),
                pack: writer.pack,
                holds: Vec::new(),
            };
            let mut answers = self.answers.clone();
            apply.all(changes, &mut answers)?;
            let (unlinked, holds) = (apply.refused_files()?, apply.holds);
            Ok((answers, unlinked, rows.totals, rows.charges()?, holds))
        })?;
        if let Some(ledger) = self.store.ledger.get() {
            let shares = changes.iter().filter_map(|change| match change {
                Change::Share(share) => share.hold(),
                _ => None,
            });
            ledger.settle(self.store, &charges, &holds.iter().chain(shares).collect::<Vec<_>>());
        }
        self.unlinked = unlinked;
        for answer in answers.iter().flatten() {
            if let Ok(Outcome::Tidied(done)) = answer {
                let shares = done.removed.iter().flat_map(|removed| &removed.shares);
                let files = shares.chain(&done.handed).filter(|(_, location)| location.place == Place::File);
                self.unlinked.extend(files.map(|(key, _)| *key));
                self.quarantined.extend(done.quarantined);
            }
        }
        self.answers = answers;
        self.store.set_totals(totals);
        self.store.collector.changed();
        Ok(())
    }

    fn fresh(&self, changes: &[Change]) -> BTreeMap<ShareKey, Location> {
        let share = |fresh: &Fresh| match &changes[fresh.at] {
            Change::Share(share) => Some((share.key, fresh.location)),
            _ => None,
        };
        self.shares.iter().filter_map(share).collect()
    }

    /// Removes files that nothing refers to any more. Whoever calls this still has the writer, so that none of them is one that came anew.
    pub(crate) fn unlink(&self) {
        for key in &self.unlinked {
            self.store.remove_groups(*key);
            if let Err(error) = remove_if_there(&*self.store.disk, &share_path(*key)) {
                tracing::warn!(store = %self.store.id(), share = %key, %error, "a share's file could not be removed: it will be taken in again");
            }
        }
        self.quarantined.iter().for_each(|(key, location)| self.store.quarantine(*key, location));
    }

    /// Of each change, whether it is a share whose bytes were put where they belong.
    fn placed(&self) -> Vec<bool> {
        let mut placed = vec![false; self.answers.len()];
        self.shares.iter().for_each(|fresh| placed[fresh.at] = true);
        placed
    }

    /// Notes of contact alone, all of them fresh, need no transaction; they are answered here.
    fn has_work(&mut self, changes: &[Change]) -> IndexResult<bool> {
        let index = self.store.index();
        let now = self.store.uptime_s();
        let mut work = false;
        for (change, answer) in changes.iter().zip(&mut self.answers) {
            if answer.is_some() {
                continue;
            }
            if let Change::Contact { account } = change {
                let last = index.last_contact(account)?;
                if last.is_none_or(|last| now.saturating_sub(last) < CONTACT_GRAIN_S) {
                    *answer = Some(Ok(Outcome::Flags(Vec::new())));
                    continue;
                }
            }
            work = true;
        }
        Ok(work)
    }

    /// The transaction did not come to pass, or nobody knows. For lack of room the store goes on, with the index opened again.
    pub(crate) fn index_failed(&mut self, writer: &mut Writer, changes: &[Change], source: &redb::Error) {
        let store = self.store;
        let health = store.index().health.clone();
        let full = health.full.load(std::sync::atomic::Ordering::Acquire);
        let short = health.short.load(std::sync::atomic::Ordering::Acquire);
        let broken = health.sync_failed.load(std::sync::atomic::Ordering::Acquire);
        let mut error = match full {
            true => PutError::NoSpace { needed: 0, available: 0 },
            false => {
                PutError::Overloaded { reason: Arc::new(io::Error::other("the index could not be written")) }
            }
        };
        if !(full || short) || broken {
            error = store.fence("commit to the index", source);
        } else if let Err(source) = self.recover(writer, changes) {
            error = store.index_error("open the index again", *source);
        }
        for answer in &mut self.answers {
            answer.get_or_insert_with(|| Err(error.clone()));
        }
    }

    fn recover(&mut self, writer: &mut Writer, changes: &[Change]) -> IndexResult<()> {
        tracing::warn!(store = %self.store.id(), "the index could not be written: opening it again");
        let index = self.store.reopen_index()?;
        self.store.set_totals(index.totals()?);
        if let Some((_, end)) = index.packs()?.into_iter().find(|(pack, _)| *pack == writer.pack) {
            writer.end = Some(end);
        }
        for fresh in &self.shares {
            let Change::Share(share) = &changes[fresh.at] else { continue };
            if fresh.location.place == Place::File && index.get(share.key)?.is_none() {
                // Nothing refers to it: as if it had never been.
                let _ = self.store.disk.remove(&share_path(share.key));
                self.store.remove_groups(share.key);
            }
        }
        Ok(())
    }

    /// Copies of shares that were here already have had their use.
    pub(crate) fn settle(&self, changes: &[Change]) {
        for ((change, answer), placed) in changes.iter().zip(&self.answers).zip(self.placed()) {
            let Change::Share(NewShare { bytes: ShareBytes::File(claim), .. }) = change else { continue };
            if matches!(answer, Some(Ok(_))) && !placed {
                claim.discard();
            }
        }
    }
}
