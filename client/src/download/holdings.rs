//! Which shares are known, where, and how well each has served.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use encoding::ShareLayout;
use protocol::NodeId;

use crate::grid::Server;

/// A share on a server.
#[derive(Clone, Debug)]
pub(crate) struct KnownShare {
    pub(crate) number: u16,
    pub(crate) server: Server,
    /// The whole share file, checked, where it came with the answer.
    pub(crate) inline: Option<(Bytes, ShareLayout)>,
}

/// Names a share on a server.
pub(crate) type ShareKey = (u16, NodeId);

#[derive(Default)]
pub(crate) struct Holdings {
    shares: Vec<State>,
}

struct State {
    share: KnownShare,
    bad: bool,
    /// How often it had to be hedged, less how often it answered in time.
    slow: i32,
    /// How long it usually takes for a batch.
    usual: Option<Duration>,
}

impl Holdings {
    pub(crate) fn add(&mut self, share: KnownShare) {
        let known = self.shares.iter().any(|state| key(&state.share) == key(&share));
        if !known {
            self.shares.push(State { share, bad: false, slow: 0, usual: None });
        }
    }

    /// How many different shares can still be used.
    pub(crate) fn distinct(&self) -> usize {
        self.usable().map(|state| state.share.number).collect::<BTreeSet<_>>().len()
    }

    /// The best share that is none of `taken` numbers and was not `tried`: quick ones first, then data before parity.
    pub(crate) fn best(&self, taken: &BTreeSet<u16>, tried: &BTreeSet<ShareKey>) -> Option<KnownShare> {
        let fresh =
            self.usable().filter(|s| !taken.contains(&s.share.number) && !tried.contains(&key(&s.share)));
        let best =
            fresh.min_by_key(|state| (state.share.inline.is_none(), state.slow.max(0), state.share.number));
        best.map(|state| state.share.clone())
    }

    /// The shares that can still be used.
    pub(crate) fn all(&self) -> Vec<KnownShare> {
        self.usable().map(|state| state.share.clone()).collect()
    }

    pub(crate) fn mark_bad(&mut self, share: &ShareKey) {
        self.with(share, |state| state.bad = true);
    }

    pub(crate) fn mark_slow(&mut self, share: &ShareKey) {
        self.with(share, |state| state.slow = (state.slow + 2).min(8));
    }

    pub(crate) fn mark_served(&mut self, share: &ShareKey, took: Duration) {
        self.with(share, |state| {
            state.slow = (state.slow - 1).max(-1);
            state.usual = Some(state.usual.map_or(took, |usual| (usual * 3 + took) / 4));
        });
    }

    /// How long a batch usually takes, over all shares that served: the middle one.
    pub(crate) fn usual(&self) -> Option<Duration> {
        let mut times: Vec<Duration> = self.usable().filter_map(|state| state.usual).collect();
        times.sort();
        times.get(times.len() / 2).copied()
    }

    fn usable(&self) -> impl Iterator<Item = &State> {
        self.shares.iter().filter(|state| !state.bad)
    }

    fn with(&mut self, share: &ShareKey, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.shares.iter_mut().find(|state| key(&state.share) == *share) {
            change(state);
        }
    }
}

pub(crate) fn key(share: &KnownShare) -> ShareKey {
    (share.number, share.server.id)
}
