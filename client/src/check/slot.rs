//! One slot: which members hold its newest record, and bringing it back to those that do not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use caps::{Cap, PlacementBucket, SlotWrite, VerifyHash};
use encoding::slot::SignedRecord;
use protocol::NodeId;

use super::{CheckOptions, Grade, Health, State};
use crate::Client;
use crate::slot::{Look, SlotError, SlotHealth};

/// Checks a slot, and brings it back where that is wanted. Whoever may write may also replace members that are lost, and those that will
/// be, since their servers are being drained, and adds members where there are servers for more.
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
    let grows = write.is_some() && record.as_ref().is_some_and(|record| may_grow(client, bucket, record));
    if options.repair && (health.state == State::Unhealthy || grows) {
        let (repaired, problem) = repair(client, (hash, bucket), write).await;
        match repaired {
            Ok(after) => {
                let members = after.record.members().count();
                let now = judge(client, health.cap.clone(), hash, &Ok(after.clone()), health.grade);
                let fresh = after.holding.iter().filter(|store| !health.stores.contains(*store)).copied();
                health.made = (0..members as u16).zip(fresh).collect();
                (health.good, health.needed, health.total) = (now.good, now.needed, now.total);
                health.happiness = now.happiness;
                health.problems = now.problems;
                health.problems.extend(problem.filter(|_| now.state != State::Healthy));
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
    let leaving = leaving(client, after).len();
    let whole = after.holding.len() == after.record.members().count() && leaving == 0;
    if whole && !may_grow(client, bucket, &after.record) {
        return (restored, None);
    }
    let replaced = async {
        let members = client.live_members(write).await?;
        // With fewer than before less could be lost than if those that are away just came back. Those that are drained will not.
        if members.len() + leaving < after.record.config.members.len() {
            let reason = "there are too few other servers; those that are away may come back".to_owned();
            return Err(SlotError::Members { reason });
        }
        // One that could be a member may not answer just now.
        if whole && members.len() <= after.record.config.members.len() {
            return Ok(after.record.clone());
        }
        client.change_members(write, members, client.shares_happy()).await
    };
    match replaced.await {
        Ok(_) => (client.slot_health(&hash, bucket, Look::Restore).await, None),
        Err(error) => (restored, Some(format!("its lost members could not be replaced: {error}"))),
    }
}

/// Whether there are servers for more members: those that came after the slot was made, or after some were lost.
fn may_grow(client: &Client, bucket: PlacementBucket, record: &SignedRecord) -> bool {
    let servers: BTreeSet<NodeId> =
        client.upload_candidates(bucket).into_iter().map(|candidate| candidate.server).collect();
    record.members().count() < servers.len().min(client.params().total().into())
}

/// Members whose servers are being drained: they hold it and count, but not for long.
fn leaving(client: &Client, found: &SlotHealth) -> Vec<NodeId> {
    let draining = client.grid().draining();
    found
        .record
        .members()
        .map(|member| NodeId::new(member.store))
        .filter(|id| draining.contains(id))
        .collect()
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
            let leaving = leaving(client, found);
            let total = found.record.members().count();
            let good = found.holding.iter().filter(|store| !leaving.contains(store)).count();
            let quorum = usize::from(found.record.config.quorum);
            (health.good, health.needed, health.total) = (good, quorum, total);
            (health.happiness, health.happy) = (good, quorum);
            health.state = match good {
                _ if found.holding.is_empty() => State::Unrecoverable,
                good if good == total => State::Healthy,
                _ => State::Unhealthy,
            };
            health.problems = found.failures.iter().map(ToString::to_string).collect();
            health.problems.extend(leaving.iter().map(|store| leaving_text(client, store)));
            health.stores = found.holding.iter().copied().collect();
        }
        Err(error) => {
            health.problems = error.failures().iter().map(ToString::to_string).collect();
            health.problems.push(error.to_string());
        }
    }
    health
}

fn leaving_text(client: &Client, store: &NodeId) -> String {
    let server = client.grid().server_of(store).map_or_else(|| store.short(), |server| server.name());
    format!("{server} is being drained: whoever may write replaces it by a repair")
}
