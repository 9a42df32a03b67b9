//! What the slot of a directory or of a mutable file holds.

use std::collections::BTreeMap;

use caps::{Cap, ImmutableRead, Literal};
use minicbor::Decoder;
use minicbor::data::Type;

use super::Mutability;
use super::cbor::{Out, Written, array_len, array_of, finished, fixed, map_len, take_null, written};
use super::entry::{Entry, read_name};
use super::error::DirectoryError;
use super::name::Name;
use super::node::{NodeRef, read_object, write_object};
use crate::{Children, MAX_SLOT_SECTIONS_LEN, Sections, child_of};

/// How many operation ids a slot remembers.
pub const MAX_REMEMBERED: usize = 32;

const VERSION: u64 = 1;
const DIRECTORY: u64 = 0;
const FILE: u64 = 1;

/// Names one change, so that a retry of it finds itself. Random.
pub type OperationId = [u8; 16];

/// What a slot holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotContent {
    /// A directory.
    Directory(SlotDirectory),
    /// A mutable file.
    File(SlotFile),
}

/// A mutable directory: a base and the edits since.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SlotDirectory {
    /// The tree below, if there is one.
    pub base: Option<NodeRef>,
    /// What differs from the base: an entry, or `None` where a name is gone.
    pub edits: BTreeMap<Name, Option<Entry>>,
    /// The latest operations, oldest first, at most [`MAX_REMEMBERED`].
    pub operations: Vec<OperationId>,
}

/// A mutable file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotFile {
    /// The bytes, or where they are.
    pub content: FileContent,
    /// The latest operations, oldest first, at most [`MAX_REMEMBERED`].
    pub operations: Vec<OperationId>,
}

/// What a mutable file says.
#[derive(Clone, PartialEq, Eq)]
pub enum FileContent {
    /// The bytes themselves.
    Inline(Vec<u8>),
    /// An object that holds them.
    Object {
        /// Its read cap.
        cap: ImmutableRead,
        /// The salt of its descriptor, where it is a tree.
        salt: Option<[u8; 32]>,
    },
}

impl FileContent {
    /// What names these bytes, and nothing else.
    pub fn cap(&self) -> Cap {
        match self {
            Self::Inline(bytes) => Cap::Literal(Literal { bytes: bytes.clone(), directory: false }),
            Self::Object { cap, .. } => Cap::ImmutableRead(cap.clone()),
        }
    }
}

impl std::fmt::Debug for FileContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(bytes) => write!(f, "Inline({} bytes, secret)", bytes.len()),
            Self::Object { cap, .. } => write!(f, "Object({cap:?})"),
        }
    }
}

impl SlotContent {
    /// The two sections of the slot's payload.
    pub fn to_sections(&self) -> Sections {
        Sections { a: self.to_bytes(), b: self.children().to_bytes() }
    }

    /// What section B lists: the base, then the children of the edits in order; or the file's object.
    pub fn children(&self) -> Children {
        let mut out = Children::default();
        match self {
            Self::Directory(directory) => {
                out.list.extend(directory.base.as_ref().map(NodeRef::repair_cap));
                directory.edits.values().flatten().for_each(|entry| entry.list_children(&mut out));
            }
            Self::File(SlotFile { content: FileContent::Object { cap, salt }, .. }) => {
                out.list.extend(child_of(&Cap::ImmutableRead(cap.clone()), salt.as_ref()));
            }
            Self::File(_) => {}
        }
        out
    }

    fn to_bytes(&self) -> Vec<u8> {
        written(|e| match self {
            Self::Directory(directory) => {
                e.array(5)?.u64(VERSION)?.u64(DIRECTORY)?;
                match &directory.base {
                    Some(base) => base.write(e)?,
                    None => e.null().map(|_| ())?,
                }
                e.map(directory.edits.len() as u64)?;
                directory.edits.iter().try_for_each(|(name, edit)| write_edit(e, name, edit.as_ref()))?;
                write_operations(e, &directory.operations)
            }
            Self::File(file) => {
                e.array(4)?.u64(VERSION)?.u64(FILE)?;
                file.content.write(e)?;
                write_operations(e, &file.operations)
            }
        })
    }

    /// From the sections of a slot's payload.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub fn parse(sections: &Sections) -> Result<Self, DirectoryError> {
        let len = sections.a.len() + sections.b.len();
        if len > MAX_SLOT_SECTIONS_LEN {
            return Err(DirectoryError::TooLong { len, max: MAX_SLOT_SECTIONS_LEN });
        }
        let mut d = Decoder::new(&sections.a);
        let items = d.array()?;
        match d.u64()? {
            VERSION => {}
            version => return Err(DirectoryError::Version { version }),
        }
        let content = match (d.u64()?, items) {
            (DIRECTORY, Some(5)) => Self::Directory(SlotDirectory {
                base: if take_null(&mut d)? { None } else { Some(NodeRef::read(&mut d)?) },
                edits: read_edits(&mut d)?,
                operations: read_operations(&mut d)?,
            }),
            (FILE, Some(4)) => Self::File(SlotFile {
                content: FileContent::read(&mut d)?,
                operations: read_operations(&mut d)?,
            }),
            (DIRECTORY | FILE, _) => return Err(DirectoryError::Malformed),
            (kind, _) => return Err(DirectoryError::Kind { kind }),
        };
        finished(&d)?;
        if content.to_bytes() != sections.a {
            return Err(DirectoryError::NotCanonical);
        }
        if content.children().to_bytes() != sections.b {
            return Err(DirectoryError::Children);
        }
        Ok(content)
    }

    /// The directory.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotADirectory`].
    pub fn into_directory(self) -> Result<SlotDirectory, DirectoryError> {
        match self {
            Self::Directory(directory) => Ok(directory),
            Self::File(_) => Err(DirectoryError::NotADirectory),
        }
    }

    /// The file.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotAFile`].
    pub fn into_file(self) -> Result<SlotFile, DirectoryError> {
        match self {
            Self::File(file) => Ok(file),
            Self::Directory(_) => Err(DirectoryError::NotAFile),
        }
    }

    /// Whether the latest operations include this one.
    pub fn remembers(&self, operation: &OperationId) -> bool {
        match self {
            Self::Directory(directory) => directory.operations.contains(operation),
            Self::File(file) => file.operations.contains(operation),
        }
    }

    /// Remembers an operation, and forgets the oldest where there are too many.
    pub fn remember(&mut self, operation: OperationId) {
        let operations = match self {
            Self::Directory(directory) => &mut directory.operations,
            Self::File(file) => &mut file.operations,
        };
        operations.push(operation);
        let excess = operations.len().saturating_sub(MAX_REMEMBERED);
        operations.drain(..excess);
    }
}

impl FileContent {
    fn write(&self, e: &mut Out<'_>) -> Written {
        match self {
            Self::Inline(bytes) => e.bytes(bytes).map(|_| ()),
            Self::Object { cap, salt } => {
                e.array(6)?;
                write_object(e, cap)?;
                match salt {
                    Some(salt) => e.bytes(salt)?,
                    None => e.null()?,
                };
                Ok(())
            }
        }
    }

    fn read(d: &mut Decoder<'_>) -> Result<Self, DirectoryError> {
        if d.datatype()? == Type::Bytes {
            return Ok(Self::Inline(d.bytes()?.to_vec()));
        }
        array_of(d, 6)?;
        let cap = read_object(d, false)?;
        let salt = if take_null(d)? { None } else { Some(fixed(d)?) };
        Ok(Self::Object { cap, salt })
    }
}

fn write_edit(e: &mut Out<'_>, name: &Name, edit: Option<&Entry>) -> Written {
    e.str(name.as_str())?;
    match edit {
        Some(entry) => entry.write(e),
        None => e.null().map(|_| ()),
    }
}

fn read_edits(d: &mut Decoder<'_>) -> Result<BTreeMap<Name, Option<Entry>>, DirectoryError> {
    let mut edits = BTreeMap::new();
    for _ in 0..map_len(d)? {
        let name = read_name(d)?;
        if edits.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(DirectoryError::Unordered);
        }
        let edit = if take_null(d)? { None } else { Some(Entry::read(d, Mutability::Mutable)?) };
        edits.insert(name, edit);
    }
    Ok(edits)
}

fn write_operations(e: &mut Out<'_>, operations: &[OperationId]) -> Written {
    e.array(operations.len() as u64)?;
    operations.iter().try_for_each(|id| e.bytes(id).map(|_| ()))
}

fn read_operations(d: &mut Decoder<'_>) -> Result<Vec<OperationId>, DirectoryError> {
    let count = array_len(d)?;
    if count > MAX_REMEMBERED {
        return Err(DirectoryError::Operations { count });
    }
    (0..count).map(|_| fixed(d)).collect()
}
