//! The whole grid in one process, on simulated network, disks and clock. Every test prints its seed.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot make its own inputs has nothing to report but the panic"
)]

#[path = "grid/basics.rs"]
mod basics;
#[path = "grid/crash.rs"]
mod crash;
#[path = "grid/download.rs"]
mod download;
#[path = "grid/liars.rs"]
mod liars;
#[path = "grid/support.rs"]
mod support;
#[path = "grid/upload.rs"]
mod upload;
