//! The storage server: shares on disks, and the requests that put and get them.
//!
//! From the bottom: a [`Disk`] is one directory of a medium, a [`Store`] keeps shares in it so that what was acknowledged survives any
//! crash (`docs/spec/store.md`), a [`Server`] answers the wire for several stores, a [`ServerNode`] is a server with its configuration.
//!
//! Deliberately absent: sockets (a [`protocol::transport::Listener`] is passed in), clocks, randomness and threads (likewise), any key
//! that could read what is stored, and any decision about where a share belongs: clients place them.

mod backend;
mod batch;
mod commit;
mod disk;
mod error;
mod identity;
mod index;
mod open;
mod pack;
mod read;
mod real_disk;
mod rebuild;
mod store;
mod upload;


pub use disk::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};
pub use error::{PutError, ReadError, StoreError};
pub use identity::STORE_FORMAT;
pub use index::ShareKey;
pub use pack::MAX_PACKED_LEN;
pub use read::{Listed, MAX_SLICES_LEN, Proof, StoredShare};
pub use real_disk::RealDisk;
pub use rebuild::RebuildReport;
pub use store::{Store, StoreOptions};
pub use upload::{ReadyShare, Upload};
