//! The same driver and the same judge find what is wrong on purpose: else their silence would prove nothing.

use crate::history::tell;
use crate::plan::{Plan, Plant};

/// The judge must object to one of the first `histories`.
fn is_caught(plant: Plant, histories: u64) {
    for seed in 0..histories {
        let told = tell(&Plan::planted(seed, plant));
        if let Err(violation) = told.verdict() {
            println!("{plant:?}: seed {seed}: {violation}");
            return;
        }
    }
    panic!("{plant:?} was not caught in {histories} histories");
}

#[test]
fn a_majority_in_place_of_the_quorum() {
    is_caught(Plant::Majority, 100);
}

#[test]
fn a_skipped_fsync() {
    is_caught(Plant::SkippedSync, 40);
}

#[test]
fn an_accept_after_amnesia() {
    is_caught(Plant::Amnesia, 40);
}

#[test]
fn a_lost_forward() {
    is_caught(Plant::LostForward, 40);
}
