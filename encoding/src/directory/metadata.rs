//! What an entry says beside its caps: times, modes, links, extended attributes.

use std::collections::BTreeMap;
use std::fmt;

use minicbor::Decoder;

use super::cbor::{Out, Written, array_len, array_of, fixed, map_len};
use super::error::{DirectoryError, EntryError};

/// The longest target of a symbolic link, in bytes: PATH_MAX of Linux.
pub const MAX_SYMLINK_LEN: usize = 4096;
/// The longest name of an extended attribute, in bytes.
pub const MAX_XATTR_NAME_LEN: usize = 255;
/// The most bytes of names and values of all extended attributes of an entry together.
pub const MAX_XATTRS_LEN: usize = 64 * 1024;
/// The most bytes of all fields together that are carried and not understood.
pub const MAX_EXTRA_LEN: usize = 16 * 1024;
/// The first field that is carried and not understood. All of them are byte strings.
const FIRST_EXTRA: u64 = 16;

/// A moment: seconds since 1970-01-01 00:00 UTC, and nanoseconds after that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Time {
    /// Seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds, below 10^9.
    pub nanoseconds: u32,
}

/// What is known of an entry beside its caps. All of it is optional, and none of it is believed for a decision about authority.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// When the content changed last.
    pub mtime: Option<Time>,
    /// When content or attributes changed last, where it came from.
    pub ctime: Option<Time>,
    /// When this name was first given in this directory.
    pub link_created: Option<Time>,
    /// When the entry of this name changed last.
    pub link_modified: Option<Time>,
    /// POSIX mode: type and permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Bytes of the content, as a hint.
    pub size: Option<u64>,
    /// Where a symbolic link points, as bytes; at most [`MAX_SYMLINK_LEN`].
    pub symlink: Option<Vec<u8>>,
    /// Extended attributes, by name; at most [`MAX_XATTRS_LEN`] bytes together.
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// The same in all names of one file that has several.
    pub hardlink: Option<[u8; 16]>,
    /// Fields of newer programs, carried along: numbers from 16 on, byte strings; at most [`MAX_EXTRA_LEN`] bytes together.
    pub extra: BTreeMap<u64, Vec<u8>>,
}

/// Why metadata are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// A billion nanoseconds or more.
    #[error("{nanoseconds} nanoseconds are a second or more")]
    Nanoseconds {
        /// What was stated.
        nanoseconds: u32,
    },
    /// A link's target that is empty, too long or contains NUL.
    #[error("a symbolic link's target of {len} bytes is empty, too long or contains NUL")]
    Symlink {
        /// Bytes given.
        len: usize,
    },
    /// An attribute's name that is empty, too long or contains NUL, or names that do not ascend.
    #[error("names of extended attributes are not 1 to {MAX_XATTR_NAME_LEN} bytes in ascending order")]
    XattrName,
    /// Too much of them.
    #[error("{len} bytes of extended attributes are more than {MAX_XATTRS_LEN}")]
    XattrsTooLong {
        /// Bytes given.
        len: usize,
    },
    /// A field between those that are known and those that are carried.
    #[error("metadata with a field {field}")]
    Field {
        /// The field's number.
        field: u64,
    },
    /// Too many bytes that are carried and not understood.
    #[error("{len} bytes of unknown fields are more than {MAX_EXTRA_LEN}")]
    ExtraTooLong {
        /// Bytes given.
        len: usize,
    },
}

impl fmt::Debug for Metadata {
    /// Attributes may hold anything, so only their number is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("mtime", &self.mtime)
            .field("mode", &self.mode)
            .field("size", &self.size)
            .field("xattrs", &self.xattrs.len())
            .field("extra", &self.extra.len())
            .finish_non_exhaustive()
    }
}

impl Metadata {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.fields() == 0
    }

    /// Checks every bound.
    ///
    /// # Errors
    ///
    /// [`MetadataError`].
    pub fn check(&self) -> Result<(), MetadataError> {
        let times = [self.mtime, self.ctime, self.link_created, self.link_modified];
        if let Some(time) = times.iter().flatten().find(|time| time.nanoseconds >= 1_000_000_000) {
            return Err(MetadataError::Nanoseconds { nanoseconds: time.nanoseconds });
        }
        let bad_target =
            |bytes: &&Vec<u8>| !(1..=MAX_SYMLINK_LEN).contains(&bytes.len()) || bytes.contains(&0);
        if let Some(target) = self.symlink.as_ref().filter(bad_target) {
            return Err(MetadataError::Symlink { len: target.len() });
        }
        let good_name = |name: &str| (1..=MAX_XATTR_NAME_LEN).contains(&name.len()) && !name.contains('\0');
        let ascending = self.xattrs.is_sorted_by(|(a, _), (b, _)| a < b);
        if !ascending || !self.xattrs.iter().all(|(name, _)| good_name(name)) {
            return Err(MetadataError::XattrName);
        }
        let len = self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        if len > MAX_XATTRS_LEN {
            return Err(MetadataError::XattrsTooLong { len });
        }
        if let Some(field) = self.extra.keys().copied().find(|field| *field < FIRST_EXTRA) {
            return Err(MetadataError::Field { field });
        }
        // Eight bytes more for each, so that empty ones are not free.
        let len = self.extra.values().map(|value| value.len() + 8).sum();
        if len > MAX_EXTRA_LEN { Err(MetadataError::ExtraTooLong { len }) } else { Ok(()) }
    }

    fn fields(&self) -> u64 {
        let times = [self.mtime, self.ctime, self.link_created, self.link_modified];
        let numbers = [self.mode, self.uid, self.gid];
        let others =
            [self.size.is_some(), self.symlink.is_some(), !self.xattrs.is_empty(), self.hardlink.is_some()];
        (times.iter().flatten().count()
            + numbers.iter().flatten().count()
            + others.iter().filter(|is_there| **is_there).count()
            + self.extra.len()) as u64
    }

    pub(super) fn write(&self, e: &mut Out<'_>) -> Written {
        e.map(self.fields())?;
        for (field, time) in (0..).zip([self.mtime, self.ctime, self.link_created, self.link_modified]) {
            if let Some(time) = time {
                e.u64(field)?.array(2)?.i64(time.seconds)?.u32(time.nanoseconds)?;
            }
        }
        for (field, number) in (4..).zip([self.mode, self.uid, self.gid]) {
            if let Some(number) = number {
                e.u64(field)?.u32(number)?;
            }
        }
        if let Some(size) = self.size {
            e.u64(7)?.u64(size)?;
        }
        if let Some(target) = &self.symlink {
            e.u64(8)?.bytes(target)?;
        }
        if !self.xattrs.is_empty() {
            e.u64(9)?.array(self.xattrs.len() as u64)?;
            for (name, value) in &self.xattrs {
                e.array(2)?.str(name)?.bytes(value)?;
            }
        }
        if let Some(id) = &self.hardlink {
            e.u64(10)?.bytes(id)?;
        }
        for (field, value) in &self.extra {
            e.u64(*field)?.bytes(value)?;
        }
        Ok(())
    }

    pub(super) fn read(d: &mut Decoder<'_>) -> Result<Self, DirectoryError> {
        let mut metadata = Self::default();
        for _ in 0..map_len(d)? {
            match d.u64()? {
                0 => metadata.mtime = Some(read_time(d)?),
                1 => metadata.ctime = Some(read_time(d)?),
                2 => metadata.link_created = Some(read_time(d)?),
                3 => metadata.link_modified = Some(read_time(d)?),
                4 => metadata.mode = Some(d.u32()?),
                5 => metadata.uid = Some(d.u32()?),
                6 => metadata.gid = Some(d.u32()?),
                7 => metadata.size = Some(d.u64()?),
                8 => metadata.symlink = Some(d.bytes()?.to_vec()),
                9 => metadata.xattrs = read_xattrs(d)?,
                10 => metadata.hardlink = Some(fixed(d)?),
                field @ FIRST_EXTRA.. => {
                    metadata.extra.insert(field, d.bytes()?.to_vec());
                }
                field => return Err(EntryError::from(MetadataError::Field { field }).into()),
            }
        }
        metadata.check().map_err(EntryError::from)?;
        Ok(metadata)
    }
}

fn read_time(d: &mut Decoder<'_>) -> Result<Time, DirectoryError> {
    array_of(d, 2)?;
    Ok(Time { seconds: d.i64()?, nanoseconds: d.u32()? })
}

fn read_xattrs(d: &mut Decoder<'_>) -> Result<Vec<(String, Vec<u8>)>, DirectoryError> {
    let mut xattrs = Vec::new();
    for _ in 0..array_len(d)? {
        array_of(d, 2)?;
        xattrs.push((d.str()?.to_owned(), d.bytes()?.to_vec()));
    }
    Ok(xattrs)
}
