//! Several small shares in one request: checked, committed and answered together, each by itself.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use encoding::{ShareCheck, ShareError};
use protocol::NodeId;
use protocol::limits::MAX_SMALL_SHARE_LEN;
use protocol::message::{
    Bytes32, ErrorCode, LeaseTerms, PutSmall, PutSmallDone, SmallOutcome, SmallShare, WireError,
};
use protocol::transport::{RecvHalf, Stream};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::answer::{Failure, answer};
use crate::commit::{Change, Committed, NewShare, ShareBytes};
use crate::error::PutError;
use crate::pack::MAX_PACKED_LEN;
use crate::server::{Caller, Server};
use crate::store::Store;
use crate::upload::{ReadyShare, read_slice};

const _: () =
    assert!(MAX_SMALL_SHARE_LEN as u64 == MAX_PACKED_LEN, "small shares are those that go into packs");

impl Server {
    pub(crate) async fn put_small(
        &self,
        caller: &Caller,
        put: PutSmall,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        self.admit(caller)?;
        let bounds = "one request carries 1 to 512 shares of 1 to 65,536 bytes, 786,432 bytes together";
        let len = put.body_len().ok_or(Failure::refused(ErrorCode::BadRequest, bounds))?;
        let store = self.store(&put.store)?;
        store.check_writable()?;
        // Until they are committed.
        let _memory = self.memory(caller, len as u64).await?;
        let body = self.small_body(&mut *stream.recv, len).await?;
        let account = caller.account;
        let at = store.clone();
        let check = move || check_all(&at, body, &put, account);
        let checked = self.pool.run_on(len, check).await;
        let committed = store.commit_all(&self.pool, checked).await;
        let outcomes = committed.into_iter().map(outcome).collect();
        answer(stream, self.limits.stalled, &PutSmallDone { outcomes }).await
    }

    /// Exactly `len` bytes, and the end of the stream.
    async fn small_body(&self, recv: &mut dyn RecvHalf, len: usize) -> Result<Bytes, Failure> {
        let mut body = BytesMut::with_capacity(len + 1);
        let fill = async {
            loop {
                // One byte more than was stated shows that there are more.
                let mut limited = (&mut *recv).take((len - body.len()) as u64 + 1);
                match timeout(self.limits.stalled, limited.read_buf(&mut body)).await {
                    Ok(Ok(0)) => break,
                    Ok(Ok(_)) if body.len() > len => break,
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => return Err(Failure::Gone),
                }
            }
            let wrong = Failure::refused(ErrorCode::BadRequest, "the shares have not the length stated");
            if body.len() == len { Ok(()) } else { Err(wrong) }
        };
        timeout(self.limits.block, fill).await.unwrap_or(Err(Failure::Gone))?;
        Ok(body.freeze())
    }
}

fn check_all(
    store: &Arc<Store>,
    mut body: Bytes,
    put: &PutSmall,
    account: NodeId,
) -> Vec<Result<ReadyShare, PutError>> {
    let shares = put.shares.iter();
    let check = |share: &SmallShare| {
        let mut ready = check_small(body.split_to(share.len as usize), account, share.lease)?;
        // Nothing yet: one that is here already costs nothing, and which it is, the commit sees.
        ready.hold = store.hold(account);
        Ok(ReadyShare(Change::Share(ready)))
    };
    shares.map(check).collect()
}

/// Decides whether these bytes are an intact share.
fn check_small(bytes: Bytes, account: NodeId, lease: LeaseTerms) -> Result<NewShare, PutError> {
    let len = bytes.len() as u64;
    // No block was hashed on the way: all of it is in memory.
    let checked = ShareCheck::new(0).finish(len, |at, buffer| read_slice(&bytes, at, buffer));
    let report = checked.map_err(|reason: ShareError| PutError::Corrupt { reason: reason.into() })?;
    Ok(NewShare::new(&report, len, ShareBytes::Small(bytes), account, lease))
}

fn outcome(committed: Result<Committed, PutError>) -> SmallOutcome {
    match committed {
        Ok(Committed { hash, new: true }) => SmallOutcome::Stored(Bytes32(*hash.as_bytes())),
        Ok(Committed { hash, new: false }) => SmallOutcome::Had(Bytes32(*hash.as_bytes())),
        Err(error) => SmallOutcome::Refused(WireError::new(error.code(), crate::store::chain(&error))),
    }
}
