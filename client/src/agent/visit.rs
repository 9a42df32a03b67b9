//! One check of one root, and everything that is done about what it finds.

use std::collections::{BTreeMap, BTreeSet};

use caps::Cap;
use tokio::task::JoinSet;

use super::settings::AgentSettings;
use super::state::{Found, Ill, RootState};
use crate::Client;
use crate::check::{CheckOptions, DeepTotals, Grade, Health, Renewal, State};

/// Objects repaired at a time.
const AT_ONCE: usize = 8;

/// A check that was made.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) grade: Grade,
    pub(super) found: Found,
    /// Everything that was not healthy when it was first looked at, as it is now.
    pub(super) reports: Vec<Health>,
    /// Of those that were ill before, the ones that are healthy now without any doing.
    pub(super) recovered: BTreeSet<String>,
}

/// Why a check could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum VisitError {
    /// Without servers everything looks lost, and nothing can be done.
    #[error("only {reached} of {known} servers answer, too few to read anything")]
    Unreachable { reached: usize, known: usize },
    /// Every server says that it never had the root.
    #[error("it is not on this grid: all {asked} servers answer, and none has anything of it")]
    NotFound { asked: usize },
}

/// How many servers there are, and how many answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    pub(super) known: usize,
    pub(super) answer: usize,
}

/// Asks introducers and servers whether they are there.
pub(super) async fn reach(client: &Client) -> Reached {
    let status = client.status().await;
    let answer = status.servers.iter().filter(|server| server.outcome.is_ok()).count();
    Reached { known: status.servers.len(), answer }
}

/// Checks everything below a root, makes what is missing anew, and sees to leases and copies.
pub(super) async fn visit(
    client: &Client,
    cap: &Cap,
    (grade, known): (Grade, &RootState),
    settings: &AgentSettings,
    reached: Reached,
) -> Result<Visit, VisitError> {
    if reached.answer < usize::from(client.params().needed()).max(1) {
        return Err(VisitError::Unreachable { reached: reached.answer, known: reached.known });
    }
    let seconds = settings.lease.map(|lease| lease.as_secs());
    let client = &client.keeping(cap, seconds);
    let renew = settings.renew.then_some(seconds.map_or(Renewal::WhileAlive, Renewal::Seconds));
    let look = CheckOptions { grade, repair: false, renew };
    let (mut totals, mut ill, mut recovered) = (DeepTotals::default(), Vec::new(), BTreeSet::new());
    let mut checking = client.check_tree(vec![cap.clone()], look);
    while let Some(health) = checking.next().await {
        match health.state {
            State::Healthy => {
                totals.count(&health);
                recovered.extend(was_ill(&known.ill, &health));
            }
            _ => ill.push(health),
        }
    }
    let whole = checking.finish().await;
    let has_nothing =
        |health: &Health| health.good == 0 && health.holders.is_empty() && health.bad.is_empty();
    let is_gone = |health: &Health| has_nothing(health) && cap.verify_hash() == Some(health.hash);
    let is_new = known.checked.is_empty() && reached.answer == reached.known;
    if is_new && whole.objects + whole.slots == 1 && ill.iter().any(is_gone) {
        return Err(VisitError::NotFound { asked: reached.answer });
    }
    // Whatever is nearest to its end comes first.
    ill.sort_by_key(|health| (health.good.saturating_sub(health.needed), health.hash));
    let (reports, copies) = mend_all(client, ill, grade, settings).await;
    reports.iter().for_each(|health| totals.count(health));
    let found = Found {
        objects: totals.objects,
        slots: totals.slots,
        healthy: totals.healthy,
        unhealthy: totals.unhealthy,
        unrecoverable: totals.unrecoverable,
        repaired: totals.repaired,
        bad_shares: totals.bad_shares,
        unknown: whole.unknown,
        root_only: whole.root_only,
        leased: whole.leased,
        not_renewed: whole.not_renewed,
        copies,
    };
    Ok(Visit { grade, found, reports, recovered })
}

fn was_ill(ill: &BTreeMap<String, Ill>, health: &Health) -> Option<String> {
    // Of a large tree, no texts are made of what is well.
    if ill.is_empty() {
        return None;
    }
    Some(health.hash.to_string()).filter(|hash| ill.contains_key(hash))
}

async fn mend_all(
    client: &Client,
    ill: Vec<Health>,
    grade: Grade,
    settings: &AgentSettings,
) -> (Vec<Health>, u64) {
    let (mut tasks, mut reports, mut copies) = (JoinSet::new(), Vec::new(), 0);
    let mut waiting = ill.into_iter();
    loop {
        while tasks.len() < AT_ONCE
            && let Some(health) = waiting.next()
        {
            let (client, settings) = (client.clone(), settings.clone());
            tasks.spawn(async move { mend(&client, health, grade, &settings).await });
        }
        match tasks.join_next().await {
            Some(Ok((health, copied))) => {
                reports.push(health);
                copies += copied;
            }
            Some(Err(error)) => tracing::error!(%error, "a repair broke off"),
            None => return (reports, copies),
        }
    }
}

/// Brings one thing back. It is looked at once more before: another agent, or the owner, may have done it meanwhile.
async fn mend(client: &Client, found: Health, grade: Grade, settings: &AgentSettings) -> (Health, u64) {
    if !is_wanted(&found, settings) {
        return (found, 0);
    }
    let options = CheckOptions { grade, repair: true, renew: None };
    let health = match client.check(&found.cap, options).await {
        Ok(Some(health)) => health,
        Ok(None) | Err(_) => found,
    };
    for (number, server) in &health.made {
        tracing::info!(hash = %health.hash, number, server = %server.short(), "brought back");
    }
    let mut copies = 0;
    if settings.copies && health.is_slot() && health.now() == State::Unhealthy {
        match client.keep_copies(&health.cap, health.total).await {
            Ok(Some(kept)) => copies = kept.copies.len() as u64,
            Ok(None) => {}
            Err(error) => tracing::warn!(hash = %health.hash, %error, "no copies are kept of a slot"),
        }
    }
    (health, copies)
}

/// Whether so much is missing that it is to be brought back. Slots always are: it costs one message for each member.
fn is_wanted(health: &Health, settings: &AgentSettings) -> bool {
    let missing = health.total.saturating_sub(health.good);
    health.is_slot() || missing > settings.spare || health.happiness < health.happy
}
