//! Trees of this machine, for `backup`, `restore` and `cp -r`: read without following a symlink, and written without going through one
//! that was not made here.
//!
//! [`scan`] walks, [`restore`] makes, [`exclude`] says what to leave out. All of it blocks, and belongs into the pool.

pub mod exclude;
mod meta;
pub mod restore;
pub mod scan;
mod xattr;

pub use exclude::{ExcludeError, Excludes};
pub use meta::{Identity, LocalMetadata, Time};
pub use restore::{Folder, NewFile, Report, Restore, RestoreError, Trust};
pub use scan::{Entry, Event, Kind, Scan, ScanError, SkipReason};
pub use xattr::{MAX_XATTR_BYTES, MAX_XATTRS};
