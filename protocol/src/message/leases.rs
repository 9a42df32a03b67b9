//! Which leases an account has: what it asks before it lets any go.

use minicbor::{Decode, Encode};

use super::{Bytes16, Bytes32};
use crate::identity::NodeId;

/// See [`super::Request::Leases`]. Of the account that asks, and of no other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Leases {
    /// On what.
    #[n(0)]
    pub on: LeaseQuery,
    /// Only those of this tag.
    #[n(1)]
    pub tag: Option<Bytes16>,
    /// Only what comes after this: the [`LeasesReply::next`] of the answer before.
    #[n(2)]
    pub after: Option<LeaseAt>,
}

/// Which objects and slots a [`Leases`] asks about.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LeaseQuery {
    /// Everything.
    #[n(0)]
    All,
    /// These, at most [`crate::limits::MAX_BATCH`].
    #[n(1)]
    Of(
        #[n(0)]
        #[cbor(with = "crate::bounded::batch")]
        Vec<Bytes32>,
    ),
}

/// Where a list of leases goes on. Leases stand by store, then H, then tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct LeaseAt {
    /// Which of the server's stores, in an order of its own.
    #[n(0)]
    pub store: u16,
    /// H.
    #[n(1)]
    pub hash: Bytes32,
    /// The tag.
    #[n(2)]
    pub tag: Bytes16,
}

/// Some of the account's leases, of one store; one that it has in several stores is listed for each.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LeasesReply {
    /// The store.
    #[n(0)]
    pub store: NodeId,
    /// Seconds that the store was served so far.
    #[n(1)]
    pub uptime_s: u64,
    /// The leases.
    #[n(2)]
    #[cbor(with = "crate::bounded::batch")]
    pub leases: Vec<HeldLease>,
    /// Where it goes on; `None`: there are no more. A list may be empty and go on.
    #[n(3)]
    pub next: Option<LeaseAt>,
}

/// Which leases a [`super::CancelLease`] ends at most: those of one store that were last made or renewed at this second of its uptime or
/// before. So whoever decided by a [`LeasesReply`] ends nothing that was made or renewed since, however late the request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OldLeases {
    /// The store.
    #[n(0)]
    pub store: NodeId,
    /// In seconds of uptime.
    #[n(1)]
    pub made_until_s: u64,
}

/// One lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HeldLease {
    /// H.
    #[n(0)]
    pub hash: Bytes32,
    /// The tag.
    #[n(1)]
    pub tag: Bytes16,
    /// The second of the store's uptime at which it was made or renewed last; 0 where that is not known.
    #[n(2)]
    pub made_s: u64,
    /// What the account is charged for this object or slot in this store, however many tags it has on it.
    #[n(3)]
    pub bytes: u64,
}
