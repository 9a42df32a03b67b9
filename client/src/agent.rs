//! The repair agent: holds repair caps, checks what is below them on a schedule, makes what is missing anew, keeps leases alive and copies of
//! slots, and says how all of it is.
//!
//! It reads no name and no byte. Several agents may hold the same root: their waits differ at random, each looks once more before it makes
//! a share, and which share goes to which server is computed the same way by all.

mod dir;
mod metrics;
mod settings;
mod state;
mod visit;

use std::time::Duration;

use caps::{Authority, Cap};

use crate::Client;

pub use dir::{AgentDir, AgentDirError, Running};
pub use metrics::metrics;
pub use settings::{AgentSettings, SettingsError};
pub use state::{AgentState, Found, Ill, RootState, STATE_VERSION};
use visit::{Reached, reach, visit};

/// What an agent looks after.
#[derive(Clone, Debug)]
pub struct Held {
    /// What its owner calls it.
    pub name: String,
    /// A verify or repair cap, or why there is none.
    pub cap: Result<Cap, String>,
}

/// An agent at work.
pub struct Agent {
    client: Client,
    settings: AgentSettings,
    roots: Vec<Held>,
    state: AgentState,
}

impl Agent {
    /// An agent that holds nothing yet and knows what it did before.
    pub fn new(client: Client, settings: AgentSettings, state: AgentState) -> Self {
        Self { client, settings, roots: Vec::new(), state }
    }

    /// Holds these roots, and no others. What is known of one stays while it has the same cap.
    pub fn hold(&mut self, roots: Vec<Held>) {
        self.state.roots.retain(|name, _| roots.iter().any(|held| held.name == *name));
        for held in &roots {
            let hash = state::shown(held.cap.as_ref().ok().and_then(Cap::verify_hash));
            let known = self.state.roots.get(&held.name);
            if known.is_none_or(|known| known.root != hash) {
                self.state.roots.insert(held.name.clone(), RootState::of(hash));
            }
        }
        self.roots = roots;
    }

    /// What it knows.
    pub fn state(&self) -> &AgentState {
        &self.state
    }

    /// Checks every root whose time has come, and tells `published` after each. Returns how long to wait for the next.
    pub async fn visit_due(&mut self, published: impl FnMut(&AgentState)) -> Duration {
        let now = self.now();
        // A time further ahead than any wait was set by a wrong clock.
        let horizon = now + self.settings.shortest().as_secs() * 2;
        let is_due = |known: &RootState| known.next <= now || known.next > horizon;
        let due: Vec<Held> =
            self.roots.iter().filter(|held| is_due(&self.state.roots[&held.name])).cloned().collect();
        self.visit(due, published).await;
        self.wait()
    }

    /// Checks every root now.
    pub async fn visit_all(&mut self, published: impl FnMut(&AgentState)) {
        self.visit(self.roots.clone(), published).await;
    }

    /// How long until a root's time has come.
    fn wait(&self) -> Duration {
        let next = self.state.roots.values().map(|known| known.next).min();
        next.map_or(self.settings.shortest(), |next| Duration::from_secs(next.saturating_sub(self.now())))
    }

    async fn visit(&mut self, due: Vec<Held>, mut published: impl FnMut(&AgentState)) {
        if due.is_empty() {
            return;
        }
        let reached = reach(&self.client).await;
        self.state.servers = reached.known as u64;
        self.state.silent = (reached.known - reached.answer) as u64;
        for held in due {
            self.visit_one(&held, reached).await;
            self.state.updated = self.now();
            published(&self.state);
        }
    }

    async fn visit_one(&mut self, held: &Held, reached: Reached) {
        let known = self.state.roots.get(&held.name).cloned().unwrap_or_default();
        let grade = known.grade(&self.settings.every, self.now());
        let outcome = match &held.cap {
            Ok(cap) => visit(&self.client, cap, (grade, &known), &self.settings, reached)
                .await
                .map_err(|error| error.to_string()),
            Err(reason) => Err(reason.clone()),
        };
        let now = self.now();
        let mut known = known;
        match outcome {
            Ok(visit) => {
                known.take(&visit, now);
                let Found { objects, slots, repaired, unhealthy, unrecoverable, .. } = known.found;
                tracing::info!(
                    root = held.name,
                    objects,
                    slots,
                    repaired,
                    unhealthy,
                    unrecoverable,
                    "checked"
                );
            }
            Err(error) => {
                tracing::warn!(root = held.name, error, "the check could not be made");
                known.failed(error);
            }
        }
        known.next = now + self.jittered(self.pause(known.failures)).as_secs().max(1);
        self.state.roots.insert(held.name.clone(), known);
    }

    /// How long to wait after so many failures in a row.
    fn pause(&self, failures: u32) -> Duration {
        let usual = self.settings.shortest();
        match failures {
            0 => usual,
            failures => self.settings.retry.saturating_mul(1 << (failures - 1).min(20)).min(usual),
        }
    }

    fn jittered(&self, wait: Duration) -> Duration {
        let drawn = u32::from_le_bytes(self.client.random().bytes()) % 2001;
        // From -1 to 1, in thousandths, of so many hundredths.
        let parts = 100_000 + u64::from(drawn) * u64::from(self.settings.jitter)
            - 1000 * u64::from(self.settings.jitter);
        let millis = wait.as_millis().saturating_mul(parts.into()) / 100_000;
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    fn now(&self) -> u64 {
        self.client.now().as_secs()
    }
}

/// Whether an agent may hold this: it grants checking and repairing, and no reading.
///
/// # Errors
///
/// Why not, as a sentence.
pub fn may_hold(cap: &Cap) -> Result<(), &'static str> {
    match cap {
        Cap::Unknown(_) => Err("a cap of an unknown kind cannot be checked"),
        Cap::Literal(_) => Err("the capability itself holds it: there is nothing to check"),
        cap if cap.authority() > Authority::Repair => {
            Err("it grants more than an agent needs; `sarsen cap repair` makes a repair cap of it")
        }
        _ => Ok(()),
    }
}
