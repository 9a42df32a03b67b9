//! Fetching every share of an object that any server has, and holding all of it against H; or some of each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::NodeId;
use protocol::session::RequestError;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use How::{Full, Sampled};

use super::BadShare;
use super::census::SILENT;
use super::object::Found;
use super::sample::sample_share;
use crate::Client;
use crate::download::{FetchError, KnownShare, LookupError, Object, ObjectRef, Table, ask, fetch_share};
use crate::grid::Server;

/// Segments of a share that are fetched at a time.
const STEP: u64 = 4;
/// Of one share, how many such fetches at a time.
const AHEAD: usize = 2;

/// Bytes a second that a share must come with on the whole, for all that none of its pieces stalls.
const RATE_MIN: u64 = 32 * 1024;

/// How each share is looked at.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// All of it.
    Full,
    /// So many chunks of it, at random.
    Sampled(u32),
}

/// Asks every server for its shares and verifies them, all servers at once. How many chunks of a share were looked at is in the answer.
pub(super) async fn verify(client: &Client, object: ObjectRef, how: How) -> Found {
    let (mut asking, mut found) = (JoinSet::new(), Found::default());
    for server in client.grid().servers() {
        if client.is_away(&server.id) {
            found.away.insert(server.id, format!("{}: {SILENT}", server.name()));
            continue;
        }
        let client = client.clone();
        asking.spawn(async move {
            let answer = ask(&client, &server, object.hash).await;
            (server, answer)
        });
    }
    let (mut verifying, mut early) = (Verifying::new(how), Vec::new());
    while let Some(answered) = asking.join_next().await {
        match answered {
            Ok((_, Ok(answer))) => {
                early.extend(answer.shares);
                if let Some(descriptor) = answer.descriptor.filter(|_| verifying.object.is_none()) {
                    let params = descriptor.geometry.params();
                    if (params.needed(), params.total()) != (object.needed, object.total) {
                        found.problems.push(
                            "the cap's parameters are not those of its object: it was altered".to_owned(),
                        );
                        return found;
                    }
                    verifying.object = Some(Object::of(client, object, descriptor));
                }
                // While others are still being asked.
                verifying.begin(&mut early);
            }
            Ok((server, Err(LookupError::Corrupt))) => found.corrupt(&server),
            Ok((server, Err(error))) => {
                found.away.insert(server.id, format!("{}: {error}", server.name()));
            }
            Err(_) => {}
        }
    }
    while let Some(verified) = verifying.tasks.join_next().await {
        let Ok((share, verified)) = verified else { continue };
        if let Ok(Some(chunks)) = verified {
            found.sampled = Some(found.sampled.map_or(chunks, |least: u32| least.min(chunks)));
        }
        found.take(share, verified.map(drop));
    }
    found
}

/// Shares that are being looked at.
struct Verifying {
    how: How,
    /// Once a server has shown its descriptor.
    object: Option<Arc<Object>>,
    tasks: JoinSet<(KnownShare, Result<Option<u32>, FetchError>)>,
    begun: BTreeSet<(u16, NodeId)>,
}

impl Verifying {
    fn new(how: How) -> Self {
        Self { how, object: None, tasks: JoinSet::new(), begun: BTreeSet::new() }
    }

    /// Begins with these shares, if it is known what they are of; several stores of a server count once.
    fn begin(&mut self, shares: &mut Vec<KnownShare>) {
        let Some(object) = &self.object else { return };
        for share in shares.drain(..) {
            if !self.begun.insert((share.number, share.server.id)) {
                continue;
            }
            let (object, how) = (object.clone(), self.how);
            self.tasks.spawn(async move {
                let verified = match how {
                    Full => verify_share(&object, &share).await.map(|()| None),
                    Sampled(chunks) => sample_share(&object, &share, chunks).await,
                };
                (share, verified)
            });
        }
    }
}

impl Found {
    fn corrupt(&mut self, server: &Server) {
        // Of shares that travel with the answer one bad one spoils all: which it is, the server's own scrub tells.
        let reason = LookupError::Corrupt.to_string();
        self.problems.push(format!("{}: {reason}", server.name()));
    }

    fn take(&mut self, share: KnownShare, verified: Result<(), FetchError>) {
        let KnownShare { number, server, .. } = share;
        match verified {
            Ok(()) => drop(self.holders.entry(number).or_default().insert(server.id)),
            Err(error) if error.is_bad_share() => {
                self.bad.push(BadShare { number, server, reason: error.to_string() });
            }
            Err(error) => self.problems.push(format!("{}, share {number}: {error}", server.name())),
        }
    }
}

/// Fetches all of a share, within a time that its length allows. What came with the answer was checked when it came.
async fn verify_share(object: &Arc<Object>, share: &KnownShare) -> Result<(), FetchError> {
    if share.inline.is_some() {
        return Ok(());
    }
    let (len, timeouts) = (object.geometry().share_data_len(), object.client.readers().timeouts());
    let after = timeouts.answer + timeouts.stall + Duration::from_secs(len / RATE_MIN);
    let fetched = timeout(after, fetch_all(object, share)).await;
    fetched.unwrap_or(Err(RequestError::Timeout { after }.into()))
}

async fn fetch_all(object: &Arc<Object>, share: &KnownShare) -> Result<(), FetchError> {
    // Its own copy of the table, all of it.
    Table::verify(object, share).await?;
    let segments = object.geometry().segments();
    let permits = Arc::new(Semaphore::new(AHEAD));
    let mut fetching: JoinSet<Result<(), FetchError>> = JoinSet::new();
    let mut next = 0;
    while next < segments {
        let permit = permits.clone().acquire_owned().await.expect("it is never closed");
        let wanted = next..segments.min(next + STEP);
        next = wanted.end;
        let (object, share) = (object.clone(), share.clone());
        fetching.spawn(async move {
            let _permit = permit;
            fetch_share(&object, &share, &wanted).await.map(drop)
        });
        while let Some(done) = fetching.try_join_next() {
            done.unwrap_or(Ok(()))?;
        }
    }
    while let Some(done) = fetching.join_next().await {
        done.unwrap_or(Ok(()))?;
    }
    Ok(())
}
