//! The descriptor: what an object is, in the clear, the same in every share. H is its hash.

use caps::{ImmutableRead, PlacementBucket, ReadKey, VerifyHash};
use ring::aead::{Aad, Nonce};

use crate::cells::chacha20_poly1305;
use crate::geometry::{Geometry, GeometryError, Params};
use crate::keys::ObjectId;
use crate::tree::Root;

/// The format this code writes, and the only one it reads.
pub(crate) const FORMAT_VERSION: u16 = 1;
/// Cells of 16 KiB under ChaCha20-Poly1305.
pub(crate) const CIPHER_ID: u8 = 1;
/// Systematic low-rate Reed-Solomon over GF(2^16).
pub(crate) const CODEC_ID: u8 = 1;

/// The longest descriptor read, in bytes.
pub const MAX_DESCRIPTOR_LEN: usize = 16 * 1024;
const FIXED_LEN: usize = 88;
const SEALED_DATA_LEN: usize = 40;
const SEALED_LEN: usize = SEALED_DATA_LEN + 16;

/// What an object's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// The file itself.
    Direct = 0,
    /// An index of other objects. Checking such an object by its verify cap covers the root only.
    Tree = 1,
}

/// An extension: a field that later versions add.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension {
    /// Its type. A reader that does not know a type of 0x8000 and above (critical) refuses the object.
    pub kind: u16,
    /// Its content, at most 65,535 bytes.
    pub value: Vec<u8>,
}

/// A parsed descriptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// What the bytes are.
    pub kind: Kind,
    /// The geometry, from k, N, block length and ciphertext length.
    pub geometry: Geometry,
    /// Where in the grid the shares belong.
    pub bucket: PlacementBucket,
    /// The salt, 32 bytes, from which with K all keys are derived.
    pub salt: [u8; 32],
    /// Shows whether a key is the right one.
    pub key_commitment: [u8; 32],
    /// Size and hash of the file, sealed.
    pub sealed: [u8; SEALED_LEN],
    /// The roots of all N shares.
    pub share_roots: Vec<Root>,
    /// Extensions, in ascending order of type.
    pub extensions: Vec<Extension>,
}

/// What the sealed part holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// Bytes of the file as a user sees it. For [`Kind::Direct`], the plaintext's length.
    pub size: u64,
    /// BLAKE3 of the file; of a tree, [`crate::tree_hash`]. Advisory: it may help to recognise a file, and never decides about a read.
    pub plaintext_hash: [u8; 32],
}

/// Why bytes are not a descriptor.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// Cut short, too long, or with something left over.
    #[error("a descriptor of {len} bytes is cut short, too long or has bytes left over")]
    Length {
        /// Bytes given.
        len: usize,
    },
    /// A format version, kind, cipher, codec or critical extension that this program does not know.
    #[error("the object needs a newer program: its {field} is {value}")]
    Unsupported {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u16,
    },
    /// Parameters or a length that no object has.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// Extensions that are not in strictly ascending order.
    #[error("extensions are not in ascending order")]
    ExtensionOrder,
}

/// Why the sealed part does not open, or does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// The key does not match the descriptor's commitment.
    #[error("the key is not this object's")]
    WrongKey,
    /// The key is right and yet the part does not open: the uploader made it wrongly.
    #[error("the uploader sealed the object's size wrongly")]
    Malformed,
}

/// Why a cap does not fit the descriptor that its H names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CapError {
    /// Its key is wrong, or the uploader sealed the object wrongly.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// Its k, N or size, or the bucket that follows from its key, differ from what the descriptor states.
    #[error("the capability's parameters are not those of its object: it was altered")]
    Parameters,
}

impl Descriptor {
    /// Bytes of a descriptor without extensions, for N shares.
    pub fn plain_len(total: u16) -> u32 {
        (FIXED_LEN + SEALED_LEN) as u32 + 32 * u32::from(total)
    }

    /// The bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.head();
        out.extend_from_slice(&self.sealed);
        out.extend(self.share_roots.iter().flatten());
        out.extend(self.extension_bytes());
        out
    }

    fn head(&self) -> Vec<u8> {
        let params = self.geometry.params();
        let mut out = Vec::with_capacity(MAX_DESCRIPTOR_LEN / 16);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, CIPHER_ID, CODEC_ID, 0]);
        out.extend_from_slice(&params.needed().to_le_bytes());
        out.extend_from_slice(&params.total().to_le_bytes());
        out.extend_from_slice(&self.bucket.0.to_le_bytes());
        out.extend_from_slice(&params.block_len().to_le_bytes());
        out.extend_from_slice(&self.geometry.ciphertext_len().to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.key_commitment);
        debug_assert_eq!(out.len(), FIXED_LEN);
        out
    }

    fn extension_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for extension in &self.extensions {
            out.extend_from_slice(&extension.kind.to_le_bytes());
            out.extend_from_slice(&(extension.value.len() as u16).to_le_bytes());
            out.extend_from_slice(&extension.value);
        }
        out
    }

    /// Parses a descriptor; nothing may follow it.
    ///
    /// # Errors
    ///
    /// [`DescriptorError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DescriptorError> {
        let mut input = Input { bytes, len: bytes.len() };
        if bytes.len() > MAX_DESCRIPTOR_LEN {
            return Err(input.length());
        }
        let version = input.u16()?;
        known("format version", version, FORMAT_VERSION)?;
        let [kind, cipher, codec, zero] = input.take()?;
        known("cipher", cipher.into(), CIPHER_ID.into())?;
        known("codec", codec.into(), CODEC_ID.into())?;
        known("reserved byte", zero.into(), 0)?;
        let kind = match kind {
            0 => Kind::Direct,
            1 => Kind::Tree,
            other => return Err(DescriptorError::Unsupported { field: "kind", value: other.into() }),
        };
        let (needed, total, bucket) = (input.u16()?, input.u16()?, PlacementBucket(input.u16()?));
        let params = Params::with_block_len(needed, total, u32::from_le_bytes(input.take()?))?;
        let geometry = Geometry::for_ciphertext(params, u64::from_le_bytes(input.take()?))?;
        let (salt, key_commitment, sealed) = (input.take()?, input.take()?, input.take()?);
        let share_roots = (0..total).map(|_| input.take()).collect::<Result<_, _>>()?;
        let extensions = input.extensions()?;
        Ok(Self { kind, geometry, bucket, salt, key_commitment, sealed, share_roots, extensions })
    }

    /// H of these descriptor bytes.
    pub fn hash(bytes: &[u8]) -> VerifyHash {
        VerifyHash::new(blake3::derive_key("sarsen v1 object verify hash", bytes))
    }

    /// Seals size and hash of the file into the descriptor. All other fields must be final: they are authenticated with it.
    pub(crate) fn seal(&mut self, id: &ObjectId, content: &Sealed) {
        let mut sealed = [0; SEALED_LEN];
        sealed[..8].copy_from_slice(&content.size.to_le_bytes());
        sealed[8..SEALED_DATA_LEN].copy_from_slice(&content.plaintext_hash);
        let (data, tag) = sealed.split_at_mut(SEALED_DATA_LEN);
        let sealing = chacha20_poly1305(&id.derive(SEALED_CONTEXT));
        let sum = sealing
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key([0; 12]),
                Aad::from(self.around_sealed()),
                data,
            )
            .expect("40 bytes are below the cipher's limit");
        tag.copy_from_slice(sum.as_ref());
        self.sealed = sealed;
    }

    /// Checks K against the commitment and opens the sealed part.
    ///
    /// # Errors
    ///
    /// [`SealedError`].
    pub fn open(&self, key: &ReadKey) -> Result<(ObjectId, Sealed), SealedError> {
        let id = ObjectId { key: key.clone(), salt: self.salt };
        if id.key_commitment() != self.key_commitment {
            return Err(SealedError::WrongKey);
        }
        let mut sealed = self.sealed;
        let opening = chacha20_poly1305(&id.derive(SEALED_CONTEXT));
        let data = opening
            .open_in_place(
                Nonce::assume_unique_for_key([0; 12]),
                Aad::from(self.around_sealed()),
                &mut sealed,
            )
            .map_err(|_| SealedError::Malformed)?;
        let (size, hash) = data.split_at(8);
        let size = u64::from_le_bytes(size.try_into().expect("the part has 40 bytes"));
        let plaintext_hash = hash.try_into().expect("the part has 40 bytes");
        if self.kind == Kind::Direct && size != self.geometry.plaintext_len() {
            return Err(SealedError::Malformed);
        }
        Ok((id, Sealed { size, plaintext_hash }))
    }

    /// Opens the sealed part with a read cap and holds every field of the cap against the descriptor. Readers call this, not
    /// [`Descriptor::open`], so that no field of a cap goes unchecked.
    ///
    /// # Errors
    ///
    /// [`CapError`].
    pub fn open_cap(&self, cap: &ImmutableRead) -> Result<(ObjectId, Sealed), CapError> {
        let (id, sealed) = self.open(&cap.key)?;
        let params = self.geometry.params();
        let same = (params.needed(), params.total(), sealed.size) == (cap.needed, cap.total, cap.size);
        if same && self.bucket == cap.placement_bucket() {
            Ok((id, sealed))
        } else {
            Err(CapError::Parameters)
        }
    }

    /// Everything in the descriptor but the sealed part.
    fn around_sealed(&self) -> Vec<u8> {
        let mut out = self.head();
        out.extend(self.share_roots.iter().flatten());
        out.extend(self.extension_bytes());
        out
    }
}

const SEALED_CONTEXT: &str = "sarsen v1 sealed descriptor part";

fn known(field: &'static str, value: u16, expected: u16) -> Result<(), DescriptorError> {
    if value == expected { Ok(()) } else { Err(DescriptorError::Unsupported { field, value }) }
}

struct Input<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl<'a> Input<'a> {
    fn length(&self) -> DescriptorError {
        DescriptorError::Length { len: self.len }
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], DescriptorError> {
        let (head, rest) = self.bytes.split_at_checked(len).ok_or(self.length())?;
        self.bytes = rest;
        Ok(head)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DescriptorError> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or(self.length())?;
        self.bytes = rest;
        Ok(*head)
    }

    fn u16(&mut self) -> Result<u16, DescriptorError> {
        self.take().map(u16::from_le_bytes)
    }

    fn extensions(&mut self) -> Result<Vec<Extension>, DescriptorError> {
        let mut out: Vec<Extension> = Vec::new();
        while !self.bytes.is_empty() {
            let (kind, len) = (self.u16()?, self.u16()?);
            let value = self.slice(len.into())?.to_vec();
            if out.last().is_some_and(|last| last.kind >= kind) {
                return Err(DescriptorError::ExtensionOrder);
            }
            if kind >= 0x8000 {
                return Err(DescriptorError::Unsupported { field: "critical extension", value: kind });
            }
            out.push(Extension { kind, value });
        }
        Ok(out)
    }
}
