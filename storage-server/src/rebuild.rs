//! The index made anew from packs and share files (`docs/spec/store.md`, "Rebuild").

use std::io;
use std::time::Duration;

use encoding::{ShareCheck, ShareReport};
use protocol::Random;

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::StoreError;
use crate::index::{INDEX_FILE, Index, IndexResult, Location, Place, Reason, ShareKey};
use crate::open::{new_index, remove_if_there};
use crate::pack::{HEADER_LEN, Record, pack_number, pack_path, record_len};
use crate::read::share_path;

const NEW_INDEX: &str = "index.new";
const LOST_INDEX: &str = "quarantine/index.redb";
/// Shares that go into one transaction.
const ROWS_AT_ONCE: usize = 16_384;
/// Bytes of a pack in memory at a time; a record and a header fit several times.
const WINDOW: usize = 1024 * 1024;

/// What a rebuilt index holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RebuildReport {
    /// Intact shares found.
    pub shares: u64,
    /// Share files put into quarantine, and places in packs where no record can be read or its share is not intact.
    pub bad: u64,
    /// The store's new incarnation.
    pub incarnation: u64,
}

enum RebuildError {
    Io(&'static str, io::Error),
    Index(Box<redb::Error>),
}

impl From<Box<redb::Error>> for RebuildError {
    fn from(error: Box<redb::Error>) -> Self {
        Self::Index(error)
    }
}

pub(crate) fn rebuild_index(
    disk: &dyn Disk,
    random: &dyn Random,
    idle_limit: Duration,
) -> Result<RebuildReport, StoreError> {
    rebuild(disk, random, idle_limit.as_secs()).map_err(|error| match error {
        RebuildError::Io(action, source) => StoreError::Io { disk: disk.name(), action, source },
        RebuildError::Index(source) => StoreError::Index { disk: disk.name(), source },
    })
}

fn rebuild(disk: &dyn Disk, random: &dyn Random, idle_s: u64) -> Result<RebuildReport, RebuildError> {
    let io = |action| move |source| RebuildError::Io(action, source);
    remove_if_there(disk, NEW_INDEX).map_err(io("remove a half-built index"))?;
    let (index, incarnation) = new_index(disk, NEW_INDEX, random)?;
    let mut rebuild = Rebuild {
        disk,
        index,
        rows: Vec::new(),
        idle_s,
        report: RebuildReport { incarnation, ..RebuildReport::default() },
    };
    rebuild.packs()?;
    rebuild.files()?;
    rebuild.flush()?;
    let Rebuild { index, report, .. } = rebuild;
    drop(index);
    // The lost index is kept: it may tell why it was lost.
    match disk.rename(INDEX_FILE, LOST_INDEX) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(RebuildError::Io("put the lost index aside", error));
        }
        _ => {}
    }
    disk.rename(NEW_INDEX, INDEX_FILE).map_err(io("name the new index"))?;
    disk.sync_dir("").map_err(io("sync the directory"))?;
    Ok(report)
}

struct Rebuild<'d> {
    disk: &'d dyn Disk,
    index: Index,
    rows: Vec<(ShareKey, Location)>,
    idle_s: u64,
    report: RebuildReport,
}

impl Rebuild<'_> {
    fn add(&mut self, key: ShareKey, location: Location) -> IndexResult<()> {
        self.rows.push((key, location));
        if self.rows.len() >= ROWS_AT_ONCE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> IndexResult<()> {
        let rows = std::mem::take(&mut self.rows);
        let new = self.index.write(|table| {
            let mut new = 0;
            for (key, location) in &rows {
                new += u64::from(table.add_share(*key, location)?);
                // Who leased it is lost: it stays as long as an account may be silent.
                table.doom(key.hash, Reason::NeverLeased, self.idle_s)?;
            }
            Ok(new)
        })?;
        self.report.shares += new;
        Ok(())
    }

    fn packs(&mut self) -> Result<(), RebuildError> {
        let io = |action| move |source| RebuildError::Io(action, source);
        let names = self.disk.list("packs").map_err(io("list packs"))?;
        let mut packs: Vec<u32> = names.iter().filter_map(|entry| pack_number(&entry.name)).collect();
        packs.sort_unstable();
        for pack in packs {
            let file = self.disk.open(&pack_path(pack), OpenMode::Read).map_err(io("open a pack"))?;
            let len = file.len().map_err(io("read a pack"))?;
            self.pack(pack, &*file, len)?;
            self.index.write(|table| table.set_pack(pack, len))?;
        }
        Ok(())
    }

    fn pack(&mut self, pack: u32, file: &dyn DiskFile, len: u64) -> Result<(), RebuildError> {
        let mut window = Window { file, len, start: 0, bytes: Vec::new() };
        let mut at = 0;
        let mut lost = false;
        while at + HEADER_LEN as u64 <= len {
            let header = window.get(at, HEADER_LEN).map_err(|e| RebuildError::Io("read a pack", e))?;
            let record = header.first_chunk().and_then(Record::parse);
            let Some(record) = record.filter(|r| at + record_len(r.len as usize) <= len) else {
                // Something is wrong here: look for the next record, and count the gap once.
                self.report.bad += u64::from(!std::mem::replace(&mut lost, true));
                at += 1;
                continue;
            };
            lost = false;
            let share = window
                .get(at + HEADER_LEN as u64, record.len as usize)
                .map_err(|e| RebuildError::Io("read a pack", e))?;
            match check(share).filter(|report| record.matches(share) && key_of(report) == record.key) {
                Some(report) => {
                    let place = Place::Pack { pack, offset: at as u32 };
                    self.add(record.key, location(&report, place))?;
                }
                None => {
                    tracing::error!(disk = %self.disk.name(), share = %record.key, "a share in a pack is corrupt");
                    self.report.bad += 1;
                }
            }
            at += record_len(record.len as usize);
        }
        Ok(())
    }

    fn files(&mut self) -> Result<(), RebuildError> {
        let io = |action| move |source| RebuildError::Io(action, source);
        let dirs = self.disk.list("shares").map_err(io("list shares"))?;
        for dir in dirs.into_iter().filter(|entry| entry.is_dir) {
            let path = format!("shares/{}", dir.name);
            for entry in self.disk.list(&path).map_err(io("list shares"))? {
                self.file(&path, &entry.name)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, dir: &str, name: &str) -> Result<(), RebuildError> {
        let io = |action| move |source| RebuildError::Io(action, source);
        let path = format!("{dir}/{name}");
        let file = self.disk.open(&path, OpenMode::Read).map_err(io("open a share"))?;
        let len = file.len().map_err(io("read a share"))?;
        // A check that was fed nothing reads everything back, block by block.
        match ShareCheck::new(1).finish(len, |at, buffer| file.read_exact_at(buffer, at)) {
            Ok(report) if share_path(key_of(&report)) == path => {
                Ok(self.add(key_of(&report), location(&report, Place::File))?)
            }
            Err(encoding::ShareError::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                Err(RebuildError::Io("read a share", error))
            }
            other => {
                let reason =
                    other.err().map_or("it is filed under a wrong name".to_owned(), |e| e.to_string());
                tracing::error!(disk = %self.disk.name(), %path, %reason, "a share goes into quarantine");
                self.report.bad += 1;
                self.disk.rename(&path, &format!("quarantine/{name}")).map_err(io("quarantine a share"))
            }
        }
    }
}

fn check(share: &[u8]) -> Option<ShareReport> {
    let read = |at: u64, buffer: &mut [u8]| {
        let piece = usize::try_from(at).ok().and_then(|at| share.get(at..at.checked_add(buffer.len())?));
        buffer.copy_from_slice(piece.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    };
    ShareCheck::new(1).finish(share.len() as u64, read).ok()
}

fn key_of(report: &ShareReport) -> ShareKey {
    ShareKey { hash: report.hash, number: report.number }
}

fn location(report: &ShareReport, place: Place) -> Location {
    Location {
        place,
        len: report.layout.file_len(),
        ciphertext_len: report.descriptor.geometry.ciphertext_len(),
        bucket: report.descriptor.bucket.0,
    }
}

/// Reads a file in large pieces.
struct Window<'f> {
    file: &'f dyn DiskFile,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    fn get(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let have = self.start..self.start + self.bytes.len() as u64;
        if at < have.start || at + len as u64 > have.end {
            let count = (self.len - at).min(WINDOW.max(len) as u64);
            self.bytes.resize(count as usize, 0);
            self.start = at;
            self.file.read_exact_at(&mut self.bytes, at)?;
        }
        let from = (at - self.start) as usize;
        Ok(&self.bytes[from..from + len])
    }
}
