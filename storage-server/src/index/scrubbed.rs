//! How far the scrubbing of a store is, and what it found (`docs/spec/store.md`, "Scrub").

use redb::{ReadableDatabase, ReadableTable};

use super::leases::timed_key;
use super::{Index, IndexResult, Location, Reason, Rows, SHARES, ShareKey, boxed};

/// Counters of scrubbing, kept over all runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ScrubTotals {
    /// Shares that were hashed.
    pub(crate) checked: u64,
    /// Shares that were bad.
    pub(crate) bad: u64,
    /// Those that the medium could not read, since the last pass without any.
    pub(crate) unreadable: u64,
    /// Of these, those of this pass.
    pub(crate) unreadable_now: u64,
    /// Passes over all shares.
    pub(crate) passes: u64,
    /// When the last one ended, by the wall clock; 0 if none did.
    pub(crate) finished_s: u64,
    /// When this one began, by the wall clock; 0 if none did.
    pub(crate) began_s: u64,
    /// The same, by uptime.
    pub(crate) began_uptime_s: u64,
    /// Bytes of shares that were hashed in this pass.
    pub(crate) done: u64,
    /// Where this one goes on: the first eight bytes of H.
    pub(crate) at: u64,
}

impl ScrubTotals {
    pub(super) fn read(mut get: impl FnMut(&'static str) -> IndexResult<u64>) -> IndexResult<Self> {
        let mut totals = Self::default();
        for (name, field) in totals.fields() {
            *field = get(name)?;
        }
        Ok(totals)
    }

    pub(super) fn rows(mut self) -> [(&'static str, u64); 10] {
        self.fields().map(|(name, field)| (name, *field))
    }

    fn fields(&mut self) -> [(&'static str, &mut u64); 10] {
        [
            ("scrub_checked", &mut self.checked),
            ("scrub_bad", &mut self.bad),
            ("scrub_unreadable", &mut self.unreadable),
            ("scrub_unreadable_now", &mut self.unreadable_now),
            ("scrub_passes", &mut self.passes),
            ("scrub_finished_s", &mut self.finished_s),
            ("scrub_began_s", &mut self.began_s),
            ("scrub_began_uptime_s", &mut self.began_uptime_s),
            ("scrub_done", &mut self.done),
            ("scrub_at", &mut self.at),
        ]
    }
}

impl Index {
    /// Shares from `from` on, in order: so many rows at most, and no more once they have so many bytes.
    pub(crate) fn shares_from(
        &self,
        from: ShareKey,
        rows: usize,
        bytes: u64,
    ) -> IndexResult<Vec<(ShareKey, Location)>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let shares = txn.open_table(SHARES).map_err(boxed)?;
        let (mut found, mut sum) = (Vec::new(), 0_u64);
        for row in shares.range::<&[u8; 34]>(&from.to_bytes()..).map_err(boxed)? {
            let (key, value) = row.map_err(boxed)?;
            let location = Location::parse(value.value());
            found.push((ShareKey::parse(key.value()), location));
            sum = sum.saturating_add(location.len);
            if found.len() >= rows || sum >= bytes {
                break;
            }
        }
        Ok(found)
    }
}

impl Rows<'_> {
    /// Takes out a share that is bad, if it still lies there. Its leases stay: should it be stored again, they hold.
    pub(crate) fn lose_share(&mut self, key: ShareKey, location: &Location) -> IndexResult<bool> {
        if self.share(key)?.as_ref() != Some(location) {
            return Ok(false);
        }
        let due = self.due.read()?.get(key.hash.as_bytes()).map_err(boxed)?.map(|due| due.value());
        if let Some(due) = due {
            let row = timed_key(due, key.hash);
            let reason = self.dying.read()?.get(&row).map_err(boxed)?.map(|reason| reason.value());
            if reason != Some(Reason::NeverLeased as u8) {
                self.totals.dying = self.totals.dying.saturating_sub(location.len);
            }
        }
        self.remove_share(key)?;
        if let Some(due) = due
            && !self.has_shares(key.hash)?
        {
            self.due.write()?.remove(key.hash.as_bytes()).map_err(boxed)?;
            self.dying.write()?.remove(&timed_key(due, key.hash)).map_err(boxed)?;
        }
        Ok(true)
    }
}
