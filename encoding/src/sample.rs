//! Random chunks of a share with their proofs: BLAKE3's own tree, down to its leaves of 1 KiB (`docs/spec/objects.md`, "Samples").
//!
//! A sample proves little about little, and costs little: whoever dropped one hundredth of a share is found by 459 of them with 99 %.

use std::collections::BTreeMap;

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

use crate::geometry::Geometry;
use crate::tree::{GROUP_LEN, Root, SliceError};

/// Bytes of a chunk: a leaf of BLAKE3's tree.
pub const CHUNK_LEN: usize = 1024;
const CHUNK: u64 = CHUNK_LEN as u64;
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

    /// Makes the proof of the share's own column, and of its blocks, which `block` reads.
    ///
    /// # Errors
    ///
    /// Those of `block`.
    pub fn prove<E>(
        &self,
        column: &[u8],
        mut block: impl FnMut(u64, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        let mut out = Vec::with_capacity(self.proof_len() as usize);
        prove(column, &self.of_column(), &mut out);
        let mut bytes = Vec::new();
        for (segment, chunks) in self.blocks() {
            block(segment, &mut bytes)?;
            prove(&bytes, &chunks, &mut out);
        }
        Ok(out)
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

fn subtree(bytes: &[u8], start: u64) -> ChainingValue {
    blake3::Hasher::new().set_input_offset(start).update(bytes).finalize_non_root()
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
    use crate::tree::{block_root, column_root};

    fn noise(len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new().update(&len.to_le_bytes()).finalize_xof().fill(&mut out);
        out
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
                let proof = sampled.prove(&column, |at, out| -> Result<(), ()> {
                    out.clone_from(&blocks[at as usize]);
                    Ok(())
                });
                let proof = proof.unwrap();
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
