//! Randomness that can be repeated.

use std::sync::Mutex;

use protocol::Random;

/// A generator grown from a seed: BLAKE3's extendable output, in counter mode. The same seed gives the same bytes on every machine.
pub struct SimRandom {
    key: [u8; 32],
    output: Mutex<blake3::OutputReader>,
}

impl SimRandom {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self::from_key(blake3::derive_key(CONTEXT, &seed.to_le_bytes()))
    }

    /// A generator of its own for `label`: what it gives does not depend on what others took.
    pub fn fork(&self, label: &str) -> Self {
        let key = blake3::keyed_hash(&self.key, label.as_bytes());
        Self::from_key(*key.as_bytes())
    }

    fn from_key(key: [u8; 32]) -> Self {
        let output = blake3::Hasher::new_keyed(&key).finalize_xof();
        Self { key, output: Mutex::new(output) }
    }

    /// A number from `low` to `high`, both inclusive.
    ///
    /// # Panics
    ///
    /// If `low` is above `high`.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an empty range has no numbers");
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        let drawn = u128::from(u64::from_le_bytes(bytes));
        // The high half of the product: no division, and a bias that no test can see.
        let span = u128::from(high - low) + 1;
        low + u64::try_from((drawn * span) >> 64).expect("less than the span, which fits")
    }
}

impl std::fmt::Debug for SimRandom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimRandom").finish_non_exhaustive()
    }
}

impl Random for SimRandom {
    fn fill(&self, out: &mut [u8]) {
        self.output.lock().expect("no holder panics").fill(out);
    }
}

const CONTEXT: &str = "sarsen 2026 testkit simulation randomness";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes_however_they_are_taken() {
        let (whole, pieces) = (SimRandom::new(7), SimRandom::new(7));
        let mut expected = [0; 100];
        whole.fill(&mut expected);
        let mut got = [0; 100];
        got.chunks_mut(7).for_each(|piece| pieces.fill(piece));
        assert_eq!(got, expected);
        let random: &dyn Random = &SimRandom::new(8);
        assert_ne!(random.bytes::<100>(), expected);
    }

    #[test]
    fn forks_do_not_depend_on_what_was_taken() {
        let (fresh, used) = (SimRandom::new(7), SimRandom::new(7));
        used.between(0, 9);
        assert_eq!(fresh.fork("disk").between(0, u64::MAX), used.fork("disk").between(0, u64::MAX));
        assert_ne!(fresh.fork("disk").between(0, u64::MAX), fresh.fork("net").between(0, u64::MAX));
    }

    #[test]
    fn numbers_stay_between_their_bounds() {
        let random = SimRandom::new(1);
        let drawn: Vec<u64> = (0..1000).map(|_| random.between(5, 7)).collect();
        assert!((5..=7).all(|n| drawn.contains(&n)));
        assert!(drawn.iter().all(|n| (5..=7).contains(n)));
        assert_eq!(random.between(u64::MAX, u64::MAX), u64::MAX);
    }
}
