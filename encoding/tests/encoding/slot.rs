//! The committed bytes of slots: what is hashed, sealed and signed.

use caps::WriteKey;
use encoding::Sections;
use encoding::slot::{Ballot, Config, Member, Promise, Record, RecordHash, SignedRecord, SlotKey};
use serde_json::json;

use crate::support::hex;
use crate::vectors::compare_or_write;

#[test]
fn committed_slots() {
    let write = WriteKey::new([1; 16]);
    let member = |store: u8| Member { store: [store; 32], incarnation: u64::from(store) };
    let config = Config { members: (2..=5).map(member).collect(), quorum: 3 };
    let key = SlotKey::create(&write, [5; 32], &config);
    let ballot = |counter| Ballot { epoch: 0, counter, random: [counter as u8; 16] };
    let sections = Sections { a: b"section A".to_vec(), b: b"section B".to_vec() };
    let payload = encoding::seal_slot(&write.read_key(), &[5; 32], &key.hash(), &sections, &[6; 48]).unwrap();
    let record = Record {
        id: key.id().clone(),
        ballot: ballot(7),
        config,
        old: None,
        previous: RecordHash([8; 32]),
        tombstone: false,
        forced: false,
        next: Some(ballot(9)),
        payload: payload.clone(),
    }
    .sign(&key);
    let promise = Promise::sign(&key, ballot(9));
    assert!(promise.is_signed_by(key.id()));
    assert_eq!(SignedRecord::parse(&key.hash(), record.bytes()).as_ref(), Ok(&record));
    compare_or_write(
        "slots.json",
        &json!({
            "notes": "hexadecimal; W is 01 x 16, S is 05 x 32, the members are 02 x 32 to 05 x 32 with incarnations 2 to 5, q is 3; the ballot has counter 7, next and the promise have 9, the random parts repeat the counter; previous is 08 x 32, the nonces are 06 x 48",
            "genesis": hex(&key.id().genesis),
            "public key": hex(&key.id().public_key),
            "caretaker key": hex(&key.id().caretaker_key),
            "H": hex(key.hash().as_bytes()),
            "payload": hex(&payload),
            "signed record": hex(record.bytes()),
            "record hash": hex(&record.hash().0),
            "promise": hex(&promise.signature),
        }),
    );
}
