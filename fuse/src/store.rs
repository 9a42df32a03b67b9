//! Bringing the content of files to the grid.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use caps::{Cap, ImmutableRead, SlotWrite};
use client::filestore::{Child, DirEdit, FileStoreError, MutableEdit, Refusal, Replace};
use client::{PutOptions, Source};
use encoding::directory::FileContent;

use crate::error::FsError;
use crate::extents::Extents;
use crate::file::File;
use crate::journal::{ChildRow, Record};
use crate::mount::Inner;
use crate::mount::content_of;
use crate::types::Ino;

/// Files shorter than this are stored whole whenever they change; longer ones are trees, of which only what changes is stored anew.
const TREE_FROM: u64 = 16 * 1024 * 1024;

/// How often a change is made anew because others changed the file meanwhile.
const ATTEMPTS: usize = 8;

/// What is to be stored.
struct Work {
    extents: Arc<Extents>,
    size: u64,
    /// Bytes of the stored content that show.
    visible: u64,
    /// What the grid has.
    base: Option<Cap>,
    /// Of a file that may change on the grid: it stays the same slot.
    slot: Option<SlotWrite>,
}

impl Inner {
    /// Stores what changed of a file, unless nothing did.
    pub(crate) async fn store(&self, ino: Ino) -> Result<(), FsError> {
        let storing = match self.state().file(ino) {
            Ok(file) => file.storing.clone(),
            // A folder or a link has its content in its entry.
            Err(_) => return Ok(()),
        };
        let _one = storing.lock().await;
        self.find_content(ino).await?;
        let Some(work) = self.take(ino)? else { return Ok(()) };
        let stored = self.store_work(ino, &work).await;
        let kept = self.take_in_stored(ino, stored);
        // It may have been removed meanwhile, and forgotten.
        self.state().drop_idle(ino);
        self.sent.notify_waiters();
        kept
    }

    /// What was frozen is stored, or it is not and is as it was before.
    fn take_in_stored(&self, ino: Ino, stored: Result<(Child, Option<Cap>), FsError>) -> Result<(), FsError> {
        let mut state = self.state();
        let logged = stored.and_then(|(child, content)| {
            let (row, says) = (Box::new(ChildRow::new(&child)), content.as_ref().map(Cap::to_string));
            state.log(&Record::Stored { node: ino.0, child: row, content: says })?;
            Ok((child, content))
        });
        match logged {
            Ok((child, content)) => {
                state.node_mut(ino)?.child = Some(child);
                state.change(ino, File::stored_frozen)?;
                state.file_mut(ino)?.content = content;
                Ok(())
            }
            Err(error) => {
                state.change(ino, File::thaw)?;
                Err(error)
            }
        }
    }

    fn take(&self, ino: Ino) -> Result<Option<Work>, FsError> {
        let mut state = self.state();
        if !state.file(ino)?.changed {
            return Ok(None);
        }
        let size = state.file(ino)?.size;
        state.log(&Record::Freeze { node: ino.0, size })?;
        if !state.change(ino, File::freeze)? {
            return Ok(None);
        }
        let base = content_of(&state, ino).ok();
        let node = state.node(ino)?;
        let slot = match node.child.as_ref().and_then(|child| child.caps.write.as_ref()) {
            Some(Cap::SlotWrite(slot)) => Some(slot.clone()),
            _ => None,
        };
        let Some(frozen) = &state.file(ino)?.frozen else { return Ok(None) };
        let (extents, size, visible) = (frozen.extents.clone(), frozen.size, frozen.visible);
        Ok(Some(Work { extents, size, visible, base, slot }))
    }

    /// Stores it; the child, and of a file that may change the content that it has now.
    async fn store_work(&self, ino: Ino, work: &Work) -> Result<(Child, Option<Cap>), FsError> {
        let tree = matches!(&work.base, Some(Cap::ImmutableRead(base)) if base.size >= TREE_FROM);
        if let Some(slot) = &work.slot {
            // Whoever has its cap goes on seeing this file.
            let bytes = self.whole(ino, work).await?;
            let content = self.overwrite(ino, slot, work.base.as_ref(), bytes).await?;
            let child = self.state().node(ino)?.child.clone().ok_or(FsError::Io)?;
            return Ok((child, Some(content.cap())));
        }
        if work.size < TREE_FROM && !tree {
            let bytes = self.whole(ino, work).await?;
            return Ok((self.put_whole(bytes).await?, None));
        }
        let base = match &work.base {
            Some(Cap::ImmutableRead(base)) => Some(base.clone()),
            _ => None,
        };
        let mut edits: Vec<(u64, Bytes)> = Vec::new();
        if let Some(Cap::Literal(literal)) = &work.base {
            let shows = literal.bytes.len().min(work.visible as usize);
            edits.push((0, Bytes::copy_from_slice(&literal.bytes[..shows])));
        }
        edits.extend(work.extents.pieces().map(|(at, bytes)| (at, bytes.clone())));
        let base = self.cut(base, work).await?;
        let patched = self.client.patch(base.as_ref(), work.size, &edits, PutOptions::default()).await?;
        Ok((child(Cap::ImmutableRead(patched.cap), Some(patched.salt))?, None))
    }

    /// Overwrites a file that is a slot. What somebody else wrote since it said `base` is kept beside it.
    async fn overwrite(
        &self,
        ino: Ino,
        slot: &SlotWrite,
        base: Option<&Cap>,
        bytes: Bytes,
    ) -> Result<FileContent, FsError> {
        let content = self.client.store_for(slot, Source::bytes(bytes), PutOptions::default()).await?;
        let mut known = base.cloned();
        for _ in 0..ATTEMPTS {
            let there = self.client.read_mutable(&slot.to_read()).await?.content;
            if there == content {
                return Ok(content);
            }
            if known.as_ref() != Some(&there.cap()) {
                self.keep_beside(ino, &there).await?;
                known = Some(there.cap());
            }
            let edit = MutableEdit::Content(content.clone());
            match self.client.edit_file_if(slot, edit, Some(there)).await {
                Ok(()) => return Ok(content),
                Err(FileStoreError::Refused(Refusal::Replaced { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(FsError::TimedOut)
    }

    async fn put_whole(&self, bytes: Bytes) -> Result<Child, FsError> {
        let report = self.client.put(Source::bytes(bytes), PutOptions::default()).await?;
        child(report.cap, report.tree_salt)
    }

    /// Keeps a copy of this beside a file, or as near above it as the grid has a folder.
    async fn keep_beside(&self, ino: Ino, content: &FileContent) -> Result<(), FsError> {
        let place = {
            let state = self.state();
            let mut above = state.above(ino).map(|(folder, name)| (folder, name.clone()));
            above.find(|(folder, _)| state.node(*folder).is_ok_and(|node| node.child.is_some()))
        };
        let Some((folder, name)) = place else { return Ok(()) };
        let Some(cap) = self.slot_of(folder)? else { return Ok(()) };
        self.fresh(folder, Duration::ZERO).await?;
        let copy = match content {
            FileContent::Object { cap, salt } => child(Cap::ImmutableRead(cap.clone()), *salt)?,
            FileContent::Inline(bytes) => self.put_whole(bytes.clone().into()).await?,
        };
        // An attempt that failed behind this has kept it already.
        if self.state().folder(folder)?.entries.values().any(|entry| entry.cap == copy.caps.read) {
            return Ok(());
        }
        let beside = self.name_aside(folder, &name, &[])?;
        tracing::warn!(name = %beside, "somebody else wrote the same file: what that was is kept beside it");
        self.tell_name(folder, &beside);
        let link = DirEdit::Link { name: beside, child: Box::new(copy), replace: Replace::No };
        let outcomes = self.client.edit_directory(&cap, vec![link]).await?;
        if outcomes.iter().any(Result::is_err) { Err(FsError::Stale) } else { Ok(()) }
    }

    /// The stored content without what no longer shows of it: where the file grew again, there are zeros.
    async fn cut(&self, base: Option<ImmutableRead>, work: &Work) -> Result<Option<ImmutableRead>, FsError> {
        match base {
            Some(_) if work.visible == 0 => Ok(None),
            Some(base) if work.visible < base.size.min(work.size) => {
                let cut = self.client.patch(Some(&base), work.visible, &[], PutOptions::default()).await?;
                Ok(Some(cut.cap))
            }
            base => Ok(base),
        }
    }

    /// All bytes of a file that is to be stored.
    async fn whole(&self, ino: Ino, work: &Work) -> Result<Bytes, FsError> {
        let mut out = encoding::zeroed(work.size as usize);
        let shows = 0..work.visible.min(work.size);
        let covered = work
            .extents
            .within(shows.clone())
            .iter()
            .any(|(at, bytes)| *at == 0 && bytes.len() as u64 == shows.end);
        if let Some(base) = &work.base
            && !shows.is_empty()
            && !covered
        {
            let old = self.read_content(ino, base, shows).await?;
            out[..old.len()].copy_from_slice(&old);
        }
        for (at, bytes) in work.extents.pieces() {
            let at = at as usize;
            out[at..at + bytes.len()].copy_from_slice(bytes);
        }
        Ok(out.into())
    }
}

fn child(cap: Cap, salt: Option<[u8; 32]>) -> Result<Child, FsError> {
    Ok(Child::new(cap, salt)?)
}
