//! What goes when nobody leases it any more, and when (`docs/spec/store.md`, "Collection"). Everything goes by tables that stand by time,
//! in small steps through the queue of changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use protocol::message::StoreState;
use protocol::{NodeId, Pool};

use crate::commit::{Change, Outcome};
use crate::compact::{MovedRecord, Rewrite};
use crate::index::{
    CONTACT_GRAIN_S, IndexResult, LeaseKey, Location, Reason, Removed, Rows, Scope, ShareKey,
};
use crate::scrub::ScrubNote;
use crate::store::{Store, lock};

/// Objects that one transaction removes, at most.
const OBJECTS_MAX: usize = 2000;
/// Dated leases that one transaction ends, at most.
const EXPIRED_MAX: usize = 10_000;
/// Leases that are looked at in one step for accounts that are gone.
const WALK_STEP: usize = 20_000;
/// Uptime that is not written down for so long is, though nothing else is to be written.
const UPTIME_GRAIN_S: u64 = 3600;
/// What the notes of contact may be behind: an hour in the server's memory, an hour in the index.
const CONTACT_LAG_S: u64 = 2 * CONTACT_GRAIN_S;

/// A step of tidying up, to be made durable like any change.
pub(crate) enum Tidy {
    /// Ends dated leases that are over, and removes objects.
    Collect(Scope),
    /// Ends leases of accounts that are gone; with the last of them that is noted.
    EndLeases { of: BTreeMap<u32, NodeId>, leases: Vec<LeaseKey>, last: bool },
    /// Copies records to the end of the pack that is written, and makes the index refer to the copies.
    Move(Vec<MovedRecord>),
    /// Removes packs in which nothing is live.
    Forget(Vec<u32>),
    /// Takes out shares that other servers have by now; with each the leases that there were on its object.
    HandOff(Vec<(ShareKey, usize)>),
    /// Writes down the uptime.
    Uptime,
    /// Writes down how far scrubbing is, and takes out a share that is bad.
    Scrub(ScrubNote),
}

/// What a step did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tidied {
    pub(crate) removed: Vec<Removed>,
    /// A share that is bad, and where it lay.
    pub(crate) quarantined: Option<(ShareKey, Location)>,
    pub(crate) handed: Vec<(ShareKey, Location)>,
}

/// What went, or would.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gone {
    /// Objects.
    pub objects: u64,
    /// Their shares in this store.
    pub shares: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// What went, or would, by reason.
pub type GoneBy = BTreeMap<Reason, Gone>;

pub(crate) fn count(by: &mut GoneBy, removed: &[Removed]) {
    for object in removed {
        let gone = by.entry(object.reason).or_default();
        gone.objects += 1;
        gone.shares += object.shares.len() as u64;
        gone.bytes += object.shares.iter().map(|(_, location)| location.len).sum::<u64>();
    }
}

/// Within a transaction: ends what is over and takes out what may go.
pub(crate) fn collect(rows: &mut Rows<'_>, scope: Scope, grace_s: u64) -> IndexResult<Vec<Removed>> {
    if !matches!(scope, Scope::Room(_)) {
        rows.expire(EXPIRED_MAX, grace_s)?;
    }
    rows.collect(scope, OBJECTS_MAX)
}

/// What is remembered from step to step.
#[derive(Default)]
pub(crate) struct Collector {
    /// Something was written since it was last found that nothing is to be done.
    changed: AtomicBool,
    plan: Mutex<Plan>,
}

#[derive(Default)]
pub(crate) struct Plan {
    /// If nothing is written, nothing is to be done before this uptime.
    quiet_until: u64,
    /// When an account may be gone, or is to be warned of.
    look_at_accounts: u64,
    /// Accounts of which the log was told.
    warned: BTreeSet<u32>,
    walk: Option<Walk>,
    pub(crate) rewrite: Rewrite,
}

/// Looking for the leases of accounts that are gone. There is no index by account: one that is idle for a year is rare.
#[derive(Clone)]
struct Walk {
    of: BTreeMap<u32, NodeId>,
    from: LeaseKey,
}

impl Collector {
    /// Something was written.
    pub(crate) fn changed(&self) {
        self.changed.store(true, Ordering::Release);
    }
}

impl Store {
    /// Ends leases, removes what nobody leases, and gives back the room in packs: one step of it. Whether there is more to do now.
    pub async fn tidy(self: &Arc<Self>, pool: &Arc<dyn Pool>) -> bool {
        let at = self.clone();
        let Some(step) = pool.run(move || at.next_step_or_none()).await else { return false };
        match self.submit(pool, Change::Tidy(step)).await {
            Ok(Outcome::Tidied(done)) => {
                self.log_removed(&done.removed);
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(store = %self.id(), %error, "what is over cannot be removed now");
                false
            }
        }
    }

    pub(crate) fn log_removed(&self, removed: &[Removed]) {
        let mut by = GoneBy::new();
        count(&mut by, removed);
        for (reason, gone) in by {
            let Gone { objects, shares, bytes } = gone;
            tracing::info!(store = %self.id(), ?reason, objects, shares, bytes, "removed objects that nobody leases");
        }
    }

    fn next_step_or_none(&self) -> Option<Tidy> {
        if self.state() != StoreState::Writable {
            return None;
        }
        let mut plan = lock(&self.collector.plan);
        let changed = self.collector.changed.swap(false, Ordering::AcqRel);
        if !changed && plan.rewrite.is_idle() && plan.walk.is_none() && self.uptime_s() < plan.quiet_until {
            return None;
        }
        match self.next_step(&mut plan) {
            Ok(Some(step)) => {
                // What comes of it is seen next time.
                self.collector.changed();
                Some(step)
            }
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(store = %self.id(), %error, "cannot look for what is over");
                None
            }
        }
    }

    fn next_step(&self, plan: &mut Plan) -> IndexResult<Option<Tidy>> {
        if let Some(step) = self.leases_step(plan)? {
            return Ok(Some(step));
        }
        if let Some(step) = self.packs_step(&mut plan.rewrite)? {
            return Ok(Some(step));
        }
        let (now, written) = (self.uptime_s(), self.written_uptime_s());
        if now.saturating_sub(written) >= UPTIME_GRAIN_S {
            return Ok(Some(Tidy::Uptime));
        }
        plan.quiet_until = self.next_end()?.min(plan.look_at_accounts).min(written + UPTIME_GRAIN_S);
        Ok(None)
    }

    /// The next step of ending leases and removing objects.
    pub(crate) fn leases_step(&self, plan: &mut Plan) -> IndexResult<Option<Tidy>> {
        let now = self.uptime_s();
        if self.next_end()? <= now {
            return Ok(Some(Tidy::Collect(Scope::Due)));
        }
        self.accounts_step(plan, now)
    }

    /// The uptime at which the next lease ends or the next object goes.
    fn next_end(&self) -> IndexResult<u64> {
        let (ends, goes) = self.index().next_ends()?;
        Ok(ends.unwrap_or(u64::MAX).min(goes.unwrap_or(u64::MAX)))
    }

    pub(crate) fn accounts_step(&self, plan: &mut Plan, now: u64) -> IndexResult<Option<Tidy>> {
        if plan.walk.is_none() && now >= plan.look_at_accounts {
            plan.walk = self.idle_accounts(plan, now)?;
        }
        let Some(mut walk) = plan.walk.take() else { return Ok(None) };
        let (leases, next) = self.index().undated_leases(&walk.of, &walk.from, WALK_STEP)?;
        let (of, last) = (walk.of.clone(), next.is_none());
        if let Some(next) = next {
            walk.from = next;
            plan.walk = Some(walk);
        }
        Ok(Some(Tidy::EndLeases { of, leases, last }))
    }

    /// Accounts that are gone, and when to look again. Those that are soon are named in the log.
    fn idle_accounts(&self, plan: &mut Plan, now: u64) -> IndexResult<Option<Walk>> {
        let idle_s = self.idle_s().saturating_add(CONTACT_LAG_S);
        let warn_s = idle_s - idle_s / 10;
        let mut of = BTreeMap::new();
        // Whoever comes only now is not near its end before this.
        plan.look_at_accounts = now.saturating_add(warn_s);
        for account in self.index().accounts()?.into_iter().filter(|account| !account.gone) {
            let idle = now.saturating_sub(account.last);
            let mut after = idle_s;
            if idle >= idle_s {
                tracing::warn!(store = %self.id(), account = %account.account, days = idle / 86_400, "an account was not heard of for too long: its leases end");
                of.insert(account.short, account.account);
                continue;
            } else if idle < warn_s {
                plan.warned.remove(&account.short);
                after = warn_s;
            } else if plan.warned.insert(account.short) {
                let days = (idle_s - idle) / 86_400;
                tracing::warn!(store = %self.id(), account = %account.account, days, "an account was not heard of for long: its leases end in so many days");
            }
            plan.look_at_accounts = plan.look_at_accounts.min(account.last.saturating_add(after));
        }
        Ok((!of.is_empty()).then_some(Walk { of, from: [0; 52] }))
    }
}
