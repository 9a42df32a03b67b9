//! Packs of which little is live are rewritten: what is live goes to the end of the pack that is written, then the file is removed.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;

use crate::collect::Tidy;
use crate::index::{IndexResult, PackUse, Place, ShareKey};
use crate::pack::{HEADER_LEN, Record, record_len};
use crate::store::{Store, lock};

/// Bytes of a pack that are looked through in one step: what one step copies, at most.
const STEP: u64 = 4 * 1024 * 1024;

/// A record on its way to another pack.
pub(crate) struct MovedRecord {
    pub(crate) key: ShareKey,
    /// Where it lay when it was read: should the index refer to another place by then, the copy is not needed.
    pub(crate) from: Place,
    pub(crate) bytes: Bytes,
}

/// How far the rewriting of a pack has come.
#[derive(Default)]
pub(crate) struct Rewrite {
    under_way: Option<(u32, u64)>,
    /// Packs that could not be emptied: records in them are damaged. They are not tried again in this run.
    stuck: BTreeSet<u32>,
}

impl Rewrite {
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }
}

impl PackUse {
    fn is_sparse(&self) -> bool {
        self.live < self.end / 2
    }
}

impl Store {
    /// The next step of giving back room in packs.
    pub(crate) fn packs_step(&self, rewrite: &mut Rewrite) -> IndexResult<Option<Tidy>> {
        // Packs before this one are finished.
        let current = lock(&self.writer).pack;
        self.packs_step_before(rewrite, current)
    }

    /// The same, for whoever has the writer.
    pub(crate) fn packs_step_before(&self, rewrite: &mut Rewrite, current: u32) -> IndexResult<Option<Tidy>> {
        loop {
            if let Some((pack, from)) = rewrite.under_way.take() {
                let end =
                    self.index().live()?.iter().find(|used| used.pack == pack).map_or(0, |used| used.end);
                match self.read_live(pack, from, end) {
                    Ok((records, next)) => {
                        rewrite.under_way = (next < end).then_some((pack, next));
                        if rewrite.is_idle() {
                            // If it is empty now, it goes; if not, another pass would find no more.
                            rewrite.stuck.insert(pack);
                        }
                        if !records.is_empty() {
                            return Ok(Some(Tidy::Move(records)));
                        }
                        continue;
                    }
                    Err(error) => {
                        tracing::error!(store = %self.id(), pack, %error, "a pack cannot be read, and stays as it is");
                        rewrite.stuck.insert(pack);
                    }
                }
            }
            let finished: Vec<PackUse> =
                self.index().live()?.into_iter().filter(|used| used.pack < current).collect();
            let empty: Vec<u32> =
                finished.iter().filter(|used| used.live == 0).map(|used| used.pack).collect();
            if !empty.is_empty() {
                return Ok(Some(Tidy::Forget(empty)));
            }
            let wanted = |used: &&PackUse| used.is_sparse() && !rewrite.stuck.contains(&used.pack);
            let Some(sparse) = finished.iter().find(wanted) else { return Ok(None) };
            tracing::info!(store = %self.id(), pack = sparse.pack, bytes = sparse.end, live = sparse.live, "rewriting a pack of which little is live");
            rewrite.under_way = Some((sparse.pack, 0));
        }
    }

    /// Records between `from` and `end` that the index refers to, some of them, and where to go on.
    fn read_live(&self, pack: u32, from: u64, end: u64) -> io::Result<(Vec<MovedRecord>, u64)> {
        let file = self.pack_file(pack)?;
        let mut bytes = vec![0; (end - from).min(STEP) as usize];
        file.read_exact_at(&mut bytes, from)?;
        let bytes = Bytes::from(bytes);
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(header) = bytes[at..].first_chunk::<HEADER_LEN>() {
            let Some(record) = Record::parse(header) else {
                // Something is wrong here: look for the next record.
                at += 1;
                continue;
            };
            let share = at + HEADER_LEN..at + HEADER_LEN + record.len as usize;
            if share.end > bytes.len() {
                break;
            }
            let place = Place::Pack { pack, offset: (from + at as u64) as u32 };
            found.push((record, MovedRecord { key: record.key, from: place, bytes: bytes.slice(share) }));
            at += record_len(record.len as usize) as usize;
        }
        // A record that is cut begins the next piece; at the end of the pack there is none.
        let next = if from + (bytes.len() as u64) < end { from + at.max(1) as u64 } else { end };
        let keys: Vec<ShareKey> = found.iter().map(|(_, moved)| moved.key).collect();
        let places = self.index().places(&keys).map_err(io::Error::other)?;
        let live = found.into_iter().zip(places).filter(|((_, moved), place)| *place == Some(moved.from));
        let intact = live.filter_map(|((record, moved), _)| {
            let intact = record.matches(&moved.bytes);
            if !intact {
                tracing::error!(store = %self.id(), share = %moved.key, pack, "a share in a pack is corrupt: the pack is kept for it");
            }
            intact.then_some(moved)
        });
        Ok((intact.collect(), next))
    }
}
