//! Uploaders that encode wrongly. Servers find nothing wrong with such shares; readers must never get two files out of one cap.

use std::collections::BTreeSet;

use bytes::BytesMut;
use encoding::{
    AssembleError, ContentKey, DecodeError, Descriptor, EncodedSegment, ErasureEncoder, Kind, ObjectId,
    Params, Root, SealedError, SegmentDecoder, SegmentEncoder, ShareCheck, block_root,
};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::support::{Sample, build, convergent, plaintext, replace_block, sample, segments, subsets};

const SEGMENT: usize = 3 * encoding::CELL_DATA_LEN;

fn params() -> Params {
    Params::with_block_len(3, 6, 16 * 1024).unwrap()
}

/// What all subsets of k shares give: the different files, and how many subsets met which error.
struct Outcome {
    files: BTreeSet<Vec<u8>>,
    inconsistent: usize,
    bad_cell: usize,
}

fn read_every_way(sample: &Sample) -> Outcome {
    let mut out = Outcome { files: BTreeSet::new(), inconsistent: 0, bad_cell: 0 };
    for numbers in subsets(3, 6) {
        let files = sample.choose(&numbers);
        for file in &files {
            let read_at = |at: u64, buffer: &mut [u8]| {
                buffer.copy_from_slice(&file[at as usize..][..buffer.len()]);
                Ok(())
            };
            let report =
                ShareCheck::new(0).finish(file.len() as u64, read_at).expect("the shares certify themselves");
            assert_eq!(report.hash, sample.object.hash);
        }
        match sample.assemble(&files) {
            Ok(file) => {
                out.files.insert(file);
            }
            Err(AssembleError::Decode(DecodeError::InconsistentEncoding { .. })) => out.inconsistent += 1,
            Err(AssembleError::Decode(DecodeError::BadCell { .. })) => out.bad_cell += 1,
            Err(error) => panic!("{numbers:?}: {error}"),
        }
    }
    out
}

fn spoiled(plain: &[u8], spoil: impl FnOnce(&ObjectId, &mut Vec<EncodedSegment>)) -> Outcome {
    let id = convergent(params(), plain);
    let mut segments = segments(params(), &id, plain);
    spoil(&id, &mut segments);
    read_every_way(&build(params(), &id, Kind::Direct, plain.len() as u64, &segments))
}

#[test]
fn an_honest_object_reads_the_same_every_way() {
    let plain = plaintext(SEGMENT + 1000);
    let outcome = spoiled(&plain, |_, _| ());
    assert_eq!((outcome.files, outcome.inconsistent, outcome.bad_cell), (BTreeSet::from([plain]), 0, 0));
}

#[test]
fn parity_of_another_file() {
    for size in [100, SEGMENT, SEGMENT + 1000] {
        let plain = plaintext(size);
        let outcome = spoiled(&plain, |id, segments| {
            let other = crate::support::segments(params(), id, &vec![0x55; size]);
            for (segment, other) in segments.iter_mut().zip(&other) {
                (3..6).for_each(|number| {
                    replace_block(segment, number, other.blocks[usize::from(number)].to_vec())
                });
            }
        });
        // Only the three data shares are the file; every subset with a parity share says so and gives nothing.
        assert_eq!(outcome.files, BTreeSet::from([plain]), "{size}");
        assert_eq!((outcome.inconsistent, outcome.bad_cell), (19, 0), "{size}");
    }
}

#[test]
fn one_parity_block_of_the_second_segment() {
    let plain = plaintext(SEGMENT + 1000);
    let outcome = spoiled(&plain, |_, segments| {
        let mut block = segments[1].blocks[4].to_vec();
        block[0] ^= 1;
        replace_block(&mut segments[1], 4, block);
    });
    assert_eq!(outcome.files, BTreeSet::from([plain]));
    assert_eq!((outcome.inconsistent, outcome.bad_cell), (10, 0), "the subsets that hold share 4");
}

#[test]
fn a_data_block_of_another_file() {
    for size in [100, SEGMENT] {
        let outcome = spoiled(&plaintext(size), |id, segments| {
            let other = crate::support::segments(params(), id, &vec![0x55; size]);
            replace_block(&mut segments[0], 1, other[0].blocks[1].to_vec());
        });
        assert!(outcome.files.len() <= 1, "{} files from one cap", outcome.files.len());
        let read = usize::from(!outcome.files.is_empty());
        assert_eq!(outcome.inconsistent + outcome.bad_cell + read, 20, "{size}");
        assert_eq!(outcome.inconsistent, 19, "{size}: all but the three data shares");
    }
}

#[test]
fn columns_of_two_files_swapped() {
    let plain = plaintext(2 * SEGMENT);
    let outcome = spoiled(&plain, |_, segments| {
        let (first, second) = (segments[0].blocks[5].to_vec(), segments[1].blocks[5].to_vec());
        replace_block(&mut segments[0], 5, second);
        replace_block(&mut segments[1], 5, first);
    });
    assert_eq!(outcome.files, BTreeSet::from([plain]));
    assert_eq!((outcome.inconsistent, outcome.bad_cell), (10, 0));
}

#[test]
fn cells_encrypted_wrongly() {
    let plain = plaintext(SEGMENT + 1000);
    // A flipped bit in a cell, with parity that agrees.
    let outcome = spoiled(&plain, |_, segments| {
        let mut data: Vec<u8> = segments[0].blocks[..3].concat();
        data[20_000] ^= 1;
        let parity = ErasureEncoder::new(3, 6).parity(&data).unwrap();
        let blocks: Vec<Vec<u8>> =
            data.chunks(16 * 1024).map(<[u8]>::to_vec).chain(parity.iter().map(|b| b.to_vec())).collect();
        (0..).zip(blocks).for_each(|(number, block)| replace_block(&mut segments[0], number, block));
    });
    assert!(outcome.files.is_empty());
    assert_eq!((outcome.inconsistent, outcome.bad_cell), (0, 20));
    // Another object's key.
    let outcome = spoiled(&plain, |_, segments| {
        *segments = crate::support::segments(params(), &ObjectId::random([9; 48]), &plain);
    });
    assert_eq!((outcome.files.len(), outcome.inconsistent, outcome.bad_cell), (0, 0, 20));
    // The last cell not marked as the last.
    let whole = plaintext(SEGMENT);
    let outcome = spoiled(&whole, |id, segments| {
        *segments =
            vec![SegmentEncoder::new(params()).encode(&ContentKey::new(id), 0, &whole, false).unwrap()];
    });
    assert_eq!((outcome.files.len(), outcome.inconsistent, outcome.bad_cell), (0, 0, 20));
    // A length that is one less than was encrypted.
    let id = convergent(params(), &plain);
    let short = build(params(), &id, Kind::Direct, plain.len() as u64 - 1, &segments(params(), &id, &plain));
    let outcome = read_every_way(&short);
    assert_eq!((outcome.files.len(), outcome.inconsistent, outcome.bad_cell), (0, 0, 20));
}

/// The sealed part, made from the words of `docs/spec/objects.md`.
fn seal(descriptor: &[u8], id: &ObjectId, size: u64, plaintext_hash: &[u8; 32]) -> Vec<u8> {
    let key =
        blake3::derive_key("sarsen v1 sealed descriptor part", &[&id.key.expose()[..], &id.salt].concat());
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).unwrap());
    let around = [&descriptor[..88], &descriptor[144..]].concat();
    let mut part = [&size.to_le_bytes()[..], plaintext_hash].concat();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::from(around), &mut part)
        .unwrap();
    part
}

/// `sample` under a descriptor with another sealed part.
fn resealed(sample: &Sample, part: &[u8]) -> (caps::VerifyHash, Vec<Vec<u8>>) {
    let old = &sample.object.descriptor_bytes;
    let new = [&old[..88], part, &old[144..]].concat();
    let swap = |file: &Vec<u8>| {
        let at = file.len() - 16 - old.len();
        [&file[..at], &new, &file[file.len() - 16..]].concat()
    };
    (Descriptor::hash(&new), sample.files.iter().map(swap).collect())
}

#[test]
fn a_wrong_sealed_part() {
    let plain = plaintext(100);
    let sample = sample(params(), &plain);
    let bytes = &sample.object.descriptor_bytes;
    let hash = blake3::hash(b"advisory");
    let honest = seal(bytes, &sample.id, 100, hash.as_bytes());
    assert_eq!(honest, bytes[88..144], "the spec's words give the crate's bytes");
    for size in [0, 99, 101, u64::MAX] {
        let (hash, files) = resealed(&sample, &seal(bytes, &sample.id, size, hash.as_bytes()));
        let read = encoding::assemble(&sample.id.key, &hash, &files);
        assert!(matches!(read, Err(AssembleError::Sealed(SealedError::Malformed))), "{size}: {read:?}");
    }
    let other = ObjectId::random([1; 48]);
    let mut bound_elsewhere = bytes.to_vec();
    bound_elsewhere[10] ^= 1;
    for part in [
        seal(bytes, &other, 100, hash.as_bytes()),
        seal(&bound_elsewhere, &sample.id, 100, hash.as_bytes()),
        vec![0; 56],
    ] {
        let (hash, files) = resealed(&sample, &part);
        let read = encoding::assemble(&sample.id.key, &hash, &files);
        assert!(matches!(read, Err(AssembleError::Sealed(SealedError::Malformed))), "{read:?}");
    }
    // The plaintext's hash is advisory: a wrong one changes nothing.
    let (hash, files) = resealed(&sample, &seal(bytes, &sample.id, 100, &[0; 32]));
    assert_eq!(encoding::assemble(&sample.id.key, &hash, &files).unwrap(), plain);
}

#[test]
fn a_wrong_key() {
    let sample = sample(params(), &plaintext(100));
    let read = encoding::assemble(&caps::ReadKey::new([1; 16]), &sample.object.hash, &sample.files);
    assert!(matches!(read, Err(AssembleError::Sealed(SealedError::WrongKey))), "{read:?}");
}

#[test]
fn an_index_is_not_a_file() {
    let id = convergent(params(), &[]);
    let tree = build(params(), &id, Kind::Tree, 100, &segments(params(), &id, &plaintext(100)));
    assert!(matches!(tree.assemble(&tree.files), Err(AssembleError::Tree)));
}

#[test]
fn what_the_decoder_is_given() {
    let plain = plaintext(SEGMENT + 1000);
    let id = convergent(params(), &plain);
    let segments = segments(params(), &id, &plain);
    let sample = build(params(), &id, Kind::Direct, plain.len() as u64, &segments);
    let key = ContentKey::new(&id);
    for (index, segment) in (0..).zip(&segments) {
        let mut decoder = SegmentDecoder::new(sample.object.descriptor.geometry);
        let roots: Vec<Root> = segment.blocks[..3].iter().map(|block| block_root(block)).collect();
        let give = |numbers: &[u16]| -> Vec<(u16, BytesMut)> {
            numbers
                .iter()
                .map(|number| (*number, BytesMut::from(&segment.blocks[usize::from(*number)][..])))
                .collect()
        };
        let range = sample.object.descriptor.geometry.segment_data_range(index);
        let expected = &plain[range.start as usize..range.end as usize];
        for numbers in [
            &[0, 1, 2][..],
            &[2, 0, 1],
            &[5, 3, 4],
            &[4, 1, 0],
            &[3, 4, 5, 0],
            &[5, 4, 2, 1, 0],
            &[0, 1, 2, 3, 4, 5],
        ] {
            let pieces = decoder.decode(&key, index, give(numbers), &roots).unwrap();
            assert!(pieces.concat() == expected, "segment {index} from {numbers:?}");
        }
        for numbers in [&[][..], &[0, 1], &[0, 1, 1], &[0, 0, 1, 2]] {
            let refused = decoder.decode(&key, index, give(numbers), &roots);
            assert!(matches!(refused, Err(DecodeError::Blocks(_))), "{numbers:?}: {refused:?}");
        }
        let mut short = give(&[0, 1, 2]);
        short[1].1.truncate(2);
        assert!(matches!(decoder.decode(&key, index, short, &roots), Err(DecodeError::Blocks(_))));
        assert!(matches!(
            decoder.decode(&key, index, give(&[0, 1, 2]), &roots[..2]),
            Err(DecodeError::Blocks(_))
        ));
    }
}
