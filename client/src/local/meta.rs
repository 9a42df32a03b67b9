//! What a file system knows of a file beside its bytes.

use rustix::fs::Stat;

const HARD_LINK_CONTEXT: &str = "sarsen 2026 hard link group, version 1";
/// The permission bits with set-user-id, set-group-id and the sticky bit.
const MODE_BITS: u32 = 0o7777;

/// A time, as file systems keep it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Time {
    /// Seconds since 1970; negative before.
    pub secs: i64,
    /// Nanoseconds after that: 0..1,000,000,000.
    pub nanos: u32,
}

impl Time {
    /// Nanoseconds since 1970. It holds every time there is.
    pub fn as_nanos(self) -> i128 {
        i128::from(self.secs) * 1_000_000_000 + i128::from(self.nanos)
    }
}

impl From<std::time::SystemTime> for Time {
    fn from(time: std::time::SystemTime) -> Self {
        let split = |nanos: i128| {
            let secs = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
            Self { secs, nanos: nanos.rem_euclid(1_000_000_000) as u32 }
        };
        let nanos = |duration: std::time::Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => split(nanos(after)),
            Err(before) => split(-nanos(before.duration())),
        }
    }
}

/// Which file it is, on this machine, now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Identity {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// How many names it has.
    pub nlink: u64,
}

/// What a file system knows of a file beside its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalMetadata {
    /// When the content last changed.
    pub mtime: Time,
    /// When content or metadata last changed. It cannot be restored.
    pub ctime: Time,
    /// The 12 mode bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// Bytes of a file; of other things what the file system says.
    pub size: u64,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// Which file it is on this machine. All zero where that is not known.
    pub identity: Identity,
}

impl LocalMetadata {
    #[allow(clippy::useless_conversion)] // Counts of links are 32 bits wide on some machines.
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            mtime: Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 },
            ctime: Time { secs: stat.st_ctime, nanos: stat.st_ctime_nsec as u32 },
            mode: stat.st_mode & MODE_BITS,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            xattrs: Vec::new(),
            identity: Identity { dev: stat.st_dev, ino: stat.st_ino, nlink: stat.st_nlink.into() },
        }
    }

    /// The group of names that are one file: the same for each of them, and for the next scan. `None` for a file of one name.
    pub fn hardlink(&self) -> Option<[u8; 16]> {
        if self.identity.nlink < 2 {
            return None;
        }
        let mut hasher = blake3::Hasher::new_derive_key(HARD_LINK_CONTEXT);
        hasher.update(&self.identity.dev.to_le_bytes()).update(&self.identity.ino.to_le_bytes());
        let (group, _) = hasher.finalize().as_bytes().split_first_chunk().map(|(a, b)| (*a, b.len()))?;
        Some(group)
    }
}
