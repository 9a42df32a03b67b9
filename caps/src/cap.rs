//! The kinds of capability, as one product of format and authority instead of a class for each pair.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::keys::{PlacementBucket, ReadKey, StorageIndex, VerifyHash, WriteKey, base32};
use crate::repair::RepairCap;

/// A capability. Every kind may name a file or, where `directory` is set, a directory made of that file's content.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Cap {
    /// `URI:LIT:`, `URI:DIR2-LIT:`: the content itself.
    Literal(Literal),
    /// `URI:CHK:`, `URI:DIR2-CHK:`: reads an immutable object.
    ImmutableRead(ImmutableRead),
    /// `URI:CHK-Verifier:`, `URI:DIR2-CHK-Verifier:`: checks and repairs one.
    ImmutableVerify(ImmutableVerify),
    /// `URI:SSK:`, `URI:DIR2:` (also read from `MDMF` twins): writes a slot.
    SlotWrite(SlotWrite),
    /// `URI:SSK-RO:`, `URI:DIR2-RO:`: reads a slot.
    SlotRead(SlotRead),
    /// `URI:SSK-Verifier:`, `URI:DIR2-Verifier:`: checks and restores one.
    SlotVerify(SlotVerify),
    /// `URI:SARSEN-REPAIR:`: walks, checks and repairs a whole tree without reading it.
    Repair(RepairCap),
    /// A cap of some future kind: carried, never used.
    Unknown(Unknown),
}

/// What a capability lets its holder do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Authority {
    /// Nothing this program knows how to use.
    None,
    /// Check and repair one object or slot.
    Verify,
    /// Walk, check and repair a whole tree, and read nothing.
    Repair,
    /// Read, and all of the above.
    Read,
    /// Write, and all of the above.
    Write,
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Verify => "verify",
            Self::Repair => "repair",
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// The content itself, at most 55 bytes. It is as secret as a key.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Literal {
    /// The content.
    pub bytes: Vec<u8>,
    /// Whether the content is a directory's.
    #[zeroize(skip)]
    pub directory: bool,
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Literal({} bytes, secret)", self.bytes.len())
    }
}

/// Reads an immutable object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImmutableRead {
    /// K.
    pub key: ReadKey,
    /// H.
    pub hash: VerifyHash,
    /// k, `shares_needed`: 1..=N.
    pub needed: u16,
    /// N, `shares_total`: k..=256.
    pub total: u16,
    /// Bytes of the file.
    pub size: u64,
    /// Whether the content is a directory's.
    pub directory: bool,
}

impl ImmutableRead {
    /// The verify cap of the same object.
    pub fn to_verify(&self) -> ImmutableVerify {
        ImmutableVerify {
            storage_index: self.key.immutable_storage_index(),
            hash: self.hash,
            needed: self.needed,
            total: self.total,
            size: self.size,
            directory: self.directory,
        }
    }

    /// Where to look for the object's shares.
    pub fn placement_bucket(&self) -> PlacementBucket {
        self.key.immutable_storage_index().placement_bucket()
    }
}

/// Checks and repairs an immutable object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImmutableVerify {
    /// SI.
    pub storage_index: StorageIndex,
    /// H.
    pub hash: VerifyHash,
    /// k, `shares_needed`: 1..=N.
    pub needed: u16,
    /// N, `shares_total`: k..=256.
    pub total: u16,
    /// Bytes of the file.
    pub size: u64,
    /// Whether the content is a directory's.
    pub directory: bool,
}

/// Writes a slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotWrite {
    /// W.
    pub key: WriteKey,
    /// H.
    pub hash: VerifyHash,
    /// Whether the content is a directory's.
    pub directory: bool,
}

impl SlotWrite {
    /// The read cap of the same slot.
    pub fn to_read(&self) -> SlotRead {
        SlotRead { key: self.key.read_key(), hash: self.hash, directory: self.directory }
    }
}

/// Reads a slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotRead {
    /// R.
    pub key: ReadKey,
    /// H.
    pub hash: VerifyHash,
    /// Whether the content is a directory's.
    pub directory: bool,
}

impl SlotRead {
    /// The verify cap of the same slot.
    pub fn to_verify(&self) -> SlotVerify {
        SlotVerify {
            storage_index: self.key.slot_storage_index(),
            hash: self.hash,
            directory: self.directory,
        }
    }
}

/// Checks and restores a slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotVerify {
    /// SI.
    pub storage_index: StorageIndex,
    /// H.
    pub hash: VerifyHash,
    /// Whether the content is a directory's.
    pub directory: bool,
}

/// What whoever handed out an unknown cap alleges about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prefix {
    /// `ro.`: grants no writing.
    ReadOnly,
    /// `imm.`: and nothing behind it ever changes.
    Immutable,
}

impl Prefix {
    /// The prefix as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro.",
            Self::Immutable => "imm.",
        }
    }
}

/// A cap of a kind this program does not know. It is kept as it came and grants nothing here.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Unknown {
    /// Everything after the prefix.
    pub text: String,
    /// The alleged limit, if any.
    #[zeroize(skip)]
    pub prefix: Option<Prefix>,
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unknown({} bytes, secret)", self.text.len())
    }
}

impl Cap {
    /// What this cap lets its holder do. Of an unknown kind nothing is believed.
    pub fn authority(&self) -> Authority {
        match self {
            Self::SlotWrite(_) => Authority::Write,
            Self::Literal(_) | Self::ImmutableRead(_) | Self::SlotRead(_) => Authority::Read,
            Self::Repair(_) => Authority::Repair,
            Self::ImmutableVerify(_) | Self::SlotVerify(_) => Authority::Verify,
            Self::Unknown(_) => Authority::None,
        }
    }

    /// The kind as written in the string, without `URI:`.
    pub fn kind(&self) -> &'static str {
        let pick = |directory: bool, file, dir| if directory { dir } else { file };
        match self {
            Self::Literal(c) => pick(c.directory, "LIT", "DIR2-LIT"),
            Self::ImmutableRead(c) => pick(c.directory, "CHK", "DIR2-CHK"),
            Self::ImmutableVerify(c) => pick(c.directory, "CHK-Verifier", "DIR2-CHK-Verifier"),
            Self::SlotWrite(c) => pick(c.directory, "SSK", "DIR2"),
            Self::SlotRead(c) => pick(c.directory, "SSK-RO", "DIR2-RO"),
            Self::SlotVerify(c) => pick(c.directory, "SSK-Verifier", "DIR2-Verifier"),
            Self::Repair(_) => "SARSEN-REPAIR",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Whether the content is a directory's. `false` for kinds that do not say.
    pub fn is_directory(&self) -> bool {
        match self {
            Self::Literal(c) => c.directory,
            Self::ImmutableRead(c) => c.directory,
            Self::ImmutableVerify(c) => c.directory,
            Self::SlotWrite(c) => c.directory,
            Self::SlotRead(c) => c.directory,
            Self::SlotVerify(c) => c.directory,
            Self::Repair(c) => c.kind.is_directory(),
            Self::Unknown(_) => false,
        }
    }

    /// Whether what it names may change.
    pub fn is_mutable(&self) -> bool {
        match self {
            Self::SlotWrite(_) | Self::SlotRead(_) | Self::SlotVerify(_) => true,
            Self::Repair(c) => c.kind.is_mutable(),
            _ => false,
        }
    }

    /// The read cap: this one weakened, or itself if it is one. `None` where it grants no reading.
    pub fn read(&self) -> Option<Self> {
        match self {
            Self::SlotWrite(c) => Some(Self::SlotRead(c.to_read())),
            Self::Literal(_) | Self::ImmutableRead(_) | Self::SlotRead(_) => Some(self.clone()),
            _ => None,
        }
    }

    /// The verify cap: this one weakened, or itself if it is one. `None` for literals, which nothing stores, and for unknown and repair caps.
    pub fn verify(&self) -> Option<Self> {
        match self {
            Self::SlotWrite(c) => Some(Self::SlotVerify(c.to_read().to_verify())),
            Self::SlotRead(c) => Some(Self::SlotVerify(c.to_verify())),
            Self::ImmutableRead(c) => Some(Self::ImmutableVerify(c.to_verify())),
            Self::ImmutableVerify(_) | Self::SlotVerify(_) => Some(self.clone()),
            _ => None,
        }
    }

    /// H, where there is one.
    pub fn verify_hash(&self) -> Option<VerifyHash> {
        match self {
            Self::ImmutableRead(c) => Some(c.hash),
            Self::ImmutableVerify(c) => Some(c.hash),
            Self::SlotWrite(c) => Some(c.hash),
            Self::SlotRead(c) => Some(c.hash),
            Self::SlotVerify(c) => Some(c.hash),
            Self::Repair(c) => Some(c.hash),
            Self::Literal(_) | Self::Unknown(_) => None,
        }
    }

    /// SI, where the cap knows it. It must never be sent to a server.
    pub fn storage_index(&self) -> Option<StorageIndex> {
        match self.verify()? {
            Self::ImmutableVerify(c) => Some(c.storage_index),
            Self::SlotVerify(c) => Some(c.storage_index),
            _ => None,
        }
    }

    /// Where to look for shares or members, where the cap says.
    pub fn placement_bucket(&self) -> Option<PlacementBucket> {
        match self {
            Self::Repair(c) => Some(c.bucket),
            _ => self.storage_index().map(|si| si.placement_bucket()),
        }
    }

    /// Bytes of the content, where the cap says.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::Literal(c) => Some(c.bytes.len() as u64),
            Self::ImmutableRead(c) => Some(c.size),
            Self::ImmutableVerify(c) => Some(c.size),
            Self::Repair(c) => c.kind.size(),
            _ => None,
        }
    }
}

impl fmt::Display for Cap {
    /// Writes the string itself. It is the authority: keep it out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Literal(c) => write!(f, "URI:{kind}:{}", base32().encode(&c.bytes)),
            Self::ImmutableRead(c) => {
                write!(f, "URI:{kind}:{}:{}:{}:{}:{}", c.key.base32(), c.hash, c.needed, c.total, c.size)
            }
            Self::ImmutableVerify(c) => {
                write!(
                    f,
                    "URI:{kind}:{}:{}:{}:{}:{}",
                    c.storage_index.base32(),
                    c.hash,
                    c.needed,
                    c.total,
                    c.size
                )
            }
            Self::SlotWrite(c) => write!(f, "URI:{kind}:{}:{}", c.key.base32(), c.hash),
            Self::SlotRead(c) => write!(f, "URI:{kind}:{}:{}", c.key.base32(), c.hash),
            Self::SlotVerify(c) => write!(f, "URI:{kind}:{}:{}", c.storage_index.base32(), c.hash),
            Self::Repair(c) => c.fmt(f),
            Self::Unknown(c) => write!(f, "{}{}", c.prefix.map_or("", Prefix::as_str), c.text),
        }
    }
}
