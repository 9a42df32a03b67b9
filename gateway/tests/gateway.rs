//! The gateway over a grid in this process, and its connections over real sockets.

#![allow(clippy::unwrap_used)] // These are tests, helpers and all.

#[path = "gateway/api/api.rs"]
mod api;
#[path = "gateway/common.rs"]
mod common;
#[path = "gateway/connections.rs"]
mod connections;
#[path = "gateway/content.rs"]
mod content;
#[path = "gateway/headers.rs"]
mod headers;
#[path = "gateway/likely.rs"]
mod likely;
#[path = "gateway/operations.rs"]
mod operations;
#[path = "gateway/pages.rs"]
mod pages;
#[path = "gateway/places.rs"]
mod places;
#[path = "gateway/tahoe.rs"]
mod tahoe;
#[path = "gateway/tls.rs"]
mod tls;
