//! The two sections of every tree's payload: A for those who read, B for those who only walk, check and repair
//! (`docs/spec/trees.md`).
//!
//! Section B lists the children's repair caps and is open to the holder of the traversal key, which follows from the read key and does
//! not reveal it. In an object the whole payload is sealed under the traversal key, and A once more under the read key. In a slot each
//! section is sealed by itself, under a random nonce.

use caps::{ReadKey, TraversalKey, VerifyHash};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use ring::aead::{Aad, Nonce};

use crate::cells::{TAG_LEN, chacha20_poly1305};
use crate::keys::ObjectId;

/// The lengths a slot's payload may have, in bytes: how much it holds does not show more closely than this.
pub const SLOT_PAYLOAD_LENS: [usize; 4] = [1024, 4096, 16 * 1024, 64 * 1024];
/// The most bytes that the two sections of a slot may have together.
pub const MAX_SLOT_SECTIONS_LEN: usize = 64 * 1024 - SLOT_HEAD_LEN - 2 * (TAG_LEN + 4) - B_GRAIN;

const NONCE_LEN: usize = 24;
/// Two nonces and the length of section B as sealed.
const SLOT_HEAD_LEN: usize = 2 * NONCE_LEN + 4;
/// Section B of a slot is padded to a multiple of this.
const B_GRAIN: usize = 256;

/// The plaintext of both sections.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Sections {
    /// What the tree says.
    pub a: Vec<u8>,
    /// The children's repair caps ([`crate::Children`]).
    pub b: Vec<u8>,
}

impl std::fmt::Debug for Sections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sections({} and {} bytes, secret)", self.a.len(), self.b.len())
    }
}

/// Why bytes are not a tree's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SectionError {
    /// Cut short, or its lengths contradict each other.
    #[error("the payload of {len} bytes is cut short or contradicts itself")]
    Length {
        /// Bytes given.
        len: usize,
    },
    /// A section does not open: the key is wrong, or the writer sealed it wrongly.
    #[error("section {section} does not open with this key")]
    Sealed {
        /// `A` or `B`.
        section: char,
    },
    /// More than a slot holds.
    #[error("{len} bytes are more than a slot holds")]
    TooLong {
        /// Bytes of both sections.
        len: usize,
    },
}

/// What a tree object's convergent id is computed from, in place of the hash of a plaintext that depends on the id. 32 bytes.
pub fn tree_hash(sections: &Sections) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("sarsen v1 tree sections");
    hasher.update(&(sections.a.len() as u64).to_le_bytes()).update(&sections.a).update(&sections.b);
    *hasher.finalize().as_bytes()
}

/// The plaintext of a tree object: the length of section A as sealed (u32), section A sealed under the read key, section B. Its cells are
/// sealed under [`crate::ContentKey::for_tree`].
pub fn seal_tree(id: &ObjectId, sections: &Sections) -> Vec<u8> {
    let sealed_len = sections.a.len() + TAG_LEN;
    let mut out = Vec::with_capacity(4 + sealed_len + sections.b.len());
    out.extend_from_slice(&(sealed_len as u32).to_le_bytes());
    out.extend_from_slice(&sections.a);
    // The key serves this one section of this one object.
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let tag = chacha20_poly1305(&id.derive(TREE_A_CONTEXT))
        .seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[4..])
        .expect("a section is far below the cipher's limit of 256 GiB");
    out.extend_from_slice(tag.as_ref());
    out.extend_from_slice(&sections.b);
    out
}

/// Both sections of a tree object's plaintext, for whoever holds the read key.
///
/// # Errors
///
/// [`SectionError`].
pub fn open_tree(id: &ObjectId, payload: &[u8]) -> Result<Sections, SectionError> {
    let (sealed, b) = split_tree(payload)?;
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let opened =
        chacha20_poly1305(&id.derive(TREE_A_CONTEXT)).open_in_place(nonce, Aad::empty(), &mut sealed);
    let len = opened.map_err(|_| SectionError::Sealed { section: 'A' })?.len();
    sealed.truncate(len);
    Ok(Sections { a: sealed, b: b.to_vec() })
}

/// Section B of a tree object's plaintext, which the holder of the traversal key can decrypt as far as this.
///
/// # Errors
///
/// [`SectionError::Length`].
pub fn tree_children(payload: &[u8]) -> Result<&[u8], SectionError> {
    Ok(split_tree(payload)?.1)
}

fn split_tree(payload: &[u8]) -> Result<(&[u8], &[u8]), SectionError> {
    let bad = SectionError::Length { len: payload.len() };
    let (head, rest) = payload.split_first_chunk().ok_or(bad)?;
    rest.split_at_checked(u32::from_le_bytes(*head) as usize).ok_or(bad)
}

const TREE_A_CONTEXT: &str = "sarsen v1 tree section A";

/// The payload of a slot: both sections sealed, padded to one of [`SLOT_PAYLOAD_LENS`]. `nonces` are 48 random bytes, fresh for each
/// payload; `salt` is the slot's S and `hash` its H.
///
/// # Errors
///
/// [`SectionError::TooLong`].
pub fn seal_slot(
    key: &ReadKey,
    salt: &[u8; 32],
    hash: &VerifyHash,
    sections: &Sections,
    nonces: &[u8; 48],
) -> Result<Vec<u8>, SectionError> {
    let too_long = SectionError::TooLong { len: sections.a.len() + sections.b.len() };
    let b = padded(&sections.b, (sections.b.len() + 4).next_multiple_of(B_GRAIN));
    let around = SLOT_HEAD_LEN + b.len() + 2 * TAG_LEN;
    let fits = |len: &&usize| around + 4 + sections.a.len() <= **len;
    let len = SLOT_PAYLOAD_LENS.iter().find(fits).ok_or(too_long)?;
    let a = padded(&sections.a, len - around);
    let (nonce_a, nonce_b) = nonces.split_at(NONCE_LEN);
    let seal = |key: [u8; 32], nonce: &[u8], plaintext: &[u8]| {
        xchacha(&key)
            .encrypt(&xnonce(nonce), Payload { msg: plaintext, aad: hash.as_bytes() })
            .expect("a slot is far below the cipher's limit")
    };
    let sealed_b = seal(slot_b_key(&key.traversal_key(salt)), nonce_b, &b);
    let mut out = Vec::with_capacity(*len);
    out.extend_from_slice(nonces);
    out.extend_from_slice(&(sealed_b.len() as u32).to_le_bytes());
    out.extend_from_slice(&sealed_b);
    out.extend_from_slice(&seal(slot_a_key(key, salt), nonce_a, &a));
    debug_assert_eq!(out.len(), *len);
    Ok(out)
}

/// Both sections of a slot's payload.
///
/// # Errors
///
/// [`SectionError`].
pub fn open_slot(
    key: &ReadKey,
    salt: &[u8; 32],
    hash: &VerifyHash,
    payload: &[u8],
) -> Result<Sections, SectionError> {
    let b = open_slot_children(&key.traversal_key(salt), hash, payload)?;
    let parts = split_slot(payload)?;
    let a = open_padded(&slot_a_key(key, salt), &parts.nonces[..NONCE_LEN], hash, parts.a, 'A')?;
    Ok(Sections { a, b })
}

/// Section B of a slot's payload, for whoever holds its traversal key.
///
/// # Errors
///
/// [`SectionError`].
pub fn open_slot_children(
    key: &TraversalKey,
    hash: &VerifyHash,
    payload: &[u8],
) -> Result<Vec<u8>, SectionError> {
    let parts = split_slot(payload)?;
    open_padded(&slot_b_key(key), &parts.nonces[NONCE_LEN..], hash, parts.b, 'B')
}

/// A slot's payload in its parts, sealed as they are.
struct SlotParts<'a> {
    nonces: &'a [u8],
    b: &'a [u8],
    a: &'a [u8],
}

fn split_slot(payload: &[u8]) -> Result<SlotParts<'_>, SectionError> {
    let bad = SectionError::Length { len: payload.len() };
    if !SLOT_PAYLOAD_LENS.contains(&payload.len()) {
        return Err(bad);
    }
    let (nonces, rest) = payload.split_at_checked(2 * NONCE_LEN).ok_or(bad)?;
    let (len, rest) = rest.split_first_chunk().ok_or(bad)?;
    let (b, a) = rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or(bad)?;
    Ok(SlotParts { nonces, b, a })
}

fn open_padded(
    key: &[u8; 32],
    nonce: &[u8],
    hash: &VerifyHash,
    sealed: &[u8],
    section: char,
) -> Result<Vec<u8>, SectionError> {
    let opened = xchacha(key).decrypt(&xnonce(nonce), Payload { msg: sealed, aad: hash.as_bytes() });
    let mut plain = opened.map_err(|_| SectionError::Sealed { section })?;
    let bad = SectionError::Length { len: plain.len() };
    let len = u32::from_le_bytes(*plain.first_chunk().ok_or(bad)?) as usize;
    if len > plain.len() - 4 {
        return Err(bad);
    }
    plain.drain(..4);
    plain.truncate(len);
    Ok(plain)
}

fn padded(bytes: &[u8], len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
    out.resize(len, 0);
    out
}

pub(crate) fn xchacha(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key))
}

pub(crate) fn xnonce(bytes: &[u8]) -> XNonce {
    XNonce::try_from(bytes).expect("nonces are cut to 24 bytes")
}

fn slot_a_key(key: &ReadKey, salt: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("sarsen v1 slot section A");
    *hasher.update(key.expose()).update(salt).finalize().as_bytes()
}

fn slot_b_key(key: &TraversalKey) -> [u8; 32] {
    blake3::derive_key("sarsen v1 slot section B", key.expose())
}
