//! From plaintext to blocks, segment by segment, and from block roots to the object.

use bytes::{Bytes, BytesMut};
use caps::VerifyHash;

use crate::cells::{CELL_DATA_LEN, CELL_LEN, ContentKey, TAG_LEN};
use crate::descriptor::{Descriptor, Kind, Sealed};
use crate::erasure::ErasureEncoder;
use crate::geometry::{Geometry, GeometryError, Params};
use crate::keys::ObjectId;
use crate::share::Footer;
use crate::tree::{Root, block_root, column_root};

/// Why segments do not make an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A segment that is too long, or short without being the last.
    #[error("segment {index} holds {len} bytes, which is too many or too few")]
    SegmentLength {
        /// Which segment.
        index: u64,
        /// Bytes given.
        len: usize,
    },
    /// Segments out of order, missing, or not those of a file of the size stated.
    #[error("segments are missing, out of order, or too many")]
    SegmentOrder,
    /// More than an object may hold.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
}

/// One segment, encrypted and erasure-coded.
#[derive(Clone, Debug)]
pub struct EncodedSegment {
    /// Which segment.
    pub index: u64,
    /// A block for each of the N shares.
    pub blocks: Vec<Bytes>,
    /// The root of each block.
    pub roots: Vec<Root>,
}

/// Encrypts and erasure-codes segments. Keeps working memory: use one per thread.
pub struct SegmentEncoder {
    params: Params,
    erasure: ErasureEncoder,
}

impl SegmentEncoder {
    /// An encoder for objects of these parameters.
    pub fn new(params: Params) -> Self {
        Self { params, erasure: ErasureEncoder::new(params.needed(), params.total()) }
    }

    /// Encodes segment `index`, whose bytes are `plaintext`; `last` says that the file ends with it.
    ///
    /// # Errors
    ///
    /// [`EncodeError::SegmentLength`] if the length is not a full segment's, or for the last one not between 1 and that (0 for an
    /// empty file).
    pub fn encode(
        &mut self,
        key: &ContentKey,
        index: u64,
        plaintext: &[u8],
        last: bool,
    ) -> Result<EncodedSegment, EncodeError> {
        let full = self.params.segment_data_len();
        let len = plaintext.len() as u64;
        if len > full || (!last && len < full) || (last && len == 0 && index > 0) {
            return Err(EncodeError::SegmentLength { index, len: plaintext.len() });
        }
        let data = self.seal(key, index, plaintext, last);
        let parity = self.erasure.parity(&data).expect("k blocks of an even length above zero");
        let block_len = data.len() / usize::from(self.params.needed());
        let mut data = data.freeze();
        let mut blocks: Vec<Bytes> = (0..self.params.needed()).map(|_| data.split_to(block_len)).collect();
        blocks.extend(parity);
        let roots = blocks.iter().map(|block| block_root(block)).collect();
        Ok(EncodedSegment { index, blocks, roots })
    }

    /// The segment's ciphertext, padded with zeros to k blocks.
    fn seal(&self, key: &ContentKey, index: u64, plaintext: &[u8], last: bool) -> BytesMut {
        let cells = plaintext.len().div_ceil(CELL_DATA_LEN).max(1);
        let ciphertext_len = plaintext.len() + cells * TAG_LEN;
        let needed = usize::from(self.params.needed());
        let padded = ciphertext_len.div_ceil(needed).next_multiple_of(2) * needed;
        let mut out = BytesMut::with_capacity(padded);
        for cell in plaintext.chunks(CELL_DATA_LEN) {
            out.extend_from_slice(cell);
            out.extend_from_slice(&[0; TAG_LEN]);
        }
        out.resize(ciphertext_len, 0);
        let first_cell = index * (self.params.segment_len() / CELL_LEN as u64);
        key.seal(first_cell, last, &mut out);
        out.resize(padded, 0);
        out
    }
}

/// Gathers the block roots of an object while its segments are encoded.
pub struct ObjectBuilder {
    params: Params,
    kind: Kind,
    id: ObjectId,
    /// For each share, its column of block roots.
    columns: Vec<Vec<u8>>,
    segments: u64,
}

/// A finished object: everything about it but its blocks.
#[derive(Clone, Debug)]
pub struct EncodedObject {
    /// H.
    pub hash: VerifyHash,
    /// The descriptor.
    pub descriptor: Descriptor,
    /// The descriptor's bytes.
    pub descriptor_bytes: Bytes,
    columns: Vec<Bytes>,
}

impl ObjectBuilder {
    /// An object without segments yet.
    pub fn new(params: Params, kind: Kind, id: &ObjectId) -> Self {
        Self {
            params,
            kind,
            id: id.clone(),
            columns: vec![Vec::new(); usize::from(params.total())],
            segments: 0,
        }
    }

    /// Adds the next segment.
    ///
    /// # Errors
    ///
    /// [`EncodeError::SegmentOrder`] if it is not the next.
    pub fn add(&mut self, segment: &EncodedSegment) -> Result<(), EncodeError> {
        if segment.index != self.segments || segment.roots.len() != self.columns.len() {
            return Err(EncodeError::SegmentOrder);
        }
        for (column, root) in self.columns.iter_mut().zip(&segment.roots) {
            column.extend_from_slice(root);
        }
        self.segments += 1;
        Ok(())
    }

    /// Finishes the object of a file of `size` bytes with the given BLAKE3 hash.
    ///
    /// # Errors
    ///
    /// [`EncodeError::SegmentOrder`] if a file of that size has another number of segments, [`EncodeError::Geometry`].
    pub fn finish(self, size: u64, plaintext_hash: &[u8; 32]) -> Result<EncodedObject, EncodeError> {
        self.finish_tree(size, size, plaintext_hash)
    }

    /// Finishes a tree object: its plaintext ([`crate::seal_tree`]) has `plaintext_len` bytes, what the tree stands for `size`, and the
    /// hash is [`crate::tree_hash`].
    ///
    /// # Errors
    ///
    /// As [`ObjectBuilder::finish`].
    pub fn finish_tree(
        self,
        plaintext_len: u64,
        size: u64,
        plaintext_hash: &[u8; 32],
    ) -> Result<EncodedObject, EncodeError> {
        debug_assert!(self.kind == Kind::Tree || size == plaintext_len, "a direct object is its own file");
        let geometry = Geometry::for_plaintext(self.params, plaintext_len)?;
        if geometry.segments() != self.segments {
            return Err(EncodeError::SegmentOrder);
        }
        let mut descriptor = Descriptor {
            kind: self.kind,
            geometry,
            bucket: self.id.placement_bucket(),
            salt: self.id.salt,
            key_commitment: self.id.key_commitment(),
            sealed: [0; _],
            share_roots: self.columns.iter().map(|column| column_root(column)).collect(),
            extensions: Vec::new(),
        };
        descriptor.seal(&self.id, &Sealed { size, plaintext_hash: *plaintext_hash });
        let descriptor_bytes = Bytes::from(descriptor.to_bytes());
        Ok(EncodedObject {
            hash: Descriptor::hash(&descriptor_bytes),
            descriptor,
            descriptor_bytes,
            columns: self.columns.into_iter().map(Bytes::from).collect(),
        })
    }
}

impl EncodedObject {
    /// What follows the blocks in the file of share `number`: the table of block roots, the descriptor and the footer.
    pub fn trailer(&self, number: u16) -> Bytes {
        let needed = self.descriptor.geometry.params().needed();
        let own = usize::from(number);
        let mut out = BytesMut::new();
        for column in &self.columns[..usize::from(needed)] {
            out.extend_from_slice(column);
        }
        if number >= needed {
            out.extend_from_slice(&self.columns[own]);
        }
        out.extend_from_slice(&self.descriptor_bytes);
        out.extend_from_slice(
            &Footer { number, descriptor_len: self.descriptor_bytes.len() as u32 }.to_bytes(),
        );
        out.freeze()
    }

    /// Bytes of the file of share `number`.
    pub fn share_len(&self, number: u16) -> u64 {
        self.descriptor.geometry.share_len(number, self.descriptor_bytes.len() as u32)
    }
}
