//! The storage server: shares on disks, and the requests that put and get them.
//!
//! From the bottom: a [`Disk`] is one directory of a medium, a [`Store`] keeps shares in it so that what was acknowledged survives any
//! crash (`docs/spec/store.md`), a [`Server`] answers the wire for several stores, a [`ServerNode`] is a server with its configuration.
//!
//! Deliberately absent: sockets (a [`protocol::transport::Listener`] is passed in), clocks, randomness and threads (likewise), any key
//! that could read what is stored, and any decision about where a share belongs: clients place them.

mod answer;
mod apply;
mod backend;
mod batch;
mod collect;
mod commit;
mod compact;
pub mod config;
mod connections;
mod disk;
mod error;
mod gc;
mod groups;
mod handover;
mod identity;
mod index;
pub mod members;
pub mod node;
mod open;
mod pack;
pub mod period;
mod read;
mod real_disk;
mod rebuild;
mod resources;
mod room;
mod scrub;
mod senders;
mod serve_census;
mod serve_leases;
mod serve_put;
mod serve_read;
mod serve_sample;
mod serve_slot;
mod serve_small;
mod serve_usage;
mod server;
pub mod size;
mod slot;
mod store;
mod sweep;
mod upload;
mod usage;

pub use collect::{Gone, GoneBy};
pub use disk::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};
pub use error::{PutError, ReadError, StoreError};
pub use gc::{GcOptions, GcReport};
pub use handover::{Handover, HandoverParts, Order, Phase, Progress};
pub use identity::STORE_FORMAT;
pub use index::{Reason, ShareKey};
pub use members::Members;
pub use node::ServerNode;
pub use pack::MAX_PACKED_LEN;
pub use read::{Listed, MAX_SLICES_LEN, Proof, StoredShare};
pub use real_disk::RealDisk;
pub use rebuild::RebuildReport;
pub use scrub::{BadShare, SCRUB_PERIOD, SCRUB_RATE, ScrubOptions, ScrubReport};
pub use server::{Admission, Server, ServerLimits, ServerParts};
pub use store::{GRACE, IDLE_LIMIT, Store, StoreOptions};
pub use upload::{ReadyShare, Upload};
pub use usage::Quotas;
