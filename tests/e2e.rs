//! The program as its users meet it: separate processes, real sockets, real files. Its modules share one binary.

#![allow(clippy::unwrap_used)] // These are tests, helpers and all.

#[path = "e2e/agent.rs"]
mod agent;
#[path = "e2e/aliases.rs"]
mod aliases;
#[path = "e2e/backup.rs"]
mod backup;
#[path = "e2e/check.rs"]
mod check;
#[path = "e2e/chunked.rs"]
mod chunked;
#[path = "e2e/codes.rs"]
mod codes;
#[path = "e2e/disks.rs"]
mod disks;
#[path = "e2e/drain.rs"]
mod drain;
#[path = "e2e/files.rs"]
mod files;
#[path = "e2e/filestore.rs"]
mod filestore;
#[path = "e2e/gateway.rs"]
mod gateway;
#[path = "e2e/gc.rs"]
mod gc;
#[path = "e2e/grid.rs"]
mod grid;
#[path = "e2e/interrupted.rs"]
mod interrupted;
#[path = "e2e/keys.rs"]
mod keys;
#[path = "e2e/members.rs"]
mod members;
#[path = "e2e/mount.rs"]
mod mount;
#[path = "e2e/outlives.rs"]
mod outlives;
#[path = "e2e/ports.rs"]
mod ports;
#[path = "e2e/program.rs"]
mod program;
#[path = "e2e/purge.rs"]
mod purge;
#[path = "e2e/quota.rs"]
mod quota;
#[path = "e2e/racing.rs"]
mod racing;
#[path = "e2e/recovery.rs"]
mod recovery;
#[path = "e2e/scrub.rs"]
mod scrub;
#[path = "e2e/secrets.rs"]
mod secrets;
#[path = "e2e/servers.rs"]
mod servers;
#[path = "e2e/shares.rs"]
mod shares;
#[path = "e2e/slots.rs"]
mod slots;
#[path = "e2e/walking.rs"]
mod walking;
#[path = "e2e/web.rs"]
mod web;
