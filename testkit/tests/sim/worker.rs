//! A client at work: it changes and reads one slot, is killed, and begins anew.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use caps::{SlotRead, SlotWrite};
use client::Client;
use client::slot::{Edit, EditError, Freshness, SlotBase, SlotError};
use encoding::Sections;
use encoding::slot::Ballot;
use protocol::NodeId;
use testkit::faults::Gate;
use testkit::linear::Recorder;
use testkit::linear::set::{Added, Call, OpId};
use testkit::net::SimNet;
use testkit::random::SimRandom;
use tokio::time::Instant;

use crate::tally::Tally;

/// Adds an id to section A.
pub(crate) struct Add {
    pub(crate) id: OpId,
    /// Whether it refuses where there is an odd number of them.
    pub(crate) picky: bool,
}

/// It did not like what it found.
#[derive(Debug)]
pub(crate) struct Odd;

impl Edit for Add {
    type Refusal = Odd;

    async fn apply(&mut self, base: &SlotBase) -> Result<Option<Sections>, Odd> {
        let ids = ids(&base.sections);
        if ids.contains(&self.id) {
            return Ok(None);
        }
        if self.picky && ids.len() % 2 == 1 {
            return Err(Odd);
        }
        let mut sections = base.sections.clone();
        sections.a.extend(self.id.to_le_bytes());
        Ok(Some(sections))
    }
}

/// What is in section A.
pub(crate) fn ids(sections: &Sections) -> Vec<OpId> {
    let words = sections.a.chunks_exact(8);
    words.map(|word| OpId::from_le_bytes(word.try_into().unwrap())).collect()
}

/// A call, when it was made, and the ballot of what a confirmed read returned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) call: Call,
    pub(crate) ballot: Option<Ballot>,
}

/// What all workers write to.
#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) entries: Arc<Mutex<Vec<Entry>>>,
    pub(crate) tally: Arc<Mutex<Tally>>,
}

impl Log {
    fn put(&self, begin: u64, call: Call, ballot: Option<Ballot>) {
        let end = self.recorder.tick();
        self.entries.lock().unwrap().push(Entry { begin, end, call, ballot });
    }

    fn count(&self, what: impl FnOnce(&mut Tally) -> &mut u64) {
        *what(&mut self.tally.lock().unwrap()) += 1;
    }
}

/// A client at work.
pub(crate) struct Worker {
    /// Clients of one host, each without memory of the one before; the last is at work.
    pub(crate) lives: Vec<Client>,
    pub(crate) gate: Gate,
    pub(crate) random: SimRandom,
    pub(crate) log: Log,
    /// Distinguishes its ids from those of others.
    pub(crate) number: u64,
    /// How long it waits between two calls, at most.
    pub(crate) rest: Duration,
    /// Its host, the network, and everybody else on it.
    pub(crate) host: NodeId,
    pub(crate) net: SimNet,
    pub(crate) servers: Vec<NodeId>,
    /// When its host loses power for a moment, whatever it does.
    pub(crate) doom: Option<Instant>,
}

/// Longer than any call may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Worker {
    /// Makes so many changes, and some reads.
    pub(crate) async fn write(mut self, cap: SlotWrite, changes: u64) {
        self.client().refresh().await;
        for at in 0..changes {
            self.rest().await;
            self.perhaps_anew(10).await;
            self.add(&cap, self.number * 1000 + at).await;
            if self.chance(4) {
                self.read(&cap.to_read()).await;
            }
        }
    }

    /// Makes so many reads, with nothing but the read cap.
    pub(crate) async fn watch(mut self, cap: SlotRead, reads: u64) {
        self.client().refresh().await;
        for _ in 0..reads {
            self.rest().await;
            self.perhaps_anew(6).await;
            self.read(&cap).await;
        }
    }

    fn client(&self) -> &Client {
        self.lives.last().unwrap()
    }

    async fn rest(&self) {
        let most = self.rest.as_micros() as u64;
        let rest = Duration::from_micros(self.random.between(0, most));
        tokio::time::sleep(self.until_doom(rest)).await;
    }

    fn until_doom(&self, patience: Duration) -> Duration {
        let left = self.doom.map(|doom| doom.saturating_duration_since(Instant::now()));
        left.map_or(patience, |left| left.min(patience))
    }

    fn chance(&self, of: u64) -> bool {
        self.random.between(1, of) == 1
    }

    /// Begins anew, for certain if power was lost.
    async fn perhaps_anew(&mut self, of: u64) -> bool {
        if self.doom.is_some_and(|doom| doom <= Instant::now()) {
            self.doom = None;
            self.net.host_down(self.host);
            // What it had given to tasks of its own finds no network either.
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.net.host_up(self.host);
            self.lives.remove(0);
            self.lives.truncate(1);
            self.log.count(|tally| &mut tally.reborn);
            self.client().refresh().await;
            return true;
        }
        let anew = self.lives.len() > 1 + usize::from(self.doom.is_some()) && self.chance(of);
        if anew {
            self.lives.pop();
            self.log.count(|tally| &mut tally.reborn);
            self.client().refresh().await;
        }
        anew
    }

    /// One change, tried again now and then where nobody knows what became of it.
    pub(crate) async fn add(&mut self, cap: &SlotWrite, id: OpId) {
        let picky = self.chance(6);
        let begin = self.log.recorder.tick();
        let mut outcome = match self.chance(6) {
            true => self.attempt_half(cap, Add { id, picky }).await,
            false => self.attempt(cap, Add { id, picky }, None).await.0,
        };
        let mut same_life = true;
        for _ in 0..3 {
            if outcome != Added::Unknown || self.chance(2) {
                break;
            }
            same_life &= !self.perhaps_anew(3).await;
            self.log.count(|tally| &mut tally.retried);
            outcome = match self.attempt(cap, Add { id, picky }, None).await {
                (Added::Done, _) => Added::Done,
                // Who knows of the first attempt refuses for good.
                (Added::Refused, true) if same_life => Added::Refused,
                _ => Added::Unknown,
            };
        }
        self.log.put(begin, Call::Add { id, outcome }, None);
    }

    /// A change whose host loses most servers within a few messages, and power a moment later: a minority may hold what it sent.
    async fn attempt_half(&self, cap: &SlotWrite, edit: Add) -> Added {
        let lost: Vec<NodeId> = self.servers.iter().filter(|_| !self.chance(4)).copied().collect();
        let (net, host) = (&self.net, self.host);
        let cutting = async {
            tokio::time::sleep(Duration::from_micros(self.random.between(0, 20_000))).await;
            lost.iter().for_each(|server| net.partition(host, *server));
        };
        self.log.count(|tally| &mut tally.cut_off);
        let attempt = self.attempt(cap, edit, Some(Duration::from_millis(30)));
        let (outcome, ()) = tokio::join!(attempt, cutting);
        // What it had sent and nobody heard is lost with its connections.
        for server in &lost {
            net.drop_connections(host, *server);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        lost.iter().for_each(|server| net.heal(host, *server));
        outcome.0
    }

    /// What came of it, and whether it was the change itself that refused.
    async fn attempt(&self, cap: &SlotWrite, mut edit: Add, killed: Option<Duration>) -> (Added, bool) {
        let impatient = self.chance(7).then(|| Duration::from_micros(self.random.between(0, 60_000)));
        let patience = self.until_doom(killed.or(impatient).unwrap_or(PATIENCE));
        let work = self.gate.through(self.client().edit_slot(cap, &mut edit));
        match tokio::time::timeout(patience, work).await {
            Err(_) => {
                self.log.count(|tally| &mut tally.killed);
                (Added::Unknown, false)
            }
            Ok(Ok(_)) => (Added::Done, false),
            Ok(Err(EditError::Refused(Odd))) => (Added::Refused, true),
            Ok(Err(EditError::Slot(SlotError::Unknown { .. }))) => (Added::Unknown, false),
            Ok(Err(EditError::Slot(_))) => (Added::Refused, false),
        }
    }

    /// One read.
    pub(crate) async fn read(&self, cap: &SlotRead) {
        let begin = self.log.recorder.tick();
        let work = self.gate.through(self.client().read_slot(cap));
        let Ok(Ok(view)) = tokio::time::timeout(self.until_doom(PATIENCE), work).await else {
            self.log.count(|tally| &mut tally.failed_reads);
            return;
        };
        let ids = ids(&view.sections);
        match view.freshness {
            Freshness::Confirmed => {
                self.log.put(begin, Call::Confirmed { ids, version: None }, Some(view.record.ballot()));
            }
            Freshness::NewestSeen => self.log.put(begin, Call::NewestSeen { ids }, None),
        }
    }
}
