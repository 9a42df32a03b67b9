//! The two sections of a tree: who can open which, and what bytes are refused.

use caps::{Cap, ReadKey, VerifyHash, WriteKey};
use encoding::{
    Children, ObjectId, SLOT_PAYLOAD_LENS, SectionError, Sections, child_of, open_slot, open_slot_children,
    open_tree, seal_slot, seal_tree, tree_children,
};
use proptest::prelude::*;

const SALT: [u8; 32] = [5; 32];

fn key() -> ReadKey {
    WriteKey::new([1; 16]).read_key()
}

fn sections(a: usize, b: usize) -> Sections {
    Sections { a: vec![1; a], b: vec![2; b] }
}

#[test]
fn a_slots_length_shows_only_its_class() {
    let hash = VerifyHash::new([9; 32]);
    for (a, class) in [(0, 0), (600, 0), (700, 1), (3_700, 1), (3_800, 2), (16_100, 3), (65_000, 3)] {
        let payload = seal_slot(&key(), &SALT, &hash, &sections(a, 0), &[3; 48]).expect("it fits");
        assert_eq!(payload.len(), SLOT_PAYLOAD_LENS[class], "{a} bytes");
        assert_eq!(open_slot(&key(), &SALT, &hash, &payload), Ok(sections(a, 0)));
    }
    let too_long = seal_slot(&key(), &SALT, &hash, &sections(65_400, 100), &[3; 48]);
    assert_eq!(too_long, Err(SectionError::TooLong { len: 65_500 }));
}

#[test]
fn a_payload_opens_under_its_own_key_salt_and_hash_alone() {
    let hash = VerifyHash::new([9; 32]);
    let payload = seal_slot(&key(), &SALT, &hash, &sections(100, 50), &[3; 48]).expect("it fits");
    let wrong = |section| Err(SectionError::Sealed { section });
    assert_eq!(open_slot(&key(), &SALT, &VerifyHash::new([8; 32]), &payload), wrong('B'));
    assert_eq!(open_slot(&key(), &[6; 32], &hash, &payload), wrong('B'));
    assert_eq!(open_slot(&ReadKey::new([7; 16]), &SALT, &hash, &payload), wrong('B'));
    let mut altered = payload.clone();
    *altered.last_mut().expect("it has bytes") ^= 1;
    assert_eq!(open_slot(&key(), &SALT, &hash, &altered), wrong('A'));
    let traversal = key().traversal_key(&SALT);
    assert_eq!(open_slot_children(&traversal, &hash, &altered).as_deref(), Ok(&[2; 50][..]));
}

#[test]
fn a_tree_object_shows_its_children_and_not_section_a() {
    let id = ObjectId::random([4; 48]);
    let payload = seal_tree(&id, &sections(5_000, 70));
    assert_eq!(tree_children(&payload), Ok(&[2; 70][..]));
    assert!(!payload.windows(16).any(|window| window == [1; 16]), "section A is sealed within");
    assert_eq!(open_tree(&id, &payload), Ok(sections(5_000, 70)));
    assert_eq!(open_tree(&ObjectId::random([5; 48]), &payload), Err(SectionError::Sealed { section: 'A' }));
}

#[test]
fn children_come_back_as_they_were_listed() {
    let caps = [
        "URI:CHK:aaaqeayeaudaocajbifqydiob4:aaaqeayeaudaocajbifqydiob4aaaqeayeaudaocajbifqydiob4:3:10:1234",
        "URI:SSK-RO:aaaqeayeaudaocajbifqydiob4:aaaqeayeaudaocajbifqydiob4aaaqeayeaudaocajbifqydiob4",
        "URI:LIT:krugkidrovuwg2zamjzg653oebtg66banj2w24djnzxxmdi",
        "URI:FUTURE:abc",
    ];
    let caps: Vec<Cap> = caps.iter().filter_map(|text| text.parse().ok()).collect();
    for salt in [None, Some(&SALT)] {
        let list: Vec<Cap> = caps.iter().filter_map(|cap| child_of(cap, salt)).collect();
        let children = Children { list, unknown: 1 };
        assert_eq!(Children::parse(&children.to_bytes()), Ok(children));
    }
}

proptest! {
    #[test]
    fn rubbish_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = open_slot(&key(), &SALT, &VerifyHash::new([9; 32]), &bytes);
        let _ = open_tree(&ObjectId::random([4; 48]), &bytes);
        let _ = Children::parse(&bytes);
    }
}
