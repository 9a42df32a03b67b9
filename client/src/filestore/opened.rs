//! What slots of directories say, as it was opened last: whoever follows paths asks about the same few again and again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use encoding::directory::{Entry, Name, NodeRef};
use encoding::slot::RecordHash;

/// Changes of a directory since its tree was written.
pub(super) type Edits = BTreeMap<Name, Option<Entry>>;

/// A record, and the key that opened it: who knows the one and not the other is shown nothing.
pub(super) type SlotVersion = (RecordHash, [u8; 16]);

/// Of how many slots that is remembered, at most.
const MAX: usize = 256;

/// A directory's slot, opened.
#[derive(Clone)]
pub(super) struct OpenedSlot {
    pub(super) base: Option<NodeRef>,
    pub(super) edits: Arc<Edits>,
}

/// Slots that were opened lately. A record never changes, so that none is ever out of date.
#[derive(Default)]
pub(crate) struct OpenedSlots(Mutex<HashMap<SlotVersion, OpenedSlot>>);

impl OpenedSlots {
    pub(super) fn get(&self, version: &SlotVersion) -> Option<OpenedSlot> {
        self.lock().get(version).cloned()
    }

    pub(super) fn put(&self, version: SlotVersion, slot: OpenedSlot) {
        let mut opened = self.lock();
        // Those in use are soon there again.
        if opened.len() >= MAX && !opened.contains_key(&version) {
            opened.clear();
        }
        opened.insert(version, slot);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SlotVersion, OpenedSlot>> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}
