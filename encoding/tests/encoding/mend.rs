//! Lost shares made anew from any k others, without a key.

use bytes::BytesMut;
use encoding::{DecodeError, Kind, MendError, Params, ShareMender};

use crate::support::{Random, Sample, build, convergent, plaintext, replace_block, sample, segments};

/// Makes the shares `wanted` from the shares `from` of a sample.
fn mend(sample: &Sample, from: &[u16], wanted: &[u16]) -> Result<Vec<Vec<u8>>, MendError> {
    let descriptor = sample.object.descriptor.clone();
    let geometry = descriptor.geometry;
    let needed = geometry.params().needed();
    let mut mender = ShareMender::new(descriptor, wanted.iter().copied());
    let mut made = vec![Vec::new(); wanted.len()];
    let (mut at, data_len) = (0, geometry.share_data_len() as usize);
    for segment in 0..geometry.segments() {
        let block_len = geometry.block_len(segment);
        let block = |number: &u16| {
            let file = &sample.files[usize::from(*number)];
            (*number, BytesMut::from(&file[at..at + block_len]))
        };
        let roots: Vec<_> = (0..needed)
            .map(|number| encoding::block_root(&sample.files[usize::from(number)][at..at + block_len]))
            .collect();
        for (file, block) in made.iter_mut().zip(mender.segment(from.iter().map(block).collect(), &roots)?) {
            file.extend_from_slice(&block);
        }
        at += block_len;
    }
    assert_eq!(at, data_len);
    for (file, trailer) in made.iter_mut().zip(mender.trailers()?) {
        file.extend_from_slice(&trailer);
    }
    Ok(made)
}

#[test]
fn any_k_shares_give_all_others_bit_for_bit() {
    let mut random = Random(5);
    for (needed, total) in [(1, 1), (1, 3), (3, 10), (4, 6), (7, 20)] {
        let params = Params::with_block_len(needed, total, 16 * 1024).unwrap();
        for len in [1, 5000, 200_000] {
            let sample = sample(params, &plaintext(len));
            let order = random.pick(total.into(), total.into());
            let (from, wanted) = order.split_at(needed.into());
            let made = mend(&sample, from, wanted).unwrap();
            for (number, file) in wanted.iter().zip(made) {
                assert!(file == sample.files[usize::from(*number)], "{needed} of {total}, {len}: {number}");
            }
        }
    }
}

/// Every share is intact, and one was never encoded from the others.
#[test]
fn an_uploaders_wrong_share_is_told_from_a_lost_one() {
    let params = Params::with_block_len(2, 4, 16 * 1024).unwrap();
    let plain = plaintext(100_000);
    let id = convergent(params, &plain);
    let mut segments = segments(params, &id, &plain);
    let mut wrong = segments[1].blocks[3].to_vec();
    wrong[7] ^= 1;
    replace_block(&mut segments[1], 3, wrong);
    let sample = build(params, &id, Kind::Direct, 100_000, &segments);
    assert_eq!(mend(&sample, &[0, 1], &[3]), Err(MendError::WrongShare { number: 3 }));
    assert_eq!(mend(&sample, &[0, 1], &[2]).unwrap()[0], sample.files[2]);
    let through_it = mend(&sample, &[0, 3], &[2]);
    assert_eq!(through_it, Err(DecodeError::InconsistentEncoding { segment: 1 }.into()));
}
