//! Members of slots that lie, and readers who must leave no traces.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use client::Client;
use client::slot::{EditError, Freshness, SlotError};
use encoding::Sections;
use encoding::slot::Ballot;
use protocol::message::{Bytes32, Request};
use protocol::slot_message::{Held, SlotAnswer, SlotState, Verdict};
use testkit::grid::SimGrid;
use testkit::liar::{Lie, corrupt};
use testkit::net::Link;

use crate::by_hand::{FOUR, Slot, deafen, quicken, store};
use crate::slots::{Add, add, create, read};
use crate::support::{SECOND, simulate, within};

/// More ballots than any of these tests needs.
const MANY: u64 = 1000;

fn states(state: &mut SlotState, ballot: Ballot) {
    let bytes = Bytes32(ballot.to_bytes());
    state.promised = Some(bytes);
    if let Held::Brief(..) = state.held {
        state.held = Held::Brief(bytes, Bytes32([7; 32]));
    }
}

/// A member states a ballot that nobody ever asked for, and says that its writer is ahead if it is to.
fn one_states(liar: usize, ballot: Ballot, outbid: bool) {
    simulate(async {
        let mut grid = SimGrid::start_silent(20, 4).await;
        let (one, other) = (grid.client(FOUR).await, grid.client(FOUR).await);
        let cap = create(&one).await;
        // A writer died after it asked for promises: whoever writes must learn of them, and from those who tell the truth.
        let slot = Slot::of(&one, &cap).await;
        for honest in (0..4).filter(|index| *index != liar) {
            assert_eq!(slot.prepare(&grid, honest, 40).await, Verdict::Yes);
        }
        corrupt(&grid, liar, move |request| match request {
            Request::SlotRead(_) => Lie::State(Arc::new(move |state| states(state, ballot))),
            Request::SlotPrepare(_) | Request::SlotAccept(_) => {
                Lie::Moved(Arc::new(move |answer: &mut SlotAnswer| {
                    states(&mut answer.state, ballot);
                    answer.verdict = if outbid { Verdict::Outbid } else { answer.verdict };
                }))
            }
            _ => Lie::Truth,
        });
        quicken(&grid, liar);
        let mut all = Vec::new();
        for round in 0..3 {
            let stranger = grid.client(FOUR).await;
            assert_eq!(read(&stranger, &cap.to_read()).await, (all.clone(), Freshness::Confirmed));
            for (client, number) in [&one, &other, &stranger].into_iter().zip(1..) {
                let byte = round * 3 + number;
                within(SECOND * 10, client.edit_slot(&cap, &mut Add(byte))).await.unwrap();
                all.push(byte);
                assert_eq!(read(client, &cap.to_read()).await, (all.clone(), Freshness::Confirmed));
            }
        }
        let (record, _) = one.slot_record(&cap.to_read()).await.unwrap();
        let reached = record.ballot();
        assert!(
            reached.epoch == 0 && reached.counter < MANY,
            "led to {reached} by {liar}, who said {ballot}"
        );
    });
}

#[test]
fn a_member_that_states_absurd_ballots_leads_nobody_there() {
    let near = [u64::MAX - 1, u64::MAX / 2, (1 << 32) + MANY, (1 << 31) + MANY].map(|counter| (0, counter));
    let far = [(1, 1), (1, u64::MAX), (u64::MAX, u64::MAX)];
    for (index, (epoch, counter)) in near.into_iter().chain(far).enumerate() {
        for liar in 0..4 {
            one_states(liar, Ballot { epoch, counter, random: [255; 16] }, (liar + index) % 2 == 0);
        }
    }
}

#[test]
fn a_member_that_says_deleted_deletes_nothing() {
    for liar in 0..4 {
        simulate(async {
            let mut grid = SimGrid::start(21, 4).await;
            let writer = grid.client(FOUR).await;
            let cap = create(&writer).await;
            corrupt(&grid, liar, |request| match request {
                Request::SlotPrepare(_) | Request::SlotAccept(_) => {
                    Lie::Moved(Arc::new(|answer: &mut SlotAnswer| answer.verdict = Verdict::Deleted))
                }
                _ => Lie::Truth,
            });
            quicken(&grid, liar);
            let stranger = grid.client(FOUR).await;
            for (client, byte) in [&writer, &stranger, &writer].into_iter().zip(1..) {
                add(client, &cap, byte).await.unwrap();
            }
            let reader = grid.client(FOUR).await;
            assert_eq!(read(&reader, &cap.to_read()).await, (vec![1, 2, 3], Freshness::Confirmed));
        });
    }
}

fn is_told_deleted<T>(told: &Result<T, SlotError>) -> bool {
    matches!(told, Err(SlotError::Deleted))
}

/// A tombstone is signed, but one store alone has it, and the others promised not to take it.
#[test]
fn a_tombstone_is_believed_once_a_quorum_holds_it() {
    simulate(async {
        let mut grid = SimGrid::start(22, 4).await;
        let writer = grid.client(FOUR).await;
        let cap = create(&writer).await;
        add(&writer, &cap, 1).await.unwrap();
        let slot = Slot::of(&writer, &cap).await;
        for server in 1..4 {
            assert_eq!(slot.prepare(&grid, server, 40).await, Verdict::Yes);
        }
        assert_eq!(slot.accept(&grid, 0, &slot.tombstone(20)).await, Verdict::Yes);
        quicken(&grid, 0);
        for client in [&writer, &grid.client(FOUR).await] {
            let told = within(SECOND * 90, client.read_slot(&cap.to_read())).await;
            assert!(!is_told_deleted(&told), "one store has the tombstone");
        }
        // A writer that meets it makes an end of it, and not before then is anybody told so.
        let told = within(SECOND * 90, writer.edit_slot(&cap, &mut Add(2))).await;
        assert!(matches!(told, Err(EditError::Slot(SlotError::Deleted))), "{told:?}");
        grid.kill(0);
        let stranger = grid.client(FOUR).await;
        assert!(is_told_deleted(&within(SECOND * 90, stranger.read_slot(&cap.to_read())).await));
    });
}

/// The same, and the one store that has it is away when the others go on: what they make is newer, and the tombstone never was.
#[test]
fn a_tombstone_that_was_passed_over_deletes_nothing_and_holds_nobody_up() {
    simulate(async {
        let mut grid = SimGrid::start(22, 4).await;
        let writer = grid.client(FOUR).await;
        let cap = create(&writer).await;
        add(&writer, &cap, 1).await.unwrap();
        let slot = Slot::of(&writer, &cap).await;
        for server in 0..4 {
            assert_eq!(slot.prepare(&grid, server, 20).await, Verdict::Yes);
        }
        assert_eq!(slot.accept(&grid, 0, &slot.tombstone(20)).await, Verdict::Yes);
        grid.kill(0);
        add(&grid.client(FOUR).await, &cap, 2).await.unwrap();
        grid.restart(0).await.unwrap();
        quicken(&grid, 0);
        // With another one away, the store that held the tombstone is needed.
        grid.kill(1);
        for (client, byte) in [(grid.client(FOUR).await, 3), (writer, 4)] {
            add(&client, &cap, byte).await.unwrap();
            let all: Vec<u8> = (1..=byte).collect();
            assert_eq!(read(&client, &cap.to_read()).await, (all, Freshness::Confirmed));
        }
    });
}

/// A deletion reached one store when its writer was cancelled, and another writer asked the others for promises before it met the tombstone.
#[test]
fn a_deletion_that_reached_one_store_is_finished_by_whoever_meets_it() {
    simulate(async {
        let mut grid = SimGrid::start(25, 4).await;
        let deaf = deafen(&grid, 1..4);
        quicken(&grid, 0);
        let (writer, other) = (grid.client(FOUR).await, grid.client(FOUR).await);
        let cap = create(&writer).await;
        add(&writer, &cap, 1).await.unwrap();
        assert_eq!(read(&other, &cap.to_read()).await, (vec![1], Freshness::Confirmed));
        deaf.store(true, Ordering::Relaxed);
        assert!(tokio::time::timeout(SECOND * 3, writer.delete_slot(&cap)).await.is_err());
        deaf.store(false, Ordering::Relaxed);
        let _ = within(SECOND * 90, other.edit_slot(&cap, &mut Add(2))).await;
        for client in [&other, &grid.client(FOUR).await] {
            within(SECOND * 90, client.delete_slot(&cap)).await.unwrap();
            assert!(is_told_deleted(&client.read_slot(&cap.to_read()).await));
        }
    });
}

/// Two of four hold a record that the other two will never take. One of the holders answers whoever searches as if it were one of those.
#[test]
fn who_is_searched_speaks_for_no_store_of_another_server() {
    simulate(async {
        let mut grid = SimGrid::start(23, 4).await;
        let writer = grid.client(FOUR).await;
        let slot = Slot::of(&writer, &create(&writer).await).await;
        let sent = slot.record(20, &Sections { a: vec![1], b: Vec::new() });
        for server in [0, 1] {
            assert_eq!(slot.accept(&grid, server, &sent).await, Verdict::Yes);
        }
        for server in [2, 3] {
            assert_eq!(slot.prepare(&grid, server, 40).await, Verdict::Yes);
        }
        let claimed = grid.servers[2].server().unwrap().stores()[0].member();
        corrupt(&grid, 0, move |request| match request {
            Request::SlotRead(read) if read.store.is_none() => {
                Lie::State(Arc::new(move |state: &mut SlotState| {
                    state.store = protocol::NodeId::new(claimed.store);
                    state.incarnation = claimed.incarnation;
                }))
            }
            _ => Lie::Truth,
        });
        // It comes first, and whom it speaks for last.
        quicken(&grid, 0);
        let slow = Link { latency: SECOND / 5..=SECOND / 5, ..Link::default() };
        grid.net.set_host_link(grid.servers[2].key.id(), slow);
        let reader = grid.client(FOUR).await;
        let seen = read(&reader, &slot.cap.to_read()).await;
        assert_eq!(seen, (vec![1], Freshness::NewestSeen), "two of four hold it");
    });
}

/// Two of four hold the slot, one is away, and one never heard of it.
#[test]
fn who_only_reads_leases_nothing() {
    simulate(async {
        let mut grid = SimGrid::start(24, 4).await;
        let deaf = deafen(&grid, 3..4);
        deaf.store(true, Ordering::Relaxed);
        let writer = grid.client(FOUR).await;
        let cap = create(&writer).await;
        let slot = Slot::of(&writer, &cap).await;
        deaf.store(false, Ordering::Relaxed);
        grid.kill(0);
        let reader: Client = grid.client(FOUR).await;
        for _ in 0..2 {
            assert_eq!(read(&reader, &cap.to_read()).await, (vec![], Freshness::NewestSeen));
            assert_eq!(slot.held(&grid, 3).await, None, "{}", store(&grid, 3));
        }
        // Whoever looks after it leases it.
        let health = reader.restore_slot(&cap.to_read().to_verify()).await.unwrap();
        assert_eq!(health.holding.len(), 3, "{health:?}");
        assert!(slot.held(&grid, 3).await.is_some());
        assert_eq!(read(&reader, &cap.to_read()).await, (vec![], Freshness::Confirmed));
    });
}
