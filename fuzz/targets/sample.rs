//! Samples of shares. Whatever is sent for one, only the proof that an honest holder makes is accepted, to the letter.

#![no_main]

use encoding::{CHUNK_LEN, Geometry, Params, Sampled, SampledShare, block_root, column_root};
use libfuzzer_sys::fuzz_target;

/// One for each shape of share: a single chunk, a short last block, several chunks of roots.
const LENS: [u64; 4] = [1, 20_000, 100_000, 1_200_000];

fuzz_target!(init: sarsen_fuzz::sow(seeds()), |data: &[u8]| {
    let Some((head, proof)) = data.split_first_chunk::<4>() else { return };
    let share = Share::new(LENS[usize::from(head[0] % 4)]);
    let total = share.geometry.share_chunks();
    let mut chunks: Vec<u64> = head[1..].iter().map(|byte| u64::from(*byte) * 7 % total).collect();
    chunks.sort_unstable();
    chunks.dedup();
    let sampled = Sampled::new(share.geometry, chunks).expect("they are ascending and within it");
    let honest = share.prove(&sampled);
    assert_eq!(honest.len() as u64, sampled.proof_len());
    assert!(sampled.verify(&share.root, &honest).is_ok());
    assert_eq!(sampled.verify(&share.root, proof).is_ok(), proof == honest);
    // The same with what is honest but for some of its bytes.
    let mut spoiled = honest.clone();
    for (at, byte) in proof.iter().enumerate() {
        let place = at * CHUNK_LEN / 3 % spoiled.len();
        spoiled[place] ^= *byte;
    }
    assert_eq!(sampled.verify(&share.root, &spoiled).is_ok(), spoiled == honest);
});

struct Share {
    geometry: Geometry,
    blocks: Vec<Vec<u8>>,
    column: Vec<u8>,
    root: [u8; 32],
}

impl Share {
    fn new(len: u64) -> Self {
        let params = Params::with_block_len(1, 1, 16 * 1024).expect("these are within bounds");
        let geometry = Geometry::for_plaintext(params, len).expect("it is short");
        let blocks: Vec<Vec<u8>> = (0..geometry.segments())
            .map(|segment| (0..geometry.block_len(segment)).map(|at| (at as u64 * 31 + segment) as u8).collect())
            .collect();
        let column: Vec<u8> = blocks.iter().flat_map(|block| block_root(block)).collect();
        let root = column_root(&column);
        Self { geometry, blocks, column, root }
    }

    fn prove(&self, sampled: &Sampled) -> Vec<u8> {
        match sampled.prove(&self.column, &mut Blocks(&self.blocks)) {
            Ok(proof) => proof,
            Err(never) => match never {},
        }
    }
}

struct Blocks<'b>(&'b [Vec<u8>]);

impl SampledShare for Blocks<'_> {
    type Error = std::convert::Infallible;

    fn read(&mut self, segment: u64, start: u64, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.copy_from_slice(&self.0[segment as usize][start as usize..][..bytes.len()]);
        Ok(())
    }
}

/// Honest proofs of one chunk each.
fn seeds() -> Vec<Vec<u8>> {
    let seed = |(at, len): (usize, &u64)| {
        let share = Share::new(*len);
        let sampled = Sampled::new(share.geometry, vec![0]).expect("every share has a first chunk");
        [&[at as u8, 0, 0, 0][..], &share.prove(&sampled)].concat()
    };
    LENS.iter().enumerate().map(seed).collect()
}
