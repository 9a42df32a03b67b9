//! What parses as a descriptor, and what does not.

use encoding::{
    Descriptor, DescriptorError, Extension, Footer, GeometryError, Kind, MAX_DESCRIPTOR_LEN, Params,
    ShareError,
};
use proptest::prelude::*;

use crate::support::{plaintext, sample};

fn bytes() -> Vec<u8> {
    sample(Params::new(3, 10).unwrap(), &plaintext(5000)).object.descriptor_bytes.to_vec()
}

fn with(at: usize, value: &[u8]) -> Result<Descriptor, DescriptorError> {
    let mut bytes = bytes();
    bytes[at..at + value.len()].copy_from_slice(value);
    Descriptor::parse(&bytes)
}

fn unsupported(field: &'static str, value: u16) -> Result<Descriptor, DescriptorError> {
    Err(DescriptorError::Unsupported { field, value })
}

#[test]
fn what_a_newer_program_writes_is_named() {
    assert_eq!(with(0, &[2, 0]), unsupported("format version", 2));
    assert_eq!(with(0, &[1, 1]), unsupported("format version", 257));
    assert_eq!(with(0, &[0, 0]), unsupported("format version", 0));
    assert_eq!(with(2, &[2]), unsupported("kind", 2));
    assert_eq!(with(2, &[1]).unwrap().kind, Kind::Tree);
    assert_eq!(with(3, &[2]), unsupported("cipher", 2));
    assert_eq!(with(4, &[0]), unsupported("codec", 0));
    assert_eq!(with(5, &[1]), unsupported("reserved byte", 1));
}

#[test]
fn parameters_and_lengths_are_bounded() {
    for (k, n) in [(0u16, 10u16), (11, 10), (3, 257), (3, 0), (0xffff, 0xffff)] {
        let fields = [k.to_le_bytes(), n.to_le_bytes()].concat();
        assert!(
            matches!(with(6, &fields), Err(DescriptorError::Geometry(GeometryError::Parameters { .. }))),
            "{k} {n}"
        );
    }
    assert!(matches!(with(8, &[11, 0]), Err(DescriptorError::Length { .. })), "one root is missing");
    assert!(with(8, &[9, 0]).is_err(), "one root is left over");
    for len in [0u32, 1, 8192, 300_000, 2 << 20, u32::MAX] {
        assert!(
            matches!(
                with(12, &len.to_le_bytes()),
                Err(DescriptorError::Geometry(GeometryError::BlockLength { .. }))
            ),
            "{len}"
        );
    }
    for len in [0u64, 15, 16_385, 16_400, 1 << 60, u64::MAX] {
        assert!(
            matches!(
                with(16, &len.to_le_bytes()),
                Err(DescriptorError::Geometry(GeometryError::Length { .. }))
            ),
            "{len}"
        );
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let bytes = bytes();
    assert_eq!(bytes.len(), 144 + 10 * 32);
    for len in 0..bytes.len() {
        assert_eq!(Descriptor::parse(&bytes[..len]), Err(DescriptorError::Length { len }));
    }
    for more in 1..4 {
        assert!(matches!(
            Descriptor::parse(&[&bytes[..], &vec![0; more]].concat()),
            Err(DescriptorError::Length { .. })
        ));
    }
    let long = [&bytes[..], &vec![0; MAX_DESCRIPTOR_LEN]].concat();
    assert_eq!(Descriptor::parse(&long), Err(DescriptorError::Length { len: long.len() }));
}

#[test]
fn extensions() {
    let parse = |extension: &[u8]| Descriptor::parse(&[&bytes()[..], extension].concat());
    let one = [1, 0, 3, 0, b'a', b'b', b'c'];
    let two = [2, 0, 0, 0];
    let parsed = parse(&[&one[..], &two].concat()).unwrap();
    let expected = [Extension { kind: 1, value: b"abc".to_vec() }, Extension { kind: 2, value: Vec::new() }];
    assert_eq!(parsed.extensions, expected);
    assert_eq!(parsed.to_bytes(), [&bytes()[..], &one, &two].concat());
    assert_eq!(parse(&[&two[..], &one].concat()), Err(DescriptorError::ExtensionOrder));
    assert_eq!(parse(&[&one[..], &one].concat()), Err(DescriptorError::ExtensionOrder));
    assert!(parse(&[0xff, 0x7f, 0, 0]).is_ok(), "the last one that may be ignored");
    assert_eq!(parse(&[0, 0x80, 0, 0]), unsupported("critical extension", 0x8000));
    assert_eq!(
        parse(&[&one[..], &[0xff, 0xff, 1, 0, 9]].concat()),
        unsupported("critical extension", 0xffff)
    );
    assert!(matches!(parse(&one[..6]), Err(DescriptorError::Length { .. })));
    assert!(matches!(parse(&[1, 0, 0xff, 0xff]), Err(DescriptorError::Length { .. })));
    // Extensions are sealed with the rest: whoever adds one later breaks the seal.
    let sample = sample(Params::new(3, 10).unwrap(), &plaintext(5000));
    assert!(sample.object.descriptor.open(&sample.id.key).is_ok());
    assert!(parse(&one).unwrap().open(&sample.id.key).is_err());
}

#[test]
fn the_key_opens_what_was_sealed() {
    let sample = sample(Params::new(3, 10).unwrap(), &plaintext(5000));
    let (id, sealed) = sample.object.descriptor.open(&sample.id.key).unwrap();
    assert_eq!((id, sealed.size), (sample.id.clone(), 5000));
    assert_eq!(sealed.plaintext_hash, *blake3::hash(b"advisory").as_bytes());
}

#[test]
fn footers() {
    let footer = Footer { number: 258, descriptor_len: 0x0102 };
    let bytes = footer.to_bytes();
    assert_eq!(&bytes, b"\x02\x01\x01\x00\x02\x01\x00\x00SarsenSh");
    assert_eq!(Footer::parse(&bytes).unwrap(), footer);
    for at in 8..16 {
        let mut bad = bytes;
        bad[at] ^= 1;
        assert!(matches!(Footer::parse(&bad), Err(ShareError::NotAShare)));
    }
    let mut bad = bytes;
    bad[2] = 2;
    assert!(matches!(Footer::parse(&bad), Err(ShareError::Version { version: 2 })));
    for (len, good) in [(16_384u32, true), (16_385, false), (u32::MAX, false), (1 << 16, false)] {
        let bytes = Footer { number: 0, descriptor_len: len }.to_bytes();
        assert_eq!(Footer::parse(&bytes).is_ok(), good, "{len}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Descriptor::parse(&bytes);
    }

    #[test]
    fn what_parses_is_canonical(changes in prop::collection::vec((0usize..160, any::<u8>()), 0..4), tail in prop::collection::vec(0u8..4, 0..12)) {
        let mut bytes = bytes_once();
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.extend(tail);
        if let Ok(descriptor) = Descriptor::parse(&bytes) {
            prop_assert_eq!(descriptor.to_bytes(), bytes);
            let _ = descriptor.open(&caps::ReadKey::new([0; 16]));
        }
    }

    #[test]
    fn footers_never_panic(bytes in any::<[u8; 16]>(), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic {
            bytes[8..].copy_from_slice(b"SarsenSh");
        }
        if let Ok(footer) = Footer::parse(&bytes) {
            prop_assert_eq!(footer.to_bytes(), bytes);
        }
    }
}

fn bytes_once() -> Vec<u8> {
    static BYTES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(bytes);
    BYTES.clone()
}
