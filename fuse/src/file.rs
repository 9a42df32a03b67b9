//! A file's content while it is open or changed: what the grid has, what is on its way there, and what was written since.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use caps::{Cap, VerifyHash};
use client::ObjectReader;

use crate::extents::Extents;

/// A file that is written from front to back goes past the journal from so many bytes on.
const PAST_THE_JOURNAL: u64 = 16 * 1024 * 1024;

/// The content of one file, from the bottom up: the first `visible` bytes of what the grid has, what is being stored, what was written
/// since. What none of them has is zeros.
#[derive(Default)]
pub(crate) struct File {
    pub(crate) size: u64,
    /// Bytes of the stored content that still show: less than all of them after a truncation.
    pub(crate) visible: u64,
    pub(crate) frozen: Option<Frozen>,
    pub(crate) live: Extents,
    /// Whether the content is another than the stored one.
    pub(crate) changed: bool,
    /// What the grid has, where the file's own cap is that of a slot.
    pub(crate) content: Option<Cap>,
    /// A reader of the stored content, once one was wanted.
    pub(crate) reader: Option<(VerifyHash, ObjectReader)>,
    /// Whether the content became another since it was opened last: what was remembered of it is wrong.
    pub(crate) renewed: bool,
    /// One store at a time.
    pub(crate) storing: Arc<tokio::sync::Mutex<()>>,
    /// Handles that may write.
    pub(crate) writers: u32,
    /// Where the next write begins if it goes on from the last one, and how many bytes were written so in a row.
    pub(crate) run: (u64, u64),
    /// From which byte on what was written since is not in the journal.
    pub(crate) past: Option<u64>,
}

/// What was taken to be stored: it changes no more.
pub(crate) struct Frozen {
    pub(crate) extents: Arc<Extents>,
    /// Bytes of the file when it was taken.
    pub(crate) size: u64,
    /// Bytes of the stored content that showed then.
    pub(crate) visible: u64,
    /// Bytes of all this that still show.
    pub(crate) shows: u64,
    /// From which byte on it is not in the journal.
    past: Option<u64>,
}

/// Where the bytes of a range are.
pub(crate) struct Layout {
    /// Bytes to read.
    pub(crate) range: Range<u64>,
    /// Of them, those to be read from the grid, if they are not all written over.
    pub(crate) stored: Option<Range<u64>>,
    /// Pieces over that, the later over the earlier.
    pub(crate) over: Vec<(u64, Bytes)>,
}

impl File {
    /// One that the grid has.
    pub(crate) fn stored(size: u64) -> Self {
        Self { size, visible: size, ..Self::default() }
    }

    /// One that has just been made.
    pub(crate) fn new() -> Self {
        Self { changed: true, ..Self::default() }
    }

    /// Whether it has content that the grid does not have.
    pub(crate) fn is_busy(&self) -> bool {
        self.changed || self.frozen.is_some()
    }

    /// The grid has another content by now.
    pub(crate) fn renew(&mut self, size: u64) {
        let (storing, writers) = (self.storing.clone(), self.writers);
        *self = Self { storing, writers, renewed: true, ..Self::stored(size) };
    }

    /// Bytes in memory that the grid does not have.
    pub(crate) fn dirty(&self) -> u64 {
        self.live.weight() + self.frozen.as_ref().map_or(0, |frozen| frozen.extents.weight())
    }

    pub(crate) fn write(&mut self, at: u64, bytes: Bytes) {
        let end = at + bytes.len() as u64;
        self.run = (end, if at == self.run.0 { self.run.1 + bytes.len() as u64 } else { bytes.len() as u64 });
        self.live.write(at, bytes);
        self.size = self.size.max(end);
        self.changed = true;
    }

    pub(crate) fn truncate(&mut self, size: u64) {
        self.live.truncate(size);
        self.visible = self.visible.min(size);
        if let Some(frozen) = &mut self.frozen {
            frozen.shows = frozen.shows.min(size);
        }
        self.changed |= self.size != size;
        self.size = size;
        self.past = self.past.filter(|past| *past < size);
    }

    /// Takes what there is to be stored; `false` if nothing changed.
    pub(crate) fn freeze(&mut self) -> bool {
        if !self.changed || self.frozen.is_some() {
            return false;
        }
        let extents = Arc::new(std::mem::take(&mut self.live));
        if extents.bytes() < PAST_THE_JOURNAL {
            // A log that grows line by line never becomes one long stretch.
            self.run.1 = 0;
        }
        let (size, past) = (self.size, self.past.take());
        self.frozen = Some(Frozen { extents, size, visible: self.visible, shows: size, past });
        self.changed = false;
        true
    }

    /// Does it again, as the journal tells: it does not know of all that was written, but how long the file was.
    pub(crate) fn freeze_again(&mut self, size: u64) {
        self.thaw();
        (self.size, self.changed) = (size, true);
        self.freeze();
    }

    /// What was frozen is stored.
    pub(crate) fn stored_frozen(&mut self) {
        if let Some(frozen) = self.frozen.take() {
            self.visible = frozen.shows;
            self.reader = None;
        }
    }

    /// What was frozen could not be stored: it is as if it had not been taken.
    pub(crate) fn thaw(&mut self) {
        let Some(frozen) = self.frozen.take() else { return };
        let above = std::mem::take(&mut self.live);
        let mut extents = Arc::unwrap_or_clone(frozen.extents);
        extents.truncate(frozen.shows);
        extents.cover(above);
        self.live = extents;
        self.changed = true;
        let past = frozen.past.filter(|past| *past < frozen.shows);
        self.past = past.into_iter().chain(self.past).min();
    }

    /// Whether what is written at `at` stays out of the journal: part of a long stretch, or of one that is out of it already.
    pub(crate) fn goes_past(&self, at: u64) -> bool {
        match self.past {
            Some(past) => at >= past,
            None => at == self.run.0 && self.run.1 >= PAST_THE_JOURNAL,
        }
    }

    /// The journal tells of bytes from `at` on that it does not have.
    pub(crate) fn went_past(&mut self, at: u64) {
        self.past = Some(self.past.map_or(at, |past| past.min(at)));
        (self.size, self.changed) = (self.size.max(at), true);
    }

    /// The journal has all of it.
    pub(crate) fn all_in_journal(&mut self) {
        self.past = None;
        if let Some(frozen) = &mut self.frozen {
            frozen.past = None;
        }
    }

    /// Where the bytes of a range are, clipped to the file.
    pub(crate) fn layout(&self, range: Range<u64>) -> Layout {
        let range = range.start.min(self.size)..range.end.min(self.size);
        let mut over = Vec::new();
        let mut visible = self.visible;
        if let Some(frozen) = &self.frozen {
            over.extend(frozen.extents.within(range.start..range.end.min(frozen.shows.max(range.start))));
            visible = visible.min(frozen.visible);
        }
        over.extend(self.live.within(range.clone()));
        let stored = range.start..range.end.min(visible);
        let covered =
            over.iter().any(|(at, bytes)| *at <= stored.start && at + bytes.len() as u64 >= stored.end);
        let stored = (!stored.is_empty() && !covered).then_some(stored);
        Layout { range, stored, over }
    }

    /// Stretches of data from byte `at` on, in order, as far as they are known without asking: the stored bytes count as data.
    pub(crate) fn data_from(&self, at: u64) -> Vec<Range<u64>> {
        let mut stretches: Vec<Range<u64>> = Vec::new();
        let mut visible = self.visible;
        let mut add = |range: Range<u64>| {
            if !range.is_empty() {
                stretches.push(range);
            }
        };
        if let Some(frozen) = &self.frozen {
            visible = visible.min(frozen.visible);
            for (start, bytes) in frozen.extents.pieces() {
                add(start.max(at)..(start + bytes.len() as u64).min(frozen.shows));
            }
        }
        for (start, bytes) in self.live.pieces() {
            add(start.max(at)..start + bytes.len() as u64);
        }
        add(at..visible.min(self.size));
        stretches.sort_by_key(|range| range.start);
        let mut joined: Vec<Range<u64>> = Vec::new();
        for range in stretches {
            match joined.last_mut() {
                Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        joined
    }
}

impl Layout {
    /// The bytes, given those that were read from the grid.
    pub(crate) fn assemble(&self, stored: Bytes) -> Bytes {
        let len = (self.range.end - self.range.start) as usize;
        if let [(at, bytes)] = &self.over[..]
            && *at == self.range.start
            && bytes.len() == len
        {
            return bytes.clone();
        }
        if self.over.is_empty() && stored.len() == len {
            return stored;
        }
        let mut out = encoding::zeroed(len);
        if self.stored.is_some() {
            let len = stored.len().min(out.len());
            out[..len].copy_from_slice(&stored[..len]);
        }
        for (at, bytes) in &self.over {
            let from = (at - self.range.start) as usize;
            out[from..from + bytes.len()].copy_from_slice(bytes);
        }
        out.into()
    }
}
