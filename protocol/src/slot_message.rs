//! What is asked and answered about slots (`docs/spec/slots.md`, "Messages").

use minicbor::{Decode, Encode};

use crate::identity::NodeId;
use crate::message::{Bytes32, LeaseTerms, Reply};

/// Bytes of a signed record, opaque here: whoever uses it checks it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct RecordBytes(#[cbor(n(0), with = "minicbor::bytes")] pub Vec<u8>);

impl std::fmt::Debug for RecordBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecordBytes({})", self.0.len())
    }
}

/// A ballot and the slot key's signature, by which a writer asks for a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SlotPromise {
    /// Epoch, counter, random part.
    #[n(0)]
    pub ballot: Bytes32,
    /// Ed25519 signature.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// See [`crate::message::Request::SlotRead`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SlotRead {
    /// H.
    #[n(0)]
    pub hash: Bytes32,
    /// Which store; `None` for whichever of the server's stores has the slot.
    #[n(1)]
    pub store: Option<NodeId>,
    /// The hash of the record that the asker has: it is not sent again.
    #[n(2)]
    pub known: Option<Bytes32>,
    /// Whether ballot and hash will do.
    #[n(3)]
    pub brief: bool,
}

/// See [`crate::message::Request::SlotReads`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SlotReads {
    /// At most [`crate::limits::MAX_LIST`].
    #[n(0)]
    #[cbor(with = "crate::bounded::short_list")]
    pub reads: Vec<SlotRead>,
}

/// The answer to [`SlotReads`], in their order. Where the records are longer than [`MAX_STATES_LEN`] in all, the list ends early, with at
/// least one answer: the rest is to be asked again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SlotStates {
    /// What each of them would have been answered.
    #[n(0)]
    #[cbor(with = "crate::bounded::short_list")]
    pub states: Vec<Reply<SlotState>>,
}

/// Bytes of records in one answer, from which on no further slots are read.
pub const MAX_STATES_LEN: usize = 512 * 1024;

/// What a store holds of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SlotState {
    /// The store.
    #[n(0)]
    pub store: NodeId,
    /// Its incarnation.
    #[n(1)]
    pub incarnation: u64,
    /// The highest ballot promised.
    #[n(2)]
    pub promised: Option<Bytes32>,
    /// The record.
    #[n(3)]
    pub held: Held,
}

/// The record a store holds, as far as the asker lacks it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Held {
    /// None.
    #[n(0)]
    Nothing,
    /// The one that the asker has.
    #[n(1)]
    Same,
    /// One of this ballot and hash.
    #[n(2)]
    Brief(#[n(0)] Bytes32, #[n(1)] Bytes32),
    /// This one.
    #[n(3)]
    Record(#[n(0)] RecordBytes),
}

/// See [`crate::message::Request::SlotPrepare`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SlotPrepare {
    /// H.
    #[n(0)]
    pub hash: Bytes32,
    /// Which store.
    #[n(1)]
    pub store: NodeId,
    /// The promise asked for.
    #[n(2)]
    pub promise: SlotPromise,
    /// A record that names the store, for one that has no state.
    #[n(3)]
    pub record: Option<RecordBytes>,
    /// The hash of the record that the asker has.
    #[n(4)]
    pub known: Option<Bytes32>,
}

/// See [`crate::message::Request::SlotAccept`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SlotAccept {
    /// H.
    #[n(0)]
    pub hash: Bytes32,
    /// Which store.
    #[n(1)]
    pub store: NodeId,
    /// The record.
    #[n(2)]
    pub record: RecordBytes,
    /// The lease, without which a store takes no slot that is new to it.
    #[n(3)]
    pub lease: Option<LeaseTerms>,
}

/// Answer to [`SlotPrepare`] and [`SlotAccept`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SlotAnswer {
    /// Yes, or why not.
    #[n(0)]
    pub verdict: Verdict,
    /// What the store holds now.
    #[n(1)]
    pub state: SlotState,
}

/// What a store says to a prepare or an accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[non_exhaustive]
pub enum Verdict {
    /// Promised, or accepted; durable.
    #[n(0)]
    Yes,
    /// Kept, but by a store that does not count: it is blank.
    #[n(1)]
    Kept,
    /// No: a higher ballot is promised or accepted.
    #[n(2)]
    Outbid,
    /// No: the newest record known to the store does not name it.
    #[n(3)]
    NotMember,
    /// No: it has no state and was shown no record.
    #[n(4)]
    Unknown,
    /// No: the slot was deleted in this epoch.
    #[n(5)]
    Deleted,
    /// No: the counter is too far above all that the store knows.
    #[n(6)]
    TooFar,
    /// No: another record was accepted under the same ballot. Two writers, or one gone mad, signed both.
    #[n(7)]
    Conflict,
}
