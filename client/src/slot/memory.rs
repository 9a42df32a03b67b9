//! What this client remembers of slots from one run to the next: the highest ballot it saw confirmed, and per store the ballot that the
//! store acknowledged to it. A store that later shows less than that has forgotten or lies; others are merely behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use caps::VerifyHash;
use encoding::slot::{Ballot, SignedRecord};
use minicbor::{Decode, Encode};
use protocol::NodeId;
use protocol::message::Bytes32;

use super::ask::Shown;
use super::lock;

const VERSION: u16 = 1;
/// More than any slot's memory.
const MAX_FILE_LEN: u64 = 256 * 1024;
/// Slots kept in memory; what is dropped is in its file.
const ENTRIES_MAX: usize = 16 * 1024;
/// Changes that wait to be written; a client that is killed loses no more than these.
const CHANGED_MAX: usize = 1024;

/// A store that shows less than it acknowledged to this client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forgetful {
    /// The store.
    pub store: NodeId,
    /// The ballot it acknowledged.
    pub acknowledged: Ballot,
    /// The ballot it shows now.
    pub shows: Ballot,
}

/// What is remembered of slots, in memory and, for a client with a directory, in one small file for each slot.
#[derive(Debug, Default)]
pub struct SlotMemory {
    folder: Option<PathBuf>,
    entries: Mutex<BTreeMap<VerifyHash, Entry>>,
    changed: Mutex<BTreeSet<VerifyHash>>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    confirmed: Ballot,
    acknowledged: BTreeMap<NodeId, (u64, Ballot)>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct File {
    #[n(0)]
    version: u16,
    #[n(1)]
    hash: Bytes32,
    #[n(2)]
    confirmed: Bytes32,
    #[n(3)]
    acknowledged: Vec<Row>,
}

#[derive(Encode, Decode)]
struct Row {
    #[n(0)]
    store: NodeId,
    #[n(1)]
    incarnation: u64,
    #[n(2)]
    ballot: Bytes32,
}

impl SlotMemory {
    /// Memory that lasts as long as the process.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Memory kept in `folder`.
    pub fn kept_in(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), ..Self::default() }
    }

    /// Writes what changed. One file that cannot be written costs the memory of one slot, and is logged.
    pub fn save(&self) {
        let Some(folder) = &self.folder else { return };
        let changed: Vec<(VerifyHash, Entry)> = {
            let (entries, mut changed) = (lock(&self.entries), lock(&self.changed));
            let taken = std::mem::take(&mut *changed).into_iter();
            taken.filter_map(|hash| Some((hash, entries.get(&hash)?.clone()))).collect()
        };
        for (hash, entry) in changed {
            if let Err(error) = write(folder, &hash, entry) {
                tracing::warn!(%error, "what a slot's stores acknowledged is not remembered");
            }
        }
    }

    /// The highest ballot this client saw confirmed.
    pub(crate) fn confirmed(&self, hash: &VerifyHash) -> Option<Ballot> {
        self.with(hash, |entry| entry.confirmed).filter(|ballot| *ballot != Ballot::default())
    }

    /// Stores that acknowledged more than `ballot`.
    pub(crate) fn acknowledged(&self, hash: &VerifyHash, shows: Ballot) -> Vec<Forgetful> {
        let above = |entry: &Entry| {
            let rows = entry.acknowledged.iter().filter(|(_, (_, acknowledged))| *acknowledged > shows);
            rows.map(|(store, (_, acknowledged))| Forgetful {
                store: *store,
                acknowledged: *acknowledged,
                shows,
            })
            .collect()
        };
        self.with(hash, above).unwrap_or_default()
    }

    /// Stores that once had the slot.
    pub(crate) fn stores(&self, hash: &VerifyHash) -> Vec<NodeId> {
        self.with(hash, |entry| entry.acknowledged.keys().copied().collect()).unwrap_or_default()
    }

    /// Members of `record` that show less than they acknowledged. One that is blank says itself that it forgot, and is named all the same if
    /// it acknowledged under the incarnation it still claims.
    pub(crate) fn forgetful(
        &self,
        hash: &VerifyHash,
        record: &SignedRecord,
        shown: &BTreeMap<NodeId, Shown>,
    ) -> Vec<Forgetful> {
        let below = |entry: &Entry| {
            let named = record.members().map(|member| NodeId::new(member.store));
            named
                .filter_map(|store| {
                    let (incarnation, acknowledged) = *entry.acknowledged.get(&store)?;
                    let now = shown.get(&store)?;
                    let shows = now.held.map_or(Ballot::default(), |held| held.0);
                    let forgot = now.incarnation == incarnation && shows < acknowledged;
                    forgot.then_some(Forgetful { store, acknowledged, shows })
                })
                .collect()
        };
        self.with(hash, below).unwrap_or_default()
    }

    /// Remembers a confirmed record, and which stores acknowledged what.
    pub(crate) fn remember(&self, hash: &VerifyHash, record: &SignedRecord, shown: &BTreeMap<NodeId, Shown>) {
        self.with(hash, |_| ());
        let waiting = {
            let mut entries = lock(&self.entries);
            self.make_room(&mut entries);
            let news = entries.entry(*hash).or_default().take_in(record.ballot(), shown);
            let mut changed = lock(&self.changed);
            if news {
                changed.insert(*hash);
            }
            changed.len()
        };
        if waiting >= CHANGED_MAX {
            self.save();
        }
    }

    /// Forgets a slot that was deleted.
    pub(crate) fn forget(&self, hash: &VerifyHash) {
        lock(&self.entries).remove(hash);
        lock(&self.changed).remove(hash);
        if let Some(folder) = &self.folder {
            // One that stays is of no consequence: its slot is gone for good.
            let _ = std::fs::remove_file(path(folder, hash));
        }
    }

    /// Drops what is in files, if there is too much: nothing, of a client without a directory.
    fn make_room(&self, entries: &mut BTreeMap<VerifyHash, Entry>) {
        if entries.len() >= ENTRIES_MAX && self.folder.is_some() {
            let changed = lock(&self.changed);
            entries.retain(|hash, _| changed.contains(hash));
        }
    }

    fn with<T>(&self, hash: &VerifyHash, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.get(hash) {
            return Some(look(entry));
        }
        let entry = read(self.folder.as_deref()?, hash)?;
        self.make_room(&mut entries);
        let seen = look(&entry);
        entries.insert(*hash, entry);
        Some(seen)
    }
}

impl Entry {
    /// Takes in a confirmed ballot and what stores showed; says whether any of it is new.
    fn take_in(&mut self, confirmed: Ballot, shown: &BTreeMap<NodeId, Shown>) -> bool {
        let mut news = confirmed > self.confirmed;
        self.confirmed = self.confirmed.max(confirmed);
        for (store, shown) in shown {
            let Some((ballot, _)) = shown.held else { continue };
            let old = self.acknowledged.entry(*store).or_insert((shown.incarnation, Ballot::default()));
            if old.0 != shown.incarnation || old.1 < ballot {
                *old = (shown.incarnation, ballot);
                news = true;
            }
        }
        news
    }
}

fn path(folder: &Path, hash: &VerifyHash) -> PathBuf {
    let name = hash.to_string();
    folder.join(&name[..2]).join(name)
}

/// What is damaged is as good as nothing: the memory is a help, not a record.
fn read(folder: &Path, hash: &VerifyHash) -> Option<Entry> {
    let path = path(folder, hash);
    if std::fs::metadata(&path).ok()?.len() > MAX_FILE_LEN {
        return None;
    }
    let file: File = protocol::frame::decode(&std::fs::read(path).ok()?).ok()?;
    if file.version != VERSION || file.hash.0 != *hash.as_bytes() {
        return None;
    }
    let rows = file.acknowledged.into_iter();
    let acknowledged = rows.map(|row| (row.store, (row.incarnation, Ballot::parse(&row.ballot.0)))).collect();
    Some(Entry { confirmed: Ballot::parse(&file.confirmed.0), acknowledged })
}

/// Takes in what another process of this client remembered meanwhile, and writes the whole.
fn write(folder: &Path, hash: &VerifyHash, mut entry: Entry) -> std::io::Result<()> {
    if let Some(other) = read(folder, hash) {
        entry.confirmed = entry.confirmed.max(other.confirmed);
        for (store, (incarnation, ballot)) in other.acknowledged {
            let mine = entry.acknowledged.entry(store).or_insert((incarnation, ballot));
            if mine.0 == incarnation {
                mine.1 = mine.1.max(ballot);
            }
        }
    }
    let row = |(store, (incarnation, ballot)): (NodeId, (u64, Ballot))| Row {
        store,
        incarnation,
        ballot: Bytes32(ballot.to_bytes()),
    };
    let file = File {
        version: VERSION,
        hash: Bytes32(*hash.as_bytes()),
        confirmed: Bytes32(entry.confirmed.to_bytes()),
        acknowledged: entry.acknowledged.into_iter().map(row).collect(),
    };
    let bytes = minicbor::to_vec(&file).expect("writing to a Vec cannot fail");
    let path = path(folder, hash);
    let dir = path.parent().unwrap_or(folder);
    std::fs::create_dir_all(dir)?;
    // Not synced: what a power cut takes is the memory of the last seconds.
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, &path)
}
