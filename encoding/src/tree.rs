//! Hash trees: BLAKE3 is one already, and bao proves slices of it (`docs/spec/objects.md`, "Trees").

use std::io::Cursor;
use std::ops::Range;

use bao_tree::io::outboard::{EmptyOutboard, PreOrderMemOutboard};
use bao_tree::io::round_up_to_chunks_groups;
use bao_tree::io::sync::{decode_ranges, encode_ranges_validated};
use bao_tree::{BaoTree, BlockSize, ChunkRanges};

/// A BLAKE3 root, 32 bytes.
pub type Root = [u8; 32];

/// Bytes of a group: the least that a proof covers. The same as a cell of the cipher.
pub const GROUP_LEN: usize = 16 * 1024;
const GROUPS: BlockSize = BlockSize::from_chunk_log(4);

/// A slice that does not prove what it claims.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the bytes do not match the hash they are proved against")]
pub struct SliceError;

/// The root of a block: its BLAKE3 hash.
pub fn block_root(block: &[u8]) -> Root {
    *blake3::hash(block).as_bytes()
}

/// The root of a share: BLAKE3 over its block roots, one after the other.
pub fn column_root(column: &[u8]) -> Root {
    *blake3::hash(column).as_bytes()
}

/// Cuts the groups around `range` out of `data`, with the hashes that prove them against its BLAKE3 root. Nothing, if the range is
/// empty or outside the data.
pub fn slice(data: &[u8], range: Range<u64>) -> Vec<u8> {
    let covered = group_range(data.len() as u64, &range);
    let mut out = Vec::new();
    if covered.is_empty() {
        return out;
    }
    let outboard = PreOrderMemOutboard::create(data, GROUPS);
    encode_ranges_validated(data, &outboard, &groups(covered), &mut out)
        .expect("the outboard was just made from these bytes, and a Vec takes all");
    out
}

/// The most bytes that [`slice()`] makes of `range` in `total` bytes.
pub fn slice_len_max(total: u64, range: &Range<u64>) -> u64 {
    let covered = group_range(total, range);
    let groups = (covered.end - covered.start).div_ceil(GROUP_LEN as u64);
    // Each group needs at most one pair of hashes per level of the tree, and 2^64 bytes have fewer than 64 levels.
    covered.end - covered.start + groups * 64 + 64 * 64
}

/// Checks a slice against `root` and returns the bytes of all groups around `range`, and where the first of them stands.
///
/// # Errors
///
/// [`SliceError`] if anything in `encoded` is not what `root` commits to, or is missing, or if the range is empty or outside the data.
pub fn open_slice(
    root: &Root,
    total: u64,
    range: Range<u64>,
    encoded: &[u8],
) -> Result<(u64, Vec<u8>), SliceError> {
    let covered = group_range(total, &range);
    if covered.is_empty() {
        // An empty set of groups would prove nothing.
        return Err(SliceError);
    }
    let tree = BaoTree::new(total, GROUPS);
    let outboard = EmptyOutboard { tree, root: blake3::Hash::from_bytes(*root) };
    let mut out = OffsetBuffer { base: covered.start, data: vec![0; (covered.end - covered.start) as usize] };
    decode_ranges(Cursor::new(encoded), &groups(covered.clone()), &mut out, outboard)
        .map_err(|_| SliceError)?;
    Ok((covered.start, out.data))
}

fn groups(range: Range<u64>) -> ChunkRanges {
    let chunks = bao_tree::io::round_up_to_chunks(&bao_tree::ByteRanges::from(range));
    round_up_to_chunks_groups(chunks, GROUPS)
}

/// The bytes of all groups around `range` in `total` bytes; empty if the range is empty or outside.
fn group_range(total: u64, range: &Range<u64>) -> Range<u64> {
    let (group, end) = (GROUP_LEN as u64, range.end.min(total));
    if range.start >= end {
        return 0..0;
    }
    range.start / group * group..end.div_ceil(group).saturating_mul(group).min(total)
}

/// A window of a larger file, for bao-tree to write into.
struct OffsetBuffer {
    base: u64,
    data: Vec<u8>,
}

impl bao_tree::io::sync::WriteAt for OffsetBuffer {
    fn write_at(&mut self, pos: u64, buf: &[u8]) -> std::io::Result<usize> {
        let at = pos.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        let target = at.and_then(|at| self.data.get_mut(at..at.checked_add(buf.len())?));
        let target = target.ok_or(std::io::ErrorKind::InvalidInput)?;
        target.copy_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_of_every_size() {
        for total in [1usize, 32, 1024, 16_384, 16_385, 40_000, 262_144] {
            let data: Vec<u8> = (0..total).map(|i| (i * 31 % 251) as u8).collect();
            let root = block_root(&data);
            for (start, end) in [(0, 1), (0, total), (total / 2, total / 2 + 1), (total - 1, total)] {
                let range = start as u64..end as u64;
                let encoded = slice(&data, range.clone());
                assert!(encoded.len() as u64 <= slice_len_max(total as u64, &range));
                let (at, bytes) = open_slice(&root, total as u64, range.clone(), &encoded).unwrap();
                assert_eq!(bytes, data[at as usize..at as usize + bytes.len()]);
                assert!(at <= range.start && at + bytes.len() as u64 >= range.end);
                for flip in [0, encoded.len() / 2, encoded.len() - 1] {
                    let mut bad = encoded.clone();
                    bad[flip] ^= 1;
                    assert!(open_slice(&root, total as u64, range.clone(), &bad).is_err());
                }
                assert!(open_slice(&root, total as u64, range, &encoded[..encoded.len() - 1]).is_err());
            }
        }
    }
}
