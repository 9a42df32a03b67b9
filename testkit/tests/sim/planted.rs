//! The same driver and the same judge find what is wrong on purpose: else their silence would prove nothing.

use caps::SlotWrite;
use client::Client;
use client::slot::Freshness;
use testkit::disk::{DiskImage, Survival};
use testkit::grid::SimGrid;
use testkit::linear::Recorder;
use testkit::linear::set::{Added, Call, OpId, Timed, Violation, check};

use crate::history::{create_by_hand, simulate, tell};
use crate::plan::{Plan, Plant, SECOND, timeouts};
use crate::worker::{Add, ids};

/// The judge must object to one of the first `histories`.
fn is_caught(plant: Plant, histories: u64) {
    let mut caught = 0;
    for seed in 0..histories {
        let told = tell(&Plan::planted(seed, plant));
        if let Err(violation) = told.verdict() {
            println!("{plant:?}: seed {seed}: {violation}");
            caught += 1;
        }
    }
    println!("{plant:?}: {caught} of {histories}");
    assert!(caught > 0, "{plant:?} was not caught in {histories} histories");
}

/// One history told step by step. A change is acknowledged while three stores are away; three of those that took part forget it; three
/// others go away, and the first three come back; somebody else changes the slot.
fn three_forget(quorum: u16) -> Result<(), Violation> {
    simulate(async move {
        let mut grid = SimGrid::start(31, 10).await;
        let cap = create_by_hand(&grid, quorum).await;
        let (recorder, mut history) = (Recorder::default(), Vec::new());
        let writer = grid.client_with("3/7/10", timeouts()).await;
        added(&writer, &cap, 1, &recorder, &mut history).await;
        tokio::time::sleep(SECOND).await;
        let images: Vec<DiskImage> = (3..6).map(|index| grid.servers[index].disk.image()).collect();
        let away: Vec<usize> = (usize::from(quorum)..10).collect();
        away.iter().for_each(|index| grid.kill(*index));
        added(&writer, &cap, 2, &recorder, &mut history).await;
        for (index, image) in (3..6).zip(&images) {
            grid.crash(index, Survival::Everything);
            grid.servers[index].disk.restore(image);
            grid.restart(index).await.unwrap();
        }
        (0..3).for_each(|index| grid.kill(index));
        for index in away {
            grid.restart(index).await.unwrap();
        }
        tokio::time::sleep(SECOND * 3).await;
        let stranger = grid.client_with("3/7/10", timeouts()).await;
        added(&stranger, &cap, 3, &recorder, &mut history).await;
        let began = recorder.tick();
        let view = stranger.read_slot(&cap.to_read()).await.unwrap();
        assert_eq!(view.freshness, Freshness::Confirmed);
        let call = Call::Confirmed { ids: ids(&view.sections), version: None };
        history.push(Timed { call, begin: began, end: recorder.tick() });
        check(&history)
    })
}

async fn added(client: &Client, cap: &SlotWrite, id: OpId, recorder: &Recorder, history: &mut Vec<Timed>) {
    let began = recorder.tick();
    client.edit_slot(cap, &mut Add { id, picky: false }).await.unwrap();
    let call = Call::Add { id, outcome: Added::Done };
    history.push(Timed { call, begin: began, end: recorder.tick() });
}

#[test]
fn a_majority_in_place_of_the_quorum() {
    assert_eq!(three_forget(7), Ok(()), "any two quorums of seven share four stores");
    let caught = three_forget(6);
    assert!(caught.is_err(), "six of ten share two: what two of those forget is lost, and nobody objected");
}

#[test]
fn a_skipped_fsync() {
    is_caught(Plant::SkippedSync, 10);
}

#[test]
fn an_accept_after_amnesia() {
    is_caught(Plant::Amnesia, 10);
}

#[test]
fn a_lost_forward() {
    is_caught(Plant::LostForward, 5);
}

/// What is not wrong in the same way is not found wrong: as many forget, at the worst moment, as the quorum survives.
#[test]
fn as_many_as_may_forget() {
    for seed in 0..10 {
        let told = tell(&Plan::planted(seed, Plant::Nothing));
        assert_eq!(told.verdict(), Ok(()), "seed {seed}");
    }
}
