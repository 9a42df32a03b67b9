//! Announcements. The first byte says whether the rest is one as it travels, or a payload that is signed here, so that what lies behind
//! the signature is reached. What opens is signed by the server it names, keeps the bounds, means the same when it is signed anew, and
//! is refused after its date and with any bit of it changed.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use protocol::announcement::{AnnouncedStore, Announcement, AnnouncementError, Signed};
use protocol::limits::{MAX_LIST, MAX_TEXT_LEN};
use protocol::{NodeKey, frame};

fuzz_target!(init: sarsen_fuzz::sow(seeds()), |data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    if kind % 2 == 0 {
        let Ok(signed) = frame::decode::<Signed>(bytes) else { return };
        check(&signed);
    } else {
        let signature = key().sign("sarsen v1 announcement", bytes);
        check(&Signed { payload: bytes.to_vec(), signature });
    }
});

fn key() -> NodeKey {
    NodeKey::from_seed(&[1; 32])
}

fn check(signed: &Signed) {
    let Ok(announcement) = signed.open() else { return };
    assert_eq!(announcement.server, key().id(), "nobody else signs here");
    let texts = announcement.addresses.iter().chain(&announcement.zone);
    for text in texts.chain([&announcement.nickname, &announcement.software]) {
        assert!(text.len() <= MAX_TEXT_LEN && !text.chars().any(char::is_control));
    }
    assert!(announcement.addresses.len() <= MAX_LIST && announcement.stores.len() <= MAX_LIST);
    assert_eq!(announcement.sign(&key()).open().as_ref(), Ok(&announcement));

    let after = Duration::from_secs(announcement.expires_s);
    assert_eq!(signed.open_fresh(after).as_ref(), Ok(&announcement));
    if let Some(late) = after.checked_add(Duration::from_secs(1)) {
        let server = announcement.server;
        assert_eq!(signed.open_fresh(late), Err(AnnouncementError::Expired { server }));
    }
    let at = announcement.sequence as usize;
    let mut changed = signed.clone();
    changed.signature[at % 64] ^= 1 << (at % 8);
    assert!(changed.open().is_err());
    let mut changed = signed.clone();
    let at = at % changed.payload.len();
    changed.payload[at] ^= 1;
    assert!(changed.open().is_err());
}

fn seeds() -> Vec<Vec<u8>> {
    let store =
        |seed, incarnation| AnnouncedStore::new(&NodeKey::from_seed(&[seed; 32]), incarnation, &key().id());
    let plain = Announcement {
        server: key().id(),
        sequence: 1,
        issued_s: 1_700_000_000,
        expires_s: 1_800_000_000,
        addresses: vec!["example.org:4711".into()],
        nickname: "oak".into(),
        zone: None,
        stores: Vec::new(),
        software: "sarsen/0.1.0".into(),
        certificate: None,
    };
    let with_stores =
        Announcement { zone: Some("attic".into()), stores: vec![store(2, 1), store(3, 9)], ..plain.clone() };
    let signed = [plain, with_stores].map(|announcement| announcement.sign(&key()));
    let travelling = signed.iter().map(|signed| [&[0], &frame::encode(signed)[4..]].concat());
    travelling.chain(signed.iter().map(|signed| [&[1], &signed.payload[..]].concat())).collect()
}
