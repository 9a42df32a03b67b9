//! Chaining values of the groups of full blocks: what a proof of one chunk needs of the rest of its block, so that whoever keeps them reads
//! and hashes a group instead of a block. They prove nothing by themselves and are held against the block's root wherever they are used.

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::geometry::{Geometry, Params};
use crate::tree::{GROUP_LEN, Root, block_root};

/// Bytes of one chaining value.
const VALUE_LEN: usize = 32;

impl Params {
    /// Bytes of the chaining values of the groups of one full block, one after the other; 0 where a block is a single group.
    pub fn group_values_len(self) -> usize {
        match self.block_len() as usize / GROUP_LEN {
            0 | 1 => 0,
            groups => groups * VALUE_LEN,
        }
    }
}

impl Geometry {
    /// Blocks of a share that have their full length: all of them, or all but the last.
    pub fn full_blocks(&self) -> u64 {
        let last = self.segments() - 1;
        last + u64::from(self.block_len(last) == self.params().block_len() as usize)
    }
}

/// The root of a full block; the chaining values of its groups are put after what `values` holds.
///
/// Where the block's length is none that full blocks of several groups have, only its root is computed.
pub fn block_groups(block: &[u8], values: &mut Vec<u8>) -> Root {
    let groups = block.len() / GROUP_LEN;
    if !block.len().is_multiple_of(GROUP_LEN) || groups < 2 || !groups.is_power_of_two() {
        return block_root(block);
    }
    let hashed: Vec<ChainingValue> = block
        .chunks_exact(GROUP_LEN)
        .zip((0..).step_by(GROUP_LEN))
        .map(|(group, start)| subtree(group, start))
        .collect();
    values.extend_from_slice(hashed.as_flattened());
    GroupTree::over(hashed.into_iter()).map_or_else(|| block_root(block), |tree| tree.root())
}

/// The chaining value of a subtree that begins at `start` in its block, and is not all of it.
pub(crate) fn subtree(bytes: &[u8], start: u64) -> ChainingValue {
    blake3::Hasher::new().set_input_offset(start).update(bytes).finalize_non_root()
}

/// The tree above the groups of a full block.
pub(crate) struct GroupTree {
    /// Node 1 is the root, and unused; below node i are 2i and 2i + 1; the last half are the groups.
    nodes: Vec<ChainingValue>,
}

impl GroupTree {
    /// The tree over these chaining values, if they are those of the block with this root.
    pub(crate) fn of(values: &[u8], root: &[u8]) -> Option<Self> {
        let (values, rest) = values.as_chunks::<VALUE_LEN>();
        let tree = Self::over(values.iter().copied()).filter(|_| rest.is_empty())?;
        (tree.root() == *root).then_some(tree)
    }

    fn over(values: impl ExactSizeIterator<Item = ChainingValue>) -> Option<Self> {
        let groups = values.len();
        if groups < 2 || !groups.is_power_of_two() {
            return None;
        }
        let mut nodes = vec![[0; VALUE_LEN]; groups];
        nodes.extend(values);
        for at in (2..groups).rev() {
            nodes[at] = merge_subtrees_non_root(&nodes[2 * at], &nodes[2 * at + 1], Mode::Hash);
        }
        Some(Self { nodes })
    }

    fn root(&self) -> Root {
        *merge_subtrees_root(&self.nodes[2], &self.nodes[3], Mode::Hash).as_bytes()
    }

    /// The hashes beside the path of a group, from the bottom up.
    pub(crate) fn beside(&self, group: usize, out: &mut Vec<u8>) {
        let mut at = self.nodes.len() / 2 + group;
        while at > 1 {
            out.extend_from_slice(&self.nodes[at ^ 1]);
            at /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_a_block_make_its_root_and_no_others_do() {
        for len in [1, 1024, 16_384, 20_000, 32_768, 49_152, 65_536, 262_144, 1_048_576] {
            let block: Vec<u8> = (0..len).map(|at: usize| (at * 31 % 251) as u8).collect();
            let mut values = b"before".to_vec();
            assert_eq!(block_groups(&block, &mut values), block_root(&block), "{len}");
            let values = &values[6..];
            let full = len.is_power_of_two() && len > GROUP_LEN;
            assert_eq!(values.len(), if full { len / GROUP_LEN * 32 } else { 0 });
            let params = Params::with_block_len(1, 2, len as u32);
            assert!(!full || params.unwrap().group_values_len() == values.len());
            let root = block_root(&block);
            assert_eq!(GroupTree::of(values, &root).is_some(), full);
            for flip in (0..values.len()).step_by(37) {
                let mut bad = values.to_vec();
                bad[flip] ^= 1;
                assert!(GroupTree::of(&bad, &root).is_none());
            }
            if full {
                assert!(GroupTree::of(&values[32..], &root).is_none());
                assert!(GroupTree::of(&values[1..], &root).is_none());
                assert!(GroupTree::of(&[values, &[0]].concat(), &root).is_none());
                assert!(GroupTree::of(values, &root[1..]).is_none());
            }
        }
    }
}
