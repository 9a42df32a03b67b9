//! The grid as a file system.
//!
//! [`Mount`] is the file system without a kernel: calls as POSIX has them, on numbered files and folders, in terms of a client and its
//! seams, so that it runs in the simulated grid. What is written goes to memory and to a journal on this machine first (`journal`), and
//! from there to the grid in batches (`sync`); [`Mount::fsync`] returns when the grid has it. `docs/mount.md` says what programs may
//! expect, `docs/design/0009-mount.md` why it is built so.
//!
//! [`KernelSide`] speaks FUSE. Deliberately absent: any lock held while the grid is asked.

mod aside;
mod attr;
mod blocks;
mod cache;
mod error;
mod extents;
mod file;
mod folders;
mod health;
mod journal;
mod kernel;
mod mount;
mod prefetch;
mod state;
mod store;
mod sync;
mod types;
mod xattrs;

pub use error::FsError;
pub use journal::JournalError;
pub use kernel::{KernelSide, Telling};
pub use mount::{Durable, Handle, Kernel, Mount, MountError, Options};
pub use types::{Attr, DirEntry, Ino, Kind, OpenMode, Owner, ROOT, RenameMode, Room, Seek, SetAttr};
pub use xattrs::XattrMode;
