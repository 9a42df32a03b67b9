//! Damaged, cut, swapped and forged share files.

use std::io;

use encoding::{AssembleError, FOOTER_LEN, Params, ShareCheck, ShareError, ShareReport};

use crate::support::{Random, Sample, plaintext, sample};

fn read_at(file: &[u8]) -> impl FnMut(u64, &mut [u8]) -> io::Result<()> {
    |at, buffer| {
        let at = usize::try_from(at).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = file.get(at..at + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

fn check(file: &[u8]) -> Result<ShareReport, ShareError> {
    ShareCheck::new(0).finish(file.len() as u64, read_at(file))
}

/// As a server does: pieces on the way in, and only the rest read back.
fn check_streamed(file: &[u8], piece: u32) -> Result<ShareReport, ShareError> {
    let mut check = ShareCheck::new(piece);
    file.chunks(piece as usize).for_each(|piece| check.push(piece));
    check.finish(file.len() as u64, read_at(file))
}

fn small() -> Sample {
    sample(Params::new(3, 5).unwrap(), &plaintext(100))
}

fn two_segments() -> Sample {
    sample(Params::with_block_len(2, 3, 16 * 1024).unwrap(), &plaintext(40_000))
}

#[test]
fn intact_shares_are_intact_however_they_come() {
    for sample in [small(), two_segments()] {
        for (number, file) in (0..).zip(&sample.files) {
            for piece in [16 * 1024, 32 * 1024, 256 * 1024] {
                let report = check_streamed(file, piece).unwrap();
                assert_eq!((report.number, report.hash), (number, sample.object.hash));
                assert_eq!(report.descriptor, sample.object.descriptor);
                assert_eq!(report.layout.file_len(), file.len() as u64);
            }
            let mut again = ShareCheck::new(16 * 1024);
            file.chunks(16 * 1024).for_each(|piece| again.push(piece));
            again.push(b"sent twice");
            again.truncate(1);
            assert_eq!(again.blocks(), 1);
            assert!(
                again.finish(file.len() as u64, read_at(file)).is_ok(),
                "what was forgotten is read back"
            );
        }
    }
}

/// Whether the check tells `bad` from share `number` of `sample`.
fn told_apart(sample: &Sample, number: u16, bad: &[u8], report: Result<ShareReport, ShareError>) -> bool {
    bad == sample.files[usize::from(number)]
        || report.is_err()
        || report.is_ok_and(|report| (report.hash, report.number) != (sample.object.hash, number))
}

#[test]
fn every_flipped_byte_is_found() {
    let sample = small();
    let plain = plaintext(100);
    for number in [0, 2, 3, 4] {
        let file = &sample.files[usize::from(number)];
        let others: Vec<u16> = (0..5).filter(|other| *other != number).collect();
        for at in 0..file.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut bad = file.clone();
                bad[at] ^= mask;
                assert!(told_apart(&sample, number, &bad, check(&bad)), "share {number}, byte {at}");
                assert!(
                    told_apart(&sample, number, &bad, check_streamed(&bad, 256 * 1024)),
                    "share {number}, byte {at}"
                );
                let mut files = vec![bad];
                files.extend(sample.choose(&others[..2]));
                let alone = sample.assemble(&files);
                assert!(
                    matches!(alone, Err(AssembleError::NotEnoughShares { needed: 3, found: 2 })),
                    "{alone:?}"
                );
                files.extend(sample.choose(&others[2..3]));
                assert_eq!(sample.assemble(&files).unwrap(), plain);
            }
        }
    }
}

#[test]
fn every_flipped_byte_of_a_longer_share_is_found() {
    let sample = two_segments();
    for number in [1, 2] {
        let file = &sample.files[usize::from(number)];
        let tail = file.len() - 700;
        for at in (0..tail).step_by(37).chain(tail..file.len()).chain(16_300..16_500) {
            let mut bad = file.clone();
            bad[at] ^= 0x10;
            assert!(
                told_apart(&sample, number, &bad, check_streamed(&bad, 16 * 1024)),
                "share {number}, byte {at}"
            );
            let report = check(&bad);
            let segment = (at / (16 * 1024)) as u64;
            if at < sample.object.descriptor.geometry.share_data_len() as usize {
                assert!(
                    matches!(report, Err(ShareError::Block { segment: s }) if s == segment),
                    "byte {at}: {report:?}"
                );
            } else {
                assert!(told_apart(&sample, number, &bad, report), "share {number}, byte {at}");
            }
        }
    }
}

#[test]
fn every_truncation_and_every_addition_is_found() {
    let sample = small();
    for (number, file) in (0..).zip(&sample.files) {
        for len in 0..file.len() {
            assert!(check(&file[..len]).is_err(), "share {number} cut to {len}");
            assert!(check(&file[file.len() - len..]).is_err(), "the last {len} of share {number}");
            let zeroed = [&file[..len], &vec![0; file.len() - len]].concat();
            assert!(told_apart(&sample, number, &zeroed, check(&zeroed)), "share {number} zero from {len}");
        }
        assert!(check(&[&file[..], b"x"].concat()).is_err());
        assert!(check(&[b"xx", &file[..]].concat()).is_err());
        assert!(check(&[&file[..], &file[..]].concat()).is_err());
    }
    let longer = two_segments();
    let file = &longer.files[2];
    for len in (0..file.len()).step_by(61) {
        assert!(check_streamed(&file[..len], 16 * 1024).is_err(), "cut to {len}");
    }
}

#[test]
fn any_hole_is_found() {
    let sample = two_segments();
    let mut random = Random(9);
    for _ in 0..300 {
        let mut bad = sample.files[2].clone();
        let (from, len) = (random.next() as usize % bad.len(), random.next() as usize % 4096);
        let end = (from + len + 1).min(bad.len());
        bad[from..end].fill(0);
        assert!(told_apart(&sample, 2, &bad, check(&bad)), "{from}..{end}");
    }
}

#[test]
fn another_number_or_object_does_not_pass() {
    let (sample, plain) = (small(), plaintext(100));
    for from in 0..5u16 {
        for number in (0..8u16).chain([256, u16::MAX]).filter(|number| *number != from) {
            let mut bad = sample.files[usize::from(from)].clone();
            let at = bad.len() - FOOTER_LEN;
            bad[at..at + 2].copy_from_slice(&number.to_le_bytes());
            let report = check(&bad);
            if number >= 5 {
                assert!(matches!(report, Err(ShareError::Number { total: 5, .. })), "{report:?}");
            } else {
                assert!(report.is_err(), "share {from} as {number}");
            }
        }
    }
    // Shares of an object of the same shape are passed over.
    let other = crate::support::sample(Params::new(3, 5).unwrap(), &[9; 100]);
    assert_eq!(sample.files[0].len(), other.files[0].len());
    let mixed = [other.choose(&[0, 1, 2, 3, 4]), sample.choose(&[4, 1])].concat();
    assert!(matches!(sample.assemble(&mixed), Err(AssembleError::NotEnoughShares { needed: 3, found: 2 })));
    let mixed = [mixed, sample.choose(&[0])].concat();
    assert_eq!(sample.assemble(&mixed).unwrap(), plain);
    assert!(matches!(
        sample.assemble(&other.files),
        Err(AssembleError::NotEnoughShares { needed: 1, found: 0 })
    ));
    assert!(matches!(sample.assemble(&[]), Err(AssembleError::NotEnoughShares { needed: 1, found: 0 })));
    // Blocks under the trailer of another object, or of another share.
    let block = sample.object.descriptor.geometry.block_len(0);
    for (blocks, trailer) in [
        (&sample.files[0], &other.files[0]),
        (&sample.files[1], &sample.files[0]),
        (&sample.files[3], &sample.files[4]),
    ] {
        let forged = [&blocks[..block], &trailer[block..]].concat();
        assert!(matches!(check(&forged), Err(ShareError::Block { segment: 0 })));
    }
}

#[test]
fn a_failing_disk_is_not_a_corrupt_share() {
    let file = &small().files[0];
    let failing = |_: u64, _: &mut [u8]| Err(io::ErrorKind::Other.into());
    assert!(matches!(ShareCheck::new(0).finish(file.len() as u64, failing), Err(ShareError::Io(_))));
}

#[test]
fn rubbish_is_no_share() {
    let mut random = Random(3);
    for len in 0..600 {
        let mut bytes = random.bytes(len);
        assert!(check(&bytes).is_err());
        if len >= FOOTER_LEN {
            let at = len - FOOTER_LEN;
            bytes[at..].copy_from_slice(&small().files[0][small().files[0].len() - FOOTER_LEN..]);
            assert!(check(&bytes).is_err());
        }
    }
}
