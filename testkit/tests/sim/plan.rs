//! What a history is to be, drawn from its seed.

use std::sync::Arc;
use std::time::Duration;

use client::Timeouts;
use testkit::disk::{DiskImage, Survival};
use testkit::faults::{Fault, Host, Schedule, Severity};
use testkit::random::SimRandom;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// How long some members are away before the worst moment.
const BEFORE: Duration = SECOND;

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
    /// Whether members forget at the worst moment.
    pub(crate) squeezed: bool,
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
            squeezed: false,
            plant: Plant::Nothing,
        }
        .or_squeezed(random.between(0, 4) == 0)
    }

    /// At the worst moment little else goes wrong: else nothing would be acknowledged that could be lost.
    fn or_squeezed(self, squeezed: bool) -> Self {
        if !squeezed {
            return self;
        }
        let severity = Severity { gap: SECOND * 2, longest: SECOND, lost: 0, rolled_back: 0 };
        let rest = Duration::from_millis(600);
        Self { severity, rest, moves: Vec::new(), servers: self.members, squeezed, ..self }
    }

    /// A plan with a fault that slots do not survive, or are not meant to.
    pub(crate) fn planted(seed: u64, plant: Plant) -> Self {
        let plain = Self { servers: 10, members: 10, quorum: 7, plant, ..Self::of(seed) }.or_squeezed(true);
        match plant {
            Plant::Nothing | Plant::SkippedSync | Plant::Amnesia => plain,
            Plant::Majority => Self { quorum: 6, ..plain },
            Plant::LostForward => {
                let moves = vec![SECOND * 2];
                Self { servers: 8, members: 4, quorum: 3, moves, readers: 2, squeezed: false, ..plain }
            }
        }
    }

    pub(crate) fn shares(&self) -> String {
        format!("1/{}/{}", self.quorum, self.members)
    }

    /// How many stores forget at the worst moment.
    fn forgetful(&self) -> usize {
        let may = 2 * self.quorum - self.members - 1;
        match self.plant {
            Plant::Nothing | Plant::LostForward => may,
            // As many as the right quorum would survive.
            Plant::Majority => 3,
            // All that acknowledge while the others are away.
            Plant::SkippedSync | Plant::Amnesia => self.quorum,
        }
    }

    pub(crate) fn clients(&self) -> usize {
        self.writers + self.readers
    }

    /// The faults; `members` are the servers that hold the slot, `pristine` what was on each disk before it was made.
    pub(crate) fn schedule(&self, members: &[usize], pristine: &[Arc<DiskImage>]) -> Schedule {
        let mut schedule =
            Schedule::random(self.seed, self.servers, self.clients(), self.lasts, self.severity);
        match self.plant {
            Plant::LostForward => schedule.0.extend(
                members.iter().map(|server| (SECOND * 3 / 2, Fault::RollBack(*server, SECOND * 5 / 2))),
            ),
            _ if self.squeezed => schedule.0.extend(self.squeeze(members, pristine)),
            _ => {}
        }
        schedule.0.sort_by_key(|(at, _)| *at);
        schedule
    }

    /// When the worst moment is.
    fn worst(&self) -> Duration {
        let random = SimRandom::new(self.seed).fork("worst");
        SECOND + BEFORE + Duration::from_millis(random.between(0, 1000))
    }

    /// When clients lose power: with the worst moment, for whoever remembers what was acknowledged brings it back.
    pub(crate) fn doom(&self) -> Option<Duration> {
        self.squeezed.then(|| self.worst())
    }

    /// The worst moment to forget: as many members as may be away miss what the others acknowledge; then those that forget do so, the
    /// others come back, and of those that know as many are away as may be.
    fn squeeze(&self, members: &[usize], pristine: &[Arc<DiskImage>]) -> Vec<(Duration, Fault)> {
        const AFTER: Duration = Duration::from_millis(4000);
        let random = SimRandom::new(self.seed).fork("squeeze");
        let at = self.worst();
        let mut members = members.to_vec();
        (1..members.len()).rev().for_each(|last| members.swap(last, random.between(0, last as u64) as usize));
        // Whose disks lie is known from the beginning.
        let liars = self.liars(&members);
        members.sort_by_key(|server| !liars.contains(server));
        let (forget, others) = members.split_at(self.forgetful());
        let (miss, know) = others.split_at(self.members - self.quorum);
        let mut faults = Vec::new();
        for server in miss {
            // Down, and not merely cut off: what is on its way to one that is cut off comes through in the end.
            faults.push((at - BEFORE, Fault::Crash(*server, Survival::Everything, BEFORE)));
        }
        for server in forget.iter().copied() {
            faults.push(match self.plant {
                Plant::SkippedSync => (at, Fault::Crash(server, Survival::Nothing, Duration::ZERO)),
                Plant::Amnesia => (at, Fault::Replace(server, pristine[server].clone())),
                _ => (at - BEFORE, Fault::RollBack(server, BEFORE)),
            });
        }
        for server in know.iter().take(self.members - self.quorum) {
            faults.push((at, Fault::Isolate(Host::Server(*server), AFTER)));
        }
        faults
    }

    /// The members whose disks lie.
    pub(crate) fn liars(&self, members: &[usize]) -> Vec<usize> {
        let mut members = members.to_vec();
        members.sort_unstable();
        members.truncate(if self.plant == Plant::SkippedSync { self.forgetful() } else { 0 });
        members
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
