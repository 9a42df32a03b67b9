//! Where everything lies: sizes of cells, segments, blocks and share files, all computed from k, N, block length and length.

use std::ops::Range;

use crate::cells::{CELL_DATA_LEN, CELL_LEN, TAG_LEN};

/// The block length writers use: 256 KiB.
pub const BLOCK_LEN: u32 = 256 * 1024;
/// The longest file one object may hold: 2^48 bytes.
pub const MAX_PLAINTEXT_LEN: u64 = 1 << 48;
const MAX_BLOCK_LEN: u32 = 1024 * 1024;
/// The longest segment, k blocks: what a reader must be able to hold.
const MAX_SEGMENT_LEN: u64 = 64 * 1024 * 1024;

/// The encoding parameters of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Params {
    needed: u16,
    total: u16,
    block_len: u32,
}

/// Why parameters or a length are not those of any object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// Not 1 <= k <= N <= 256.
    #[error("encoding parameters {needed}-of-{total} are not within 1 <= k <= N <= 256")]
    Parameters {
        /// k
        needed: u16,
        /// N
        total: u16,
    },
    /// Not a power of two from 16 KiB to 1 MiB, or more than 64 MiB for k of them.
    #[error(
        "block length {block_len} is not a power of two from 16384 to 1048576, or k of them exceed 64 MiB"
    )]
    BlockLength {
        /// Bytes.
        block_len: u32,
    },
    /// No plaintext has a ciphertext of this length.
    #[error("no file has a ciphertext of {ciphertext_len} bytes")]
    Length {
        /// Bytes.
        ciphertext_len: u64,
    },
}

impl Params {
    /// k-of-N with the usual block length of 256 KiB.
    ///
    /// # Errors
    ///
    /// [`GeometryError::Parameters`].
    pub fn new(needed: u16, total: u16) -> Result<Self, GeometryError> {
        Self::with_block_len(needed, total, BLOCK_LEN)
    }

    /// k-of-N with another block length, in bytes.
    ///
    /// # Errors
    ///
    /// [`GeometryError::Parameters`], [`GeometryError::BlockLength`].
    pub fn with_block_len(needed: u16, total: u16, block_len: u32) -> Result<Self, GeometryError> {
        if needed == 0 || needed > total || total > 256 {
            return Err(GeometryError::Parameters { needed, total });
        }
        let segment_len = u64::from(needed) * u64::from(block_len);
        let fits = (CELL_LEN as u32..=MAX_BLOCK_LEN).contains(&block_len) && segment_len <= MAX_SEGMENT_LEN;
        if !block_len.is_power_of_two() || !fits {
            return Err(GeometryError::BlockLength { block_len });
        }
        Ok(Self { needed, total, block_len })
    }

    /// k, `shares_needed`.
    pub fn needed(self) -> u16 {
        self.needed
    }

    /// N, `shares_total`.
    pub fn total(self) -> u16 {
        self.total
    }

    /// Bytes of a full block.
    pub fn block_len(self) -> u32 {
        self.block_len
    }

    /// Bytes of ciphertext in a full segment: k blocks.
    pub fn segment_len(self) -> u64 {
        u64::from(self.needed) * u64::from(self.block_len)
    }

    /// Bytes of plaintext in a full segment.
    pub fn segment_data_len(self) -> u64 {
        self.segment_len() / CELL_LEN as u64 * CELL_DATA_LEN as u64
    }
}

/// The geometry of one object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    params: Params,
    plaintext_len: u64,
    ciphertext_len: u64,
}

impl Geometry {
    /// The geometry of a file of `plaintext_len` bytes.
    ///
    /// # Errors
    ///
    /// [`GeometryError::Length`] above [`MAX_PLAINTEXT_LEN`].
    pub fn for_plaintext(params: Params, plaintext_len: u64) -> Result<Self, GeometryError> {
        let cells = plaintext_len.div_ceil(CELL_DATA_LEN as u64).max(1);
        let ciphertext_len = plaintext_len.saturating_add(cells.saturating_mul(TAG_LEN as u64));
        if plaintext_len > MAX_PLAINTEXT_LEN {
            return Err(GeometryError::Length { ciphertext_len });
        }
        Ok(Self { params, plaintext_len, ciphertext_len })
    }

    /// The geometry of an object of `ciphertext_len` bytes, as its descriptor states.
    ///
    /// # Errors
    ///
    /// [`GeometryError::Length`] if no plaintext has such a ciphertext.
    pub fn for_ciphertext(params: Params, ciphertext_len: u64) -> Result<Self, GeometryError> {
        let bad = GeometryError::Length { ciphertext_len };
        let tags = ciphertext_len.div_ceil(CELL_LEN as u64).saturating_mul(TAG_LEN as u64);
        let plaintext_len = ciphertext_len.checked_sub(tags).ok_or(bad)?;
        match Self::for_plaintext(params, plaintext_len) {
            Ok(geometry) if geometry.ciphertext_len == ciphertext_len => Ok(geometry),
            _ => Err(bad),
        }
    }

    /// The encoding parameters.
    pub fn params(&self) -> Params {
        self.params
    }

    /// Bytes of the file.
    pub fn plaintext_len(&self) -> u64 {
        self.plaintext_len
    }

    /// Bytes of the ciphertext: the file and a tag per cell.
    pub fn ciphertext_len(&self) -> u64 {
        self.ciphertext_len
    }

    /// How many segments there are: one at least.
    pub fn segments(&self) -> u64 {
        self.ciphertext_len.div_ceil(self.params.segment_len())
    }

    /// Bytes of ciphertext in segment `index`.
    pub fn segment_ciphertext_len(&self, index: u64) -> u64 {
        debug_assert!(index < self.segments());
        (self.ciphertext_len - index * self.params.segment_len()).min(self.params.segment_len())
    }

    /// Bytes of each block of segment `index`: in the last one, the least even number that k of them can hold it.
    pub fn block_len(&self, index: u64) -> usize {
        let len = self.segment_ciphertext_len(index).div_ceil(u64::from(self.params.needed));
        len.next_multiple_of(2) as usize
    }

    /// The bytes of the file that segment `index` holds.
    pub fn segment_data_range(&self, index: u64) -> Range<u64> {
        let full = self.params.segment_data_len();
        index * full..((index + 1) * full).min(self.plaintext_len)
    }

    /// The segments that hold the bytes `range` of the file (not empty, within the file).
    pub fn segments_of(&self, range: &Range<u64>) -> Range<u64> {
        let full = self.params.segment_data_len();
        range.start / full..(range.end.saturating_sub(1)) / full + 1
    }

    /// Bytes of all blocks of one share.
    pub fn share_data_len(&self) -> u64 {
        let last = self.segments() - 1;
        last * u64::from(self.params.block_len) + self.block_len(last) as u64
    }

    /// Bytes of the file of share `number`, if its descriptor has `descriptor_len` bytes.
    pub fn share_len(&self, number: u16, descriptor_len: u32) -> u64 {
        crate::share::ShareLayout::new(*self, number, descriptor_len).file_len()
    }

    /// Bytes of one column of block roots.
    pub fn column_len(&self) -> u64 {
        self.segments() * 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_around_every_boundary() {
        let params = Params::new(3, 10).unwrap();
        let (cell, block, segment) = (16_368, 16 * 16_368, 48 * 16_368);
        for (size, segments, last_block) in [
            (0, 1, 6),
            (1, 1, 6),
            (55, 1, 24),
            (56, 1, 24),
            (4096, 1, 1372),
            (cell - 1, 1, 5462),
            (cell, 1, 5462),
            (cell + 1, 1, 5468),
            (block, 1, 87_382),
            (segment - 1, 1, 262_144),
            (segment, 1, 262_144),
            (segment + 1, 2, 6),
        ] {
            let geometry = Geometry::for_plaintext(params, size).unwrap();
            assert_eq!(geometry.segments(), segments, "size {size}");
            assert_eq!(geometry.block_len(segments - 1), last_block, "size {size}");
            assert_eq!(Geometry::for_ciphertext(params, geometry.ciphertext_len()), Ok(geometry));
        }
    }

    #[test]
    fn lengths_that_no_file_has() {
        let params = Params::new(3, 10).unwrap();
        for len in [0, 15, 16_385, 16_400, u64::MAX] {
            assert!(Geometry::for_ciphertext(params, len).is_err(), "{len}");
        }
        assert!(Geometry::for_ciphertext(params, 16_401).is_ok());
    }

    #[test]
    fn parameters_out_of_bounds() {
        for (k, n) in [(0, 1), (2, 1), (1, 257), (0, 0)] {
            assert!(Params::new(k, n).is_err());
        }
        assert!(Params::with_block_len(1, 1, 8192).is_err());
        assert!(Params::with_block_len(1, 1, 40_000).is_err());
    }
}
