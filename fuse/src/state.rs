//! All that the mount knows: files and folders with their numbers, what the grid says of them, and what is owed to it.
//!
//! What is shown is what the grid said last with what was changed here over it. A change is a name in a folder that shall lead to
//! something else, or to nothing; content and attributes travel with the name.

mod emptied;
#[cfg(test)]
mod facts;
mod names;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use caps::Cap;
use client::filestore::{Child, DirView};
use encoding::directory::{ChildCaps, Entry, Metadata, Name};
use tokio::time::Instant;

use crate::error::FsError;
use crate::file::File;
use crate::journal::{Journal, NodeKind, NodeRow, Point, Record};
use crate::types::{Attr, Ino, Kind, Owner, ROOT};

pub(crate) use emptied::{Emptied, Gone, mark};

pub(crate) struct State {
    nodes: HashMap<Ino, Node>,
    next: u64,
    seq: u64,
    /// Folders with names that the grid does not know yet.
    pub(crate) owing: BTreeSet<Ino>,
    /// What the journal told of folders that are removed by a change that it tells of next.
    told: Vec<(Ino, Name, Gone)>,
    journal: Option<Journal>,
    /// Bytes of files that the grid does not have.
    pub(crate) dirty: u64,
    /// Why nothing can be stored just now: the next call that writes is told.
    pub(crate) trouble: Option<FsError>,
    /// Whose the entries are that do not say.
    pub(crate) owner: Owner,
    /// This machine's name, for copies of what others changed at the same time.
    pub(crate) host: String,
    /// Whether the names in folders may change.
    pub(crate) read_only: bool,
}

/// A file or folder.
pub(crate) struct Node {
    pub(crate) what: What,
    pub(crate) meta: Metadata,
    /// Its capabilities; `None`: it was never stored.
    pub(crate) child: Option<Child>,
    /// The folder that it stands in, and its name there. The root stands nowhere, nor does what was removed.
    pub(crate) place: Option<(Ino, Name)>,
    /// How often the kernel was told of it and has not forgotten it.
    pub(crate) lookups: u64,
    /// Open handles.
    pub(crate) opens: u32,
    /// The number of the last change of the name that leads to it which the grid took.
    pub(crate) linked: u64,
    /// Whether somebody else gave its name to something else, or took it out, while it is open to be written.
    pub(crate) parted: bool,
    /// Whether the journal knows it.
    logged: bool,
}

pub(crate) enum What {
    Folder(Folder),
    File(File),
    Symlink,
    Unknown,
}

#[derive(Default)]
pub(crate) struct Folder {
    /// As it was read last; `None`: it was not, or the grid does not have it.
    pub(crate) view: Option<Arc<DirView>>,
    pub(crate) entries: BTreeMap<Name, Entry>,
    /// Whether it is only the newest that was seen when it was read last: no quorum said so.
    pub(crate) doubtful: bool,
    /// When that was known to be so.
    pub(crate) checked: Option<Instant>,
    /// Children that have numbers.
    pub(crate) names: HashMap<Name, Ino>,
    pub(crate) owed: BTreeMap<Name, Owed>,
    /// The file in it that was opened last to be read.
    pub(crate) opened_last: Option<Name>,
    /// One reads it at a time.
    pub(crate) reading: Arc<tokio::sync::Mutex<()>>,
}

/// A name that shall lead to something else than the grid says.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    pub(crate) to: Option<Ino>,
    /// What it led to on the grid when it was changed first, as [`identity`] has it.
    pub(crate) base: Option<String>,
    pub(crate) seq: u64,
    pub(crate) since: Instant,
    /// What the grid may say by now, since it was asked to and did not answer, or has not yet.
    pub(crate) sent: Vec<String>,
    /// What it led to, and that got other names: it is taken out here once it stands there.
    pub(crate) moved: Vec<Ino>,
    /// Of a folder that was removed here: that folder, and those that were removed from below it.
    pub(crate) emptied: Vec<Gone>,
    /// Whether this is on its way.
    pub(crate) sending: bool,
}

/// What an entry leads to: as long as it is the same, nobody else has replaced it.
pub(crate) fn identity(entry: &Entry) -> String {
    identity_of(&entry.cap, &entry.metadata)
}

/// The same of what an entry is to say.
pub(crate) fn identity_of(read: &Cap, metadata: &Metadata) -> String {
    match &metadata.symlink {
        Some(target) => format!("-> {}", String::from_utf8_lossy(target)),
        None => read.to_string(),
    }
}

fn of_the_disk(error: &std::io::Error) -> FsError {
    tracing::error!(%error, "the journal cannot be written");
    if error.kind() == std::io::ErrorKind::StorageFull { FsError::NoSpace } else { FsError::Io }
}

impl State {
    pub(crate) fn new(root: Child, owner: Owner, read_only: bool) -> Self {
        let node = Node::bare(What::Folder(Folder::default()), Metadata::default(), Some(root), None);
        let node = Node { lookups: 1, logged: true, ..node };
        Self {
            nodes: HashMap::from([(ROOT, node)]),
            next: ROOT.0 + 1,
            seq: 0,
            owing: BTreeSet::new(),
            told: Vec::new(),
            journal: None,
            dirty: 0,
            trouble: None,
            owner,
            host: String::new(),
            read_only,
        }
    }

    pub(crate) fn keep_in(&mut self, journal: Journal) {
        self.journal = Some(journal);
    }

    /// Changes a file's content, and counts what the grid does not have of it.
    pub(crate) fn change<T>(&mut self, ino: Ino, change: impl FnOnce(&mut File) -> T) -> Result<T, FsError> {
        let file = self.file_mut(ino)?;
        let before = file.dirty();
        let done = change(file);
        let after = file.dirty();
        self.dirty = self.dirty - before + after;
        Ok(done)
    }

    pub(crate) fn node(&self, ino: Ino) -> Result<&Node, FsError> {
        self.nodes.get(&ino).ok_or(FsError::Stale)
    }

    pub(crate) fn node_mut(&mut self, ino: Ino) -> Result<&mut Node, FsError> {
        self.nodes.get_mut(&ino).ok_or(FsError::Stale)
    }

    pub(crate) fn folder(&self, ino: Ino) -> Result<&Folder, FsError> {
        match &self.node(ino)?.what {
            What::Folder(folder) => Ok(folder),
            _ => Err(FsError::NotADirectory),
        }
    }

    pub(crate) fn folder_mut(&mut self, ino: Ino) -> Result<&mut Folder, FsError> {
        match &mut self.node_mut(ino)?.what {
            What::Folder(folder) => Ok(folder),
            _ => Err(FsError::NotADirectory),
        }
    }

    pub(crate) fn file(&self, ino: Ino) -> Result<&File, FsError> {
        match &self.node(ino)?.what {
            What::File(file) => Ok(file),
            What::Folder(_) => Err(FsError::IsADirectory),
            _ => Err(FsError::Invalid),
        }
    }

    pub(crate) fn file_mut(&mut self, ino: Ino) -> Result<&mut File, FsError> {
        match &mut self.node_mut(ino)?.what {
            What::File(file) => Ok(file),
            What::Folder(_) => Err(FsError::IsADirectory),
            _ => Err(FsError::Invalid),
        }
    }

    /// Adds a fact to the journal, if there is one. What cannot be written there is not done.
    pub(crate) fn log(&mut self, record: &Record) -> Result<(), FsError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let Err(error) = journal.append(record) else { return Ok(()) };
        // Whoever asked hears of it in any case; the next one may find it well again.
        let _ = self.begin_journal_anew();
        Err(of_the_disk(&error))
    }

    /// What is to be synced to make the journal durable. One that failed before is begun anew.
    pub(crate) fn begin_sync(&mut self) -> Result<Option<(Arc<std::fs::File>, Point)>, FsError> {
        match &self.journal {
            Some(journal) if journal.is_broken() => self.begin_journal_anew().map(|()| None),
            Some(journal) if journal.is_dirty() => Ok(Some(journal.to_sync())),
            _ => Ok(None),
        }
    }

    /// That was done.
    pub(crate) fn synced(&mut self, point: Point, synced: std::io::Result<()>) -> Result<(), FsError> {
        if let Some(journal) = &mut self.journal {
            journal.synced(point, synced.is_ok());
        }
        synced.map_err(|error| of_the_disk(&error))
    }

    /// Begins the journal anew, with all that is owed and nothing else.
    pub(crate) fn begin_journal_anew(&mut self) -> Result<(), FsError> {
        if self.journal.is_none() {
            return Ok(());
        }
        let records = self.checkpoint();
        let begun = self.journal.as_mut().map_or(Ok(()), |journal| journal.restart(records));
        begun.map_err(|error| of_the_disk(&error))?;
        for node in self.nodes.values_mut() {
            if let What::File(file) = &mut node.what {
                file.all_in_journal();
            }
        }
        Ok(())
    }

    pub(crate) fn journal_len(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::len)
    }

    /// Where something stands.
    fn place(&self, ino: Ino) -> Option<(Ino, &Name)> {
        self.nodes.get(&ino)?.place.as_ref().map(|(folder, name)| (*folder, name))
    }

    /// The folders above, from the one in which it stands on, each with the name that leads from it.
    pub(crate) fn above(&self, ino: Ino) -> impl Iterator<Item = (Ino, &Name)> {
        std::iter::successors(self.place(ino), |(folder, _)| self.place(*folder))
    }

    /// Whether it stands below the root.
    pub(crate) fn is_reached(&self, ino: Ino) -> bool {
        self.above(ino).last().map_or(ino, |(folder, _)| folder) == ROOT
    }

    /// Makes sure that the journal knows what this number is.
    pub(crate) fn log_node(&mut self, ino: Ino) -> Result<(), FsError> {
        if self.node(ino)?.logged || self.journal.is_none() {
            return Ok(());
        }
        // Whoever leads to it first.
        if let Some((folder, _)) = self.node(ino)?.place.clone() {
            self.log_node(folder)?;
        }
        let row = self.row(ino)?;
        self.log(&Record::Node(Box::new(row)))?;
        self.node_mut(ino)?.logged = true;
        Ok(())
    }

    fn row(&self, ino: Ino) -> Result<NodeRow, FsError> {
        let node = self.node(ino)?;
        let (kind, size) = match &node.what {
            What::Folder(_) => (NodeKind::Folder, 0),
            What::File(file) => (NodeKind::File, file.size),
            What::Symlink => (NodeKind::Symlink, 0),
            What::Unknown => (NodeKind::Unknown, 0),
        };
        Ok(NodeRow {
            ino: ino.0,
            kind,
            child: node.child.as_ref().map(crate::journal::ChildRow::new),
            meta: (&node.meta).into(),
            size,
            place: node.place.as_ref().map(|(folder, name)| (folder.0, name.to_string())),
            content: match &node.what {
                What::File(file) => file.content.as_ref().map(Cap::to_string),
                _ => None,
            },
        })
    }

    /// A new file, folder or link that the grid does not have.
    pub(crate) fn add(&mut self, node: Node) -> Ino {
        let ino = Ino(self.next);
        self.next += 1;
        self.nodes.insert(ino, node);
        ino
    }

    /// The number of what stands under this name, given one if it has none. `None`: nothing does.
    pub(crate) fn child_at(&mut self, folder: Ino, name: &Name) -> Result<Option<Ino>, FsError> {
        let parent = self.folder(folder)?;
        if let Some(owed) = parent.owed.get(name) {
            return Ok(owed.to);
        }
        if let Some(ino) = parent.names.get(name) {
            return Ok(Some(*ino));
        }
        let (Some(entry), Some(view)) = (parent.entries.get(name), &parent.view) else { return Ok(None) };
        let node = Node::of(view, entry, (folder, name.clone()));
        let ino = self.add(node);
        self.folder_mut(folder)?.names.insert(name.clone(), ino);
        Ok(Some(ino))
    }

    /// The names that a folder shows.
    pub(crate) fn list(&self, folder: Ino) -> Result<Vec<Name>, FsError> {
        let folder = self.folder(folder)?;
        let gone = |name: &&Name| folder.owed.get(*name).is_some_and(|owed| owed.to.is_none());
        let mut names: Vec<Name> = folder.entries.keys().filter(|name| !gone(name)).cloned().collect();
        let new =
            folder.owed.iter().filter(|(name, owed)| owed.to.is_some() && !folder.entries.contains_key(name));
        names.extend(new.map(|(name, _)| name.clone()));
        names.sort_unstable();
        Ok(names)
    }

    pub(crate) fn attr(&self, ino: Ino) -> Result<Attr, FsError> {
        Ok(crate::attr::of(ino, self.node(ino)?, self.owner))
    }

    /// The kernel was told of it once more.
    pub(crate) fn looked_up(&mut self, ino: Ino) -> Result<Attr, FsError> {
        self.node_mut(ino)?.lookups += 1;
        self.attr(ino)
    }

    /// The kernel forgot it so many times.
    pub(crate) fn forget(&mut self, ino: Ino, times: u64) {
        if let Ok(node) = self.node_mut(ino) {
            node.lookups = node.lookups.saturating_sub(times);
            self.drop_idle(ino);
        }
    }

    /// Drops what nobody holds and nothing is owed of, and then what stands above it.
    pub(crate) fn drop_idle(&mut self, mut ino: Ino) {
        while let Some(node) =
            self.nodes.get(&ino).filter(|node| ino != ROOT && node.lookups == 0 && node.opens == 0)
        {
            let place = node.place.clone();
            let busy = match &node.what {
                What::Folder(folder) => !folder.names.is_empty() || !folder.owed.is_empty(),
                What::File(file) => file.frozen.is_some(),
                _ => false,
            };
            let owed = |(folder, name): &(Ino, Name)| {
                self.folder(*folder)
                    .is_ok_and(|folder| folder.owed.get(name).is_some_and(|owed| owed.to == Some(ino)))
            };
            if busy || place.as_ref().is_some_and(owed) {
                return;
            }
            if let Some(Node { what: What::File(file), .. }) = self.nodes.remove(&ino) {
                self.dirty -= file.dirty();
            }
            let Some((folder, name)) = place else { return };
            if let Ok(parent) = self.folder_mut(folder)
                && parent.names.get(&name) == Some(&ino)
            {
                parent.names.remove(&name);
            }
            ino = folder;
        }
    }

    pub(crate) fn inos(&self) -> Vec<Ino> {
        self.nodes.keys().copied().collect()
    }
}

impl Node {
    /// What an entry of a folder leads to.
    pub(crate) fn of(view: &DirView, entry: &Entry, place: (Ino, Name)) -> Self {
        let child = Some(child_of(view, entry));
        Self::bare(What::of(entry), entry.metadata.clone(), child, Some(place))
    }

    /// Something new.
    pub(crate) fn new(what: What, meta: Metadata, place: (Ino, Name)) -> Self {
        Self::bare(what, meta, None, Some(place))
    }

    fn bare(what: What, meta: Metadata, child: Option<Child>, place: Option<(Ino, Name)>) -> Self {
        Self { what, meta, child, place, lookups: 0, opens: 0, linked: 0, parted: false, logged: false }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.what {
            What::Folder(_) => Kind::Folder,
            What::File(_) => Kind::File,
            What::Symlink => Kind::Symlink,
            What::Unknown => Kind::Unknown,
        }
    }

    /// What the journal says of it is out of date.
    pub(crate) fn say_anew(&mut self) {
        self.logged = false;
    }

    /// The grid says something else of it by now.
    pub(crate) fn renew(&mut self, view: &DirView, entry: &Entry) {
        let same = self.child.as_ref().is_some_and(|child| child.caps.read == entry.cap);
        self.meta = entry.metadata.clone();
        self.child = Some(child_of(view, entry));
        self.say_anew();
        if let (What::File(file), false) = (&mut self.what, same) {
            file.renew(entry_size(entry));
        }
    }
}

impl What {
    pub(crate) fn of(entry: &Entry) -> Self {
        use encoding::directory::EntryKind;
        match entry.kind {
            EntryKind::Directory => Self::Folder(Folder::default()),
            EntryKind::File => Self::File(File::stored(entry_size(entry))),
            EntryKind::Symlink => Self::Symlink,
            EntryKind::Unknown => Self::Unknown,
        }
    }
}

/// The caps of an entry; its attributes are the node's. One whose write cap does not open, or belongs to something else, may be read: what
/// has no caps at all is what was made here.
fn child_of(view: &DirView, entry: &Entry) -> Child {
    let opened = view.child_of(entry);
    let caps = opened.map_or_else(|_| ChildCaps { read: entry.cap.clone(), write: None }, |child| child.caps);
    Child { caps, kind: entry.kind, salt: entry.salt, metadata: Metadata::default() }
}

/// Bytes of the file that an entry leads to: of one that may change, what was said when it was linked.
fn entry_size(entry: &Entry) -> u64 {
    entry.cap.size().or(entry.metadata.size).unwrap_or(0)
}
