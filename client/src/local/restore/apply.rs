//! Putting metadata on what was made.

use std::path::Path;
use std::sync::Mutex;

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, chownat, fchmod, fchown, futimens, utimensat,
};
use rustix::fs::{UTIME_OMIT, fstat, statat};
use rustix::process::geteuid;

use super::{Problem, Report, Trust, lock, problem};
use crate::local::meta::LocalMetadata;
use crate::local::xattr::{self, Target};

const SET_ID: u32 = 0o6000;
/// The attributes that people set for themselves; the system acts upon the others.
const HARMLESS: &str = "user.";

/// Puts metadata on a file, folder or symlink. What fails is reported. The order counts: a change of owner takes set-id bits and
/// capabilities away, a mode may forbid setting attributes, and all of them change times.
pub(super) fn apply(
    target: Target<'_>,
    metadata: &LocalMetadata,
    trust: Trust,
    symlink: bool,
    path: &Path,
    report: &Mutex<Report>,
) {
    let fail = |what: Problem| problem(report, path.to_owned(), what);
    let owned = owner(target, metadata, trust, report, &fail);
    for (name, value) in &metadata.xattrs {
        if trust == Trust::Foreign && !name.starts_with(HARMLESS) {
            fail(Problem::XattrLeftOff { name: name.clone() });
        } else if let Err(source) = xattr::set(target, name, value) {
            fail(Problem::Xattr { name: name.clone(), source });
        }
    }
    // A symlink has no mode of its own.
    if let (Target::Open(file), false) = (target, symlink) {
        let mut mode = metadata.mode & 0o7777;
        if !owned && mode & SET_ID != 0 {
            mode &= !SET_ID;
            fail(Problem::SetId);
        }
        if let Err(error) = fchmod(file, Mode::from_raw_mode(mode)) {
            fail(Problem::Mode(error.into()));
        }
    }
    let last_modification = Timespec { tv_sec: metadata.mtime.secs, tv_nsec: metadata.mtime.nanos.into() };
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access, last_modification };
    let done = match target {
        // The kernel reads other numbers of nanoseconds as commands.
        _ if metadata.mtime.nanos >= 1_000_000_000 => Err(rustix::io::Errno::INVAL),
        Target::Open(file) => futimens(file, &times),
        Target::Named(folder, name) => utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW),
    };
    if let Err(error) = done {
        fail(Problem::Times(error.into()));
    }
}

/// Gives it its owner, if this process may. Whether it has the owner it should have.
fn owner(
    target: Target<'_>,
    metadata: &LocalMetadata,
    trust: Trust,
    report: &Mutex<Report>,
    fail: &impl Fn(Problem),
) -> bool {
    let stat = match target {
        Target::Open(file) => fstat(file),
        Target::Named(folder, name) => statat(folder, name, AtFlags::SYMLINK_NOFOLLOW),
    };
    if stat.is_ok_and(|stat| (stat.st_uid, stat.st_gid) == (metadata.uid, metadata.gid)) {
        return true;
    }
    // The largest number means "as it is" to the kernel.
    let known = metadata.uid != u32::MAX && metadata.gid != u32::MAX;
    if trust == Trust::Foreign || !geteuid().is_root() || !known {
        lock(report).owners_left_off += 1;
        return false;
    }
    let (uid, gid) = (Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)));
    let done = match target {
        Target::Open(file) => fchown(file, uid, gid),
        Target::Named(folder, name) => chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
    };
    if let Err(error) = done {
        fail(Problem::Owner(error.into()));
        return false;
    }
    true
}
