//! Leases on everything below a root, in a few messages to each server: what keeps a tree for an account that did not upload it, or did so
//! long ago.
//!
//! Each root has a tag of its own, so two roots that share a chunk hold a lease each, and letting one go never harms the other.

use caps::VerifyHash;
use protocol::limits::MAX_BATCH;
use protocol::message::{Bytes16, Bytes32, ErrorCode, Flags, Lease, LeaseTerms, Request};
use protocol::session::RequestError;
use tokio::task::JoinSet;

use super::census::SILENT;
use crate::Client;
use crate::grid::Server;
use crate::servers::within;
use crate::tags::{Tag, root_tag};

/// What became of leasing many objects.
#[derive(Default)]
pub(crate) struct Leased {
    /// Objects that at least one server has, and keeps now.
    pub(super) objects: u64,
    /// Objects that were to be leased.
    pub(super) sought: u64,
    /// Leases that were made or renewed, over all servers.
    pub(super) leases: u64,
    /// Servers that did not do it, and why.
    pub(crate) failures: Vec<String>,
    /// Why one of them refused this account.
    pub(super) refused: Option<ErrorCode>,
}

/// Why a server takes no leases of this account, if that is what it says.
fn refusal(error: &RequestError) -> Option<ErrorCode> {
    let RequestError::Refused(error) = error else { return None };
    let is_of_account =
        matches!(error.code, ErrorCode::NotAdmitted | ErrorCode::NotAMember(_) | ErrorCode::OverQuota);
    is_of_account.then_some(error.code)
}

/// Adds or renews this account's leases on these objects and slots, wherever there is anything of them.
///
/// `duration_s`: how long; `None`: while the account is alive.
pub(crate) async fn lease_all(
    client: &Client,
    tag: Tag,
    duration_s: Option<u64>,
    hashes: &[VerifyHash],
) -> Leased {
    let terms = LeaseTerms { tag: Bytes16(tag), duration_s };
    let mut asking = JoinSet::new();
    let mut leased = Leased::default();
    for server in client.grid().servers() {
        if client.is_away(&server.id) && client.is_revoked(&server) {
            continue;
        }
        if client.is_away(&server.id) {
            leased.failures.push(format!("{}: {SILENT}", server.name()));
            continue;
        }
        let (client, hashes) = (client.clone(), hashes.to_vec());
        asking.spawn(async move {
            let flags = lease_at(&client, &server, terms, &hashes).await;
            (server, flags)
        });
    }
    let mut kept = vec![false; hashes.len()];
    while let Some(answered) = asking.join_next().await {
        match answered {
            Ok((_, Ok(flags))) => {
                leased.leases += flags.iter().filter(|flag| **flag).count() as u64;
                kept.iter_mut().zip(flags).for_each(|(kept, flag)| *kept |= flag);
            }
            Ok((server, Err(_))) if client.is_revoked(&server) => {}
            Ok((server, Err(error))) => {
                leased.refused = leased.refused.or(refusal(&error));
                leased.failures.push(format!("{}: {error}", server.name()));
            }
            Err(_) => {}
        }
    }
    leased.sought = hashes.len() as u64;
    leased.objects = kept.into_iter().filter(|kept| *kept).count() as u64;
    leased.failures.sort();
    leased
}

async fn lease_at(
    client: &Client,
    server: &Server,
    terms: LeaseTerms,
    hashes: &[VerifyHash],
) -> Result<Vec<bool>, RequestError> {
    let session = client.writers().session(server).await?;
    let mut flags = Vec::new();
    for some in hashes.chunks(MAX_BATCH) {
        let asked = some.iter().map(|hash| Bytes32(*hash.as_bytes())).collect();
        let request = Request::Lease(Lease { terms, hashes: asked });
        let answered = within(client.writers().timeouts().commit, session.request(&request)).await;
        let (reply, _): (Flags, _) =
            answered.inspect_err(|error| client.writers().failed(&server.id, error))?;
        if reply.flags.len() != some.len() {
            return Err(RequestError::Nonsense { what: "not one answer for each object" });
        }
        flags.extend(reply.flags);
    }
    Ok(flags)
}

/// The tag for the sake of a root: that which the client works for, or this one.
pub(super) fn tag(client: &Client, root: &VerifyHash) -> Tag {
    client.root_tag().unwrap_or_else(|| root_tag(root))
}
