//! The first half of a change: a quorum promises a ballot and shows what it accepted.

use std::collections::BTreeSet;
use std::sync::Arc;

use encoding::slot::{Ballot, Promise, SignedRecord, SlotKey};
use protocol::NodeId;
use protocol::slot_message::Verdict;

use super::ask::{Kind, Leasing, Round};
use super::error::SlotError;
use crate::Client;

/// What came of a prepare.
pub(super) enum Prepared {
    /// A quorum promised.
    Base {
        /// The newest record shown: the change starts from it.
        base: Arc<SignedRecord>,
        /// Whether a quorum showed exactly this.
        settled: bool,
    },
    /// Another writer is ahead.
    Outbid {
        /// At this ballot.
        highest: Ballot,
        /// The newest record shown.
        newest: Arc<SignedRecord>,
    },
}

/// Asks the members of the newest record, and of newer ones that show up, to promise `ballot`.
pub(super) async fn prepare(
    client: &Client,
    key: &SlotKey,
    known: Arc<SignedRecord>,
    ballot: Ballot,
) -> Result<Prepared, SlotError> {
    let promise = Promise::sign(key, ballot);
    let mut round = Round::new(client, key.hash(), Some(known));
    let (mut asked, mut shown, mut promised) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    loop {
        let base = round.newest.clone().expect("it began with one");
        let yes = |round: &Round, promised: &BTreeSet<NodeId>| {
            base.is_quorum(|member| {
                let store = NodeId::new(member.store);
                let now = round.shown.get(&store);
                promised.contains(&store) && now.is_some_and(|now| now.incarnation == member.incarnation)
            })
        };
        if yes(&round, &promised) {
            round.leave();
            let settled = base.is_quorum(|member| {
                let shown = round.shown.get(&NodeId::new(member.store));
                shown.is_some_and(|shown| shown.holds(member, &base))
            });
            return Ok(Prepared::Base { base, settled });
        }
        for member in base.members() {
            let store = NodeId::new(member.store);
            if asked.insert(store) {
                round.prepare(store, promise, None);
            }
        }
        if round.is_lost(&base, |member| promised.contains(&NodeId::new(member.store))) {
            break;
        }
        let Some((store, verdict)) = round.next_in_race().await else { break };
        let newest = round.newest.clone().expect("it began with one");
        match verdict {
            Some((Kind::Prepare, Verdict::Yes)) => {
                promised.insert(store);
            }
            // New to it: it gets the record that names it, which is the writer's own accept, and is asked again.
            Some((Kind::Prepare, Verdict::Unknown)) if shown.insert(store) => {
                round.accept(store, &newest, Leasing::IfNew);
            }
            Some((Kind::Accept, Verdict::Yes)) => round.prepare(store, promise, None),
            // What it has does not name it, or is of an earlier epoch: it is shown the newest.
            Some((Kind::Prepare, Verdict::NotMember | Verdict::TooFar))
                if newest.names(store.as_bytes()) && shown.insert(store) =>
            {
                round.prepare(store, promise, Some(&newest));
            }
            _ => {}
        }
    }
    round.leave();
    let (highest, base) = (round.highest(), round.newest.clone().expect("it began with one"));
    if highest > ballot || base.ballot().epoch != ballot.epoch {
        return Ok(Prepared::Outbid { highest, newest: base });
    }
    let (reached, wanted) = round.count(&base, |member| promised.contains(&NodeId::new(member.store)));
    Err(SlotError::TooFew { reached, wanted, failures: round.failures() })
}
