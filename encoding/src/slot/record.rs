//! The record: what a slot says at one ballot, signed.

use caps::VerifyHash;
use minicbor::{Decode, Encode};

use super::ballot::Ballot;
use super::keys::{SlotId, SlotKey};
use super::quorum::{Config, ConfigError, Member};

/// The longest signed record, in bytes: a full payload, twice the most members, and the rest.
pub const MAX_RECORD_LEN: usize = 96 * 1024;

const VERSION: u16 = 1;
const FLAG_TOMBSTONE: u64 = 1;
const FLAG_FORCED: u64 = 2;
const RECORD_CONTEXT: &[u8] = b"sarsen v1 slot record\n";
const PREPARE_CONTEXT: &[u8] = b"sarsen v1 slot prepare\n";

/// The hash of a signed record, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct RecordHash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// What a slot says at one ballot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What H is the hash of.
    pub id: SlotId,
    /// The attempt that made it.
    pub ballot: Ballot,
    /// Members and quorum.
    pub config: Config,
    /// In a joint record, the members and quorum that are being left: whatever needs a quorum needs one of each.
    pub old: Option<Config>,
    /// The record this one was made from; zeros in the first.
    pub previous: RecordHash,
    /// Whether the slot is deleted.
    pub tombstone: bool,
    /// Whether it begins an epoch without asking the members of the one before.
    pub forced: bool,
    /// A ballot that the writer asks to be promised together with the accept of this record: then its next change needs one round.
    pub next: Option<Ballot>,
    /// The payload (`crate::seal_slot`), empty in a tombstone.
    pub payload: Vec<u8>,
}

/// A record with its signature, checked, and its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedRecord {
    record: Record,
    bytes: Vec<u8>,
    hash: RecordHash,
}

/// Why bytes are not a slot's record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Longer than [`MAX_RECORD_LEN`].
    #[error("a record of {len} bytes is longer than any")]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// Not the CBOR of a record.
    #[error("the record cannot be read: {reason}")]
    Malformed {
        /// What the decoder says.
        reason: String,
    },
    /// A version, flag or critical extension that this program does not know.
    #[error("the record needs a newer program: its {field} is {value}")]
    Unsupported {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// It belongs to another slot.
    #[error("the record belongs to another slot")]
    WrongSlot,
    /// The signature is not that of the slot's key.
    #[error("the record is not signed by its slot's key")]
    Signature,
    /// Members who cannot agree on anything.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A first record whose members are not those that H commits to, a tombstone with a payload, or a payload of a length that none has.
    #[error("the record contradicts itself: {what}")]
    Contradiction {
        /// What about it.
        what: &'static str,
    },
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Envelope {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    body: Vec<u8>,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    signature: [u8; 64],
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Body {
    #[n(0)]
    version: u16,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    public_key: [u8; 32],
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    salt: [u8; 32],
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    genesis: [u8; 32],
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    caretaker_key: [u8; 32],
    #[n(5)]
    ballot: Ballot,
    #[n(6)]
    config: Config,
    #[n(7)]
    old: Option<Config>,
    #[n(8)]
    previous: RecordHash,
    #[n(9)]
    flags: u64,
    #[n(10)]
    #[cbor(with = "minicbor::bytes")]
    payload: Vec<u8>,
    #[n(11)]
    extensions: Option<Vec<Extension>>,
    #[n(12)]
    next: Option<Ballot>,
}

#[derive(Encode, Decode)]
struct Extension {
    #[n(0)]
    kind: u16,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    value: Vec<u8>,
}

impl Record {
    /// Signs it.
    ///
    /// # Panics
    ///
    /// If `key` is another slot's.
    pub fn sign(self, key: &SlotKey) -> SignedRecord {
        assert!(*key.id() == self.id, "a record is signed by its own slot's key");
        let body = Body {
            version: VERSION,
            public_key: self.id.public_key,
            salt: self.id.salt,
            genesis: self.id.genesis,
            caretaker_key: self.id.caretaker_key,
            ballot: self.ballot,
            config: self.config.clone(),
            old: self.old.clone(),
            previous: self.previous,
            flags: if self.tombstone { FLAG_TOMBSTONE } else { 0 }
                | if self.forced { FLAG_FORCED } else { 0 },
            payload: self.payload.clone(),
            extensions: None,
            next: self.next,
        };
        let body = minicbor::to_vec(&body).expect("writing to a Vec cannot fail");
        let signature = key.sign(RECORD_CONTEXT, &[&body_hash(&body)]);
        let bytes = minicbor::to_vec(Envelope { body, signature }).expect("writing to a Vec cannot fail");
        SignedRecord { hash: record_hash(&bytes), record: self, bytes }
    }

    /// Members of either side.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        let old = self.old.iter().flat_map(|old| &old.members);
        self.config.members.iter().chain(old.filter(|member| !self.config.members.contains(member)))
    }

    /// Whether the store counts for this record.
    pub fn counts(&self, member: &Member) -> bool {
        self.config.counts(member) || self.old.as_ref().is_some_and(|old| old.counts(member))
    }

    /// Whether the store is named, with any incarnation.
    pub fn names(&self, store: &[u8; 32]) -> bool {
        self.config.names(store) || self.old.as_ref().is_some_and(|old| old.names(store))
    }

    /// Whether those for which `yes` holds are a quorum: one of each side in a joint record.
    pub fn is_quorum(&self, yes: impl Fn(&Member) -> bool) -> bool {
        self.config.is_quorum(&yes) && self.old.as_ref().is_none_or(|old| old.is_quorum(&yes))
    }

    fn check(&self) -> Result<(), RecordError> {
        self.config.check()?;
        self.old.as_ref().map_or(Ok(()), Config::check)?;
        let contradiction = |what| Err(RecordError::Contradiction { what });
        if self.previous == RecordHash::default() && self.config.genesis() != self.id.genesis {
            return contradiction("its members are not those the slot began with");
        }
        match (self.tombstone, self.payload.len()) {
            (true, 0) => Ok(()),
            (true, _) => contradiction("a deleted slot has a payload"),
            (false, len) if crate::SLOT_PAYLOAD_LENS.contains(&len) => Ok(()),
            _ => contradiction("the payload's length is none that a slot has"),
        }
    }
}

impl SignedRecord {
    /// Parses a record of the slot H without looking at its signature: for a store's own disk.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn parse_trusted(hash: &VerifyHash, bytes: &[u8]) -> Result<Self, RecordError> {
        Ok(UncheckedRecord::parse(hash, bytes)?.record)
    }

    /// Parses a record of the slot H and checks its signature.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn parse(hash: &VerifyHash, bytes: &[u8]) -> Result<Self, RecordError> {
        UncheckedRecord::parse(hash, bytes)?.check()
    }

    /// What it says.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of its bytes.
    pub fn hash(&self) -> RecordHash {
        self.hash
    }

    /// Its ballot.
    pub fn ballot(&self) -> Ballot {
        self.record.ballot
    }
}

/// A record whose signature was not checked yet: a member looks at the ballot first, which costs nothing.
#[derive(Debug)]
pub struct UncheckedRecord {
    record: SignedRecord,
    body: Vec<u8>,
    signature: [u8; 64],
}

impl UncheckedRecord {
    /// Parses a record of the slot H.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn parse(hash: &VerifyHash, bytes: &[u8]) -> Result<Self, RecordError> {
        let (record, Envelope { body, signature }) = parse(hash, bytes)?;
        Ok(Self { record, body, signature })
    }

    /// What it claims.
    pub fn claimed(&self) -> &SignedRecord {
        &self.record
    }

    /// Checks the signature.
    ///
    /// # Errors
    ///
    /// [`RecordError::Signature`].
    pub fn check(self) -> Result<SignedRecord, RecordError> {
        let signed = self.record.record.id.verify(RECORD_CONTEXT, &[&body_hash(&self.body)], &self.signature);
        if signed { Ok(self.record) } else { Err(RecordError::Signature) }
    }
}

impl std::ops::Deref for SignedRecord {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

/// What is signed of a body: Ed25519 reads its message with SHA-512, twice to sign, which costs more than the rest on a long one.
fn body_hash(body: &[u8]) -> [u8; 32] {
    blake3::derive_key("sarsen v1 slot record body", body)
}

fn record_hash(bytes: &[u8]) -> RecordHash {
    RecordHash(blake3::derive_key("sarsen v1 slot record hash", bytes))
}

fn parse(hash: &VerifyHash, bytes: &[u8]) -> Result<(SignedRecord, Envelope), RecordError> {
    if bytes.len() > MAX_RECORD_LEN {
        return Err(RecordError::TooLong { len: bytes.len() });
    }
    let envelope: Envelope = whole(bytes)?;
    let body: Body = whole(&envelope.body)?;
    let unsupported = |field, value| RecordError::Unsupported { field, value };
    if body.version != VERSION {
        return Err(unsupported("version", body.version.into()));
    }
    if body.flags & !(FLAG_TOMBSTONE | FLAG_FORCED) != 0 {
        return Err(unsupported("flags", body.flags));
    }
    if let Some(critical) = body.extensions.iter().flatten().find(|extension| extension.kind >= 0x8000) {
        return Err(unsupported("critical extension", critical.kind.into()));
    }
    let id = SlotId {
        public_key: body.public_key,
        salt: body.salt,
        genesis: body.genesis,
        caretaker_key: body.caretaker_key,
    };
    if id.hash() != *hash {
        return Err(RecordError::WrongSlot);
    }
    let record = Record {
        id,
        ballot: body.ballot,
        config: body.config,
        old: body.old,
        previous: body.previous,
        tombstone: body.flags & FLAG_TOMBSTONE != 0,
        forced: body.flags & FLAG_FORCED != 0,
        next: body.next,
        payload: body.payload,
    };
    record.check()?;
    Ok((SignedRecord { record, hash: record_hash(bytes), bytes: bytes.to_vec() }, envelope))
}

fn whole<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, RecordError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let malformed = |reason: String| RecordError::Malformed { reason };
    let value = decoder.decode().map_err(|error| malformed(error.to_string()))?;
    if decoder.position() == bytes.len() { Ok(value) } else { Err(malformed("bytes follow it".to_owned())) }
}

/// A writer's request to promise a ballot, signed by the slot's key: only who may write may move promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Promise {
    /// The ballot.
    #[n(0)]
    pub ballot: Ballot,
    /// The signature.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

impl Promise {
    /// Asks for a promise of this ballot.
    pub fn sign(key: &SlotKey, ballot: Ballot) -> Self {
        Self { ballot, signature: key.sign(PREPARE_CONTEXT, &[&ballot.to_bytes()]) }
    }

    /// Whether it is signed by the key of the slot `id`.
    pub fn is_signed_by(&self, id: &SlotId) -> bool {
        id.verify(PREPARE_CONTEXT, &[&self.ballot.to_bytes()], &self.signature)
    }
}
