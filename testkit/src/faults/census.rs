//! What really happened.

use std::collections::BTreeMap;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Connections that broke.
    Dropped,
    /// Hosts that were slow while they had connections.
    Delayed,
    /// Requests that reached a server once more.
    Duplicated,
    /// Pairs of hosts cut off from each other while they had a connection.
    Partitioned,
    /// Pairs cut off in one direction alone while they had a connection.
    HalfPartitioned,
    /// Hosts cut off from everybody while they had connections.
    Isolated,
    /// Clients that stood still.
    ClientPaused,
    /// Servers that stood still while they had connections.
    ServerPaused,
    /// Servers that crashed and came back.
    Crashed,
    /// Disks that froze at a sync, before their servers crashed and came back.
    Frozen,
    /// Clocks that jumped.
    ClockJumped,
    /// Servers lost for good.
    Lost,
    /// Servers that came back from an old image of their disk.
    RolledBack,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Dropped,
        Self::Delayed,
        Self::Duplicated,
        Self::Partitioned,
        Self::HalfPartitioned,
        Self::Isolated,
        Self::ClientPaused,
        Self::ServerPaused,
        Self::Crashed,
        Self::Frozen,
        Self::ClockJumped,
        Self::Lost,
        Self::RolledBack,
    ];
}

/// How often each kind of fault happened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Census(BTreeMap<Kind, u64>);

impl Census {
    /// Counts `times` more.
    pub fn add(&mut self, kind: Kind, times: u64) {
        *self.0.entry(kind).or_default() += times;
    }

    /// How often it happened.
    pub fn count(&self, kind: Kind) -> u64 {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// Adds what another run counted.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(kind, times)| self.add(*kind, *times));
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| self.count(*kind) == 0).collect()
    }
}

impl std::fmt::Display for Census {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{kind:?} {}", self.count(kind))?;
        }
        Ok(())
    }
}
