//! Who says that it holds what, of many objects at once: a few messages to each server.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use caps::VerifyHash;
use protocol::NodeId;
use protocol::limits::MAX_BATCH;
use protocol::message::{Bytes32, Census, CensusReply, CountedShare, Request};
use protocol::session::RequestError;
use tokio::task::JoinSet;

use super::object::Found;
use crate::Client;
use crate::download::ObjectRef;
use crate::grid::Server;
use crate::servers::within;

/// What is said of a server that failed a moment ago, and is not waited for again.
pub(super) const SILENT: &str = "it does not answer";

/// Who holds which shares of one object.
pub(super) type Holders = BTreeMap<u16, BTreeSet<NodeId>>;

/// What all servers say together.
#[derive(Default)]
pub(super) struct Counted {
    holders: HashMap<VerifyHash, Holders>,
    /// Of each, since when those that hold it say that they have been scrubbed: the longest ago; 0: never.
    scrubbed_s: HashMap<VerifyHash, u64>,
    /// Servers that did not answer, and why.
    pub(super) silent: BTreeMap<NodeId, String>,
}

impl Counted {
    /// What they say of one object.
    pub(super) fn found(&mut self, object: &ObjectRef) -> Found {
        let holders = self.take(&object.hash, object.total);
        let scrubbed_s = self.scrubbed_s.remove(&object.hash).filter(|at| *at > 0);
        Found { holders, away: self.silent.clone(), scrubbed_s, ..Found::default() }
    }

    /// Who holds which of the first `total` shares.
    pub(super) fn take(&mut self, hash: &VerifyHash, total: u16) -> Holders {
        let mut holders = self.holders.remove(hash).unwrap_or_default();
        // A share of a number that the object has not is no share of it.
        holders.retain(|number, _| *number < total);
        holders
    }
}

/// Asks all servers for all of these objects.
pub(super) async fn census(client: &Client, hashes: &[VerifyHash]) -> Counted {
    let (mut asking, mut counted) = (JoinSet::new(), Counted::default());
    for server in client.grid().servers() {
        if client.is_away(&server.id) {
            counted.silent.insert(server.id, format!("{}: {SILENT}", server.name()));
            continue;
        }
        let (client, hashes) = (client.clone(), hashes.to_vec());
        asking.spawn(async move {
            let found = ask(&client, &server, &hashes).await;
            (server, found)
        });
    }
    while let Some(answered) = asking.join_next().await {
        let Ok((server, found)) = answered else { continue };
        match found {
            Ok(found) => {
                for (hash, numbers) in hashes.iter().zip(found) {
                    let At { numbers, scrubbed_s } = numbers;
                    if !numbers.is_empty() {
                        let oldest = counted.scrubbed_s.entry(*hash).or_insert(u64::MAX);
                        *oldest = scrubbed_s.min(*oldest);
                    }
                    for number in numbers {
                        let holders = counted.holders.entry(*hash).or_default();
                        holders.entry(number).or_default().insert(server.id);
                    }
                }
            }
            Err(error) => drop(counted.silent.insert(server.id, format!("{}: {error}", server.name()))),
        }
    }
    counted
}

/// What one server says that it has of an object.
struct At {
    numbers: BTreeSet<u16>,
    /// When the store of it that was scrubbed the longest ago was.
    scrubbed_s: u64,
}

/// What one server says that it has of each object.
async fn ask(client: &Client, server: &Server, hashes: &[VerifyHash]) -> Result<Vec<At>, RequestError> {
    let mut found: Vec<At> = Vec::new();
    let session = client.readers().session(server).await?;
    while found.len() < hashes.len() {
        let rest = hashes[found.len()..].iter().take(MAX_BATCH);
        let asked: Vec<Bytes32> = rest.map(|hash| Bytes32(*hash.as_bytes())).collect();
        let count = asked.len();
        let request = Request::Census(Census { hashes: asked });
        let answered = within(client.readers().timeouts().answer, session.request(&request)).await;
        let (reply, _): (CensusReply, _) =
            answered.inspect_err(|error| client.readers().failed(&server.id, error))?;
        if !reply.answers(count) {
            return Err(RequestError::Nonsense { what: "it counts what it was not asked about" });
        }
        // No object has a share of a higher number, and each counts once.
        let dates = reply.scrubbed_s;
        let at = |counted: protocol::message::Counted| {
            let date = |share: &CountedShare| dates.get(usize::from(share.store)).copied().unwrap_or(0);
            let scrubbed_s = counted.0.iter().map(date).min().unwrap_or(0);
            At { numbers: counted.0.iter().map(|s| s.number).filter(|n| *n < 256).collect(), scrubbed_s }
        };
        found.extend(reply.objects.into_iter().map(at));
    }
    Ok(found)
}
