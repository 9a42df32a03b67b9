//! What the grid says of folders, and of files that may change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use caps::Cap;
use client::directory::Change;
use client::filestore::DirView;
use encoding::directory::{Entry, Name};
use tokio::time::Instant;

use crate::error::FsError;
use crate::mount::Inner;
use crate::state::{Node, State, What, identity, identity_of};
use crate::types::Ino;

/// What whoever asks may remember wrongly.
#[derive(Default)]
struct Outdated {
    names: Vec<Name>,
    contents: Vec<Ino>,
}

impl Inner {
    /// Makes sure that what is known of a folder is at most so old.
    pub(crate) async fn fresh(&self, ino: Ino, age: Duration) -> Result<(), FsError> {
        let asked = Instant::now();
        let (cap, reading) = {
            let state = self.state();
            let Some(child) = &state.node(ino)?.child else { return Ok(()) };
            let folder = state.folder(ino)?;
            if is_fresh(folder.view.as_deref(), folder.checked, asked.checked_sub(age).unwrap_or(asked)) {
                return Ok(());
            }
            (child.cap().clone(), folder.reading.clone())
        };
        let _one = reading.lock().await;
        {
            let state = self.state();
            let folder = state.folder(ino)?;
            let since = asked.checked_sub(age).unwrap_or(asked);
            if is_fresh(folder.view.as_deref(), folder.checked, since) {
                return Ok(());
            }
        }
        let began = Instant::now();
        let view = Arc::new(self.client.open_directory(&cap).await?);
        let known = {
            let mut state = self.state();
            let folder = state.folder_mut(ino)?;
            folder.doubtful = view.is_doubtful();
            let version = folder.view.as_ref().and_then(|known| known.version());
            if version.is_some() && version == view.version() {
                folder.checked = Some(began);
                return Ok(());
            }
            folder.view.clone()
        };
        let outdated = match self.changes(ino, known, &view, began).await? {
            Some(outdated) => outdated,
            None => {
                let entries: BTreeMap<Name, Entry> = view.list().await?.into_iter().collect();
                self.state().take_in(ino, view, entries, began)?
            }
        };
        outdated.names.iter().for_each(|name| self.tell_name(ino, name));
        outdated.contents.iter().for_each(|ino| self.tell_content(*ino));
        Ok(())
    }

    /// Takes in what is otherwise than what is known, which costs what that is. `None`: it has to be read as a whole.
    async fn changes(
        &self,
        ino: Ino,
        known: Option<Arc<DirView>>,
        view: &Arc<DirView>,
        began: Instant,
    ) -> Result<Option<Outdated>, FsError> {
        let Some(known) = known else { return Ok(None) };
        // What was replaced an hour ago may be gone.
        let Ok(changes) = known.changes(view).await else { return Ok(None) };
        let mut state = self.state();
        // It was let go meanwhile, to be read anew.
        if state.folder(ino)?.view.as_ref().is_none_or(|now| !Arc::ptr_eq(now, &known)) {
            return Ok(None);
        }
        state.take_in_changes(ino, view.clone(), changes, began).map(Some)
    }

    /// Makes sure that what is known of a folder is what servers enough say now.
    pub(crate) async fn fresh_for_sure(&self, ino: Ino) -> Result<(), FsError> {
        self.fresh(ino, Duration::ZERO).await?;
        if self.state().folder(ino)?.doubtful { Err(FsError::TimedOut) } else { Ok(()) }
    }

    /// Of a file that may change on the grid: how long it is now.
    pub(crate) async fn fresh_content(&self, ino: Ino) -> Result<(), FsError> {
        let cap = {
            let state = self.state();
            let node = state.node(ino)?;
            match (&node.what, &node.child) {
                (What::File(file), Some(child)) if may_change(&child.caps.read) && !file.is_busy() => {
                    child.caps.read.clone()
                }
                _ => return Ok(()),
            }
        };
        let content = self.client.content_cap(&cap).await?;
        let mut state = self.state();
        let file = state.file_mut(ino)?;
        if !file.is_busy() && file.content.as_ref() != Some(&content) {
            file.renew(content.size().unwrap_or(0));
            file.content = Some(content);
            state.node_mut(ino)?.say_anew();
            drop(state);
            self.tell_content(ino);
        }
        Ok(())
    }
}

impl Inner {
    /// Of a file that may change on the grid, and was changed here before anybody read it: what the grid has of it.
    pub(crate) async fn find_content(&self, ino: Ino) -> Result<(), FsError> {
        let cap = {
            let state = self.state();
            let node = state.node(ino)?;
            match (&node.what, &node.child) {
                (What::File(file), Some(child)) if may_change(&child.caps.read) && file.content.is_none() => {
                    child.caps.read.clone()
                }
                _ => return Ok(()),
            }
        };
        let content = self.client.content_cap(&cap).await?;
        self.state().file_mut(ino)?.content.get_or_insert(content);
        Ok(())
    }
}

/// Whether a file with this read cap is a slot's.
pub(crate) fn may_change(read: &Cap) -> bool {
    matches!(read, Cap::SlotRead(_))
}

fn is_fresh(view: Option<&DirView>, checked: Option<Instant>, since: Instant) -> bool {
    match view {
        None => false,
        // What can never change was read once and for all.
        Some(view) if view.freshness().is_none() => true,
        Some(_) => checked.is_some_and(|checked| checked >= since),
    }
}

impl State {
    /// Takes in what the grid says of a folder by now. What is owed there stays as it is.
    fn take_in(
        &mut self,
        ino: Ino,
        view: Arc<DirView>,
        entries: BTreeMap<Name, Entry>,
        began: Instant,
    ) -> Result<Outdated, FsError> {
        let folder = self.folder_mut(ino)?;
        let before = std::mem::replace(&mut folder.entries, entries);
        (folder.view, folder.checked) = (Some(view.clone()), Some(began));
        let known = folder.names.iter().map(|(name, ino)| (name.clone(), *ino)).collect();
        let compared = self.compare(ino, &view, known, &before);
        if compared.is_err() {
            // The journal takes nothing. Next time it is read and compared once more.
            let folder = self.folder_mut(ino)?;
            (folder.entries, folder.view, folder.checked) = (before, None, None);
        }
        compared
    }

    /// The same of the entries that changed.
    fn take_in_changes(
        &mut self,
        ino: Ino,
        view: Arc<DirView>,
        changes: Vec<Change>,
        began: Instant,
    ) -> Result<Outdated, FsError> {
        let folder = self.folder_mut(ino)?;
        (folder.view, folder.checked) = (Some(view.clone()), Some(began));
        let (mut known, mut before) = (Vec::new(), BTreeMap::new());
        for Change { name, new, .. } in changes {
            known.extend(folder.names.get(&name).map(|child| (name.clone(), *child)));
            let old = match new {
                Some(new) => folder.entries.insert(name.clone(), new),
                None => folder.entries.remove(&name),
            };
            before.extend(old.map(|old| (name, old)));
        }
        let compared = self.compare(ino, &view, known, &before);
        if compared.is_err() {
            let folder = self.folder_mut(ino)?;
            folder.entries.extend(before);
            (folder.view, folder.checked) = (None, None);
        }
        compared
    }

    /// What became of these things in a folder, given what their names led to before.
    fn compare(
        &mut self,
        ino: Ino,
        view: &DirView,
        known: Vec<(Name, Ino)>,
        before: &BTreeMap<Name, Entry>,
    ) -> Result<Outdated, FsError> {
        let mut outdated = Outdated::default();
        for (name, child) in known {
            let folder = self.folder(ino)?;
            if folder.owed.contains_key(&name) {
                continue;
            }
            let entry = folder.entries.get(&name).cloned();
            if entry.is_some() && entry.as_ref() == before.get(&name) {
                continue;
            }
            let node = self.node(child)?;
            let (kind, is) = (node.kind(), entry.as_ref().map(identity));
            let stored = node.child.as_ref().map(|child| identity_of(&child.caps.read, &node.meta));
            let same = before.get(&name).map(identity) == is || (is.is_some() && stored == is);
            match entry {
                // Somebody removed or replaced it, and something was put into it here: it comes back.
                _ if !same && self.owes_below(child) => {
                    self.owe_again((ino, &name), child, before.get(&name).cloned())?;
                }
                // Whoever has it open to write goes on with what was opened.
                _ if !same && self.is_written(child) => {
                    self.node_mut(child)?.parted = true;
                    self.folder_mut(ino)?.names.remove(&name);
                    outdated.names.push(name);
                }
                Some(entry) if kind == Node::of(view, &entry, (ino, name.clone())).kind() => {
                    if !same {
                        outdated.contents.push(child);
                    }
                    self.node_mut(child)?.renew(view, &entry);
                }
                _ => {
                    self.node_mut(child)?.place = None;
                    self.folder_mut(ino)?.names.remove(&name);
                    self.drop_idle(child);
                    outdated.names.push(name);
                }
            }
        }
        Ok(outdated)
    }

    /// A name shall lead to what it led to before somebody else changed it: where something else stands there now, that is kept as well.
    fn owe_again(
        &mut self,
        (folder, name): (Ino, &Name),
        child: Ino,
        before: Option<Entry>,
    ) -> Result<(), FsError> {
        let entries = |state: &mut Self, entry: Option<Entry>| -> Result<Option<Entry>, FsError> {
            let entries = &mut state.folder_mut(folder)?.entries;
            let there = entries.remove(name);
            if let Some(entry) = entry {
                entries.insert(name.clone(), entry);
            }
            Ok(there)
        };
        // What is owed begins with what was known when it was.
        let now = entries(self, before)?;
        let owed = self.owe(folder, name, Some(child));
        entries(self, now)?;
        owed
    }

    /// How many names the grid does not know yet.
    pub(crate) fn owed_names(&self) -> usize {
        let owed = |ino: &Ino| self.folder(*ino).map_or(0, |folder| folder.owed.len());
        self.owing.iter().filter(|ino| self.is_reached(**ino)).map(owed).sum()
    }

    /// Whether anything in this folder or below it is owed.
    fn owes_below(&self, above: Ino) -> bool {
        let within = |ino: &Ino| *ino == above || self.above(*ino).any(|(folder, _)| folder == above);
        self.owing.iter().any(within)
    }

    /// Whether this, or anything below it, is open to be written.
    fn is_written(&self, above: Ino) -> bool {
        let written = |ino: &Ino| self.file(*ino).is_ok_and(|file| file.writers > 0);
        if self.folder(above).is_err() {
            return written(&above);
        }
        let within = |ino: &Ino| *ino == above || self.above(*ino).any(|(folder, _)| folder == above);
        self.inos().iter().any(|ino| written(ino) && within(ino))
    }
}
