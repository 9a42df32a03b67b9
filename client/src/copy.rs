//! Whole trees between this machine and the grid, and from one place of the grid to another: what `cp -r`, `backup` and `restore` do.
//!
//! Many files are on their way at once, within bounds; memory holds the open directories of the path and what of them is finished. What
//! cannot be copied is noted among the [`Problems`] and does not stop the rest; what stops it is a [`CopyError`].

mod deep;
mod download;
mod fetch;
mod file;
mod folder;
mod metadata;
mod problem;
mod progress;
mod relink;
mod scanning;
mod upload;

pub use deep::{CopiedTree, Files};
pub use download::{DownloadOptions, Downloaded};
pub use metadata::{from_local, to_local};
pub use problem::{CopyError, CopyProblem, MAX_PROBLEMS, Problems};
pub use progress::{Moving, TreeProgress};
pub use relink::{Directories, Relinked};
pub use upload::{Form, UploadOptions, Uploaded, UploadedTree};

/// Files on their way at once: enough that small ones travel together.
const FILES_AT_ONCE: usize = 128;
/// Bytes of files on their way at once, beyond which no other is begun.
const BYTES_AT_ONCE: u64 = 64 << 20;
/// What a file counts at most against [`BYTES_AT_ONCE`]: of a larger one only a part is in memory.
const LARGE: u64 = 16 << 20;
/// Files up to this length are held in memory whole while they are on their way.
const SMALL: u64 = 64 << 10;
