//! The same driver and the same judge find what is wrong on purpose: else their silence would prove nothing.

use crate::history::tell;
use crate::plan::{Plan, Plant};

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

#[test]
fn a_majority_in_place_of_the_quorum() {
    is_caught(Plant::Majority, 40);
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
