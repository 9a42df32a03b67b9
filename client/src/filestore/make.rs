//! Making directories.

use std::collections::BTreeMap;

use caps::{Cap, SlotWrite};
use encoding::directory::{Entry, Mutability, Name, SlotContent, SlotDirectory, literal_directory};

use super::child::Child;
use super::error::FileStoreError;
use super::nodes::DirNodes;
use crate::Client;
use crate::directory::Tree;

/// Entries that a new directory may have in its slot from the start; with more they are added once it is there, folded into a tree.
const IN_SLOT_LEN: usize = 14_000;

impl Client {
    /// Makes an empty directory that may change.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn make_directory(&self) -> Result<Child, FileStoreError> {
        self.make_directory_with(Vec::new()).await
    }

    /// Makes a directory that may change, with these entries.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn make_directory_with(&self, children: Vec<(Name, Child)>) -> Result<Child, FileStoreError> {
        let few = children.len() <= IN_SLOT_LEN / 128;
        let content = |cap: &SlotWrite, salt: &[u8; 32]| -> Result<SlotContent, FileStoreError> {
            let mut edits = BTreeMap::new();
            for (name, child) in children.iter().filter(|_| few) {
                let mut entry = child.entry_in(self, cap, salt)?;
                let now = super::edit::time_of(self.now());
                entry.metadata.link_created.get_or_insert(now);
                entry.metadata.link_modified.get_or_insert(now);
                edits.insert(name.clone(), Some(entry));
            }
            Ok(SlotContent::Directory(SlotDirectory { edits, ..SlotDirectory::default() }))
        };
        let fits = |content: &SlotContent| {
            let sections = content.to_sections();
            sections.a.len() + sections.b.len() <= IN_SLOT_LEN
        };
        // What no directory may hold is found out before anything is made.
        let inline = few && fits(&content(&probe_slot(), &[0; 32])?);
        let slot = self
            .create_slot_with(true, |cap, salt| -> Result<_, FileStoreError> {
                let content = if inline { content(cap, salt)? } else { empty() };
                Ok(content.to_sections())
            })
            .await?;
        if !inline {
            let edits = children.into_iter().map(|(name, child)| super::DirEdit::Link {
                name,
                child: Box::new(child),
                replace: super::Replace::Yes,
            });
            for outcome in self.edit_directory(&slot.cap, edits.collect()).await? {
                outcome?;
            }
        }
        Child::new(Cap::SlotWrite(slot.cap), Some(slot.record.id.salt))
    }

    /// Makes an immutable directory. Equal entries give an equal directory, which is stored once.
    ///
    /// # Errors
    ///
    /// [`FileStoreError::Entry`] if any of what it names may change.
    pub async fn make_immutable(&self, children: Vec<(Name, Child)>) -> Result<Child, FileStoreError> {
        let mut entries = BTreeMap::new();
        for (name, child) in children {
            entries.insert(name, child.immutable_entry()?);
        }
        let entries: Vec<(Name, Entry)> = entries.into_iter().collect();
        if let Some(literal) = literal_directory(&entries) {
            return Child::new(Cap::Literal(literal), None);
        }
        let nodes = DirNodes::new(self, Mutability::Immutable);
        let root = Tree::new(nodes).build(entries).await?;
        let root = root.expect("what fits into no literal has entries");
        Child::new(Cap::ImmutableRead(root.cap), Some(root.salt))
    }
}

/// Keys of no slot, to seal with while it is found out how much that takes.
fn probe_slot() -> SlotWrite {
    let (key, hash) = (caps::WriteKey::new([0; 16]), caps::VerifyHash::new([0; 32]));
    SlotWrite { key, hash, directory: true }
}

fn empty() -> SlotContent {
    SlotContent::Directory(SlotDirectory::default())
}
