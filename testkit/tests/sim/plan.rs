//! What a history is to be, drawn from its seed.

use std::sync::Arc;
use std::time::Duration;

use client::Timeouts;
use testkit::disk::{DiskImage, Survival};
use testkit::faults::{Fault, Schedule, Severity};
use testkit::random::SimRandom;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// What is wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plant {
    Nothing,
    /// A bare majority in place of q, while as many stores forget as q would survive.
    Majority,
    /// More disks than may forget say they synced, and lose power.
    SkippedSync,
    /// More stores than may forget come back with an empty index and the incarnation they had.
    Amnesia,
    /// After a change of members all old ones come back from before it.
    LostForward,
}

/// What a history is to be.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) servers: usize,
    pub(crate) members: usize,
    pub(crate) quorum: usize,
    pub(crate) writers: usize,
    pub(crate) readers: usize,
    /// By each writer, and reads by each reader.
    pub(crate) changes: u64,
    pub(crate) reads: u64,
    /// How long faults begin.
    pub(crate) lasts: Duration,
    /// How long clients wait between calls, at most.
    pub(crate) rest: Duration,
    pub(crate) severity: Severity,
    /// When members are replaced.
    pub(crate) moves: Vec<Duration>,
    pub(crate) plant: Plant,
}

impl Plan {
    /// The plan of this seed, within what slots promise to survive.
    pub(crate) fn of(seed: u64) -> Self {
        let random = SimRandom::new(seed).fork("plan");
        let (members, quorum) = match random.between(0, 9) {
            0..=4 => (10, 7),
            5..=7 => (4, 3),
            _ => (3, 2),
        };
        let moving = random.between(0, 3) == 0;
        let spares = if moving { members.min(4) } else { 0 };
        let (lost, forget) = (members - quorum, 2 * quorum - members - 1);
        let severity = Severity {
            gap: Duration::from_millis(random.between(120, 500)),
            longest: SECOND * 3,
            lost: random.between(0, lost as u64) as usize,
            rolled_back: random.between(0, forget as u64) as usize,
        };
        let lasts = SECOND * 5;
        let moves = match moving {
            true => vec![SECOND + SECOND.mul_f64(random.between(0, 200) as f64 / 100.0), lasts],
            false => Vec::new(),
        };
        Self {
            seed,
            servers: members + spares,
            members,
            quorum,
            writers: 3 + (random.between(0, 3) == 0) as usize,
            readers: 1 + random.between(0, 1) as usize,
            changes: 8,
            reads: 8,
            lasts,
            rest: Duration::from_millis(random.between(100, 900)),
            severity,
            moves,
            plant: Plant::Nothing,
        }
    }

    /// A plan with a fault that slots do not survive, or are not meant to.
    pub(crate) fn planted(seed: u64, plant: Plant) -> Self {
        let severity = Severity { gap: SECOND, longest: SECOND, lost: 0, rolled_back: 0 };
        let rest = Duration::from_millis(600);
        let plain = Self { servers: 10, members: 10, quorum: 7, moves: Vec::new(), ..Self::of(seed) };
        let plain = Self { severity, rest, plant, ..plain };
        match plant {
            Plant::Nothing | Plant::SkippedSync | Plant::Amnesia => plain,
            Plant::Majority => {
                Self { quorum: 6, severity: Severity { rolled_back: 3, ..severity }, ..plain }
            }
            Plant::LostForward => {
                Self { servers: 8, members: 4, quorum: 3, moves: vec![SECOND * 2], readers: 2, ..plain }
            }
        }
    }

    pub(crate) fn shares(&self) -> String {
        format!("1/{}/{}", self.quorum.min(self.members), self.members)
    }

    pub(crate) fn clients(&self) -> usize {
        self.writers + self.readers
    }

    /// The faults; `members` are the servers that hold the slot, `pristine` what was on each disk before it was made.
    pub(crate) fn schedule(&self, members: &[usize], pristine: &[Arc<DiskImage>]) -> Schedule {
        let mut schedule =
            Schedule::random(self.seed, self.servers, self.clients(), self.lasts, self.severity);
        let random = SimRandom::new(self.seed).fork("plant");
        let at = || Duration::from_millis(random.between(1000, 5000));
        // Two more than may forget with n = 10 and q = 7.
        let some = || members.iter().take(5).copied();
        match self.plant {
            Plant::Nothing | Plant::Majority => {}
            Plant::SkippedSync => schedule.0.extend(
                some().map(|server| (at(), Fault::Crash(server, Survival::Nothing, SECOND / 10))),
            ),
            Plant::Amnesia => {
                schedule.0.extend(some().map(|server| (at(), Fault::Replace(server, pristine[server].clone()))));
            }
            Plant::LostForward => schedule.0.extend(
                members.iter().map(|server| (SECOND * 3 / 2, Fault::RollBack(*server, SECOND * 5 / 2))),
            ),
        }
        schedule.0.sort_by_key(|(at, _)| *at);
        schedule
    }
}

/// Clients of a grid that is ill give up sooner, or a history would last for minutes.
pub(crate) fn timeouts() -> Timeouts {
    Timeouts {
        connect: SECOND,
        answer: SECOND * 2,
        commit: SECOND * 4,
        shun: SECOND / 2,
        ..Timeouts::default()
    }
}
