//! How sure the reads of slots were, for those who read many and want to say it once.

use std::collections::BTreeMap;
use std::sync::Mutex;

use protocol::NodeId;

use super::{Forgetful, Freshness, lock};
use crate::Client;

/// More than a grid has stores; the list of those that forgot stays short whatever they say.
const FORGETFUL_MAX: usize = 1024;

/// What the reads of slots so far leave in doubt.
#[derive(Clone, Debug, Default)]
pub struct Doubts {
    /// Reads that were not confirmed by a quorum ([`Freshness::NewestSeen`]).
    pub newest_seen: u64,
    /// Stores that showed less than they once acknowledged to this client, each once.
    pub forgetful: Vec<Forgetful>,
}

/// Where reads leave their doubts.
#[derive(Default)]
pub(super) struct Ledger(Mutex<(u64, BTreeMap<NodeId, Forgetful>)>);

impl Ledger {
    pub(super) fn note(&self, freshness: Freshness, forgetful: &[Forgetful]) {
        if freshness == Freshness::Confirmed && forgetful.is_empty() {
            return;
        }
        let mut all = lock(&self.0);
        all.0 += u64::from(freshness == Freshness::NewestSeen);
        for one in forgetful {
            if all.1.len() < FORGETFUL_MAX {
                all.1.entry(one.store).or_insert(*one);
            }
        }
    }
}

impl Client {
    /// What the reads since the last call of this leave in doubt.
    pub fn take_doubts(&self) -> Doubts {
        let (newest_seen, forgetful) = std::mem::take(&mut *lock(&self.slots().doubts.0));
        Doubts { newest_seen, forgetful: forgetful.into_values().collect() }
    }
}
