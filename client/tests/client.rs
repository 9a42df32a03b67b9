//! Parts of the client that need no grid. Those that do are tested in `testkit/tests/grid`.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot make its own inputs has nothing to report but the panic"
)]

#[path = "client/directory.rs"]
mod directory;
#[path = "client/hostile.rs"]
mod hostile;
#[path = "client/memory.rs"]
mod memory;
