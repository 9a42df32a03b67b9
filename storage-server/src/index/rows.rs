//! Shares, slots and packs within a transaction.

use caps::VerifyHash;
use redb::ReadableTable;

use super::{IndexResult, LIVE, Location, Place, Rows, ShareKey, bounds, boxed, damaged_slot};
use crate::pack::record_len;
use crate::slot::SlotRow;

impl Rows<'_> {
    /// Adds a share, or gives one that is there another place; says whether it is new. Whoever leases the object is charged for it.
    pub(crate) fn add_share(&mut self, key: ShareKey, location: &Location) -> IndexResult<bool> {
        let old = self.shares.write()?.insert(&key.to_bytes(), &location.to_bytes()).map_err(boxed)?;
        let old = old.map(|old| Location::parse(old.value()));
        let old_len = old.map_or(0, |old| old.len);
        self.totals.used = self.totals.used + location.len - old_len;
        self.count_live(location, 1);
        if let Some(old) = &old {
            self.count_live(old, -1);
        }
        if location.len != old_len {
            self.charge_all(key.hash, location.len as i64 - old_len as i64)?;
        }
        if old.is_some() {
            return Ok(false);
        }
        // Small objects are sent without asking who has them: nobody looks for their lengths.
        if location.place == Place::File {
            let length = (location.bucket, location.ciphertext_len);
            let count = self.lengths.read()?.get(length).map_err(boxed)?.map_or(0, |count| count.value());
            self.lengths.write()?.insert(length, count + 1).map_err(boxed)?;
        }
        self.totals.shares += 1;
        Ok(true)
    }

    /// Takes a share out. Its bytes are for whoever calls this to remove, once the transaction is durable.
    pub(crate) fn remove_share(&mut self, key: ShareKey) -> IndexResult<Option<Location>> {
        let old = self.shares.write()?.remove(&key.to_bytes()).map_err(boxed)?;
        let Some(old) = old.map(|old| Location::parse(old.value())) else { return Ok(None) };
        self.totals.used = self.totals.used.saturating_sub(old.len);
        self.totals.shares = self.totals.shares.saturating_sub(1);
        self.count_live(&old, -1);
        self.charge_all(key.hash, -(old.len as i64))?;
        if old.place == Place::File {
            let length = (old.bucket, old.ciphertext_len);
            let count = self.lengths.read()?.get(length).map_err(boxed)?.map_or(0, |count| count.value());
            if count > 1 {
                self.lengths.write()?.insert(length, count - 1).map_err(boxed)?;
            } else {
                self.lengths.write()?.remove(length).map_err(boxed)?;
            }
        }
        Ok(Some(old))
    }

    /// Gives a share of a pack another place, if it still has this one.
    pub(crate) fn move_share(&mut self, key: ShareKey, from: Place, to: Place) -> IndexResult<bool> {
        match self.share(key)?.filter(|row| row.place == from) {
            Some(row) => self.add_share(key, &Location { place: to, ..row }).map(|_| true),
            None => Ok(false),
        }
    }

    /// The shares of an object.
    pub(super) fn shares_of(&self, hash: VerifyHash) -> IndexResult<Vec<(ShareKey, Location)>> {
        let (first, last) = bounds(hash);
        let rows = self.shares.read()?.range::<&[u8; 34]>(&first..=&last).map_err(boxed)?;
        rows.map(|row| {
            let (key, value) = row.map_err(boxed)?;
            Ok((ShareKey::parse(key.value()), Location::parse(value.value())))
        })
        .collect()
    }

    /// Whether there is any share of this object.
    pub(super) fn has_shares(&self, hash: VerifyHash) -> IndexResult<bool> {
        let (first, last) = bounds(hash);
        Ok(self.shares.read()?.range::<&[u8; 34]>(&first..=&last).map_err(boxed)?.next().is_some())
    }

    /// Whether there is any share of this object, or anything of this slot.
    pub(crate) fn has_object(&self, hash: VerifyHash) -> IndexResult<bool> {
        Ok(self.has_shares(hash)? || self.has_slot(&hash)?)
    }

    pub(super) fn has_slot(&self, hash: &VerifyHash) -> IndexResult<bool> {
        Ok(self.slots.read()?.get(hash.as_bytes()).map_err(boxed)?.is_some())
    }

    /// What is kept of a slot.
    pub(crate) fn slot(&self, hash: &VerifyHash) -> IndexResult<Option<SlotRow>> {
        let row = self.slots.read()?.get(hash.as_bytes()).map_err(boxed)?;
        row.map(|row| SlotRow::parse(row.value()).ok_or_else(damaged_slot)).transpose()
    }

    /// Keeps this of a slot.
    pub(crate) fn set_slot(&mut self, hash: &VerifyHash, row: &SlotRow) -> IndexResult<()> {
        let bytes = row.to_bytes();
        let old = self.slots.write()?.insert(hash.as_bytes(), &bytes[..]).map_err(boxed)?;
        let old_len = old.as_ref().map(|old| old.value().len() as u64);
        self.totals.slots += u64::from(old_len.is_none());
        self.totals.used = (self.totals.used + bytes.len() as u64).saturating_sub(old_len.unwrap_or(0));
        drop(old);
        self.changed_slots.push((*hash, row.clone()));
        Ok(())
    }

    /// How far a pack is written.
    pub(crate) fn set_pack(&mut self, pack: u32, end: u64) -> IndexResult<()> {
        self.packs.write()?.insert(pack, end).map_err(boxed)?;
        Ok(())
    }

    /// Forgets packs whose files are gone. `next`, the pack that is written or will be, is known from then on, so that no number is given
    /// twice.
    pub(crate) fn forget_packs(&mut self, packs: &[u32], next: u32) -> IndexResult<()> {
        for pack in packs {
            self.packs.write()?.remove(*pack).map_err(boxed)?;
            self.packs.write()?.remove(*pack | LIVE).map_err(boxed)?;
        }
        let last = self.packs.read()?.range(..LIVE).map_err(boxed)?.next_back();
        let last = last.transpose().map_err(boxed)?.map(|(pack, _)| pack.value());
        if !packs.is_empty() && last.is_none_or(|last| last < next) {
            self.packs.write()?.insert(next, 0).map_err(boxed)?;
        }
        Ok(())
    }

    /// Where a share lies.
    pub(crate) fn share(&self, key: ShareKey) -> IndexResult<Option<Location>> {
        let row = self.shares.read()?.get(&key.to_bytes()).map_err(boxed)?;
        Ok(row.map(|row| Location::parse(row.value())))
    }

    fn count_live(&mut self, location: &Location, sign: i64) {
        if let Place::Pack { pack, .. } = location.place {
            *self.live_by.entry(pack).or_default() += sign * record_len(location.len as usize) as i64;
        }
    }

    /// Writes what was gathered of counters.
    pub(super) fn settle(&mut self) -> IndexResult<()> {
        for (pack, by) in std::mem::take(&mut self.live_by) {
            let old = self.packs.read()?.get(pack | LIVE).map_err(boxed)?.map_or(0, |live| live.value());
            self.packs.write()?.insert(pack | LIVE, old.saturating_add_signed(by)).map_err(boxed)?;
        }
        self.settle_charges()
    }
}
