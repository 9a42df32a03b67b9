//! Collection by hand: all of it at once, or only what it would do.

use std::sync::Arc;

use crate::collect::{Gone, GoneBy, Plan, Tidy, count};
use crate::commit::{Change, Outcome, Writer};
use crate::error::PutError;
use crate::index::{IndexResult, Rows, Scope};
use crate::store::{Store, lock};

/// How objects are collected by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GcOptions {
    /// Changes nothing.
    pub dry_run: bool,
    /// Objects whose leases ended go without the grace. What was found without a lease keeps its time all the same: after the loss of an
    /// index that is everything.
    pub now: bool,
}

/// What a collection did, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct GcReport {
    /// What went, by the reason why it had no lease.
    pub gone: GoneBy,
    /// What has no lease and stays for now.
    pub waiting: GoneBy,
    /// Bytes in packs to which nothing refers, as it was before.
    pub dead: u64,
    /// Bytes of packs that were given back; nothing where nothing was changed.
    pub given_back: u64,
}

impl Store {
    /// Collects at once whatever may go. The store must not be served meanwhile.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub fn gc(self: &Arc<Self>, options: GcOptions) -> Result<GcReport, PutError> {
        let scope = if options.now { Scope::Ended } else { Scope::Due };
        let mut report = GcReport { dead: self.dead_bytes(), ..GcReport::default() };
        if options.dry_run {
            let rehearsed = self.index().rehearse(|rows| self.rehearse(rows, scope, &mut report));
            rehearsed.map_err(|e| self.index_error("rehearse a collection", *e))?;
            return Ok(report);
        }
        self.check_writable()?;
        let mut writer = lock(&self.writer);
        let mut plan = Plan::default();
        let read = |step: IndexResult<Option<Tidy>>| step.map_err(|e| self.index_error("read the index", *e));
        // First whatever ends now, then what nobody leases by then.
        while let Some(step) = read(self.leases_step(&mut plan))? {
            self.step(&mut writer, step, &mut report)?;
        }
        while self.step(&mut writer, Tidy::Collect(scope), &mut report)? {}
        let before = self.dead_bytes();
        while let Some(step) = read(self.packs_step_before(&mut plan.rewrite, writer.pack))? {
            self.step(&mut writer, step, &mut report)?;
        }
        report.given_back = before.saturating_sub(self.dead_bytes());
        let waiting = self.index().rehearse(|rows| rows.waiting());
        report.waiting = waiting.map_err(|e| self.index_error("read the index", *e))?;
        Ok(report)
    }

    /// One step; says whether objects went.
    fn step(&self, writer: &mut Writer, step: Tidy, report: &mut GcReport) -> Result<bool, PutError> {
        match self.commit_locked(writer, &[Change::Tidy(step)]).pop() {
            Some(Ok(Outcome::Tidied(done))) => {
                count(&mut report.gone, &done.removed);
                Ok(!done.removed.is_empty())
            }
            Some(Err(error)) => Err(error),
            _ => Err(PutError::Failed),
        }
    }

    /// The same within a transaction that is undone.
    fn rehearse(&self, rows: &mut Rows<'_>, scope: Scope, report: &mut GcReport) -> IndexResult<()> {
        let (grace_s, idle_s) = (self.grace_s(), self.idle_s());
        rows.totals.uptime_s = rows.totals.uptime_s.max(self.uptime_s());
        let mut plan = Plan::default();
        while let Some(Tidy::EndLeases { of, leases, .. }) =
            self.accounts_step(&mut plan, rows.totals.uptime_s)?
        {
            rows.end_undated(&of, &leases, idle_s, grace_s)?;
        }
        while rows.expire(usize::MAX, grace_s)? > 0 {}
        loop {
            let removed = rows.collect(scope, 10_000)?;
            if removed.is_empty() {
                break;
            }
            count(&mut report.gone, &removed);
        }
        report.waiting = rows.waiting()?;
        Ok(())
    }
}

impl Gone {
    /// All of them together.
    pub fn sum(by: &GoneBy) -> Self {
        by.values().fold(Self::default(), |sum, gone| Self {
            objects: sum.objects + gone.objects,
            shares: sum.shares + gone.shares,
            bytes: sum.bytes + gone.bytes,
        })
    }
}
