//! The gateway's own API: requests go to the router itself.

mod basics;
mod content;
mod grid;
mod support;
mod uploads;
