//! Makes faults happen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::NodeId;
use tokio::time::{Instant, sleep_until};

use super::{Census, Fault, Gate, Host, Kind, Schedule};
use crate::disk::{DiskImage, Faults, Survival};
use crate::grid::SimGrid;
use crate::net::{Duplicates, Link};

/// A client as faults see it.
#[derive(Clone, Debug)]
pub struct ClientHost {
    /// Its host: [`SimGrid::client_host`].
    pub id: NodeId,
    /// What its work goes through.
    pub gate: Gate,
}

/// Makes the faults of a schedule happen, then puts everything right that is not lost for good. A server that comes back is also reachable
/// at once, and a fault of one that is down does nothing.
///
/// # Panics
///
/// If a schedule names hosts that are not there, or a server does not start again after a crash.
pub async fn run(schedule: &Schedule, grid: &mut SimGrid, clients: &[ClientHost]) -> Census {
    let duplicated = grid.net.duplicated();
    let (begun, census) = (Instant::now(), Census::default());
    let mut runner = Runner {
        grid,
        clients,
        census,
        begun,
        ends: BTreeMap::new(),
        ends_begun: 0,
        held: BTreeMap::new(),
        down: BTreeMap::new(),
    };
    for (at, fault) in &schedule.0 {
        runner.until(*at).await;
        runner.begin(*at, fault);
    }
    while let Some(((last, _), _)) = runner.ends.last_key_value() {
        let last = *last;
        runner.until(last).await;
    }
    runner.grid.net.heal_all();
    runner.grid.net.reset_links();
    let mut census = runner.census;
    census.add(Kind::Duplicated, grid.net.duplicated() - duplicated);
    census
}

/// Why a server is down.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Down {
    Crashed,
    Lost,
}

/// What ends a fault.
enum End {
    Fast(NodeId),
    NoDuplicates(NodeId),
    Heal(NodeId, NodeId),
    Rejoin(Host),
    Resume(Host),
    Restart(usize),
    Thaw(usize, Survival),
    Restore(usize, Arc<DiskImage>),
}

struct Runner<'a> {
    grid: &'a mut SimGrid,
    clients: &'a [ClientHost],
    census: Census,
    begun: Instant,
    /// By when and in which order they were begun.
    ends: BTreeMap<(Duration, u64), End>,
    ends_begun: u64,
    /// By how many faults a host is cut off.
    held: BTreeMap<NodeId, u32>,
    down: BTreeMap<usize, Down>,
}

impl Runner<'_> {
    fn id(&self, host: Host) -> NodeId {
        match host {
            Host::Server(index) => self.grid.servers[index].key.id(),
            Host::Client(index) => self.clients[index].id,
        }
    }

    /// How many live connections a host has, or two have with each other.
    fn connections(&self, one: NodeId, other: Option<NodeId>) -> u64 {
        let of = |ends: &(NodeId, NodeId)| match other {
            None => [ends.0, ends.1].contains(&one),
            Some(other) => [(one, other), (other, one)].contains(ends),
        };
        let connections = self.grid.net.connections_of_hosts();
        connections.iter().filter(|ends| of(ends)).count() as u64
    }

    fn felt(&mut self, kind: Kind, one: NodeId, other: Option<NodeId>) {
        let felt = u64::from(self.connections(one, other) > 0);
        self.census.add(kind, felt);
    }

    fn ends(&mut self, at: Duration, end: End) {
        self.ends_begun += 1;
        self.ends.insert((at, self.ends_begun), end);
    }

    async fn until(&mut self, at: Duration) {
        while self.ends.first_key_value().is_some_and(|((ends, _), _)| *ends <= at) {
            let Some(((ends, _), end)) = self.ends.pop_first() else { return };
            sleep_until(self.begun + ends).await;
            self.end(end).await;
        }
        sleep_until(self.begun + at).await;
    }

    fn begin(&mut self, at: Duration, fault: &Fault) {
        match *fault {
            Fault::Drop(host) => {
                let broken = self.grid.net.drop_host(self.id(host));
                self.census.add(Kind::Dropped, broken as u64);
            }
            Fault::Delay(host, latency, lasts) => {
                let id = self.id(host);
                self.felt(Kind::Delayed, id, None);
                let link = Link {
                    latency: Duration::from_millis(1)..=latency.max(Duration::from_millis(1)),
                    ..Link::default()
                };
                self.grid.net.set_host_link(id, link);
                self.ends(at + lasts, End::Fast(id));
            }
            Fault::Duplicate(host, lasts) => {
                let duplicates = Duplicates { permille: 333, after: Duration::ZERO..=lasts * 2 };
                self.grid.net.set_duplicates(self.id(host), Some(duplicates));
                self.ends(at + lasts, End::NoDuplicates(self.id(host)));
            }
            Fault::Partition(one, other, half, lasts) => {
                let (one, other) = (self.id(one), self.id(other));
                let kind = if half { Kind::HalfPartitioned } else { Kind::Partitioned };
                self.felt(kind, one, Some(other));
                if half {
                    self.grid.net.partition_one_way(one, other);
                } else {
                    self.grid.net.partition(one, other);
                }
                self.ends(at + lasts, End::Heal(one, other));
            }
            Fault::Isolate(host, lasts) => {
                self.felt(Kind::Isolated, self.id(host), None);
                self.hold(host);
                self.ends(at + lasts, End::Rejoin(host));
            }
            Fault::Pause(host, lasts) => self.pause(host, at + lasts),
            _ => self.begin_at_server(at, fault),
        }
    }

    /// Those that are not of the network.
    fn begin_at_server(&mut self, at: Duration, fault: &Fault) {
        match *fault {
            Fault::Crash(server, ..) if self.down.contains_key(&server) => {}
            Fault::Crash(server, survival, lasts) => {
                self.crash(server, survival, Kind::Crashed, Down::Crashed);
                self.ends(at + lasts, End::Restart(server));
            }
            Fault::Freeze(server, ..) if self.down.contains_key(&server) => {}
            Fault::Freeze(server, sync, survival, lasts) => {
                let faults = Faults { freeze_at_sync: Some(sync), ..Faults::default() };
                self.grid.servers[server].disk.set_faults(faults);
                self.ends(at + lasts, End::Thaw(server, survival));
            }
            Fault::ClockJump(server, ahead, by) => {
                let clock = &self.grid.servers[server].clock;
                if ahead {
                    clock.jump_ahead(by)
                } else {
                    clock.jump_back(by)
                }
                self.census.add(Kind::ClockJumped, 1);
            }
            Fault::Lose(server) => {
                self.crash(server, Survival::Nothing, Kind::Lost, Down::Lost);
            }
            Fault::RollBack(server, lasts) => {
                let image = Arc::new(self.grid.servers[server].disk.image());
                self.ends(at + lasts, End::Restore(server, image));
            }
            Fault::Replace(server, ref image) => self.ends(at, End::Restore(server, image.clone())),
            _ => {}
        }
    }

    fn pause(&mut self, host: Host, until: Duration) {
        match host {
            Host::Server(_) => self.felt(Kind::ServerPaused, self.id(host), None),
            Host::Client(index) => {
                self.clients[index].gate.close();
                self.census.add(Kind::ClientPaused, 1);
            }
        }
        self.hold(host);
        self.ends(until, End::Resume(host));
    }

    fn hold(&mut self, host: Host) {
        let id = self.id(host);
        *self.held.entry(id).or_default() += 1;
        self.grid.net.isolate(id);
    }

    fn release(&mut self, host: Host) {
        let id = self.id(host);
        let held = self.held.entry(id).or_default();
        *held = held.saturating_sub(1);
        if *held == 0 {
            self.grid.net.rejoin(id);
        }
    }

    /// Crashes a server; a lost one stays lost. Says whether it was up.
    fn crash(&mut self, server: usize, survival: Survival, kind: Kind, down: Down) -> bool {
        let before = self.down.get(&server).copied();
        if before.is_none() {
            self.grid.crash(server, survival);
        }
        if before.is_none() || (before == Some(Down::Crashed) && down == Down::Lost) {
            self.down.insert(server, down);
            self.census.add(kind, 1);
        }
        before.is_none()
    }

    async fn end(&mut self, end: End) {
        match end {
            End::Fast(id) => self.grid.net.set_host_link(id, Link::default()),
            End::NoDuplicates(id) => self.grid.net.set_duplicates(id, None),
            End::Heal(one, other) => self.grid.net.heal(one, other),
            End::Rejoin(host) => self.release(host),
            End::Resume(host) => {
                self.release(host);
                if let Host::Client(index) = host {
                    self.clients[index].gate.open();
                }
            }
            End::Restart(server) => self.restart(server).await,
            End::Thaw(server, survival) => self.thaw(server, survival).await,
            End::Restore(server, image) => {
                if self.crash(server, Survival::Everything, Kind::RolledBack, Down::Crashed) {
                    self.grid.servers[server].disk.restore(&image);
                    self.restart(server).await;
                }
            }
        }
    }

    /// If the disk froze, the server crashes and comes back at once; else the disk is as before.
    async fn thaw(&mut self, server: usize, survival: Survival) {
        if self.down.contains_key(&server) {
            return;
        }
        if !self.grid.servers[server].disk.is_frozen() {
            self.grid.servers[server].disk.set_faults(Faults::default());
            return;
        }
        self.crash(server, survival, Kind::Frozen, Down::Crashed);
        self.restart(server).await;
    }

    async fn restart(&mut self, server: usize) {
        if self.down.get(&server) != Some(&Down::Crashed) {
            return;
        }
        // A host that boots has its network, or it could not announce itself.
        let id = self.id(Host::Server(server));
        self.held.remove(&id);
        self.grid.net.rejoin(id);
        self.grid.restart(server).await.expect("a store opens after any crash");
        self.down.remove(&server);
    }
}
