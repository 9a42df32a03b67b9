//! Room for what comes in: what nobody leases any more makes way for it, before it is refused.

use std::io;
use std::sync::Arc;

use encoding::slot::MAX_RECORD_LEN;
use protocol::message::StoreState;

use crate::collect::Tidy;
use crate::commit::{Change, Outcome, Writer};
use crate::compact::Rewrite;
use crate::index::Scope;
use crate::store::{Store, lock};

/// A pack that is still written is given up for its dead bytes from so many on.
const DEAD_MIN: u64 = 1024 * 1024;

impl Store {
    /// Bytes that may be promised; where those are fewer than `needed`, after what may go has gone.
    pub(crate) fn room_for(self: &Arc<Self>, needed: u64) -> io::Result<u64> {
        let room = self.room()?;
        if room >= needed {
            return Ok(room);
        }
        self.make_room(&mut lock(&self.writer), needed)
    }

    /// Bytes that may be promised, and those that could be after all that may go has gone.
    pub(crate) fn room_and_more(&self) -> io::Result<(u64, u64)> {
        let room = self.room()?;
        let partial = lock(&self.uploads).idle_bytes();
        let could = room.saturating_add(self.dying_bytes()).saturating_add(self.dead_bytes());
        Ok((room, could.saturating_add(partial)))
    }

    /// Before a batch is written.
    pub(crate) fn find_room(self: &Arc<Self>, writer: &mut Writer, changes: &[Change]) {
        let mut needed: u64 =
            changes.iter().filter(|change| !matches!(change, Change::Tidy(_))).map(Change::appended).sum();
        if changes.iter().any(|change| matches!(change, Change::Slot(_))) {
            needed += MAX_RECORD_LEN as u64;
        }
        // Where the room cannot be found out, the one that writes is told.
        if needed > 0 && self.room().is_ok_and(|room| room < needed) {
            let _ = self.make_room(writer, needed);
        }
    }

    /// Removes objects whose leases have ended, the oldest first, and then interrupted uploads, until there is room. Nothing goes that is
    /// leased or that was found without a lease; and nothing at all where it would not do.
    fn make_room(self: &Arc<Self>, writer: &mut Writer, needed: u64) -> io::Result<u64> {
        let mut room = self.room()?;
        if self.state() != StoreState::Writable || needed <= room {
            return Ok(room);
        }
        if self.room_and_more()?.1 < needed {
            return Ok(room);
        }
        loop {
            let removed = self.collect_now(writer, Scope::Room(needed - room));
            room = self.room()?;
            if room >= needed || !removed {
                break;
            }
        }
        if room < needed {
            self.rewrite_now(writer);
            room = self.room()?;
        }
        while room < needed && self.discard_oldest_partial(None) {
            room = self.room()?;
        }
        Ok(room)
    }

    fn collect_now(&self, writer: &mut Writer, scope: Scope) -> bool {
        match self.tidy_locked(writer, Tidy::Collect(scope)) {
            Some(Outcome::Tidied(done)) => {
                self.log_removed(&done.removed);
                !done.removed.is_empty()
            }
            _ => false,
        }
    }

    /// Gives back what is dead in packs.
    fn rewrite_now(&self, writer: &mut Writer) {
        let used = self.index().live().unwrap_or_default();
        let current = used.into_iter().find(|used| used.pack == writer.pack);
        if current.is_some_and(|used| used.live < used.end / 2 && used.end - used.live >= DEAD_MIN) {
            writer.finish_pack();
        }
        let mut rewrite = Rewrite::default();
        while let Ok(Some(step)) = self.packs_step_before(&mut rewrite, writer.pack) {
            if self.tidy_locked(writer, step).is_none() {
                break;
            }
        }
    }

    pub(crate) fn tidy_locked(&self, writer: &mut Writer, tidy: Tidy) -> Option<Outcome> {
        self.commit_locked(writer, &[Change::Tidy(tidy)]).pop()?.ok()
    }

    /// Bytes in packs to which nothing refers.
    pub fn dead_bytes(&self) -> u64 {
        let packs = self.index().live().unwrap_or_default();
        packs.iter().map(|used| used.end.saturating_sub(used.live)).sum()
    }
}
