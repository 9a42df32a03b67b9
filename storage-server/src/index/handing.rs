//! What handing shares over to other servers asks of the index: the objects one after the other, and for how long anybody wants them.

use std::ops::Bound;

use caps::VerifyHash;
use redb::{ReadTransaction, ReadableDatabase, ReadableTable};

use super::leases::{Reason, timed_key};
use super::{
    DUE, DYING, Index, IndexResult, LEASES, Location, Rows, SHARES, SLOTS, ShareKey, Term, bounds, boxed,
    lease_key, table_of,
};
use crate::slot::SlotRow;

/// An object of which there are shares here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stocked {
    pub(crate) hash: VerifyHash,
    pub(crate) shares: Vec<(ShareKey, Location)>,
    /// Seconds for which somebody wants it, the most there are for as long as an account is alive; `None` if it only waits to be collected.
    pub(crate) wanted_s: Option<u64>,
    /// How many leases there are on it.
    pub(crate) leases: usize,
}

impl Index {
    /// At most `limit` objects after this one, in the order of their hashes. `now` is the uptime, `idle_s` how long stays what nobody ever
    /// leased.
    pub(crate) fn objects_after(
        &self,
        after: Option<VerifyHash>,
        limit: usize,
        now: u64,
        idle_s: u64,
    ) -> IndexResult<Vec<Stocked>> {
        let last = after.map(|hash| bounds(hash).1);
        let from = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        self.stocked((from, Bound::Unbounded), limit, now, idle_s)
    }

    /// One object, if there is anything of it.
    pub(crate) fn object(&self, hash: VerifyHash, now: u64, idle_s: u64) -> IndexResult<Option<Stocked>> {
        let (first, last) = bounds(hash);
        let range = (Bound::Included(&first), Bound::Included(&last));
        Ok(self.stocked(range, 1, now, idle_s)?.pop())
    }

    fn stocked(
        &self,
        range: (Bound<&[u8; 34]>, Bound<&[u8; 34]>),
        limit: usize,
        now: u64,
        idle_s: u64,
    ) -> IndexResult<Vec<Stocked>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let shares = txn.open_table(SHARES).map_err(boxed)?;
        let mut found: Vec<Stocked> = Vec::new();
        for row in shares.range::<&[u8; 34]>(range).map_err(boxed)? {
            let (key, value) = row.map_err(boxed)?;
            let (key, location) = (ShareKey::parse(key.value()), Location::parse(value.value()));
            if let Some(object) = found.last_mut().filter(|object| object.hash == key.hash) {
                object.shares.push((key, location));
                continue;
            }
            if found.len() == limit {
                break;
            }
            found.push(Stocked { hash: key.hash, shares: vec![(key, location)], wanted_s: None, leases: 0 });
        }
        for object in &mut found {
            (object.leases, object.wanted_s) = wanted(&txn, object.hash, now, idle_s)?;
        }
        Ok(found)
    }

    /// How many slots there are of which `counts` says so.
    pub(crate) fn count_slots(&self, counts: impl Fn(&VerifyHash, &SlotRow) -> bool) -> IndexResult<u64> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let Some(slots) = table_of(&txn, SLOTS)? else { return Ok(0) };
        let mut count = 0;
        for row in slots.iter().map_err(boxed)? {
            let (key, value) = row.map_err(boxed)?;
            let hash = VerifyHash::new(*key.value());
            count += u64::from(SlotRow::parse(value.value()).is_some_and(|row| counts(&hash, &row)));
        }
        Ok(count)
    }
}

/// How many leases there are on an object, and for how many seconds it is wanted.
fn wanted(
    txn: &ReadTransaction,
    hash: VerifyHash,
    now: u64,
    idle_s: u64,
) -> IndexResult<(usize, Option<u64>)> {
    let leases = txn.open_table(LEASES).map_err(boxed)?;
    let (first, last) = (lease_key(0, [0; 16], hash), lease_key(u32::MAX, [0xff; 16], hash));
    let (mut count, mut wanted) = (0, None);
    for row in leases.range::<&[u8; 52]>(&first..=&last).map_err(boxed)? {
        let term = Term::of(row.map_err(boxed)?.1.value());
        let left = term.ends.map_or(u64::MAX, |ends| ends.saturating_sub(now));
        count += 1;
        wanted = wanted.max(Some(left).filter(|left| *left > 0));
    }
    let due = table_of(txn, DUE)?.map(|due| due.get(hash.as_bytes())).transpose().map_err(boxed)?.flatten();
    let found = match due.map(|due| due.value()) {
        // It was found without a lease, by a program that did not note that.
        None => (count == 0).then_some(idle_s),
        Some(due) => {
            let dying = table_of(txn, DYING)?;
            let reason = dying.map(|dying| dying.get(&timed_key(due, hash))).transpose().map_err(boxed)?;
            let reason = reason.flatten().map(|reason| Reason::parse(reason.value()));
            let found = reason.is_none_or(|reason| reason == Reason::NeverLeased);
            Some(due.saturating_sub(now)).filter(|left| found && *left > 0)
        }
    };
    Ok((count, wanted.max(found)))
}

impl Rows<'_> {
    /// Takes out a share that another server has by now, unless there are more or fewer leases on its object than when that was decided:
    /// whoever came meanwhile was told that it is here. With the last share of an object go its leases here: they would keep nothing.
    pub(crate) fn hand_off(&mut self, key: ShareKey, leases: usize) -> IndexResult<Option<Location>> {
        let Some(location) = self.share(key)? else { return Ok(None) };
        let (first, last) = (lease_key(0, [0; 16], key.hash), lease_key(u32::MAX, [0xff; 16], key.hash));
        let rows = self.leases.read()?.range::<&[u8; 52]>(&first..=&last).map_err(boxed)?;
        let rows: IndexResult<Vec<[u8; 52]>> =
            rows.map(|row| row.map(|(key, _)| *key.value()).map_err(boxed)).collect();
        let rows = rows?;
        if rows.len() != leases {
            return Ok(None);
        }
        // What nobody wants is not handed over, and is counted among what dies: it goes its own way.
        if self.shares_of(key.hash)?.len() > 1 {
            return self.remove_share(key);
        }
        self.spare(key.hash)?;
        self.remove_share(key)?;
        if self.has_slot(&key.hash)? {
            return Ok(Some(location));
        }
        for lease in rows {
            self.leases.write()?.remove(&lease).map_err(boxed)?;
        }
        Ok(Some(location))
    }
}
