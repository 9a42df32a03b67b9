//! Who leases what until when, what that costs, and what goes when nobody does (`docs/spec/store.md`, "Leases" and "Collection").

use std::collections::BTreeMap;

use caps::VerifyHash;
use protocol::NodeId;
use redb::{ReadableDatabase, ReadableTable};

use super::{
    ACCOUNTS, DYING, EXPIRY, Index, IndexResult, LEASES, Location, Place, Rows, ShareKey, Term, USAGE, boxed,
    lease_key, table_of,
};
use crate::collect::{GoneBy, count};

/// An account's last contact is written down when the note is older than this.
pub(crate) const CONTACT_GRAIN_S: u64 = 3600;
/// What a lease on a slot is charged, however long the slot's record is.
pub(crate) const SLOT_CHARGE: u64 = 64 * 1024;
/// Set in the last contact of an account that was idle for too long and whose leases were ended for it.
const GONE: u64 = 1 << 63;
/// Share files that one transaction lets go, at most: nobody else commits while they are removed.
const FILES_MAX: usize = 256;
/// Rows that are passed over in search of one that may go.
const PASSED_MAX: usize = 10_000;

/// Why an object has no lease.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// Its last lease was a dated one and ended.
    Expired,
    /// Its last lease was let go.
    Cancelled,
    /// Its last lease was of an account that was idle for too long.
    AccountGone,
    /// It was found without a lease: in a store whose index was made anew, or where a crash left it.
    NeverLeased,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Expired, Self::Cancelled, Self::AccountGone, Self::NeverLeased];

    pub(super) fn parse(byte: u8) -> Self {
        // One that is not known gets the longest time.
        Self::ALL.get(usize::from(byte)).copied().unwrap_or(Self::NeverLeased)
    }
}

/// Which objects without a lease go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// Those whose time has come.
    Due,
    /// Those whose leases ended, without the grace.
    Ended,
    /// Likewise, the oldest first, until so many bytes are free.
    Room(u64),
}

/// An object that went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Removed {
    pub(crate) reason: Reason,
    pub(crate) shares: Vec<(ShareKey, Location)>,
}

/// An account, as far as its being alive goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Idle {
    pub(crate) account: NodeId,
    pub(crate) short: u32,
    /// Its last contact, in seconds of uptime.
    pub(crate) last: u64,
    /// Whether its leases were ended since.
    pub(crate) gone: bool,
}

/// A lease's key.
pub(crate) type LeaseKey = [u8; 52];

impl Index {
    /// Whether an account is known, and when it was last in contact, in seconds of uptime.
    pub(crate) fn last_contact(&self, account: &NodeId) -> IndexResult<Option<u64>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let accounts = txn.open_table(ACCOUNTS).map_err(boxed)?;
        let row = accounts.get(account.as_bytes()).map_err(boxed)?;
        // One that was gone is written anew when it is back.
        Ok(row.map(|row| row.value().1).map(|last| if last & GONE == 0 { last } else { 0 }))
    }

    /// When the next lease ends and when the next object goes, by uptime.
    pub(crate) fn next_ends(&self) -> IndexResult<(Option<u64>, Option<u64>)> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let (Some(expiry), Some(dying)) = (table_of(&txn, EXPIRY)?, table_of(&txn, DYING)?) else {
            return Ok((None, None));
        };
        let first = expiry.first().map_err(boxed)?.map(|(key, _)| timed(key.value()).0);
        let second = dying.first().map_err(boxed)?.map(|(key, _)| timed(key.value()).0);
        Ok((first, second))
    }

    /// All accounts. There are few of them, and each is looked at when the first of them may be gone.
    pub(crate) fn accounts(&self) -> IndexResult<Vec<Idle>> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let accounts = txn.open_table(ACCOUNTS).map_err(boxed)?;
        let rows = accounts.iter().map_err(boxed)?;
        rows.map(|row| {
            let (key, value) = row.map_err(boxed)?;
            let (short, last) = value.value();
            Ok(Idle { account: NodeId::new(*key.value()), short, last: last & !GONE, gone: last & GONE != 0 })
        })
        .collect()
    }

    /// Of `limit` leases from `from` on, those of these accounts that last while the account is alive; and where to go on, if anywhere.
    pub(crate) fn undated_leases(
        &self,
        of: &BTreeMap<u32, NodeId>,
        from: &LeaseKey,
        limit: usize,
    ) -> IndexResult<(Vec<LeaseKey>, Option<LeaseKey>)> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let leases = txn.open_table(LEASES).map_err(boxed)?;
        let mut found = Vec::new();
        for (at, row) in leases.range::<&LeaseKey>(from..).map_err(boxed)?.enumerate() {
            let (key, term) = row.map_err(boxed)?;
            if at == limit {
                return Ok((found, Some(*key.value())));
            }
            if Term::of(term.value()).ends.is_none() && of.contains_key(&parts(key.value()).1) {
                found.push(*key.value());
            }
        }
        Ok((found, None))
    }

    /// What an account is charged.
    pub(crate) fn charged(&self, account: &NodeId) -> IndexResult<u64> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let accounts = txn.open_table(ACCOUNTS).map_err(boxed)?;
        let known = accounts.get(account.as_bytes()).map_err(boxed)?.map(|row| row.value().0);
        let (Some(short), Some(usage)) = (known, table_of(&txn, USAGE)?) else { return Ok(0) };
        Ok(usage.get(short).map_err(boxed)?.map_or(0, |row| usage_of(row.value()).1))
    }
}

impl Rows<'_> {
    /// The account's short number, and a note that it was in contact now.
    pub(crate) fn contact(&mut self, account: &NodeId) -> IndexResult<u32> {
        let known = self.accounts.read()?.get(account.as_bytes()).map_err(boxed)?.map(|row| row.value());
        let (short, last) = known.unwrap_or_else(|| {
            self.totals.next_account += 1;
            (self.totals.next_account as u32, 0)
        });
        let now = self.totals.uptime_s;
        let fresh = last & GONE == 0 && now.saturating_sub(last) < CONTACT_GRAIN_S;
        if known.is_none() || !fresh {
            self.accounts.write()?.insert(account.as_bytes(), (short, now)).map_err(boxed)?;
        }
        if known.is_none() {
            self.usage.write()?.insert(short, &usage_row(account, 0)).map_err(boxed)?;
        }
        Ok(short)
    }

    /// The short number of an account that is known.
    pub(crate) fn known(&self, account: &NodeId) -> IndexResult<Option<u32>> {
        Ok(self.accounts.read()?.get(account.as_bytes()).map_err(boxed)?.map(|row| row.value().0))
    }

    /// What a first lease on an object would cost an account more than it is charged.
    pub(crate) fn cost(&self, short: Option<u32>, hash: VerifyHash) -> IndexResult<u64> {
        match short {
            Some(short) if self.is_leased_by(short, hash)? => Ok(0),
            _ => self.bytes_of(hash),
        }
    }

    /// Adds or renews a lease.
    pub(crate) fn lease(
        &mut self,
        short: u32,
        tag: [u8; 16],
        hash: VerifyHash,
        term: Term,
    ) -> IndexResult<()> {
        let cost = self.cost(Some(short), hash)?;
        self.leases.write()?.insert(&lease_key(short, tag, hash), term.to_value()).map_err(boxed)?;
        if let Some(ends) = term.ends {
            self.expiry.write()?.insert(&timed_key(ends, hash), ()).map_err(boxed)?;
        }
        self.charge(short, cost as i64);
        self.keep(hash)
    }

    /// Lets a lease go that was last made or renewed at `until` or before; says whether there was such a one.
    pub(crate) fn cancel(
        &mut self,
        short: u32,
        tag: [u8; 16],
        hash: VerifyHash,
        (until, grace_s): (u64, u64),
    ) -> IndexResult<bool> {
        let key = lease_key(short, tag, hash);
        let term = self.leases.read()?.get(&key).map_err(boxed)?.map(|term| Term::of(term.value()));
        let gone = term.is_some_and(|term| term.made <= until);
        if gone {
            self.leases.write()?.remove(&key).map_err(boxed)?;
        }
        if gone {
            self.ended(short, hash, Reason::Cancelled, grace_s)?;
        }
        Ok(gone)
    }

    /// Ends leases of which this account is gone. Those of one that is back by now stay.
    pub(crate) fn end_undated(
        &mut self,
        of: &BTreeMap<u32, NodeId>,
        leases: &[LeaseKey],
        idle_s: u64,
        grace_s: u64,
    ) -> IndexResult<()> {
        for key in leases {
            let (hash, short) = parts(key);
            let Some(account) = of.get(&short) else { continue };
            let last =
                self.accounts.read()?.get(account.as_bytes()).map_err(boxed)?.map_or(0, |row| row.value().1);
            let gone = self.totals.uptime_s.saturating_sub(last & !GONE) >= idle_s;
            let undated = self
                .leases
                .read()?
                .get(key)
                .map_err(boxed)?
                .is_some_and(|term| Term::of(term.value()).ends.is_none());
            if gone && undated {
                self.leases.write()?.remove(key).map_err(boxed)?;
                self.ended(short, hash, Reason::AccountGone, grace_s)?;
            }
        }
        Ok(())
    }

    /// Notes that these accounts are gone and their leases ended, unless they are back.
    pub(crate) fn note_gone(&mut self, accounts: &BTreeMap<u32, NodeId>, idle_s: u64) -> IndexResult<()> {
        for (short, account) in accounts {
            let row = self.accounts.read()?.get(account.as_bytes()).map_err(boxed)?.map(|row| row.value().1);
            if let Some(last) = row.filter(|last| self.totals.uptime_s.saturating_sub(*last) >= idle_s) {
                self.accounts.write()?.insert(account.as_bytes(), (*short, last | GONE)).map_err(boxed)?;
            }
        }
        Ok(())
    }

    /// Ends up to `limit` dated leases whose time has come; says how many rows it looked at.
    pub(crate) fn expire(&mut self, limit: usize, grace_s: u64) -> IndexResult<usize> {
        let now = self.totals.uptime_s;
        let mut looked = 0;
        while looked < limit {
            let first = self.expiry.read()?.first().map_err(boxed)?.map(|(key, _)| timed(key.value()));
            let Some((ends, hash)) = first.filter(|(ends, _)| *ends <= now) else { break };
            let over = self.ended_leases(hash, now, limit - looked)?;
            for (short, tag) in &over {
                self.leases.write()?.remove(&lease_key(*short, *tag, hash)).map_err(boxed)?;
                self.ended(*short, hash, Reason::Expired, grace_s)?;
            }
            looked += over.len() + 1;
            // A renewed lease left this row behind; if there may be more that ended, it is looked at again.
            if looked <= limit {
                self.expiry.write()?.remove(&timed_key(ends, hash)).map_err(boxed)?;
            }
        }
        Ok(looked)
    }

    fn ended_leases(&self, hash: VerifyHash, now: u64, limit: usize) -> IndexResult<Vec<(u32, [u8; 16])>> {
        let (first, last) = (lease_key(0, [0; 16], hash), lease_key(u32::MAX, [0xff; 16], hash));
        let mut over = Vec::new();
        for row in self.leases.read()?.range::<&LeaseKey>(&first..=&last).map_err(boxed)? {
            let (key, term) = row.map_err(boxed)?;
            if Term::of(term.value()).is_over(now) && over.len() < limit {
                let mut tag = [0; 16];
                tag.copy_from_slice(&key.value()[36..]);
                over.push((parts(key.value()).1, tag));
            }
        }
        Ok(over)
    }

    /// A lease's row is gone: credits the account, and if it was the last one of an object, that begins to die.
    fn ended(&mut self, short: u32, hash: VerifyHash, reason: Reason, grace_s: u64) -> IndexResult<()> {
        if self.is_leased_by(short, hash)? {
            return Ok(());
        }
        let bytes = self.bytes_of(hash)?;
        self.charge(short, -(bytes as i64));
        self.doom(hash, reason, self.totals.uptime_s.saturating_add(grace_s))
    }

    /// An object without a lease goes at `due`, unless somebody leases it before.
    pub(crate) fn doom(&mut self, hash: VerifyHash, reason: Reason, due: u64) -> IndexResult<()> {
        // Of slots nothing ever goes: a row that is removed erases a vote.
        if self.next_lessee(hash, 0)?.is_some() || !self.has_shares(hash)? {
            return Ok(());
        }
        let (due, reason) = match self.spare(hash)? {
            // It had this time before somebody leased it who let it go again.
            Some((known, Reason::NeverLeased)) if known > due => (known, Reason::NeverLeased),
            _ => (due, reason),
        };
        self.dying.write()?.insert(&timed_key(due, hash), reason as u8).map_err(boxed)?;
        self.due.write()?.insert(hash.as_bytes(), due).map_err(boxed)?;
        if reason != Reason::NeverLeased {
            self.totals.dying += self.share_bytes(hash)?;
        }
        Ok(())
    }

    /// Somebody leases an object, which therefore does not die. What was found without a lease keeps its time all the same: whoever leases
    /// it and lets it go must not shorten that for an owner who was not heard of since.
    pub(crate) fn keep(&mut self, hash: VerifyHash) -> IndexResult<()> {
        match self.spare(hash)? {
            Some((due, Reason::NeverLeased)) if due > self.totals.uptime_s => {
                self.dying
                    .write()?
                    .insert(&timed_key(due, hash), Reason::NeverLeased as u8)
                    .map_err(boxed)?;
                self.due.write()?.insert(hash.as_bytes(), due).map_err(boxed)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An object no longer dies; returns when and why it would have gone.
    pub(crate) fn spare(&mut self, hash: VerifyHash) -> IndexResult<Option<(u64, Reason)>> {
        let due = self.due.write()?.remove(hash.as_bytes()).map_err(boxed)?.map(|due| due.value());
        let Some(due) = due else { return Ok(None) };
        let reason =
            self.dying.write()?.remove(&timed_key(due, hash)).map_err(boxed)?.map(|reason| reason.value());
        let reason = Reason::parse(reason.unwrap_or(u8::MAX));
        if reason != Reason::NeverLeased {
            self.totals.dying = self.totals.dying.saturating_sub(self.share_bytes(hash)?);
        }
        Ok(Some((due, reason)))
    }

    /// Takes out objects without a lease, at most `limit`.
    pub(crate) fn collect(&mut self, scope: Scope, limit: usize) -> IndexResult<Vec<Removed>> {
        let (mut gone, mut freed, mut files) = (Vec::new(), 0, 0);
        for hash in self.doomed(scope, limit)? {
            if files >= FILES_MAX || matches!(scope, Scope::Room(wanted) if freed >= wanted) {
                break;
            }
            let Some((_, reason)) = self.spare(hash)? else { continue };
            // What was found without a lease keeps its row when somebody leases it (`keep`): the lease counts.
            if self.next_lessee(hash, 0)?.is_some() {
                continue;
            }
            let shares = self.shares_of(hash)?;
            for (key, location) in &shares {
                self.remove_share(*key)?;
                freed += location.len;
                files += usize::from(location.place == Place::File);
            }
            gone.push(Removed { reason, shares });
        }
        Ok(gone)
    }

    fn doomed(&self, scope: Scope, limit: usize) -> IndexResult<Vec<VerifyHash>> {
        let now = self.totals.uptime_s;
        let (mut found, mut passed) = (Vec::new(), 0);
        for row in self.dying.read()?.iter().map_err(boxed)? {
            let (key, reason) = row.map_err(boxed)?;
            let (due, hash) = timed(key.value());
            let ended = scope != Scope::Due && Reason::parse(reason.value()) != Reason::NeverLeased;
            if due <= now || ended {
                found.push(hash);
            } else {
                passed += 1;
            }
            // Rows stand by their time: what follows one that is not due is not due either.
            if found.len() >= limit || (scope == Scope::Due && passed > 0) || passed > PASSED_MAX {
                break;
            }
        }
        Ok(found)
    }

    /// What has no lease and is still here.
    pub(crate) fn waiting(&self) -> IndexResult<GoneBy> {
        let mut waiting = GoneBy::new();
        for row in self.dying.read()?.iter().map_err(boxed)? {
            let (key, reason) = row.map_err(boxed)?;
            let hash = timed(key.value()).1;
            if self.next_lessee(hash, 0)?.is_some() {
                continue;
            }
            let shares = self.shares_of(hash)?;
            count(&mut waiting, &[Removed { reason: Reason::parse(reason.value()), shares }]);
        }
        Ok(waiting)
    }

    /// Bytes that a lease on this is charged for.
    fn bytes_of(&self, hash: VerifyHash) -> IndexResult<u64> {
        let slot = if self.has_slot(&hash)? { SLOT_CHARGE } else { 0 };
        Ok(self.share_bytes(hash)? + slot)
    }

    fn share_bytes(&self, hash: VerifyHash) -> IndexResult<u64> {
        Ok(self.shares_of(hash)?.iter().map(|(_, location)| location.len).sum())
    }

    fn is_leased_by(&self, short: u32, hash: VerifyHash) -> IndexResult<bool> {
        let (first, last) = (lease_key(short, [0; 16], hash), lease_key(short, [0xff; 16], hash));
        Ok(self.leases.read()?.range::<&LeaseKey>(&first..=&last).map_err(boxed)?.next().is_some())
    }

    /// The first account from `from` on that leases this.
    fn next_lessee(&self, hash: VerifyHash, from: u32) -> IndexResult<Option<u32>> {
        let (first, last) = (lease_key(from, [0; 16], hash), lease_key(u32::MAX, [0xff; 16], hash));
        let mut rows = self.leases.read()?.range::<&LeaseKey>(&first..=&last).map_err(boxed)?;
        let row = rows.next().transpose().map_err(boxed)?;
        Ok(row.map(|(key, _)| parts(key.value()).1))
    }

    /// Charges everybody who leases this.
    pub(super) fn charge_all(&mut self, hash: VerifyHash, bytes: i64) -> IndexResult<()> {
        let mut from = 0;
        // From account to account: one of them may have any number of tags.
        while let Some(short) = self.next_lessee(hash, from)? {
            self.charge(short, bytes);
            let Some(next) = short.checked_add(1) else { break };
            from = next;
        }
        Ok(())
    }

    fn charge(&mut self, short: u32, bytes: i64) {
        if bytes != 0 {
            *self.charged_by.entry(short).or_default() += bytes;
        }
    }

    pub(super) fn settle_charges(&mut self) -> IndexResult<()> {
        for (short, by) in std::mem::take(&mut self.charged_by) {
            let row = self.usage.read()?.get(short).map_err(boxed)?.map(|row| usage_of(row.value()));
            let Some((account, bytes)) = row else { continue };
            let bytes = bytes.saturating_add_signed(by);
            self.usage.write()?.insert(short, &usage_row(&account, bytes)).map_err(boxed)?;
            self.charges.push((account, bytes));
        }
        Ok(())
    }

    /// What accounts are charged after all that was done so far, of those for whom that changed.
    pub(crate) fn charges(&mut self) -> IndexResult<Vec<(NodeId, u64)>> {
        self.settle_charges()?;
        Ok(std::mem::take(&mut self.charges))
    }
}

pub(super) fn usage_row(account: &NodeId, bytes: u64) -> [u8; 40] {
    let mut row = [0; 40];
    row[..32].copy_from_slice(account.as_bytes());
    row[32..].copy_from_slice(&bytes.to_le_bytes());
    row
}

pub(super) fn usage_of(row: &[u8; 40]) -> (NodeId, u64) {
    let (mut account, mut bytes) = ([0; 32], [0; 8]);
    account.copy_from_slice(&row[..32]);
    bytes.copy_from_slice(&row[32..]);
    (NodeId::new(account), u64::from_le_bytes(bytes))
}

/// H and the account's short number.
pub(super) fn parts(key: &LeaseKey) -> (VerifyHash, u32) {
    let mut hash = [0; 32];
    hash.copy_from_slice(&key[..32]);
    (VerifyHash::new(hash), u32::from_be_bytes([key[32], key[33], key[34], key[35]]))
}

/// A time and H; big-endian, so that rows stand by time.
pub(super) fn timed_key(at: u64, hash: VerifyHash) -> [u8; 40] {
    let mut out = [0; 40];
    out[..8].copy_from_slice(&at.to_be_bytes());
    out[8..].copy_from_slice(hash.as_bytes());
    out
}

pub(super) fn timed(key: &[u8; 40]) -> (u64, VerifyHash) {
    let (mut at, mut hash) = ([0; 8], [0; 32]);
    at.copy_from_slice(&key[..8]);
    hash.copy_from_slice(&key[8..]);
    (u64::from_be_bytes(at), VerifyHash::new(hash))
}
