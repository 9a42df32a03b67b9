//! Members that a change was not sent to at once: those beyond a quorum that answered quickly get the newest record a moment later, once
//! for many changes.
//!
//! A change is durable when a quorum holds it, so the others cost a busy writer work that its next change undoes. They are brought up
//! within [`BEHIND`], before the client closes, or at once if a member of the quorum does not answer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use encoding::slot::SignedRecord;
use protocol::NodeId;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::ask::{Leasing, Round};
use super::{Cell, lock};
use crate::Client;

/// How long members may be behind a writer that goes on writing.
const BEHIND: Duration = Duration::from_millis(100);
/// The least that a member of the chosen few is waited for before the others are asked too.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(20);

/// The members that answered a change or a read first.
#[derive(Clone, Debug)]
pub(super) struct Quick {
    /// In the order of their answers.
    pub(super) stores: Vec<NodeId>,
    /// How long they took.
    pub(super) took: Duration,
}

impl Quick {
    /// How long to wait for them alone.
    pub(super) fn patience(&self, longest: Duration) -> Duration {
        (self.took * 4).clamp(SHORTEST_PATIENCE.min(longest), longest)
    }

    /// The same, said to be as quick as `before` was where they were slower: who is a little slower each time is not waited for longer and
    /// longer.
    pub(super) fn within(self, before: Option<Self>) -> Self {
        let took = before.map_or(self.took, |before| self.took.min(before.took));
        Self { took, ..self }
    }
}

/// Members of one slot that are behind.
#[derive(Clone, Default)]
pub(super) struct Behind {
    /// The last record of this process that a quorum holds.
    chosen: Option<Arc<SignedRecord>>,
    stores: BTreeSet<NodeId>,
    under_way: bool,
}

/// The work that brings members up, of all slots of a client.
pub(super) struct Stragglers {
    tasks: Mutex<JoinSet<()>>,
    hurry: watch::Sender<bool>,
}

impl Default for Stragglers {
    fn default() -> Self {
        Self { tasks: Mutex::default(), hurry: watch::Sender::new(false) }
    }
}

impl Stragglers {
    /// Sees to it that `stores` get `record`, or what comes after it.
    pub(super) fn bring_up(
        &self,
        client: &Client,
        cell: &Arc<Cell>,
        record: &Arc<SignedRecord>,
        stores: Vec<NodeId>,
    ) {
        let mut known = lock(&cell.known);
        let behind = &mut known.behind;
        behind.chosen = Some(record.clone());
        behind.stores.extend(stores);
        if behind.stores.is_empty() || std::mem::replace(&mut behind.under_way, true) {
            return;
        }
        drop(known);
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work_off(client.clone(), cell.clone(), self.hurry.subscribe()));
    }

    /// Waits for a while, beside whatever comes next, for members that were asked and did not answer yet: a command that ends with the
    /// quorum would cut off what is on its way to them.
    pub(super) fn hear_out(&self, client: &Client, mut round: Round, record: &Arc<SignedRecord>) {
        if round.is_over() {
            return;
        }
        let (client, record) = (client.clone(), record.clone());
        let longest = client.writers().timeouts().hedge;
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let _ = timeout(longest, async { while round.next().await.is_some() {} }).await;
            round.leave();
            client.slots().memory.remember(&record.id.hash(), &record, &round.shown);
        });
    }

    /// Brings all of them up now, as far as they answer.
    pub(super) async fn settle(&self) {
        self.hurry.send_replace(true);
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        while tasks.join_next().await.is_some() {}
    }
}

async fn work_off(client: Client, cell: Arc<Cell>, mut hurry: watch::Receiver<bool>) {
    loop {
        let _ = timeout(BEHIND, hurry.wait_for(|hurry| *hurry)).await;
        let (record, stores) = {
            let mut known = lock(&cell.known);
            let behind = &mut known.behind;
            match (&behind.chosen, behind.stores.is_empty()) {
                (Some(record), false) => (record.clone(), std::mem::take(&mut behind.stores)),
                _ => {
                    behind.under_way = false;
                    return;
                }
            }
        };
        send(&client, &record, &stores).await;
    }
}

/// Whoever does not take it is brought up by the next reader or writer that needs it.
async fn send(client: &Client, record: &Arc<SignedRecord>, stores: &BTreeSet<NodeId>) {
    let hash = record.id.hash();
    let mut round = Round::new(client, hash, Some(record.clone()));
    for member in record.members().filter(|member| stores.contains(&NodeId::new(member.store))) {
        round.accept(NodeId::new(member.store), record, Leasing::IfNew);
    }
    while round.next().await.is_some() {}
    client.slots().memory.remember(&hash, record, &round.shown);
}

/// The answers of members to a change or a read: whoever gave them is asked first the next time.
#[derive(Debug)]
pub(super) struct Timed {
    begun: Instant,
    stores: Vec<NodeId>,
}

impl Timed {
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), stores: Vec::new() }
    }

    /// From now on others are asked too.
    pub(super) fn begin_again(&mut self) {
        self.begun = Instant::now();
    }

    pub(super) fn note(&mut self, store: NodeId) {
        self.stores.push(store);
    }

    pub(super) fn end(self) -> Quick {
        Quick { stores: self.stores, took: self.begun.elapsed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_slower_bit_by_bit_is_waited_for_no_longer() {
        let quick = |millis| Quick { stores: Vec::new(), took: Duration::from_millis(millis) };
        let longest = Duration::from_millis(300);
        let mut known = quick(5);
        for _ in 0..5 {
            let just_in_time = known.patience(longest) - Duration::from_millis(1);
            known = Quick { took: just_in_time, ..quick(0) }.within(Some(known));
        }
        assert_eq!(known.patience(longest), Duration::from_millis(20));
        // Whoever is compared with nobody is as quick as it is.
        assert_eq!(quick(50).within(None).patience(longest), Duration::from_millis(200));
    }
}
