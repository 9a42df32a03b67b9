//! Checking, verifying and repairing: is everything there, is it what it should be, and if not, bringing it back.
//!
//! None of it needs a key. A verify cap does for one object or slot, a repair cap for a whole tree (`docs/spec/trees.md`); whoever holds
//! more holds these as well. What a report rests on is its [`Grade`].

mod census;
mod deep;
mod leasing;
mod mending;
mod object;
mod pieces;
mod sample;
mod slot;
mod verify;

use std::collections::{BTreeMap, BTreeSet};

use caps::{Cap, RepairKind, VerifyHash};
use protocol::NodeId;

use crate::grid::Server;

pub use deep::{DeepTotals, TreeCheck};
pub(crate) use deep::{Node, object_children};
pub(crate) use leasing::lease_all;
pub use pieces::{PieceGroup, Pieces};

/// What a report rests on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Grade {
    /// Nobody was asked.
    Unseen,
    /// Servers say that they hold it. They may have lost it without knowing, or lie.
    Claimed,
    /// Random chunks of each share were fetched with their proofs; shares that are shorter than a request is worth, whole. Of slots, every
    /// member's signed record.
    Sampled {
        /// Chunks of 1 KiB of each share; `None`: 161 where one object is checked, else 459 of an object, evenly of all its shares. 459 of
        /// a share find with 99 % that a hundredth of it is lost, 161 with 80 %; one finds that all of it is.
        chunks: Option<u32>,
    },
    /// All of it was fetched and held against H; of slots, every member's signed record.
    Full,
}

/// How an object or slot is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// All shares are there, on servers enough that count. Of a slot: all members hold its newest record.
    Healthy,
    /// Something is missing, and it can be read.
    Unhealthy,
    /// Too few shares are left. Of a slot: nobody holds anything.
    Unrecoverable,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckOptions {
    /// How thoroughly to look.
    pub grade: Grade,
    /// Whether to bring back what is missing.
    pub repair: bool,
    /// Whether to add or renew this account's leases on all of it.
    pub renew: Option<Renewal>,
}

/// How long leases shall last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renewal {
    /// As long as servers hear of the account now and then.
    WhileAlive,
    /// So many seconds from now, in which the server runs.
    Seconds(u64),
}

impl Renewal {
    fn seconds(self) -> Option<u64> {
        match self {
            Self::WhileAlive => None,
            Self::Seconds(seconds) => Some(seconds),
        }
    }
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { grade: Grade::Claimed, repair: false, renew: None }
    }
}

/// A share that a server has and should not be trusted with: it does not match H, or cannot be read.
#[derive(Clone, Debug)]
pub struct BadShare {
    /// Share number.
    pub number: u16,
    /// Who holds it.
    pub server: Server,
    /// What is wrong with it.
    pub reason: String,
}

/// How one object or slot was found, and what was done about it.
#[derive(Clone, Debug)]
pub struct Health {
    /// What was checked: a verify or repair cap.
    pub cap: Cap,
    /// H.
    pub hash: VerifyHash,
    /// How it was found.
    pub state: State,
    /// How it is after the repair, if there was one.
    pub after: Option<State>,
    /// What this rests on.
    pub grade: Grade,
    /// Different good shares on servers that count; of a slot, members that hold its newest record and count.
    pub good: usize,
    /// k; of a slot, its quorum.
    pub needed: usize,
    /// N; of a slot, its members.
    pub total: usize,
    /// Servers that count and can each be matched with a share of its own. Of a slot, as `good`.
    pub happiness: usize,
    /// How many of those are wanted.
    pub happy: usize,
    /// Who holds each good share, servers that do not count among them; empty for slots.
    pub holders: BTreeMap<u16, BTreeSet<NodeId>>,
    /// Of a slot: the stores that hold its newest record and count.
    pub stores: BTreeSet<NodeId>,
    /// Shares that are not what they should be.
    pub bad: Vec<BadShare>,
    /// Shares made anew, and where they were put. Of a slot: members it was brought back to, numbered in their order.
    pub made: Vec<(u16, NodeId)>,
    /// Leases that were wanted on it and are not: servers that failed, or one if nobody has any of it.
    pub not_renewed: u64,
    /// What stood in the way: servers that did not answer, or took nothing.
    pub problems: Vec<String>,
    /// Whether the shares do not belong together as the uploader made them: no server is to blame, and nothing mends it.
    pub wrong_encoding: Option<String>,
    /// Where it was sampled: chunks of the share that had the fewest. `None` where all shares were so short that they came whole.
    pub sampled: Option<u32>,
    /// Where it was claimed: since when, in seconds since 1970, all stores that hold it say that they scrubbed it; `None` if one never did.
    pub scrubbed_s: Option<u64>,
}

impl Health {
    /// How it is now.
    pub fn now(&self) -> State {
        self.after.unwrap_or(self.state)
    }

    /// Whether it is a slot.
    pub fn is_slot(&self) -> bool {
        match &self.cap {
            Cap::Repair(repair) => matches!(repair.kind, RepairKind::Slot { .. }),
            cap => cap.is_mutable(),
        }
    }

    /// Whether a repair was wanted and made it healthy.
    pub fn is_repaired(&self) -> bool {
        self.state != State::Healthy && self.after == Some(State::Healthy)
    }
}

/// Why something could not be checked at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A cap of a kind that this program does not know.
    #[error("a cap of an unknown kind cannot be checked")]
    Unknown,
    /// A literal: the cap itself holds it, and no server anything.
    #[error("the capability itself holds it: there is nothing to check")]
    Literal,
}
