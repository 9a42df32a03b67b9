//! Entries of a directory.

use caps::Cap;
use minicbor::Decoder;

use super::Mutability;
use super::caps::check_read;
use super::cbor::{Out, Written, fixed, map_len};
use super::error::{DirectoryError, EntryError};
use super::literal::open_literal;
use super::metadata::Metadata;
use super::name::Name;
use super::seal::{SealedWrite, needs_seal};
use crate::{Children, child_of};

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EntryKind {
    /// A file, mutable or not.
    File = 0,
    /// A directory, mutable or not.
    Directory = 1,
    /// A symbolic link: its target is in the metadata, and in the file that its cap reads.
    Symlink = 2,
    /// Something with a cap of an unknown kind.
    Unknown = 3,
}

/// What a directory says of one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The read cap. One of an unknown kind alleges a limit.
    pub cap: Cap,
    /// The write cap or a dummy, sealed. It is there wherever the entry names something that may change, in a mutable directory; it
    /// may be there, as a dummy, in the other entries of a mutable directory; it is in no entry of an immutable one.
    pub write: Option<SealedWrite>,
    /// The public salt of a child that is a tree object (the descriptor's) or a slot (S): with it, and only with it, a walker gets
    /// beyond the child's root.
    pub salt: Option<[u8; 32]>,
    /// Everything else.
    pub metadata: Metadata,
}

impl Entry {
    /// An entry with a read cap and nothing else.
    pub fn new(kind: EntryKind, cap: Cap) -> Self {
        Self { kind, cap, write: None, salt: None, metadata: Metadata::default() }
    }

    /// The kind that an entry with this cap has, unless it is a symbolic link.
    pub fn kind_of(cap: &Cap) -> EntryKind {
        match cap {
            Cap::Unknown(_) => EntryKind::Unknown,
            _ if cap.is_directory() => EntryKind::Directory,
            _ => EntryKind::File,
        }
    }

    /// Whether this entry needs a sealed write cap, or a dummy, in a directory of this mutability.
    pub fn needs_seal(&self, mutability: Mutability) -> bool {
        needs_seal(&self.cap, mutability)
    }

    /// Whether readers see no difference: all but the sealed write cap, which nobody else can compare, and the salt, which follows from
    /// the cap.
    pub fn shows_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.cap == other.cap && self.metadata == other.metadata
    }

    /// Checks everything that a reader checks of an entry of a directory of this mutability.
    ///
    /// # Errors
    ///
    /// [`EntryError`].
    pub fn check(&self, mutability: Mutability) -> Result<(), EntryError> {
        check_read(&self.cap, mutability)?;
        let cap = self.cap.kind();
        let of_cap = Self::kind_of(&self.cap);
        if self.kind != of_cap && (self.kind, of_cap) != (EntryKind::Symlink, EntryKind::File) {
            return Err(EntryError::KindOfCap { cap });
        }
        match &self.write {
            Some(_) if mutability == Mutability::Immutable => return Err(EntryError::WriteInImmutable),
            Some(write) => write.check(&self.cap)?,
            None if self.needs_seal(mutability) => return Err(EntryError::WriteMissing),
            None => {}
        }
        if self.salt.is_some() && !matches!(self.cap, Cap::ImmutableRead(_) | Cap::SlotRead(_)) {
            return Err(EntryError::Salt { cap });
        }
        Ok(self.metadata.check()?)
    }

    pub(super) fn write(&self, e: &mut Out<'_>) -> Written {
        let optional = [self.write.is_some(), self.salt.is_some(), !self.metadata.is_empty()];
        e.map(2 + optional.iter().filter(|is_there| **is_there).count() as u64)?;
        e.u8(0)?.u8(self.kind as u8)?.u8(1)?.str(&self.cap.to_string())?;
        if let Some(write) = &self.write {
            e.u8(2)?.bytes(write.as_bytes())?;
        }
        if let Some(salt) = &self.salt {
            e.u8(3)?.bytes(salt)?;
        }
        if !self.metadata.is_empty() {
            e.u8(4)?;
            self.metadata.write(e)?;
        }
        Ok(())
    }

    pub(super) fn read(d: &mut Decoder<'_>, mutability: Mutability) -> Result<Self, DirectoryError> {
        let (mut kind, mut cap, mut write, mut salt) = (None, None, None, None);
        let mut metadata = Metadata::default();
        for _ in 0..map_len(d)? {
            match d.u64()? {
                0 => kind = Some(read_kind(d)?),
                1 => cap = Some(read_cap(d)?),
                2 => write = Some(d.bytes()?),
                3 => salt = Some(fixed(d)?),
                4 => metadata = Metadata::read(d)?,
                field => return Err(EntryError::Field { field }.into()),
            }
        }
        let (Some(kind), Some(cap)) = (kind, cap) else { return Err(DirectoryError::Malformed) };
        let write = write.map(|bytes| SealedWrite::from_bytes(&cap, bytes)).transpose()?;
        let entry = Self { kind, cap, write, salt, metadata };
        entry.check(mutability)?;
        Ok(entry)
    }

    /// Adds what section B lists for this entry. A directory that is a literal is stored nowhere: its children stand here.
    pub(super) fn list_children(&self, children: &mut Children) {
        match &self.cap {
            Cap::Unknown(_) => children.unknown += 1,
            // One that does not parse has no children that anybody could reach. The nesting ends because each is shorter.
            Cap::Literal(literal) if literal.directory => {
                for (_, entry) in open_literal(literal).unwrap_or_default() {
                    entry.list_children(children);
                }
            }
            cap => children.list.extend(child_of(cap, self.salt.as_ref())),
        }
    }
}

fn read_kind(d: &mut Decoder<'_>) -> Result<EntryKind, DirectoryError> {
    match d.u64()? {
        0 => Ok(EntryKind::File),
        1 => Ok(EntryKind::Directory),
        2 => Ok(EntryKind::Symlink),
        3 => Ok(EntryKind::Unknown),
        kind => Err(EntryError::Kind { kind }.into()),
    }
}

fn read_cap(d: &mut Decoder<'_>) -> Result<Cap, DirectoryError> {
    let text = d.str()?;
    let cap: Cap = text.parse().map_err(EntryError::from)?;
    // A write cap is refused for what it is, however it is written.
    if cap.authority() != ::caps::Authority::Write && cap.to_string() != text {
        return Err(EntryError::CapForm.into());
    }
    Ok(cap)
}

/// A name as stored.
pub(super) fn read_name(d: &mut Decoder<'_>) -> Result<Name, DirectoryError> {
    Ok(Name::from_stored(d.str()?)?)
}
