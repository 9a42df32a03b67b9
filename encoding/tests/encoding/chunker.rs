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

/// Where the chunks end, if the file comes in slices of these lengths, over and over.
fn ends(secret: u8, bytes: &[u8], slices: &[usize]) -> Vec<u64> {
    let mut chunker = Chunker::new(GearTable::new(&[secret; 32]));
    let (mut out, mut at) = (Vec::new(), 0);
    for slice in slices.iter().cycle().take_while(|_| !bytes.is_empty()) {
        let end = (at + slice).min(bytes.len());
        out.extend(chunker.feed(&bytes[at..end]));
        at = end;
        if at == bytes.len() {
            break;
        }
    }
    out.extend(chunker.finish());
    out
}

/// The lengths of the chunks.
fn cut(secret: u8, bytes: &[u8], slices: &[usize]) -> Vec<usize> {
    let mut start = 0;
    let lens = ends(secret, bytes, slices).into_iter();
    lens.map(|end| {
        let len = end - start;
        start = end;
        len as usize
    })
    .collect()
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
    let bounds = MIN_CHUNK_LEN as usize..=MAX_CHUNK_LEN as usize;
    assert!(others.iter().all(|len| bounds.contains(len)) && *last <= MAX_CHUNK_LEN as usize);
    let average = 128 * MIB / lens.len();
    assert!((MIB * 3 / 4..MIB * 3 / 2).contains(&average), "{average} bytes on average");
    assert!(others.iter().any(|len| *len < MIB) && others.iter().any(|len| *len > MIB), "{lens:?}");
}

#[test]
fn how_a_file_is_handed_over_does_not_matter() {
    let bytes = noise(2, 12 * MIB);
    let whole = cut(1, &bytes, &[bytes.len()]);
    for slices in [&[1, 100_003, 262_144][..], &[MIB], &[63, 64, 65], &[5 * MIB]] {
        assert_eq!(cut(1, &bytes, slices), whole, "{slices:?}");
    }
}

#[test]
fn bytes_without_any_edge_are_cut_all_the_same() {
    for byte in [0, 255] {
        let lens = cut(1, &vec![byte; 9 * MIB + 5], &[MIB]);
        assert!(lens.iter().all(|len| *len <= MAX_CHUNK_LEN as usize), "{lens:?}");
        assert_eq!(lens.iter().sum::<usize>(), 9 * MIB + 5);
    }
    assert_eq!(cut(1, b"a", &[1]), [1]);
    assert!(cut(1, b"", &[1]).is_empty());
}

#[test]
fn another_secret_cuts_elsewhere() {
    let bytes = noise(3, 32 * MIB);
    let ends = |secret| ends(secret, &bytes, &[MIB]).into_iter().collect::<BTreeSet<u64>>();
    assert_eq!(ends(1).intersection(&ends(2)).count(), 1, "nothing is in common but the end");
    assert!(!format!("{:?}", Chunker::new(GearTable::new(&[1; 32]))).contains("0x"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn an_insertion_changes_few_chunks(seed in any::<u8>(), at in 0usize..4, len in 1usize..3_000_000) {
        let before = noise(seed, 24 * MIB);
        let at = before.len() * at / 4;
        let after = [&before[..at], &noise(seed.wrapping_add(1), len), &before[at..]].concat();
        let known: BTreeSet<_> = chunks(9, &before).into_iter().map(|hash| *hash.as_bytes()).collect();
        let new = chunks(9, &after).into_iter().filter(|hash| !known.contains(hash.as_bytes())).count();
        // What was inserted, and the chunks around it whose horizon it is in.
        prop_assert!(new <= len.div_ceil(MIB / 2) + 4, "{} new chunks for {} bytes", new, len);
    }
}

/// The bytes that are new when 1 MiB is put in front, under many secrets.
#[test]
fn a_mebibyte_in_front_costs_less_than_four() {
    let before = noise(4, 8 * MIB);
    let after = [&noise(5, MIB), &before[..]].concat();
    let mut most = 0;
    for secret in 0..20 {
        let known: BTreeSet<_> = chunks(secret, &before).into_iter().map(|hash| *hash.as_bytes()).collect();
        let lens = cut(secret, &after, &[MIB]).into_iter().zip(chunks(secret, &after));
        let new: usize = lens.filter(|(_, hash)| !known.contains(hash.as_bytes())).map(|(len, _)| len).sum();
        most = most.max(new);
    }
    assert!((MIB..=4 * MIB).contains(&most), "{most} bytes are new");
}

/// The rule as the specification says it, slowly.
fn by_the_rule(secret: u8, bytes: &[u8]) -> Vec<u64> {
    const HORIZON: u64 = 524_288;
    let mut table = [0; 2048];
    let mut hasher = blake3::Hasher::new_keyed(&[secret; 32]);
    hasher.update(b"sarsen v1 chunk table\n").finalize_xof().fill(&mut table);
    let word = |byte: u8| table[usize::from(byte) * 8..][..8].try_into().unwrap();
    let mut hash = 0u64;
    let all = (1..).zip(bytes).map(|(n, byte)| {
        hash = hash.wrapping_mul(2).wrapping_add(u64::from_le_bytes(word(*byte)));
        (n, hash)
    });
    let low: Vec<(u64, u64)> = all.filter(|(_, hash)| hash >> 52 == 0).collect();
    let is_edge = |at: usize| {
        let (n, hash) = low[at];
        let mut before = low[..at].iter().rev().take_while(|(m, _)| m + HORIZON >= n);
        let mut after = low[at + 1..].iter().take_while(|(m, _)| *m <= n + HORIZON);
        before.all(|(_, other)| hash < *other) && after.all(|(_, other)| hash <= *other)
    };
    let edges: Vec<u64> = (0..low.len()).filter(|at| is_edge(*at)).map(|at| low[at].0).collect();
    let (mut out, mut start) = (Vec::new(), 0);
    while start < bytes.len() as u64 {
        let edge = edges.iter().find(|edge| **edge >= start + 262_144).copied().unwrap_or(u64::MAX);
        start = edge.min(start + 4_194_304).min(bytes.len() as u64);
        out.push(start);
    }
    out
}

#[test]
fn cuts_are_as_the_specification_says() {
    let blank = vec![7; 6 * MIB];
    let periodic = noise(9, 70_000).repeat(100);
    let mixed = [&noise(5, 3 * MIB)[..], &blank, &noise(6, MIB), &periodic, &noise(5, 3 * MIB)].concat();
    for bytes in [&noise(8, 12 * MIB), &blank, &periodic, &mixed, &noise(1, 100)] {
        for secret in 1..4 {
            assert_eq!(ends(secret, bytes, &[100_000]), by_the_rule(secret, bytes), "secret {secret}");
        }
    }
}

#[test]
fn committed_cuts() {
    let secret: [u8; 32] = std::array::from_fn(|i| i as u8);
    let table = GearTable::new(&secret);
    let bytes = noise(7, 16 * MIB);
    let mut chunker = Chunker::new(table.clone());
    let ends = [chunker.feed(&bytes), chunker.finish()].concat();
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
