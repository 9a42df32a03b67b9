//! What a directory links to.

use caps::{Cap, ImmutableRead, SlotWrite};
use encoding::Kind;
use encoding::directory::{ChildCaps, Entry, EntryKind, Metadata, Mutability, seal_write};

use super::error::FileStoreError;
use crate::Client;
use crate::download::Object;

/// A child for a directory: its caps, the salt that leads a walker on, and what is said of it.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its read cap and, where there is one, its write cap.
    pub caps: ChildCaps,
    /// What it is.
    pub kind: EntryKind,
    /// Salt of the child's descriptor or slot, where it is a tree or a slot and the salt is known.
    pub salt: Option<[u8; 32]>,
    /// Times, mode and the like.
    pub metadata: Metadata,
}

impl Child {
    /// A child of this cap: its strongest.
    ///
    /// # Errors
    ///
    /// [`FileStoreError::Entry`] if no directory may hold it.
    pub fn new(cap: Cap, salt: Option<[u8; 32]>) -> Result<Self, FileStoreError> {
        let kind = Entry::kind_of(&cap);
        let caps = match cap {
            Cap::Unknown(_) => ChildCaps::new(None, Some(cap), Mutability::Mutable)?,
            cap => ChildCaps::new(Some(cap), None, Mutability::Mutable)?,
        };
        Ok(Self { caps, kind, salt, metadata: Metadata::default() })
    }

    /// A symbolic link.
    pub fn symlink(target: Vec<u8>) -> Self {
        let read = Cap::Literal(caps::Literal { bytes: Vec::new(), directory: false });
        let metadata = Metadata { symlink: Some(target), ..Metadata::default() };
        Self { caps: ChildCaps { read, write: None }, kind: EntryKind::Symlink, salt: None, metadata }
    }

    /// With this metadata; a symbolic link keeps its target.
    #[must_use]
    pub fn with(mut self, metadata: Metadata) -> Self {
        let symlink = self.metadata.symlink.take().or(metadata.symlink.clone());
        self.metadata = Metadata { symlink, ..metadata };
        self
    }

    /// Its strongest cap.
    pub fn cap(&self) -> &Cap {
        self.caps.write.as_ref().unwrap_or(&self.caps.read)
    }

    /// The entry for the directory of this slot; its write cap is sealed anew.
    pub(crate) fn entry_in(
        &self,
        client: &Client,
        directory: &SlotWrite,
        salt: &[u8; 32],
    ) -> Result<Entry, FileStoreError> {
        let mut entry = Entry {
            kind: self.kind,
            cap: self.caps.read.clone(),
            write: None,
            salt: self.salt,
            metadata: self.metadata.clone(),
        };
        if entry.needs_seal(Mutability::Mutable) {
            let nonce = client.random().bytes::<24>();
            let write = self.caps.write.as_ref();
            let sealed = seal_write(&directory.key, salt, &directory.hash, &entry.cap, write, &nonce)?;
            entry.write = Some(sealed);
        }
        entry.check(Mutability::Mutable)?;
        Ok(entry)
    }

    /// The entry for an immutable directory.
    ///
    /// # Errors
    ///
    /// [`FileStoreError::Entry`] if what it names may change.
    pub fn immutable_entry(&self) -> Result<Entry, FileStoreError> {
        let read = self.caps.read.clone();
        let caps = ChildCaps::new(None, Some(read), Mutability::Immutable)?;
        let entry = Entry {
            kind: self.kind,
            cap: caps.read,
            write: None,
            salt: self.salt,
            metadata: self.metadata.clone(),
        };
        entry.check(Mutability::Immutable)?;
        Ok(entry)
    }
}

impl Client {
    /// A child made of a bare cap. Where its salt has to be asked for and cannot be had, the child is linked all the same: whoever walks
    /// with a repair cap then sees its root only.
    ///
    /// # Errors
    ///
    /// [`FileStoreError::Entry`].
    pub async fn child_of(&self, cap: Cap) -> Result<Child, FileStoreError> {
        let salt = match cap.read() {
            Some(Cap::SlotRead(read)) => self.slot_record(&read).await.ok().map(|(record, _)| record.id.salt),
            Some(Cap::ImmutableRead(read)) => self.tree_salt(&read).await,
            _ => None,
        };
        Child::new(cap, salt)
    }

    /// The salt of a tree. Only the descriptor says whether something is one: a change in place makes trees of small files, too.
    async fn tree_salt(&self, cap: &ImmutableRead) -> Option<[u8; 32]> {
        let object = Object::find(self.clone(), cap.into()).await.ok()?;
        (object.kind() == Kind::Tree).then_some(object.descriptor.salt)
    }
}
