//! One slot: which members hold its newest record, and bringing it back to those that do not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use caps::{Cap, PlacementBucket, SlotWrite, VerifyHash};
use encoding::slot::SignedRecord;

use super::{CheckOptions, Grade, Health, State};
use crate::Client;
use crate::slot::{Look, SlotError, SlotHealth};

/// Checks a slot, and brings it back where that is wanted. Whoever may write may also replace members that are lost.
pub(super) async fn check(
    client: &Client,
    cap: Cap,
    (hash, bucket): (VerifyHash, PlacementBucket),
    write: Option<&SlotWrite>,
    options: CheckOptions,
) -> (Health, Option<Arc<SignedRecord>>) {
    let look = match options.grade {
        Grade::Sampled { .. } | Grade::Full => Look::Records,
        Grade::Claimed | Grade::Unseen => Look::Claims,
    };
    let found = client.slot_health(&hash, bucket, look).await;
    let mut health = judge(client, cap, hash, &found, options.grade);
    let mut record = found.ok().map(|found| found.record);
    if options.repair && health.state == State::Unhealthy {
        let (repaired, problem) = repair(client, (hash, bucket), write).await;
        health.problems.extend(problem);
        match repaired {
            Ok(after) => {
                let members = after.record.members().count();
                let now = judge(client, health.cap.clone(), hash, &Ok(after.clone()), health.grade);
                let fresh = after.holding.iter().filter(|store| !health.stores.contains(*store)).copied();
                health.made = (0..members as u16).zip(fresh).collect();
                (health.good, health.needed, health.total) = (now.good, now.needed, now.total);
                health.happiness = now.happiness;
                health.problems = now.problems;
                health.after = Some(now.state);
                record = Some(after.record);
            }
            Err(error) => {
                health.problems.push(error.to_string());
                health.after = Some(health.state);
            }
        }
    }
    (health, record)
}

async fn repair(
    client: &Client,
    (hash, bucket): (VerifyHash, PlacementBucket),
    write: Option<&SlotWrite>,
) -> (Result<SlotHealth, SlotError>, Option<String>) {
    let restored = client.slot_health(&hash, bucket, Look::Restore).await;
    let (Ok(after), Some(write)) = (&restored, write) else { return (restored, None) };
    if after.holding.len() == after.record.members().count() {
        return (restored, None);
    }
    let replaced = async {
        let members = client.live_members(write).await?;
        // With fewer than before less could be lost than if those that are away just came back.
        if members.len() < after.record.config.members.len() {
            let reason = "there are too few other servers; those that are away may come back".to_owned();
            return Err(SlotError::Members { reason });
        }
        client.change_members(write, members, client.shares_happy()).await
    };
    match replaced.await {
        Ok(_) => (client.slot_health(&hash, bucket, Look::Restore).await, None),
        Err(error) => (restored, Some(format!("its lost members could not be replaced: {error}"))),
    }
}

fn judge(
    client: &Client,
    cap: Cap,
    hash: VerifyHash,
    found: &Result<SlotHealth, SlotError>,
    grade: Grade,
) -> Health {
    let mut health = Health {
        cap,
        hash,
        state: State::Unrecoverable,
        after: None,
        grade,
        good: 0,
        needed: 1,
        total: 1,
        happiness: 0,
        happy: client.shares_happy(),
        holders: BTreeMap::new(),
        stores: BTreeSet::new(),
        bad: Vec::new(),
        made: Vec::new(),
        not_renewed: 0,
        problems: Vec::new(),
        wrong_encoding: None,
        sampled: None,
        scrubbed_s: None,
    };
    match found {
        Ok(found) => {
            let (good, total) = (found.holding.len(), found.record.members().count());
            let quorum = usize::from(found.record.config.quorum);
            (health.good, health.needed, health.total) = (good, quorum, total);
            (health.happiness, health.happy) = (good, quorum);
            health.state = match good {
                0 => State::Unrecoverable,
                good if good == total => State::Healthy,
                _ => State::Unhealthy,
            };
            health.problems = found.failures.iter().map(ToString::to_string).collect();
            health.stores = found.holding.iter().copied().collect();
        }
        Err(error) => {
            health.problems = error.failures().iter().map(ToString::to_string).collect();
            health.problems.push(error.to_string());
        }
    }
    health
}
