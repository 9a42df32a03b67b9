//! Which leases an account has, in steps (`docs/spec/wire.md`, "Leases").

use std::ops::Bound;

use caps::VerifyHash;
use protocol::NodeId;
use redb::{ReadOnlyTable, ReadableDatabase};

use super::leases::parts;
use super::{
    ACCOUNTS, Index, IndexResult, LEASES, LeaseKey, Location, SHARES, SLOT_CHARGE, SLOTS, Term, bounds,
    boxed, lease_key, table_of,
};

/// A lease of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    pub(crate) hash: VerifyHash,
    pub(crate) tag: [u8; 16],
    pub(crate) term: Term,
    /// What the account is charged for this object or slot here.
    pub(crate) bytes: u64,
}

/// Which leases are asked for.
pub(crate) struct Wanted {
    pub(crate) account: NodeId,
    /// On these, in order; `None`: on everything.
    pub(crate) on: Option<Vec<VerifyHash>>,
    pub(crate) tag: Option<[u8; 16]>,
    /// What comes after this H and tag.
    pub(crate) after: Option<(VerifyHash, [u8; 16])>,
    /// Leases to find, and rows to look at, at most.
    pub(crate) limits: (usize, usize),
}

/// Some leases, and the H and tag to go on after, if there may be more.
pub(crate) type Listed = (Vec<Held>, Option<(VerifyHash, [u8; 16])>);

struct Listing<'w> {
    wanted: &'w Wanted,
    short: u32,
    leases: ReadOnlyTable<&'static LeaseKey, u64>,
    shares: ReadOnlyTable<&'static [u8; 34], &'static [u8; 27]>,
    slots: Option<ReadOnlyTable<&'static [u8; 32], &'static [u8]>>,
    found: Vec<Held>,
    looked: usize,
    last: Option<(VerifyHash, [u8; 16])>,
}

impl Index {
    /// Leases of one account, in the order of H and tag.
    pub(crate) fn leases_of(&self, wanted: &Wanted) -> IndexResult<Listed> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let accounts = txn.open_table(ACCOUNTS).map_err(boxed)?;
        let known = accounts.get(wanted.account.as_bytes()).map_err(boxed)?.map(|row| row.value().0);
        let Some(short) = known else { return Ok((Vec::new(), None)) };
        let mut listing = Listing {
            wanted,
            short,
            leases: txn.open_table(LEASES).map_err(boxed)?,
            shares: txn.open_table(SHARES).map_err(boxed)?,
            slots: table_of(&txn, SLOTS)?,
            found: Vec::new(),
            looked: 0,
            last: wanted.after,
        };
        let after = wanted.after;
        let done = match &wanted.on {
            None => {
                let from = after.map(|(hash, tag)| lease_key(short, tag, hash));
                listing.range(from.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)?
            }
            Some(hashes) => {
                let mut done = true;
                for hash in hashes.iter().filter(|hash| after.is_none_or(|(after, _)| **hash >= after)) {
                    let own = lease_key(short, [0; 16], *hash);
                    let first = match after {
                        Some((same, tag)) if same == *hash => Bound::Excluded(lease_key(short, tag, same)),
                        _ => Bound::Included(own),
                    };
                    listing.looked += 1;
                    done = listing.range(first, Bound::Included(lease_key(short, [0xff; 16], *hash)))?;
                    if !done {
                        break;
                    }
                }
                done
            }
        };
        Ok((listing.found, listing.last.filter(|_| !done)))
    }
}

impl Index {
    /// What a first lease on an object would cost an account more than it is charged, as far as is committed.
    pub(crate) fn cost(&self, account: &NodeId, hash: VerifyHash) -> IndexResult<u64> {
        let txn = self.db.begin_read().map_err(boxed)?;
        let accounts = txn.open_table(ACCOUNTS).map_err(boxed)?;
        let known = accounts.get(account.as_bytes()).map_err(boxed)?.map(|row| row.value().0);
        if let Some(short) = known {
            let leases = txn.open_table(LEASES).map_err(boxed)?;
            let (first, last) = (lease_key(short, [0; 16], hash), lease_key(short, [0xff; 16], hash));
            if leases.range::<&LeaseKey>(&first..=&last).map_err(boxed)?.next().is_some() {
                return Ok(0);
            }
        }
        bytes_of(&txn.open_table(SHARES).map_err(boxed)?, table_of(&txn, SLOTS)?.as_ref(), hash)
    }
}

fn bytes_of(
    shares: &ReadOnlyTable<&'static [u8; 34], &'static [u8; 27]>,
    slots: Option<&ReadOnlyTable<&'static [u8; 32], &'static [u8]>>,
    hash: VerifyHash,
) -> IndexResult<u64> {
    let (first, last) = bounds(hash);
    let mut bytes = 0;
    for row in shares.range::<&[u8; 34]>(&first..=&last).map_err(boxed)? {
        bytes += Location::parse(row.map_err(boxed)?.1.value()).len;
    }
    let slot = slots.map(|slots| slots.get(hash.as_bytes())).transpose().map_err(boxed)?;
    Ok(bytes + slot.flatten().map_or(0, |_| SLOT_CHARGE))
}

impl Listing<'_> {
    /// Takes in a range; says whether all of it was looked at.
    fn range(&mut self, from: Bound<LeaseKey>, to: Bound<LeaseKey>) -> IndexResult<bool> {
        let (most, rows) = self.wanted.limits;
        let range = (from.as_ref(), to.as_ref());
        let mut found = Vec::new();
        let mut whole = true;
        for row in self.leases.range::<&LeaseKey>(range).map_err(boxed)? {
            if self.found.len() + found.len() >= most || self.looked >= rows {
                whole = false;
                break;
            }
            let (key, value) = row.map_err(boxed)?;
            let (hash, short) = parts(key.value());
            let mut tag = [0; 16];
            tag.copy_from_slice(&key.value()[36..]);
            self.looked += 1;
            self.last = Some((hash, tag));
            if short == self.short && self.wanted.tag.is_none_or(|wanted| wanted == tag) {
                found.push((hash, tag, Term::of(value.value())));
            }
        }
        for (hash, tag, term) in found {
            let bytes = bytes_of(&self.shares, self.slots.as_ref(), hash)?;
            self.found.push(Held { hash, tag, term, bytes });
        }
        Ok(whole)
    }
}
