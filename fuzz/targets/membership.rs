//! Certificates, revocation lists and the papers of a node. The first byte says which, and whether the rest is one as it travels or a payload
//! that is signed here, so that what lies behind the signature is reached. What opens keeps its bounds, means the same when it is signed
//! anew, and is refused with any bit of it changed.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use protocol::membership::{
    CLOCK_TOLERANCE, Certificate, LIFETIME_MAX, MAX_NAME_LEN, Membership, MembershipNews, NotAMember, Revocations, Revoked,
    Role, SignedCertificate, SignedRevocations,
};
use protocol::{NodeKey, frame};

fuzz_target!(init: sarsen_fuzz::sow(seeds()), |data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 5 {
        0 => {
            let Ok(signed) = frame::decode::<SignedCertificate>(bytes) else { return };
            certificate(&signed);
        }
        1 => {
            let signature = key().sign("sarsen v1 membership certificate", bytes);
            certificate(&SignedCertificate { payload: bytes.to_vec(), signature });
        }
        2 => {
            let Ok(signed) = frame::decode::<SignedRevocations>(bytes) else { return };
            list(&signed);
        }
        3 => {
            let signature = key().sign("sarsen v1 revocation list", bytes);
            list(&SignedRevocations { payload: bytes.to_vec(), signature });
        }
        _ => papers(bytes),
    }
});

fn key() -> NodeKey {
    NodeKey::from_seed(&[1; 32])
}

fn certificate(signed: &SignedCertificate) {
    let Ok(opened) = signed.open() else { return };
    assert_eq!(opened.grid, key().id(), "nobody else signs here");
    for text in [&opened.name].into_iter().chain(&opened.zone) {
        assert!((1..=MAX_NAME_LEN).contains(&text.len()) && !text.chars().any(char::is_control));
    }
    let lasts = opened.not_after_s - opened.not_before_s;
    assert!((1..=LIFETIME_MAX.as_secs()).contains(&lasts));
    assert_eq!(opened.sign(&key()).open().as_ref(), Ok(&opened));
    let end = Duration::from_secs(opened.not_after_s);
    assert_eq!(opened.check(&key().id(), &opened.member, end, None), Ok(()));
    if let Some(late) = end.checked_add(CLOCK_TOLERANCE + Duration::from_secs(1)) {
        assert_eq!(opened.at(late), Err(NotAMember::Expired));
    }
    let at = opened.serial as usize;
    let mut changed = signed.clone();
    changed.signature[at % 64] ^= 1 << (at % 8);
    assert!(changed.open().is_err());
    let mut changed = signed.clone();
    let at = at % changed.payload.len();
    changed.payload[at] ^= 1;
    assert!(changed.open().is_err());
}

fn list(signed: &SignedRevocations) {
    let Ok(opened) = signed.open() else { return };
    assert_eq!(opened.grid, key().id(), "nobody else signs here");
    assert!(opened.revoked.is_sorted_by(|a, b| a.member < b.member));
    for entry in &opened.revoked {
        assert!(opened.revokes(&entry.member, entry.through) && opened.revokes(&entry.member, 0));
        assert!(entry.through == u64::MAX || !opened.revokes(&entry.member, entry.through + 1));
    }
    assert_eq!(opened.sign(&key()).open().as_ref(), Ok(&opened));
}

/// Papers that are read are the owner's and the member's, and read back the same.
fn papers(bytes: &[u8]) {
    let member = NodeKey::from_seed(&[2; 32]).id();
    let mut read = Membership::new(key().id(), member);
    if read.read(bytes).is_err() {
        return;
    }
    assert!(read.certificate().is_none_or(|own| (own.grid, own.member) == (key().id(), member)));
    let mut again = Membership::new(key().id(), member);
    again.read(&read.to_bytes()).expect("what was written is read");
    assert_eq!((again.certificate(), again.revocations()), (read.certificate(), read.revocations()));
}

fn seeds() -> Vec<Vec<u8>> {
    let member = NodeKey::from_seed(&[2; 32]).id();
    let certificate = Certificate {
        grid: key().id(),
        member,
        role: Role::Server,
        serial: 7,
        not_before_s: 1_800_000_000,
        not_after_s: 1_800_086_400,
        name: "attic".into(),
        zone: Some("home".into()),
    };
    let certificate = certificate.sign(&key());
    let revoked = vec![Revoked { member, through: 7 }];
    let list = Revocations { grid: key().id(), sequence: 3, issued_s: 1_800_000_000, revoked }.sign(&key());
    let mut papers = Membership::new(key().id(), member);
    papers.learn(MembershipNews { certificate: Some(certificate.clone()), revocations: Some(list.clone()) });
    vec![
        [&[0], &frame::encode(&certificate)[4..]].concat(),
        [&[1], &certificate.payload[..]].concat(),
        [&[2], &frame::encode(&list)[4..]].concat(),
        [&[3], &list.payload[..]].concat(),
        [&[4], &papers.to_bytes()[..]].concat(),
    ]
}
