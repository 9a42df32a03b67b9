//! A whole grid in one process, on simulated networks, disks and clocks; for tests only.
//!
//! - [`net`] carries the protocol in memory, with delays, partitions and tampering; [`turmoil_net`] puts real QUIC on a simulated wire.
//! - [`disk`] loses what was not synced, tears writes, fills up and fails; redb runs on it too.
//! - [`clock`] and [`random`] are seeded and follow tokio's paused time.
//! - [`grid`] puts servers, an introducer and clients together; [`liar`] makes one of the servers lie; [`faults`] makes
//!   everything go wrong by a schedule, and counts what did.
//! - [`linear`] judges recorded histories of concurrent calls.
//!
//! Every test that uses these prints its seed and can be repeated. What a simulation does not show: a real kernel, real threads, and
//! hardware that lies in other ways than [`disk`] does; the end-to-end tests of the root package run real processes for that.

pub mod clock;
pub mod disk;
pub mod faults;
pub mod grid;
pub mod liar;
pub mod linear;
pub mod net;
pub mod random;
pub mod turmoil_net;
