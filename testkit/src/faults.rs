//! Faults of a simulated grid, drawn from a seed, and a census of those that really happened.
//!
//! A [`Schedule`] says when what goes wrong and for how long; [`run`] does it while clients work, and puts everything right again at its
//! end, except what is lost for good. Clients that shall pause do their work through a [`Gate`].

mod census;
mod gate;
mod run;

pub use census::{Census, Kind};
pub use gate::Gate;
pub use run::{ClientHost, run};

use std::sync::Arc;
use std::time::Duration;

use crate::disk::{DiskImage, Survival};
use crate::random::SimRandom;

/// A host of the grid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Host {
    /// A server, by its index in the grid.
    Server(usize),
    /// A client, by its index in what [`run`] is given.
    Client(usize),
}

/// Something that goes wrong. Durations say for how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// All connections of the host break; what is under way is lost.
    Drop(Host),
    /// What the host sends and hears takes up to so long, each piece its own time, so that requests overtake each other.
    Delay(Host, Duration, Duration),
    /// A third of what the host asks is delivered once more, up to twice the duration later.
    Duplicate(Host, Duration),
    /// Nothing travels between two hosts; if the flag is set, only from the first to the second.
    Partition(Host, Host, bool, Duration),
    /// Nothing travels to or from the host.
    Isolate(Host, Duration),
    /// The host stands still: to others it is silent, and a client's work does not go on.
    Pause(Host, Duration),
    /// The server's power fails and comes back; of what was not synced survives what is said.
    Crash(usize, Survival, Duration),
    /// The server's disk freezes at the sync of this number from now; then it crashes and comes back.
    Freeze(usize, u64, Survival, Duration),
    /// The server's wall clock jumps: ahead if the flag is set, else back.
    ClockJump(usize, bool, Duration),
    /// The server never comes back.
    Lose(usize),
    /// After the duration, the server restarts from an image of its disk as it is now: it forgets, and does not know.
    RollBack(usize, Duration),
    /// The server restarts at once with this image in place of its disk.
    Replace(usize, Arc<DiskImage>),
}

/// How bad a schedule is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Severity {
    /// Time between faults, on average.
    pub gap: Duration,
    /// How long a fault lasts, at most.
    pub longest: Duration,
    /// Servers lost for good, at most.
    pub lost: usize,
    /// Servers rolled back, at most; they are others than the lost ones.
    pub rolled_back: usize,
}

impl Default for Severity {
    fn default() -> Self {
        let (gap, longest) = (Duration::from_millis(400), Duration::from_secs(4));
        Self { gap, longest, lost: 0, rolled_back: 0 }
    }
}

/// Faults and when they begin, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Schedule(pub Vec<(Duration, Fault)>);

impl Schedule {
    /// The schedule of this seed, for a grid of so many servers and clients; no fault begins later than `duration`.
    ///
    /// # Panics
    ///
    /// If there are fewer than two servers, or no clients.
    pub fn random(seed: u64, servers: usize, clients: usize, duration: Duration, severity: Severity) -> Self {
        assert!(servers >= 2 && clients >= 1, "faults need hosts");
        let draw = Draw { random: SimRandom::new(seed).fork("faults"), servers, clients, severity };
        let mut faults = Vec::new();
        let mut at = draw.duration(severity.gap * 2);
        while at < duration {
            faults.push((at, draw.fault()));
            at += draw.duration(severity.gap * 2);
        }
        let mut victims = draw.shuffled_servers();
        let mut victim = || victims.pop().expect("fewer are lost than there are");
        for _ in 0..severity.lost.min(servers - 1) {
            faults.push((draw.duration(duration), Fault::Lose(victim())));
        }
        for _ in 0..severity.rolled_back.min(servers - 1 - severity.lost.min(servers - 1)) {
            faults.push((draw.duration(duration), Fault::RollBack(victim(), draw.lasting())));
        }
        faults.sort_by_key(|(at, _)| *at);
        Self(faults)
    }
}

struct Draw {
    random: SimRandom,
    servers: usize,
    clients: usize,
    severity: Severity,
}

impl Draw {
    fn below(&self, bound: usize) -> usize {
        self.random.between(0, bound as u64 - 1) as usize
    }

    fn duration(&self, most: Duration) -> Duration {
        Duration::from_micros(self.random.between(0, most.as_micros() as u64))
    }

    /// Mostly short, seldom long.
    fn lasting(&self) -> Duration {
        let long = self.random.between(0, 4) == 0;
        self.duration(if long { self.severity.longest } else { self.severity.longest / 8 })
    }

    fn host(&self) -> Host {
        match self.below(self.servers + self.clients) {
            server if server < self.servers => Host::Server(server),
            client => Host::Client(client - self.servers),
        }
    }

    fn client(&self) -> Host {
        Host::Client(self.below(self.clients))
    }

    fn survival(&self) -> Survival {
        [Survival::Nothing, Survival::Chance, Survival::Everything][self.below(3)]
    }

    fn fault(&self) -> Fault {
        let server = self.below(self.servers);
        match self.below(12) {
            0 => Fault::Drop(self.host()),
            1 | 2 => Fault::Delay(self.host(), self.duration(Duration::from_secs(2)), self.lasting()),
            3 | 4 => Fault::Duplicate(self.client(), self.lasting()),
            5 | 6 => {
                Fault::Partition(self.client(), Host::Server(server), self.below(3) == 0, self.lasting())
            }
            7 => Fault::Isolate(self.host(), self.lasting()),
            8 => Fault::Pause(self.host(), self.lasting()),
            9 => Fault::Crash(server, self.survival(), self.lasting()),
            10 => Fault::Freeze(server, self.random.between(1, 4), self.survival(), self.lasting()),
            _ => {
                let days = Duration::from_secs(86_400) * self.random.between(0, 60) as u32;
                Fault::ClockJump(server, self.below(2) == 0, days + self.lasting())
            }
        }
    }

    fn shuffled_servers(&self) -> Vec<usize> {
        let mut servers: Vec<usize> = (0..self.servers).collect();
        (1..servers.len()).rev().for_each(|last| servers.swap(last, self.below(last + 1)));
        servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_schedule_and_all_faults_are_drawn() {
        let minute = Duration::from_secs(60);
        let severity = Severity { lost: 1, rolled_back: 1, ..Severity::default() };
        let drawn = |seed| Schedule::random(seed, 10, 3, minute, severity);
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        let mut kinds: Vec<String> = Vec::new();
        for (at, fault) in (0..10).flat_map(|seed| drawn(seed).0) {
            assert!(at <= minute);
            kinds.push(format!("{fault:?}").chars().take_while(char::is_ascii_alphabetic).collect());
        }
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds.len(), 11, "{kinds:?}");
    }

    #[test]
    fn never_more_are_lost_than_allowed() {
        let severity = Severity { lost: 5, rolled_back: 5, ..Severity::default() };
        for seed in 0..50 {
            let schedule = Schedule::random(seed, 4, 1, Duration::from_secs(9), severity);
            let gone = |fault: &Fault| matches!(fault, Fault::Lose(_) | Fault::RollBack(..));
            assert_eq!(schedule.0.iter().filter(|(_, fault)| gone(fault)).count(), 3);
        }
    }
}
