//! The index of a store: where each share lies, which lengths there are, who leases what, and the counters
//! (`docs/spec/store.md`, "Index").

mod handing;
mod lazy;
mod leases;
mod listing;
mod recent;
mod rows;
mod scrubbed;
mod tally;
mod term;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use caps::VerifyHash;
use protocol::NodeId;
use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, Table,
    TableDefinition, WriteTransaction,
};

use crate::backend::BackendHealth;
use crate::slot::SlotRow;

pub(crate) use handing::Stocked;
use lazy::Lazy;
pub use leases::Reason;
pub(crate) use leases::{CONTACT_GRAIN_S, LeaseKey, Removed, SLOT_CHARGE, Scope};
pub(crate) use listing::{Listed, Wanted};
use recent::Recent;
pub(crate) use scrubbed::ScrubTotals;
pub(crate) use term::Term;

pub(crate) const INDEX_FILE: &str = "index.redb";
/// The index format this program writes, and the newest it reads. 1 had no counters of packs and accounts, and nothing to end a lease by; 2
/// did not say when leases were made, and had a table for the live bytes of packs.
pub(crate) const INDEX_FORMAT: u64 = 3;
const CACHE_LEN: usize = 12 * 1024 * 1024;

const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
const SHARES: TableDefinition<'static, &[u8; 34], &[u8; 27]> = TableDefinition::new("shares");
const LENGTHS: TableDefinition<'static, (u16, u64), u64> = TableDefinition::new("lengths");
const LEASES: TableDefinition<'static, &[u8; 52], u64> = TableDefinition::new("leases");
const ACCOUNTS: TableDefinition<'static, &[u8; 32], (u32, u64)> = TableDefinition::new("accounts");
const PACKS: TableDefinition<'static, u32, u64> = TableDefinition::new("packs");
const SLOTS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("slots");
const EXPIRY: TableDefinition<'static, &[u8; 40], ()> = TableDefinition::new("expiry");
const DYING: TableDefinition<'static, &[u8; 40], u8> = TableDefinition::new("dying");
const DUE: TableDefinition<'static, &[u8; 32], u64> = TableDefinition::new("due");
const USAGE: TableDefinition<'static, u32, &[u8; 40]> = TableDefinition::new("usage");

/// In `packs`, added to a pack's number: the row of its live bytes. A put changes both, and each table that it writes costs it a page.
pub(crate) const LIVE: u32 = 1 << 31;

pub(crate) type IndexResult<T> = Result<T, Box<redb::Error>>;

pub(crate) fn boxed(error: impl Into<redb::Error>) -> Box<redb::Error> {
    Box::new(error.into())
}

/// What a share is filed under.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShareKey {
    /// H.
    pub hash: VerifyHash,
    /// Share number.
    pub number: u16,
}

impl ShareKey {
    fn parse(bytes: &[u8; 34]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[..32]);
        Self { hash: VerifyHash::new(hash), number: u16::from_be_bytes([bytes[32], bytes[33]]) }
    }

    fn to_bytes(self) -> [u8; 34] {
        let mut out = [0; 34];
        out[..32].copy_from_slice(self.hash.as_bytes());
        // Big-endian, so that the shares of an object stand in order.
        out[32..].copy_from_slice(&self.number.to_be_bytes());
        out
    }
}

impl std::fmt::Display for ShareKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.hash, self.number)
    }
}

/// Where a share lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// In a pack; the offset is that of its record.
    Pack { pack: u32, offset: u32 },
    /// In a file of its own.
    File,
}

/// A row of the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Location {
    pub(crate) place: Place,
    /// Bytes of the share file.
    pub(crate) len: u64,
    /// Bytes of the object's ciphertext.
    pub(crate) ciphertext_len: u64,
    /// The object's placement bucket.
    pub(crate) bucket: u16,
}

impl Location {
    fn to_bytes(self) -> [u8; 27] {
        let (kind, pack, offset) = match self.place {
            Place::Pack { pack, offset } => (0, pack, offset),
            Place::File => (1, 0, 0),
        };
        let mut out = [0; 27];
        out[0] = kind;
        out[1..3].copy_from_slice(&self.bucket.to_le_bytes());
        out[3..11].copy_from_slice(&self.ciphertext_len.to_le_bytes());
        out[11..19].copy_from_slice(&self.len.to_le_bytes());
        out[19..23].copy_from_slice(&pack.to_le_bytes());
        out[23..27].copy_from_slice(&offset.to_le_bytes());
        out
    }

    fn parse(bytes: &[u8; 27]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let place = match bytes[0] {
            0 => Place::Pack { pack: word(19), offset: word(23) },
            _ => Place::File,
        };
        let bucket = u16::from_le_bytes([bytes[1], bytes[2]]);
        Self { place, len: long(11), ciphertext_len: long(3), bucket }
    }
}

/// The counters, kept with every change and never walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) format: u64,
    pub(crate) incarnation: u64,
    /// Bytes of shares.
    pub(crate) used: u64,
    pub(crate) shares: u64,
    /// Seconds the store has been served so far: what leases are counted in.
    pub(crate) uptime_s: u64,
    next_account: u64,
    pub(crate) slots: u64,
    /// Bytes of shares whose leases have ended.
    pub(crate) dying: u64,
    pub(crate) scrub: ScrubTotals,
}

impl Totals {
    fn read(meta: &impl ReadableTable<&'static str, u64>) -> IndexResult<Self> {
        // Every transaction begins here: once through a page, and not down the tree for each counter.
        let mut counters = Vec::new();
        for row in meta.iter().map_err(boxed)? {
            let (name, value) = row.map_err(boxed)?;
            counters.push((name.value().to_owned(), value.value()));
        }
        let get = |name: &'static str| -> IndexResult<u64> {
            let known = counters.iter().find(|(known, _)| known == name);
            Ok(known.map_or(0, |(_, value)| *value))
        };
        Ok(Self {
            format: get("format")?,
            incarnation: get("incarnation")?,
            used: get("used")?,
            shares: get("shares")?,
            uptime_s: get("uptime_s")?,
            next_account: get("next_account")?,
            slots: get("slots")?,
            dying: get("dying")?,
            scrub: ScrubTotals::read(get)?,
        })
    }

    fn write(&self, old: &Self, meta: &mut Table<'_, &'static str, u64>) -> IndexResult<()> {
        let rows = [
            ("format", old.format, self.format),
            ("incarnation", old.incarnation, self.incarnation),
            ("used", old.used, self.used),
            ("shares", old.shares, self.shares),
            ("uptime_s", old.uptime_s, self.uptime_s),
            ("next_account", old.next_account, self.next_account),
            ("slots", old.slots, self.slots),
            ("dying", old.dying, self.dying),
        ];
        let scrub = old.scrub.rows().into_iter().zip(self.scrub.rows());
        let scrub = scrub.map(|((name, old), (_, new))| (name, old, new));
        for (name, _, new) in rows.into_iter().chain(scrub).filter(|(_, old, new)| old != new) {
            meta.insert(name, new).map_err(boxed)?;
        }
        Ok(())
    }
}

/// A pack and its live bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PackUse {
    pub(crate) pack: u32,
    /// How far it is written.
    pub(crate) end: u64,
    /// Bytes of records that the index refers to.
    pub(crate) live: u64,
}

/// The index.
pub(crate) struct Index {
    db: Database,
    pub(crate) health: Arc<BackendHealth>,
    recent: Recent,
}

impl Index {
    /// Opens the index in `backend`, or makes a new one if that is empty.
    pub(crate) fn open(backend: impl StorageBackend, health: Arc<BackendHealth>) -> IndexResult<Self> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_LEN);
        let db = builder.create_with_backend(backend).map_err(boxed)?;
        Ok(Self { db, health, recent: Recent::default() })
    }

    /// Sets up the tables of a new index.
    pub(crate) fn begin(&self, incarnation: u64) -> IndexResult<()> {
        self.write(|rows| {
            rows.totals.format = INDEX_FORMAT;
            rows.totals.incarnation = incarnation;
            rows.make_tables()
        })
    }

    /// Begins a new incarnation: what was promised before is known to be incomplete.
    pub(crate) fn begin_again(&self, incarnation: u64) -> IndexResult<()> {
        self.write(|rows| {
            rows.totals.incarnation = incarnation;
            Ok(())
        })
    }

    /// Of each pack, how far it is written and how much of that is live: the rest are records of shares that are gone or lie elsewhere.
    pub(crate) fn live(&self) -> IndexResult<Vec<PackUse>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let packs = txn.open_table(PACKS).map_err(boxed)?;
        let rows = packs.range(..LIVE).map_err(boxed)?;
        rows.map(|row| {
            let (pack, end) = row.map_err(boxed)?;
            let (pack, end) = (pack.value(), end.value());
            let live = packs.get(pack | LIVE).map_err(boxed)?;
            Ok(PackUse { pack, end, live: live.map_or(0, |live| live.value()) })
        })
        .collect()
    }

    /// Nothing that this handle still does may reach the file.
    pub(crate) fn give_up(&self) {
        self.health.closed.store(true, Ordering::Release);
    }

    pub(crate) fn totals(&self) -> IndexResult<Totals> {
        let txn = self.db.begin_read().map_err(boxed)?;
        match txn.open_table(META) {
            Ok(meta) => Totals::read(&meta),
            // A new index whose first transaction did not come to pass.
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(Totals::default()),
            Err(error) => Err(boxed(error)),
        }
    }

    pub(crate) fn get(&self, key: ShareKey) -> IndexResult<Option<Location>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let shares = txn.open_table(SHARES).map_err(boxed)?;
        let row = shares.get(&key.to_bytes()).map_err(boxed)?;
        Ok(row.map(|row| Location::parse(row.value())))
    }

    /// Where each of these shares lies, if it is here.
    pub(crate) fn places(&self, keys: &[ShareKey]) -> IndexResult<Vec<Option<Place>>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let shares = txn.open_table(SHARES).map_err(boxed)?;
        let place = |key: &ShareKey| {
            let row = shares.get(&key.to_bytes()).map_err(boxed)?;
            Ok(row.map(|row| Location::parse(row.value()).place))
        };
        keys.iter().map(place).collect()
    }

    /// All shares of one object, by number.
    pub(crate) fn of_object(&self, hash: VerifyHash) -> IndexResult<Vec<(u16, Location)>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let shares = txn.open_table(SHARES).map_err(boxed)?;
        let (first, last) = bounds(hash);
        let rows = shares.range::<&[u8; 34]>(&first..=&last).map_err(boxed)?;
        rows.map(|row| {
            let (key, value) = row.map_err(boxed)?;
            Ok((ShareKey::parse(key.value()).number, Location::parse(value.value())))
        })
        .collect()
    }

    /// The numbers of the shares of each of these objects.
    pub(crate) fn numbers_of(&self, hashes: &[VerifyHash]) -> IndexResult<Vec<Vec<u16>>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let shares = txn.open_table(SHARES).map_err(boxed)?;
        let numbers = hashes.iter().map(|hash| {
            let (first, last) = bounds(*hash);
            let rows = shares.range::<&[u8; 34]>(&first..=&last).map_err(boxed)?;
            let number = |key: &[u8; 34]| u16::from_be_bytes([key[32], key[33]]);
            rows.map(|row| row.map(|(key, _)| number(key.value())).map_err(boxed)).collect()
        });
        numbers.collect()
    }

    /// For each object or slot: is there anything of it?
    pub(crate) fn have_objects(&self, hashes: &[VerifyHash]) -> IndexResult<Vec<bool>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let shares = txn.open_table(SHARES).map_err(boxed)?;
        let slots = table_of(&txn, SLOTS)?;
        let here = hashes.iter().map(|hash| {
            let (first, last) = bounds(*hash);
            let share = shares.range::<&[u8; 34]>(&first..=&last).map_err(boxed)?.next().is_some();
            let slot = slots.as_ref().map(|slots| slots.get(hash.as_bytes())).transpose().map_err(boxed)?;
            Ok(share || slot.flatten().is_some())
        });
        here.collect()
    }

    /// What is kept of a slot.
    pub(crate) fn slot(&self, hash: &VerifyHash) -> IndexResult<Option<SlotRow>> {
        if let Some(row) = self.recent_slot(hash) {
            return Ok(Some(row.as_ref().clone()));
        }
        let since = self.recent.since();
        let txn = self.db.begin_read().map_err(boxed)?;
        let Some(slots) = table_of(&txn, SLOTS)? else { return Ok(None) };
        let row = slots.get(hash.as_bytes()).map_err(boxed)?;
        let row = row.map(|row| SlotRow::parse(row.value()).ok_or_else(damaged_slot)).transpose()?;
        if let Some(row) = &row {
            self.recent.was_read(hash, row, since);
        }
        Ok(row)
    }

    /// What is kept of a slot, if that is known without looking: never waits for a disk.
    pub(crate) fn recent_slot(&self, hash: &VerifyHash) -> Option<Arc<SlotRow>> {
        let closed = self.health.closed.load(Ordering::Acquire);
        self.recent.get(hash).filter(|_| !closed)
    }

    /// For each object: has the account this lease on it?
    pub(crate) fn have_leases(
        &self,
        account: &NodeId,
        tag: [u8; 16],
        hashes: &[VerifyHash],
    ) -> IndexResult<Vec<bool>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let accounts = txn.open_table(ACCOUNTS).map_err(boxed)?;
        let known = accounts.get(account.as_bytes()).map_err(boxed)?.map(|row| row.value().0);
        let Some(short) = known else { return Ok(vec![false; hashes.len()]) };
        let leases = txn.open_table(LEASES).map_err(boxed)?;
        let held =
            hashes.iter().map(|hash| Ok(leases.get(&lease_key(short, tag, *hash)).map_err(boxed)?.is_some()));
        held.collect()
    }

    /// For each length: are there objects of this bucket and ciphertext length?
    pub(crate) fn has_lengths(&self, bucket: u16, lengths: &[u64]) -> IndexResult<Vec<bool>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let table = txn.open_table(LENGTHS).map_err(boxed)?;
        lengths.iter().map(|len| Ok(table.get((bucket, *len)).map_err(boxed)?.is_some())).collect()
    }

    /// The packs and how far each is written.
    pub(crate) fn packs(&self) -> IndexResult<Vec<(u32, u64)>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let packs = txn.open_table(PACKS).map_err(boxed)?;
        let rows = packs.range(..LIVE).map_err(boxed)?;
        rows.map(|row| row.map(|(pack, end)| (pack.value(), end.value())).map_err(boxed)).collect()
    }

    /// One durable transaction; if `work` fails, nothing of it happened.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&mut Rows<'_>) -> IndexResult<T>) -> IndexResult<T> {
        let (txn, result, slots) = self.begin_write(work)?;
        self.recent.changing(&slots);
        txn.commit().map_err(boxed)?;
        self.recent.changed(slots);
        Ok(result)
    }

    /// The same, undone: what would come of it.
    pub(crate) fn rehearse<T>(&self, work: impl FnOnce(&mut Rows<'_>) -> IndexResult<T>) -> IndexResult<T> {
        let (txn, result, _) = self.begin_write(work)?;
        txn.abort().map_err(boxed)?;
        Ok(result)
    }

    fn begin_write<T>(
        &self,
        work: impl FnOnce(&mut Rows<'_>) -> IndexResult<T>,
    ) -> IndexResult<(WriteTransaction, T, ChangedSlots)> {
        let mut txn = self.db.begin_write().map_err(boxed)?;
        // The index holds what strangers send: a forged checksum must not make a torn commit look whole.
        txn.set_two_phase_commit(true);
        // Members of slots answer from what is committed, past the queue of changes: nothing is ever committed with less.
        txn.set_durability(redb::Durability::Immediate).map_err(boxed)?;
        let (result, changed) = {
            let mut meta = txn.open_table(META).map_err(boxed)?;
            let old = Totals::read(&meta)?;
            let mut rows = Rows {
                totals: old,
                shares: Lazy::new(&txn, SHARES),
                lengths: Lazy::new(&txn, LENGTHS),
                leases: Lazy::new(&txn, LEASES),
                accounts: Lazy::new(&txn, ACCOUNTS),
                packs: Lazy::new(&txn, PACKS),
                slots: Lazy::new(&txn, SLOTS),
                expiry: Lazy::new(&txn, EXPIRY),
                dying: Lazy::new(&txn, DYING),
                due: Lazy::new(&txn, DUE),
                usage: Lazy::new(&txn, USAGE),
                live_by: BTreeMap::new(),
                charged_by: BTreeMap::new(),
                charges: Vec::new(),
                changed_slots: Vec::new(),
            };
            let result = work(&mut rows)?;
            rows.settle()?;
            rows.totals.write(&old, &mut meta)?;
            (result, rows.changed_slots)
        };
        Ok((txn, result, changed))
    }
}

/// The tables within a transaction, each opened when it is used: every table that is opened costs the commit something.
pub(crate) struct Rows<'t> {
    pub(crate) totals: Totals,
    shares: Lazy<'t, &'static [u8; 34], &'static [u8; 27]>,
    lengths: Lazy<'t, (u16, u64), u64>,
    leases: Lazy<'t, &'static [u8; 52], u64>,
    accounts: Lazy<'t, &'static [u8; 32], (u32, u64)>,
    packs: Lazy<'t, u32, u64>,
    slots: Lazy<'t, &'static [u8; 32], &'static [u8]>,
    expiry: Lazy<'t, &'static [u8; 40], ()>,
    dying: Lazy<'t, &'static [u8; 40], u8>,
    due: Lazy<'t, &'static [u8; 32], u64>,
    usage: Lazy<'t, u32, &'static [u8; 40]>,
    /// By how much the live bytes of packs change: many rows of a transaction change one counter.
    live_by: BTreeMap<u32, i64>,
    /// Likewise of what accounts are charged.
    charged_by: BTreeMap<u32, i64>,
    /// What accounts are charged now, of those for whom that changed and was written.
    charges: Vec<(NodeId, u64)>,
    changed_slots: ChangedSlots,
}

/// Rows of slots that a transaction writes, the last of each slot last.
type ChangedSlots = Vec<(VerifyHash, SlotRow)>;

/// A table. A store from before it was invented gets it with its next transaction.
fn table_of<K: redb::Key + 'static, V: redb::Value + 'static>(
    txn: &ReadTransaction,
    table: TableDefinition<'static, K, V>,
) -> IndexResult<Option<ReadOnlyTable<K, V>>> {
    match txn.open_table(table) {
        Ok(table) => Ok(Some(table)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(boxed(error)),
    }
}

fn damaged_slot() -> Box<redb::Error> {
    Box::new(redb::Error::Corrupted("a slot's row is damaged".to_owned()))
}

fn bounds(hash: VerifyHash) -> ([u8; 34], [u8; 34]) {
    (ShareKey { hash, number: 0 }.to_bytes(), ShareKey { hash, number: u16::MAX }.to_bytes())
}

fn lease_key(short: u32, tag: [u8; 16], hash: VerifyHash) -> [u8; 52] {
    let mut out = [0; 52];
    out[..32].copy_from_slice(hash.as_bytes());
    out[32..36].copy_from_slice(&short.to_be_bytes());
    out[36..].copy_from_slice(&tag);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_from_before_there_were_slots_has_none_and_is_read_all_the_same() {
        let health = Arc::new(BackendHealth::default());
        let index = Index::open(redb::backends::InMemoryBackend::new(), health).expect("it is new");
        index.begin(1).expect("memory is writable");
        let txn = index.db.begin_write().expect("memory is writable");
        assert!(txn.delete_table(SLOTS).expect("it is there"));
        txn.commit().expect("memory is writable");
        let hash = VerifyHash::new([1; 32]);
        assert_eq!(index.slot(&hash).expect("it reads"), None);
        assert_eq!(index.have_objects(&[hash]).expect("it reads"), [false]);
    }
}
