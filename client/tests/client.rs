//! The client's own files and this machine's trees. Its modules share one binary.

#![allow(clippy::unwrap_used)] // These are tests, helpers and all.

#[path = "client/aliases.rs"]
mod aliases;
#[path = "client/backup_db.rs"]
mod backup_db;
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
