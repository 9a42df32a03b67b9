//! Which servers this client could not reach, and which it forgot: kept for its next run.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use minicbor::{Decode, Encode};
use protocol::{NodeId, frame};

use crate::files::write_atomically;

/// The file's format: a newer one is left alone.
const VERSION: u16 = 1;
/// What a server is given to answer that did not in an earlier run.
pub const BRIEF: Duration = Duration::from_millis(800);
/// For so long after a failure that counts at least, and at most: for as long as the server has been silent by then.
const BRIEFLY: (u64, u64) = (600, 3600);
/// Servers of each kind that are remembered.
const MOST: usize = 4096;
/// What was forgotten is known for so long as forgotten: introducers keep announcements for a few days.
const KEPT_S: u64 = 90 * 86_400;

/// What is remembered of servers that do not answer.
pub struct Away {
    path: Option<PathBuf>,
    state: Mutex<State>,
    patient: AtomicBool,
}

#[derive(Default)]
struct State {
    failed: BTreeMap<NodeId, Failed>,
    forgotten: BTreeMap<NodeId, Forgotten>,
    /// Whose rows count more than those of the file.
    touched: BTreeSet<NodeId>,
    /// Whether any server answered: a client that reaches nobody has itself to blame.
    reached: bool,
    dirty: bool,
}

#[derive(Clone, Copy, Debug, Encode, Decode)]
struct Failed {
    #[n(0)]
    server: NodeId,
    /// When it failed first after it last answered, in seconds since 1970.
    #[n(1)]
    since_s: u64,
    /// When it failed last.
    #[n(2)]
    last_s: u64,
    /// Whether that was in this run.
    #[cbor(skip)]
    now: bool,
}

#[derive(Clone, Copy, Debug, Encode, Decode)]
struct Forgotten {
    #[n(0)]
    server: NodeId,
    /// Of the announcement that is not taken in again, nor an older one.
    #[n(1)]
    sequence: u64,
    /// When, in seconds since 1970.
    #[n(2)]
    at_s: u64,
}

#[derive(Encode, Decode)]
struct File {
    #[n(0)]
    version: u16,
    #[n(1)]
    failed: Vec<Failed>,
    #[n(2)]
    forgotten: Vec<Forgotten>,
}

impl Away {
    /// Nothing is known, and nothing kept.
    pub fn empty() -> Self {
        Self { path: None, state: Mutex::default(), patient: AtomicBool::new(false) }
    }

    /// What is kept in the file `path`. One that cannot be read is as good as none: servers are tried again.
    pub fn kept_in(path: &Path) -> Self {
        let away = Self { path: Some(path.to_owned()), ..Self::empty() };
        away.reread();
        away
    }

    /// Gives every server its full time from now on: for work that takes who is silent for lost.
    pub fn be_patient(&self) {
        self.patient.store(true, Ordering::Relaxed);
    }

    /// Whether every server gets its full time.
    pub(crate) fn is_patient(&self) -> bool {
        self.patient.load(Ordering::Relaxed)
    }

    /// How long to wait for a connection to this server: `full`, or less where it failed in an earlier run, not long ago.
    pub(crate) fn patience(&self, server: &NodeId, now: Duration, full: Duration) -> Duration {
        let state = self.lock();
        let Some(failed) = state.failed.get(server).filter(|failed| !failed.now) else { return full };
        let silent = failed.last_s.saturating_sub(failed.since_s).clamp(BRIEFLY.0, BRIEFLY.1);
        let ago = now.as_secs().checked_sub(failed.last_s);
        let brief = ago.is_some_and(|ago| ago < silent) && !self.is_patient();
        if brief { full.min(BRIEF) } else { full }
    }

    /// For how long the server has not answered this client, if it did not when it was last tried.
    pub(crate) fn silence(&self, server: &NodeId, now: Duration) -> Option<Duration> {
        let since = self.lock().failed.get(server)?.since_s;
        Some(now.saturating_sub(Duration::from_secs(since)))
    }

    /// It could not be reached.
    pub(crate) fn failed(&self, server: NodeId, now: Duration) {
        let (mut state, now_s) = (self.lock(), now.as_secs());
        let row = Failed { server, since_s: now_s, last_s: now_s, now: true };
        let failed = state.failed.entry(server).or_insert(row);
        (failed.last_s, failed.now) = (now_s, true);
        state.touched.insert(server);
        state.dirty = true;
    }

    /// It could be reached. Whether it could not before.
    pub(crate) fn answered(&self, server: &NodeId) -> bool {
        let mut state = self.lock();
        state.reached = true;
        let failed = state.failed.remove(server).is_some();
        if failed {
            state.touched.insert(*server);
            state.dirty = true;
        }
        failed
    }

    /// It is forgotten until it announces itself with a number above `sequence`.
    pub(crate) fn forget(&self, server: NodeId, sequence: u64, now: Duration) {
        let mut state = self.lock();
        let before = state.forgotten.get(&server).map_or(0, |forgotten| forgotten.sequence);
        let sequence = sequence.max(before);
        state.forgotten.insert(server, Forgotten { server, sequence, at_s: now.as_secs() });
        state.failed.remove(&server);
        state.touched.insert(server);
        state.dirty = true;
    }

    /// Whether this announcement of the server is forgotten.
    pub(crate) fn is_forgotten(&self, server: &NodeId, sequence: u64) -> bool {
        self.lock().forgotten.get(server).is_some_and(|forgotten| sequence <= forgotten.sequence)
    }

    /// Takes in what other runs kept meanwhile.
    pub(crate) fn reread(&self) {
        let Some(path) = &self.path else { return };
        let file = match std::fs::read(path).map(|bytes| frame::decode::<File>(&bytes)) {
            Ok(Ok(file)) if file.version <= VERSION => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Ok(Ok(_) | Err(_)) | Err(_) => {
                tracing::warn!(path = %path.display(), "what is known of servers that are away cannot be read");
                return;
            }
        };
        let mut state = self.lock();
        for row in file.forgotten.into_iter().take(MOST) {
            let known = state.forgotten.entry(row.server).or_insert(row);
            if known.sequence < row.sequence {
                *known = row;
            }
        }
        // Of the others, the file knows better who has answered.
        let State { failed, touched, .. } = &mut *state;
        failed.retain(|server, _| touched.contains(server));
        for row in file.failed.into_iter().take(MOST) {
            if !touched.contains(&row.server) {
                failed.insert(row.server, row);
            }
        }
    }

    /// Keeps it, beside what other runs kept meanwhile.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn save(&self, now: Duration) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if !self.lock().dirty {
            return Ok(());
        }
        self.reread();
        let mut state = self.lock();
        state.forgotten.retain(|_, row| row.at_s.saturating_add(KEPT_S) > now.as_secs());
        let counts = |failed: &&Failed| state.reached || !failed.now;
        let file = File {
            version: VERSION,
            failed: state.failed.values().filter(counts).take(MOST).copied().collect(),
            forgotten: state.forgotten.values().take(MOST).copied().collect(),
        };
        let bytes = minicbor::to_vec(&file).expect("writing to a Vec cannot fail");
        write_atomically(path, &bytes, 0o600)?;
        state.dirty = false;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }
}
