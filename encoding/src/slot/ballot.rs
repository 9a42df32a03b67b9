//! Ballots: the order of attempts at one slot.

use minicbor::{Decode, Encode};

/// A counter further than this above all that a member knows is refused: one absurd ballot must not block a slot for ever.
pub const MAX_COUNTER_JUMP: u64 = 1 << 32;

/// An attempt to change a slot. Ordered by epoch, counter, random part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct Ballot {
    /// Raised by explicit command only.
    #[n(0)]
    pub epoch: u64,
    /// Counts attempts.
    #[n(1)]
    pub counter: u64,
    /// Fresh for each attempt, so that two writers, or two copies of one, never share a ballot. 16 bytes.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub random: [u8; 16],
}

impl Ballot {
    /// The 32 bytes that are signed and stored: epoch and counter little-endian, then the random part.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        out[..8].copy_from_slice(&self.epoch.to_le_bytes());
        out[8..16].copy_from_slice(&self.counter.to_le_bytes());
        out[16..].copy_from_slice(&self.random);
        out
    }

    /// The ballot of these bytes.
    pub fn parse(bytes: &[u8; 32]) -> Self {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Self { epoch: word(0), counter: word(8), random: std::array::from_fn(|i| bytes[16 + i]) }
    }

    /// The attempt after this one and all others seen.
    #[must_use]
    pub fn next(self, random: [u8; 16]) -> Self {
        Self { epoch: self.epoch, counter: self.counter.saturating_add(1), random }
    }

    /// Whether a member that knows `known` at most may follow to this one.
    pub fn is_within_reach(self, known: Self) -> bool {
        self.counter <= known.counter.saturating_add(MAX_COUNTER_JUMP)
    }
}

impl std::fmt::Display for Ballot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, ..] = self.random;
        write!(f, "{}.{}.{a:02x}{b:02x}", self.epoch, self.counter)
    }
}
