//! Extended attributes, of all namespaces that the system shows to who asks.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;

/// The most attributes of one file that are kept.
pub const MAX_XATTRS: usize = 256;
/// The most bytes of attributes of one file, names and values together, that are kept.
pub const MAX_XATTR_BYTES: usize = 256 << 10;
/// What Linux gives at most, for a list and for a value.
const LARGEST: usize = 64 << 10;
/// Tried first: most files have no attribute, or a short one.
const SMALL: usize = 1024;
/// Set by the system for its own use; it refuses or ignores what others set.
const NOT_OURS: [&str; 3] = ["system.nfs4_acl", "system.richacl", "security.ima"];

/// A file whose attributes are meant.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// This open file.
    Open(BorrowedFd<'a>),
    /// This name in an open folder, itself even if it is a symlink.
    Named(BorrowedFd<'a>, &'a std::ffi::OsStr),
}

/// No system call takes a folder and a name here; the system's own link to the open folder does.
fn path(folder: BorrowedFd<'_>, name: &std::ffi::OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name)
}

/// What was read.
#[derive(Default)]
pub(super) struct Found {
    /// The attributes, sorted by name.
    pub(super) kept: Vec<(String, Vec<u8>)>,
    /// The names, for people, of those that are left out: they cannot be read, are no UTF-8, or there are too many of them.
    pub(super) left_out: Vec<String>,
}

/// Reads the attributes.
pub(super) fn read(target: Target<'_>) -> io::Result<Found> {
    let list = match grown(|buffer| list(target, buffer)) {
        Ok(list) => list,
        // The file system has none.
        Err(Errno::OPNOTSUPP) => return Ok(Found::default()),
        Err(error) => return Err(error.into()),
    };
    let Found { mut kept, mut left_out } = Found::default();
    let mut bytes = 0;
    for name in list.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let Ok(name) = std::str::from_utf8(name) else {
            left_out.push(String::from_utf8_lossy(name).into_owned());
            continue;
        };
        if NOT_OURS.contains(&name) {
            continue;
        }
        match grown(|buffer| get(target, name, buffer)) {
            Ok(value) if kept.len() < MAX_XATTRS && bytes + name.len() + value.len() <= MAX_XATTR_BYTES => {
                bytes += name.len() + value.len();
                kept.push((name.to_owned(), value));
            }
            Err(Errno::NODATA) => {}
            Ok(_) | Err(_) => left_out.push(name.to_owned()),
        }
    }
    kept.sort();
    Ok(Found { kept, left_out })
}

/// Sets one attribute.
pub(super) fn set(target: Target<'_>, name: &str, value: &[u8]) -> io::Result<()> {
    let done = match target {
        Target::Open(file) => fsetxattr(file, name, value, XattrFlags::empty()),
        Target::Named(folder, file) => lsetxattr(path(folder, file), name, value, XattrFlags::empty()),
    };
    Ok(done?)
}

fn list(target: Target<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    match target {
        Target::Open(file) => flistxattr(file, buffer),
        Target::Named(folder, file) => llistxattr(path(folder, file), buffer),
    }
}

fn get(target: Target<'_>, name: &str, buffer: &mut [u8]) -> Result<usize, Errno> {
    match target {
        Target::Open(file) => fgetxattr(file, name, buffer),
        Target::Named(folder, file) => lgetxattr(path(folder, file), name, buffer),
    }
}

/// Reads into a small buffer, then into the largest that can be needed.
fn grown(mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = [0; SMALL];
    match read(&mut buffer) {
        Ok(len) => Ok(buffer[..len].to_vec()),
        Err(Errno::RANGE) => {
            let mut buffer = vec![0; LARGEST];
            let len = read(&mut buffer)?;
            buffer.truncate(len);
            Ok(buffer)
        }
        Err(error) => Err(error),
    }
}
