//! What an account is charged.

use minicbor::{Decode, Encode};

use crate::identity::NodeId;

/// What the account that asks is charged on a server.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Usage {
    /// Bytes, in all stores.
    #[n(0)]
    pub used: u64,
    /// Bytes it may be charged; `None`: as much as there is room.
    #[n(1)]
    pub quota: Option<u64>,
    /// Store by store; those that failed are left out.
    #[n(2)]
    #[cbor(with = "crate::bounded::short_list")]
    pub stores: Vec<StoreUsage>,
}

/// What it is charged in one store.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StoreUsage {
    /// The store.
    #[n(0)]
    pub store: NodeId,
    /// Bytes.
    #[n(1)]
    pub used: u64,
}
