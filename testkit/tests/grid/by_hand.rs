//! A slot on four servers, three of which are a quorum, and what can be asked of its members by hand: promises and records of writers that
//! went away in the middle of something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use caps::SlotWrite;
use client::Client;
use encoding::Sections;
use encoding::slot::{Ballot, Promise, Record, SignedRecord, SlotKey};
use protocol::NodeId;
use protocol::message::{Bytes32, Request};
use protocol::slot_message::{
    Held, RecordBytes, SlotAccept, SlotAnswer, SlotPrepare, SlotPromise, SlotRead, SlotState, Verdict,
};
use testkit::grid::SimGrid;
use testkit::liar::{Lie, corrupt};
use testkit::net::Link;

use crate::support::{SECOND, session};

/// Shares, happiness and members of those who use it.
pub(crate) const FOUR: &str = "1/3/4";

pub(crate) struct Slot {
    pub(crate) cap: SlotWrite,
    key: SlotKey,
    /// The record it was met with.
    base: Arc<SignedRecord>,
}

impl Slot {
    /// The slot of this cap as it is now, on all members within reach.
    pub(crate) async fn of(client: &Client, cap: &SlotWrite) -> Self {
        // A quorum has what was written last; to the others it may be on its way.
        tokio::time::sleep(SECOND).await;
        let (base, _) = client.slot_record(&cap.to_read()).await.unwrap();
        let key = SlotKey::of(&cap.key, base.id.salt, base.id.genesis);
        Self { cap: cap.clone(), key, base }
    }

    /// A record made from the one it was met with, of the same epoch and with this counter.
    pub(crate) fn record(&self, counter: u64, sections: &Sections) -> SignedRecord {
        let (read, salt) = (self.cap.key.read_key(), &self.base.id.salt);
        let payload = encoding::seal_slot(&read, salt, &self.cap.hash, sections, &[7; 48]).unwrap();
        Record { payload, ..self.successor(counter) }.sign(&self.key)
    }

    /// As [`Slot::record`], a tombstone.
    pub(crate) fn tombstone(&self, counter: u64) -> SignedRecord {
        Record { tombstone: true, payload: Vec::new(), ..self.successor(counter) }.sign(&self.key)
    }

    fn successor(&self, counter: u64) -> Record {
        let previous = self.base.hash();
        Record { ballot: ballot(counter), previous, next: None, ..self.base.record().clone() }
    }

    pub(crate) async fn prepare(&self, grid: &SimGrid, server: usize, counter: u64) -> Verdict {
        let Promise { ballot, signature } = Promise::sign(&self.key, ballot(counter));
        let request = Request::SlotPrepare(SlotPrepare {
            hash: self.wire_hash(),
            store: store(grid, server),
            promise: SlotPromise { ballot: Bytes32(ballot.to_bytes()), signature },
            record: None,
            known: None,
        });
        self.moved(grid, server, &request).await
    }

    pub(crate) async fn accept(&self, grid: &SimGrid, server: usize, record: &SignedRecord) -> Verdict {
        let request = Request::SlotAccept(SlotAccept {
            hash: self.wire_hash(),
            store: store(grid, server),
            record: RecordBytes(record.bytes().to_vec()),
            lease: None,
        });
        self.moved(grid, server, &request).await
    }

    async fn moved(&self, grid: &SimGrid, server: usize, request: &Request) -> Verdict {
        let asked = session(grid, &grid.servers[server]).await.request::<SlotAnswer>(request).await;
        asked.unwrap().0.verdict
    }

    /// The ballot of the record that a server's store holds.
    pub(crate) async fn held(&self, grid: &SimGrid, server: usize) -> Option<Ballot> {
        let (hash, store) = (self.wire_hash(), Some(store(grid, server)));
        let request = Request::SlotRead(SlotRead { hash, store, known: None, brief: true });
        let asked = session(grid, &grid.servers[server]).await.request::<SlotState>(&request).await;
        match asked.unwrap().0.held {
            Held::Nothing => None,
            Held::Brief(ballot, _) => Some(Ballot::parse(&ballot.0)),
            other => panic!("{other:?} is not brief"),
        }
    }

    fn wire_hash(&self) -> Bytes32 {
        Bytes32(*self.cap.hash.as_bytes())
    }
}

fn ballot(counter: u64) -> Ballot {
    Ballot { epoch: 0, counter, random: [7; 16] }
}

/// The store of a server that is up.
pub(crate) fn store(grid: &SimGrid, server: usize) -> NodeId {
    grid.servers[server].server().unwrap().stores()[0].id()
}

/// A server answers before all others.
pub(crate) fn quicken(grid: &SimGrid, server: usize) {
    let quick = Link { latency: Duration::ZERO..=Duration::ZERO, bytes_per_second: None };
    grid.net.set_host_link(grid.servers[server].key.id(), quick);
}

/// While the flag is set, the servers hear nothing of records that are sent to them. Their connections so far break.
pub(crate) fn deafen(grid: &SimGrid, servers: std::ops::Range<usize>) -> Arc<AtomicBool> {
    let deaf = Arc::new(AtomicBool::new(false));
    for server in servers {
        let deaf = deaf.clone();
        corrupt(grid, server, move |request| match request {
            Request::SlotAccept(_) if deaf.load(Ordering::Relaxed) => Lie::Silence,
            _ => Lie::Truth,
        });
    }
    deaf
}
