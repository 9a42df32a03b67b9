//! One immutable object: its shares, counted or fetched.

use std::collections::{BTreeMap, BTreeSet};

use caps::Cap;
use protocol::NodeId;

use super::census::Holders;
use super::mending::mend;
use super::verify::{How, verify};
use super::{BadShare, CheckOptions, Grade, Health, State};
use crate::Client;
use crate::download::ObjectRef;
use crate::placement::happiness;

/// Chunks of an object that are looked at, all its shares together: where a hundredth of it is lost, one of them is with 99 %.
const SAMPLES: u32 = 459;
/// Chunks of each share of an object that is looked at by itself: where a server lost a hundredth of its share, one of them is with 80 %.
const SAMPLES_ALONE: u32 = 161;

/// What was found of an object.
#[derive(Default)]
pub(super) struct Found {
    pub(super) holders: Holders,
    pub(super) bad: Vec<BadShare>,
    /// Servers that did not answer, and why.
    pub(super) away: BTreeMap<NodeId, String>,
    pub(super) problems: Vec<String>,
    /// How many chunks were looked at, of the share of which it were the fewest; `None` where all shares were fetched or none.
    pub(super) sampled: Option<u32>,
    /// Since when the stores that hold it say that they have been scrubbed; see [`Health::scrubbed_s`].
    pub(super) scrubbed_s: Option<u64>,
}

/// Judges what was found, and repairs what is to be repaired.
pub(super) async fn judge(
    client: &Client,
    cap: Cap,
    object: ObjectRef,
    found: Found,
    options: CheckOptions,
) -> Health {
    let counted = counted(client, &found.holders);
    let state = state_of(client, &object, &found.holders, &counted);
    let away: BTreeSet<NodeId> = found.away.keys().copied().collect();
    let mut health = Health {
        cap,
        hash: object.hash,
        state,
        after: None,
        grade: options.grade,
        good: counted.len(),
        needed: object.needed.into(),
        total: object.total.into(),
        happiness: happiness(&counted),
        happy: happy(client, &object),
        holders: found.holders,
        stores: BTreeSet::new(),
        bad: found.bad,
        made: Vec::new(),
        not_renewed: 0,
        problems: found.away.into_values().chain(found.problems).collect(),
        wrong_encoding: None,
        sampled: found.sampled,
        scrubbed_s: found.scrubbed_s,
    };
    if options.repair && state == State::Unhealthy {
        mend(client, object, &mut health, away).await;
        let counted = self::counted(client, &health.holders);
        health.good = counted.len();
        health.happiness = happiness(&counted);
        let after = state_of(client, &object, &health.holders, &counted);
        // What nobody can mend is not healthy, however much of it there is.
        health.after = Some(if health.wrong_encoding.is_some() { state } else { after });
    }
    health
}

/// Servers that an object wants: those its uploader's client would, as far as there are shares.
pub(super) fn happy(client: &Client, object: &ObjectRef) -> usize {
    client.shares_happy().max(object.needed.into()).min(object.total.into())
}

/// Of who holds what, the part on servers that count: certified or pinned ones, where the settings name either. Shares elsewhere can be
/// read, but nobody relies on them.
pub(super) fn counted(client: &Client, holders: &Holders) -> Holders {
    let settings = client.settings();
    if settings.owner.is_none() && settings.pinned.is_empty() {
        return holders.clone();
    }
    let mut known: BTreeMap<NodeId, bool> = BTreeMap::new();
    let mut counts =
        |id: &NodeId| *known.entry(*id).or_insert_with(|| client.counts(&client.grid().server(id)));
    let mut counted = holders.clone();
    counted.values_mut().for_each(|servers| servers.retain(&mut counts));
    counted.retain(|_, servers| !servers.is_empty());
    counted
}

fn state_of(client: &Client, object: &ObjectRef, holders: &Holders, counted: &Holders) -> State {
    if holders.len() < usize::from(object.needed) {
        State::Unrecoverable
    } else if is_whole(client, object, counted) {
        State::Healthy
    } else {
        State::Unhealthy
    }
}

/// Whether all shares are there, on servers enough.
fn is_whole(client: &Client, object: &ObjectRef, counted: &Holders) -> bool {
    counted.len() == usize::from(object.total) && happiness(counted) >= happy(client, object)
}

impl Found {
    /// Whether nothing is to be repaired.
    pub(super) fn is_healthy(&self, client: &Client, object: &ObjectRef) -> bool {
        is_whole(client, object, &counted(client, &self.holders))
    }
}

/// How thoroughly to look at an object that nobody waits behind.
pub(super) fn alone(grade: Grade) -> Grade {
    match grade {
        Grade::Sampled { chunks: None } => Grade::Sampled { chunks: Some(SAMPLES_ALONE) },
        grade => grade,
    }
}

/// What a check of one object by itself rests on.
pub(super) async fn find(client: &Client, object: ObjectRef, grade: Grade) -> Found {
    match grade {
        Grade::Unseen => Found::default(),
        Grade::Claimed => super::census::census(client, &[object.hash]).await.found(&object),
        Grade::Sampled { chunks } => {
            let each = chunks.unwrap_or(SAMPLES.div_ceil(u32::from(object.total)));
            verify(client, object, How::Sampled(each)).await
        }
        Grade::Full => verify(client, object, How::Full).await,
    }
}
