//! The erasure code: systematic Reed-Solomon over GF(2^16), always at the "low rate" (`docs/spec/erasure-code.md`).
//!
//! `reed-solomon-simd` encodes, called by its rate API so that no heuristic of the crate can change the bytes. Decoding few lost
//! blocks is done by a small matrix over the same code ([`crate::matrix`]), since the crate's decoder costs about 0.4 ms a call.

use bytes::{Bytes, BytesMut};
use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{LowRateDecoder, LowRateEncoder, RateDecoder, RateEncoder};

use crate::matrix::Matrix;

/// Why blocks could not be encoded or decoded: the caller's mistake, never the data's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErasureError {
    /// Blocks of unequal or odd length, or none.
    #[error("blocks must have one even length above zero")]
    BlockLength,
    /// Too few different blocks to decode, or a number that is not below N.
    #[error("decoding takes {needed} different blocks with numbers below {total}")]
    NotEnoughBlocks {
        /// k
        needed: u16,
        /// N
        total: u16,
    },
}

/// Makes parity blocks. Keeps its working memory between calls: use one per thread.
pub struct ErasureEncoder {
    needed: u16,
    total: u16,
    inner: Option<LowRateEncoder<DefaultEngine>>,
}

impl ErasureEncoder {
    /// An encoder for k-of-N, where 1 <= k <= N <= 256.
    pub fn new(needed: u16, total: u16) -> Self {
        Self { needed, total, inner: None }
    }

    /// The N-k parity blocks of k data blocks, which stand one after the other in `data`.
    ///
    /// # Errors
    ///
    /// [`ErasureError::BlockLength`] if `data` is not k blocks of an even length.
    pub fn parity(&mut self, data: &[u8]) -> Result<Vec<Bytes>, ErasureError> {
        let (k, parity) = (usize::from(self.needed), usize::from(self.total - self.needed));
        let block_len = data.len() / k;
        if block_len == 0 || !block_len.is_multiple_of(2) || block_len * k != data.len() {
            return Err(ErasureError::BlockLength);
        }
        if parity == 0 {
            return Ok(Vec::new());
        }
        let inner = match &mut self.inner {
            Some(inner) => {
                inner.reset(k, parity, block_len).expect("k, N and an even length are always supported");
                inner
            }
            none => none.insert(
                LowRateEncoder::new(k, parity, block_len, DefaultEngine::new(), None)
                    .expect("k, N and an even length are always supported"),
            ),
        };
        for block in data.chunks_exact(block_len) {
            inner.add_original_shard(block).expect("k blocks of the length stated");
        }
        let encoded = inner.encode().expect("all k blocks were added");
        let mut out = BytesMut::with_capacity(parity * block_len);
        for block in encoded.recovery_iter() {
            out.extend_from_slice(block);
        }
        let mut out = out.freeze();
        Ok((0..parity).map(|_| out.split_to(block_len)).collect())
    }
}

/// Recovers data blocks from any k blocks. Keeps the matrix of the last set of blocks: use one per thread.
pub struct ErasureDecoder {
    needed: u16,
    total: u16,
    engine: DefaultEngine,
    matrix: Option<Matrix>,
}

impl ErasureDecoder {
    /// A decoder for k-of-N, where 1 <= k <= N <= 256.
    pub fn new(needed: u16, total: u16) -> Self {
        Self { needed, total, engine: DefaultEngine::new(), matrix: None }
    }

    /// The data blocks that are not among `blocks` (share number and block, k different ones at least), with their numbers.
    ///
    /// # Errors
    ///
    /// [`ErasureError`] if the blocks are too few, repeated, out of range or of unequal or odd length.
    pub fn missing_data(&mut self, blocks: &[(u16, &[u8])]) -> Result<Vec<(u16, Vec<u8>)>, ErasureError> {
        let (k, n) = (self.needed, self.total);
        let mut seen = [false; 256];
        for (number, _) in blocks {
            let place = seen.get_mut(usize::from(*number)).filter(|_| *number < n);
            if place.is_none_or(|place| std::mem::replace(place, true)) {
                return Err(ErasureError::NotEnoughBlocks { needed: k, total: n });
            }
        }
        let Some(blocks) = blocks.get(..usize::from(k)) else {
            return Err(ErasureError::NotEnoughBlocks { needed: k, total: n });
        };
        let len = blocks[0].1.len();
        if len == 0 || !len.is_multiple_of(2) || blocks.iter().any(|(_, block)| block.len() != len) {
            return Err(ErasureError::BlockLength);
        }
        let missing: Vec<u16> = (0..k).filter(|i| blocks.iter().all(|(number, _)| number != i)).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        if missing.len() * usize::from(k) > MATRIX_WORK_MAX {
            return Ok(self.missing_data_by_fft(blocks, len));
        }
        let numbers: Vec<u16> = blocks.iter().map(|(number, _)| *number).collect();
        if self.matrix.as_ref().is_none_or(|matrix| matrix.from != numbers) {
            self.matrix = Some(Matrix::new(k, &numbers, &missing));
        }
        let matrix = self.matrix.as_ref().expect("it was just made");
        Ok(matrix.apply(&self.engine, blocks))
    }

    fn missing_data_by_fft(&self, blocks: &[(u16, &[u8])], len: usize) -> Vec<(u16, Vec<u8>)> {
        let (k, parity) = (usize::from(self.needed), usize::from(self.total - self.needed));
        let mut inner = LowRateDecoder::new(k, parity, len, DefaultEngine::new(), None)
            .expect("k, N and an even length are always supported");
        for (number, block) in blocks {
            let number = usize::from(*number);
            let added = if number < k {
                inner.add_original_shard(number, block)
            } else {
                inner.add_recovery_shard(number - k, block)
            };
            added.expect("different blocks of the length stated");
        }
        let decoded = inner.decode().expect("k blocks were added");
        decoded.restored_original_iter().map(|(number, block)| (number as u16, block.to_vec())).collect()
    }
}

/// Up to this many multiplications of a block (lost blocks times k) the matrix is faster than the FFT decoder; measured with
/// blocks of 256 KiB (`docs/performance.md`).
const MATRIX_WORK_MAX: usize = 256;
