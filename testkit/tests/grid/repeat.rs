//! The same seed gives the same run, to the last byte on the network.

use crate::crash::storm;
use crate::support::simulate;

/// The hash of what happened, and what happened.
fn told(seed: u64) -> (String, Vec<String>) {
    simulate(async {
        let (grid, _) = storm(seed, true).await;
        (grid.net.trace(), grid.net.events())
    })
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 100..103 {
        let (first, second) = (told(seed), told(seed));
        let differs = first.1.iter().zip(&second.1).position(|(one, other)| one != other);
        assert!(
            first.0 == second.0,
            "seed {seed}: event {differs:?} differs: {:?}",
            differs.map(|at| [&first.1[at], &second.1[at]])
        );
        assert!(first.1.len() > 1000);
    }
    assert_ne!(told(100).0, told(101).0);
}
