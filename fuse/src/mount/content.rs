//! Calls about what is in files.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use caps::{Cap, VerifyHash};
use client::{DownloadError, ObjectReader};
use tokio::time::Instant;

use super::namespace::check_changeable;
use super::{Durable, Handle, Mount};
use crate::blocks::Stored;
use crate::error::FsError;
use crate::folders::may_change;
use crate::journal::Record;
use crate::state::What;
use crate::types::{Attr, Ino, OpenMode, Seek};

/// The largest file: what an object can have.
const SIZE_MAX: u64 = encoding::MAX_PLAINTEXT_LEN;
/// The same of one that is a slot: it is stored whole, from memory.
const SLOT_MAX: u64 = 256 * 1024 * 1024;
/// Bytes copied at a time within the mount.
const COPY: u64 = 1024 * 1024;

impl Mount {
    /// Opens a file. What others closed before is seen from now on.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn open(&self, ino: Ino, mode: OpenMode) -> Result<Handle, FsError> {
        self.open_again(ino, mode).await.map(|(handle, _)| handle)
    }

    /// The same; and whether the content is what it was when the file was opened last, as far as others are concerned.
    pub(crate) async fn open_again(&self, ino: Ino, mode: OpenMode) -> Result<(Handle, bool), FsError> {
        let place = self.0.state().node(ino)?.place.clone();
        if let Some((folder, _)) = place {
            self.0.in_time(self.0.fresh(folder, Duration::ZERO)).await?;
        }
        {
            // Somebody removed or replaced it: whoever opens it by its name looks for that once more.
            let state = self.0.state();
            let node = state.node(ino)?;
            if node.opens == 0 && (node.place.is_none() || node.parted) {
                return Err(FsError::Stale);
            }
        }
        self.0.in_time(self.0.fresh_content(ino)).await?;
        let same = !std::mem::take(&mut self.0.state().file_mut(ino)?.renewed);
        if mode.read {
            self.0.fetch_neighbours(ino);
        }
        Ok((self.open_now(ino, mode)?, same))
    }

    pub(super) fn open_now(&self, ino: Ino, mode: OpenMode) -> Result<Handle, FsError> {
        let mut state = self.0.state();
        state.file(ino)?;
        if mode.write {
            check_changeable(&state, ino)?;
            state.file_mut(ino)?.writers += 1;
        }
        state.node_mut(ino)?.opens += 1;
        drop(state);
        let mut opened = self.0.opened();
        opened.next += 1;
        let handle = opened.next;
        opened.files.insert(handle, (ino, mode));
        drop(opened);
        if mode.truncate && mode.write {
            self.truncate(ino, 0).inspect_err(|_| self.release(Handle(handle)))?;
        }
        Ok(Handle(handle))
    }

    fn opened_as(&self, handle: Handle) -> Result<(Ino, OpenMode), FsError> {
        self.0.opened().files.get(&handle.0).copied().ok_or(FsError::BadHandle)
    }

    /// Closes a file.
    pub fn release(&self, handle: Handle) {
        let Some((ino, mode)) = self.0.opened().files.remove(&handle.0) else { return };
        let mut state = self.0.state();
        if mode.write
            && let Ok(file) = state.file_mut(ino)
        {
            file.writers = file.writers.saturating_sub(1);
            // When it was written last. Whoever closes hears nothing of a journal that fails.
            let _ = state.log_meta(ino);
        }
        state.close(ino);
        drop(state);
        self.0.wake.notify_one();
    }

    /// Reads up to `len` bytes from byte `at` on: fewer only at the end of the file.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn read(&self, handle: Handle, at: u64, len: u32) -> Result<Bytes, FsError> {
        let (ino, mode) = self.opened_as(handle)?;
        if !mode.read && !mode.write {
            return Err(FsError::BadHandle);
        }
        self.read_file(ino, at, len.into()).await
    }

    async fn read_file(&self, ino: Ino, at: u64, len: u64) -> Result<Bytes, FsError> {
        self.0.in_time(self.0.read(ino, at..at.saturating_add(len))).await
    }

    /// Writes; how many bytes. Whoever opened the file to append writes at its end.
    ///
    /// # Errors
    ///
    /// [`FsError`]; [`FsError::NoSpace`] and the like if what was written before could not be stored.
    pub async fn write(&self, handle: Handle, at: u64, bytes: &[u8]) -> Result<u32, FsError> {
        self.write_bytes(handle, at, Bytes::copy_from_slice(bytes), true).await
    }

    /// The same; pages of a mapping go where they belong, not where the handle `appends`.
    pub(crate) async fn write_bytes(
        &self,
        handle: Handle,
        at: u64,
        bytes: Bytes,
        appends: bool,
    ) -> Result<u32, FsError> {
        let (ino, mode) = self.opened_as(handle)?;
        let append = mode.append && appends;
        if !mode.write {
            return Err(FsError::BadHandle);
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        self.wait_for_room().await?;
        let mut state = self.0.state();
        let end = state.file(ino)?.size;
        if append && at != end {
            // The kernel took the end for another place, and remembers the bytes there.
            self.0.tell_content(ino);
        }
        let at = if append { end } else { at };
        let end = at.checked_add(bytes.len() as u64).ok_or(FsError::TooBig)?;
        check_size(&state, ino, end)?;
        let written = bytes.len() as u32;
        self.write_now(&mut state, ino, at, bytes)?;
        Ok(written)
    }

    fn write_now(
        &self,
        state: &mut crate::state::State,
        ino: Ino,
        at: u64,
        bytes: Bytes,
    ) -> Result<(), FsError> {
        state.owe_content(ino, self.0.now())?;
        let file = state.file(ino)?;
        // What a crash loses of a file that is being written is lost as a whole stretch, never with holes in it.
        if file.goes_past(at) && self.0.options.durable == Durable::Grid {
            if file.past.is_none() {
                state.log(&Record::Past { node: ino.0, at })?;
                state.file_mut(ino)?.past = Some(at);
            }
        } else {
            for (index, piece) in bytes.chunks(COPY as usize).enumerate() {
                let at = at + index as u64 * COPY;
                state.log(&Record::Write { node: ino.0, at, bytes: piece.to_vec().into() })?;
            }
        }
        state.change(ino, |file| file.write(at, bytes))
    }

    /// Waits while too much is on its way to the grid.
    pub(super) async fn wait_for_room(&self) -> Result<(), FsError> {
        let until = Instant::now() + self.0.options.timeout;
        loop {
            let sent = self.0.sent.notified();
            {
                let state = self.0.state();
                match state.trouble {
                    // Nothing can be stored: what is added now would be lost.
                    Some(trouble @ (FsError::NoSpace | FsError::Quota | FsError::Refused)) => {
                        return Err(trouble);
                    }
                    _ if state.dirty < self.0.options.dirty_max => return Ok(()),
                    Some(trouble) if Instant::now() >= until => return Err(trouble),
                    _ => {}
                }
            }
            self.0.wake.notify_one();
            if tokio::time::timeout_at(until, sent).await.is_err() && Instant::now() >= until {
                return Err(self.0.state().trouble.unwrap_or(FsError::TimedOut));
            }
        }
    }

    pub(super) fn truncate(&self, ino: Ino, size: u64) -> Result<(), FsError> {
        let mut state = self.0.state();
        check_changeable(&state, ino)?;
        check_size(&state, ino, size)?;
        if state.file(ino)?.size == size {
            return Ok(());
        }
        state.owe_content(ino, self.0.now())?;
        state.log(&Record::Size { node: ino.0, size })?;
        state.change(ino, |file| file.truncate(size))
    }

    /// Reserves nothing, since room is taken when files are stored; makes the file longer unless `keep_size`.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn allocate(&self, handle: Handle, end: u64, keep_size: bool) -> Result<(), FsError> {
        let (ino, mode) = self.opened_as(handle)?;
        if !mode.write {
            return Err(FsError::BadHandle);
        }
        let size = self.0.state().file(ino)?.size;
        if keep_size || end <= size { Ok(()) } else { self.truncate(ino, end) }
    }

    /// Writes zeros over a range, within the file.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn punch(&self, handle: Handle, at: u64, len: u64, keep_size: bool) -> Result<(), FsError> {
        let (ino, mode) = self.opened_as(handle)?;
        if !mode.write {
            return Err(FsError::BadHandle);
        }
        let end = at.checked_add(len).filter(|end| *end <= SIZE_MAX).ok_or(FsError::TooBig)?;
        let size = self.0.state().file(ino)?.size;
        if !keep_size && end > size {
            self.truncate(ino, end)?;
        }
        let end = end.min(self.0.state().file(ino)?.size);
        let mut at = at;
        while at < end {
            self.wait_for_room().await?;
            let len = COPY.min(end - at);
            self.write_now(&mut self.0.state(), ino, at, Bytes::from(vec![0; len as usize]))?;
            at += len;
        }
        Ok(())
    }

    /// Where the next data or hole begins.
    ///
    /// # Errors
    ///
    /// [`FsError::NoData`] if there is none.
    pub fn seek(&self, handle: Handle, at: u64, what: Seek) -> Result<u64, FsError> {
        let (ino, _) = self.opened_as(handle)?;
        let state = self.0.state();
        let file = state.file(ino)?;
        if at >= file.size {
            return Err(FsError::NoData);
        }
        let stretches = file.data_from(at);
        match what {
            Seek::Data => stretches.first().map(|range| range.start.max(at)).ok_or(FsError::NoData),
            Seek::Hole => match stretches.first() {
                Some(range) if range.start <= at => Ok(range.end.min(file.size)),
                _ => Ok(at),
            },
        }
    }

    /// Copies within the mount; how many bytes.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn copy(&self, from: (Handle, u64), to: (Handle, u64), len: u64) -> Result<u64, FsError> {
        let ((source, source_mode), (target, mode)) = (self.opened_as(from.0)?, self.opened_as(to.0)?);
        if !mode.write || !source_mode.read {
            return Err(FsError::BadHandle);
        }
        let bytes = self.read_file(source, from.1, len.min(4 * COPY)).await?;
        let end = to.1.checked_add(bytes.len() as u64).ok_or(FsError::TooBig)?;
        check_size(&self.0.state(), target, end)?;
        self.wait_for_room().await?;
        let copied = bytes.len() as u64;
        if copied > 0 {
            self.write_now(&mut self.0.state(), target, to.1, bytes)?;
        }
        Ok(copied)
    }

    /// A handle is being closed: what could not be stored is told of.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub fn flush(&self, handle: Handle) -> Result<(), FsError> {
        let (_, mode) = self.opened_as(handle)?;
        let trouble = self.0.state().trouble;
        match trouble {
            Some(trouble @ (FsError::NoSpace | FsError::Quota | FsError::Refused)) if mode.write => {
                Err(trouble)
            }
            _ => Ok(()),
        }
    }

    /// Returns when the file, the names that lead to it and its attributes are durable, on the grid or, if the mount says so, in the
    /// journal.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn fsync(&self, ino: Ino) -> Result<(), FsError> {
        if self.0.options.durable == Durable::Grid || self.0.options.journal.is_none() {
            self.0.sync_one(ino).await?;
        }
        // On the grid as well: a journal that knows less would bring back what was before.
        self.0.sync_journal().await
    }

    /// Attributes of an open file.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub fn attr(&self, ino: Ino) -> Result<Attr, FsError> {
        self.0.state().attr(ino)
    }
}

impl super::Inner {
    /// Reads a range, clipped to the file.
    pub(crate) async fn read(&self, ino: Ino, range: std::ops::Range<u64>) -> Result<Bytes, FsError> {
        self.find_content(ino).await?;
        let (layout, content) = {
            let state = self.state();
            let layout = state.file(ino)?.layout(range);
            let content = layout.stored.is_some().then(|| content_of(&state, ino)).transpose()?;
            (layout, content)
        };
        let stored = match (&layout.stored, content) {
            (Some(range), Some(content)) => self.read_content(ino, &content, range.clone()).await?,
            _ => Bytes::new(),
        };
        Ok(layout.assemble(stored))
    }

    pub(crate) async fn read_content(
        &self,
        ino: Ino,
        content: &Cap,
        range: std::ops::Range<u64>,
    ) -> Result<Bytes, FsError> {
        if let Cap::Literal(literal) = content {
            let end = range.end.min(literal.bytes.len() as u64);
            let bytes = literal.bytes.get(range.start as usize..end as usize).unwrap_or_default();
            return Ok(Bytes::copy_from_slice(bytes));
        }
        let stored = self.stored(Some(ino), content)?;
        if range.start >= stored.size {
            return Ok(Bytes::new());
        }
        Ok(self.blocks.read(&stored, range.start..range.end.min(stored.size)).await?)
    }

    /// What the grid has of a file, to be read; `ino`: who keeps its reader.
    pub(crate) fn stored(&self, ino: Option<Ino>, content: &Cap) -> Result<Stored, FsError> {
        let (hash, size) = content.verify_hash().zip(content.size()).ok_or(FsError::Io)?;
        let (me, content) = (self.me.clone(), content.clone());
        let open = move || {
            let (me, content) = (me.clone(), content.clone());
            Box::pin(async move {
                // Nobody reads a mount that is gone.
                let gone = || DownloadError::NotReadable { kind: content.kind() };
                me.upgrade().ok_or_else(gone)?.reader(ino, hash, &content).await
            }) as _
        };
        Ok(Stored { hash, size, open: Arc::new(open) })
    }

    /// A reader of the content; one for all who read this file.
    async fn reader(
        &self,
        ino: Option<Ino>,
        hash: VerifyHash,
        content: &Cap,
    ) -> Result<ObjectReader, DownloadError> {
        let known = ino.and_then(|ino| self.state().file(ino).ok()?.reader.clone());
        if let Some((_, reader)) = known.filter(|(of, _)| *of == hash) {
            return Ok(reader);
        }
        let reader = self.client.open_object(content).await?;
        if let Some(ino) = ino
            && let Ok(file) = self.state().file_mut(ino)
        {
            file.reader = Some((hash, reader.clone()));
        }
        Ok(reader)
    }
}

/// Whether a file may be so long.
fn check_size(state: &crate::state::State, ino: Ino, size: u64) -> Result<(), FsError> {
    let slot = state.node(ino)?.child.as_ref().is_some_and(|child| may_change(&child.caps.read));
    if size > if slot { SLOT_MAX } else { SIZE_MAX } { Err(FsError::TooBig) } else { Ok(()) }
}

/// The cap of the bytes that the grid has of a file.
pub(crate) fn content_of(state: &crate::state::State, ino: Ino) -> Result<Cap, FsError> {
    let node = state.node(ino)?;
    match (&node.what, &node.child) {
        (What::File(file), Some(child)) => {
            Ok(file.content.clone().unwrap_or_else(|| child.caps.read.clone()))
        }
        _ => Err(FsError::Io),
    }
}

impl crate::state::State {
    /// The content changes: its name leads to something new, unless that is known already.
    fn owe_content(&mut self, ino: Ino, now: encoding::directory::Time) -> Result<(), FsError> {
        let node = self.node_mut(ino)?;
        (node.meta.mtime, node.meta.ctime) = (Some(now), Some(now));
        // Whoever restores the tree would join it with what it was linked to, and lose one of the two.
        node.meta.hardlink = None;
        let Some((folder, name)) = node.place.clone() else { return Ok(()) };
        let known = |owed: &crate::state::Owed| owed.to == Some(ino) && !owed.sending;
        if self.folder(folder)?.owed.get(&name).is_some_and(known) {
            return Ok(());
        }
        let meta = self.node(ino)?.meta.clone();
        self.set_meta(ino, meta)
    }
}
