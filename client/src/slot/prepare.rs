//! The first half of a change: a quorum promises a ballot and shows what it accepted.

use std::collections::BTreeSet;
use std::sync::Arc;

use encoding::slot::{Ballot, Promise, SignedRecord, SlotKey};
use protocol::NodeId;
use protocol::slot_message::Verdict;

use super::ask::Round;
use super::error::SlotError;
use crate::Client;

/// What came of a prepare.
pub(super) enum Prepared {
    /// A quorum promised.
    Base {
        /// The newest record shown: the change starts from it.
        base: Arc<SignedRecord>,
        /// Whether a quorum holds exactly this.
        chosen: bool,
    },
    /// Another writer is ahead: at this ballot.
    Outbid(Ballot),
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
            if base.tombstone && base.ballot().epoch >= ballot.epoch {
                return Err(SlotError::Deleted);
            }
            let chosen = base.is_quorum(|member| {
                let shown = round.shown.get(&NodeId::new(member.store));
                shown.is_some_and(|shown| shown.holds(member, &base))
            });
            return Ok(Prepared::Base { base, chosen });
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
        let Some((store, verdict)) = round.next().await else { break };
        match verdict {
            Some(Verdict::Yes) => {
                promised.insert(store);
            }
            // It has no state, or one that does not name it: it is shown the record that does.
            Some(Verdict::Unknown | Verdict::NotMember) if shown.insert(store) => {
                let newest = round.newest.clone().expect("it began with one");
                if newest.names(store.as_bytes()) {
                    round.prepare(store, promise, Some(&newest));
                }
            }
            Some(Verdict::Deleted) => return Err(SlotError::Deleted),
            _ => {}
        }
    }
    round.leave();
    let highest = round.highest();
    if highest > ballot {
        return Ok(Prepared::Outbid(highest));
    }
    let base = round.newest.clone().expect("it began with one");
    let (reached, wanted) = round.count(&base, |member| promised.contains(&NodeId::new(member.store)));
    Err(SlotError::TooFew { reached, wanted, failures: round.failures() })
}
