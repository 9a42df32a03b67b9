//! Quotas: what accounts may be charged on a server, all its stores together. What they are charged is in the stores' indexes; what is on
//! its way is held here, so that no number of requests at once exceeds a quota.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use protocol::NodeId;

use crate::error::PutError;
use crate::store::{Store, lock};

/// Accounts that are remembered while nothing of theirs is on its way.
const REMEMBERED_MAX: usize = 4096;
/// An upload that does not say its length holds so many bytes more at a time.
const AHEAD: u64 = 1024 * 1024;

/// What accounts may be charged on a server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Quotas {
    /// Each account that has no quota of its own; `None`: as much as there is room.
    pub each: Option<u64>,
    /// Quotas of their own.
    pub of: BTreeMap<NodeId, u64>,
}

impl Quotas {
    /// The quota of an account.
    pub fn of(&self, account: &NodeId) -> Option<u64> {
        self.of.get(account).copied().or(self.each)
    }
}

/// What accounts with a quota are charged, and what of theirs is on its way.
pub(crate) struct Ledger {
    quotas: Quotas,
    stores: Vec<Weak<Store>>,
    accounts: Mutex<BTreeMap<NodeId, Entry>>,
}

struct Entry {
    /// What it is charged, store by store, as last committed.
    charged: Vec<u64>,
    /// Bytes of what is on its way, and of interrupted uploads.
    held: u64,
}

impl Ledger {
    pub(crate) fn new(quotas: Quotas, stores: &[Arc<Store>]) -> Arc<Self> {
        let weak = stores.iter().map(Arc::downgrade).collect();
        Arc::new(Self { quotas, stores: weak, accounts: Mutex::default() })
    }

    pub(crate) fn quota(&self, account: &NodeId) -> Option<u64> {
        self.quotas.of(account)
    }

    fn hold(&self, account: &NodeId, by: u64, quota: u64) -> Result<(), PutError> {
        self.with(account, |entry| {
            let taken = entry.charged.iter().fold(entry.held, |sum, charged| sum.saturating_add(*charged));
            let left = quota.saturating_sub(taken);
            if by > left {
                return Err(PutError::OverQuota { needed: by, left });
            }
            entry.held += by;
            Ok(())
        })
    }

    /// Works on an account's entry, which is read from the indexes if it is not remembered. Whoever commits something publishes it after
    /// that, so a charge that is missed here is made up for.
    fn with<T>(&self, account: &NodeId, work: impl FnOnce(&mut Entry) -> T) -> T {
        let mut accounts = lock(&self.accounts);
        if accounts.len() >= REMEMBERED_MAX && !accounts.contains_key(account) {
            accounts.retain(|_, entry| entry.held > 0);
        }
        let entry = accounts.entry(*account).or_insert_with(|| {
            let charged = |store: &Weak<Store>| {
                // Of a store that cannot be read nothing is known: it takes nothing either.
                store.upgrade().and_then(|store| store.charged(account).ok()).unwrap_or(0)
            };
            Entry { charged: self.stores.iter().map(charged).collect(), held: 0 }
        });
        work(entry)
    }

    /// Publishes what a store has committed, and lets go what was held for it, in one.
    pub(crate) fn settle(&self, store: &Store, charges: &[(NodeId, u64)], holds: &[&Hold]) {
        let at = self.stores.iter().position(|weak| std::ptr::eq(weak.as_ptr(), store));
        let over: Vec<_> =
            holds.iter().map(|hold| (hold.account, std::mem::take(&mut *lock(&hold.amount)))).collect();
        let mut accounts = lock(&self.accounts);
        for (account, bytes) in charges {
            if let (Some(at), Some(entry)) = (at, accounts.get_mut(account)) {
                entry.charged[at] = *bytes;
            }
        }
        for (account, amount) in over {
            if let Some(entry) = accounts.get_mut(&account) {
                entry.held = entry.held.saturating_sub(amount);
            }
        }
    }
}

/// Bytes of an account's quota that are held for something on its way, until it is committed or this is dropped.
pub(crate) struct Hold {
    ledger: Arc<Ledger>,
    account: NodeId,
    quota: u64,
    amount: Mutex<u64>,
}

impl Hold {
    /// Nothing yet; `None` if the account has no quota.
    pub(crate) fn new(ledger: &Arc<Ledger>, account: NodeId) -> Option<Self> {
        let quota = ledger.quota(&account)?;
        Some(Self { ledger: ledger.clone(), account, quota, amount: Mutex::default() })
    }

    /// Holds so many bytes at least.
    pub(crate) fn reach(&self, bytes: u64) -> Result<(), PutError> {
        let mut amount = lock(&self.amount);
        let missing = bytes.saturating_sub(*amount);
        if missing > 0 {
            self.ledger.hold(&self.account, missing, self.quota)?;
            *amount += missing;
        }
        Ok(())
    }

    /// Holds so many bytes at least, and some more where there are.
    pub(crate) fn reach_ahead(&self, bytes: u64) -> Result<(), PutError> {
        if bytes <= *lock(&self.amount) || self.reach(bytes + AHEAD).is_ok() {
            return Ok(());
        }
        self.reach(bytes)
    }

    /// Holds so many bytes, whatever the quota says: they are on the disk already.
    pub(crate) fn set(&self, bytes: u64) {
        let mut amount = lock(&self.amount);
        if *amount == bytes {
            return;
        }
        self.ledger.with(&self.account, |entry| entry.held = entry.held.saturating_sub(*amount) + bytes);
        *amount = bytes;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Store {
    /// Makes the store one of a server that has this ledger; interrupted uploads count from then on.
    pub(crate) fn join(self: &Arc<Self>, ledger: Arc<Ledger>) {
        if self.ledger.set(ledger).is_ok() {
            self.hold_partials();
        }
    }

    /// Something of an account that holds nothing yet, if the account has a quota.
    pub(crate) fn hold(&self, account: NodeId) -> Option<Hold> {
        Hold::new(self.ledger.get()?, account)
    }
}
