//! Folders that are removed: what was in them then, so that what somebody else puts into one meanwhile does not go with it.

use std::collections::HashSet;
use std::sync::Arc;

use client::filestore::Child;
use encoding::directory::Name;
use encoding::slot::RecordHash;

use super::{State, identity, identity_of};
use crate::journal::{ChildRow, EmptiedRow, MetaRow, Record};
use crate::types::Ino;

/// So many marks in one record of the journal.
const MARKS: usize = 64 * 1024;

/// A folder that was empty here when it was removed.
#[derive(Debug)]
pub(crate) struct Emptied {
    /// It, as it is on the grid, with its attributes.
    pub(crate) child: Child,
    /// What was known to be in it there, or on its way: all of that was taken out here.
    pub(crate) known: HashSet<Mark>,
    /// As it was read last: while that is so, nothing was added.
    pub(crate) version: Option<RecordHash>,
}

/// The same, and the change by which it went.
pub(crate) type Gone = (u64, Arc<Emptied>);

/// A name and what it led to.
pub(crate) type Mark = [u8; 16];

pub(crate) fn mark(name: &Name, is: &str) -> Mark {
    let mut mark = [0; 16];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(name.as_str().len() as u64).to_le_bytes());
    hasher.update(name.as_str().as_bytes()).update(is.as_bytes()).finalize_xof().fill(&mut mark);
    mark
}

impl Emptied {
    pub(crate) fn identity(&self) -> String {
        identity_of(&self.child.caps.read, &self.child.metadata)
    }

    /// What the journal is told of it, below the name that it had.
    pub(super) fn records(&self, seq: u64, folder: u64, name: &str) -> Vec<Record> {
        let known: Vec<Mark> = self.known.iter().copied().collect();
        let record = |child: Option<ChildRow>, meta: MetaRow, marks: &[Mark]| {
            let known = marks.as_flattened().to_vec().into();
            let row = Box::new(EmptiedRow { child, meta, known, seq });
            Record::Emptied { folder, name: name.to_owned(), row }
        };
        let (first, more) = known.split_at(known.len().min(MARKS));
        let first = record(Some(ChildRow::new(&self.child)), (&self.child.metadata).into(), first);
        let more = more.chunks(MARKS).map(|marks| record(None, MetaRow::default(), marks));
        std::iter::once(first).chain(more).collect()
    }
}

impl State {
    /// The same, as the journal tells it.
    pub(super) fn replay_emptied(&mut self, folder: Ino, name: &str, row: EmptiedRow) {
        let Ok(name) = Name::from_stored(name) else { return };
        let Ok(parent) = self.folder_mut(folder) else { return };
        let Some(owed) = parent.owed.get_mut(&name) else { return };
        let EmptiedRow { child, meta, known, seq } = row;
        let marks = known.as_chunks::<{ size_of::<Mark>() }>().0.iter().copied();
        match child.map(|child| child.child(false)) {
            Some(Some(child)) => {
                let child = child.with(meta.into());
                let emptied = Emptied { child, known: marks.collect(), version: None };
                owed.emptied.push((seq, Arc::new(emptied)));
            }
            Some(None) => {}
            None => {
                if let Some(emptied) = owed.emptied.last_mut().and_then(|(_, emptied)| Arc::get_mut(emptied))
                {
                    emptied.known.extend(marks);
                }
            }
        }
    }

    /// What the change `seq` is to remember of a folder that it removes: the folder itself first, then those that were removed from
    /// below it and stand there on the grid still. Nothing of one that the grid does not have.
    pub(super) fn emptied(&self, ino: Ino, seq: u64) -> Vec<Gone> {
        let (Ok(node), Ok(folder)) = (self.node(ino), self.folder(ino)) else { return Vec::new() };
        let Some(child) = &node.child else { return Vec::new() };
        let there = folder.entries.iter().map(|(name, entry)| mark(name, &identity(entry)));
        let on_its_way = folder
            .owed
            .iter()
            .flat_map(|(name, owed)| owed.sent.iter().chain(&owed.base).map(|is| mark(name, is)));
        let known = there.chain(on_its_way).collect();
        let version = folder.view.as_ref().and_then(|view| view.version());
        let child = child.clone().with(node.meta.clone());
        let below = folder.owed.values().flat_map(|owed| owed.emptied.iter().map(|(_, below)| below.clone()));
        let own = Arc::new(Emptied { child, known, version });
        std::iter::once(own).chain(below).map(|emptied| (seq, emptied)).collect()
    }
}
