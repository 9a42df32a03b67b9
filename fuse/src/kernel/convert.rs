//! The kernel's words for ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use encoding::directory::Time;
use fuser::{Errno, FileAttr, FileType, INodeNo, Request};

use crate::error::FsError;
use crate::types::{Attr, Kind, OpenMode, Owner};

/// The size of a block in `statfs` and `stat`.
pub(super) const BLOCK: u32 = 4096;

pub(super) fn errno(error: FsError) -> Errno {
    match error {
        FsError::NotFound => Errno::ENOENT,
        FsError::Exists => Errno::EEXIST,
        FsError::NotADirectory => Errno::ENOTDIR,
        FsError::IsADirectory => Errno::EISDIR,
        FsError::NotEmpty => Errno::ENOTEMPTY,
        FsError::NameTooLong => Errno::ENAMETOOLONG,
        FsError::BadName => Errno::EILSEQ,
        FsError::ReadOnly => Errno::EROFS,
        FsError::NotPermitted => Errno::EPERM,
        FsError::Refused => Errno::EACCES,
        FsError::NoSpace | FsError::AttributesTooBig => Errno::ENOSPC,
        FsError::Quota => Errno::EDQUOT,
        FsError::TimedOut => Errno::ETIMEDOUT,
        FsError::Invalid => Errno::EINVAL,
        FsError::TooBig => Errno::EFBIG,
        FsError::NoAttribute => Errno::ENODATA,
        FsError::NoData => Errno::ENXIO,
        FsError::Stale => Errno::ESTALE,
        FsError::BadHandle => Errno::EBADF,
        FsError::Unsupported => Errno::EOPNOTSUPP,
        FsError::Io => Errno::EIO,
    }
}

fn system_time(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(time.nanoseconds.into());
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let moment = match time.seconds {
        0.. => UNIX_EPOCH.checked_add(seconds),
        _ => UNIX_EPOCH.checked_sub(seconds),
    };
    moment.and_then(|moment| moment.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

pub(super) fn time(moment: SystemTime) -> Time {
    match moment.duration_since(UNIX_EPOCH) {
        Ok(since) => crate::attr::time_of(since),
        Err(before) => {
            let before = before.duration();
            let borrow = i64::from(before.subsec_nanos() > 0);
            let nanoseconds = (1_000_000_000 - before.subsec_nanos()) % 1_000_000_000;
            Time { seconds: -(before.as_secs() as i64) - borrow, nanoseconds }
        }
    }
}

pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    let mtime = system_time(attr.mtime);
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.size.div_ceil(512),
        atime: mtime,
        mtime,
        ctime: system_time(attr.ctime),
        crtime: mtime,
        kind: match attr.kind {
            Kind::Folder => FileType::Directory,
            Kind::Symlink => FileType::Symlink,
            Kind::File | Kind::Unknown => FileType::RegularFile,
        },
        perm: (attr.mode & 0o7777) as u16,
        nlink: u32::from(attr.named) * if attr.kind == Kind::Folder { 2 } else { 1 },
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

pub(super) fn owner(req: &Request) -> Owner {
    Owner { uid: req.uid(), gid: req.gid() }
}

pub(super) fn open_mode(flags: i32) -> OpenMode {
    let access = flags & libc::O_ACCMODE;
    OpenMode {
        read: access != libc::O_WRONLY,
        write: access != libc::O_RDONLY,
        append: flags & libc::O_APPEND != 0,
        truncate: flags & libc::O_TRUNC != 0,
        exclusive: flags & libc::O_EXCL != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_both_ways() {
        for (seconds, nanoseconds) in
            [(0, 0), (1, 999_999_999), (-1, 1), (-1, 0), (-2_000_000_000, 5), (4_000_000_000, 7)]
        {
            let moment = Time { seconds, nanoseconds };
            assert_eq!(time(system_time(moment)), moment);
        }
    }

    #[test]
    fn access_modes_are_told_apart() {
        let mode = |flags| open_mode(flags);
        assert!(mode(libc::O_RDONLY).read && !mode(libc::O_RDONLY).write);
        assert!(!mode(libc::O_WRONLY).read && mode(libc::O_WRONLY).write);
        assert!(
            mode(libc::O_RDWR | libc::O_TRUNC).truncate
                && mode(libc::O_RDWR).read
                && mode(libc::O_RDWR).write
        );
    }
}
