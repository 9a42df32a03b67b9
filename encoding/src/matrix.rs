//! Decoding by a k x k matrix over the pinned code: what the erasure decoder uses while few blocks are lost.

use reed_solomon_simd::engine::tables::{self, get_exp_log};
use reed_solomon_simd::engine::{Engine, GF_MODULUS, GfElement};

/// Turns k given blocks into the data blocks that are missing.
pub(crate) struct Matrix {
    /// Share numbers of the given blocks, in the order they are given.
    pub(crate) from: Vec<u16>,
    missing: Vec<u16>,
    /// One row for each missing block, one coefficient for each given block.
    rows: Vec<Vec<GfElement>>,
}

/// Chunks of 64 bytes worked on at a time: 8 KiB, so that a tile, its product and its sum stay in the first-level cache.
const TILE: usize = 128;

impl Matrix {
    pub(crate) fn new(k: u16, from: &[u16], missing: &[u16]) -> Self {
        let given = from.iter().map(|number| generator_row(k, *number)).collect();
        let inverse = invert(given);
        let rows = missing.iter().map(|number| inverse[usize::from(*number)].clone()).collect();
        Self { from: from.to_vec(), missing: missing.to_vec(), rows }
    }

    pub(crate) fn apply(&self, engine: &impl Engine, blocks: &[(u16, &[u8])]) -> Vec<(u16, Vec<u8>)> {
        self.missing
            .iter()
            .zip(&self.rows)
            .map(|(number, row)| (*number, combine(engine, row, blocks)))
            .collect()
    }
}

/// The sum of `blocks`, each times its coefficient.
fn combine(engine: &impl Engine, row: &[GfElement], blocks: &[(u16, &[u8])]) -> Vec<u8> {
    let log = &get_exp_log().log;
    let len = blocks[0].1.len();
    let mut out = crate::zeroed(len);
    let (chunks, tail) = out.as_chunks_mut::<64>();
    let mut product = [[0u8; 64]; TILE];
    for (index, sum) in chunks.chunks_mut(TILE).enumerate() {
        for ((_, block), coefficient) in blocks.iter().zip(row).filter(|(_, c)| **c != 0) {
            let source = &block.as_chunks::<64>().0[index * TILE..][..sum.len()];
            if *coefficient == 1 {
                xor(sum, source);
                continue;
            }
            let product = &mut product[..sum.len()];
            product.copy_from_slice(source);
            engine.mul(product, log[usize::from(*coefficient)]);
            xor(sum, product);
        }
    }
    if !tail.is_empty() {
        let mut sum = [[0u8; 64]];
        for ((_, block), coefficient) in blocks.iter().zip(row).filter(|(_, c)| **c != 0) {
            let mut padded = [spread_tail(block.as_chunks::<64>().1)];
            engine.mul(&mut padded, log[usize::from(*coefficient)]);
            xor(&mut sum, &padded);
        }
        let half = tail.len() / 2;
        tail[..half].copy_from_slice(&sum[0][..half]);
        tail[half..].copy_from_slice(&sum[0][32..32 + half]);
    }
    out
}

/// The last, short chunk of a block as a chunk of 64: low bytes in the first half, high bytes in the second.
fn spread_tail(tail: &[u8]) -> [u8; 64] {
    let mut chunk = [0; 64];
    let half = tail.len() / 2;
    chunk[..half].copy_from_slice(&tail[..half]);
    chunk[32..32 + half].copy_from_slice(&tail[half..]);
    chunk
}

fn xor(into: &mut [[u8; 64]], from: &[[u8; 64]]) {
    for (into, from) in into.as_flattened_mut().iter_mut().zip(from.as_flattened()) {
        *into ^= from;
    }
}

/// How block `number` is made of the k data blocks: a unit vector for data, Lagrange's coefficients at point m + (number - k) for
/// parity, where m is k rounded up to a power of two and the points 0..m carry the data and then zeros.
fn generator_row(k: u16, number: u16) -> Vec<GfElement> {
    if number < k {
        return (0..k).map(|i| u16::from(i == number)).collect();
    }
    let m = k.next_power_of_two();
    let x = m + (number - k);
    (0..k)
        .map(|i| {
            let others = (0..m).filter(|l| *l != i);
            others.fold(1, |product, l| divide(multiply(product, x ^ l), i ^ l))
        })
        .collect()
}

/// Gauss-Jordan elimination. The code is MDS, so any k rows of its generator can be inverted.
fn invert(mut a: Vec<Vec<GfElement>>) -> Vec<Vec<GfElement>> {
    let k = a.len();
    let mut inverse: Vec<Vec<GfElement>> =
        (0..k).map(|i| (0..k).map(|j| u16::from(i == j)).collect()).collect();
    for column in 0..k {
        let pivot =
            (column..k).find(|row| a[*row][column] != 0).expect("any k rows of an MDS code are independent");
        a.swap(column, pivot);
        inverse.swap(column, pivot);
        let scale = a[column][column];
        for value in a[column].iter_mut().chain(&mut inverse[column]) {
            *value = divide(*value, scale);
        }
        let (pivot_a, pivot_inverse) = (a[column].clone(), inverse[column].clone());
        for row in (0..k).filter(|row| *row != column) {
            let factor = a[row][column];
            if factor == 0 {
                continue;
            }
            let pairs = a[row].iter_mut().zip(&pivot_a).chain(inverse[row].iter_mut().zip(&pivot_inverse));
            for (value, pivot) in pairs {
                *value ^= multiply(*pivot, factor);
            }
        }
    }
    inverse
}

fn multiply(a: GfElement, b: GfElement) -> GfElement {
    let table = get_exp_log();
    if b == 0 { 0 } else { tables::mul(a, table.log[usize::from(b)], &table.exp, &table.log) }
}

fn divide(a: GfElement, b: GfElement) -> GfElement {
    debug_assert_ne!(b, 0);
    let table = get_exp_log();
    tables::mul(a, GF_MODULUS - table.log[usize::from(b)], &table.exp, &table.log)
}
