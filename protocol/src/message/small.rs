//! Several small shares in one request: what a file of a few kilobytes costs is mostly what its requests cost.

use minicbor::{Decode, Encode};

use super::{Bytes32, LeaseTerms, WireError};
use crate::identity::NodeId;
use crate::limits::{MAX_SHARES, MAX_SMALL_BODY_LEN, MAX_SMALL_SHARE_LEN};

/// See [`super::Request::PutSmall`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PutSmall {
    /// The store they shall go to.
    #[n(0)]
    pub store: NodeId,
    /// The shares, in the order in which their bytes follow; see [`PutSmall::body_len`] for the bounds.
    #[n(1)]
    #[cbor(with = "crate::bounded::shares")]
    pub shares: Vec<SmallShare>,
}

/// One of the shares of a [`PutSmall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SmallShare {
    /// Bytes of the share file.
    #[n(0)]
    pub len: u32,
    /// The lease it shall have.
    #[n(1)]
    pub lease: LeaseTerms,
}

impl PutSmall {
    /// Bytes that follow the message; `None` if it breaks a bound: there are 1 to [`MAX_SHARES`] shares, of 1 to
    /// [`MAX_SMALL_SHARE_LEN`] bytes each and [`MAX_SMALL_BODY_LEN`] together.
    pub fn body_len(&self) -> Option<usize> {
        let counted = (1..=MAX_SHARES).contains(&self.shares.len());
        let within = self.shares.iter().all(|share| (1..=MAX_SMALL_SHARE_LEN).contains(&share.len));
        if !(counted && within) {
            return None;
        }
        let len = self.shares.iter().map(|share| share.len as usize).sum();
        (len <= MAX_SMALL_BODY_LEN).then_some(len)
    }
}

/// The answer to a [`PutSmall`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PutSmallDone {
    /// What became of each share, in the order of the request.
    #[n(0)]
    #[cbor(with = "crate::bounded::shares")]
    pub outcomes: Vec<SmallOutcome>,
}

/// What became of one share.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SmallOutcome {
    /// Durable and leased; its H, as the server computed it.
    #[n(0)]
    Stored(#[n(0)] Bytes32),
    /// The same bytes were here already, intact, and are leased now; their H.
    #[n(1)]
    Had(#[n(0)] Bytes32),
    /// Why not.
    #[n(2)]
    Refused(#[n(0)] WireError),
}
