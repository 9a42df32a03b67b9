//! The mount without a kernel, on a simulated grid.

#![allow(clippy::unwrap_used)]

mod basics;
mod bed;
mod crash;
mod model;
mod reading;
mod removed;
mod together;
