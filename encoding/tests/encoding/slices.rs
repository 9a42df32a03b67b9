//! Slices against a second implementation: BLAKE3's own tree, walked from the root.

use std::ops::Range;

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use encoding::{GROUP_LEN, SliceError, block_root, column_root, open_slice, slice, slice_len_max};

use crate::support::{Random, plaintext};

/// The chaining value of the subtree over `data`, which stands at `offset` and is not the whole.
fn subtree(data: &[u8], offset: usize) -> ChainingValue {
    if data.len() <= GROUP_LEN {
        let mut hasher = blake3::Hasher::new();
        return hasher.set_input_offset(offset as u64).update(data).finalize_non_root();
    }
    let (left, right) = data.split_at(left_subtree_len(data.len() as u64) as usize);
    merge_subtrees_non_root(&subtree(left, offset), &subtree(right, offset + left.len()), Mode::Hash)
}

/// The slice by the words of `docs/spec/objects.md`.
fn expected(data: &[u8], offset: usize, wanted: &Range<usize>, out: &mut Vec<u8>) {
    if data.len() <= GROUP_LEN {
        out.extend_from_slice(data);
        return;
    }
    let (left, right) = data.split_at(left_subtree_len(data.len() as u64) as usize);
    let middle = offset + left.len();
    out.extend_from_slice(&subtree(left, offset));
    out.extend_from_slice(&subtree(right, middle));
    if wanted.start < middle {
        expected(left, offset, &(wanted.start..wanted.end.min(middle)), out);
    }
    if wanted.end > middle {
        expected(right, middle, &(wanted.start.max(middle)..wanted.end), out);
    }
}

#[test]
fn roots_are_blake3() {
    let data = plaintext(5 * GROUP_LEN + 3);
    let (left, right) = data.split_at(left_subtree_len(data.len() as u64) as usize);
    let root = merge_subtrees_root(&subtree(left, 0), &subtree(right, left.len()), Mode::Hash);
    assert_eq!(block_root(&data), *root.as_bytes());
    assert_eq!(column_root(&data), *root.as_bytes());
}

#[test]
fn slices_are_as_the_spec_says() {
    let mut random = Random(5);
    for len in [
        1,
        2,
        1024,
        1025,
        GROUP_LEN - 1,
        GROUP_LEN,
        GROUP_LEN + 1,
        GROUP_LEN + 1024,
        3 * GROUP_LEN,
        5 * GROUP_LEN + 2,
        16 * GROUP_LEN,
    ] {
        let data = plaintext(len);
        let root = block_root(&data);
        for _ in 0..20 {
            let start = random.next() as usize % len;
            let end = start + 1 + random.next() as usize % (len - start);
            let range = start as u64..end as u64;
            let encoded = slice(&data, range.clone());
            let mut by_hand = Vec::new();
            expected(&data, 0, &(start..end), &mut by_hand);
            assert!(encoded == by_hand, "{len} bytes, {start}..{end}");
            assert!(encoded.len() as u64 <= slice_len_max(len as u64, &range));
            let (at, bytes) = open_slice(&root, len as u64, range.clone(), &encoded).unwrap();
            assert_eq!(at as usize, start / GROUP_LEN * GROUP_LEN);
            assert_eq!(at as usize + bytes.len(), (end.div_ceil(GROUP_LEN) * GROUP_LEN).min(len));
            assert!(bytes == data[at as usize..][..bytes.len()]);
            let mut bad = encoded.clone();
            bad[random.next() as usize % encoded.len()] ^= 0x40;
            assert_eq!(open_slice(&root, len as u64, range.clone(), &bad), Err(SliceError));
            let cut = random.next() as usize % encoded.len();
            assert_eq!(open_slice(&root, len as u64, range.clone(), &encoded[..cut]), Err(SliceError));
            assert_eq!(open_slice(&[0; 32], len as u64, range, &encoded), Err(SliceError));
        }
    }
}

#[test]
fn a_wrong_length_is_found() {
    let data = plaintext(3 * GROUP_LEN);
    let root = block_root(&data);
    let whole = 0..data.len() as u64;
    let encoded = slice(&data, whole.clone());
    for total in [
        1,
        GROUP_LEN as u64,
        2 * GROUP_LEN as u64,
        3 * GROUP_LEN as u64 - 1,
        3 * GROUP_LEN as u64 + 1,
        5 * GROUP_LEN as u64,
    ] {
        assert_eq!(open_slice(&root, total, 0..total, &encoded), Err(SliceError), "{total}");
    }
}

#[test]
fn ranges_outside_the_data_are_refused_without_panic() {
    let data = plaintext(2 * GROUP_LEN);
    let root = block_root(&data);
    let total = data.len() as u64;
    #[expect(clippy::reversed_empty_ranges, reason = "what a careless caller might ask")]
    for range in [
        total..total + 1,
        total * 2..total * 3,
        u64::MAX - 1..u64::MAX,
        20..10,
        50_000..10,
        5..5,
        0..0,
        total..total,
    ] {
        assert!(slice_len_max(total, &range) < 1 << 20, "{range:?}");
        assert!(slice(&data, range.clone()).is_empty());
        for encoded in [slice(&data, 0..1), slice(&data, 0..total), Vec::new()] {
            assert_eq!(open_slice(&root, total, range.clone(), &encoded), Err(SliceError), "{range:?}");
        }
    }
    // A range that only ends outside ends with the data.
    let encoded = slice(&data, total - 1..u64::MAX);
    let (at, bytes) = open_slice(&root, total, total - 1..u64::MAX, &encoded).unwrap();
    assert_eq!((at, bytes.len()), (GROUP_LEN as u64, GROUP_LEN));
    assert!(slice(&[], 0..1).is_empty());
}
