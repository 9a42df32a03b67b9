//! The storage server's tests, in one binary.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot make its own inputs has nothing to report but the panic"
)]

#[path = "storage/collect.rs"]
mod collect;
#[path = "storage/crash.rs"]
mod crash;
#[path = "storage/crash_disk.rs"]
mod crash_disk;
#[path = "storage/groups.rs"]
mod groups;
#[path = "storage/leases.rs"]
mod leases;
#[path = "storage/life.rs"]
mod life;
#[path = "storage/objects.rs"]
mod objects;
#[path = "storage/own_leases.rs"]
mod own_leases;
#[path = "storage/quota.rs"]
mod quota;
#[path = "storage/rights.rs"]
mod rights;
#[path = "storage/scrub.rs"]
mod scrub;
#[path = "storage/server.rs"]
mod server;
#[path = "storage/small.rs"]
mod small;
#[path = "storage/wire.rs"]
mod wire;
