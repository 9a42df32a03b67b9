//! The whole grid in one process, on simulated network, disks and clock. Every test prints its seed.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot make its own inputs has nothing to report but the panic"
)]

#[path = "grid/agent.rs"]
mod agent;
#[path = "grid/basics.rs"]
mod basics;
#[path = "grid/by_hand.rs"]
mod by_hand;
#[path = "grid/changing.rs"]
mod changing;
#[path = "grid/check.rs"]
mod check;
#[path = "grid/copying.rs"]
mod copying;
#[path = "grid/crash.rs"]
mod crash;
#[path = "grid/disks.rs"]
mod disks;
#[path = "grid/download.rs"]
mod download;
#[path = "grid/drain.rs"]
mod drain;
#[path = "grid/faulty.rs"]
mod faulty;
#[path = "grid/filestore.rs"]
mod filestore;
#[path = "grid/filestore_malice.rs"]
mod filestore_malice;
#[path = "grid/gone.rs"]
mod gone;
#[path = "grid/introducers.rs"]
mod introducers;
#[path = "grid/joints.rs"]
mod joints;
#[path = "grid/leases.rs"]
mod leases;
#[path = "grid/letting_go.rs"]
mod letting_go;
#[path = "grid/liars.rs"]
mod liars;
#[path = "grid/library.rs"]
mod library;
#[path = "grid/likely.rs"]
mod likely;
#[path = "grid/malice.rs"]
mod malice;
#[path = "grid/matrix.rs"]
mod matrix;
#[path = "grid/members.rs"]
mod members;
#[path = "grid/quic.rs"]
mod quic;
#[path = "grid/ranges.rs"]
mod ranges;
#[path = "grid/repeat.rs"]
mod repeat;
#[path = "grid/sampled.rs"]
mod sampled;
#[path = "grid/slots.rs"]
mod slots;
#[path = "grid/slots_doubt.rs"]
mod slots_doubt;
#[path = "grid/slots_malice.rs"]
mod slots_malice;
#[path = "grid/slots_many.rs"]
mod slots_many;
#[path = "grid/small.rs"]
mod small;
#[path = "grid/stragglers.rs"]
mod stragglers;
#[path = "grid/support.rs"]
mod support;
#[path = "grid/trees.rs"]
mod trees;
#[path = "grid/trees_malice.rs"]
mod trees_malice;
#[path = "grid/upkeep.rs"]
mod upkeep;
#[path = "grid/upload.rs"]
mod upload;
