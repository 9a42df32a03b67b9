//! Handing shares over to other servers: all of them before this one is retired, or those that stand better elsewhere
//! (`docs/design/0006-drain-and-rebalance.md`).
//!
//! A server hands a share over as any client stores one: under its own key as the account, in an ordinary upload that the other side
//! checks, and with a lease that ends. It needs no capability for that: shares certify themselves, and the index knows each object's
//! bucket, from which the order of servers follows. Draining takes nothing away; rebalancing lets go of a share when another server
//! has proved that it holds it and the object is no worse for it.

mod drain;
mod give;
mod others;
mod plan;
mod progress;
mod rebalance;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::transport::Connector;
use protocol::{NodeAddress, NodeId, Random};
use tokio::time::Instant;

use crate::disk::Disk;
use crate::members::Members;
use crate::server::Server;
use give::Giver;
use others::Others;

pub use progress::{Order, Phase, Progress};

/// How often it is looked whether there is a new order.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a server rebalances by itself.
const REBALANCE_EVERY: Duration = Duration::from_secs(3600);

/// What handing over needs beside the server.
pub struct HandoverParts {
    /// The server's key.
    pub id: NodeId,
    /// Its zone.
    pub zone: Option<String>,
    /// Connections under the server's key.
    pub connector: Arc<dyn Connector>,
    /// Who knows the other servers.
    pub introducers: Vec<NodeAddress>,
    /// The servers that may get shares; empty for those that the grid's owner certified, or all that are announced.
    pub trusted: BTreeSet<NodeId>,
    /// What the server knows of its grid, if it belongs to one: its certificate, which others ask for, and who else is of it.
    pub members: Option<Members>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The server's own directory, where its orders are.
    pub dir: Arc<dyn Disk>,
    /// Bytes a second at which it rebalances by itself; `None` if it does not.
    pub rebalance: Option<u64>,
}

/// A server's shares on their way to others.
pub struct Handover {
    server: Arc<Server>,
    id: NodeId,
    zone: Option<String>,
    dir: Arc<dyn Disk>,
    rebalance: Option<u64>,
    giver: Giver,
}

impl Handover {
    /// For this server. If it is to be drained, its stores take nothing new from here on.
    ///
    /// # Errors
    ///
    /// Whatever the medium of its directory says.
    pub fn new(server: Arc<Server>, parts: HandoverParts) -> io::Result<Arc<Self>> {
        let HandoverParts { id, zone, connector, introducers, trusted, members, random, dir, rebalance } =
            parts;
        server.set_draining(Order::Drain.is_given(&*dir)?);
        let others = Arc::new(Others::new(connector, introducers, id, trusted, members));
        let giver = Giver { others, pool: server.pool.clone(), random };
        Ok(Arc::new(Self { server, id, zone, dir, rebalance, giver }))
    }

    /// Carries out the orders there are and those that come. Never returns.
    pub async fn run(self: Arc<Self>) {
        let mut rebalanced = Instant::now();
        loop {
            if self.is_told(Order::Drain) {
                self.server.set_draining(true);
                self.drain().await;
                self.giver.others.close();
                continue;
            }
            self.server.set_draining(false);
            let told = self.is_told(Order::Rebalance);
            if told || self.rebalance.is_some() && rebalanced.elapsed() >= REBALANCE_EVERY {
                self.rebalance(if told { None } else { self.rebalance }).await;
                if told && let Err(error) = Order::Rebalance.is_done(&*self.dir) {
                    tracing::warn!(%error, "the order to rebalance cannot be crossed off");
                }
                rebalanced = Instant::now();
                self.giver.others.close();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether an order is given. If that cannot be seen, nothing is changed: it is as it was.
    fn is_told(&self, order: Order) -> bool {
        order.is_given(&*self.dir).unwrap_or_else(|error| {
            tracing::warn!(%error, "the server's orders cannot be read");
            order == Order::Drain && self.server.is_draining()
        })
    }

    /// The server's zone as all others see it: by the word of the grid's owner, where it is a member.
    fn own_zone(&self) -> Option<String> {
        let own = self.giver.others.members().and_then(|members| members.own(self.now()).ok());
        own.map_or_else(|| self.zone.clone(), |certificate| certificate.zone)
    }

    /// Time since 1970.
    fn now(&self) -> Duration {
        self.server.clock.unix_time()
    }
}
