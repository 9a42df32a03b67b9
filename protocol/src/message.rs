//! What is asked and answered. One request per stream; the CDDL is in `docs/spec/wire.md`.
//!
//! Fields are numbered and never reused. A receiver skips fields it does not know and refuses requests it does not know.

mod census;
mod health;
mod leases;
mod members;
mod sample;
mod small;
mod usage;

use minicbor::{Decode, Encode};

pub use census::{Census, CensusReply, Counted, CountedShare, MAX_CENSUS_SHARES};
pub use health::{Scrubbed, StoreReport};
pub use leases::{HeldLease, LeaseAt, LeaseQuery, Leases, LeasesReply, OldLeases};
pub use members::{AskMembership, Letter, MAX_PUBLISHED, OpenMailbox, Publish, UseMailbox};
pub use sample::Sample;
pub use small::{PutSmall, PutSmallDone, SmallOutcome, SmallShare};
pub use usage::{StoreUsage, Usage};

use crate::identity::NodeId;
use crate::membership::{NotAMember, SignedCertificate};
use crate::slot_message::{SlotAccept, SlotPrepare, SlotRead, SlotReads};

/// Major version of the protocol: nodes that differ in it do not talk.
pub const MAJOR: u16 = 1;
/// Minor version: what may be added without breaking anyone.
pub const MINOR: u16 = 0;

/// 32 bytes: H, a salt, a nonce, a proof.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct Bytes32(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// 16 bytes: a lease tag or an upload id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct Bytes16(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// The first message of every stream.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Request {
    /// The first request of a connection. Answered by [`Hello`].
    #[n(0)]
    Hello(#[n(0)] Hello),
    /// How the server is. Answered by [`Status`].
    #[n(1)]
    Status,
    /// Are there objects of these ciphertext lengths in this bucket? Answered by [`Flags`].
    #[n(2)]
    HasLengths(#[n(0)] HasLengths),
    /// Store a share. Answered by [`PutReply`]; after [`PutReply::Go`] the rest of the share file follows, and then [`PutDone`].
    #[n(3)]
    Put(#[n(0)] Put),
    /// Which shares of this object are here? Answered by [`Found`], then the bytes of the shares that travel inline, in the order
    /// listed.
    #[n(4)]
    Lookup(#[n(0)] Lookup),
    /// Consecutive blocks of a share. Answered by [`Bulk`] and the blocks.
    #[n(5)]
    ReadBlocks(#[n(0)] ReadBlocks),
    /// Slices of columns of the table of block roots. Answered by [`Bulk`] and the slices.
    #[n(6)]
    ReadTable(#[n(0)] ReadTable),
    /// A slice of one block. Answered by [`Bulk`] and the slice.
    #[n(7)]
    ReadSlice(#[n(0)] ReadSlice),
    /// Add or renew leases. Answered by [`Flags`]: which of the objects are here and now leased.
    #[n(8)]
    Lease(#[n(0)] Lease),
    /// Let leases go. Answered by [`Flags`]: which leases there were.
    #[n(9)]
    CancelLease(#[n(0)] CancelLease),
    /// To an introducer: pass this announcement on. Answered by [`Done`].
    #[n(10)]
    Announce(#[n(0)] Announce),
    /// To an introducer: what is announced? Answered by [`Announcements`], and if `follow` is set by more of them as they come.
    #[n(11)]
    Subscribe(#[n(0)] Subscribe),
    /// What does a store hold of this slot? Answered by [`crate::slot_message::SlotState`].
    #[n(13)]
    SlotRead(#[n(0)] SlotRead),
    /// The same of several slots. Answered by [`crate::slot_message::SlotStates`].
    #[n(25)]
    SlotReads(#[n(0)] SlotReads),
    /// Promise a ballot. Answered by [`crate::slot_message::SlotAnswer`].
    #[n(14)]
    SlotPrepare(#[n(0)] SlotPrepare),
    /// Accept a record. Answered by [`crate::slot_message::SlotAnswer`].
    #[n(15)]
    SlotAccept(#[n(0)] SlotAccept),
    /// Store several small shares at once. The share files follow, one after the other. Answered by [`PutSmallDone`].
    #[n(12)]
    PutSmall(#[n(0)] PutSmall),
    /// Which shares of these objects are here? Answered by [`CensusReply`].
    #[n(17)]
    Census(#[n(0)] Census),
    /// What is the account charged here, and what may it be? Answered by [`Usage`].
    #[n(16)]
    Usage,
    /// Random pieces of a share. Answered by [`Bulk`] with one length, and the proofs.
    #[n(22)]
    Sample(#[n(0)] Sample),
    /// Which leases has the account here? Answered by [`LeasesReply`].
    #[n(20)]
    Leases(#[n(0)] Leases),
    /// To an introducer, by a grid's owner: keep these, and pass them on to whom they concern. Answered by [`Done`].
    #[n(40)]
    Publish(#[n(0)] Publish),
    /// To an introducer: whoever asks, its own certificate, and the grid's revocation list. Answered by
    /// [`crate::membership::MembershipNews`], and if `follow` is set by more of them as they change.
    #[n(41)]
    Membership(#[n(0)] AskMembership),
    /// To an introducer: keep a letter until somebody comes for it. Answered by [`Done`], and once somebody came by the [`Letter`] that is
    /// the answer; the last letter then follows the request.
    #[n(42)]
    OpenMailbox(#[n(0)] OpenMailbox),
    /// To an introducer: fetch the letter that is kept there, which closes the mailbox for everybody else. Answered by [`Letter`]; one's
    /// own follows the request, and is answered by the last one.
    #[n(43)]
    UseMailbox(#[n(0)] UseMailbox),
}

/// Every answer: what was asked for, or an error.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Reply<T> {
    /// What was asked for.
    #[n(0)]
    Ok(#[n(0)] T),
    /// Why not.
    #[n(1)]
    Err(#[n(0)] WireError),
}

/// Why a request failed, as the other side states it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{code}: {message}")]
pub struct WireError {
    /// The kind of failure.
    #[n(0)]
    pub code: ErrorCode,
    /// For people; at most [`crate::limits::MAX_TEXT_LEN`] bytes.
    #[n(1)]
    #[cbor(with = "crate::bounded::text")]
    pub message: String,
}

impl WireError {
    /// An error with a message for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        while message.len() > crate::limits::MAX_TEXT_LEN {
            message.pop();
        }
        Self { code, message }
    }
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request makes no sense or exceeds a bound.
    #[n(0)]
    BadRequest,
    /// A request this node does not answer.
    #[n(1)]
    Unsupported,
    /// A major version this node does not speak.
    #[n(2)]
    UnsupportedVersion,
    /// No such object, share or store here.
    #[n(3)]
    NotFound,
    /// This account may not store here.
    #[n(4)]
    NotAdmitted,
    /// The store takes no shares at present.
    #[n(5)]
    ReadOnly,
    /// No room.
    #[n(6)]
    NoSpace,
    /// Try again shortly: the same upload is under way, or there is too much to do.
    #[n(7)]
    Busy,
    /// What was sent or is stored fails its own hashes.
    #[n(8)]
    Corrupt,
    /// The disk failed.
    #[n(9)]
    StoreFailed,
    /// The node is going down.
    #[n(10)]
    ShuttingDown,
    /// An announcement that is older than one already known, expired, or wrongly signed.
    #[n(11)]
    BadAnnouncement,
    /// Not signed by the key of the slot it is for.
    #[n(12)]
    BadSignature,
    /// The account would be charged more than its quota on this server.
    #[n(13)]
    OverQuota,
    /// Only members of the grid may store here, and this account is none; why.
    #[n(14)]
    NotAMember(#[n(0)] NotAMember),
    /// No such invitation: it was used, tried, withdrawn, or never there.
    #[n(15)]
    NoInvitation,
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotAMember(reason) => return write!(f, "not a member: {reason}"),
            Self::NoInvitation => "no such invitation",
            Self::BadRequest => "bad request",
            Self::Unsupported => "unsupported request",
            Self::UnsupportedVersion => "unsupported version",
            Self::NotFound => "not found",
            Self::NotAdmitted => "not admitted",
            Self::ReadOnly => "read-only",
            Self::NoSpace => "no space",
            Self::Busy => "busy",
            Self::Corrupt => "corrupt",
            Self::StoreFailed => "disk failed",
            Self::ShuttingDown => "shutting down",
            Self::BadAnnouncement => "bad announcement",
            Self::BadSignature => "bad signature",
            Self::OverQuota => "over quota",
        })
    }
}

/// Versions and features of one side.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// [`MAJOR`].
    #[n(0)]
    pub major: u16,
    /// [`MINOR`].
    #[n(1)]
    pub minor: u16,
    /// Names of optional features, none yet.
    #[n(2)]
    #[cbor(with = "crate::bounded::short_list")]
    pub features: Vec<String>,
    /// Program and version, for people.
    #[n(3)]
    #[cbor(with = "crate::bounded::text")]
    pub software: String,
    /// Of whoever makes the connection: the certificate of its key, where it has one.
    #[n(4)]
    pub certificate: Option<SignedCertificate>,
}

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Status {
    /// What its owner calls it.
    #[n(0)]
    #[cbor(with = "crate::bounded::text")]
    pub nickname: String,
    /// Program and version.
    #[n(1)]
    #[cbor(with = "crate::bounded::text")]
    pub software: String,
    /// Seconds since it started.
    #[n(2)]
    pub uptime_s: u64,
    /// Its stores.
    #[n(3)]
    #[cbor(with = "crate::bounded::short_list")]
    pub stores: Vec<StoreStatus>,
}

/// How one store is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StoreStatus {
    /// Its public key.
    #[n(0)]
    pub id: NodeId,
    /// Its incarnation.
    #[n(1)]
    pub incarnation: u64,
    /// Whether it takes shares.
    #[n(2)]
    pub state: StoreState,
    /// Bytes it may still take, after the reserve.
    #[n(3)]
    pub available: u64,
    /// Bytes of shares it holds.
    #[n(4)]
    pub used: u64,
    /// Shares it holds.
    #[n(5)]
    pub shares: u64,
    /// How its scrubbing goes; `None` of a store that could not be opened.
    #[n(6)]
    pub scrub: Option<Scrubbed>,
}

/// Whether a store takes shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum StoreState {
    /// It does.
    #[n(0)]
    Writable,
    /// It only serves what it has.
    #[n(1)]
    ReadOnly,
    /// Its disk failed or is not there.
    #[n(2)]
    Failed,
    /// Its disk cannot read all that was written to it: it takes nothing more, and serves what it can.
    #[n(3)]
    Failing,
}

/// See [`Request::HasLengths`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HasLengths {
    /// Placement bucket.
    #[n(0)]
    pub bucket: u16,
    /// Ciphertext lengths, in bytes.
    #[n(1)]
    #[cbor(with = "crate::bounded::batch")]
    pub lengths: Vec<u64>,
}

/// Yes or no for each item asked about, in order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Flags {
    /// The answers.
    #[n(0)]
    #[cbor(with = "crate::bounded::batch")]
    pub flags: Vec<bool>,
}

/// How long an object shall be kept for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LeaseTerms {
    /// Which of the account's reasons to keep it this is.
    #[n(0)]
    pub tag: Bytes16,
    /// Seconds from now; `None`: as long as the account is alive.
    #[n(1)]
    pub duration_s: Option<u64>,
}

/// See [`Request::Put`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Put {
    /// Names the upload among the account's; the same id finds its partial shares again.
    #[n(0)]
    pub upload: Bytes16,
    /// Share number.
    #[n(1)]
    pub number: u16,
    /// The store it shall go to.
    #[n(2)]
    pub store: NodeId,
    /// Bytes of a full block.
    #[n(3)]
    pub block_len: u32,
    /// Bytes of the share file, where known.
    #[n(4)]
    pub len: Option<u64>,
    /// H, where known, and a nonce: a server that holds the share proves it instead of taking it again.
    #[n(5)]
    pub expected: Option<Expected>,
    /// The lease it shall have.
    #[n(6)]
    pub lease: LeaseTerms,
}

/// See [`Put::expected`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Expected {
    /// H.
    #[n(0)]
    pub hash: Bytes32,
    /// Fresh, from which the key of the proof is derived.
    #[n(1)]
    pub nonce: Bytes32,
}

impl Expected {
    /// The key of the proof: bound to the store that answers, so that nobody can pass on a proof that another store made.
    pub fn proof_key(nonce: &Bytes32, store: &NodeId) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("sarsen v1 possession proof");
        hasher.update(&nonce.0).update(store.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// First answer to [`Request::Put`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PutReply {
    /// Here already and now leased: BLAKE3 of the share file, keyed with [`Expected::proof_key`].
    #[n(0)]
    Have(#[n(0)] Bytes32),
    /// Send the share file from this byte on (a multiple of the block length).
    #[n(1)]
    Go(#[n(0)] u64),
}

/// Last answer to [`Request::Put`]: the share is durable and leased.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PutDone {
    /// H, as the server computed it.
    #[n(0)]
    pub hash: Bytes32,
}

/// See [`Request::Lookup`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Lookup {
    /// H.
    #[n(0)]
    pub hash: Bytes32,
    /// Shares of up to this many bytes come with the answer.
    #[n(1)]
    pub inline: u32,
}

/// What a server holds of an object.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Found {
    /// Its shares; none if it holds none.
    #[n(0)]
    #[cbor(with = "crate::bounded::shares")]
    pub shares: Vec<FoundShare>,
    /// The descriptor, if there are shares and none travels inline.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub descriptor: Option<Vec<u8>>,
}

/// One share a server holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FoundShare {
    /// Share number.
    #[n(0)]
    pub number: u16,
    /// The store it lies in.
    #[n(1)]
    pub store: NodeId,
    /// Bytes of the share file.
    #[n(2)]
    pub len: u64,
    /// Whether its bytes follow.
    #[n(3)]
    pub inline: bool,
}

/// See [`Request::ReadBlocks`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReadBlocks {
    /// H.
    #[n(0)]
    pub hash: Bytes32,
    /// Share number.
    #[n(1)]
    pub number: u16,
    /// The first segment.
    #[n(2)]
    pub first: u64,
    /// How many, at most [`crate::limits::MAX_BLOCKS_PER_READ`].
    #[n(3)]
    pub count: u32,
}

/// See [`Request::ReadTable`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReadTable {
    /// H.
    #[n(0)]
    pub hash: Bytes32,
    /// Share number.
    #[n(1)]
    pub number: u16,
    /// Share numbers whose columns are wanted, of those that this share holds.
    #[n(2)]
    #[cbor(with = "crate::bounded::shares")]
    pub columns: Vec<u16>,
    /// The first segment.
    #[n(3)]
    pub first: u64,
    /// How many segments.
    #[n(4)]
    pub count: u64,
}

/// See [`Request::ReadSlice`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReadSlice {
    /// H.
    #[n(0)]
    pub hash: Bytes32,
    /// Share number.
    #[n(1)]
    pub number: u16,
    /// Which block.
    #[n(2)]
    pub segment: u64,
    /// First byte wanted of the block.
    #[n(3)]
    pub start: u32,
    /// One past the last.
    #[n(4)]
    pub end: u32,
}

/// How many bytes follow, in pieces.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Bulk {
    /// Bytes of each piece: each block, or each slice.
    #[n(0)]
    #[cbor(with = "crate::bounded::shares")]
    pub lens: Vec<u64>,
}

/// See [`Request::Lease`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Lease {
    /// The terms.
    #[n(0)]
    pub terms: LeaseTerms,
    /// The objects, at most [`crate::limits::MAX_BATCH`].
    #[n(1)]
    #[cbor(with = "crate::bounded::batch")]
    pub hashes: Vec<Bytes32>,
}

/// See [`Request::CancelLease`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CancelLease {
    /// Which of the account's reasons falls away.
    #[n(0)]
    pub tag: Bytes16,
    /// The objects, at most [`crate::limits::MAX_BATCH`].
    #[n(1)]
    #[cbor(with = "crate::bounded::batch")]
    pub hashes: Vec<Bytes32>,
    /// Only such as were not made or renewed lately; `None`: all.
    #[n(2)]
    pub only: Option<OldLeases>,
}

/// See [`Request::Announce`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Announce {
    /// A signed announcement.
    #[n(0)]
    pub announcement: crate::announcement::Signed,
}

/// See [`Request::Subscribe`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Subscribe {
    /// Whether to keep the stream open for what comes later.
    #[n(0)]
    pub follow: bool,
}

/// What is announced.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Announcements {
    /// The newest announcement of each server; at most [`crate::limits::MAX_BATCH`] in one message.
    #[n(0)]
    #[cbor(with = "crate::bounded::batch")]
    pub list: Vec<crate::announcement::Signed>,
}

/// Nothing to say but that it is done.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Done {}
