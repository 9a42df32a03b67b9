//! Changes of names: what is made, removed and renamed.

use std::time::Duration;

use encoding::directory::{Metadata, Name};
use tokio::time::Instant;

use super::{Folder, Gone, Node, Owed, State, What, identity};
use crate::aside::aside;
use crate::error::FsError;
use crate::file::File;
use crate::journal::{NameRow, Record};
use crate::types::{Ino, Kind, RenameMode};

/// What a name shall lead to.
pub(super) struct Want<'n> {
    folder: Ino,
    name: &'n Name,
    to: Option<Ino>,
    /// What it led to, if that gets another name.
    moved: Option<Ino>,
    /// What it led to, if that is removed.
    pub(super) removed: Option<Ino>,
}

impl State {
    /// Whether names in this folder may be changed.
    pub(crate) fn check_writable(&self, folder: Ino) -> Result<(), FsError> {
        if self.read_only {
            return Err(FsError::ReadOnly);
        }
        match &self.node(folder)?.child {
            // A new one is ours.
            None => Ok(()),
            Some(child) if matches!(child.caps.write, Some(caps::Cap::SlotWrite(_))) => Ok(()),
            Some(_) => Err(FsError::ReadOnly),
        }
    }

    /// A folder that was removed takes no names.
    fn check_stands(&self, folder: Ino) -> Result<(), FsError> {
        if self.is_reached(folder) { Ok(()) } else { Err(FsError::NotFound) }
    }

    /// Makes something under a name that leads to nothing.
    pub(crate) fn make(
        &mut self,
        folder: Ino,
        name: &Name,
        kind: Kind,
        meta: Metadata,
    ) -> Result<Ino, FsError> {
        self.check_writable(folder)?;
        self.check_stands(folder)?;
        if self.child_at(folder, name)?.is_some() {
            return Err(FsError::Exists);
        }
        let what = match kind {
            Kind::Folder => What::Folder(Folder::default()),
            Kind::File => What::File(File::new()),
            Kind::Symlink => What::Symlink,
            Kind::Unknown => return Err(FsError::NotPermitted),
        };
        let ino = self.add(Node::new(what, meta, (folder, name.clone())));
        self.owe(folder, name, Some(ino)).inspect_err(|_| drop(self.nodes.remove(&ino)))?;
        Ok(ino)
    }

    /// Takes a name out. What it led to lives on while it is open.
    pub(crate) fn remove(&mut self, folder: Ino, name: &Name, kind: Kind) -> Result<Ino, FsError> {
        self.check_writable(folder)?;
        let ino = self.child_at(folder, name)?.ok_or(FsError::NotFound)?;
        match (self.node(ino)?.kind(), kind) {
            (Kind::Folder, Kind::Folder) if !self.list(ino)?.is_empty() => return Err(FsError::NotEmpty),
            (Kind::Folder, Kind::Folder) => {}
            (Kind::Folder, _) => return Err(FsError::IsADirectory),
            (_, Kind::Folder) => return Err(FsError::NotADirectory),
            _ => {}
        }
        self.owe_all(&[Want { folder, name, to: None, moved: None, removed: Some(ino) }])?;
        self.unplace(ino);
        Ok(ino)
    }

    fn unplace(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.place = None;
        }
        self.forget_below(ino);
        self.drop_idle(ino);
    }

    /// Renames; what was replaced is taken out.
    pub(crate) fn rename(
        &mut self,
        (from, name): (Ino, &Name),
        (to, new): (Ino, &Name),
        mode: RenameMode,
    ) -> Result<Option<Ino>, FsError> {
        self.folder(from)?;
        self.folder(to)?;
        self.check_writable(from)?;
        self.check_writable(to)?;
        self.check_stands(to)?;
        let ino = self.child_at(from, name)?.ok_or(FsError::NotFound)?;
        let there = self.child_at(to, new)?;
        if there == Some(ino) {
            return if mode == RenameMode::NoReplace { Err(FsError::Exists) } else { Ok(None) };
        }
        self.check_no_loop(ino, to)?;
        match (mode, there) {
            (RenameMode::NoReplace, Some(_)) => return Err(FsError::Exists),
            (RenameMode::Exchange, None) => return Err(FsError::NotFound),
            (RenameMode::Exchange, Some(other)) => {
                self.check_no_loop(other, from)?;
                let here = Want { folder: from, name, to: Some(other), moved: None, removed: None };
                let there = Want { folder: to, name: new, to: Some(ino), moved: None, removed: None };
                self.owe_all(&[there, here])?;
                self.put_at(ino, to, new);
                self.put_at(other, from, name);
                return Ok(None);
            }
            (_, Some(other)) => self.check_replaceable(ino, other)?,
            (_, None) => {}
        }
        let gone = Want { folder: from, name, to: None, moved: Some(ino), removed: None };
        let here = Want { folder: to, name: new, to: Some(ino), moved: None, removed: there };
        self.owe_all(&[here, gone])?;
        self.put_at(ino, to, new);
        if let Some(other) = there {
            self.unplace(other);
        }
        Ok(there)
    }

    fn put_at(&mut self, ino: Ino, folder: Ino, name: &Name) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.place = Some((folder, name.clone()));
        }
    }

    fn check_replaceable(&self, ino: Ino, other: Ino) -> Result<(), FsError> {
        match (self.node(ino)?.kind(), self.node(other)?.kind()) {
            (Kind::Folder, Kind::Folder) if self.list(other)?.is_empty() => Ok(()),
            (Kind::Folder, Kind::Folder) => Err(FsError::NotEmpty),
            (Kind::Folder, _) => Err(FsError::NotADirectory),
            (_, Kind::Folder) => Err(FsError::IsADirectory),
            _ => Ok(()),
        }
    }

    /// No folder may come to stand below itself.
    fn check_no_loop(&self, ino: Ino, below: Ino) -> Result<(), FsError> {
        if self.loops(ino, below) { Err(FsError::Invalid) } else { Ok(()) }
    }

    /// Whether this folder is that thing, or stands below it.
    pub(super) fn loops(&self, ino: Ino, below: Ino) -> bool {
        below == ino || self.above(below).any(|(folder, _)| folder == ino)
    }

    /// A name shall lead to this from now on.
    pub(crate) fn owe(&mut self, folder: Ino, name: &Name, to: Option<Ino>) -> Result<(), FsError> {
        self.owe_all(&[Want { folder, name, to, moved: None, removed: None }])
    }

    /// Names shall lead elsewhere from now on: all of them, or none.
    fn owe_all(&mut self, wanted: &[Want<'_>]) -> Result<(), FsError> {
        for want in wanted {
            self.stand_again(want.folder)?;
            self.log_node(want.folder)?;
            want.to.map_or(Ok(()), |ino| self.log_node(ino))?;
        }
        let (mut rows, mut removed) = (Vec::with_capacity(wanted.len()), Vec::new());
        for (seq, want) in (self.seq + 1..).zip(wanted) {
            let parent = self.folder(want.folder)?;
            let owed = parent.owed.get(want.name).cloned();
            let (base, sent, mut moved, mut emptied) = match owed {
                Some(owed) => (owed.base, owed.sent, owed.moved, owed.emptied),
                None => (parent.entries.get(want.name).map(identity), Vec::new(), Vec::new(), Vec::new()),
            };
            emptied.extend(want.removed.into_iter().flat_map(|ino| self.emptied(ino, seq)));
            moved.extend(want.moved);
            // What came back, or came to rest elsewhere, is waited for no longer.
            moved.retain(|ino| {
                want.moved == Some(*ino) || (want.to != Some(*ino) && self.owed_of(*ino).is_some())
            });
            moved.dedup();
            let (folder, name, to) = (want.folder.0, want.name.to_string(), want.to.map(|ino| ino.0));
            let moved = moved.into_iter().map(|ino| ino.0).collect();
            rows.push(NameRow { folder, name, to, base, seq, moved, sent });
            removed.push(emptied);
        }
        let left = self.log_names(wanted, &rows, &removed)?;
        let changes = wanted.iter().zip(rows).zip(removed);
        changes.into_iter().try_for_each(|((want, row), emptied)| self.owe_now(want, row, emptied))?;
        for (folder, name, gone) in left {
            if let Some(owed) = self.folder_mut(folder)?.owed.get_mut(&name) {
                owed.emptied.extend(gone);
            }
        }
        Ok(())
    }

    fn owe_now(&mut self, want: &Want<'_>, row: NameRow, emptied: Vec<Gone>) -> Result<(), FsError> {
        let Want { folder, name, to, .. } = *want;
        let NameRow { base, seq, sent, .. } = row;
        let moved = row.moved.into_iter().map(Ino).collect();
        self.seq = seq;
        let parent = self.folder_mut(folder)?;
        match to {
            Some(ino) => parent.names.insert(name.clone(), ino),
            None => parent.names.remove(name),
        };
        let before = parent.owed.get(name);
        let (sending, since) =
            before.map_or_else(|| (false, Instant::now()), |owed| (owed.sending, owed.since));
        if to.is_none() && base.is_none() && sent.is_empty() && !sending {
            // It came and went, and the grid never knew.
            parent.owed.remove(name);
            self.forget_debt(folder);
            return Ok(());
        }
        parent.owed.insert(name.clone(), Owed { to, base, seq, since, sent, moved, emptied, sending });
        self.owing.insert(folder);
        Ok(())
    }

    /// The grid is about to be asked to let a name lead to this thing, which is `is` there: whatever it answers, that is no change by
    /// somebody else. Whether the name shall still lead to it.
    pub(crate) fn note_sent(
        &mut self,
        (folder, name): (Ino, &Name),
        to: Option<Ino>,
        is: &str,
    ) -> Result<bool, FsError> {
        let owed = self.folder(folder)?.owed.get(name).filter(|owed| owed.to == to);
        let Some(owed) = owed else { return Ok(false) };
        if !owed.sent.iter().any(|sent| sent == is) {
            self.log(&Record::Sent { folder: folder.0, name: name.to_string(), is: is.to_owned() })?;
            self.note_sent_now(folder, name, is.to_owned());
        }
        Ok(true)
    }

    /// The same, as the journal tells it.
    pub(super) fn note_sent_now(&mut self, folder: Ino, name: &Name, is: String) {
        let parent = self.folder_mut(folder).ok();
        if let Some(owed) = parent.and_then(|parent| parent.owed.get_mut(name)) {
            owed.sent.push(is);
        }
    }

    /// Attributes or content of this changed: its name leads to something new. What stands nowhere is nobody's concern.
    pub(crate) fn owe_node(&mut self, ino: Ino) -> Result<(), FsError> {
        self.place_again(ino)?;
        match self.node(ino)?.place.clone() {
            Some((folder, name)) => self.owe(folder, &name, Some(ino)),
            None => Ok(()),
        }
    }

    /// A folder that somebody replaced or removed while something below it was open here, and is changed now, gets a name again.
    fn stand_again(&mut self, folder: Ino) -> Result<(), FsError> {
        let upwards = std::iter::once(folder).chain(self.above(folder).map(|(folder, _)| folder));
        let parted: Vec<Ino> = upwards.filter(|ino| self.node(*ino).is_ok_and(|node| node.parted)).collect();
        for ino in parted.into_iter().rev() {
            self.place_again(ino)?;
            if let Some((folder, name)) = self.node(ino)?.place.clone() {
                self.owe(folder, &name, Some(ino))?;
            }
        }
        Ok(())
    }

    /// What somebody else replaced or removed while it was open here, and is changed now, gets a name of its own.
    fn place_again(&mut self, ino: Ino) -> Result<(), FsError> {
        let node = self.node(ino)?;
        let (true, Some((folder, name))) = (node.parted, node.place.clone()) else { return Ok(()) };
        let since_1970 = node.meta.ctime.map_or(Duration::ZERO, |time| {
            Duration::from_secs(u64::try_from(time.seconds).unwrap_or_default())
        });
        let taken = self.list(folder)?;
        let is_taken = |name: &Name| taken.binary_search(name).is_ok();
        let name = if is_taken(&name) { aside(&name, &self.host, since_1970, is_taken)? } else { name };
        tracing::warn!(%name, "somebody else replaced or removed what was written to: it is kept under this name");
        let node = self.node_mut(ino)?;
        (node.place, node.parted, node.logged) = (Some((folder, name)), false, false);
        Ok(())
    }

    pub(super) fn forget_debt(&mut self, folder: Ino) {
        if self.folder(folder).is_ok_and(|folder| folder.owed.is_empty()) {
            self.owing.remove(&folder);
            self.drop_idle(folder);
        }
    }

    /// The grid says by now what a name leads to: as of the change `seq`, or otherwise because somebody else changed it.
    pub(crate) fn settle(
        &mut self,
        folder: Ino,
        name: &Name,
        seq: u64,
        is: Option<String>,
    ) -> Result<(), FsError> {
        self.log(&Record::Settled { folder: folder.0, name: name.to_string(), seq, is: is.clone() })?;
        self.settle_debt(folder, name, seq, is);
        Ok(())
    }

    /// The same, as the journal tells it.
    pub(super) fn settle_debt(&mut self, folder: Ino, name: &Name, seq: u64, is: Option<String>) {
        let Ok(parent) = self.folder_mut(folder) else { return };
        let Some(owed) = parent.owed.get_mut(name) else { return };
        owed.sending = false;
        let (to, later) = (owed.to, owed.seq > seq);
        if later {
            (owed.base, owed.since) = (is, Instant::now());
            owed.sent.clear();
            owed.emptied.retain(|(gone, _)| *gone > seq);
        } else {
            parent.owed.remove(name);
        }
        if let Some(node) = to.and_then(|ino| self.nodes.get_mut(&ino)) {
            node.linked = node.linked.max(seq);
        }
        if later {
            return;
        }
        self.forget_debt(folder);
        if let Some(ino) = to {
            self.drop_idle(ino);
        }
    }
}
