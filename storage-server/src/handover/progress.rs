//! What a server was told to do with its shares, and how far it is: small files in its directory, by which the command and the running
//! server talk to each other, and which outlast both.

use std::io;

use serde::{Deserialize, Serialize};

use crate::disk::{Disk, OpenMode, read_file, replace_file};

/// Bytes of such a file, at most.
const FILE_MAX: u64 = 64 * 1024;
/// Problems that are told, at most.
pub(super) const PROBLEMS_MAX: usize = 8;

/// What a server may be told to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Hand everything over, until it is told not to.
    Drain,
    /// Hand over once what stands better elsewhere.
    Rebalance,
}

impl Order {
    fn mark(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Rebalance => "rebalance",
        }
    }

    fn progress(self) -> String {
        format!("{}.progress", self.mark())
    }

    fn again(self) -> String {
        format!("{}.again", self.mark())
    }

    /// Gives the order to the server in this directory, running or not. A drain that waits, or is complete, looks again at once when it is
    /// ordered anew.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    pub fn give(self, dir: &dyn Disk) -> io::Result<()> {
        if self.is_given(dir)? {
            let at_rest = self.how_far(dir)?.is_some_and(|progress| progress.phase != Phase::HandingOver);
            if self == Self::Drain && at_rest {
                // First, so that what is written from here on is of another look.
                remove_if_there(dir, &self.progress())?;
                replace_file(dir, &self.again(), b"")?;
            }
            return Ok(());
        }
        remove_if_there(dir, &self.progress())?;
        replace_file(dir, self.mark(), b"")
    }

    /// Takes the order back, and forgets how far it was.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    pub fn take_back(self, dir: &dyn Disk) -> io::Result<()> {
        remove_if_there(dir, self.mark())?;
        dir.sync_dir("")?;
        remove_if_there(dir, &self.again())?;
        remove_if_there(dir, &self.progress())
    }

    /// Whether it was given and not taken back.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    pub fn is_given(self, dir: &dyn Disk) -> io::Result<bool> {
        match dir.open(self.mark(), OpenMode::Read) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it was given anew since this was asked last.
    pub(super) fn is_repeated(self, dir: &dyn Disk) -> bool {
        dir.remove(&self.again()).is_ok()
    }

    /// It was carried out: how far it was stays.
    pub(super) fn is_done(self, dir: &dyn Disk) -> io::Result<()> {
        remove_if_there(dir, self.mark())
    }

    /// How far the server is with it; `None` if it has not begun.
    ///
    /// # Errors
    ///
    /// Whatever the medium says.
    pub fn how_far(self, dir: &dyn Disk) -> io::Result<Option<Progress>> {
        match read_file(dir, &self.progress(), FILE_MAX) {
            // One that cannot be read is as good as none: what was done is found again.
            Ok(bytes) => Ok(std::str::from_utf8(&bytes).ok().and_then(|text| toml::from_str(text).ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(self, dir: &dyn Disk, progress: &Progress) -> io::Result<()> {
        let text = toml::to_string(progress).map_err(io::Error::other)?;
        replace_file(dir, &self.progress(), text.as_bytes())
    }
}

fn remove_if_there(dir: &dyn Disk, path: &str) -> io::Result<()> {
    match dir.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Shares are on their way.
    #[default]
    HandingOver,
    /// Nobody takes what is left: it is tried again now and then.
    Waiting,
    /// Every server was asked once more, and everything is in other hands.
    Complete,
}

/// How far it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Where it stands.
    pub phase: Phase,
    /// Shares there are to hand over, as counted when it began.
    pub shares: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Shares that other servers have, as they proved.
    pub done_shares: u64,
    /// Bytes of these.
    pub done_bytes: u64,
    /// Bytes that were sent for that in this run: the others had the rest already.
    pub sent_bytes: u64,
    /// Seconds that this run takes so far.
    pub run_s: u64,
    /// Bytes that were done in this run.
    pub run_bytes: u64,
    /// Shares that nobody takes.
    pub left: u64,
    /// Objects that will be on fewer servers: there are not enough without this one.
    pub crowded: u64,
    /// Shares that are damaged here, so that there is nothing to hand over.
    pub damaged: u64,
    /// Shares that nobody leases any more: they wait to be collected, and are not handed over.
    pub unwanted: u64,
    /// Slots in whose quorums stores of this server count.
    pub slots: u64,
    /// What stood in the way, of the last attempt.
    pub problems: Vec<String>,
    /// When this was written, in seconds since 1970.
    pub updated_s: u64,
    pub(super) cursor: Option<Cursor>,
}

/// Where to go on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) store: String,
    /// The last object that is done.
    pub(super) after: String,
}

impl Progress {
    /// Seconds that the rest takes at the pace so far; `None` if that cannot be told.
    pub fn eta_s(&self) -> Option<u64> {
        let left = self.bytes.saturating_sub(self.done_bytes);
        (self.run_bytes > 0).then(|| left.saturating_mul(self.run_s.max(1)) / self.run_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real_disk::RealDisk;

    #[test]
    fn orders_and_progress_outlast_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let dir = RealDisk::new(folder.path());
        let order = Order::Drain;
        assert!(!order.is_given(&dir).unwrap() && order.how_far(&dir).unwrap().is_none());
        order.give(&dir).unwrap();
        let cursor = Some(Cursor { store: "s".into(), after: "h".into() });
        let progress = Progress {
            phase: Phase::HandingOver,
            bytes: 5,
            problems: vec!["x \"y\"\n".into()],
            cursor,
            ..Progress::default()
        };
        order.write(&dir, &progress).unwrap();
        order.give(&dir).unwrap();
        assert_eq!(order.how_far(&dir).unwrap(), Some(progress.clone()), "given twice, it goes on");
        order.write(&dir, &Progress { phase: Phase::Waiting, ..progress }).unwrap();
        order.give(&dir).unwrap();
        assert_eq!(order.how_far(&dir).unwrap(), None, "one that waits looks again");
        std::fs::write(folder.path().join("drain.progress"), "rubbish").unwrap();
        assert_eq!(order.how_far(&dir).unwrap(), None);
        order.take_back(&dir).unwrap();
        assert!(!order.is_given(&dir).unwrap() && !Order::Rebalance.is_given(&dir).unwrap());
    }

    #[test]
    fn the_rest_takes_as_long_as_the_pace_says() {
        let progress =
            Progress { bytes: 300, done_bytes: 100, run_bytes: 50, run_s: 10, ..Progress::default() };
        assert_eq!(progress.eta_s(), Some(40));
        assert_eq!(Progress { bytes: 300, ..Progress::default() }.eta_s(), None);
    }
}
