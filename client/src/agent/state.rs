//! What an agent knows of each root it holds: it outlives restarts, and is what `sarsen agent status` shows.

use std::collections::BTreeMap;

use caps::VerifyHash;
use serde::{Deserialize, Serialize};

use crate::check::{Grade, Health, State};

use super::settings::{GRADES, grade_name};
use super::visit::Visit;

/// The state's format: a newer one is not understood.
pub const STATE_VERSION: u16 = 1;
/// Ill objects remembered for each root. Of further ones only the count is known.
const ILL_MAX: usize = 10_000;

/// All that an agent knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentState {
    /// Format of this.
    pub version: u16,
    /// When it last changed; seconds since 1970, as all times here.
    pub updated: u64,
    /// Servers known, and how many of them did not answer the last time.
    pub servers: u64,
    /// See `servers`.
    pub silent: u64,
    /// The roots by their names.
    pub roots: BTreeMap<String, RootState>,
}

impl Default for AgentState {
    fn default() -> Self {
        Self { version: STATE_VERSION, updated: 0, servers: 0, silent: 0, roots: BTreeMap::new() }
    }
}

/// What is known of one root.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RootState {
    /// H of the root, as text; empty where there is no cap to be understood.
    pub root: String,
    /// When it is to be checked next.
    pub next: u64,
    /// When it was last checked by each grade.
    pub checked: BTreeMap<String, u64>,
    /// Checks that could not be made, since the last one that could.
    pub failures: u32,
    /// Why the last one could not be made.
    pub error: Option<String>,
    /// What the last check came to.
    pub found: Found,
    /// Objects and slots that are not healthy, by H.
    pub ill: BTreeMap<String, Ill>,
    /// Objects and slots that were seen ill and are healthy again, since the agent began.
    pub healed: u64,
    /// Of those, how long the last ones and the slowest one took from when they were first seen ill, in seconds; 0 if the check that saw it
    /// mended it.
    pub last_healed_s: u64,
    /// See `last_healed_s`.
    pub longest_healed_s: u64,
}

/// What a check came to, counted after its repairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Immutable objects.
    pub objects: u64,
    /// Slots.
    pub slots: u64,
    /// All is there.
    pub healthy: u64,
    /// Something is missing.
    pub unhealthy: u64,
    /// Too little is left on servers that answered.
    pub unrecoverable: u64,
    /// Were not healthy when the check began.
    pub repaired: u64,
    /// Shares that are not what they should be.
    pub bad_shares: u64,
    /// Of kinds that this program does not know.
    pub unknown: u64,
    /// Trees of which only the root could be checked.
    pub root_only: u64,
    /// Leased for this account now.
    pub leased: u64,
    /// Could not be leased.
    pub not_renewed: u64,
    /// Copies of slots on stores that are no members.
    pub copies: u64,
}

/// Something that is not healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ill {
    /// When it was first seen so.
    pub since: u64,
    /// `slot` or `object`.
    pub kind: String,
    /// `unhealthy` or `unrecoverable`.
    pub state: String,
    /// Different shares, or members that hold it.
    pub good: u64,
    /// How many are needed to read it; of a slot, to write.
    pub needed: u64,
    /// How many there should be.
    pub total: u64,
}

impl RootState {
    /// A root that was never looked at.
    pub(super) fn of(root: String) -> Self {
        Self { root, ..Self::default() }
    }

    /// By which grade it is to be checked now: the strongest whose time has come, else the weakest there is.
    pub(super) fn grade(&self, every: &[(Grade, std::time::Duration)], now: u64) -> Grade {
        let is_due = |(grade, time): &&(Grade, std::time::Duration)| {
            // What was checked in the future was checked by a wrong clock.
            let last = self.checked.get(grade_name(*grade)).filter(|last| **last <= now);
            last.is_none_or(|last| now - last >= time.as_secs())
        };
        // A tree that was never seen is counted first: to fetch all of it takes long.
        let never = self.checked.is_empty();
        let due = every.iter().filter(|_| !never).rev().find(is_due);
        due.or(every.first()).map_or(Grade::Claimed, |(grade, _)| *grade)
    }

    /// Since when the one that is ill longest is.
    pub fn ill_since(&self) -> Option<u64> {
        self.ill.values().map(|ill| ill.since).min()
    }

    /// Takes in a check that was made.
    pub(super) fn take(&mut self, visit: &Visit, now: u64) {
        let before = std::mem::take(&mut self.ill);
        for health in visit.reports.iter().filter(|health| is_ill(health)) {
            if self.ill.len() < ILL_MAX {
                let hash = health.hash.to_string();
                let since = before.get(&hash).map_or(now, |ill| ill.since.min(now));
                self.ill.insert(hash, Ill::of(health, since));
            }
        }
        let since = |hash: &str| before.get(hash).map(|ill| now.saturating_sub(ill.since));
        let mut took: Vec<u64> = visit.recovered.iter().filter_map(|hash| since(hash)).collect();
        let mended = visit.reports.iter().filter(|health| !is_ill(health));
        took.extend(mended.map(|health| since(&health.hash.to_string()).unwrap_or(0)));
        if let Some(slowest) = took.iter().max() {
            self.last_healed_s = *slowest;
            self.longest_healed_s = self.longest_healed_s.max(*slowest);
        }
        self.healed += took.len() as u64;
        self.found = visit.found;
        (self.failures, self.error) = (0, None);
        for (name, grade) in GRADES {
            if grade <= visit.grade {
                self.checked.insert(name.to_owned(), now);
            }
        }
    }

    /// Notes that a check could not be made.
    pub(super) fn failed(&mut self, error: String) {
        self.failures = self.failures.saturating_add(1);
        self.error = Some(error);
    }
}

/// Whether something is left to be done about it.
fn is_ill(health: &Health) -> bool {
    health.now() != State::Healthy
}

impl Ill {
    fn of(health: &Health, since: u64) -> Self {
        let state = match health.now() {
            State::Unrecoverable => "unrecoverable",
            _ => "unhealthy",
        };
        Self {
            since,
            kind: if health.is_slot() { "slot" } else { "object" }.to_owned(),
            state: state.to_owned(),
            good: health.good as u64,
            needed: health.needed as u64,
            total: health.total as u64,
        }
    }
}

/// H as the state shows it.
pub(super) fn shown(hash: Option<VerifyHash>) -> String {
    hash.map(|hash| hash.to_string()).unwrap_or_default()
}
