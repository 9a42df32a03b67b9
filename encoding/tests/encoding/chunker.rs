//! Where files are cut: the same everywhere, within bounds, and elsewhere under another secret.

use std::collections::BTreeSet;

use encoding::{Chunker, GearTable, MAX_CHUNK_LEN, MIN_CHUNK_LEN};
use proptest::prelude::*;
use serde_json::json;

use crate::support::hex;
use crate::vectors::compare_or_write;

const MIB: usize = 1 << 20;

/// The first `len` bytes of the BLAKE3 stream under a key of 32 times `seed`.
fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut out);
    out
}

/// The lengths of the chunks, if the file comes in slices of these lengths, over and over.
fn cut(secret: u8, bytes: &[u8], slices: &[usize]) -> Vec<usize> {
    let mut chunker = Chunker::new(GearTable::new(&[secret; 32]));
    let (mut out, mut len, mut at) = (Vec::new(), 0, 0);
    for slice in slices.iter().cycle() {
        let mut rest = &bytes[at..(at + slice).min(bytes.len())];
        if rest.is_empty() {
            break;
        }
        at += rest.len();
        while let Some(n) = chunker.feed(rest) {
            out.push(len + n);
            len = 0;
            rest = &rest[n..];
        }
        len += rest.len();
    }
    out.extend((len > 0).then_some(len));
    out
}

/// What each chunk holds.
fn chunks(secret: u8, bytes: &[u8]) -> Vec<blake3::Hash> {
    let mut at = 0;
    let lens = cut(secret, bytes, &[bytes.len()]).into_iter();
    lens.map(|len| {
        at += len;
        blake3::hash(&bytes[at - len..at])
    })
    .collect()
}

#[test]
fn chunks_are_within_bounds_and_of_the_normal_length_on_average() {
    let lens = cut(1, &noise(1, 128 * MIB), &[128 * MIB]);
    let (last, others) = lens.split_last().unwrap();
    assert!(others.iter().all(|len| (MIN_CHUNK_LEN..=MAX_CHUNK_LEN).contains(len)) && *last <= MAX_CHUNK_LEN);
    let average = 128 * MIB / lens.len();
    assert!((MIB * 3 / 4..MIB * 3 / 2).contains(&average), "{average} bytes on average");
    assert!(others.iter().any(|len| *len < MIB) && others.iter().any(|len| *len > MIB), "{lens:?}");
}

#[test]
fn how_a_file_is_handed_over_does_not_matter() {
    let bytes = noise(2, 12 * MIB);
    let whole = cut(1, &bytes, &[bytes.len()]);
    for slices in [&[1, 100_003, MIN_CHUNK_LEN][..], &[MIB], &[63, 64, 65], &[5 * MIB]] {
        assert_eq!(cut(1, &bytes, slices), whole, "{slices:?}");
    }
}

#[test]
fn bytes_without_any_edge_are_cut_all_the_same() {
    for byte in [0, 255] {
        let lens = cut(1, &vec![byte; 9 * MIB + 5], &[MIB]);
        assert!(lens.iter().all(|len| *len <= MAX_CHUNK_LEN), "{lens:?}");
        assert_eq!(lens.iter().sum::<usize>(), 9 * MIB + 5);
    }
    assert_eq!(cut(1, b"a", &[1]), [1]);
    assert!(cut(1, b"", &[1]).is_empty());
}

#[test]
fn another_secret_cuts_elsewhere() {
    let bytes = noise(3, 32 * MIB);
    let ends = |secret| {
        let mut at = 0;
        let lens = cut(secret, &bytes, &[MIB]).into_iter();
        lens.map(|len| {
            at += len;
            at
        })
        .collect::<BTreeSet<usize>>()
    };
    assert_eq!(ends(1).intersection(&ends(2)).count(), 1, "nothing is in common but the end");
    assert!(!format!("{:?}", Chunker::new(GearTable::new(&[1; 32]))).contains("0x"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn an_insertion_changes_few_chunks(seed in 0u8.., at in 0usize..4, len in 1usize..3_000_000) {
        let before = noise(seed, 24 * MIB);
        let at = before.len() * at / 4;
        let after = [&before[..at], &noise(seed.wrapping_add(1), len), &before[at..]].concat();
        let known: BTreeSet<_> = chunks(9, &before).into_iter().map(|hash| *hash.as_bytes()).collect();
        let new = chunks(9, &after).into_iter().filter(|hash| !known.contains(hash.as_bytes())).count();
        // What was inserted, and the chunks around it until both files are cut at the same byte again.
        prop_assert!(new <= len.div_ceil(MIN_CHUNK_LEN) + 5, "{} new chunks for {} bytes", new, len);
    }
}

#[test]
fn committed_cuts() {
    let secret: [u8; 32] = std::array::from_fn(|i| i as u8);
    let table = GearTable::new(&secret);
    let bytes = noise(7, 16 * MIB);
    let (mut chunker, mut ends, mut at) = (Chunker::new(table.clone()), Vec::new(), 0);
    while let Some(n) = chunker.feed(&bytes[at..]) {
        at += n;
        ends.push(at);
    }
    ends.push(bytes.len());
    compare_or_write(
        "chunks.json",
        &json!({
            "notes": "the file is the first bytes of the keyed BLAKE3 stream of no input; table_blake3 is of the table's 2048 bytes; \
                      ends are the offsets at which chunks end, the last of them the file's",
            "convergence_secret": hex(&secret),
            "table_blake3": hex(&table.fingerprint()),
            "file_key": hex(&[7; 32]),
            "file_len": bytes.len(),
            "ends": ends,
        }),
    );
}
