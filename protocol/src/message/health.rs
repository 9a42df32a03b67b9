//! What a store says of its own health: in its status, and shorter in announcements.

use minicbor::{Decode, Encode};

use super::StoreState;

/// How the scrubbing of a store goes: each share hashed again, now and then, by whoever holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Scrubbed {
    /// When all of the store was last gone through, in seconds since 1970; `None` if never.
    #[n(0)]
    pub finished_s: Option<u64>,
    /// Bytes of shares that the pass under way has been through.
    #[n(1)]
    pub done: u64,
    /// Shares that were hashed, ever.
    #[n(2)]
    pub checked: u64,
    /// Shares that were found bad and put aside, ever.
    #[n(3)]
    pub bad: u64,
    /// Those of them that the medium could not read, since the last pass without any.
    #[n(4)]
    pub unreadable: u64,
}

/// What a server announces of a store's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StoreReport {
    /// Whether it takes shares.
    #[n(0)]
    pub state: StoreState,
    /// Bytes it may still take, after the reserve.
    #[n(1)]
    pub available: u64,
    /// Bytes of shares it holds.
    #[n(2)]
    pub used: u64,
    /// Shares that were found bad and put aside, ever.
    #[n(3)]
    pub bad: u64,
    /// When all of it was last scrubbed, in seconds since 1970; `None` if never.
    #[n(4)]
    pub scrubbed_s: Option<u64>,
}
