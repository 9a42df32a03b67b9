//! Everything that is counted, counted anew: for an index from before there were counters, and for tests.

use std::collections::{BTreeMap, BTreeSet};

use caps::VerifyHash;
use redb::{ReadableDatabase, ReadableTable};

use super::leases::{LeaseKey, SLOT_CHARGE, parts, timed, timed_key, usage_of, usage_row};
use super::{
    ACCOUNTS, DUE, DYING, EXPIRY, INDEX_FORMAT, Index, IndexResult, LEASES, LIVE, Location, META, PACKS,
    Place, Reason, SHARES, SLOTS, ShareKey, Term, Totals, USAGE, boxed,
};
use crate::pack::record_len;

/// What follows from shares, slots and leases.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) used: u64,
    pub(crate) shares: u64,
    /// Live bytes of packs.
    pub(crate) live: BTreeMap<u32, u64>,
    /// What accounts are charged, by their short numbers.
    pub(crate) charged: BTreeMap<u32, u64>,
    /// When dated leases end, and on what.
    pub(crate) dated: BTreeSet<[u8; 40]>,
    /// Objects that nobody leases.
    pub(crate) unleased: BTreeSet<[u8; 32]>,
}

impl Tally {
    fn count(
        shares: &impl ReadableTable<&'static [u8; 34], &'static [u8; 27]>,
        slots: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
        leases: &impl ReadableTable<&'static LeaseKey, u64>,
    ) -> IndexResult<Self> {
        let mut tally = Self::default();
        let mut bytes: BTreeMap<[u8; 32], u64> = BTreeMap::new();
        for row in shares.iter().map_err(boxed)? {
            let (key, value) = row.map_err(boxed)?;
            let (key, location) = (ShareKey::parse(key.value()), Location::parse(value.value()));
            tally.shares += 1;
            tally.used += location.len;
            *bytes.entry(*key.hash.as_bytes()).or_default() += location.len;
            if let Place::Pack { pack, .. } = location.place {
                *tally.live.entry(pack).or_default() += record_len(location.len as usize);
            }
        }
        tally.unleased = bytes.keys().copied().collect();
        for row in slots.iter().map_err(boxed)? {
            let (key, value) = row.map_err(boxed)?;
            tally.used += value.value().len() as u64;
            *bytes.entry(*key.value()).or_default() += SLOT_CHARGE;
        }
        let mut last = None;
        for row in leases.iter().map_err(boxed)? {
            let (key, term) = row.map_err(boxed)?;
            let (hash, short) = parts(key.value());
            if let Some(ends) = Term::of(term.value()).ends {
                tally.dated.insert(timed_key(ends, hash));
            }
            // Leases of one account on one object stand together, and count once.
            if last.replace((hash, short)) != Some((hash, short)) {
                *tally.charged.entry(short).or_default() += bytes.get(hash.as_bytes()).copied().unwrap_or(0);
                tally.unleased.remove(hash.as_bytes());
            }
        }
        Ok(tally)
    }
}

impl Index {
    /// Gives an index of an older format what it lacks. Objects that nobody leases get `idle_s`: why they have no lease is not known.
    pub(crate) fn upgrade(&self, idle_s: u64) -> IndexResult<Totals> {
        self.write(|rows| {
            rows.make_tables()?;
            let tally = Tally::count(rows.shares.read()?, rows.slots.read()?, rows.leases.read()?)?;
            for (pack, live) in &tally.live {
                rows.packs.write()?.insert(*pack | LIVE, *live).map_err(boxed)?;
            }
            // Leases of format 2 read as made when nobody knows; nothing else differs.
            if rows.totals.format == 2 {
                rows.totals.format = INDEX_FORMAT;
                return Ok(rows.totals);
            }
            for row in &tally.dated {
                rows.expiry.write()?.insert(row, ()).map_err(boxed)?;
            }
            for row in rows.accounts.read()?.iter().map_err(boxed)? {
                let (account, value) = row.map_err(boxed)?;
                let short = value.value().0;
                let charged = tally.charged.get(&short).copied().unwrap_or(0);
                let account = protocol::NodeId::new(*account.value());
                rows.usage.write()?.insert(short, &usage_row(&account, charged)).map_err(boxed)?;
            }
            let due = rows.totals.uptime_s.saturating_add(idle_s);
            for hash in &tally.unleased {
                rows.doom(VerifyHash::new(*hash), Reason::NeverLeased, due)?;
            }
            rows.totals.format = INDEX_FORMAT;
            Ok(rows.totals)
        })
    }

    /// What the counters and the tables beside shares and leases say wrongly.
    pub(crate) fn audit(&self) -> IndexResult<Vec<String>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let leases = txn.open_table(LEASES).map_err(boxed)?;
        let shares = txn.open_table(SHARES).map_err(boxed)?;
        let mut tally = Tally::count(&shares, &txn.open_table(SLOTS).map_err(boxed)?, &leases)?;
        // Whoever leases what was put aside is charged nothing for it.
        tally.charged.retain(|_, bytes| *bytes > 0);
        let totals = Totals::read(&txn.open_table(META).map_err(boxed)?)?;
        let mut wrong = Vec::new();
        let mut same = |what: &str, kept: &dyn std::fmt::Debug, counted: &dyn std::fmt::Debug| {
            let (kept, counted) = (format!("{kept:?}"), format!("{counted:?}"));
            if kept != counted {
                wrong.push(format!("{what}: kept {kept}, counted {counted}"));
            }
        };
        same("bytes", &totals.used, &tally.used);
        same("shares", &totals.shares, &tally.shares);
        let mut live = BTreeMap::new();
        for row in txn.open_table(PACKS).map_err(boxed)?.range(LIVE..).map_err(boxed)? {
            let (pack, bytes) = row.map_err(boxed)?;
            live.insert(pack.value() & !LIVE, bytes.value());
        }
        live.retain(|_, bytes| *bytes > 0);
        same("live bytes of packs", &live, &tally.live);
        let mut charged = BTreeMap::new();
        for row in txn.open_table(USAGE).map_err(boxed)?.iter().map_err(boxed)? {
            let (short, row) = row.map_err(boxed)?;
            let (account, bytes) = usage_of(row.value());
            let known = txn.open_table(ACCOUNTS).map_err(boxed)?;
            let known = known.get(account.as_bytes()).map_err(boxed)?.map(|row| row.value().0);
            same("an account's number", &known, &Some(short.value()));
            charged.insert(short.value(), bytes);
        }
        charged.retain(|_, bytes| *bytes > 0);
        same("what accounts are charged", &charged, &tally.charged);
        let expiry = txn.open_table(EXPIRY).map_err(boxed)?;
        for row in &tally.dated {
            same("a dated lease has its row", &expiry.get(row).map_err(boxed)?.is_some(), &true);
        }
        let (mut doomed, mut dying) = (BTreeSet::new(), 0);
        let due = txn.open_table(DUE).map_err(boxed)?;
        for row in txn.open_table(DYING).map_err(boxed)?.iter().map_err(boxed)? {
            let (key, reason) = row.map_err(boxed)?;
            let (at, hash) = timed(key.value());
            let kept = due.get(hash.as_bytes()).map_err(boxed)?.map(|at| at.value());
            same("when an object goes", &kept, &Some(at));
            // What was found without a lease keeps its row when somebody leases it.
            let kept =
                reason.value() == Reason::NeverLeased as u8 && !tally.unleased.contains(hash.as_bytes());
            if !kept {
                doomed.insert(*hash.as_bytes());
            }
            if reason.value() != Reason::NeverLeased as u8 {
                dying += bytes_of(&shares, hash)?;
            }
        }
        same("objects without a lease", &doomed, &tally.unleased);
        same("bytes without a lease", &totals.dying, &dying);
        Ok(wrong)
    }
}

fn bytes_of(
    shares: &impl ReadableTable<&'static [u8; 34], &'static [u8; 27]>,
    hash: VerifyHash,
) -> IndexResult<u64> {
    let (first, last) = super::bounds(hash);
    let rows = shares.range::<&[u8; 34]>(&first..=&last).map_err(boxed)?;
    rows.map(|row| row.map(|(_, value)| Location::parse(value.value()).len).map_err(boxed)).sum()
}
