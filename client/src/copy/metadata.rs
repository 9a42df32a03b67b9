//! What a file system says of a file, and what a directory on the grid says of it.

use encoding::directory::{MAX_XATTR_NAME_LEN, MAX_XATTRS_LEN, Metadata, Time};

use crate::local::{LocalMetadata, SkipReason};
use crate::{filestore, local};

const TYPE_FILE: u32 = 0o100_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_SYMLINK: u32 = 0o120_000;
/// Modes of what comes without one.
const DEFAULT_FILE: u32 = 0o644;
const DEFAULT_DIRECTORY: u32 = 0o755;

/// What a directory shall say of something local; and, where it has more extended attributes than an entry holds, which are left out.
pub fn from_local(meta: &LocalMetadata, kind: &local::Kind) -> (Metadata, Option<SkipReason>) {
    let kind_bits = match kind {
        local::Kind::File => TYPE_FILE,
        local::Kind::Directory => TYPE_DIRECTORY,
        local::Kind::Symlink { .. } => TYPE_SYMLINK,
    };
    let file = *kind == local::Kind::File;
    let (mut xattrs, mut left_out, mut len) = (Vec::new(), Vec::new(), 0);
    for (name, value) in &meta.xattrs {
        let more = name.len() + value.len();
        if len + more > MAX_XATTRS_LEN || name.is_empty() || name.len() > MAX_XATTR_NAME_LEN {
            left_out.push(name.clone());
        } else {
            len += more;
            xattrs.push((name.clone(), value.clone()));
        }
    }
    let metadata = Metadata {
        mtime: time(meta.mtime),
        ctime: time(meta.ctime),
        mode: Some(kind_bits | meta.mode),
        uid: Some(meta.uid),
        gid: Some(meta.gid),
        size: file.then_some(meta.size),
        symlink: match kind {
            local::Kind::Symlink { target } => Some(target.clone()),
            _ => None,
        },
        xattrs,
        // Every folder has several names: those of itself and of what is in it.
        hardlink: meta.hardlink().filter(|_| *kind != local::Kind::Directory),
        ..Metadata::default()
    };
    let left_out = (!left_out.is_empty()).then_some(SkipReason::Xattrs { names: left_out });
    (metadata, left_out)
}

fn time(time: local::Time) -> Option<Time> {
    // A file system that says otherwise is out of order; the entry would be refused.
    (time.nanos < 1_000_000_000).then_some(Time { seconds: time.secs, nanoseconds: time.nanos })
}

/// What shall be put on something local. Where nothing is said of times, it is as old as its entry, or `now`.
pub fn to_local(metadata: &Metadata, directory: bool, now: std::time::Duration) -> LocalMetadata {
    let mtime = metadata.mtime.or(metadata.link_modified);
    let mtime = mtime.unwrap_or_else(|| filestore::time_of(now));
    let default = if directory { DEFAULT_DIRECTORY } else { DEFAULT_FILE };
    LocalMetadata {
        mtime: local::Time { secs: mtime.seconds, nanos: mtime.nanoseconds },
        mode: metadata.mode.unwrap_or(default) & 0o7777,
        // The largest number leaves the owner as it is.
        uid: metadata.uid.unwrap_or(u32::MAX),
        gid: metadata.gid.unwrap_or(u32::MAX),
        size: metadata.size.unwrap_or(0),
        xattrs: metadata.xattrs.clone(),
        ..LocalMetadata::default()
    }
}
