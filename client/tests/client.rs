//! Parts of the client that need no grid. Those that do are tested in `testkit/tests/grid`.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot make its own inputs has nothing to report but the panic"
)]

#[path = "client/aliases.rs"]
mod aliases;
#[path = "client/backup_db.rs"]
mod backup_db;
#[path = "client/directory.rs"]
mod directory;
#[path = "client/hostile.rs"]
mod hostile;
#[path = "client/memory.rs"]
mod memory;
#[path = "client/nobody.rs"]
mod nobody;
#[path = "client/path.rs"]
mod path;
#[path = "client/recovery.rs"]
mod recovery;
#[path = "client/restore.rs"]
mod restore;
#[path = "client/scan.rs"]
mod scan;
#[path = "client/things.rs"]
mod things;
