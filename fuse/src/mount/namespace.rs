//! Calls about names and attributes.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use encoding::directory::{MAX_SYMLINK_LEN, Metadata, Name, NameError};

use super::{Handle, Mount};
use crate::error::FsError;
use crate::folders::may_change;
use crate::journal::Record;
use crate::state::State;
use crate::types::{Attr, DirEntry, Ino, Kind, OpenMode, Owner, RenameMode, Room, SetAttr};

impl Mount {
    /// What stands under a name; the caller holds it until it says [`Mount::forget`].
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn lookup(&self, folder: Ino, name: &OsStr) -> Result<Attr, FsError> {
        let name = name_of(name)?;
        self.0.in_time(self.0.fresh(folder, self.0.options.believe)).await?;
        // Held from here on: it must not go while its content is asked for.
        let attr = {
            let mut state = self.0.state();
            let ino = state.child_at(folder, &name)?.ok_or(FsError::NotFound)?;
            state.looked_up(ino)?
        };
        match self.fresh_file(attr.ino).await.and_then(|()| self.attr(attr.ino)) {
            Ok(attr) => Ok(attr),
            Err(error) => {
                self.forget(attr.ino, 1);
                Err(error)
            }
        }
    }

    async fn fresh_file(&self, ino: Ino) -> Result<(), FsError> {
        let changes =
            self.0.state().node(ino)?.child.as_ref().is_some_and(|child| may_change(&child.caps.read));
        if changes { self.0.in_time(self.0.fresh_content(ino)).await } else { Ok(()) }
    }

    /// The caller holds it so many times less.
    pub fn forget(&self, ino: Ino, times: u64) {
        self.0.state().forget(ino, times);
    }

    /// Attributes.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn getattr(&self, ino: Ino) -> Result<Attr, FsError> {
        let place = self.0.state().node(ino)?.place.clone();
        if let Some((folder, _)) = place {
            self.0.in_time(self.0.fresh(folder, self.0.options.believe)).await?;
        }
        self.0.state().attr(ino)
    }

    /// Changes attributes.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn setattr(&self, ino: Ino, set: SetAttr) -> Result<Attr, FsError> {
        self.wait_for_place(ino).await?;
        if let Some(size) = set.size {
            // Of one that may change on the grid, how long it is was only guessed so far.
            self.fresh_file(ino).await?;
            self.truncate(ino, size)?;
        }
        let now = self.0.now();
        let mut state = self.0.state();
        if ino == crate::types::ROOT && !state.read_only {
            // No entry leads to it: what is said of it is kept as long as the mount lasts.
            let before = state.attr(ino)?;
            crate::attr::set(&mut state.node_mut(ino)?.meta, before.kind, &before, &set, now);
            return state.attr(ino);
        }
        check_changeable(&state, ino)?;
        let before = state.attr(ino)?;
        let mut meta = state.node(ino)?.meta.clone();
        crate::attr::set(&mut meta, before.kind, &before, &set, now);
        state.set_meta(ino, meta)?;
        state.attr(ino)
    }

    /// What is not read yet cannot be changed: an entry is replaced as a whole.
    pub(crate) async fn wait_for_place(&self, ino: Ino) -> Result<(), FsError> {
        let place = self.0.state().node(ino)?.place.clone();
        match place {
            Some((folder, _)) => self.0.in_time(self.0.fresh(folder, self.0.options.believe)).await,
            None => Ok(()),
        }
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>, FsError> {
        self.0.state().node(ino)?.meta.symlink.clone().ok_or(FsError::Invalid)
    }

    /// Makes a folder.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn mkdir(&self, folder: Ino, name: &OsStr, mode: u32, owner: Owner) -> Result<Attr, FsError> {
        self.make(folder, name, Kind::Folder, (mode, owner), None).await
    }

    /// Makes an empty file.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn mknod(&self, folder: Ino, name: &OsStr, mode: u32, owner: Owner) -> Result<Attr, FsError> {
        self.make(folder, name, Kind::File, (mode, owner), None).await
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn symlink(
        &self,
        folder: Ino,
        name: &OsStr,
        target: Vec<u8>,
        owner: Owner,
    ) -> Result<Attr, FsError> {
        if target.is_empty() || target.len() > MAX_SYMLINK_LEN {
            return Err(if target.is_empty() { FsError::NotFound } else { FsError::NameTooLong });
        }
        self.make(folder, name, Kind::Symlink, (0o777, owner), Some(target)).await
    }

    /// Makes a file and opens it.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn create(
        &self,
        folder: Ino,
        name: &OsStr,
        (mode, owner): (u32, Owner),
        open: OpenMode,
    ) -> Result<(Attr, Handle), FsError> {
        match self.make(folder, name, Kind::File, (mode, owner), None).await {
            // It was not there when the kernel asked, and somebody else made it since.
            Err(FsError::Exists) if !open.exclusive => {
                let attr = self.lookup(folder, name).await?;
                let opened = self.open(attr.ino, open).await.inspect_err(|_| self.forget(attr.ino, 1));
                Ok((self.attr(attr.ino)?, opened?))
            }
            made => {
                let attr = made?;
                let handle = self.open_now(attr.ino, open)?;
                Ok((attr, handle))
            }
        }
    }

    async fn make(
        &self,
        folder: Ino,
        name: &OsStr,
        kind: Kind,
        (mode, owner): (u32, Owner),
        symlink: Option<Vec<u8>>,
    ) -> Result<Attr, FsError> {
        let name = name_of(name)?;
        self.0.in_time(self.0.fresh(folder, self.0.options.believe)).await?;
        self.wait_for_room().await?;
        let now = self.0.now();
        let mut state = self.0.state();
        let mut meta = crate::attr::new(kind, mode, owner, &state.attr(folder)?, now);
        meta.symlink = symlink;
        let ino = state.make(folder, &name, kind, meta)?;
        state.touch(folder, now);
        let attr = state.looked_up(ino);
        drop(state);
        self.0.wake.notify_one();
        attr
    }

    /// Takes out a name that leads to no folder.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn unlink(&self, folder: Ino, name: &OsStr) -> Result<(), FsError> {
        self.remove(folder, name, Kind::File).await
    }

    /// Takes out an empty folder.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn rmdir(&self, folder: Ino, name: &OsStr) -> Result<(), FsError> {
        self.remove(folder, name, Kind::Folder).await
    }

    async fn remove(&self, folder: Ino, name: &OsStr, kind: Kind) -> Result<(), FsError> {
        let name = name_of(name)?;
        self.0.in_time(self.0.fresh(folder, self.0.options.believe)).await?;
        self.0.state().check_writable(folder)?;
        if kind == Kind::Folder {
            self.fresh_below(folder, &name).await?;
        }
        let mut state = self.0.state();
        state.remove(folder, &name, kind)?;
        state.touch(folder, self.0.now());
        drop(state);
        self.0.wake.notify_one();
        Ok(())
    }

    /// Whether a folder is empty is known once it was read.
    async fn fresh_below(&self, folder: Ino, name: &Name) -> Result<(), FsError> {
        let child = {
            let mut state = self.0.state();
            let child = state.child_at(folder, name)?;
            child.filter(|ino| state.folder(*ino).is_ok())
        };
        match child {
            Some(child) => self.0.in_time(self.0.fresh(child, Duration::ZERO)).await,
            None => Ok(()),
        }
    }

    /// Renames.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn rename(
        &self,
        (from, name): (Ino, &OsStr),
        (to, new): (Ino, &OsStr),
        mode: RenameMode,
    ) -> Result<(), FsError> {
        let (name, new) = (name_of(name)?, name_of(new)?);
        let believe = self.0.options.believe;
        self.0.in_time(self.0.fresh(from, believe)).await?;
        if to != from {
            self.0.in_time(self.0.fresh(to, believe)).await?;
        }
        if mode == RenameMode::Replace {
            self.fresh_below(to, &new).await?;
        }
        let now = self.0.now();
        let mut state = self.0.state();
        state.rename((from, &name), (to, &new), mode)?;
        state.touch(from, now);
        state.touch(to, now);
        drop(state);
        self.0.wake.notify_one();
        Ok(())
    }

    /// Opens a folder for reading: the stream shows the names that it has now.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub async fn opendir(&self, ino: Ino) -> Result<Handle, FsError> {
        self.0.in_time(self.0.fresh(ino, Duration::ZERO)).await?;
        let mut state = self.0.state();
        let names = Arc::new(state.list(ino)?);
        state.node_mut(ino)?.opens += 1;
        drop(state);
        let mut opened = self.0.opened();
        opened.next += 1;
        let handle = opened.next;
        opened.folders.insert(handle, (ino, names));
        Ok(Handle(handle))
    }

    /// At most `count` entries from the one with this index on, each with the index after it; fewer only at the end. Names that went
    /// meanwhile are left out. The caller holds each of them, as after a lookup.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub fn readdir(&self, handle: Handle, from: u64, count: usize) -> Result<Vec<(u64, DirEntry)>, FsError> {
        let (folder, names) = self.0.opened().folders.get(&handle.0).cloned().ok_or(FsError::BadHandle)?;
        let mut state = self.0.state();
        let mut entries = Vec::new();
        for (index, name) in names.iter().enumerate().skip(from as usize) {
            if entries.len() == count {
                break;
            }
            if let Some(ino) = state.child_at(folder, name)? {
                let attr = state.looked_up(ino)?;
                entries.push((index as u64 + 1, DirEntry { name: name.to_string(), attr }));
            }
        }
        Ok(entries)
    }

    /// The folder above; the root's is itself.
    pub fn parent(&self, ino: Ino) -> Ino {
        let place = self.0.state().node(ino).ok().and_then(|node| node.place.clone());
        place.map_or(crate::types::ROOT, |(folder, _)| folder)
    }

    /// Closes a folder.
    pub fn releasedir(&self, handle: Handle) {
        let opened = self.0.opened().folders.remove(&handle.0);
        if let Some((ino, _)) = opened {
            self.0.state().close(ino);
        }
    }

    /// How much room there is: the servers' free bytes over what a file's shares take together.
    /// Programs ask often; the servers are asked every five seconds.
    pub async fn statfs(&self) -> Room {
        const KNOWN_FOR: Duration = Duration::from_secs(5);
        let mut known = self.0.room.lock().await;
        if let Some((at, room)) = *known
            && at.elapsed() < KNOWN_FOR
        {
            return room;
        }
        let room = match (self.ask_room().await, *known) {
            // No server answers: who asks before writing shall not take that for a full disk.
            (Room { total: 0, .. }, Some((_, room))) => room,
            (room, _) => room,
        };
        *known = Some((tokio::time::Instant::now(), room));
        room
    }

    async fn ask_room(&self) -> Room {
        let status = tokio::time::timeout(self.0.options.timeout, self.0.client.status()).await;
        let shares = self.0.client.settings().shares;
        let spread =
            |bytes: u64| (u128::from(bytes) * u128::from(shares.needed) / u128::from(shares.total)) as u64;
        let (mut total, mut free) = (0_u64, 0_u64);
        for server in status.into_iter().flat_map(|status| status.servers) {
            let Ok(reached) = server.outcome else { continue };
            for store in &reached.status.stores {
                total = total.saturating_add(store.used.saturating_add(store.available));
                free = free.saturating_add(store.available);
            }
        }
        Room { total: spread(total), free: spread(free) }
    }
}

/// A name as the kernel gives it.
pub(super) fn name_of(name: &OsStr) -> Result<Name, FsError> {
    let text = name.to_str().ok_or(FsError::BadName)?;
    Name::new(text).map_err(|error| match error {
        NameError::TooLong { .. } => FsError::NameTooLong,
        NameError::Empty => FsError::NotFound,
        _ => FsError::Invalid,
    })
}

/// Whether what is said of this may be changed: its folder may be written. What was removed is only here.
pub(crate) fn check_changeable(state: &State, ino: Ino) -> Result<(), FsError> {
    match &state.node(ino)?.place {
        Some((folder, _)) => state.check_writable(*folder),
        None if state.read_only || ino == crate::types::ROOT => Err(FsError::ReadOnly),
        None => Ok(()),
    }
}

impl State {
    pub(crate) fn set_meta(&mut self, ino: Ino, meta: Metadata) -> Result<(), FsError> {
        self.owe_node(ino)?;
        self.log(&Record::Meta { node: ino.0, meta: Box::new((&meta).into()) })?;
        self.node_mut(ino)?.meta = meta;
        Ok(())
    }

    /// Tells the journal the attributes of something that is owed.
    pub(crate) fn log_meta(&mut self, ino: Ino) -> Result<(), FsError> {
        if self.owed_of(ino).is_none() {
            return Ok(());
        }
        let meta = (&self.node(ino)?.meta).into();
        self.log(&Record::Meta { node: ino.0, meta: Box::new(meta) })
    }

    /// Something in a folder changed just now. That is kept in memory: written down it would change the folder above, and so on.
    fn touch(&mut self, folder: Ino, now: encoding::directory::Time) {
        if let Ok(node) = self.node_mut(folder) {
            (node.meta.mtime, node.meta.ctime) = (Some(now), Some(now));
        }
    }

    /// One handle fewer.
    pub(crate) fn close(&mut self, ino: Ino) {
        if let Ok(node) = self.node_mut(ino) {
            node.opens = node.opens.saturating_sub(1);
            self.drop_idle(ino);
        }
    }
}
