//! Random chunks of a share with their proofs: BLAKE3's own tree, down to its leaves of 1 KiB (`docs/spec/objects.md`, "Samples").
//!
//! A sample proves little about little, and costs little: whoever dropped one hundredth of a share is found by 459 of them with 99 %.

use std::collections::BTreeMap;

use blake3::hazmat::{ChainingValue, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};

use crate::geometry::Geometry;
use crate::groups::{GroupTree, subtree};
use crate::tree::{GROUP_LEN, Root, SliceError};

/// Bytes of a chunk: a leaf of BLAKE3's tree.
pub const CHUNK_LEN: usize = 1024;
const CHUNK: u64 = CHUNK_LEN as u64;
/// Chunks of a group.
const GROUP_CHUNKS: u64 = GROUP_LEN as u64 / CHUNK;
/// Block roots in a chunk of a column.
const ROOTS: u64 = CHUNK / 32;

impl Geometry {
    /// How many chunks the blocks of one share have. The last one of the last block may be short.
    pub fn share_chunks(&self) -> u64 {
        let last = self.segments() - 1;
        last * self.chunks_of_block() + (self.block_len(last) as u64).div_ceil(CHUNK)
    }

    fn chunks_of_block(&self) -> u64 {
        // A block is 16 KiB at least.
        u64::from(self.params().block_len()) / CHUNK
    }

    /// The block and the chunk of it that chunk number `chunk` of a share is.
    fn chunk_at(&self, chunk: u64) -> (u64, u64) {
        (chunk / self.chunks_of_block(), chunk % self.chunks_of_block())
    }
}

/// A share that proofs are made of.
pub trait SampledShare {
    /// Why it cannot be read.
    type Error;

    /// Fills `bytes` with what block `segment` has from `start` on.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being read.
    fn read(&mut self, segment: u64, start: u64, bytes: &mut [u8]) -> Result<(), Self::Error>;

    /// Fills `values` with the chaining values of the groups of full block `segment`, as [`block_groups`](crate::block_groups) put them,
    /// if they are kept. They may be wrong: then the block is hashed.
    fn group_values(&mut self, _segment: u64, _values: &mut [u8]) -> bool {
        false
    }
}

/// What is sampled of a share: chunks of its blocks, and the chunks of its column that hold the roots of these blocks.
pub struct Sampled {
    geometry: Geometry,
    /// Ascending.
    chunks: Vec<u64>,
}

impl Sampled {
    /// These chunks of a share. `None` if there are none, one is not of the share, or they are not in ascending order.
    pub fn new(geometry: Geometry, chunks: Vec<u64>) -> Option<Self> {
        let ascending = chunks.windows(2).all(|pair| pair[0] < pair[1]);
        let within = chunks.last().is_some_and(|last| *last < geometry.share_chunks());
        (ascending && within).then_some(Self { geometry, chunks })
    }

    /// Chunks of the column, ascending.
    fn of_column(&self) -> Vec<u64> {
        let mut chunks: Vec<u64> =
            self.chunks.iter().map(|chunk| self.geometry.chunk_at(*chunk).0 / ROOTS).collect();
        chunks.dedup();
        chunks
    }

    /// Blocks that are sampled, ascending, with the chunks of each.
    fn blocks(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut blocks: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for chunk in &self.chunks {
            let (segment, chunk) = self.geometry.chunk_at(*chunk);
            blocks.entry(segment).or_default().push(chunk);
        }
        blocks
    }

    /// Bytes of the proof.
    pub fn proof_len(&self) -> u64 {
        let column = self.geometry.column_len();
        let of_column: u64 = self.of_column().into_iter().map(|chunk| proof_len(column, chunk)).sum();
        let of_blocks = self.chunks.iter().map(|chunk| {
            let (segment, chunk) = self.geometry.chunk_at(*chunk);
            proof_len(self.geometry.block_len(segment) as u64, chunk)
        });
        of_column + of_blocks.sum::<u64>()
    }

    /// Makes the proof of the share's own column, and of its blocks, of which `share` reads what is needed.
    ///
    /// # Errors
    ///
    /// Those of `share`.
    pub fn prove<S: SampledShare>(&self, column: &[u8], share: &mut S) -> Result<Vec<u8>, S::Error> {
        let mut out = Vec::with_capacity(self.proof_len() as usize);
        prove(column, &self.of_column(), &mut out);
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        for (segment, chunks) in self.blocks() {
            // Of many chunks the whole block is hashed more quickly.
            let few = (chunks.len() as u64) < self.geometry.chunks_of_block() / GROUP_CHUNKS;
            let groups = if few { self.groups(share, column, segment, &mut values) } else { None };
            if let Some(groups) = groups {
                self.prove_of_groups(share, segment, &chunks, &groups, (&mut bytes, &mut out))?;
            } else {
                let len = self.geometry.block_len(segment);
                bytes.resize(len, 0);
                share.read(segment, 0, &mut bytes)?;
                prove(&bytes, &chunks, &mut out);
            }
        }
        Ok(out)
    }

    /// The tree above the groups of a block, where its chaining values are kept and are what its root says.
    fn groups<S: SampledShare>(
        &self,
        share: &mut S,
        column: &[u8],
        segment: u64,
        values: &mut Vec<u8>,
    ) -> Option<GroupTree> {
        let len = self.geometry.params().group_values_len();
        if len == 0 || segment >= self.geometry.full_blocks() {
            return None;
        }
        values.resize(len, 0);
        let root = column.get(segment as usize * 32..)?.get(..32)?;
        share.group_values(segment, values).then(|| GroupTree::of(values, root)).flatten()
    }

    /// Proves chunks of a full block from their groups alone. What is wrong in such a group makes the proof wrong, as with whole blocks.
    fn prove_of_groups<S: SampledShare>(
        &self,
        share: &mut S,
        segment: u64,
        chunks: &[u64],
        groups: &GroupTree,
        (bytes, out): (&mut Vec<u8>, &mut Vec<u8>),
    ) -> Result<(), S::Error> {
        let mut read = None;
        bytes.resize(GROUP_LEN, 0);
        for chunk in chunks {
            let (group, within) = (chunk / GROUP_CHUNKS, chunk % GROUP_CHUNKS);
            let start = group * GROUP_LEN as u64;
            if read.replace(group) != Some(group) {
                share.read(segment, start, bytes)?;
            }
            prove_in_group(bytes, start, within as usize, out);
            groups.beside(group as usize, out);
        }
        Ok(())
    }

    /// Holds a proof against the root of the share.
    ///
    /// # Errors
    ///
    /// [`SliceError`] if a byte of it is not what the root commits to, or there are more or fewer than there should be.
    pub fn verify(&self, root: &Root, mut proof: &[u8]) -> Result<(), SliceError> {
        let mut roots: BTreeMap<u64, &[u8]> = BTreeMap::new();
        let column = self.geometry.column_len();
        for chunk in self.of_column() {
            roots.insert(chunk, open(root, column, chunk, &mut proof)?);
        }
        for chunk in &self.chunks {
            let (segment, chunk) = self.geometry.chunk_at(*chunk);
            let at = (segment % ROOTS * 32) as usize;
            let root = roots.get(&(segment / ROOTS)).and_then(|roots| roots.get(at..)?.first_chunk());
            open(root.ok_or(SliceError)?, self.geometry.block_len(segment) as u64, chunk, &mut proof)?;
        }
        if proof.is_empty() { Ok(()) } else { Err(SliceError) }
    }
}

/// The lengths of the left subtree and the right one, where there are two.
fn halves(len: u64) -> Option<(u64, u64)> {
    (len > CHUNK).then(|| (left_subtree_len(len), len - left_subtree_len(len)))
}

fn chunk_len(total: u64, chunk: u64) -> u64 {
    (total - chunk * CHUNK).min(CHUNK)
}

/// Bytes of one chunk and of the hashes beside its path.
fn proof_len(total: u64, chunk: u64) -> u64 {
    let (mut at, mut len, mut hashes) = (chunk * CHUNK, total, 0);
    while let Some((left, right)) = halves(len) {
        hashes += 1;
        (at, len) = if at < left { (at, left) } else { (at - left, right) };
    }
    chunk_len(total, chunk) + hashes * 32
}

/// Each chunk of `data`, and after it the hashes beside its path to the root, from the bottom up.
fn prove(data: &[u8], chunks: &[u64], out: &mut Vec<u8>) {
    let mut tree = Tree { data, known: BTreeMap::new() };
    for chunk in chunks {
        let at = (*chunk * CHUNK) as usize;
        out.extend_from_slice(&data[at..data.len().min(at + CHUNK_LEN)]);
        tree.beside(at as u64, 0, data.len() as u64, out);
    }
}

/// The tree over some bytes; subtrees that were hashed are remembered.
struct Tree<'d> {
    data: &'d [u8],
    known: BTreeMap<(u64, u64), ChainingValue>,
}

impl Tree<'_> {
    fn beside(&mut self, at: u64, start: u64, len: u64, out: &mut Vec<u8>) {
        let Some((left, right)) = halves(len) else { return };
        let other = if at < start + left {
            self.beside(at, start, left, out);
            self.hash(start + left, right)
        } else {
            self.beside(at, start + left, right, out);
            self.hash(start, left)
        };
        out.extend_from_slice(&other);
    }

    /// Hashes a subtree: whole groups at a time, which is what the processor does quickly.
    fn hash(&mut self, start: u64, len: u64) -> ChainingValue {
        if let Some(known) = self.known.get(&(start, len)) {
            return *known;
        }
        let hash = match halves(len).filter(|_| len > GROUP_LEN as u64) {
            Some((left, right)) => {
                let (one, other) = (self.hash(start, left), self.hash(start + left, right));
                merge_subtrees_non_root(&one, &other, Mode::Hash)
            }
            None => subtree(&self.data[start as usize..(start + len) as usize], start),
        };
        self.known.insert((start, len), hash);
        hash
    }
}

/// A chunk of a full group that begins at `start` in its block, and after it the hashes beside its path within the group.
fn prove_in_group(group: &[u8], start: u64, chunk: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&group[chunk * CHUNK_LEN..(chunk + 1) * CHUNK_LEN]);
    let (mut at, mut len) = (chunk, 1);
    while len < GROUP_CHUNKS as usize {
        let other = (at ^ 1) * len * CHUNK_LEN;
        out.extend_from_slice(&subtree(&group[other..other + len * CHUNK_LEN], start + other as u64));
        (at, len) = (at / 2, len * 2);
    }
}

/// Takes one chunk's proof off the front of `proof` and holds it against `root`; returns the chunk.
fn open<'p>(root: &Root, total: u64, chunk: u64, proof: &mut &'p [u8]) -> Result<&'p [u8], SliceError> {
    let bytes = proof.split_off(..chunk_len(total, chunk) as usize).ok_or(SliceError)?;
    let mut path = Vec::new();
    let (mut at, mut len) = (chunk * CHUNK, total);
    while let Some((left, right)) = halves(len) {
        path.push(at < left);
        (at, len) = if at < left { (at, left) } else { (at - left, right) };
    }
    let hashes = proof.split_off(..path.len() * 32).ok_or(SliceError)?.as_chunks::<32>().0;
    if path.is_empty() {
        return if blake3::hash(bytes).as_bytes() == root { Ok(bytes) } else { Err(SliceError) };
    }
    let mut hash = subtree(bytes, chunk * CHUNK);
    for (level, (is_left, other)) in path.iter().rev().zip(hashes).enumerate() {
        let (left, right) = if *is_left { (&hash, other) } else { (other, &hash) };
        hash = match level + 1 == path.len() {
            true => *merge_subtrees_root(left, right, Mode::Hash).as_bytes(),
            false => merge_subtrees_non_root(left, right, Mode::Hash),
        };
    }
    if hash == *root { Ok(bytes) } else { Err(SliceError) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Params;
    use crate::groups::block_groups;
    use crate::tree::{block_root, column_root};

    fn noise(len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new().update(&len.to_le_bytes()).finalize_xof().fill(&mut out);
        out
    }

    /// A share in memory, that counts what is read of it.
    struct Blocks<'b> {
        blocks: &'b [Vec<u8>],
        values: Option<Vec<Vec<u8>>>,
        read: usize,
    }

    impl<'b> Blocks<'b> {
        fn new(blocks: &'b [Vec<u8>]) -> Self {
            Self { blocks, values: None, read: 0 }
        }
    }

    impl SampledShare for Blocks<'_> {
        type Error = ();

        fn read(&mut self, segment: u64, start: u64, bytes: &mut [u8]) -> Result<(), ()> {
            let block = &self.blocks[segment as usize][start as usize..];
            bytes.copy_from_slice(&block[..bytes.len()]);
            self.read += bytes.len();
            Ok(())
        }

        fn group_values(&mut self, segment: u64, values: &mut [u8]) -> bool {
            let kept = self.values.as_ref().and_then(|all| all.get(segment as usize));
            kept.is_some_and(|kept| {
                kept.len() == values.len() && {
                    values.copy_from_slice(kept);
                    true
                }
            })
        }
    }

    proptest::proptest! {
        #[test]
        fn proofs_from_groups_are_those_from_whole_blocks(
            log in 14_u32..=20,
            len in 1_u64..2_000_000,
            seed: u64,
            count in 1_u64..60,
            damage: Option<(u16, u16)>,
        ) {
            let params = Params::with_block_len(2, 3, 1 << log).unwrap();
            let geometry = Geometry::for_plaintext(params, len).unwrap();
            let all = noise((0..geometry.segments()).map(|at| geometry.block_len(at)).sum());
            let mut rest = &all[..];
            let blocks: Vec<Vec<u8>> = (0..geometry.segments())
                .map(|at| rest.split_off(..geometry.block_len(at)).unwrap().to_vec())
                .collect();
            let column: Vec<u8> = blocks.iter().flat_map(|block| block_root(block)).collect();
            let mut values: Vec<Vec<u8>> = Vec::new();
            for block in &blocks[..geometry.full_blocks() as usize] {
                values.push(Vec::new());
                assert_eq!(block_groups(block, values.last_mut().unwrap()), block_root(block));
            }
            let total = geometry.share_chunks();
            let mut chunks: Vec<u64> =
                (0..count).map(|at| seed.wrapping_mul(2 * at + 1).rotate_left(at as u32) % total).collect();
            chunks.sort_unstable();
            chunks.dedup();
            let few = chunks.len() == 1;
            let sampled = Sampled::new(geometry, chunks).unwrap();
            let mut whole = Blocks::new(&blocks);
            let proof = sampled.prove(&column, &mut whole).unwrap();
            if let Some((at, flip)) = damage && !values.is_empty() {
                let at = usize::from(at) % values.len();
                if let Some(len) = std::num::NonZeroUsize::new(values[at].len()) {
                    values[at][usize::from(flip) % len] ^= 1;
                }
            }
            let mut kept = Blocks { values: Some(values), ..Blocks::new(&blocks) };
            assert_eq!(sampled.prove(&column, &mut kept).unwrap(), proof);
            assert_eq!(sampled.verify(&column_root(&column), &proof), Ok(()));
            assert!(kept.read <= whole.read);
            if few && damage.is_none() && whole.read == 1 << log && log > 14 {
                assert_eq!(kept.read, GROUP_LEN);
            }
        }
    }

    #[test]
    fn a_rotten_byte_of_a_group_that_is_sampled_spoils_the_proof_and_no_other_does() {
        let geometry = Geometry::for_plaintext(Params::new(1, 2).unwrap(), 262_144 - 256).unwrap();
        let mut blocks = vec![noise(262_144)];
        assert_eq!((geometry.full_blocks(), geometry.block_len(0)), (1, 262_144));
        let mut values = Vec::new();
        let column = block_groups(&blocks[0], &mut values);
        let root = column_root(&column);
        let values = Some(vec![values]);
        for at in [0, 40_000, 262_143] {
            blocks[0][at] ^= 4;
            for chunk in [0, 15, 16, 32, 39, 100, 240, 255] {
                let sampled = Sampled::new(geometry, vec![chunk]).unwrap();
                let mut kept = Blocks { values: values.clone(), ..Blocks::new(&blocks) };
                let proof = sampled.prove(&column, &mut kept).unwrap();
                let same_group = chunk / 16 == at as u64 / GROUP_LEN as u64;
                assert_eq!(sampled.verify(&root, &proof).is_err(), same_group, "byte {at}, chunk {chunk}");
                let proof = sampled.prove(&column, &mut Blocks::new(&blocks)).unwrap();
                assert!(sampled.verify(&root, &proof).is_err(), "hashed whole");
            }
            blocks[0][at] ^= 4;
        }
    }

    #[test]
    fn every_chunk_of_every_shape_of_tree_is_proved_and_nothing_else() {
        for total in [1, 2, 1023, 1024, 1025, 2048, 3000, 16_384, 17_000, 40_001, 262_144] {
            let data = noise(total);
            let root = block_root(&data);
            for chunk in 0..(total as u64).div_ceil(CHUNK) {
                let mut proof = Vec::new();
                prove(&data, &[chunk], &mut proof);
                assert_eq!(proof.len() as u64, proof_len(total as u64, chunk), "{total}, chunk {chunk}");
                let mut rest = &proof[..];
                let at = (chunk * CHUNK) as usize;
                let bytes = open(&root, total as u64, chunk, &mut rest).unwrap();
                assert_eq!((bytes, rest.len()), (&data[at..total.min(at + CHUNK_LEN)], 0));
                for flip in [0, proof.len() / 2, proof.len() - 1] {
                    let mut bad = proof.clone();
                    bad[flip] ^= 1;
                    assert!(open(&root, total as u64, chunk, &mut &bad[..]).is_err());
                }
                assert!(open(&root, total as u64, chunk, &mut &proof[..proof.len() - 1]).is_err());
                let other = chunk ^ 1;
                if other * CHUNK < total as u64 {
                    assert!(open(&root, total as u64, other, &mut &proof[..]).is_err(), "another's proof");
                }
            }
        }
    }

    #[test]
    fn a_share_is_sampled_across_its_blocks() {
        let params = Params::with_block_len(2, 3, 16 * 1024).unwrap();
        for len in [1u64, 40_000, 3_000_000] {
            let geometry = Geometry::for_plaintext(params, len).unwrap();
            let blocks: Vec<Vec<u8>> =
                (0..geometry.segments()).map(|at| noise(geometry.block_len(at))).collect();
            let column: Vec<u8> = blocks.iter().flat_map(|block| block_root(block)).collect();
            let root = column_root(&column);
            let total = geometry.share_chunks();
            for step in [1, 7, 100] {
                let chunks: Vec<u64> = (0..total).step_by(step).collect();
                let sampled = Sampled::new(geometry, chunks).unwrap();
                let proof = sampled.prove(&column, &mut Blocks::new(&blocks)).unwrap();
                assert_eq!(proof.len() as u64, sampled.proof_len());
                assert_eq!(sampled.verify(&root, &proof), Ok(()));
                for flip in (0..proof.len()).step_by(proof.len() / 7 + 1) {
                    let mut bad = proof.clone();
                    bad[flip] ^= 0x10;
                    assert_eq!(sampled.verify(&root, &bad), Err(SliceError));
                }
                assert_eq!(sampled.verify(&root, &proof[1..]), Err(SliceError));
                assert_eq!(sampled.verify(&root, &[&proof[..], &[0]].concat()), Err(SliceError));
            }
            for wrong in [vec![], vec![total], vec![0, 0], vec![1, 0]] {
                assert!(Sampled::new(geometry, wrong).is_none());
            }
        }
    }
}
