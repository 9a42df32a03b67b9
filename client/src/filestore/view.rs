//! A directory as it was read.

use std::collections::{BTreeSet, btree_map};
use std::iter::Peekable;
use std::sync::Arc;

use caps::{Cap, ImmutableRead, SlotRead, SlotWrite};
use encoding::directory::{Entry, Mutability, Name, Node, NodeRef, SlotContent, open_literal, open_write};
use encoding::slot::RecordHash;

use super::error::FileStoreError;
use super::nodes::DirNodes;
use super::opened::{Edits, OpenedSlot};
use crate::Client;
use crate::directory::{Change, Entries, Tree, diff_all};
use crate::slot::{Freshness, SlotView};

/// A directory as it was read. Its entries are read when they are asked for.
pub struct DirView {
    client: Client,
    cap: Cap,
    writer: Option<SlotWrite>,
    salt: Option<[u8; 32]>,
    freshness: Option<Freshness>,
    version: Option<RecordHash>,
    base: Option<NodeRef>,
    edits: Arc<Edits>,
    tree: Tree<DirNodes>,
}

impl Client {
    /// Reads a directory.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`]; [`FileStoreError::NotADirectory`] if the cap is a file's, [`FileStoreError::NotReadable`] if it only verifies.
    pub async fn open_directory(&self, cap: &Cap) -> Result<DirView, FileStoreError> {
        if !cap.is_directory() {
            return Err(not_a_directory(cap));
        }
        match cap {
            Cap::SlotWrite(write) => {
                self.open_slot_directory(cap, &write.to_read(), Some(write.clone())).await
            }
            Cap::SlotRead(read) => self.open_slot_directory(cap, read, None).await,
            Cap::ImmutableRead(read) => self.open_immutable(cap, read).await,
            Cap::Literal(literal) => {
                let entries = open_literal(literal)?.into_iter().map(|(name, entry)| (name, Some(entry)));
                Ok(self.view(cap, Mutability::Immutable, None, Arc::new(entries.collect())))
            }
            _ => Err(FileStoreError::NotReadable { kind: cap.kind() }),
        }
    }

    async fn open_slot_directory(
        &self,
        cap: &Cap,
        read: &SlotRead,
        writer: Option<SlotWrite>,
    ) -> Result<DirView, FileStoreError> {
        self.slot_directory(cap, self.read_slot(read).await?, writer)
    }

    /// The directory that a slot holds.
    fn slot_directory(
        &self,
        cap: &Cap,
        slot: SlotView,
        writer: Option<SlotWrite>,
    ) -> Result<DirView, FileStoreError> {
        let SlotView { sections, record, freshness, .. } = slot;
        let content = SlotContent::parse(&sections)?.into_directory()?;
        let view = self.view(cap, Mutability::Mutable, content.base, Arc::new(content.edits));
        let (salt, version) = (Some(record.id.salt), Some(record.hash()));
        Ok(DirView { writer, salt, freshness: Some(freshness), version, ..view })
    }

    /// A directory as this process last saw it, without asking anybody, and the record that says so. `None` if it is no slot's, or is not
    /// known.
    pub(super) fn known_directory(&self, cap: &Cap) -> Option<(DirView, SlotRead, RecordHash)> {
        let (read, writer) = match cap {
            Cap::SlotWrite(write) if cap.is_directory() => (write.to_read(), Some(write.clone())),
            Cap::SlotRead(read) if cap.is_directory() => (read.clone(), None),
            _ => return None,
        };
        let record = self.known_record(&read)?;
        let (hash, version) = (record.hash(), (record.hash(), *read.key.expose()));
        if let Some(OpenedSlot { base, edits }) = self.opened_slots().get(&version) {
            let view = self.view(cap, Mutability::Mutable, base, edits);
            let (salt, freshness) = (Some(record.id.salt), Some(Freshness::NewestSeen));
            return Some((DirView { writer, salt, freshness, version: Some(hash), ..view }, read, hash));
        }
        let known = self.slot_of(&read, record).ok()?;
        let view = self.slot_directory(cap, known, writer).ok()?;
        self.opened_slots().put(version, OpenedSlot { base: view.base.clone(), edits: view.edits.clone() });
        Some((view, read, hash))
    }

    /// The root node is read at once: what is no directory shows here.
    async fn open_immutable(&self, cap: &Cap, read: &ImmutableRead) -> Result<DirView, FileStoreError> {
        let (sections, salt) = self.get_tree(read).await?;
        let node = self.pool().run(move || Node::parse(&sections, Mutability::Immutable)).await?;
        let root = NodeRef { cap: read.clone(), salt, count: node.count() };
        let view = self.view(cap, Mutability::Immutable, Some(root), Arc::default());
        Ok(DirView { salt: Some(salt), ..view })
    }

    fn view(&self, cap: &Cap, mutability: Mutability, base: Option<NodeRef>, edits: Arc<Edits>) -> DirView {
        let nodes = DirNodes::new(self, mutability);
        DirView {
            client: self.clone(),
            cap: cap.clone(),
            writer: None,
            salt: None,
            freshness: None,
            version: None,
            base,
            edits,
            tree: Tree::new(nodes),
        }
    }
}

fn not_a_directory(cap: &Cap) -> FileStoreError {
    FileStoreError::NotADirectory { path: format!("what the {} cap names", cap.kind()) }
}

impl DirView {
    /// The cap it was read with.
    pub fn cap(&self) -> &Cap {
        &self.cap
    }

    /// Its write cap, where it was read with that.
    pub fn writer(&self) -> Option<&SlotWrite> {
        self.writer.as_ref()
    }

    /// Its public salt; a literal has none.
    pub fn salt(&self) -> Option<[u8; 32]> {
        self.salt
    }

    /// How sure the read is; `None` for what can never change.
    pub fn freshness(&self) -> Option<Freshness> {
        self.freshness
    }

    /// Whether no quorum confirmed what it says: it is the newest that was seen.
    pub fn is_doubtful(&self) -> bool {
        self.freshness == Some(Freshness::NewestSeen)
    }

    /// What tells this version of it from every other; `None` for what can never change.
    pub fn version(&self) -> Option<RecordHash> {
        self.version
    }

    /// The entry of this name.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn get(&self, name: &Name) -> Result<Option<Entry>, FileStoreError> {
        match self.edits.get(name) {
            Some(edit) => Ok(edit.clone()),
            None => self.tree.get(self.base.as_ref(), name).await,
        }
    }

    /// All entries in the order of their names.
    pub fn entries(&self) -> DirEntries<'_> {
        DirEntries {
            base: self.tree.entries(self.base.as_ref()),
            held: None,
            edits: self.edits.iter().peekable(),
        }
    }

    /// All entries in memory.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn list(&self) -> Result<Vec<(Name, Entry)>, FileStoreError> {
        let mut entries = self.entries();
        let mut list = Vec::new();
        while let Some(entry) = entries.next().await? {
            list.push(entry);
        }
        Ok(list)
    }

    /// What another view of the same directory says otherwise, in order of name; what both have in common is not looked at.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn changes(&self, other: &Self) -> Result<Vec<Change>, FileStoreError> {
        let mut names: BTreeSet<Name> = self.edits.keys().chain(other.edits.keys()).cloned().collect();
        let mut bases = diff_all((&self.tree, self.base.as_ref()), (&other.tree, other.base.as_ref()));
        while let Some(change) = bases.next().await? {
            names.insert(change.name);
        }
        let mut changes = Vec::new();
        for name in names {
            let (old, new) = (self.get(&name).await?, other.get(&name).await?);
            if old != new {
                changes.push(Change { name, old, new });
            }
        }
        Ok(changes)
    }

    /// The strongest cap of an entry that this view grants: its write cap if the directory may be written and there is one.
    ///
    /// # Errors
    ///
    /// [`FileStoreError::Seal`] if the sealed write cap is not what it should be: readers and writers would part.
    pub fn cap_of(&self, entry: &Entry) -> Result<Cap, FileStoreError> {
        Ok(self.write_cap_of(entry)?.unwrap_or_else(|| entry.cap.clone()))
    }

    /// The write cap of an entry, where this view grants it and there is one.
    ///
    /// # Errors
    ///
    /// As [`DirView::cap_of`].
    pub fn write_cap_of(&self, entry: &Entry) -> Result<Option<Cap>, FileStoreError> {
        match (&self.writer, &self.salt, &entry.write) {
            (Some(writer), Some(salt), Some(sealed)) => {
                Ok(open_write(&writer.key, salt, &writer.hash, &entry.cap, sealed)?)
            }
            _ => Ok(None),
        }
    }

    /// What other directories need to link what the entry names.
    ///
    /// # Errors
    ///
    /// As [`DirView::cap_of`].
    pub fn child_of(&self, entry: &Entry) -> Result<super::Child, FileStoreError> {
        let write = self.write_cap_of(entry)?;
        let caps = encoding::directory::ChildCaps { read: entry.cap.clone(), write };
        Ok(super::Child { caps, kind: entry.kind, salt: entry.salt, metadata: entry.metadata.clone() })
    }

    pub(super) fn base(&self) -> Option<&NodeRef> {
        self.base.as_ref()
    }

    pub(super) fn edits(&self) -> &Edits {
        &self.edits
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether two views are of the same tree, so that nothing below differs.
    pub fn is_same_tree(&self, other: &Self) -> bool {
        self.base().map(|node| node.cap.hash) == other.base().map(|node| node.cap.hash)
            && self.edits() == other.edits()
            && self.client().params() == other.client().params()
    }
}

/// Entries in order, with read-ahead and flat memory: the base, with the edits since.
pub struct DirEntries<'a> {
    base: Entries<'a, DirNodes>,
    /// The next one of the base, if it was looked at.
    held: Option<(Name, Entry)>,
    edits: Peekable<btree_map::Iter<'a, Name, Option<Entry>>>,
}

impl DirEntries<'_> {
    /// The next entry; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn next(&mut self) -> Result<Option<(Name, Entry)>, FileStoreError> {
        loop {
            if self.held.is_none() {
                self.held = self.base.next().await?;
            }
            let edited = match (&self.held, self.edits.peek()) {
                (None, None) => return Ok(None),
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (Some((name, _)), Some((edited, _))) => *edited <= name,
            };
            if !edited {
                return Ok(self.held.take());
            }
            let Some((name, entry)) = self.edits.next() else { continue };
            if self.held.as_ref().is_some_and(|(held, _)| held == name) {
                self.held = None;
            }
            if let Some(entry) = entry {
                return Ok(Some((name.clone(), entry.clone())));
            }
        }
    }
}
