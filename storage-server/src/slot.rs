//! A slot as one member keeps it, and the rules by which it promises and accepts (`docs/spec/slots.md`, section 4). Pure: what is decided
//! here is made durable by the commit before anybody hears of it.

use caps::VerifyHash;
use encoding::slot::{Ballot, Member, Promise, RecordHash, SignedRecord};
use protocol::slot_message::Verdict;

const HEAD_LEN: usize = 32 + 8 + 1 + 32 + 32;
/// Set in every row.
const HAS_RECORD: u8 = 1;
const TOMBSTONE: u8 = 2;

/// What a member keeps of a slot. A row is never removed while its store lives: a member without one is *fresh*, and counts, so whoever
/// removes it erases a vote and what was deleted may come back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SlotRow {
    /// The highest ballot promised, and the incarnation that promised it: an older one's promises were lost with its index.
    pub(crate) promised: Ballot,
    pub(crate) incarnation: u64,
    pub(crate) held: HeldRecord,
}

/// The record that was accepted, or is kept without counting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HeldRecord {
    pub(crate) ballot: Ballot,
    pub(crate) hash: RecordHash,
    pub(crate) tombstone: bool,
    pub(crate) bytes: Vec<u8>,
}

impl From<&SignedRecord> for HeldRecord {
    fn from(record: &SignedRecord) -> Self {
        Self {
            ballot: record.ballot(),
            hash: record.hash(),
            tombstone: record.tombstone,
            bytes: record.bytes().to_vec(),
        }
    }
}

impl SlotRow {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let held = &self.held;
        let mut out = Vec::with_capacity(HEAD_LEN + held.bytes.len());
        out.extend_from_slice(&self.promised.to_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.push(HAS_RECORD | if held.tombstone { TOMBSTONE } else { 0 });
        out.extend_from_slice(&held.ballot.to_bytes());
        out.extend_from_slice(&held.hash.0);
        out.extend_from_slice(&held.bytes);
        out
    }

    /// `None` if these bytes are no row: the index is damaged.
    pub(crate) fn parse(mut bytes: &[u8]) -> Option<Self> {
        let promised = Ballot::parse(take(&mut bytes)?);
        let incarnation = u64::from_le_bytes(*take(&mut bytes)?);
        let [flags] = *take::<1>(&mut bytes)?;
        let (ballot, hash) = (Ballot::parse(take(&mut bytes)?), RecordHash(*take(&mut bytes)?));
        let held = HeldRecord { ballot, hash, tombstone: flags & TOMBSTONE != 0, bytes: bytes.to_vec() };
        (flags & HAS_RECORD != 0).then_some(Self { promised, incarnation, held })
    }

    /// Bytes of the row.
    pub(crate) fn len(&self) -> usize {
        HEAD_LEN + self.held.bytes.len()
    }
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(head)
}

/// A request that moves a slot, its signature checked.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    Prepare {
        promise: Promise,
        record: Option<Box<SignedRecord>>,
    },
    /// `leased`: whether a lease comes with it.
    Accept {
        record: Box<SignedRecord>,
        leased: bool,
    },
}

/// What becomes of a slot by a move: the answer, and the row to write if it changes.
pub(crate) struct Moved {
    pub(crate) verdict: Verdict,
    pub(crate) row: Option<SlotRow>,
}

impl From<Verdict> for Moved {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, row: None }
    }
}

/// Decides a move at the store `me`, whose row for the slot `hash` is `row`.
pub(crate) fn decide(me: &Member, hash: &VerifyHash, row: Option<SlotRow>, step: &Move) -> Moved {
    // Promises of an older incarnation are void: the store is blank wherever that one was named.
    let row = row.map(|row| match row.incarnation == me.incarnation {
        true => row,
        false => SlotRow { promised: Ballot::default(), incarnation: me.incarnation, held: row.held },
    });
    match step {
        Move::Prepare { promise, record } => prepare(me, hash, row, promise.ballot, record.as_deref()),
        Move::Accept { record, leased } => accept(me, row, record, *leased),
    }
}

fn prepare(
    me: &Member,
    hash: &VerifyHash,
    row: Option<SlotRow>,
    ballot: Ballot,
    shown: Option<&SignedRecord>,
) -> Moved {
    // A store without state gets the record first, with somebody's lease.
    let Some(row) = row else { return Verdict::Unknown.into() };
    let held = &row.held;
    let newer = shown.filter(|shown| held.ballot < shown.ballot());
    let (counts, newest) = match newer {
        Some(shown) => (shown.counts(me), shown.ballot()),
        None => match SignedRecord::parse_trusted(hash, &held.bytes) {
            Ok(record) => (record.counts(me), held.ballot),
            Err(_) => (false, held.ballot),
        },
    };
    let promised = row.promised;
    if !counts {
        return Verdict::NotMember.into();
    }
    if ballot <= promised || ballot <= newest {
        return Verdict::Outbid.into();
    }
    // Epochs are raised by records, never by asking.
    if ballot.epoch != newest.epoch || !ballot.is_within_reach(promised.max(newest)) {
        return Verdict::TooFar.into();
    }
    Moved {
        verdict: Verdict::Yes,
        row: Some(SlotRow { promised: ballot, incarnation: me.incarnation, held: row.held }),
    }
}

fn accept(me: &Member, row: Option<SlotRow>, record: &SignedRecord, leased: bool) -> Moved {
    if let Some(verdict) = row.as_ref().and_then(|row| refusal(row, record)) {
        return verdict.into();
    }
    let ballot = record.ballot();
    let promised = row.as_ref().map_or(Ballot::default(), |row| row.promised);
    // A first record is where a store without state begins to know; from then on counters go up in steps.
    let in_reach = |row: &SlotRow| ballot.is_within_reach(promised.max(row.held.ballot));
    if !record.forced && !row.as_ref().is_none_or(in_reach) {
        return Verdict::TooFar.into();
    }
    let kept = |promised| SlotRow { promised, incarnation: me.incarnation, held: record.into() };
    if !record.counts(me) {
        if record.names(&me.store) || row.is_some() || leased {
            // Blank, left by a membership change, or a copy that somebody pays for: keeping the newest shows others the way, and decides
            // nothing.
            return Moved { verdict: Verdict::Kept, row: Some(kept(promised.max(ballot))) };
        }
        return Verdict::NotMember.into();
    }
    let next = record.next.filter(|next| *next > ballot && next.is_within_reach(ballot));
    Moved { verdict: Verdict::Yes, row: Some(kept(promised.max(ballot).max(next.unwrap_or(ballot)))) }
}

/// Why a record cannot be accepted, by its ballot alone; or that it was accepted already.
pub(crate) fn refusal(row: &SlotRow, record: &SignedRecord) -> Option<Verdict> {
    let ballot = record.ballot();
    let held = &row.held;
    if held.hash == record.hash() {
        // Asked again, also by readers: from memory. Whether it counts is the asker's to tell from our incarnation.
        return Some(Verdict::Yes);
    }
    if held.ballot == ballot {
        return Some(Verdict::Conflict);
    }
    if ballot < held.ballot {
        return Some(Verdict::Outbid);
    }
    (ballot < row.promised).then_some(Verdict::Outbid)
}

#[cfg(test)]
mod tests {
    use caps::WriteKey;
    use encoding::Sections;
    use encoding::slot::{Config, Record, SlotKey};

    use super::*;

    fn me(incarnation: u64) -> Member {
        Member { store: [1; 32], incarnation }
    }

    fn ballot(counter: u64, random: u8) -> Ballot {
        Ballot { epoch: 0, counter, random: [random; 16] }
    }

    fn slot() -> (SlotKey, Config) {
        let others = (2..=4).map(|store| Member { store: [store; 32], incarnation: 1 });
        let config = Config { members: std::iter::once(me(1)).chain(others).collect(), quorum: 3 };
        (SlotKey::create(&WriteKey::new([1; 16]), [2; 32], &config), config)
    }

    fn record(counter: u64, random: u8) -> SignedRecord {
        let (key, config) = slot();
        let read = WriteKey::new([1; 16]).read_key();
        let sections = Sections { a: vec![random], b: Vec::new() };
        let payload =
            encoding::seal_slot(&read, &[2; 32], &key.hash(), &sections, &[7; 48]).expect("it fits");
        Record {
            id: key.id().clone(),
            ballot: ballot(counter, random),
            config,
            old: None,
            previous: RecordHash::default(),
            tombstone: false,
            forced: false,
            next: None,
            payload,
        }
        .sign(&key)
    }

    fn moved(me: &Member, row: &mut Option<SlotRow>, step: Move) -> Verdict {
        let moved = decide(me, &slot().0.hash(), row.clone(), &step);
        if let Some(new) = moved.row {
            assert_eq!(SlotRow::parse(&new.to_bytes()).as_ref(), Some(&new));
            *row = Some(new);
        }
        moved.verdict
    }

    fn prepare(counter: u64, record: Option<SignedRecord>) -> Move {
        Move::Prepare { promise: Promise::sign(&slot().0, ballot(counter, 9)), record: record.map(Box::new) }
    }

    fn accept(record: SignedRecord) -> Move {
        Move::Accept { record: Box::new(record), leased: false }
    }

    #[test]
    fn a_member_keeps_its_promises() {
        let mut row = None;
        assert_eq!(moved(&me(1), &mut row, prepare(5, None)), Verdict::Unknown);
        assert_eq!(moved(&me(1), &mut row, accept(record(1, 1))), Verdict::Yes);
        assert_eq!(moved(&me(1), &mut row, accept(record(1, 1))), Verdict::Yes, "the same again");
        assert_eq!(moved(&me(1), &mut row, accept(record(1, 2))), Verdict::Yes, "a higher random part");
        assert_eq!(moved(&me(1), &mut row, prepare(5, None)), Verdict::Yes);
        assert_eq!(moved(&me(1), &mut row, prepare(5, None)), Verdict::Outbid);
        assert_eq!(moved(&me(1), &mut row, accept(record(4, 1))), Verdict::Outbid);
        assert_eq!(moved(&me(1), &mut row, prepare(5 + (1 << 33), None)), Verdict::TooFar);
        assert_eq!(moved(&me(1), &mut row, accept(record(6, 1))), Verdict::Yes);
    }

    #[test]
    fn one_that_forgot_neither_promises_nor_counts_but_keeps_what_it_is_given() {
        let mut row = None;
        assert_eq!(moved(&me(2), &mut row, prepare(5, Some(record(1, 1)))), Verdict::Unknown);
        assert_eq!(moved(&me(2), &mut row, accept(record(1, 1))), Verdict::Kept);
        assert_eq!(moved(&me(2), &mut row, prepare(5, None)), Verdict::NotMember);
        let stranger = Member { store: [77; 32], incarnation: 1 };
        assert_eq!(moved(&stranger, &mut None, accept(record(1, 1))), Verdict::NotMember);
    }

    #[test]
    fn a_copy_is_kept_where_it_is_leased_and_gives_no_vote() {
        let stranger = Member { store: [77; 32], incarnation: 1 };
        let mut row = None;
        let leased = |counter| Move::Accept { record: Box::new(record(counter, 1)), leased: true };
        assert_eq!(moved(&stranger, &mut row, leased(3)), Verdict::Kept);
        assert_eq!(moved(&stranger, &mut row, prepare(5, None)), Verdict::NotMember);
        assert_eq!(
            moved(&stranger, &mut row, leased(2)),
            Verdict::Outbid,
            "an older one does not replace it"
        );
        assert_eq!(
            moved(&stranger, &mut row, accept(record(4, 1))),
            Verdict::Kept,
            "a newer one does, unpaid"
        );
        assert_eq!(row.expect("it is kept").held.ballot, ballot(4, 1));
    }

    #[test]
    fn a_promise_made_with_an_accept_holds() {
        let (asking, mut row) = (record(1, 1), None);
        let asking = Record { next: Some(ballot(2, 9)), ..asking.record().clone() }.sign(&slot().0);
        assert_eq!(moved(&me(1), &mut row, accept(asking)), Verdict::Yes);
        assert_eq!(moved(&me(1), &mut row, accept(record(2, 8))), Verdict::Outbid);
        assert_eq!(moved(&me(1), &mut row, accept(record(2, 9))), Verdict::Yes);
    }
}
