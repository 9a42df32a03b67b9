//! Small files that will probably be read next: who reads a folder's files in their order is given the next ones before asking.

use caps::Cap;
use encoding::directory::{EntryKind, Name};

use crate::mount::Inner;
use crate::state::{Folder, State};
use crate::types::Ino;

/// The longest file that is fetched unasked.
const LONGEST: u64 = 256 * 1024;
/// How many of them.
const AHEAD: usize = 16;
/// Whoever passes over so many files does not read them in their order.
const STEP: usize = 8;

impl Inner {
    /// A file is opened to be read: fetches those after it in its folder, if the one opened before stands shortly before it.
    pub(crate) fn fetch_neighbours(&self, ino: Ino) {
        let Some(next) = self.state().neighbours(ino) else { return };
        for content in next {
            let (Ok(stored), blocks) = (self.stored(None, &content), self.blocks.clone()) else { continue };
            if stored.size > 0 && !blocks.has(stored.hash) {
                // Fetched or not, whoever wants it asks for it.
                tokio::spawn(async move { drop(blocks.read(&stored, 0..stored.size).await) });
            }
        }
    }
}

impl State {
    /// Short files that come after this one.
    fn neighbours(&mut self, ino: Ino) -> Option<Vec<Cap>> {
        let (at, name) = self.above(ino).next().map(|(at, name)| (at, name.clone()))?;
        let folder = self.folder_mut(at).ok()?;
        let before = folder.opened_last.replace(name.clone())?;
        let passed = folder.entries.range(&before..).take_while(|(passed, _)| **passed < name).take(STEP + 1);
        let goes_on = before < name && passed.count() <= STEP;
        goes_on.then(|| folder.short_files_after(&name))
    }
}

impl Folder {
    fn short_files_after(&self, name: &Name) -> Vec<Cap> {
        let after = self.entries.range(name..).skip(1).take(AHEAD);
        let short = after.filter(|(name, entry)| {
            entry.kind == EntryKind::File && !self.owed.contains_key(*name)
                // What has no size of its own may change, and is asked for when it is opened.
                && matches!(&entry.cap, Cap::ImmutableRead(cap) if cap.size <= LONGEST)
        });
        short.map(|(_, entry)| entry.cap.clone()).collect()
    }
}
