//! Write caps of entries, sealed for those who may write the directory.
//!
//! Every entry of something that may change has one, real or a dummy, of a length that its read cap decides: who holds only a read cap
//! of the directory cannot tell which.

use std::fmt;

use caps::{Cap, Prefix, VerifyHash, WriteKey};
use chacha20poly1305::aead::{Aead, Payload};
use zeroize::Zeroizing;

use super::Mutability;
use super::error::EntryError;
use crate::cells::TAG_LEN;
use crate::sections::{xchacha, xnonce};

const NONCE_LEN: usize = 24;
/// Bytes of plaintext beside a read cap of a known kind.
const BUCKET_LEN: usize = 128;
/// Bytes of plaintext beside a read cap of an unknown kind.
const UNKNOWN_BUCKET_LEN: usize = 512;

/// A write cap, or a dummy, sealed for the writers of a directory.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedWrite(Box<[u8]>);

impl fmt::Debug for SealedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedWrite({} bytes)", self.0.len())
    }
}

/// Why a write cap cannot be sealed or opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// It does not open under this directory's keys.
    #[error("an entry's write cap was not sealed for this directory")]
    NotOurs,
    /// What opened is no cap.
    #[error("what an entry's sealed write cap holds is not a capability")]
    NotACap,
    /// The write cap and the read cap lead to different places, so that readers and writers would part.
    #[error("an entry's write cap does not belong to its read cap")]
    NotItsReadCap,
    /// An unknown cap longer than its place.
    #[error("a write cap of {len} bytes is longer than its place")]
    TooLong {
        /// Bytes given.
        len: usize,
    },
}

impl SealedWrite {
    /// The bytes as stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// From the bytes as stored beside the read cap `read`.
    ///
    /// # Errors
    ///
    /// [`EntryError::WriteLength`] unless the length is that which this read cap decides.
    pub fn from_bytes(read: &Cap, bytes: &[u8]) -> Result<Self, EntryError> {
        let sealed = Self(bytes.into());
        sealed.check(read)?;
        Ok(sealed)
    }

    pub(super) fn check(&self, read: &Cap) -> Result<(), EntryError> {
        let len = self.0.len();
        if len == NONCE_LEN + bucket_len(read) + TAG_LEN {
            Ok(())
        } else {
            Err(EntryError::WriteLength { len })
        }
    }
}

fn bucket_len(read: &Cap) -> usize {
    if matches!(read, Cap::Unknown(_)) { UNKNOWN_BUCKET_LEN } else { BUCKET_LEN }
}

/// Seals the write cap of an entry whose read cap is `read`, or a dummy: `key`, `salt` and `hash` are the directory's W, S and H, `nonce`
/// 24 random bytes, fresh whenever the entry is written.
///
/// # Errors
///
/// [`SealError::NotItsReadCap`], [`SealError::TooLong`].
pub fn seal_write(
    key: &WriteKey,
    salt: &[u8; 32],
    hash: &VerifyHash,
    read: &Cap,
    write: Option<&Cap>,
    nonce: &[u8; 24],
) -> Result<SealedWrite, SealError> {
    let bucket = bucket_len(read);
    let mut plain = Zeroizing::new(Vec::with_capacity(bucket));
    match write {
        None => plain.extend_from_slice(&[0, 0]),
        Some(write) => {
            check_belongs(write, read)?;
            let text = Zeroizing::new(write.to_string());
            let len = text.len();
            if len + 2 > bucket {
                return Err(SealError::TooLong { len });
            }
            plain.extend_from_slice(&(len as u16).to_le_bytes());
            plain.extend_from_slice(text.as_bytes());
        }
    }
    plain.resize(bucket, 0);
    let payload = Payload { msg: &plain, aad: hash.as_bytes() };
    let sealed = xchacha(&entry_key(key, salt))
        .encrypt(&xnonce(nonce), payload)
        .expect("512 bytes are far below the cipher's limit");
    Ok(SealedWrite([&nonce[..], &sealed].concat().into()))
}

/// Opens the sealed write cap of an entry whose read cap is `read`; `None` is a dummy. The cap returned attenuates to `read`.
///
/// # Errors
///
/// [`SealError`].
pub fn open_write(
    key: &WriteKey,
    salt: &[u8; 32],
    hash: &VerifyHash,
    read: &Cap,
    sealed: &SealedWrite,
) -> Result<Option<Cap>, SealError> {
    let (nonce, sealed) = sealed.0.split_at_checked(NONCE_LEN).ok_or(SealError::NotOurs)?;
    let payload = Payload { msg: sealed, aad: hash.as_bytes() };
    let plain = xchacha(&entry_key(key, salt)).decrypt(&xnonce(nonce), payload);
    let plain = Zeroizing::new(plain.map_err(|_| SealError::NotOurs)?);
    let (len, rest) = plain.split_first_chunk().ok_or(SealError::NotACap)?;
    let text = rest.get(..u16::from_le_bytes(*len).into()).ok_or(SealError::NotACap)?;
    if text.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(text).map_err(|_| SealError::NotACap)?;
    let write: Cap = text.parse().map_err(|_| SealError::NotACap)?;
    check_belongs(&write, read)?;
    Ok(Some(write))
}

/// A write cap belongs to the read cap it attenuates to. Of two unknown caps nobody here can tell; one that alleges a limit, or that
/// stands beside something immutable, is no write cap.
fn check_belongs(write: &Cap, read: &Cap) -> Result<(), SealError> {
    let belongs = match (write, read) {
        (Cap::SlotWrite(write), Cap::SlotRead(read)) => write.to_read() == *read,
        (Cap::Unknown(write), Cap::Unknown(read)) => {
            write.prefix.is_none() && read.prefix == Some(Prefix::ReadOnly)
        }
        _ => false,
    };
    if belongs { Ok(()) } else { Err(SealError::NotItsReadCap) }
}

fn entry_key(key: &WriteKey, salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key("sarsen v1 entry write cap");
    Zeroizing::new(*hasher.update(key.expose()).update(salt).finalize().as_bytes())
}

/// Whether an entry with this read cap has a sealed write cap, real or a dummy, in a directory of this mutability: it does where what it
/// names may change.
pub(super) fn needs_seal(read: &Cap, mutability: Mutability) -> bool {
    let may_change = match read {
        Cap::Unknown(cap) => cap.prefix != Some(Prefix::Immutable),
        _ => read.is_mutable(),
    };
    mutability == Mutability::Mutable && may_change
}
