//! A lone writer's changes go to a quorum first: the others are brought up soon, at the end, or at once when one of the quorum is gone.

use std::time::Duration;

use encoding::slot::Ballot;
use testkit::grid::SimGrid;
use testkit::net::Link;
use tokio::time::Instant;

use crate::by_hand::{FOUR, Slot};
use crate::slots::{add, create, read};
use crate::support::{SECOND, simulate};

/// The ballots that the four hold.
async fn held(slot: &Slot, grid: &SimGrid) -> Vec<Option<Ballot>> {
    let mut ballots = Vec::new();
    for server in 0..4 {
        ballots.push(slot.held(grid, server).await);
    }
    ballots.sort();
    ballots
}

fn alike(ballots: &[Option<Ballot>]) -> usize {
    ballots.iter().filter(|ballot| *ballot == ballots.last().expect("there are four")).count()
}

#[test]
fn members_left_out_get_the_newest_a_moment_later() {
    simulate(async {
        let mut grid = SimGrid::start(31, 4).await;
        let writer = grid.client(FOUR).await;
        let cap = create(&writer).await;
        let slot = Slot::of(&writer, &cap).await;
        // Connections of those that ask by hand are made before, lest it take too long.
        held(&slot, &grid).await;
        for byte in 1..3 {
            add(&writer, &cap, byte).await.unwrap();
        }
        assert_eq!(alike(&held(&slot, &grid).await), 3, "a quorum, and nobody else");
        tokio::time::sleep(SECOND).await;
        assert_eq!(alike(&held(&slot, &grid).await), 4);
    });
}

#[test]
fn a_client_that_closes_leaves_nobody_behind() {
    simulate(async {
        let mut grid = SimGrid::start(32, 4).await;
        let writer = grid.client(FOUR).await;
        let cap = create(&writer).await;
        let slot = Slot::of(&writer, &cap).await;
        for byte in 1..10 {
            add(&writer, &cap, byte).await.unwrap();
        }
        let begun = Instant::now();
        writer.close().await;
        assert!(begun.elapsed() < Duration::from_millis(50), "it does not wait for the moment to come");
        assert_eq!(alike(&held(&slot, &grid).await), 4);
    });
}

#[test]
fn a_client_that_closes_does_not_cut_off_what_is_on_its_way_to_a_slow_member() {
    simulate(async {
        let mut grid = SimGrid::start(34, 4).await;
        let first = grid.client(FOUR).await;
        let cap = create(&first).await;
        let slot = Slot::of(&first, &cap).await;
        held(&slot, &grid).await;
        first.close().await;
        let latency = Duration::from_millis(60)..=Duration::from_millis(60);
        grid.net.set_host_link(grid.servers[2].key.id(), Link { latency, bytes_per_second: None });
        let writer = grid.client(FOUR).await;
        add(&writer, &cap, 1).await.unwrap();
        writer.close().await;
        assert_eq!(alike(&held(&slot, &grid).await), 4);
    });
}

#[test]
fn one_of_the_quorum_that_dies_is_replaced_at_once() {
    for victim in 0..4 {
        simulate(async {
            let mut grid = SimGrid::start(33, 4).await;
            let writer = grid.client(FOUR).await;
            let cap = create(&writer).await;
            for byte in 1..5 {
                add(&writer, &cap, byte).await.unwrap();
            }
            // It says nothing any more, as a machine that lost its power does.
            grid.net.isolate(grid.servers[victim].key.id());
            let begun = Instant::now();
            add(&writer, &cap, 5).await.unwrap();
            assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
            let all: Vec<u8> = (1..=5).collect();
            assert_eq!(read(&writer, &cap.to_read()).await.0, all);
        });
    }
}
