//! What came of many histories.

use testkit::faults::Census;
use testkit::linear::set::{Added, Call, Timed};

/// Counts over histories.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) histories: u64,
    pub(crate) done: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    pub(crate) confirmed: u64,
    pub(crate) newest_seen: u64,
    /// Reads that found nothing or failed.
    pub(crate) failed_reads: u64,
    /// Clients killed in the middle of a change, and those begun anew without memory.
    pub(crate) killed: u64,
    /// Changes whose host lost most servers a few milliseconds later, and then power.
    pub(crate) cut_off: u64,
    pub(crate) reborn: u64,
    /// Changes tried again under the same id after an unknown outcome.
    pub(crate) retried: u64,
    /// Changes of members that came to pass, and others.
    pub(crate) moved: u64,
    pub(crate) not_moved: u64,
    pub(crate) census: Census,
}

impl Tally {
    pub(crate) fn count(&mut self, history: &[Timed]) {
        self.histories += 1;
        for timed in history {
            *match timed.call {
                Call::Add { outcome: Added::Done, .. } => &mut self.done,
                Call::Add { outcome: Added::Refused, .. } => &mut self.refused,
                Call::Add { outcome: Added::Unknown, .. } => &mut self.unknown,
                Call::Confirmed { .. } => &mut self.confirmed,
                Call::NewestSeen { .. } => &mut self.newest_seen,
            } += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.histories += other.histories;
        self.done += other.done;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.confirmed += other.confirmed;
        self.newest_seen += other.newest_seen;
        self.failed_reads += other.failed_reads;
        self.killed += other.killed;
        self.cut_off += other.cut_off;
        self.reborn += other.reborn;
        self.retried += other.retried;
        self.moved += other.moved;
        self.not_moved += other.not_moved;
        self.census.merge(&other.census);
    }

    pub(crate) fn adds(&self) -> u64 {
        self.done + self.refused + self.unknown
    }

    pub(crate) fn operations(&self) -> u64 {
        self.adds() + self.confirmed + self.newest_seen + self.failed_reads
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (histories, operations) = (self.histories, self.operations());
        writeln!(f, "{histories} histories, {operations} operations")?;
        let (adds, done, refused, unknown) = (self.adds(), self.done, self.refused, self.unknown);
        writeln!(f, "  changes {adds}: done {done}, refused {refused}, unknown {unknown}")?;
        let (killed, cut, retried, reborn) = (self.killed, self.cut_off, self.retried, self.reborn);
        writeln!(
            f,
            "  killed in the middle {killed}, of hosts losing their servers {cut}, tried again {retried}, clients begun anew {reborn}"
        )?;
        let (confirmed, newest, failed) = (self.confirmed, self.newest_seen, self.failed_reads);
        writeln!(f, "  reads: confirmed {confirmed}, newest seen {newest}, failed {failed}")?;
        writeln!(f, "  changes of members: done {}, others {}", self.moved, self.not_moved)?;
        write!(f, "  faults: {}", self.census)
    }
}
