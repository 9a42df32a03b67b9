//! Share files. Three games, by the first byte:
//!
//! - any bytes: both ways to check a share agree, and what they accept has one length, one H;
//! - an honest object whose share files are damaged: what is still accepted is the file it was, and what is put together is the file or
//!   an error;
//! - a malicious uploader, who commits to whatever blocks she likes: every share certifies itself, and yet one cap is never two files.
//!
//! In all of them a wrong key opens nothing.

#![no_main]

use bytes::Bytes;
use caps::{ReadKey, VerifyHash};
use encoding::{Params, assemble};
use libfuzzer_sys::fuzz_target;
use sarsen_fuzz::{Sample, Steer, check_pushed, check_read};

fuzz_target!(init: sarsen_fuzz::sow(seeds()), |data: &[u8]| {
    let mut steer = Steer::new(data);
    match steer.byte() % 3 {
        0 => any_bytes(steer.rest()),
        1 => damaged(steer),
        _ => malicious(steer),
    }
});

fn wrong_key() -> ReadKey {
    ReadKey::new([0x5a; 16])
}

/// H, if the share is intact. Both ways to find out must agree.
fn accepted(file: &[u8]) -> Option<VerifyHash> {
    let (pushed, read) = (check_pushed(file), check_read(file));
    assert_eq!(pushed.is_ok(), read.is_ok(), "{pushed:?} {read:?}");
    let (pushed, read) = (pushed.ok()?, read.ok()?);
    assert_eq!((pushed.hash, pushed.number), (read.hash, read.number));
    assert_eq!(read.layout.file_len(), file.len() as u64);
    Some(read.hash)
}

fn any_bytes(file: &[u8]) {
    if let Some(hash) = accepted(file) {
        assert!(assemble(&wrong_key(), &hash, &[file.to_vec()]).is_err());
    }
}

fn params(steer: &mut Steer<'_>) -> Params {
    let total = 1 + u16::from(steer.byte() % 6);
    let needed = 1 + u16::from(steer.byte()) % total;
    Params::new(needed, total).expect("k is not above N")
}

fn plaintext(steer: &mut Steer<'_>) -> Vec<u8> {
    let (len, byte) = (steer.word() % 2048, steer.byte());
    (0..len).map(|i| byte.wrapping_add(i as u8)).collect()
}

fn damaged(mut steer: Steer<'_>) {
    let (params, plain) = (params(&mut steer), plaintext(&mut steer));
    let sample = Sample::new(params, &plain, |_| ());
    let mut files = sample.files.clone();
    while !steer.is_done() {
        damage(&mut steer, &mut files);
    }
    let mut intact = 0;
    for (file, honest) in files.iter().zip(&sample.files) {
        // Only an honest share, its own or another's, has the object's H.
        if accepted(file) == Some(sample.object.hash) {
            assert!(sample.files.contains(file));
            intact += usize::from(file == honest);
        }
    }
    let got = assemble(&sample.id.key, &sample.object.hash, &files);
    match &got {
        Ok(bytes) => assert_eq!(*bytes, plain),
        Err(_) => assert!(intact < usize::from(params.needed()), "{got:?}"),
    }
    assert!(assemble(&wrong_key(), &sample.object.hash, &sample.files).is_err());
}

/// Flips a bit, cuts, adds, moves or swaps something.
fn damage(steer: &mut Steer<'_>, files: &mut [Vec<u8>]) {
    let (what, which) = (steer.byte() % 5, steer.below(files.len()));
    let file = &mut files[which];
    let at = steer.below(file.len() + 1);
    match what {
        0 if at < file.len() => file[at] ^= 1 << (steer.byte() % 8),
        1 => file.truncate(at),
        2 => file.insert(at, steer.byte()),
        3 if at < file.len() => drop(file.remove(at)),
        _ => {
            let other = steer.below(files.len());
            files.swap(which, other);
        }
    }
}

fn malicious(mut steer: Steer<'_>) {
    let (params, plain) = (params(&mut steer), plaintext(&mut steer));
    let sample = Sample::new(params, &plain, |blocks| {
        while !steer.is_done() {
            let which = steer.below(blocks.len());
            let mut block = blocks[which].to_vec();
            let at = steer.below(block.len());
            block[at] = steer.byte();
            blocks[which] = Bytes::from(block);
        }
    });
    sample.files.iter().for_each(|file| assert_eq!(accepted(file), Some(sample.object.hash)));
    let needed = usize::from(params.needed());
    let mut seen: Option<Vec<u8>> = None;
    for subset in (0u32..1 << params.total()).filter(|bits| bits.count_ones() as usize == needed) {
        let chosen = sample.files.iter().enumerate().filter(|(number, _)| subset >> number & 1 == 1);
        let chosen: Vec<Vec<u8>> = chosen.map(|(_, file)| file.clone()).collect();
        if let Ok(bytes) = assemble(&sample.id.key, &sample.object.hash, &chosen) {
            assert!(seen.get_or_insert_with(|| bytes.clone()) == &bytes, "one cap, two files");
        }
        assert!(assemble(&wrong_key(), &sample.object.hash, &chosen).is_err());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let sample = Sample::new(Params::new(2, 3).expect("k is not above N"), &[42; 300], |_| ());
    let games = [
        vec![1, 2, 1, 44, 1, 42],
        vec![1, 2, 1, 44, 1, 42, 0, 1, 0, 0, 0, 9, 0, 0, 0, 3],
        vec![2, 5, 2, 200, 0, 7],
    ];
    let meddled = vec![2, 4, 1, 100, 1, 7, 3, 0, 0, 0, 20, 0, 0, 0, 99];
    let files = sample.files.into_iter().map(|file| [&[0], &file[..]].concat());
    files.chain(games).chain([meddled]).collect()
}
