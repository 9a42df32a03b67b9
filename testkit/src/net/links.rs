//! What lies between hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::NodeId;
use tokio::time::Instant;

use super::Link;

#[derive(Default)]
pub(super) struct Links {
    pub(super) default: Link,
    pairs: BTreeMap<(NodeId, NodeId), Link>,
    hosts: BTreeMap<NodeId, Link>,
    aliases: BTreeMap<NodeId, NodeId>,
    cuts: BTreeMap<(NodeId, NodeId), Instant>,
    isolated: BTreeMap<NodeId, Instant>,
    down: BTreeSet<NodeId>,
    /// When the bytes that were let through will have passed, where a rate is set.
    busy_until: BTreeMap<(NodeId, NodeId), Instant>,
}

impl Links {
    pub(super) fn host(&self, key: NodeId) -> NodeId {
        self.aliases.get(&key).copied().unwrap_or(key)
    }

    fn pair(&self, from: NodeId, to: NodeId) -> (NodeId, NodeId) {
        (self.host(from), self.host(to))
    }

    pub(super) fn same_host(&mut self, key: NodeId, host: NodeId) {
        let host = self.host(host);
        self.aliases.insert(key, host);
    }

    pub(super) fn set_host(&mut self, host: NodeId, link: Link) {
        self.hosts.insert(self.host(host), link);
    }

    pub(super) fn set_pair(&mut self, from: NodeId, to: NodeId, link: Link) {
        let pair = self.pair(from, to);
        self.busy_until.remove(&pair);
        self.pairs.insert(pair, link);
    }

    pub(super) fn reset(&mut self) {
        self.pairs.clear();
        self.hosts.clear();
        self.busy_until.clear();
    }

    pub(super) fn link(&self, from: NodeId, to: NodeId) -> &Link {
        let (from, to) = self.pair(from, to);
        let of_host = || self.hosts.get(&from).or_else(|| self.hosts.get(&to));
        self.pairs.get(&(from, to)).or_else(of_host).unwrap_or(&self.default)
    }

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.entry(self.pair(from, to)).or_insert_with(Instant::now);
    }

    pub(super) fn isolate(&mut self, host: NodeId) {
        self.isolated.entry(self.host(host)).or_insert_with(Instant::now);
    }

    pub(super) fn heal(&mut self, one: NodeId, other: NodeId) {
        self.cuts.remove(&self.pair(one, other));
        self.cuts.remove(&self.pair(other, one));
    }

    pub(super) fn rejoin(&mut self, host: NodeId) {
        self.isolated.remove(&self.host(host));
    }

    pub(super) fn heal_all(&mut self) {
        self.cuts.clear();
        self.isolated.clear();
    }

    /// Since when nothing travels in this direction; `None` if it does.
    pub(super) fn cut_since(&self, from: NodeId, to: NodeId) -> Option<Instant> {
        let (from, to) = self.pair(from, to);
        if from == to {
            return None;
        }
        let causes = [self.cuts.get(&(from, to)), self.isolated.get(&from), self.isolated.get(&to)];
        causes.into_iter().flatten().min().copied()
    }

    pub(super) fn set_down(&mut self, host: NodeId, down: bool) {
        let host = self.host(host);
        if down {
            self.down.insert(host);
        } else {
            self.down.remove(&host);
        }
    }

    pub(super) fn is_down(&self, key: NodeId) -> bool {
        self.down.contains(&self.host(key))
    }

    /// How many of `wanted` bytes may pass now, or when to ask again.
    pub(super) fn admit(
        &mut self,
        from: NodeId,
        to: NodeId,
        wanted: usize,
        now: Instant,
    ) -> Result<usize, Instant> {
        let Some(rate) = self.link(from, to).bytes_per_second else { return Ok(wanted) };
        let rate = rate.max(1);
        let busy_until = self.busy_until.entry((self.host(from), self.host(to))).or_insert(now);
        if *busy_until > now {
            return Err(*busy_until);
        }
        // Two milliseconds' worth at once: timers are no finer than one.
        let admitted = wanted.min(usize::try_from(rate / 500).unwrap_or(usize::MAX).max(1));
        *busy_until = now + Duration::from_nanos((admitted as u64).saturating_mul(1_000_000_000) / rate);
        Ok(admitted)
    }
}
