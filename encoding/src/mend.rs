//! From the blocks of k shares to the files of other shares, without any key: what repair does.
//!
//! Whatever is made is held against the descriptor, so a repaired share is bit for bit the one that was lost, or there is none: where the
//! uploader's shares do not belong together, that shows here.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use crate::decoder::DecodeError;
use crate::descriptor::Descriptor;
use crate::erasure::{ErasureDecoder, ErasureEncoder, ErasureError};
use crate::share::Footer;
use crate::tree::{Root, block_root, column_root};

/// Makes shares of one object anew. Segments are given in order; keeps working memory and, per segment, 32 bytes for each of the k data
/// shares and each share that is made.
pub struct ShareMender {
    descriptor: Descriptor,
    decoder: ErasureDecoder,
    encoder: ErasureEncoder,
    wanted: Vec<u16>,
    /// Of the data shares and of those that are made.
    columns: BTreeMap<u16, Vec<u8>>,
    segments: u64,
}

/// Why a share cannot be made anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MendError {
    /// The blocks do not belong together, or are not blocks of the segment.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Every block is what the descriptor commits to, and the share that follows from them is not: the uploader encoded wrongly.
    #[error(
        "inconsistent encoding: share {number} does not follow from the others, as the uploader made them"
    )]
    WrongShare {
        /// Which share.
        number: u16,
    },
    /// Not all segments were given, or in another order: the caller's mistake.
    #[error("the segments were not given in order")]
    SegmentOrder,
}

impl ShareMender {
    /// Makes the shares `wanted` (numbers below N) of the object with this descriptor.
    pub fn new(descriptor: Descriptor, wanted: impl IntoIterator<Item = u16>) -> Self {
        let params = descriptor.geometry.params();
        let (needed, total) = (params.needed(), params.total());
        let wanted: Vec<u16> = wanted.into_iter().filter(|number| *number < total).collect();
        let columns = (0..needed).chain(wanted.iter().copied()).map(|number| (number, Vec::new())).collect();
        Self {
            descriptor,
            decoder: ErasureDecoder::new(needed, total),
            encoder: ErasureEncoder::new(needed, total),
            wanted,
            columns,
            segments: 0,
        }
    }

    /// The blocks of the wanted shares for the next segment, in the order in which they are wanted. `blocks` are k different ones (share
    /// number, bytes), each already checked against its own root; `data_roots` are the roots of the segment's data blocks, already checked
    /// against the descriptor.
    ///
    /// # Errors
    ///
    /// [`MendError`].
    pub fn segment(
        &mut self,
        mut blocks: Vec<(u16, BytesMut)>,
        data_roots: &[Root],
    ) -> Result<Vec<Bytes>, MendError> {
        let index = self.segments;
        let geometry = self.descriptor.geometry;
        let needed = geometry.params().needed();
        if index >= geometry.segments() {
            return Err(MendError::SegmentOrder);
        }
        let block_len = geometry.block_len(index);
        let fitting = blocks.iter().all(|(_, block)| block.len() == block_len);
        if !fitting || data_roots.len() != usize::from(needed) {
            return Err(DecodeError::from(ErasureError::BlockLength).into());
        }
        let views: Vec<(u16, &[u8])> = blocks.iter().map(|(number, block)| (*number, &block[..])).collect();
        let missing = self.decoder.missing_data(&views).map_err(DecodeError::from)?;
        for (number, block) in missing {
            if block_root(&block) != data_roots[usize::from(number)] {
                return Err(DecodeError::InconsistentEncoding { segment: index }.into());
            }
            blocks.push((number, BytesMut::from(&block[..])));
        }
        blocks.retain(|(number, _)| *number < needed);
        blocks.sort_by_key(|(number, _)| *number);
        let made = self.make(&blocks)?;
        for (number, column) in &mut self.columns {
            let root = match data_roots.get(usize::from(*number)) {
                Some(root) => *root,
                None => {
                    let at = self.wanted.iter().position(|wanted| wanted == number);
                    block_root(&made[at.expect("columns are of data shares and wanted ones")])
                }
            };
            column.extend_from_slice(&root);
        }
        self.segments += 1;
        Ok(made)
    }

    fn make(&mut self, data: &[(u16, BytesMut)]) -> Result<Vec<Bytes>, MendError> {
        let needed = usize::from(self.descriptor.geometry.params().needed());
        let parity = match self.wanted.iter().any(|number| usize::from(*number) >= needed) {
            true => {
                let joined: Vec<u8> = data.iter().flat_map(|(_, block)| &block[..]).copied().collect();
                self.encoder.parity(&joined).map_err(DecodeError::from)?
            }
            false => Vec::new(),
        };
        let block = |number: &u16| match usize::from(*number) {
            number if number < needed => Bytes::copy_from_slice(&data[number].1),
            number => parity[number - needed].clone(),
        };
        Ok(self.wanted.iter().map(block).collect())
    }

    /// What follows the blocks in the file of each wanted share, in the order in which they are wanted, once all segments were given.
    ///
    /// # Errors
    ///
    /// [`MendError::WrongShare`], [`MendError::SegmentOrder`].
    pub fn trailers(&self) -> Result<Vec<Bytes>, MendError> {
        let geometry = self.descriptor.geometry;
        if self.segments != geometry.segments() {
            return Err(MendError::SegmentOrder);
        }
        let descriptor = self.descriptor.to_bytes();
        let needed = geometry.params().needed();
        let trailer = |number: &u16| {
            if column_root(&self.columns[number]) != self.descriptor.share_roots[usize::from(*number)] {
                return Err(MendError::WrongShare { number: *number });
            }
            let mut out = BytesMut::new();
            let own = (*number >= needed).then_some(*number);
            (0..needed).chain(own).for_each(|column| out.put_slice(&self.columns[&column]));
            out.put_slice(&descriptor);
            out.put_slice(&Footer { number: *number, descriptor_len: descriptor.len() as u32 }.to_bytes());
            Ok(out.freeze())
        };
        self.wanted.iter().map(trailer).collect()
    }

    /// Bytes of the file of share `number`.
    pub fn share_len(&self, number: u16) -> u64 {
        self.descriptor.geometry.share_len(number, self.descriptor.to_bytes().len() as u32)
    }
}
