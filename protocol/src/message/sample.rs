//! Random pieces of a share with their proofs: what shows that a server has it without fetching it.

use minicbor::{Decode, Encode};

use super::Bytes32;

/// See [`super::Request::Sample`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sample {
    /// H.
    #[n(0)]
    pub hash: Bytes32,
    /// Share number.
    #[n(1)]
    pub number: u16,
    /// Chunks of 1 KiB of the share's blocks, ascending, each once; at most [`crate::limits::MAX_SHARES`].
    #[n(2)]
    #[cbor(with = "crate::bounded::shares")]
    pub chunks: Vec<u64>,
}
