//! Files of every awkward size, back from random shares.

use encoding::{BLOCK_LEN, Geometry, GeometryError, MAX_PLAINTEXT_LEN, Params};
use proptest::prelude::*;

use crate::support::{Random, plaintext, sample, subsets};

const CELL: usize = encoding::CELL_DATA_LEN;

fn back_from_any_shares(params: Params, size: usize, tries: usize) {
    let plain = plaintext(size);
    let sample = sample(params, &plain);
    let (k, n) = (usize::from(params.needed()), usize::from(params.total()));
    let mut random = Random(size as u64);
    for _ in 0..tries {
        let numbers = random.pick(k, n);
        let back = sample.assemble(&sample.choose(&numbers)).unwrap();
        assert!(back == plain, "{size} bytes, {params:?}, from {numbers:?}");
    }
    let few = sample.assemble(&sample.choose(&random.pick(k - 1, n)));
    assert!(few.is_err(), "k-1 shares");
}

#[test]
fn around_every_boundary_of_the_usual_block() {
    let params = Params::with_block_len(3, 10, BLOCK_LEN).unwrap();
    let (block, segment) = (16 * CELL, 48 * CELL);
    let sizes = [
        0,
        1,
        55,
        56,
        57,
        4096,
        CELL - 1,
        CELL,
        CELL + 1,
        block - 1,
        block,
        block + 1,
        segment - 1,
        segment,
        segment + 1,
    ];
    for size in sizes {
        back_from_any_shares(params, size, 3);
    }
}

#[test]
fn around_every_boundary_of_the_small_block() {
    for (k, n) in [(1, 1), (1, 4), (2, 3), (3, 3), (3, 10), (7, 9)] {
        let params = Params::with_block_len(k, n, 16 * 1024).unwrap();
        let segment = usize::from(k) * CELL;
        let mut sizes = vec![0, 1, 2, 55, 56, CELL - 17, CELL - 16, CELL - 1, CELL, CELL + 1];
        for count in [1, 2, 3] {
            sizes.extend([count * segment - 1, count * segment, count * segment + 1, count * segment + 5000]);
        }
        for size in sizes {
            back_from_any_shares(params, size, 4);
        }
    }
}

#[test]
fn many_shares() {
    for (k, n, size) in [
        (1, 256, 100),
        (20, 256, 70_000),
        (128, 256, 5000),
        (255, 256, 100),
        (256, 256, 0),
        (256, 256, 300_000),
    ] {
        back_from_any_shares(Params::with_block_len(k, n, 16 * 1024).unwrap(), size, 2);
    }
}

#[test]
fn every_subset() {
    let plain = plaintext(60_000);
    let sample = sample(Params::with_block_len(3, 7, 16 * 1024).unwrap(), &plain);
    for numbers in subsets(3, 7) {
        assert!(sample.assemble(&sample.choose(&numbers)).unwrap() == plain, "{numbers:?}");
    }
    assert!(sample.assemble(&sample.files).unwrap() == plain, "all");
    let twice = sample.choose(&[4, 4, 4]);
    assert!(sample.assemble(&twice).is_err(), "one share three times is one share");
}

#[test]
fn limits() {
    let params = Params::new(3, 10).unwrap();
    assert!(Geometry::for_plaintext(params, MAX_PLAINTEXT_LEN).is_ok());
    assert!(Geometry::for_plaintext(params, MAX_PLAINTEXT_LEN + 1).is_err());
    let longest = Geometry::for_plaintext(params, MAX_PLAINTEXT_LEN).unwrap().ciphertext_len();
    assert!(Geometry::for_ciphertext(params, longest).is_ok());
    for len in [longest + 1, longest + 16, u64::MAX, u64::MAX - 15] {
        assert!(matches!(Geometry::for_ciphertext(params, len), Err(GeometryError::Length { .. })), "{len}");
    }
    for block_len in [0, 1, 8192, 16_383, 16_385, 24_576, 2 << 20, 1 << 31] {
        assert_eq!(Params::with_block_len(1, 1, block_len), Err(GeometryError::BlockLength { block_len }));
    }
    for (k, block_len) in [(256, 1 << 14), (256, 1 << 18), (64, 1 << 20)] {
        assert!(Params::with_block_len(k, 256, block_len).is_ok());
        let too_long = Params::with_block_len(k + 1, 257.min(k + 1).max(256), block_len);
        assert!(too_long.is_err() || block_len == 1 << 14, "a reader must be able to hold a segment");
    }
}

proptest! {
    #[test]
    fn geometry_adds_up(k in 1u16..=256, more in 0u16..256, log in 14u32..=20, size in prop_oneof![0..=MAX_PLAINTEXT_LEN, 0..10_000_000u64]) {
        let params = Params::with_block_len(k, (k + more).min(256), 1 << log);
        prop_assume!(u64::from(k) << log <= 64 << 20);
        let params = params.unwrap();
        let geometry = Geometry::for_plaintext(params, size).unwrap();
        prop_assert_eq!(Geometry::for_ciphertext(params, geometry.ciphertext_len()).unwrap(), geometry);
        let last = geometry.segments() - 1;
        prop_assert!(geometry.segment_ciphertext_len(last) > 0);
        prop_assert_eq!(last * params.segment_len() + geometry.segment_ciphertext_len(last), geometry.ciphertext_len());
        prop_assert_eq!(geometry.segment_data_range(last).end, size);
        let block = geometry.block_len(last) as u64;
        prop_assert!(block.is_multiple_of(2) && block <= u64::from(params.block_len()));
        let (held, len) = (block * u64::from(k), geometry.segment_ciphertext_len(last));
        prop_assert!(held >= len && (block == 2 || (block - 2) * u64::from(k) < len));
        if size > 0 {
            prop_assert_eq!(geometry.segments_of(&(0..size)), 0..last + 1);
            prop_assert_eq!(geometry.segments_of(&(size - 1..size)), last..last + 1);
        }
    }
}
