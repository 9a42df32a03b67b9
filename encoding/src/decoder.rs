//! From verified blocks back to plaintext.

use bytes::{Bytes, BytesMut};

use crate::cells::{CELL_LEN, ContentKey};
use crate::erasure::{ErasureDecoder, ErasureError};
use crate::geometry::Geometry;
use crate::tree::{Root, block_root};

/// Why a segment's blocks do not give its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Every block is what its share commits to, and yet they do not belong together. The uploader encoded wrongly; no server lied.
    #[error("inconsistent encoding in segment {segment}: the uploader's shares do not belong together")]
    InconsistentEncoding {
        /// Which segment.
        segment: u64,
    },
    /// The ciphertext is what H commits to, and yet does not decrypt. The uploader encrypted wrongly.
    #[error("cell {cell} does not decrypt: the uploader encrypted it wrongly")]
    BadCell {
        /// Number of the cell in the file.
        cell: u64,
    },
    /// Too few blocks, or blocks of the wrong length: the caller's mistake.
    #[error(transparent)]
    Blocks(#[from] ErasureError),
}

/// Decodes segments of one object. Keeps working memory: use one per thread.
pub struct SegmentDecoder {
    geometry: Geometry,
    erasure: ErasureDecoder,
}

impl SegmentDecoder {
    /// A decoder for objects of this geometry.
    pub fn new(geometry: Geometry) -> Self {
        let params = geometry.params();
        Self { geometry, erasure: ErasureDecoder::new(params.needed(), params.total()) }
    }

    /// Decodes segment `index` from k different blocks (share number, bytes), each already checked against its own root; of more than k
    /// the first k are used.
    ///
    /// `data_roots` are the roots of the k data blocks of this segment, from the table, already checked against the descriptor.
    /// Whatever blocks were used, what they decode to is held against these, so that one cap is one file. Returns the segment's
    /// bytes in pieces.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(
        &mut self,
        key: &ContentKey,
        index: u64,
        mut blocks: Vec<(u16, BytesMut)>,
        data_roots: &[Root],
    ) -> Result<Vec<Bytes>, DecodeError> {
        let needed = self.geometry.params().needed();
        let block_len = self.geometry.block_len(index);
        if blocks.iter().any(|(_, block)| block.len() != block_len) || data_roots.len() != usize::from(needed)
        {
            return Err(ErasureError::BlockLength.into());
        }
        let views: Vec<(u16, &[u8])> = blocks.iter().map(|(number, block)| (*number, &block[..])).collect();
        let missing = self.erasure.missing_data(&views)?;
        blocks.truncate(needed.into());
        for (number, block) in missing {
            if block_root(&block) != data_roots[usize::from(number)] {
                return Err(DecodeError::InconsistentEncoding { segment: index });
            }
            blocks.push((number, BytesMut::from(&block[..])));
        }
        blocks.retain(|(number, _)| *number < needed);
        blocks.sort_by_key(|(number, _)| *number);
        self.decrypt(key, index, blocks)
    }

    fn decrypt(
        &self,
        key: &ContentKey,
        index: u64,
        blocks: Vec<(u16, BytesMut)>,
    ) -> Result<Vec<Bytes>, DecodeError> {
        let params = self.geometry.params();
        let ends_file = index + 1 == self.geometry.segments();
        let cells_per_block = u64::from(params.block_len()) / CELL_LEN as u64;
        let first_cell = index * cells_per_block * u64::from(params.needed());
        let bad_cell = |error: crate::cells::CellError| DecodeError::BadCell { cell: error.cell };
        let ciphertext_len = self.geometry.segment_ciphertext_len(index) as usize;
        if ciphertext_len as u64 == params.segment_len() {
            // Whole cells in every block: each is opened where it lies.
            let last_block = blocks.len() - 1;
            let open = |(at, (_, mut block)): (usize, (u16, BytesMut))| {
                let first = first_cell + at as u64 * cells_per_block;
                let len = key.open(first, ends_file && at == last_block, &mut block).map_err(bad_cell)?;
                block.truncate(len);
                Ok(block.freeze())
            };
            return blocks.into_iter().enumerate().map(open).collect();
        }
        let mut joined = BytesMut::with_capacity(blocks.len() * blocks[0].1.len());
        blocks.iter().for_each(|(_, block)| joined.extend_from_slice(block));
        joined.truncate(ciphertext_len);
        let len = key.open(first_cell, ends_file, &mut joined).map_err(bad_cell)?;
        joined.truncate(len);
        Ok(vec![joined.freeze()])
    }
}
