//! Sending to the grid what is owed to it: contents first, then the folders that name them, the deepest first, and what left a folder
//! for another last. So nobody ever sees a name before its content, and a move is in two places for a moment, never in none.

mod commit;
mod emptied;
mod plan;

use std::collections::{BTreeMap, HashSet};
use std::sync::Weak;
use std::time::Duration;

use encoding::directory::Name;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::plan::Debt;
use crate::error::FsError;
use crate::mount::Inner;
use crate::state::Owed;
use crate::types::Ino;

/// Files stored at once.
const AT_ONCE: usize = 16;
/// How often `fsync` begins again because something was changed while it was sent.
const SYNC_ROUNDS: usize = 20;
/// `fsync` tries anew for this part of the time that a call may take when servers do not answer.
const PATIENT: u32 = 4;
const AGAIN: Duration = Duration::from_millis(250);
/// Between rounds that follow each other.
const PAUSE: Duration = Duration::from_millis(5);
/// Between attempts while the grid takes nothing.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Power cuts lose what was not synced for so long.
const JOURNAL_SYNC: Duration = Duration::from_secs(1);
/// A journal of so many bytes is begun anew when nothing is owed.
const JOURNAL_IDLE: u64 = 1024 * 1024;

/// What is to be sent.
#[derive(Clone, Copy)]
enum Wanted {
    /// What has waited long enough.
    Ready,
    /// All.
    All,
    /// This and the names that lead to it.
    Chain(Ino),
}

/// Names to be sent, by folder.
type Plan = BTreeMap<Ino, Vec<(Name, Owed)>>;

/// Syncs the journal in the background as long as the mount lives, whatever the grid does.
pub(crate) async fn keep(mount: Weak<Inner>) {
    loop {
        tokio::time::sleep(JOURNAL_SYNC).await;
        let Some(inner) = mount.upgrade() else { return };
        // One that cannot be written has told so, and is tried again.
        let _ = inner.sync_journal().await;
    }
}

/// Sends in the background as long as the mount lives.
pub(crate) async fn run(mount: Weak<Inner>) {
    let (mut pause, mut synced) = (BACKOFF.0, Instant::now());
    loop {
        let Some(inner) = mount.upgrade() else { return };
        let linger = inner.options.linger;
        // Nobody holds the mount alive only because it waits here.
        let woken = {
            let waiting = inner.wake.notified();
            tokio::time::timeout(linger.max(Duration::from_millis(10)), waiting).await
        };
        if woken.is_ok() && !inner.is_pressed() {
            tokio::time::sleep(linger).await;
        }
        let sent = inner.round(Wanted::Ready).await;
        let nothing_owed = {
            let mut state = inner.state();
            state.trouble = sent.as_ref().err().copied();
            state.owed_names() == 0
        };
        inner.sent.notify_waiters();
        if synced.elapsed() >= JOURNAL_SYNC {
            inner.tend_journal(nothing_owed);
            synced = Instant::now();
        }
        drop(inner);
        match sent {
            Ok(()) => pause = BACKOFF.0,
            Err(error) => {
                tracing::warn!(%error, "what was written is not on the grid yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
    }
}

impl Inner {
    fn is_pressed(&self) -> bool {
        self.state().dirty >= self.options.dirty_max / 2
    }

    /// Makes durable what the journal has. Others go on meanwhile.
    pub(crate) async fn sync_journal(&self) -> Result<(), FsError> {
        let Some((file, point)) = self.state().begin_sync()? else { return Ok(()) };
        let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
        self.state().synced(point, synced.unwrap_or_else(|error| Err(std::io::Error::other(error))))
    }

    /// Begins a long journal anew.
    fn tend_journal(&self, nothing_owed: bool) {
        let limit = self.options.dirty_max.saturating_mul(4).max(JOURNAL_IDLE);
        let mut state = self.state();
        let len = state.journal_len();
        if (nothing_owed && len > JOURNAL_IDLE) || len > limit {
            let _ = state.begin_journal_anew();
        }
    }

    /// Sends this and the names that lead to it.
    pub(crate) async fn sync_one(&self, ino: Ino) -> Result<(), FsError> {
        let (mut debts, mut moved) = (self.state().debts(ino), false);
        let (until, mut rounds) = (Instant::now() + self.options.timeout / PATIENT, 0);
        loop {
            let sent = self.round(Wanted::Chain(ino)).await;
            if self.paid(ino, &mut debts, &mut moved) {
                // What went wrong with others is not of this one.
                return Ok(());
            }
            match sent {
                // A server that is started again is back in a moment, and programs take a failed sync for a loss.
                Err(FsError::TimedOut) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
                Ok(()) if rounds < SYNC_ROUNDS => rounds += 1,
                sent => return sent.and(Err(FsError::TimedOut)),
            }
        }
    }

    /// Whether nothing of this is owed any more. Folders above that somebody removed meanwhile are to stand again, too; and what is in them
    /// then, where they became another's.
    fn paid(&self, ino: Ino, debts: &mut Vec<Debt>, moved: &mut bool) -> bool {
        let state = self.state();
        if state.owes_any(debts) {
            return false;
        }
        *debts = state.debts_above(ino);
        if debts.is_empty() && std::mem::take(moved) {
            *debts = state.debts(ino);
        } else {
            *moved = !debts.is_empty();
        }
        debts.is_empty()
    }

    /// Sends all that is owed, however often that takes.
    pub(crate) async fn sync_all(&self) {
        let mut pause = PAUSE;
        while self.state().owed_names() > 0 {
            match self.round(Wanted::All).await {
                Ok(()) => pause = PAUSE,
                Err(error) => {
                    tracing::warn!(%error, "not all that was written is on the grid yet");
                    pause = (pause * 2).clamp(BACKOFF.0, BACKOFF.1);
                }
            }
            // Others write on meanwhile.
            tokio::time::sleep(pause).await;
        }
    }

    async fn round(&self, wanted: Wanted) -> Result<(), FsError> {
        let _one = self.sending.lock().await;
        let plan = self.state().plan(wanted, &self.options);
        if plan.is_empty() {
            return Ok(());
        }
        let done = self.send(&plan).await;
        self.state().mark(&plan, false);
        done
    }

    async fn send(&self, plan: &Plan) -> Result<(), FsError> {
        // What could not be stored is not named; the rest is.
        let (failed, mut first) = self.store_all(plan).await;
        let mut folders: Vec<(usize, Ino)> =
            plan.keys().map(|ino| (self.state().depth(*ino), *ino)).collect();
        folders.sort_unstable_by(|a, b| b.cmp(a));
        for leaving in [false, true] {
            for (_, folder) in &folders {
                let names = self.state().passing(*folder, &plan[folder], (leaving, &failed));
                match self.commit(*folder, names).await {
                    // It was changed once more meanwhile, and is owed anew.
                    Ok(()) | Err(FsError::Stale) => {}
                    Err(error) => {
                        first.get_or_insert(error);
                    }
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    async fn store_all(&self, plan: &Plan) -> (HashSet<Ino>, Option<FsError>) {
        let files: Vec<Ino> = plan.values().flatten().filter_map(|(_, owed)| owed.to).collect();
        let (mut failed, mut first) = (HashSet::new(), None);
        let (mut waiting, mut storing) = (files.into_iter(), JoinSet::new());
        let mut begin = |storing: &mut JoinSet<_>| {
            if let (Some(ino), Some(inner)) = (waiting.next(), self.me.upgrade()) {
                storing.spawn(async move { (ino, inner.store(ino).await) });
            }
        };
        (0..AT_ONCE).for_each(|_| begin(&mut storing));
        while let Some(done) = storing.join_next().await {
            let (ino, stored) = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            if let Err(error) = stored {
                failed.insert(ino);
                if error != FsError::Stale {
                    first.get_or_insert(error);
                }
            }
            begin(&mut storing);
        }
        (failed, first)
    }
}
