//! Rebalancing: what stands better on another server is handed over to it, slowly, and let go of here when that is proved and the object
//! is no worse for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::NodeId;
use protocol::message::StoreState;
use protocol::placement::Holders;

use super::Handover;
use super::give::{GiveError, Load};
use super::others::fill;
use super::plan::{Place, Shift, may_let_go, order, shift};
use super::progress::{Order, PROBLEMS_MAX, Phase, Progress};
use crate::collect::Tidy;
use crate::commit::{Change, Outcome};
use crate::error::ReadError;
use crate::index::Stocked;
use crate::store::Store;

/// A share moves for its place alone only to a server that is so much emptier: filled to less than this part of how far ours is. So
/// two that are about equally full leave each other alone.
const EMPTIER: (u128, u128) = (3, 4);

/// How full the servers are that take shares, as they say, and as what was moved since changed it.
struct Fills(BTreeMap<NodeId, (u64, u64)>);

impl Fills {
    fn is_emptier(&self, that: &NodeId, than: &NodeId) -> bool {
        let (Some(that), Some(than)) = (self.0.get(that), self.0.get(than)) else { return false };
        let (share, of) = EMPTIER;
        // used / all < 3/4 * used / all, without division.
        u128::from(that.0) * u128::from(than.1) * of < u128::from(than.0) * u128::from(that.1) * share
    }

    fn moved(&mut self, from: &NodeId, to: &NodeId, len: u64) {
        if let Some((used, _)) = self.0.get_mut(from) {
            *used = used.saturating_sub(len);
        }
        if let Some((used, _)) = self.0.get_mut(to) {
            *used = used.saturating_add(len);
        }
    }
}

/// One pass under way.
struct Rebalancing {
    places: Vec<Place>,
    fills: Fills,
    refused: BTreeSet<NodeId>,
    progress: Progress,
    rate: Option<u64>,
}

impl Handover {
    /// Goes once through all objects, at so many bytes a second. Does nothing while any server that is announced does not answer: what
    /// it holds would not be known. Nor where anybody may announce a server: what was handed to an invented one would be gone.
    pub(super) async fn rebalance(self: &Arc<Self>, rate: Option<u64>) {
        let Some(mut pass) = self.begin_rebalance(rate).await else { return };
        for store in &self.server.stores {
            let mut after = None;
            while store.state() == StoreState::Writable {
                let chunk = match self.next_chunk(store, after).await {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => break,
                    Err(error) => return self.cannot_rebalance(&mut pass.progress, store, &error),
                };
                after = chunk.last().map(|object| object.hash);
                let done = match self.is_told(Order::Drain) {
                    true => None,
                    false => match self.rebalance_chunk(&mut pass, store, chunk).await {
                        Ok(done) => done,
                        Err(error) => return self.cannot_rebalance(&mut pass.progress, store, &error),
                    },
                };
                if done.is_none() {
                    tracing::info!("rebalancing ends before it is through");
                    return;
                }
                self.note_rebalance(&mut pass.progress, Phase::HandingOver);
            }
        }
        self.note_rebalance(&mut pass.progress, Phase::Complete);
        let Progress { done_shares, done_bytes, .. } = pass.progress;
        tracing::info!(shares = done_shares, bytes = done_bytes, "rebalanced");
    }

    /// Of an object of which not all is known, nothing is let go.
    fn cannot_rebalance(&self, progress: &mut Progress, store: &Store, error: &dyn std::fmt::Display) {
        tracing::error!(store = %store.id(), %error, "the index cannot be read");
        progress.problems.push(format!("the index of store {} cannot be read: {error}", store.id().short()));
        self.note_rebalance(progress, Phase::Waiting);
    }

    fn note_rebalance(&self, progress: &mut Progress, phase: Phase) {
        progress.phase = phase;
        progress.updated_s = self.now().as_secs();
        if let Err(error) = Order::Rebalance.write(&*self.dir, progress) {
            tracing::warn!(%error, "how far rebalancing is cannot be written down");
        }
    }

    async fn begin_rebalance(&self, rate: Option<u64>) -> Option<Rebalancing> {
        let (mut fills, mut places, mut progress) = (BTreeMap::new(), Vec::new(), Progress::default());
        if !self.giver.others.is_chosen() {
            let problem = "nobody says which servers are of this grid: set `hand_over_to` or `owner`";
            tracing::warn!("no rebalancing: {problem}");
            progress.problems.push(problem.to_owned());
            self.note_rebalance(&mut progress, Phase::Waiting);
            return None;
        }
        self.giver.others.refresh(self.now()).await;
        for other in self.giver.others.all() {
            match self.giver.others.status(&other.id()).await {
                Ok(status) => drop(fill(&status).map(|fill| fills.insert(other.id(), fill))),
                Err(error) => progress.problems.push(format!("{}: {error}", other.name())),
            }
            places.push(other.place());
        }
        if !progress.problems.is_empty() {
            tracing::info!(servers = progress.problems.len(), "no rebalancing: not all servers answer");
            progress.problems.truncate(PROBLEMS_MAX);
            self.note_rebalance(&mut progress, Phase::Waiting);
            return None;
        }
        let server = self.server.clone();
        let status = self.server.pool.run(move || server.status()).await;
        fills.extend(fill(&status).map(|fill| (self.id, fill)));
        let stores = self.server.stores.iter().map(|store| store.id()).collect();
        places.push(Place { server: self.id, zone: self.own_zone(), stores });
        // A server whose stores take nothing is no place, whatever it announces.
        places.retain(|place| fills.contains_key(&place.server));
        Some(Rebalancing { places, fills: Fills(fills), refused: BTreeSet::new(), progress, rate })
    }

    /// `None` if it cannot go on.
    async fn rebalance_chunk(
        self: &Arc<Self>,
        pass: &mut Rebalancing,
        store: &Arc<Store>,
        chunk: Vec<Stocked>,
    ) -> Result<Option<()>, ReadError> {
        let hashes: Vec<_> = chunk.iter().map(|object| object.hash).collect();
        let mut counted = self.giver.others.census(&hashes).await;
        let own = self.own_numbers(&hashes).await?;
        if !counted.silent.is_empty() {
            return Ok(None);
        }
        for object in chunk {
            let mut holders = counted.holders.remove(&object.hash).unwrap_or_default();
            for number in own.get(&object.hash).into_iter().flatten() {
                holders.entry(*number).or_default().insert(self.id);
            }
            if let Some(moved) = self.improve(pass, store, &object, &holders).await {
                pass.progress.done_shares += 1;
                pass.progress.done_bytes += moved;
                let pause = pass.rate.map(|rate| Duration::from_secs_f64(moved as f64 / rate.max(1) as f64));
                tokio::time::sleep(pause.unwrap_or_default()).await;
            }
        }
        Ok(Some(()))
    }

    /// Moves one share of an object, if that is for us to do; returns its bytes.
    async fn improve(
        self: &Arc<Self>,
        pass: &mut Rebalancing,
        store: &Arc<Store>,
        object: &Stocked,
        holders: &Holders,
    ) -> Option<u64> {
        let wanted_s = object.wanted_s?;
        let bucket = object.shares.first()?.1.bucket;
        let order = order(bucket, &pass.places);
        let takes = |to: &NodeId, spreads: bool| {
            !pass.refused.contains(to) && (spreads || pass.fills.is_emptier(to, &self.id))
        };
        let Shift { number, to } = shift(&self.id, holders, &order, takes)?;
        let place = order.iter().find(|place| place.server == to)?;
        let (key, location) = *object.shares.iter().find(|(key, _)| key.number == number)?;
        let lease_s = wanted_s.min(store.idle_s());
        let load = Load { store: store.clone(), key, len: location.len, lease_s: lease_s.max(1) };
        match self.giver.give(&load, place).await {
            Ok(_) => {}
            Err(error @ GiveError::Here(_)) => {
                tracing::error!(store = %store.id(), share = %key, %error, "a share cannot be handed over");
                return None;
            }
            Err(error) => {
                tracing::warn!(server = %to, share = %key, %error, "a server does not take a share");
                pass.refused.insert(to);
                return None;
            }
        }
        let gone = self.let_go(store, object, number, &to).await;
        if gone {
            pass.fills.moved(&self.id, &to, location.len);
        }
        gone.then_some(location.len)
    }

    /// Lets go of a share that `to` has just proved to have, unless by now the object would be worse for it.
    async fn let_go(
        self: &Arc<Self>,
        store: &Arc<Store>,
        object: &Stocked,
        number: u16,
        to: &NodeId,
    ) -> bool {
        let counted = self.giver.others.census(&[object.hash]).await;
        if !counted.silent.is_empty() {
            return false;
        }
        let mut holders = counted.holders.get(&object.hash).cloned().unwrap_or_default();
        let Ok(mut own) = self.own_numbers(&[object.hash]).await else { return false };
        for number in own.remove(&object.hash).unwrap_or_default() {
            holders.entry(number).or_default().insert(self.id);
        }
        if !may_let_go(&self.id, number, to, &holders) {
            tracing::debug!(hash = %object.hash, number, "a share was handed over and stays here, too");
            return false;
        }
        let key = crate::index::ShareKey { hash: object.hash, number };
        let step = Change::Tidy(Tidy::HandOff(vec![(key, object.leases)]));
        match store.submit(&self.server.pool, step).await {
            Ok(Outcome::Tidied(done)) => !done.handed.is_empty(),
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(store = %store.id(), share = %key, %error, "a share cannot be let go");
                false
            }
        }
    }
}
