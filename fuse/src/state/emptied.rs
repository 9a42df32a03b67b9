//! Folders that are removed: what was in them then, so that what somebody else puts into one meanwhile does not go with it.

use std::collections::HashSet;
use std::sync::Arc;

use client::filestore::Child;
use encoding::directory::Name;
use encoding::slot::RecordHash;

use super::{State, identity, identity_of};
use crate::types::Ino;

/// A folder that was empty here when it was removed.
#[derive(Debug)]
pub(crate) struct Emptied {
    /// It, as it is on the grid, with its attributes.
    pub(crate) child: Child,
    /// What was known to be in it there, or on its way: all of that was taken out here.
    pub(crate) known: HashSet<Mark>,
    /// As it was read last: while that is so, nothing was added.
    pub(crate) version: Option<RecordHash>,
    /// The change that removed it.
    pub(crate) seq: u64,
}

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
}

impl State {
    /// What the change `seq` is to remember of a folder that it removes: the folder itself first, then those that were removed from
    /// below it and stand there on the grid still. Nothing of one that the grid does not have.
    pub(super) fn emptied(&self, ino: Ino, seq: u64) -> Vec<Arc<Emptied>> {
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
        let below = folder.owed.values().flat_map(|owed| owed.emptied.iter().cloned());
        std::iter::once(Arc::new(Emptied { child, known, version, seq })).chain(below).collect()
    }
}
