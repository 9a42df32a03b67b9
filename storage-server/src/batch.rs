//! One batch of changes: bytes first, then the one transaction that makes them count.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use encoding::slot::MAX_RECORD_LEN;
use protocol::message::{LeaseTerms, StoreState};
use protocol::slot_message::Verdict;

use crate::backend::is_full;
use crate::commit::{Answer, Change, Committed, NewShare, Outcome, ShareBytes, SlotChange, Writer};
use crate::disk::OpenMode;
use crate::error::{PutError, ReadError};
use crate::index::{CONTACT_GRAIN_S, IndexResult, Location, Place, Rows, ShareKey, WHILE_ALIVE};
use crate::pack::{Record, pack_path, record_len};
use crate::read::share_path;
use crate::slot::{Moved, SlotRow, decide};
use crate::store::Store;
use crate::upload::Claim;

/// A share of the batch that is new to the store.
struct Fresh {
    /// Which change it is.
    at: usize,
    location: Location,
}

pub(crate) struct Batch<'s> {
    store: &'s Store,
    /// Decided already, and not by the transaction.
    answers: Vec<Option<Answer>>,
    shares: Vec<Fresh>,
}

impl<'s> Batch<'s> {
    pub(crate) fn new(store: &'s Store, changes: &[Change]) -> Self {
        let mut batch = Self { store, answers: vec![None; changes.len()], shares: Vec::new() };
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
                Change::Share(_) if state == StoreState::ReadOnly => Some(PutError::ReadOnly),
                _ if !self.store.medium_writable => Some(PutError::ReadOnly),
                _ => None,
            };
            *answer = refused.map(Err);
        }
    }

    /// Puts the bytes of shares that are new where they belong, durably.
    pub(crate) fn write_shares(&mut self, writer: &mut Writer, changes: &[Change]) {
        let mut first = HashMap::new();
        let (mut small, mut large, mut copies) = (Vec::new(), Vec::new(), Vec::new());
        for (at, change) in changes.iter().enumerate() {
            let Change::Share(share) = change else { continue };
            if self.answers[at].is_some() {
                continue;
            }
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
            first.insert(share.key, at);
            match &share.bytes {
                ShareBytes::Small(bytes) => small.push((at, share, bytes)),
                ShareBytes::File(claim) => large.push((at, share, claim)),
            }
        }
        if let Err(error) = self.write_small(writer, &small) {
            self.shares.clear();
            for (at, ..) in small {
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

    /// Appends small shares to the pack: one write, one sync.
    fn write_small(
        &mut self,
        writer: &mut Writer,
        small: &[(usize, &NewShare, &Bytes)],
    ) -> Result<(), PutError> {
        if small.is_empty() {
            return Ok(());
        }
        let mut room = self.store.room().map_err(|e| self.store.failed("ask for free space", e))?;
        self.start_pack(writer)?;
        let mut records = Vec::new();
        for (at, share, bytes) in small {
            let needed = record_len(bytes.len());
            if needed > room {
                self.answers[*at] = Some(Err(PutError::NoSpace { needed, available: room }));
                continue;
            }
            room -= needed;
            let offset = writer.end.unwrap_or(0) + records.len() as u64;
            let place = Place::Pack { pack: writer.pack, offset: offset as u32 };
            records.extend_from_slice(&Record::new(share.key, bytes).to_bytes());
            records.extend_from_slice(bytes);
            self.shares.push(Fresh { at: *at, location: Location { place, ..share.location } });
        }
        self.append(writer, &records)
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
        disk.rename(&claim.path(), &path).map_err(|e| self.disk_error("name a share", e))?;
        claim.forget_partial();
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
        let ends = self.shares.iter().filter_map(|fresh| match fresh.location.place {
            Place::Pack { offset, .. } => Some(u64::from(offset) + record_len(fresh.location.len as usize)),
            Place::File => None,
        });
        ends.max().map(|end| (writer.pack, end))
    }

    pub(crate) fn write_index(&mut self, changes: &[Change], end: Option<(u32, u64)>) -> IndexResult<()> {
        let index = self.store.index();
        if !self.has_work(changes)? {
            return Ok(());
        }
        let uptime_s = self.store.uptime_s();
        let placed = self.placed();
        let (answers, totals) = index.write(|rows| {
            rows.totals.uptime_s = rows.totals.uptime_s.max(uptime_s);
            for fresh in &self.shares {
                if let Change::Share(share) = &changes[fresh.at] {
                    rows.add_share(share.key, &fresh.location)?;
                }
            }
            if let Some((pack, end)) = end {
                rows.set_pack(pack, end)?;
            }
            let open = changes.iter().zip(&self.answers).zip(placed);
            let answers: IndexResult<Vec<Option<Answer>>> =
                open.map(|((change, decided), new)| apply(rows, self.store, change, decided, new)).collect();
            Ok((answers?, rows.totals))
        })?;
        self.answers = answers;
        self.store.set_totals(totals);
        Ok(())
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

fn ends(rows: &Rows<'_>, terms: &LeaseTerms) -> u64 {
    match terms.duration_s {
        Some(seconds) => rows.totals.uptime_s.saturating_add(seconds).min(WHILE_ALIVE - 1),
        None => WHILE_ALIVE,
    }
}

/// Whether a slot may come in, leased, or grow: where there is room for the largest it may become.
fn admit_slot(store: &Store, change: &SlotChange, new: bool) -> Result<(), PutError> {
    if store.state() != StoreState::Writable {
        return Err(PutError::ReadOnly);
    }
    if new && change.lease.is_none() {
        return Err(PutError::NoLease);
    }
    let available = store.room().map_err(|e| store.failed("ask for free space", e))?;
    let needed = MAX_RECORD_LEN as u64;
    if available < needed { Err(PutError::NoSpace { needed, available }) } else { Ok(()) }
}

/// Decides a move by what the slot is now, within the transaction that makes it so.
fn apply_slot(rows: &mut Rows<'_>, store: &Store, change: &SlotChange) -> IndexResult<Answer> {
    let row = rows.slot(&change.hash)?;
    let Moved { verdict, row: moved } = decide(&store.member(), &change.hash, row.clone(), &change.step);
    if let Some(moved) = &moved {
        let grows = row.as_ref().map_or(0, SlotRow::len) < moved.len();
        if grows && let Err(error) = admit_slot(store, change, row.is_none()) {
            return Ok(Err(error));
        }
        rows.set_slot(&change.hash, moved)?;
    }
    if let Some((account, terms)) = &change.lease
        && matches!(verdict, Verdict::Yes | Verdict::Kept)
    {
        let (short, ends) = (rows.contact(account)?, ends(rows, terms));
        rows.lease(short, terms.tag.0, change.hash, ends)?;
    }
    Ok(Ok(Outcome::Slot(verdict, moved.or(row))))
}

fn apply(
    rows: &mut Rows<'_>,
    store: &Store,
    change: &Change,
    decided: &Option<Answer>,
    new: bool,
) -> IndexResult<Option<Answer>> {
    if decided.is_some() {
        return Ok(decided.clone());
    }
    let outcome = match change {
        Change::Share(share) => {
            let short = rows.contact(&share.account)?;
            let ends = ends(rows, &share.lease);
            rows.lease(short, share.lease.tag.0, share.key.hash, ends)?;
            Outcome::Stored(Committed { hash: share.key.hash, new })
        }
        Change::Lease { account, terms, hashes } => {
            let here: IndexResult<Vec<bool>> = hashes.iter().map(|hash| rows.has_object(*hash)).collect();
            let here = here?;
            if here.contains(&true) {
                let (short, ends) = (rows.contact(account)?, ends(rows, terms));
                for (hash, _) in hashes.iter().zip(&here).filter(|(_, here)| **here) {
                    rows.lease(short, terms.tag.0, *hash, ends)?;
                }
            }
            Outcome::Flags(here)
        }
        Change::Cancel { account, tag, hashes } => match rows.known(account)? {
            None => Outcome::Flags(vec![false; hashes.len()]),
            Some(short) => {
                let gone: IndexResult<Vec<bool>> =
                    hashes.iter().map(|hash| rows.cancel(short, *tag, *hash)).collect();
                Outcome::Flags(gone?)
            }
        },
        Change::Slot(change) => return apply_slot(rows, store, change).map(Some),
        Change::Contact { account } => {
            if rows.known(account)?.is_some() {
                rows.contact(account)?;
            }
            Outcome::Flags(Vec::new())
        }
    };
    Ok(Some(Ok(outcome)))
}
