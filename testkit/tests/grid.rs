//! The whole grid in one process, on simulated network, disks and clock. Every test prints its seed.

#[path = "grid/basics.rs"]
mod basics;
