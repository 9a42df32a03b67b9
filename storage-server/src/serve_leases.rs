//! Which leases an account has here, told to it and to nobody else.

use std::sync::Arc;

use caps::VerifyHash;
use protocol::message::{
    Bytes16, Bytes32, ErrorCode, HeldLease, LeaseAt, LeaseQuery, Leases, LeasesReply, StoreState,
};
use protocol::transport::Stream;

use crate::answer::{Failure, answer};
use crate::error::ReadError;
use crate::index::Wanted;
use crate::serve_put::bounded_hashes;
use crate::server::{Caller, Server};
use crate::store::Store;

/// Bytes that request and answer may take.
const LEASES_MEMORY: u64 = 2 * 1024 * 1024;
/// Leases in one answer, at most.
const LEASES_MAX: usize = 5000;
/// Leases of anybody that are looked at for one answer, at most: there is no index by account.
const LOOKED_MAX: usize = 50_000;

impl Server {
    pub(crate) async fn leases(
        &self,
        caller: &Caller,
        asked: Leases,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        let on = match &asked.on {
            LeaseQuery::All => None,
            LeaseQuery::Of(hashes) => {
                let mut hashes = bounded_hashes(hashes)?;
                hashes.sort_unstable();
                hashes.dedup();
                Some(hashes)
            }
        };
        let first = usize::from(asked.after.map_or(0, |after| after.store));
        if first >= self.stores.len() {
            return Err(Failure::refused(ErrorCode::BadRequest, "there is no such store"));
        }
        let _memory = self.memory(caller, LEASES_MEMORY).await?;
        let (stores, account) = (self.stores.clone(), caller.account);
        let after = asked.after.map(|after| (VerifyHash::new(after.hash.0), after.tag.0));
        let tag = asked.tag.map(|tag| tag.0);
        let wanted = Wanted { account, on, tag, after, limits: (LEASES_MAX, LOOKED_MAX) };
        let listed = self.pool.run(move || list(&stores[first..], first as u16, &wanted)).await?;
        answer(stream, self.limits.stalled, &listed).await
    }
}

/// One store's part; the next store begins with the next answer.
fn list(stores: &[Arc<Store>], at: u16, wanted: &Wanted) -> Result<LeasesReply, ReadError> {
    let (store, others) = stores.split_first().ok_or(ReadError::NotFound)?;
    let (held, next) = match store.state() {
        // What nobody can read, nobody can let go.
        StoreState::Failed => (Vec::new(), None),
        _ => store.leases_of(wanted)?,
    };
    let leases = held.into_iter().map(|held| HeldLease {
        hash: Bytes32(*held.hash.as_bytes()),
        tag: Bytes16(held.tag),
        made_s: held.term.made,
        bytes: held.bytes,
    });
    let next = match next {
        Some((hash, tag)) => Some(LeaseAt { store: at, hash: Bytes32(*hash.as_bytes()), tag: Bytes16(tag) }),
        None if !others.is_empty() => {
            Some(LeaseAt { store: at + 1, hash: Bytes32([0; 32]), tag: Bytes16([0; 16]) })
        }
        None => None,
    };
    Ok(LeasesReply { store: store.id(), uptime_s: store.uptime_s(), leases: leases.collect(), next })
}
