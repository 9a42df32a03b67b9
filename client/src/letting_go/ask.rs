//! Asking servers which leases this account has, and having them end some.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use caps::VerifyHash;
use protocol::NodeId;
use protocol::limits::MAX_BATCH;
use protocol::message::{
    Bytes16, Bytes32, CancelLease, Flags, LeaseAt, LeaseQuery, Leases, LeasesReply, OldLeases, Request,
};
use protocol::session::RequestError;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::LetGone;
use crate::Client;
use crate::grid::Server;
use crate::servers::within;
use crate::tags::Tag;

/// By how much a lease must be older than it need be.
const ROUNDING: Duration = Duration::from_secs(2);
/// Objects that one request asks about: each may have several leases.
const ASKED: usize = 2000;
/// Answers to one question, at most: each comes of 50,000 leases of anybody's, where it is not full.
const PAGES_MAX: usize = 4096;
/// Leases that one server lists, at most: it is its word alone, and takes memory here.
const LISTED_MAX: usize = 1 << 23;

/// Which leases go, of those on what goes.
#[derive(Clone, Debug)]
pub(super) enum LeaseFilter {
    /// These.
    Leases(HashSet<(VerifyHash, Tag)>),
    /// Those of these tags.
    Tags(HashSet<Tag>),
}

impl LeaseFilter {
    fn takes(&self, own: &Own) -> bool {
        match self {
            Self::Leases(leases) => leases.contains(&(own.hash, own.tag)),
            Self::Tags(tags) => tags.contains(&own.tag),
        }
    }
}

/// What one server was found to have, and let go.
#[derive(Default)]
pub(super) struct Done {
    pub(super) hashes: HashSet<VerifyHash>,
    pub(super) leases: u64,
    pub(super) bytes: u64,
    pub(super) renewed: u64,
}

impl Client {
    /// Ends leases on these at all servers, if they were not made or renewed since `since`; without that, says what would end.
    pub(super) async fn cancel_on(
        &self,
        hashes: Vec<VerifyHash>,
        filter: LeaseFilter,
        since: Option<Instant>,
    ) -> LetGone {
        let (hashes, filter) = (Arc::new(hashes), Arc::new(filter));
        let mut asking = JoinSet::new();
        for server in self.grid().servers() {
            let (client, hashes, filter) = (self.clone(), hashes.clone(), filter.clone());
            asking.spawn(async move {
                let done = cancel_at(&client, &server, &hashes, &filter, since).await;
                (server, done)
            });
        }
        gather(self, asking).await
    }
}

impl Client {
    /// Which of these this account leases under other tags as well, by the word of any server: one that invents some keeps no more alive
    /// than it could keep anyway.
    pub(super) async fn held_otherwise(
        &self,
        slots: Vec<VerifyHash>,
        tags: &HashSet<Tag>,
    ) -> HashSet<VerifyHash> {
        let (slots, tags) = (Arc::new(slots), Arc::new(tags.clone()));
        let mut asking = JoinSet::new();
        for server in self.grid().servers() {
            let (client, slots, tags) = (self.clone(), slots.clone(), tags.clone());
            asking.spawn(async move {
                let mut held = HashSet::new();
                for some in slots.chunks(ASKED) {
                    let asked = some.iter().map(|hash| Bytes32(*hash.as_bytes())).collect();
                    let listed = pages(&client, &server, LeaseQuery::Of(asked), |own| {
                        if !tags.contains(&own.tag) {
                            held.insert(own.hash);
                        }
                    });
                    if let Err(error) = listed.await {
                        // The slot's other members speak, too; what this one keeps is not let go at it either.
                        tracing::debug!(server = server.name(), %error, "it does not say what it keeps");
                        break;
                    }
                }
                held
            });
        }
        let mut all = HashSet::new();
        while let Some(held) = asking.join_next().await {
            all.extend(held.into_iter().flatten());
        }
        all
    }
}

/// Sums up what servers did. What those that the owner let go of did not do is no failure: nobody expects them.
pub(super) async fn gather(
    client: &Client,
    mut asking: JoinSet<(Server, (Done, Option<RequestError>))>,
) -> LetGone {
    let (mut all, mut gone) = (HashSet::new(), LetGone::default());
    while let Some(answered) = asking.join_next().await {
        let Ok((server, (done, error))) = answered else { continue };
        gone.leases += done.leases;
        gone.bytes += done.bytes;
        gone.renewed += done.renewed;
        all.extend(done.hashes);
        let error = error.filter(|_| !client.is_revoked(&server));
        gone.failures.extend(error.map(|error| format!("{}: {error}", server.name())));
    }
    gone.objects = all.len() as u64;
    gone.failures.sort();
    gone
}

async fn cancel_at(
    client: &Client,
    server: &Server,
    hashes: &[VerifyHash],
    filter: &LeaseFilter,
    since: Option<Instant>,
) -> (Done, Option<RequestError>) {
    let mut done = Done::default();
    for some in hashes.chunks(ASKED) {
        // What a server lists unasked is not what goes.
        let wanted: HashSet<[u8; 32]> = some.iter().map(|hash| *hash.as_bytes()).collect();
        let asked = some.iter().map(|hash| Bytes32(*hash.as_bytes())).collect();
        let mut held = Vec::new();
        let listed = pages(client, server, LeaseQuery::Of(asked), |lease| {
            if wanted.contains(lease.hash.as_bytes()) {
                held.push(lease);
            }
        });
        let ended = match listed.await {
            Ok(()) => end(client, server, &held, |own| filter.takes(own), since, &mut done).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            return (done, Some(error));
        }
    }
    (done, None)
}

/// A lease of this account, as a server listed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) hash: VerifyHash,
    pub(super) tag: Tag,
    pub(super) store: NodeId,
    pub(super) made_s: u64,
    pub(super) bytes: u64,
    /// It was made or renewed before this.
    made_before: Instant,
    /// Its age when it was listed.
    pub(super) age_s: u64,
}

impl Own {
    /// Whether it was made for certain before `since`. Servers count in whole seconds, and one more is for clocks that run unequally.
    pub(super) fn is_older(&self, since: Instant) -> bool {
        let age = Duration::from_secs(self.age_s);
        self.made_before.saturating_duration_since(since) + ROUNDING <= age
    }
}

/// Shows `each` all leases that this account has on these, as the server lists them.
pub(super) async fn pages(
    client: &Client,
    server: &Server,
    on: LeaseQuery,
    mut each: impl FnMut(Own),
) -> Result<(), RequestError> {
    let session = client.writers().session(server).await?;
    let (mut after, mut listed): (Option<LeaseAt>, usize) = (None, 0);
    for _ in 0..PAGES_MAX {
        let request = Request::Leases(Leases { on: on.clone(), tag: None, after });
        let asked = within(client.writers().timeouts().answer, session.request(&request)).await;
        let (reply, _): (LeasesReply, _) = asked?;
        let answered = Instant::now();
        listed += reply.leases.len();
        if listed > LISTED_MAX {
            break;
        }
        for lease in reply.leases {
            each(Own {
                hash: VerifyHash::new(lease.hash.0),
                tag: lease.tag.0,
                store: reply.store,
                made_s: lease.made_s,
                bytes: lease.bytes,
                made_before: answered,
                age_s: reply.uptime_s.saturating_sub(lease.made_s),
            });
        }
        match reply.next {
            None => return Ok(()),
            Some(next) if after.is_none_or(|after| after < next) => after = Some(next),
            Some(_) => break,
        }
    }
    Err(RequestError::Nonsense { what: "its list of leases has no end" })
}

/// What goes of one tag in one store.
#[derive(Default)]
struct Ending {
    made_until_s: u64,
    hashes: Vec<VerifyHash>,
}

/// Ends those of these leases that `takes` names and that were made before `since`; without that, counts them.
pub(super) async fn end(
    client: &Client,
    server: &Server,
    held: &[Own],
    takes: impl Fn(&Own) -> bool,
    since: Option<Instant>,
    done: &mut Done,
) -> Result<(), RequestError> {
    let mut endings: BTreeMap<(NodeId, Tag), Ending> = BTreeMap::new();
    // What the account is charged for an object in a store, and the leases it has there that stay.
    let (mut bytes, mut kept) = (BTreeMap::new(), HashSet::new());
    for lease in held {
        let at = (lease.store, lease.hash);
        bytes.insert(at, lease.bytes);
        if !takes(lease) {
            kept.insert(at);
        } else if since.is_none_or(|since| lease.is_older(since)) {
            let ending = endings.entry((lease.store, lease.tag)).or_default();
            ending.made_until_s = ending.made_until_s.max(lease.made_s);
            ending.hashes.push(lease.hash);
        } else {
            done.renewed += 1;
            kept.insert(at);
        }
    }
    let mut freed = BTreeSet::new();
    for ((store, tag), ending) in endings {
        for some in ending.hashes.chunks(MAX_BATCH) {
            let only = OldLeases { store, made_until_s: ending.made_until_s };
            let flags = match since {
                Some(_) => cancel(client, server, tag, some, only).await?,
                None => vec![true; some.len()],
            };
            for (hash, ended) in some.iter().zip(flags) {
                if ended {
                    done.leases += 1;
                    done.hashes.insert(*hash);
                    freed.insert((store, *hash));
                } else {
                    done.renewed += 1;
                    kept.insert((store, *hash));
                }
            }
        }
    }
    for at in freed.into_iter().filter(|at| !kept.contains(at)) {
        done.bytes = done.bytes.saturating_add(bytes.get(&at).copied().unwrap_or(0));
    }
    Ok(())
}

async fn cancel(
    client: &Client,
    server: &Server,
    tag: Tag,
    hashes: &[VerifyHash],
    only: OldLeases,
) -> Result<Vec<bool>, RequestError> {
    let session = client.writers().session(server).await?;
    let asked = hashes.iter().map(|hash| Bytes32(*hash.as_bytes())).collect();
    let request = Request::CancelLease(CancelLease { tag: Bytes16(tag), hashes: asked, only: Some(only) });
    let answered = within(client.writers().timeouts().commit, session.request(&request)).await;
    let (reply, _): (Flags, _) = answered?;
    match reply.flags.len() == hashes.len() {
        true => Ok(reply.flags),
        false => Err(RequestError::Nonsense { what: "not one answer for each object" }),
    }
}
