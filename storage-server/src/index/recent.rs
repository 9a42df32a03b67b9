//! Rows of slots in memory, as they were last made durable.
//!
//! Whoever resolves a path asks a quorum about each directory on it, again and again. Such a read is answered where it arrives, and not
//! handed to a thread that may wait for a disk: that handing over costs more than the answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use caps::VerifyHash;

use crate::slot::SlotRow;

/// Bytes of rows, about: when the younger half is full, the older one is forgotten.
const HALF_LEN: usize = 2 * 1024 * 1024;

/// Rows that were read or written lately. What is being changed is not among them from before its transaction is committed until that is
/// durable: nobody is shown the old row after somebody else was shown the new one.
#[derive(Default)]
pub(super) struct Recent(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    young: HashMap<VerifyHash, Arc<SlotRow>>,
    young_len: usize,
    old: HashMap<VerifyHash, Arc<SlotRow>>,
    /// Counts the beginnings and ends of changes.
    changes: u64,
    /// Whether one is under way: what is read now may be from before it or after.
    changing: bool,
}

/// When a row was read: it is kept only if nothing was changed since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Since(u64);

impl Recent {
    /// The row of this slot, if it is known.
    pub(super) fn get(&self, hash: &VerifyHash) -> Option<Arc<SlotRow>> {
        let mut rows = self.lock();
        if let Some(row) = rows.young.get(hash) {
            return Some(row.clone());
        }
        let row = rows.old.remove(hash)?;
        rows.keep(*hash, row.clone());
        Some(row)
    }

    /// To be asked for before a row is read.
    pub(super) fn since(&self) -> Since {
        Since(self.lock().changes)
    }

    /// Keeps a row that was read, unless something may have changed it meanwhile.
    pub(super) fn was_read(&self, hash: &VerifyHash, row: &SlotRow, since: Since) {
        let mut rows = self.lock();
        if since == Since(rows.changes) && !rows.changing {
            rows.keep(*hash, Arc::new(row.clone()));
        }
    }

    /// These rows are about to be changed. If that fails, the index is given up, and this with it.
    pub(super) fn changing(&self, changed: &[(VerifyHash, SlotRow)]) {
        if changed.is_empty() {
            return;
        }
        let mut rows = self.lock();
        rows.changes += 1;
        rows.changing = true;
        for (hash, _) in changed {
            if let Some(row) = rows.young.remove(hash) {
                rows.young_len -= row.len();
            }
            rows.old.remove(hash);
        }
    }

    /// They were, durably. No other change of slots was begun meanwhile: whoever makes one holds the store's `Writer`.
    pub(super) fn changed(&self, changed: Vec<(VerifyHash, SlotRow)>) {
        if changed.is_empty() {
            return;
        }
        let mut rows = self.lock();
        // Who read an old row while this was committed does not keep it.
        rows.changes += 1;
        rows.changing = false;
        changed.into_iter().for_each(|(hash, row)| rows.keep(hash, Arc::new(row)));
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Rows {
    fn keep(&mut self, hash: VerifyHash, row: Arc<SlotRow>) {
        self.young_len += row.len();
        if let Some(before) = self.young.insert(hash, row) {
            self.young_len -= before.len();
        }
        self.old.remove(&hash);
        if self.young_len > HALF_LEN {
            self.old = std::mem::take(&mut self.young);
            self.young_len = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use encoding::slot::{Ballot, RecordHash};

    use super::*;
    use crate::slot::HeldRecord;

    fn row(counter: u64, len: usize) -> SlotRow {
        let ballot = Ballot { counter, ..Ballot::default() };
        let held = HeldRecord { ballot, hash: RecordHash([0; 32]), tombstone: false, bytes: vec![0; len] };
        SlotRow { promised: ballot, incarnation: 1, held }
    }

    fn hash(number: u16) -> VerifyHash {
        let mut hash = [0; 32];
        hash[..2].copy_from_slice(&number.to_le_bytes());
        VerifyHash::new(hash)
    }

    fn counter(recent: &Recent, number: u16) -> Option<u64> {
        recent.get(&hash(number)).map(|row| row.promised.counter)
    }

    #[test]
    fn what_was_read_stays_until_it_is_changed() {
        let recent = Recent::default();
        recent.was_read(&hash(1), &row(1, 100), recent.since());
        assert_eq!(counter(&recent, 1), Some(1));
        let changed = vec![(hash(1), row(2, 100))];
        recent.changing(&changed);
        assert_eq!(counter(&recent, 1), None, "neither the old row nor the new one is sure");
        recent.changed(changed);
        assert_eq!(counter(&recent, 1), Some(2));
    }

    #[test]
    fn an_old_row_is_never_kept_past_a_change() {
        for read_at in 0..3 {
            for kept_at in read_at..3 {
                let recent = Recent::default();
                let changed = vec![(hash(1), row(2, 100))];
                let mut since = None;
                for moment in 0..3 {
                    if moment == read_at {
                        since = Some(recent.since());
                    }
                    if moment == kept_at {
                        recent.was_read(&hash(1), &row(1, 100), since.expect("it was read"));
                    }
                    let shown = counter(&recent, 1);
                    match moment {
                        0 => recent.changing(&changed),
                        1 => {
                            assert_eq!(shown, None, "read at {read_at}, kept at {kept_at}");
                            recent.changed(changed.clone());
                        }
                        // A row that is read only now is not the old one.
                        _ if read_at < 2 => {
                            assert_eq!(shown, Some(2), "read at {read_at}, kept at {kept_at}")
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_stays() {
        let recent = Recent::default();
        for number in 0..2000 {
            recent.was_read(&hash(number), &row(1, 10_000), recent.since());
            assert!(number == 0 || counter(&recent, 0) == Some(1), "it is asked for all the while");
        }
        let rows = recent.lock();
        let kept: usize = rows.young.values().chain(rows.old.values()).map(|row| row.len()).sum();
        assert!(kept <= 2 * HALF_LEN + 20_000, "{kept} bytes");
        assert!(rows.young.len() + rows.old.len() > 200);
    }
}
