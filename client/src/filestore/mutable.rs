//! Files that may change: small ones stand in their slot, larger ones are trees that hang off it.

use bytes::Bytes;
use caps::{Cap, ImmutableRead, SlotRead, SlotWrite};
use encoding::Sections;
use encoding::directory::{FileContent, OperationId, SlotContent, SlotFile};

use super::child::Child;
use super::edit::Refusal;
use super::error::FileStoreError;
use crate::slot::{Edit, Freshness, SlotBase};
use crate::tags::slot_tag;
use crate::{Client, GetOptions, GetReport, PutOptions, Sink, Source};

/// The longest content that stands in the slot itself, in bytes.
const INLINE_MAX: usize = 48 * 1024;

/// How far behind the end of a mutable file may be written, in bytes: what is between becomes zeros, which are stored.
pub const GAP_MAX: u64 = 1 << 30;

/// A mutable file as it was read.
#[derive(Clone, Debug)]
pub struct FileView {
    /// What it says.
    pub content: FileContent,
    /// How sure the read is.
    pub freshness: Freshness,
}

impl FileView {
    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        size_of(&self.content)
    }
}

/// A change of a mutable file.
#[derive(Clone, Debug)]
pub enum MutableEdit {
    /// These bytes are the file.
    Content(FileContent),
    /// These bytes are written at this place, at most [`GAP_MAX`] behind the end; the file grows if need be, with zeros before.
    WriteAt(u64, Bytes),
    /// The file gets this length.
    Truncate(u64),
}

impl Client {
    /// Makes a mutable file.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn make_mutable(&self, source: Source, options: PutOptions) -> Result<Child, FileStoreError> {
        let content = self.store_content(source, options).await?;
        let file = SlotContent::File(SlotFile { content, operations: Vec::new() });
        let slot = self.create_slot(false, |_, _| file.to_sections()).await?;
        Child::new(Cap::SlotWrite(slot.cap), Some(slot.record.id.salt))
    }

    /// Replaces all of a mutable file.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn overwrite(
        &self,
        cap: &SlotWrite,
        source: Source,
        options: PutOptions,
    ) -> Result<(), FileStoreError> {
        let content = self.store_for(cap, source, options).await?;
        self.edit_file(cap, MutableEdit::Content(content)).await
    }

    /// Stores what a mutable file is to say, for [`Client::edit_file`].
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn store_for(
        &self,
        cap: &SlotWrite,
        source: Source,
        options: PutOptions,
    ) -> Result<FileContent, FileStoreError> {
        // What hangs off a slot is leased under the slot's own tag; what it began with, before there was a slot, as files are.
        let options = PutOptions { lease_tag: Some(slot_tag(&cap.hash)), ..options };
        self.store_content(source, options).await
    }

    /// Changes a mutable file. Of a large one, the chunks that change are stored anew and no others.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn edit_file(&self, cap: &SlotWrite, edit: MutableEdit) -> Result<(), FileStoreError> {
        self.edit_file_if(cap, edit, None).await
    }

    /// As [`Client::edit_file`], only if the file still says `only`: then a change by somebody else is not undone unseen.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`]; [`Refusal::Replaced`] if it says something else.
    pub async fn edit_file_if(
        &self,
        cap: &SlotWrite,
        edit: MutableEdit,
        only: Option<FileContent>,
    ) -> Result<(), FileStoreError> {
        let operation = self.random().bytes::<16>();
        let mut change = FileEdit { client: self.clone(), cap: cap.clone(), edit, only, operation };
        self.edit_slot(cap, &mut change).await?;
        Ok(())
    }

    /// What a mutable file is now.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn read_mutable(&self, cap: &SlotRead) -> Result<FileView, FileStoreError> {
        let view = self.read_slot(cap).await?;
        let content = SlotContent::parse(&view.sections)?.into_file()?.content;
        Ok(FileView { content, freshness: view.freshness })
    }

    /// Reads any file: what an immutable cap or a slot's cap names.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn read_file(
        &self,
        cap: &Cap,
        sink: &mut dyn Sink,
        options: GetOptions,
    ) -> Result<GetReport, FileStoreError> {
        if cap.is_directory() {
            return Err(FileStoreError::IsADirectory { path: format!("what the {} cap names", cap.kind()) });
        }
        let cap = self.content_cap(cap).await?;
        Ok(self.get(&cap, sink, options).await?)
    }

    /// The cap of the bytes that a file has now: itself if it is immutable.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn content_cap(&self, cap: &Cap) -> Result<Cap, FileStoreError> {
        match cap.read() {
            Some(Cap::SlotRead(read)) => Ok(self.read_mutable(&read).await?.content.cap()),
            Some(read) => Ok(read),
            None => Err(FileStoreError::NotReadable { kind: cap.kind() }),
        }
    }

    /// Stores what a mutable file shall say, as far as it does not stand in the slot.
    async fn store_content(
        &self,
        source: Source,
        options: PutOptions,
    ) -> Result<FileContent, FileStoreError> {
        if let Source::File(file) = &source {
            let len = file.len().map_err(crate::UploadError::Source)?;
            if len <= INLINE_MAX as u64 {
                let mut bytes = vec![0; len as usize];
                file.read_exact_at(0, &mut bytes).map_err(crate::UploadError::Source)?;
                options.transfer.expect(len);
                options.transfer.advance(len);
                return Ok(FileContent::Inline(bytes));
            }
        }
        let report = self.put(source, PutOptions { chunked: true, ..options }).await?;
        Ok(match report.cap {
            Cap::Literal(literal) => FileContent::Inline(literal.bytes.clone()),
            Cap::ImmutableRead(cap) => FileContent::Object { cap, salt: report.tree_salt },
            other => return Err(FileStoreError::NotReadable { kind: other.kind() }),
        })
    }
}

/// One change of a mutable file.
struct FileEdit {
    client: Client,
    cap: SlotWrite,
    edit: MutableEdit,
    only: Option<FileContent>,
    operation: OperationId,
}

impl Edit for FileEdit {
    type Refusal = FileStoreError;

    async fn apply(&mut self, base: &SlotBase) -> Result<Option<Sections>, FileStoreError> {
        let before = SlotContent::parse(&base.sections)?;
        if before.remembers(&self.operation) {
            return Ok(None);
        }
        let file = before.into_file()?;
        if self.only.as_ref().is_some_and(|only| *only != file.content) {
            return Err(Refusal::Replaced { name: "what the file said".into() }.into());
        }
        let old = size_of(&file.content);
        let content = match &self.edit {
            MutableEdit::Content(content) => content.clone(),
            MutableEdit::WriteAt(at, bytes) => {
                let end = at.checked_add(bytes.len() as u64).filter(|_| *at <= old.saturating_add(GAP_MAX));
                let end = end.ok_or(FileStoreError::TooFar { at: *at, size: old })?;
                self.patched(file.content, old.max(end), &[(*at, bytes.clone())]).await?
            }
            MutableEdit::Truncate(new) => self.patched(file.content, *new, &[]).await?,
        };
        let mut after = SlotContent::File(SlotFile { content, operations: file.operations });
        after.remember(self.operation);
        Ok(Some(after.to_sections()))
    }
}

impl FileEdit {
    async fn patched(
        &self,
        content: FileContent,
        size: u64,
        edits: &[(u64, Bytes)],
    ) -> Result<FileContent, FileStoreError> {
        let options = PutOptions { lease_tag: Some(slot_tag(&self.cap.hash)), ..PutOptions::default() };
        let (base, all): (Option<ImmutableRead>, Vec<(u64, Bytes)>) = match content {
            FileContent::Inline(mut bytes) if size <= INLINE_MAX as u64 => {
                bytes.resize(size as usize, 0);
                for (at, written) in edits {
                    bytes[*at as usize..*at as usize + written.len()].copy_from_slice(written);
                }
                return Ok(FileContent::Inline(bytes));
            }
            FileContent::Inline(mut bytes) => {
                bytes.truncate(size.min(bytes.len() as u64) as usize);
                let first = (0, Bytes::from(bytes));
                (None, std::iter::once(first).chain(edits.iter().cloned()).collect())
            }
            FileContent::Object { cap, .. } => (Some(cap), edits.to_vec()),
        };
        let patched = self.client.patch(base.as_ref(), size, &all, options).await?;
        Ok(FileContent::Object { cap: patched.cap, salt: Some(patched.salt) })
    }
}

fn size_of(content: &FileContent) -> u64 {
    match content {
        FileContent::Inline(bytes) => bytes.len() as u64,
        FileContent::Object { cap, .. } => cap.size,
    }
}
