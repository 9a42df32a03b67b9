//! What was written to a file and is not on the grid yet: pieces that do not overlap, over whatever lies below.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Pieces written one after the other are put together up to this length, so that many small writes make few pieces.
const JOIN: usize = 128 * 1024;
/// Bytes of memory that a piece takes beside its own.
const PIECE_WEIGHT: u64 = 128;
/// A piece left over from a longer one is copied if it is shorter: else all of the long one would stay in memory.
const SHORT: usize = 16 * 1024;

/// Written pieces by their first byte.
#[derive(Clone, Default, Debug)]
pub(crate) struct Extents {
    pieces: BTreeMap<u64, Bytes>,
    len: u64,
}

impl Extents {
    /// Bytes of all pieces.
    pub(crate) fn bytes(&self) -> u64 {
        self.len
    }

    /// Bytes of memory, about: many small pieces take more than what is in them.
    pub(crate) fn weight(&self) -> u64 {
        self.len + self.pieces.len() as u64 * PIECE_WEIGHT
    }

    /// The pieces in their order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        self.pieces.iter().map(|(start, bytes)| (*start, bytes))
    }

    /// Writes `bytes` from byte `start` on, over what was written before.
    pub(crate) fn write(&mut self, start: u64, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.cut(start..start + bytes.len() as u64);
        self.len += bytes.len() as u64;
        let before = self.pieces.range(..start).next_back();
        if let Some((first, piece)) = before
            && first + piece.len() as u64 == start
            && piece.len() + bytes.len() <= JOIN
        {
            let first = *first;
            // Only who holds the piece alone may write on in it; a reader may still look at it.
            let piece = self.pieces.remove(&first).unwrap_or_default();
            let mut joined = piece.try_into_mut().unwrap_or_else(|piece| {
                let mut copy = BytesMut::with_capacity(JOIN);
                copy.extend_from_slice(&piece);
                copy
            });
            joined.extend_from_slice(&bytes);
            self.pieces.insert(first, joined.freeze());
        } else {
            self.pieces.insert(start, bytes);
        }
    }

    /// Forgets what was written from byte `size` on.
    pub(crate) fn truncate(&mut self, size: u64) {
        self.cut(size..u64::MAX);
    }

    /// Puts what is in `above` over this.
    pub(crate) fn cover(&mut self, above: Self) {
        for (start, bytes) in above.pieces {
            self.write(start, bytes);
        }
    }

    /// The pieces within a range, clipped to it.
    pub(crate) fn within(&self, range: Range<u64>) -> Vec<(u64, Bytes)> {
        let first = self.pieces.range(..=range.start).next_back().map_or(range.start, |(start, _)| *start);
        let mut found = Vec::new();
        for (start, bytes) in self.pieces.range(first..range.end) {
            let end = start + bytes.len() as u64;
            let (from, to) = ((*start).max(range.start), end.min(range.end));
            if from < to {
                found.push((from, bytes.slice((from - start) as usize..(to - start) as usize)));
            }
        }
        found
    }

    fn cut(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.pieces.range(..range.start).next_back();
        let first = first.map_or(range.start, |(start, _)| *start);
        let hit: Vec<u64> = self.pieces.range(first..range.end).map(|(start, _)| *start).collect();
        for start in hit {
            let Some(bytes) = self.pieces.remove(&start) else { continue };
            let end = start + bytes.len() as u64;
            self.len -= bytes.len() as u64;
            if start < range.start {
                self.keep(start, bytes.slice(..(range.start.min(end) - start) as usize));
            }
            if end > range.end {
                self.keep(range.end.max(start), bytes.slice((range.end.max(start) - start) as usize..));
            }
        }
    }

    fn keep(&mut self, start: u64, bytes: Bytes) {
        self.len += bytes.len() as u64;
        let bytes = if bytes.len() < SHORT { Bytes::copy_from_slice(&bytes) } else { bytes };
        self.pieces.insert(start, bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        Truncate(u64),
        Cover(Vec<(u64, Vec<u8>)>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let write = || (0..300_u64, proptest::collection::vec(any::<u8>(), 0..80));
        prop_oneof![
            6 => write().prop_map(|(at, bytes)| Step::Write(at, bytes)),
            1 => (0..400_u64).prop_map(Step::Truncate),
            1 => proptest::collection::vec(write(), 0..4).prop_map(Step::Cover),
        ]
    }

    fn model_write(model: &mut [Option<u8>], at: u64, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            model[at as usize + index] = Some(*byte);
        }
    }

    proptest! {
        #[test]
        fn what_was_written_last_is_read(steps in proptest::collection::vec(step(), 1..60), from in 0..400_u64, len in 0..400_u64) {
            let (mut extents, mut model) = (Extents::default(), vec![None; 1000]);
            for step in steps {
                match step {
                    Step::Write(at, bytes) => {
                        model_write(&mut model, at, &bytes);
                        extents.write(at, bytes.into());
                    }
                    Step::Truncate(size) => {
                        model[size as usize..].fill(None);
                        extents.truncate(size);
                    }
                    Step::Cover(writes) => {
                        let mut above = Extents::default();
                        for (at, bytes) in writes {
                            model_write(&mut model, at, &bytes);
                            above.write(at, bytes.into());
                        }
                        extents.cover(above);
                    }
                }
                prop_assert_eq!(extents.bytes(), model.iter().flatten().count() as u64);
            }
            let mut read = vec![None; 1000];
            for (at, bytes) in extents.within(from..from + len) {
                prop_assert!(at >= from && at + bytes.len() as u64 <= from + len);
                model_write(&mut read, at, &bytes);
            }
            let (from, to) = (from as usize, (from + len) as usize);
            prop_assert_eq!(&read[from..to], &model[from..to]);
        }
    }
}
