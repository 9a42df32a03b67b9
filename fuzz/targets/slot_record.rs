//! Signed records of slots, as stores and clients read them. What parses has members that can agree, a payload of a length that slots
//! have, and parses to the same again; only what is signed passes for signed.

#![no_main]

use caps::{VerifyHash, WriteKey};
use encoding::slot::{Ballot, Config, Member, Record, RecordHash, SignedRecord, SlotKey, UncheckedRecord};
use encoding::{SLOT_PAYLOAD_LENS, Sections, open_slot, seal_slot};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: sarsen_fuzz::sow(seeds()), |data: &[u8]| {
    let (key, _) = slot();
    let Ok(unchecked) = UncheckedRecord::parse(&key.hash(), data) else { return };
    let claimed = unchecked.claimed().clone();
    assert_eq!(claimed.bytes(), data);
    assert_eq!(claimed.id.hash(), key.hash());
    assert!(claimed.config.check().is_ok());
    assert!(claimed.old.as_ref().is_none_or(|old| old.check().is_ok()));
    assert!(claimed.tombstone == claimed.payload.is_empty());
    assert!(claimed.tombstone || SLOT_PAYLOAD_LENS.contains(&claimed.payload.len()));
    assert!(claimed.is_quorum(|_| true) && !claimed.is_quorum(|_| false));
    assert_eq!(SignedRecord::parse(&key.hash(), data).is_ok(), unchecked.check().is_ok());
    let _ = open_slot(&write_key().read_key(), &claimed.id.salt, &key.hash(), &claimed.payload);
});

fn write_key() -> WriteKey {
    WriteKey::new([1; 16])
}

fn slot() -> (SlotKey, Config) {
    let members = (1..=4).map(|store| Member { store: [store; 32], incarnation: 1 }).collect();
    let config = Config { members, quorum: 3 };
    (SlotKey::create(&write_key(), [2; 32], &config), config)
}

fn seeds() -> Vec<Vec<u8>> {
    let (key, config) = slot();
    let record = |counter, old: Option<Config>, tombstone| {
        let sections = Sections { a: vec![7; 100], b: vec![8; 10] };
        let hash: VerifyHash = key.hash();
        let payload = seal_slot(&write_key().read_key(), &[2; 32], &hash, &sections, &[9; 48]);
        let record = Record {
            id: key.id().clone(),
            ballot: Ballot { epoch: 0, counter, random: [3; 16] },
            config: config.clone(),
            old,
            previous: RecordHash([counter as u8 - 1; 32]),
            tombstone,
            forced: counter > 5,
            next: Some(Ballot { epoch: 0, counter: counter + 1, random: [4; 16] }),
            payload: if tombstone { Vec::new() } else { payload.expect("it fits") },
        };
        record.sign(&key).bytes().to_vec()
    };
    vec![record(1, None, false), record(2, Some(config.clone()), false), record(9, None, true)]
}
