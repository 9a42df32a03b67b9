//! Which shares of many objects a server holds, in one request: what checking a whole tree asks.

use minicbor::{Decode, Encode};

use super::Bytes32;
use crate::identity::NodeId;
use crate::limits::MAX_LIST;

/// See [`super::Request::Census`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Census {
    /// The objects, at most [`crate::limits::MAX_BATCH`].
    #[n(0)]
    #[cbor(with = "crate::bounded::batch")]
    pub hashes: Vec<Bytes32>,
}

/// The answer to a [`Census`]: what the server claims to hold, unread.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CensusReply {
    /// The stores that hold any of it.
    #[n(0)]
    #[cbor(with = "crate::bounded::short_list")]
    pub stores: Vec<NodeId>,
    /// For each object asked about, in order, its shares here. Where there are more than [`MAX_CENSUS_SHARES`] in all, the list ends early,
    /// with at least one object: the rest is to be asked again.
    #[n(1)]
    #[cbor(with = "crate::bounded::batch")]
    pub objects: Vec<Counted>,
    /// When each of the stores was last scrubbed, as it says, in seconds since 1970; 0: never.
    #[n(2)]
    #[cbor(with = "crate::bounded::short_list")]
    pub scrubbed_s: Vec<u64>,
}

impl CensusReply {
    /// Whether this is an answer about some of `asked` objects. Only one that is full may end early: else a server could take its time for
    /// each object anew.
    pub fn answers(&self, asked: usize) -> bool {
        let counted: usize = self.objects.iter().map(|counted| counted.0.len()).sum();
        let early = self.objects.len() < asked && counted + OF_ONE_MAX < MAX_CENSUS_SHARES;
        !self.objects.is_empty() && self.objects.len() <= asked && !early
    }
}

/// Shares of one object that a server can have, in all its stores.
const OF_ONE_MAX: usize = 256 * MAX_LIST;

/// Shares of one object in one answer, from which on no further objects are counted.
pub const MAX_CENSUS_SHARES: usize = 50_000;

/// The shares of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Counted(#[cbor(n(0), with = "crate::bounded::batch")] pub Vec<CountedShare>);

/// One share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CountedShare {
    /// Share number.
    #[n(0)]
    pub number: u16,
    /// Which of [`CensusReply::stores`].
    #[n(1)]
    pub store: u16,
}
