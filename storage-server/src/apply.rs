//! Changes decided within the transaction that makes them so.

use std::collections::{BTreeMap, BTreeSet};

use caps::VerifyHash;
use encoding::slot::MAX_RECORD_LEN;
use protocol::NodeId;
use protocol::message::{LeaseTerms, StoreState};
use protocol::slot_message::Verdict;

use crate::collect::{Tidied, Tidy};
use crate::commit::{Answer, Change, Committed, NewShare, Outcome, SlotChange};
use crate::error::PutError;
use crate::index::{IndexResult, Location, Place, Rows, SLOT_CHARGE, ShareKey, Term};
use crate::slot::{Moved, SlotRow, decide};
use crate::store::Store;
use crate::usage::Hold;

/// A batch within its transaction.
pub(crate) struct Apply<'a, 't> {
    pub(crate) rows: &'a mut Rows<'t>,
    pub(crate) store: &'a Store,
    /// Shares whose bytes were put where they belong, until their rows are added.
    pub(crate) fresh: BTreeMap<ShareKey, Location>,
    /// Records that were copied: which change, share, and where from and to.
    pub(crate) moved: Vec<(ShareKey, Place, Place)>,
    /// Packs whose files were removed.
    pub(crate) forgotten: Vec<u32>,
    /// The pack that is written, or will be next.
    pub(crate) pack: u32,
    /// What is held of quotas for what is decided here.
    pub(crate) holds: Vec<Hold>,
}

impl Apply<'_, '_> {
    /// Decides what is not decided yet.
    pub(crate) fn all(&mut self, changes: &[Change], answers: &mut [Option<Answer>]) -> IndexResult<()> {
        let tidying = |change: &Change| matches!(change, Change::Tidy(_));
        // What goes is decided last: by then whoever is acknowledged by this transaction has its lease.
        for last in [false, true] {
            let open = changes.iter().zip(answers.iter_mut()).filter(|(_, answer)| answer.is_none());
            for (change, answer) in open.filter(|(change, _)| tidying(change) == last) {
                *answer = Some(self.one(change)?);
            }
        }
        Ok(())
    }

    /// Files of shares to which no row refers after all.
    pub(crate) fn refused_files(&self) -> IndexResult<Vec<ShareKey>> {
        let mut files = Vec::new();
        for (key, location) in &self.fresh {
            if location.place == Place::File && self.rows.share(*key)?.is_none() {
                files.push(*key);
            }
        }
        Ok(files)
    }

    fn one(&mut self, change: &Change) -> IndexResult<Answer> {
        match change {
            Change::Share(share) => self.share(share),
            Change::Lease { account, terms, hashes } => {
                let here: IndexResult<Vec<bool>> =
                    hashes.iter().map(|hash| self.rows.has_object(*hash)).collect();
                let here = here?;
                let wanted: BTreeSet<VerifyHash> =
                    hashes.iter().zip(&here).filter_map(|(hash, here)| here.then_some(*hash)).collect();
                if let Err(error) = self.afford(account, wanted, 0, None)? {
                    return Ok(Err(error));
                }
                if here.contains(&true) {
                    let (short, term) = (self.rows.contact(account)?, term(self.rows, terms));
                    for (hash, _) in hashes.iter().zip(&here).filter(|(_, here)| **here) {
                        self.rows.lease(short, terms.tag.0, *hash, term)?;
                    }
                }
                Ok(Ok(Outcome::Flags(here)))
            }
            Change::Cancel { account, tag, hashes, until } => {
                let Some(short) = self.rows.known(account)? else {
                    return Ok(Ok(Outcome::Flags(vec![false; hashes.len()])));
                };
                let times = (*until, self.store.grace_s());
                let gone: IndexResult<Vec<bool>> =
                    hashes.iter().map(|hash| self.rows.cancel(short, *tag, *hash, times)).collect();
                Ok(Ok(Outcome::Flags(gone?)))
            }
            Change::Slot(change) => self.slot(change),
            Change::Contact { account } => {
                if self.rows.known(account)?.is_some() {
                    self.rows.contact(account)?;
                }
                Ok(Ok(Outcome::Flags(Vec::new())))
            }
            Change::Tidy(tidy) => self.tidy(tidy).map(|done| Ok(Outcome::Tidied(done))),
        }
    }

    fn share(&mut self, share: &NewShare) -> IndexResult<Answer> {
        let (key, fresh) = (share.key, self.fresh.get(&share.key).copied());
        let is_new = fresh.is_some() && self.rows.share(key)?.is_none();
        let more = if is_new { share.location.len } else { 0 };
        if let Err(error) = self.afford(&share.account, [key.hash], more, share.hold())? {
            return Ok(Err(error));
        }
        self.fresh.remove(&key);
        self.rows.keep(key.hash)?;
        if let Some(location) = &fresh {
            self.rows.add_share(key, location)?;
        }
        let short = self.rows.contact(&share.account)?;
        let term = term(self.rows, &share.lease);
        self.rows.lease(short, share.lease.tag.0, key.hash, term)?;
        Ok(Ok(Outcome::Stored(Committed { hash: key.hash, new: fresh.is_some() })))
    }

    /// Decides a move by what the slot is now.
    fn slot(&mut self, change: &SlotChange) -> IndexResult<Answer> {
        let row = self.rows.slot(&change.hash)?;
        let member = self.store.member();
        let Moved { verdict, row: moved } = decide(&member, &change.hash, row.clone(), &change.step);
        let leases = matches!(verdict, Verdict::Yes | Verdict::Kept);
        let lease = change.lease.as_ref().filter(|_| leases);
        let more = if row.is_none() { SLOT_CHARGE } else { 0 };
        if let Some((account, _)) = lease
            && let Err(error) = self.afford(account, [change.hash], more, None)?
        {
            return Ok(Err(error));
        }
        if let Some(moved) = &moved {
            let grows = row.as_ref().map_or(0, SlotRow::len) < moved.len();
            if grows && let Err(error) = admit_slot(self.store, change, row.is_none()) {
                return Ok(Err(error));
            }
            self.rows.set_slot(&change.hash, moved)?;
        }
        if let Some((account, terms)) = lease {
            let (short, term) = (self.rows.contact(account)?, term(self.rows, terms));
            self.rows.lease(short, terms.tag.0, change.hash, term)?;
        }
        Ok(Ok(Outcome::Slot(verdict, moved.or(row))))
    }

    /// Whether an account may be charged for leases on these, and for `more` bytes that come to them; then that is held for it.
    fn afford(
        &mut self,
        account: &NodeId,
        hashes: impl IntoIterator<Item = VerifyHash>,
        more: u64,
        hold: Option<&Hold>,
    ) -> IndexResult<Result<(), PutError>> {
        let own = if hold.is_none() { self.store.hold(*account) } else { None };
        let Some(hold) = hold.or(own.as_ref()) else { return Ok(Ok(())) };
        let short = self.rows.known(account)?;
        let mut cost = more;
        for hash in hashes {
            cost += self.rows.cost(short, hash)?;
        }
        let held = hold.reach(cost);
        self.holds.extend(own);
        Ok(held)
    }

    fn tidy(&mut self, tidy: &Tidy) -> IndexResult<Tidied> {
        let (grace_s, idle_s) = (self.store.grace_s(), self.store.idle_s());
        let mut done = Tidied::default();
        match tidy {
            Tidy::Collect(scope) => done.removed = crate::collect::collect(self.rows, *scope, grace_s)?,
            Tidy::EndLeases { of, leases, last } => {
                self.rows.end_undated(of, leases, idle_s, grace_s)?;
                if *last {
                    self.rows.note_gone(of, idle_s)?;
                }
            }
            Tidy::Move(_) => {
                for (key, from, to) in std::mem::take(&mut self.moved) {
                    self.rows.move_share(key, from, to)?;
                }
            }
            Tidy::Forget(_) => self.rows.forget_packs(&std::mem::take(&mut self.forgotten), self.pack)?,
            Tidy::HandOff(keys) => {
                for (key, leases) in keys {
                    done.handed.extend(self.rows.hand_off(*key, *leases)?.map(|location| (*key, location)));
                }
            }
            Tidy::Uptime => {}
            Tidy::Scrub(note) => done.quarantined = self.store.apply_scrub(self.rows, note)?,
        }
        Ok(done)
    }
}

fn term(rows: &Rows<'_>, terms: &LeaseTerms) -> Term {
    Term::new(rows.totals.uptime_s, terms.duration_s)
}

/// Whether a slot may come in, leased, or grow: where there is room for the largest it may become.
fn admit_slot(store: &Store, change: &SlotChange, new: bool) -> Result<(), PutError> {
    if store.state() != StoreState::Writable || new && store.is_draining() {
        return Err(PutError::ReadOnly);
    }
    if new && change.lease.is_none() {
        return Err(PutError::NoLease);
    }
    let available = store.room().map_err(|e| store.failed("ask for free space", e))?;
    let needed = MAX_RECORD_LEN as u64;
    if available < needed { Err(PutError::NoSpace { needed, available }) } else { Ok(()) }
}
