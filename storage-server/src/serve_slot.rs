//! Answers about slots. Reading needs no account; moving a slot needs its key's signature, and only what is new to a store needs an
//! account and a lease.
//!
//! What a flood of requests can cost is bounded: the ballot is looked at first, then the signature, and only then the disk.

use std::sync::Arc;

use caps::VerifyHash;
use encoding::slot::{Ballot, MAX_RECORD_LEN, Promise, RecordError, SignedRecord, UncheckedRecord};
use protocol::NodeId;
use protocol::message::{Bytes32, ErrorCode, LeaseTerms, Reply, WireError};
use protocol::slot_message::{
    Held, MAX_STATES_LEN, RecordBytes, SlotAccept, SlotAnswer, SlotPrepare, SlotPromise, SlotRead, SlotReads,
    SlotState, SlotStates, Verdict,
};
use protocol::transport::Stream;

use crate::answer::{Failure, answer};
use crate::commit::{Answer, SlotChange, slot_moved};
use crate::error::ReadError;
use crate::server::{Caller, Server};
use crate::slot::{Move, SlotRow, refusal};
use crate::store::Store;

/// Memory that a request about a slot may need: the record that comes, and the one that goes.
const SLOT_MEMORY: u64 = 2 * MAX_RECORD_LEN as u64;

/// What the asker has, and whether ballot and hash will do.
#[derive(Clone, Copy)]
struct Asked {
    known: Option<Bytes32>,
    brief: bool,
}

impl Server {
    pub(crate) async fn slot_read(
        &self,
        caller: &Caller,
        read: SlotRead,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        let _memory = self.memory(caller, SLOT_MEMORY).await?;
        let stores = self.stores_of(&read)?;
        let state = match look_in_memory(&stores, &read) {
            Some(state) => state,
            None => self.pool.run(move || look(&stores, &read)).await?,
        };
        answer(stream, self.limits.stalled, &state).await
    }

    pub(crate) async fn slot_reads(
        &self,
        caller: &Caller,
        SlotReads { reads }: SlotReads,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        if reads.is_empty() {
            return Err(Failure::refused(ErrorCode::BadRequest, "one slot at least is to be read"));
        }
        let _memory = self.memory(caller, SLOT_MEMORY + 2 * MAX_STATES_LEN as u64).await?;
        let reads: Vec<_> = reads.into_iter().map(|read| (self.stores_of(&read), read)).collect();
        let states = self.pool.run(move || {
            let (mut states, mut len) = (Vec::new(), 0);
            for (stores, read) in reads {
                let state = match stores.and_then(|stores| look(&stores, &read)) {
                    Ok(state) => Reply::Ok(state),
                    Err(Failure::Refused(error)) => Reply::Err(error),
                    Err(gone @ Failure::Gone) => return Err(gone),
                };
                if let Reply::Ok(SlotState { held: Held::Record(record), .. }) = &state {
                    len += record.0.len();
                }
                if len > MAX_STATES_LEN && !states.is_empty() {
                    break;
                }
                states.push(state);
            }
            Ok(SlotStates { states })
        });
        answer(stream, self.limits.stalled, &states.await?).await
    }

    fn stores_of(&self, read: &SlotRead) -> Result<Vec<Arc<Store>>, Failure> {
        Ok(match &read.store {
            Some(id) => vec![self.store(id)?.clone()],
            None => self.stores.clone(),
        })
    }

    pub(crate) async fn slot_prepare(
        &self,
        caller: &Caller,
        prepare: SlotPrepare,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        let _memory = self.memory(caller, SLOT_MEMORY).await?;
        let store = self.store(&prepare.store)?.clone();
        let hash = VerifyHash::new(prepare.hash.0);
        let at = store.clone();
        let moving = move || {
            let asked = Asked { known: prepare.known, brief: false };
            Ok((check_prepare(&at, &hash, &prepare)?, asked))
        };
        self.move_slot(&store, hash, None, moving, stream).await
    }

    pub(crate) async fn slot_accept(
        &self,
        caller: &Caller,
        accept: SlotAccept,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        if accept.lease.is_some() {
            self.admit(caller)?;
        }
        let _memory = self.memory(caller, SLOT_MEMORY).await?;
        let store = self.store(&accept.store)?.clone();
        let hash = VerifyHash::new(accept.hash.0);
        let (at, lease) = (store.clone(), accept.lease.map(|terms| (caller.account, terms)));
        let moving = move || {
            let (checked, known) = check_accept(&at, &hash, &accept)?;
            Ok((checked, Asked { known: Some(known), brief: false }))
        };
        self.move_slot(&store, hash, lease, moving, stream).await
    }

    /// Checks a move, makes it, and answers: all in one job of the pool, since handing it on costs more than the work.
    async fn move_slot(
        &self,
        store: &Arc<Store>,
        hash: VerifyHash,
        lease: Option<(NodeId, LeaseTerms)>,
        check: impl FnOnce() -> Result<(Checked, Asked), Failure> + Send + 'static,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        let (at, pool) = (store.clone(), self.pool.clone());
        let job = move || -> Result<(Moving, Asked), Failure> {
            let (checked, asked) = check()?;
            Ok(match checked {
                Checked::Decided(verdict, row) => (Moving::Decided(verdict, row), asked),
                Checked::Move(step) => {
                    let change = SlotChange { hash, step, lease };
                    (Moving::UnderWay(at.move_slot_here(&pool, change)), asked)
                }
            })
        };
        let (moving, asked) = self.pool.run(job).await?;
        let (verdict, row) = match moving {
            Moving::Decided(verdict, row) => (verdict, row),
            Moving::UnderWay(answer) => slot_moved(answer).await?,
        };
        let reply = SlotAnswer { verdict, state: state(store, row.as_ref(), asked) };
        answer(stream, self.limits.stalled, &reply).await
    }
}

/// What the only store in question holds, if that is known without waiting for its disk.
fn look_in_memory(stores: &[Arc<Store>], read: &SlotRead) -> Option<SlotState> {
    let [store] = stores else { return None };
    let row = store.index().recent_slot(&VerifyHash::new(read.hash.0))?;
    Some(state(store, Some(&row), Asked { known: read.known, brief: read.brief }))
}

/// What the first of these stores holds that holds anything.
fn look(stores: &[Arc<Store>], read: &SlotRead) -> Result<SlotState, Failure> {
    let hash = VerifyHash::new(read.hash.0);
    let asked = Asked { known: read.known, brief: read.brief };
    let (mut first, mut failed) = (None, None);
    for store in stores {
        match store.index().slot(&hash) {
            Ok(Some(row)) => return Ok(state(store, Some(&row), asked)),
            Ok(None) => drop(first.get_or_insert_with(|| state(store, None, asked))),
            // One bad disk does not speak for the others.
            Err(error) => failed = Some(ReadError::from(error)),
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => first.ok_or_else(|| Failure::refused(ErrorCode::NotFound, "this server has no store")),
    }
}

enum Moving {
    Decided(Verdict, Option<SlotRow>),
    UnderWay(tokio::sync::oneshot::Receiver<Answer>),
}

/// A request that was looked at: answered from what is known, or to be decided by the transaction.
enum Checked {
    Decided(Verdict, Option<SlotRow>),
    Move(Move),
}

fn check_prepare(store: &Store, hash: &VerifyHash, prepare: &SlotPrepare) -> Result<Checked, Failure> {
    let row = store.index().slot(hash).map_err(ReadError::from)?;
    let promise = promise(&prepare.promise);
    if let Some(row) = &row
        && row.incarnation == store.incarnation()
        && promise.ballot <= row.promised
    {
        return Ok(Checked::Decided(Verdict::Outbid, Some(row.clone())));
    }
    let shown = prepare.record.as_ref().map(|bytes| SignedRecord::parse(hash, &bytes.0));
    let shown = shown.transpose().map_err(bad_record)?;
    let held = row.as_ref().map(|row| &row.held);
    let id = match (&shown, held) {
        (Some(shown), _) => shown.id.clone(),
        (None, Some(held)) => match SignedRecord::parse_trusted(hash, &held.bytes) {
            Ok(record) => record.id.clone(),
            Err(_) => return Err(Failure::refused(ErrorCode::StoreFailed, "the slot's row is damaged")),
        },
        (None, None) => return Ok(Checked::Decided(Verdict::Unknown, row)),
    };
    if !promise.is_signed_by(&id) {
        return Err(bad_signature("the prepare is not signed by the slot's key"));
    }
    Ok(Checked::Move(Move::Prepare { promise, record: shown.map(Box::new) }))
}

fn check_accept(
    store: &Store,
    hash: &VerifyHash,
    accept: &SlotAccept,
) -> Result<(Checked, Bytes32), Failure> {
    let row = store.index().slot(hash).map_err(ReadError::from)?;
    let unchecked = UncheckedRecord::parse(hash, &accept.record.0).map_err(bad_record)?;
    let known = Bytes32(unchecked.claimed().hash().0);
    if let Some(row) = &row
        && row.incarnation == store.incarnation()
        && let Some(verdict) = refusal(row, unchecked.claimed())
        && (verdict != Verdict::Yes || accept.lease.is_none())
    {
        return Ok((Checked::Decided(verdict, Some(row.clone())), known));
    }
    let record = unchecked.check().map_err(bad_record)?;
    let leased = accept.lease.is_some();
    Ok((Checked::Move(Move::Accept { record: Box::new(record), leased }), known))
}

fn promise(sent: &SlotPromise) -> Promise {
    Promise { ballot: Ballot::parse(&sent.ballot.0), signature: sent.signature }
}

fn bad_record(error: RecordError) -> Failure {
    match error {
        RecordError::Signature => bad_signature("the record is not signed by the slot's key"),
        RecordError::Unsupported { .. } => Failure::refused(ErrorCode::Unsupported, &error.to_string()),
        _ => Failure::refused(ErrorCode::Corrupt, &error.to_string()),
    }
}

fn bad_signature(message: &str) -> Failure {
    Failure::Refused(WireError::new(ErrorCode::BadSignature, message))
}

fn state(store: &Store, row: Option<&SlotRow>, asked: Asked) -> SlotState {
    let promised = row.filter(|row| row.incarnation == store.incarnation());
    let promised = promised.map(|row| Bytes32(row.promised.to_bytes()));
    let held = match row.map(|row| &row.held) {
        None => Held::Nothing,
        Some(held) if asked.known == Some(Bytes32(held.hash.0)) => Held::Same,
        Some(held) if asked.brief => Held::Brief(Bytes32(held.ballot.to_bytes()), Bytes32(held.hash.0)),
        Some(held) => Held::Record(RecordBytes(held.bytes.clone())),
    };
    SlotState { store: store.id(), incarnation: store.incarnation(), promised, held }
}
