//! A network in memory, for simulations on one thread with paused time.
//!
//! It behaves as QUIC does where programs can tell: streams have bounded buffers, a half dropped without `finish` resets the stream and
//! what was not read is lost, a stream shows at the other side with its first bytes, a connection that hears nothing dies after the idle
//! timeout. Latency and rate belong to links between hosts and can be changed while bytes are under way; so can partitions. All
//! randomness comes from the seed, all time from tokio: run it with `#[tokio::test(start_paused = true)]`, and the same seed gives the
//! same [`SimNet::trace`]. (`tokio::select!` without `biased` draws from tokio's own generator, which has no seed.)
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use testkit::net::{Link, SimNet};
//! # use protocol::NodeId;
//! # let (client, server) = (NodeId::new([1; 32]), NodeId::new([2; 32]));
//! let net = SimNet::new(7);
//! let listener = net.listener(server, "granite:1");
//! let connector = net.connector(client);
//! net.set_link(server, client, Link { bytes_per_second: Some(1), ..Link::default() });
//! net.partition(client, server);
//! # });
//! ```

mod duplicate;
mod ends;
mod links;
mod state;
mod stream;
mod trace;
mod wait;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use protocol::NodeId;
use protocol::transport::{Connector, Listener};
use tokio::time::Instant;

use crate::random::SimRandom;
use state::{Shared, Side, State};

/// How bytes travel from one host to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Each piece takes a time drawn from this range; the order of a stream is kept.
    pub latency: RangeInclusive<Duration>,
    /// What all streams together may carry; `None`: anything.
    pub bytes_per_second: Option<u64>,
}

impl Default for Link {
    fn default() -> Self {
        Self { latency: Duration::from_millis(1)..=Duration::from_millis(5), bytes_per_second: None }
    }
}

/// Where bytes are when a [`Tamper`] sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Who sends.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// The connection's number, from 0, in the order they were begun.
    pub connection: u64,
    /// The stream's number within it, from 0.
    pub stream: u64,
    /// How many bytes the sender sent on it before these.
    pub offset: u64,
}

/// How often and how late requests are delivered once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicates {
    /// Chances in a thousand.
    pub permille: u16,
    /// How long after the request.
    pub after: RangeInclusive<Duration>,
}

/// Replaces bytes on their way.
pub type Tamper = Arc<dyn Fn(&Flow, Bytes) -> Bytes + Send + Sync>;

/// A network. Clones are the same network.
#[derive(Clone)]
pub struct SimNet(Arc<Shared>);

impl std::fmt::Debug for SimNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimNet").field("trace", &self.trace()).finish_non_exhaustive()
    }
}

impl SimNet {
    /// A network whose every chance comes from `seed`. Must be called within a tokio runtime, whose time it takes.
    pub fn new(seed: u64) -> Self {
        let random = SimRandom::new(seed).fork("net");
        Self(Arc::new(Shared { state: Mutex::new(State::new()), random, started: Instant::now() }))
    }

    /// Connects as the node with this key.
    pub fn connector(&self, key: NodeId) -> Arc<dyn Connector> {
        Arc::new(ends::SimConnector { net: self.0.clone(), key })
    }

    /// Takes connections at `address` as the node with this key, in place of whoever did so before.
    pub fn listener(&self, key: NodeId, address: &str) -> Arc<dyn Listener> {
        let id = self.0.with(|state| state.listen(key, address));
        Arc::new(ends::SimListener { net: self.0.clone(), address: address.to_owned(), id })
    }

    /// The key of whoever listens at an address.
    pub fn node_at(&self, address: &str) -> Option<NodeId> {
        self.0.with(|state| state.listener_key(address))
    }

    /// Says that a key is used on the host of another: links, partitions and power cuts of the host are the key's too.
    pub fn same_host(&self, key: NodeId, host: NodeId) {
        self.0.change(|state| state.links.same_host(key, host));
    }

    /// How bytes travel where nothing else is said.
    pub fn set_default_link(&self, link: Link) {
        self.0.change(|state| state.links.default = link);
    }

    /// How bytes travel to and from a host, unless something is said of the pair.
    pub fn set_host_link(&self, host: NodeId, link: Link) {
        self.0.change(|state| state.links.set_host(host, link));
    }

    /// How bytes travel from one host to another. The other way is unchanged.
    pub fn set_link(&self, from: NodeId, to: NodeId, link: Link) {
        self.0.change(|state| state.links.set_pair(from, to, link));
    }

    /// Forgets all [`SimNet::set_link`] and [`SimNet::set_host_link`].
    pub fn reset_links(&self) {
        self.0.change(|state| state.links.reset());
    }

    /// Nothing travels between two hosts: connections stall, new ones hang, both until healed or the idle timeout.
    pub fn partition(&self, one: NodeId, other: NodeId) {
        self.partition_one_way(one, other);
        self.partition_one_way(other, one);
    }

    /// As [`SimNet::partition`], but bytes still travel from `to` to `from`.
    pub fn partition_one_way(&self, from: NodeId, to: NodeId) {
        self.0.change(|state| state.links.cut(from, to));
    }

    /// Nothing travels to or from a host.
    pub fn isolate(&self, host: NodeId) {
        self.0.change(|state| state.links.isolate(host));
    }

    /// Ends partitions between two hosts.
    pub fn heal(&self, one: NodeId, other: NodeId) {
        self.0.change(|state| state.links.heal(one, other));
    }

    /// Ends [`SimNet::isolate`] of a host.
    pub fn rejoin(&self, host: NodeId) {
        self.0.change(|state| state.links.rejoin(host));
    }

    /// Ends all partitions and isolations.
    pub fn heal_all(&self) {
        self.0.change(|state| state.links.heal_all());
    }

    /// The host goes down: its connections are lost, new ones fail at once. What it runs is for the test to stop.
    pub fn host_down(&self, host: NodeId) {
        let now = Instant::now();
        self.0.change(|state| {
            state.links.set_down(host, true);
            let host = state.links.host(host);
            for (id, conn) in state.connections() {
                let of = |key| state.links.host(key) == host;
                if of(conn.0) || of(conn.1) {
                    let side = if of(conn.0) { Side::Client } else { Side::Server };
                    state.lose(id, side, "the host went down", now);
                }
            }
        });
    }

    /// The host is up again.
    pub fn host_up(&self, host: NodeId) {
        self.0.change(|state| state.links.set_down(host, false));
    }

    /// Loses every connection between two hosts, for both sides. Returns how many there were.
    pub fn drop_connections(&self, one: NodeId, other: NodeId) -> usize {
        let now = Instant::now();
        self.0.change(|state| {
            let hosts = [one, other].map(|key| state.links.host(key));
            let between = |(client, server): (NodeId, NodeId)| {
                let pair = [client, server].map(|key| state.links.host(key));
                pair == hosts || [pair[1], pair[0]] == hosts
            };
            let hit: Vec<u64> =
                state.connections().into_iter().filter(|conn| between(conn.1)).map(|conn| conn.0).collect();
            hit.iter().for_each(|id| state.lose(*id, Side::Client, "the connection was dropped", now));
            hit.len()
        })
    }

    /// Loses every connection of a host, for both sides. Returns how many there were.
    pub fn drop_host(&self, host: NodeId) -> usize {
        let others: BTreeSet<NodeId> = self
            .connections_of_hosts()
            .into_iter()
            .filter(|ends| [ends.0, ends.1].contains(&host))
            .map(|ends| if ends.0 == host { ends.1 } else { ends.0 })
            .collect();
        others.into_iter().map(|other| self.drop_connections(host, other)).sum()
    }

    /// After how long of silence a connection is lost; `None`: never. As with QUIC here, 20 seconds unless changed.
    pub fn set_idle_timeout(&self, timeout: Option<Duration>) {
        self.0.change(|state| state.idle_timeout = timeout);
    }

    /// Lets `hook` replace what a node sends; `None`: no more.
    pub fn set_tamper(&self, from: NodeId, hook: Option<Tamper>) {
        self.0.change(|state| match hook {
            Some(hook) => state.tampers.insert(from, hook),
            None => state.tampers.remove(&from),
        });
    }

    /// Delivers what a host asks once more, some time later, with this many chances in a thousand; `None`: no more. QUIC does not do this
    /// to a stream; retries, replayed handshakes and whoever kept the bytes do. What is asked on a stream counts as finished with it, up
    /// to 256 KiB; the answer to the duplicate is read by nobody.
    pub fn set_duplicates(&self, from: NodeId, duplicates: Option<Duplicates>) {
        self.0.change(|state| {
            let host = state.links.host(from);
            match duplicates {
                Some(duplicates) => state.duplicates.insert(host, duplicates),
                None => state.duplicates.remove(&host),
            }
        });
    }

    /// How many duplicates reached a server.
    pub fn duplicated(&self) -> u64 {
        self.0.with(|state| state.duplicated)
    }

    /// Connections that are not lost, by the keys of client and server, in the order they were begun.
    pub fn connections(&self) -> Vec<(NodeId, NodeId)> {
        self.0.with(|state| state.connections().into_iter().map(|(_, ends)| ends).collect())
    }

    /// As [`SimNet::connections`], by the hosts that the keys are used on.
    pub fn connections_of_hosts(&self) -> Vec<(NodeId, NodeId)> {
        self.0.with(|state| {
            let ends = state.connections().into_iter().map(|(_, ends)| ends);
            ends.map(|(client, server)| (state.links.host(client), state.links.host(server))).collect()
        })
    }

    /// From now on, [`SimNet::events`] holds every event.
    pub fn keep_events(&self) {
        self.0.with(|state| state.trace.keep());
    }

    /// What happened since [`SimNet::keep_events`], one line each.
    pub fn events(&self) -> Vec<String> {
        self.0.with(|state| state.trace.kept())
    }

    /// A hash over everything that happened: the same for the same seed and the same program.
    pub fn trace(&self) -> String {
        self.0.with(|state| state.trace.hash())
    }
}
