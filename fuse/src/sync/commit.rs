//! One folder's names, in one change.

use std::collections::HashMap;
use std::time::Duration;

use caps::{Cap, SlotWrite};
use client::filestore::{Child, DirEdit, Edited, Refusal, Replace};
use encoding::directory::{Entry, Name};

use super::emptied::Looked;
use crate::aside::aside;
use crate::error::FsError;
use crate::journal::{ChildRow, Record};
use crate::mount::Inner;
use crate::state::{Owed, identity, identity_of};
use crate::types::{Ino, Kind};

/// How often a change is made anew because others changed the folder meanwhile.
const ATTEMPTS: usize = 8;

/// What becomes of one name.
enum Step {
    /// The grid says so already, or somebody else's change counts.
    Settled,
    /// This edit, and what is so once it is made.
    Edit(Box<DirEdit>, Done),
    /// Something else is wanted of the name by now.
    Outdated,
}

/// What an edit did.
enum Done {
    /// The name leads to this, or to nothing.
    Is(Option<String>),
    /// What somebody else had put there is kept under another name.
    Aside(String),
}

impl Inner {
    /// Brings names of a folder to the grid.
    pub(super) async fn commit(&self, folder: Ino, mut names: Vec<(Name, Owed)>) -> Result<(), FsError> {
        names.retain(|(name, owed)| self.is_owed(folder, name, owed));
        if names.is_empty() {
            return Ok(());
        }
        for (_, owed) in &names {
            if let Some(ino) = owed.to {
                self.made(ino).await?;
            }
        }
        let Some(cap) = self.slot_of(folder)? else { return self.make_with(folder, names).await };
        // What others had put under a name, once it is kept beside it.
        let mut kept: HashMap<Name, String> = HashMap::new();
        // What cannot be done about one name holds up no other.
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            self.fresh(folder, Duration::ZERO).await?;
            let looked = self.look_into(names.iter().map(|(_, owed)| owed)).await;
            let (mut edits, mut counted) = (Vec::new(), Vec::new());
            for (name, owed) in &names {
                let done = match self.step((folder, name), owed, (kept.get(name), &looked), &edits).await {
                    Ok(Step::Edit(edit, done)) => {
                        edits.push(*edit);
                        counted.push((name.clone(), owed.clone(), done));
                        continue;
                    }
                    Ok(Step::Settled) => self.settle_as_is(folder, &cap, (name, owed), &looked).await,
                    Ok(Step::Outdated) => continue,
                    Err(error) => Err(error),
                };
                if let Err(error) = done {
                    failed.get_or_insert(error);
                }
            }
            if edits.is_empty() {
                return failed.map_or(Ok(()), Err);
            }
            let puts = counted.iter().any(|(_, owed, _)| owed.to.is_some());
            let outcomes = self.edit(folder, &cap, edits, puts).await?;
            let looked = self.look_into(counted.iter().map(|(_, owed, _)| owed)).await;
            let mut again = Vec::new();
            for ((name, owed, done), outcome) in counted.into_iter().zip(outcomes) {
                match (outcome, done) {
                    (Ok(_), Done::Is(is)) => {
                        let sent = (&name, &owed, is);
                        let settled = self.settle_as_sent(folder, &cap, sent, &looked).await;
                        if let Err(error) = settled {
                            failed.get_or_insert(error);
                        }
                    }
                    (Ok(_), Done::Aside(theirs)) => {
                        kept.insert(name.clone(), theirs);
                        again.push((name, owed));
                    }
                    (Err(Refusal::Entry { .. }), _) => {
                        failed.get_or_insert(FsError::Invalid);
                    }
                    // Somebody was quicker: it is looked at once more.
                    (Err(_), _) => again.push((name, owed)),
                }
            }
            if again.is_empty() {
                return failed.map_or(Ok(()), Err);
            }
            names = again;
        }
        Err(FsError::TimedOut)
    }

    /// Changes a folder, and sees what the grid says of it afterwards; where something was put into it, whether it still stands as well.
    async fn edit(
        &self,
        folder: Ino,
        cap: &SlotWrite,
        edits: Vec<DirEdit>,
        puts: bool,
    ) -> Result<Vec<Result<Edited, Refusal>>, FsError> {
        let outcomes = self.client.edit_directory(cap, edits).await?;
        self.fresh(folder, Duration::ZERO).await?;
        if puts {
            self.look_above(folder).await?;
        }
        Ok(outcomes)
    }

    /// Whether this is still what is wanted of a name.
    fn is_owed(&self, folder: Ino, name: &Name, owed: &Owed) -> bool {
        let state = self.state();
        // Later changes of the same thing are sent later; what is sent now is part of them.
        state.folder(folder).is_ok_and(|folder| folder.owed.get(name).is_some_and(|now| now.to == owed.to))
    }

    /// The write cap of a folder; `None` if the grid does not have it.
    pub(crate) fn slot_of(&self, folder: Ino) -> Result<Option<SlotWrite>, FsError> {
        match &self.state().node(folder)?.child {
            None => Ok(None),
            Some(Child { caps, .. }) => match &caps.write {
                Some(Cap::SlotWrite(cap)) => Ok(Some(cap.clone())),
                _ => Err(FsError::ReadOnly),
            },
        }
    }

    /// The grid has what a name leads to.
    async fn made(&self, ino: Ino) -> Result<(), FsError> {
        let (kind, known) = {
            let state = self.state();
            let node = state.node(ino)?;
            (node.kind(), node.child.is_some())
        };
        match kind {
            _ if known => Ok(()),
            Kind::Folder => self.make_with(ino, Vec::new()).await,
            Kind::Symlink => {
                let mut state = self.state();
                let target = state.node(ino)?.meta.symlink.clone().ok_or(FsError::Io)?;
                let child = Child::symlink(target);
                state.node_mut(ino)?.child = Some(child);
                Ok(())
            }
            // Its content is stored before; it was written to again, and nothing of it.
            Kind::File | Kind::Unknown => Err(FsError::Io),
        }
    }

    /// Makes a folder with these names in it.
    async fn make_with(&self, folder: Ino, names: Vec<(Name, Owed)>) -> Result<(), FsError> {
        let mut children = Vec::new();
        for (name, owed) in &names {
            if let Some(ino) = owed.to {
                children.push((name.clone(), self.child_of(ino)?));
            }
        }
        let child = self.client.make_directory_with(children).await?;
        {
            let mut state = self.state();
            state.log(&Record::Made { node: folder.0, child: Box::new(ChildRow::new(&child)) })?;
            state.node_mut(folder)?.child = Some(child);
        }
        if names.is_empty() {
            return Ok(());
        }
        self.fresh(folder, Duration::ZERO).await?;
        names.iter().try_for_each(|(name, owed)| self.settle_now(folder, name, owed))
    }

    /// What a name shall lead to, attributes and all.
    fn child_of(&self, ino: Ino) -> Result<Child, FsError> {
        let state = self.state();
        let node = state.node(ino)?;
        let child = node.child.clone().ok_or(FsError::Io)?;
        let mut meta = node.meta.clone();
        if let Ok(file) = state.file(ino) {
            meta.size = Some(file.size);
        }
        Ok(child.with(meta))
    }

    /// What the grid says of this name counts.
    async fn settle_as_is(
        &self,
        folder: Ino,
        cap: &SlotWrite,
        (name, owed): (&Name, &Owed),
        looked: &Looked,
    ) -> Result<(), FsError> {
        self.bring_back(folder, cap, (name, owed), looked).await?;
        self.settle_now(folder, name, owed)
    }

    fn settle_now(&self, folder: Ino, name: &Name, owed: &Owed) -> Result<(), FsError> {
        let mut state = self.state();
        let is = state.folder(folder)?.entries.get(name).map(identity);
        state.settle(folder, name, owed.seq, is)
    }

    /// The grid took this; it may say something else again by now.
    async fn settle_as_sent(
        &self,
        folder: Ino,
        cap: &SlotWrite,
        (name, owed, is): (&Name, &Owed, Option<String>),
        looked: &Looked,
    ) -> Result<(), FsError> {
        self.bring_back(folder, cap, (name, owed), looked).await?;
        let mut state = self.state();
        let now = state.folder(folder)?.entries.get(name).map(identity);
        let replaced = now != is;
        state.settle(folder, name, owed.seq, is)?;
        if replaced {
            // It is read anew, as somebody else's change.
            let parent = state.folder_mut(folder)?;
            parent.entries.remove(name);
            (parent.view, parent.checked) = (None, None);
        }
        Ok(())
    }

    /// How to bring one name to the grid, given what it says, what is kept aside of it, and what else is asked for.
    async fn step(
        &self,
        (folder, name): (Ino, &Name),
        owed: &Owed,
        (kept, looked): (Option<&String>, &Looked),
        asked: &[DirEdit],
    ) -> Result<Step, FsError> {
        let (there, sent) = {
            let state = self.state();
            let parent = state.folder(folder)?;
            let sent = parent.owed.get(name).map(|owed| owed.sent.clone()).unwrap_or_default();
            (parent.entries.get(name).cloned(), sent)
        };
        let is = there.as_ref().map(identity);
        let ours = is.as_ref().is_some_and(|is| sent.contains(is));
        let removed = owed.removals().find(|gone| is.as_ref() == Some(&gone[0].1.identity()));
        let filled = match removed {
            Some(gone) => looked.is_filled(gone)?,
            None => false,
        };
        let unchanged = (is == owed.base || ours) && !filled || (is.is_some() && is.as_ref() == kept);
        match (owed.to, there) {
            (None, None) => Ok(Step::Settled),
            (None, Some(entry)) if unchanged => {
                let unlink = DirEdit::Unlink { name: name.clone(), only: Some(entry.cap) };
                Ok(Step::Edit(Box::new(unlink), Done::Is(None)))
            }
            // Somebody changed what was removed here: it stays.
            (None, Some(_)) => {
                self.tell_name(folder, name);
                Ok(Step::Settled)
            }
            (Some(ino), there) => {
                let child = self.child_of(ino)?;
                let ours = identity_of(&child.caps.read, &child.metadata);
                match there {
                    Some(theirs) if !unchanged && is.as_ref() != Some(&ours) => {
                        self.both(folder, name, ino, (theirs, asked)).await
                    }
                    there => {
                        if !self.state().note_sent((folder, name), owed.to, &ours)? {
                            return Ok(Step::Outdated);
                        }
                        let link = DirEdit::LinkAs {
                            name: name.clone(),
                            child: Box::new(child),
                            before: there.map(Box::new),
                        };
                        Ok(Step::Edit(Box::new(link), Done::Is(Some(ours))))
                    }
                }
            }
        }
    }

    /// Somebody else put something under the same name: both are kept. Folders become one.
    async fn both(
        &self,
        folder: Ino,
        name: &Name,
        ino: Ino,
        (theirs, asked): (Entry, &[DirEdit]),
    ) -> Result<Step, FsError> {
        let view = self.state().folder(folder)?.view.clone().ok_or(FsError::Io)?;
        let other = view.child_of(&theirs)?;
        let ours_is_folder = self.state().folder(ino).is_ok();
        if ours_is_folder && theirs.kind == encoding::directory::EntryKind::Directory {
            self.become_one(ino, other).await?;
            return Ok(Step::Settled);
        }
        let beside = self.name_aside(folder, name, asked)?;
        tracing::warn!(name = %beside, "somebody else changed a file at the same time: theirs is kept beside it");
        self.tell_name(folder, &beside);
        // Ours takes the name once theirs has another.
        let link = DirEdit::Link { name: beside, child: Box::new(other), replace: Replace::No };
        Ok(Step::Edit(Box::new(link), Done::Aside(identity(&theirs))))
    }

    /// A folder that was made here and elsewhere under one name is the other's from now on, with what is in it here added.
    async fn become_one(&self, ino: Ino, other: Child) -> Result<(), FsError> {
        self.fresh(ino, Duration::ZERO).await?;
        let mut state = self.state();
        let mut names: Vec<(Name, Ino)> = Vec::new();
        for name in state.list(ino)? {
            if let Some(child) = state.child_at(ino, &name)? {
                names.push((name, child));
            }
        }
        // Owed first: whoever ends in between finds them in the folder made here, which is then sent as it is.
        names.iter().try_for_each(|(name, child)| state.owe(ino, name, Some(*child)))?;
        state.log(&Record::Made { node: ino.0, child: Box::new(ChildRow::new(&other)) })?;
        state.node_mut(ino)?.child = Some(other);
        let folder = state.folder_mut(ino)?;
        (folder.view, folder.checked) = (None, None);
        folder.entries.clear();
        Ok(())
    }

    /// A free name for what somebody else put there.
    pub(crate) fn name_aside(&self, folder: Ino, name: &Name, asked: &[DirEdit]) -> Result<Name, FsError> {
        let taken = self.state().list(folder)?;
        let asked_for = |name: &Name| {
            asked.iter().any(|edit| matches!(edit, DirEdit::Link { name: other, .. } if other == name))
        };
        let taken = |name: &Name| taken.binary_search(name).is_ok() || asked_for(name);
        aside(name, &self.options.host, self.clock.unix_time(), taken)
    }
}
