//! Folders that are removed: what was in them then, so that what somebody else puts into one meanwhile does not go with it.

use std::collections::HashSet;
use std::sync::Arc;

use client::filestore::Child;
use encoding::directory::Name;
use encoding::slot::RecordHash;

use super::names::Want;
use super::{Owed, State, identity, identity_of};
use crate::error::FsError;
use crate::journal::{ChildRow, EmptiedRow, MetaRow, NameRow, Record};
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

impl Owed {
    /// What the journal is told of it.
    pub(super) fn row(&self, folder: Ino, name: &Name) -> NameRow {
        NameRow {
            folder: folder.0,
            name: name.to_string(),
            to: self.to.map(|ino| ino.0),
            base: self.base.clone(),
            seq: self.seq,
            moved: self.moved.iter().map(|ino| ino.0).collect(),
            sent: self.sent.clone(),
        }
    }

    /// The folders that were removed under this name, each with those below it: the first of each is the one that had the name.
    pub(crate) fn removals(&self) -> impl Iterator<Item = &[Gone]> {
        self.emptied.chunk_by(|(one, _), (other, _)| one == other)
    }
}

impl State {
    /// The same, as the journal tells it: of the change that comes next.
    pub(super) fn replay_emptied(&mut self, folder: Ino, name: &str, row: EmptiedRow) {
        let Ok(name) = Name::from_stored(name) else { return };
        let EmptiedRow { child, meta, known, seq } = row;
        let marks = known.as_chunks::<{ size_of::<Mark>() }>().0.iter().copied();
        match child.map(|child| child.child(false)) {
            Some(Some(child)) => {
                let child = child.with(meta.into());
                let emptied = Emptied { child, known: marks.collect(), version: None };
                self.told.push((folder, name, (seq, Arc::new(emptied))));
            }
            Some(None) => {}
            None => {
                if let Some(emptied) =
                    self.told.last_mut().and_then(|(.., (_, emptied))| Arc::get_mut(emptied))
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

    /// Tells the journal of changes of names, and before them what goes with them. What else is to remember what goes: the names that
    /// something had which was renamed and is removed now.
    pub(super) fn log_names(
        &mut self,
        wanted: &[Want<'_>],
        rows: &[NameRow],
        removed: &[Vec<Gone>],
    ) -> Result<Vec<(Ino, Name, Vec<Gone>)>, FsError> {
        let left: Vec<(Ino, Name, Vec<Gone>)> =
            wanted.iter().filter_map(|want| want.removed).flat_map(|ino| self.left_by(ino)).collect();
        let mut all = rows.to_vec();
        for (row, emptied) in rows.iter().zip(removed) {
            let new = emptied.iter().filter(|(seq, _)| *seq == row.seq);
            let records: Vec<Record> =
                new.flat_map(|(seq, emptied)| emptied.records(*seq, row.folder, &row.name)).collect();
            records.iter().try_for_each(|record| self.log(record))?;
        }
        for (folder, name, gone) in &left {
            let records: Vec<Record> = gone
                .iter()
                .flat_map(|(seq, emptied)| emptied.records(*seq, folder.0, name.as_str()))
                .collect();
            records.iter().try_for_each(|record| self.log(record))?;
            if let Some(owed) = self.folder(*folder)?.owed.get(name) {
                all.push(owed.row(*folder, name));
            }
        }
        self.log(&Record::Names(all))?;
        Ok(left)
    }

    /// Where the grid may still have a folder that was renamed: there it is removed as well, with what is to be remembered of it.
    fn left_by(&self, ino: Ino) -> Vec<(Ino, Name, Vec<Gone>)> {
        let folders = self.owing.iter().filter_map(|folder| Some((*folder, self.folder(*folder).ok()?)));
        let names =
            folders.flat_map(|(at, folder)| folder.owed.iter().map(move |(name, owed)| (at, name, owed)));
        let left = names.filter(|(.., owed)| owed.moved.contains(&ino));
        let left = left.map(|(at, name, owed)| (at, name.clone(), self.emptied(ino, owed.seq)));
        left.filter(|(.., gone)| !gone.is_empty()).collect()
    }
}
