//! Every share hashed again, now and then: what the medium lost is found before somebody needs it (`docs/spec/store.md`, "Scrub").
//!
//! Shares are gone through in the order of the index, so that one whose bytes are missing is found too. A share that is bad twice is put
//! aside, within a transaction like any other change.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use encoding::{Descriptor, ShareCheck, ShareError, ShareReport, block_groups};
use protocol::Pool;
use protocol::message::{Scrubbed, StoreState};

use crate::commit::{Change, Outcome};
use crate::disk::{DiskFile, OpenMode};
use crate::error::{PutError, ReadError, StoreError};
use crate::index::{IndexResult, Location, Place, Rows, ScrubTotals, ShareKey};
use crate::pack::record_len;
use crate::read::{StoredShare, share_path};
use crate::store::{Store, lock};

/// Bytes that are read at a time, and hashed while the processor still has them at hand: the longest block there is.
const PIECE: usize = 1024 * 1024;
/// Bytes that one step of the background goes through.
const STEP: u64 = 16 * 1024 * 1024;
/// The same by hand.
const STEP_BY_HAND: u64 = 256 * 1024 * 1024;
/// Rows that are taken from the index at a time.
const ROWS: usize = 1024;
/// How far a pass is gets written down when it is so much further, or after so many seconds.
const WRITE_BYTES: u64 = 1 << 30;
const WRITE_EVERY_S: u64 = 15 * 60;
/// How long the background rests when nothing is due, at least and at most.
const REST_MIN: Duration = Duration::from_secs(60);
const REST_MAX: Duration = Duration::from_secs(3600);
/// So many shares that the medium cannot read, and it is failing.
pub(crate) const UNREADABLE_MAX: u64 = 3;

/// How a store is scrubbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrubOptions {
    /// Every share is hashed once in this time; zero: never by itself.
    pub period: Duration,
    /// Bytes a second, at most.
    pub max_rate: u64,
}

/// See [`ScrubOptions::period`].
pub const SCRUB_PERIOD: Duration = Duration::from_secs(30 * 24 * 3600);
/// See [`ScrubOptions::max_rate`].
pub const SCRUB_RATE: u64 = 50_000_000;

impl Default for ScrubOptions {
    fn default() -> Self {
        Self { period: SCRUB_PERIOD, max_rate: SCRUB_RATE }
    }
}

/// A share that is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadShare {
    /// Which.
    pub key: ShareKey,
    /// What is wrong with it.
    pub reason: String,
    /// Whether the medium could not read it at all.
    pub unreadable: bool,
}

/// What a pass by hand found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ScrubReport {
    /// Shares that were hashed.
    pub shares: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Shares that are bad. They are in quarantine now, unless the medium cannot be written.
    pub bad: Vec<BadShare>,
}

/// A step of scrubbing, to be written down.
#[derive(Default)]
pub(crate) struct ScrubNote {
    /// A pass begins.
    begins: bool,
    checked: u64,
    bytes: u64,
    /// Where the pass goes on.
    at: u64,
    /// It is over.
    ends: bool,
    now_s: u64,
    found: Option<(BadShare, Location)>,
}

/// What is remembered from step to step.
#[derive(Default)]
pub(crate) struct Scrubber {
    run: Mutex<Run>,
    /// A share that was bad once and is looked at again, and whether it was stored anew since.
    suspect: Mutex<Option<(ShareKey, bool)>>,
}

impl Scrubber {
    /// The file of a share is about to be replaced by one that was just checked.
    pub(crate) fn replaced(&self, key: ShareKey) {
        if let Some((suspect, replaced)) = &mut *lock(&self.suspect) {
            *replaced |= *suspect == key;
        }
    }

    fn is_replaced(&self, key: ShareKey) -> bool {
        lock(&self.suspect).is_some_and(|(suspect, replaced)| suspect == key && replaced)
    }
}

#[derive(Default)]
struct Run {
    begun: bool,
    /// Rows to be looked at; the next one is the last.
    rows: Vec<(ShareKey, Location)>,
    /// Where the next rows are taken from the index.
    next: Option<ShareKey>,
    /// Where it would go on after a restart.
    at: u64,
    file: Option<FileCheck>,
    /// The share that is looked at was bad once.
    again: bool,
    buffer: Vec<u8>,
    /// Not written down yet.
    checked: u64,
    bytes: u64,
    written_at_s: u64,
}

/// A share file that is being hashed.
struct FileCheck {
    key: ShareKey,
    location: Location,
    file: Arc<dyn DiskFile>,
    check: ShareCheck,
    descriptor: Descriptor,
    /// The chaining values of the groups of the last piece, and where in the share's they begin.
    groups: (u64, Vec<u8>),
    block_len: usize,
    at: u64,
    /// Where whole blocks end: the rest is read by the check itself.
    end: u64,
}

/// What came of some steps through shares.
#[derive(Default)]
struct Looked {
    bytes: u64,
    found: Option<(BadShare, Location)>,
    over: bool,
}

/// What the background does next.
enum Next {
    Rest(Duration),
    Write(ScrubNote, Duration),
}

fn bad(key: ShareKey, location: Location, error: &ReadError) -> (BadShare, Location) {
    let unreadable = matches!(error, ReadError::Io(_));
    (BadShare { key, reason: crate::store::chain(error), unreadable }, location)
}

impl Store {
    pub(crate) fn scrub_status(&self, totals: &ScrubTotals) -> Scrubbed {
        Scrubbed {
            finished_s: (totals.finished_s > 0).then_some(totals.finished_s),
            done: totals.done,
            checked: totals.checked,
            bad: totals.bad,
            unreadable: totals.unreadable,
        }
    }

    /// Hashes some of what is due. Returns how long to wait before the next step.
    pub async fn scrub(self: &Arc<Self>, pool: &Arc<dyn Pool>) -> Duration {
        let at = self.clone();
        let (note, wait) = match pool.run(move || at.scrub_step()).await {
            Next::Rest(wait) => return wait,
            Next::Write(note, wait) => (note, wait),
        };
        let found = note.found.clone();
        let answer = self.submit(pool, Change::Tidy(crate::collect::Tidy::Scrub(note))).await;
        *lock(&self.scrubber.suspect) = None;
        match answer {
            Ok(Outcome::Tidied(done)) => self.tell_of_bad(found, done.quarantined.is_some()),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(store = %self.id(), %error, "what scrubbing found cannot be written down now");
                return REST_MIN;
            }
        }
        wait
    }

    fn tell_of_bad(&self, found: Option<(BadShare, Location)>, put_aside: bool) {
        if let Some((BadShare { key, reason, .. }, _)) = found.filter(|_| put_aside) {
            tracing::error!(store = %self.id(), share = %key, reason, "a stored share is bad: it goes into quarantine");
        }
    }

    fn scrub_step(&self) -> Next {
        let options = self.scrub_options();
        if options.period.is_zero() || !self.medium_writable || self.state() == StoreState::Failed {
            return Next::Rest(REST_MAX);
        }
        let mut run = lock(&self.scrubber.run);
        let run = &mut *run;
        let totals = self.totals().scrub;
        if totals.began_s == 0 {
            return Next::Write(self.note(run, Looked::default(), true), Duration::ZERO);
        }
        let due = self.due_now(run, &totals, options.period);
        if due == 0 && !run.again {
            return match run.checked > 0 && self.uptime_s() - run.written_at_s >= WRITE_EVERY_S {
                true => Next::Write(self.note(run, Looked::default(), false), REST_MIN),
                false => Next::Rest(self.rest(options.period)),
            };
        }
        match self.look(run, due.clamp(1, STEP)) {
            Ok(looked) => {
                let wait = Duration::from_secs_f64(looked.bytes as f64 / options.max_rate.max(1) as f64);
                let late = self.uptime_s().saturating_sub(run.written_at_s) >= WRITE_EVERY_S;
                match looked.over || looked.found.is_some() || late || run.bytes >= WRITE_BYTES {
                    true => Next::Write(self.note(run, looked, false), wait),
                    false => Next::Rest(wait),
                }
            }
            Err(error) => {
                let error = crate::store::chain(&error);
                tracing::warn!(store = %self.id(), error, "scrubbing rests");
                Next::Rest(REST_MIN)
            }
        }
    }

    /// Bytes that should have been gone through by now and were not. By whichever clock has more time gone by: what ran two hours a day is
    /// scrubbed in time all the same, and a wall clock that stands still does not keep anything from it.
    fn due_now(&self, run: &Run, totals: &ScrubTotals, period: Duration) -> u64 {
        let by_uptime = self.uptime_s().saturating_sub(totals.began_uptime_s);
        let by_wall = self.unix_s().saturating_sub(totals.began_s);
        let (gone, period) = (by_uptime.max(by_wall), period.as_secs().max(1));
        if gone >= period {
            return u64::MAX;
        }
        let target = u128::from(self.totals().used) * u128::from(gone) / u128::from(period);
        (target as u64).saturating_sub(totals.done + run.bytes)
    }

    /// Until a step's worth is due.
    fn rest(&self, period: Duration) -> Duration {
        let used = self.totals().used.max(1);
        period.mul_f64((STEP.min(used)) as f64 / used as f64).clamp(REST_MIN, REST_MAX)
    }

    /// What is to be written down now.
    fn note(&self, run: &mut Run, looked: Looked, begins: bool) -> ScrubNote {
        run.written_at_s = self.uptime_s();
        let note = ScrubNote {
            begins: begins || looked.over,
            checked: std::mem::take(&mut run.checked),
            bytes: std::mem::take(&mut run.bytes),
            at: run.at,
            ends: looked.over,
            now_s: self.unix_s().max(1),
            found: looked.found,
        };
        if note.begins {
            *run = Run { begun: true, written_at_s: run.written_at_s, ..Run::default() };
        }
        note
    }

    /// Goes on through shares until `limit` bytes were read, a share is bad, or there are no more.
    fn look(&self, run: &mut Run, limit: u64) -> Result<Looked, ReadError> {
        let mut looked = Looked::default();
        if !run.begun {
            let mut first = [0; 32];
            first[..8].copy_from_slice(&self.totals().scrub.at.to_be_bytes());
            let hash = caps::VerifyHash::new(first);
            *run = Run {
                begun: true,
                next: Some(ShareKey { hash, number: 0 }),
                at: self.totals().scrub.at,
                ..Run::default()
            };
        }
        while looked.bytes < limit && looked.found.is_none() {
            if run.file.is_some() {
                self.look_at_piece(run, &mut looked)?;
                continue;
            }
            match run.rows.last().copied() {
                Some(row) => self.look_at(run, row, &mut looked)?,
                None if !self.more_rows(run, limit - looked.bytes)? => {
                    looked.over = true;
                    break;
                }
                None => {}
            }
        }
        Ok(looked)
    }

    /// Takes the next rows from the index, by where they lie: the medium is read forwards.
    fn more_rows(&self, run: &mut Run, bytes: u64) -> IndexResult<bool> {
        let from = run.next.unwrap_or(ShareKey { hash: caps::VerifyHash::new([0; 32]), number: 0 });
        run.at = from.hash.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        let mut rows = self.index().shares_from(from, ROWS, bytes)?;
        let Some((last, _)) = rows.last() else { return Ok(false) };
        // No share has a number above 255.
        run.next = Some(ShareKey { number: last.number.saturating_add(1), ..*last });
        rows.sort_by_key(|(key, location)| match location.place {
            Place::Pack { pack, offset } => (false, pack, offset, *key),
            Place::File => (true, 0, 0, *key),
        });
        rows.reverse();
        run.rows = rows;
        Ok(true)
    }

    fn look_at(
        &self,
        run: &mut Run,
        (key, _): (ShareKey, Location),
        looked: &mut Looked,
    ) -> Result<(), ReadError> {
        // As it is now: it may have gone, or lie elsewhere.
        let Some(location) = self.index().get(key)? else {
            self.seen(run);
            return Ok(());
        };
        if run.again {
            // From now on it is noted if another takes its place.
            *lock(&self.scrubber.suspect) = Some((key, false));
        }
        let read = location.len + if location.place == Place::File { 0 } else { record_len(0) };
        match self.open_at(key, &location).and_then(|source| self.begin_check(key, location, source)) {
            Ok(Some(file)) => run.file = Some(file),
            Ok(None) => {
                looked.bytes += read;
                run.bytes += location.len;
                run.checked += 1;
                self.seen(run);
            }
            Err(error) => self.was_bad(run, key, location, error, looked)?,
        }
        Ok(())
    }

    /// Checks a share that is in memory; one in a file is still to be read.
    fn begin_check(
        &self,
        key: ShareKey,
        location: Location,
        source: crate::read::Source,
    ) -> Result<Option<FileCheck>, ReadError> {
        let share = StoredShare::new(key, location.len, source);
        let Some(file) = share.file() else {
            let bytes = share.read(0, share.len() as usize)?;
            let report = ShareCheck::new(1)
                .finish(share.len(), |at, buffer| crate::upload::read_slice(&bytes, at, buffer));
            return judge(key, report).map(|()| None);
        };
        let (descriptor, layout) = share.descriptor()?;
        let descriptor = Descriptor::parse(&descriptor).map_err(|_| ReadError::Corrupt)?;
        let block_len = descriptor.geometry.params().block_len();
        let data_len = layout.table().start;
        Ok(Some(FileCheck {
            key,
            location,
            file,
            check: ShareCheck::new(block_len),
            descriptor,
            groups: (0, Vec::new()),
            block_len: block_len as usize,
            at: 0,
            end: data_len - data_len % u64::from(block_len),
        }))
    }

    fn look_at_piece(&self, run: &mut Run, looked: &mut Looked) -> Result<(), ReadError> {
        let Some(mut file) = run.file.take() else { return Ok(()) };
        let before = file.at;
        let (key, location) = (file.key, file.location);
        if file.at < file.end {
            let read = file.read_on(&mut run.buffer);
            let bytes = file.at - before;
            (looked.bytes, run.bytes) = (looked.bytes + bytes, run.bytes + bytes);
            match read {
                Ok(()) => {
                    self.mend_groups(key, &file.descriptor, file.groups.0, &file.groups.1);
                    run.file = Some(file);
                }
                Err(error) => self.was_bad(run, key, location, error, looked)?,
            }
            return Ok(());
        }
        let rest = location.len - file.end;
        (looked.bytes, run.bytes) = (looked.bytes + rest, run.bytes + rest);
        let FileCheck { check, file, .. } = file;
        match judge(key, check.finish(location.len, |at, buffer| file.read_exact_at(buffer, at))) {
            Ok(()) => {
                run.checked += 1;
                self.seen(run);
            }
            Err(error) => self.was_bad(run, key, location, error, looked)?,
        }
        Ok(())
    }

    /// Done with the row that was looked at.
    fn seen(&self, run: &mut Run) {
        run.rows.pop();
        if std::mem::take(&mut run.again) {
            *lock(&self.scrubber.suspect) = None;
        }
    }

    /// A share is bad: the first time it is looked at again, the second time it is found out.
    fn was_bad(
        &self,
        run: &mut Run,
        key: ShareKey,
        location: Location,
        error: ReadError,
        looked: &mut Looked,
    ) -> Result<(), ReadError> {
        match error {
            ReadError::Busy(_) | ReadError::Index(_) => Err(error),
            // It went or moved meanwhile.
            _ if self.index().get(key)? != Some(location) => Ok(()),
            _ if !run.again => {
                run.again = true;
                Ok(())
            }
            error => {
                self.check_medium()?;
                run.checked += 1;
                run.rows.pop();
                run.again = false;
                looked.found = Some(bad(key, location, &error));
                Ok(())
            }
        }
    }

    /// Whether the medium is there at all: of one that went nothing is to be judged.
    fn check_medium(&self) -> Result<(), ReadError> {
        let gone = match crate::identity::read(&*self.disk) {
            Ok(key) if key.id() == self.id() => return Ok(()),
            Ok(_) => io::Error::other("another store is there"),
            Err(StoreError::Io { source, .. }) if crate::error::is_passing(&source) => {
                return Err(ReadError::Busy(source));
            }
            Err(error) => io::Error::other(crate::store::chain(&error)),
        };
        self.fence("find the store's identity", &gone);
        Err(ReadError::Io(gone))
    }

    /// Goes through all shares at once, without a limit on the rate. The store must not be served meanwhile.
    ///
    /// # Errors
    ///
    /// [`PutError`]; [`PutError::Failed`] too where the index cannot be read.
    pub fn scrub_now(self: &Arc<Self>) -> Result<ScrubReport, PutError> {
        let mut report = ScrubReport::default();
        let mut run = Run { begun: true, ..Run::default() };
        self.write_scrub(ScrubNote { begins: true, now_s: self.unix_s().max(1), ..ScrubNote::default() })?;
        loop {
            let looked = match self.look(&mut run, STEP_BY_HAND) {
                Ok(looked) => looked,
                Err(ReadError::Busy(error)) => return Err(PutError::Overloaded { reason: Arc::new(error) }),
                Err(error) => return Err(self.fence("scrub", &error)),
            };
            report.shares += run.checked;
            report.bytes += run.bytes;
            report.bad.extend(looked.found.iter().map(|(found, _)| found.clone()));
            let (over, found) = (looked.over, looked.found.clone());
            let note = self.note(&mut run, looked, false);
            self.write_scrub(note)?;
            self.tell_of_bad(found, self.medium_writable);
            *lock(&self.scrubber.suspect) = None;
            if over {
                *lock(&self.scrubber.run) = Run::default();
                return Ok(report);
            }
        }
    }

    fn write_scrub(&self, note: ScrubNote) -> Result<(), PutError> {
        if !self.medium_writable {
            return Ok(());
        }
        let mut writer = lock(&self.writer);
        let answer =
            self.commit_locked(&mut writer, &[Change::Tidy(crate::collect::Tidy::Scrub(note))]).pop();
        answer.unwrap_or(Err(PutError::Failed)).map(drop)
    }

    /// Within a transaction: writes down how far it is, and takes out what is bad. Says whether something was.
    pub(crate) fn apply_scrub(
        &self,
        rows: &mut Rows<'_>,
        note: &ScrubNote,
    ) -> IndexResult<Option<(ShareKey, Location)>> {
        let mut lost = None;
        if let Some((found, location)) = &note.found
            && !self.scrubber.is_replaced(found.key)
            && rows.lose_share(found.key, location)?
        {
            lost = Some((found.key, *location));
            let scrub = &mut rows.totals.scrub;
            scrub.bad += 1;
            scrub.unreadable += u64::from(found.unreadable);
            scrub.unreadable_now += u64::from(found.unreadable);
        }
        let uptime_s = rows.totals.uptime_s;
        let scrub = &mut rows.totals.scrub;
        (scrub.checked, scrub.done, scrub.at) =
            (scrub.checked + note.checked, scrub.done + note.bytes, note.at);
        if note.ends {
            (scrub.passes, scrub.finished_s) = (scrub.passes + 1, note.now_s);
            // The medium read all there is.
            scrub.unreadable = scrub.unreadable_now;
        }
        if note.begins {
            (scrub.began_s, scrub.began_uptime_s) = (note.now_s, uptime_s);
            (scrub.done, scrub.at, scrub.unreadable_now) = (0, 0, 0);
        }
        Ok(lost)
    }

    /// Puts aside the bytes of a share that is no longer in the index. Whoever calls this still has the writer.
    pub(crate) fn quarantine(&self, key: ShareKey, location: &Location) {
        let path = format!("quarantine/{key}");
        self.remove_groups(key);
        let moved = match location.place {
            Place::File => match self.disk.rename(&share_path(key), &path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
            Place::Pack { pack, offset } => self.copy_out(location, pack, offset, &path),
        };
        if let Err(error) = moved {
            tracing::warn!(store = %self.id(), share = %key, %error, "a bad share could not be put into quarantine; it is not served");
        }
    }

    /// The record, as far as it can be read, for whoever wants to know what became of it.
    fn copy_out(&self, location: &Location, pack: u32, offset: u32, path: &str) -> io::Result<()> {
        let mut record = vec![0; record_len(location.len.min(crate::MAX_PACKED_LEN) as usize) as usize];
        self.pack_file(pack)?.read_exact_at(&mut record, offset.into())?;
        crate::open::remove_if_there(&*self.disk, path)?;
        self.disk.open(path, OpenMode::CreateNew)?.write_all_at(&record, 0)
    }
}

impl FileCheck {
    fn read_on(&mut self, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
        let len = (self.end - self.at).min(PIECE as u64) as usize;
        buffer.resize(PIECE, 0);
        let piece = &mut buffer[..len];
        self.file.read_exact_at(piece, self.at).map_err(crate::read::gone)?;
        let (start, values) = &mut self.groups;
        *start += values.len() as u64;
        values.clear();
        piece.chunks(self.block_len).for_each(|block| self.check.push_root(block_groups(block, values)));
        self.at += len as u64;
        Ok(())
    }
}

fn judge(key: ShareKey, report: Result<ShareReport, ShareError>) -> Result<(), ReadError> {
    match report {
        Ok(report) if report.hash == key.hash && report.number == key.number => Ok(()),
        Err(ShareError::Io(error)) => Err(crate::read::gone(error)),
        _ => Err(ReadError::Corrupt),
    }
}
