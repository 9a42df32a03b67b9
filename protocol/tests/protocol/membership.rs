//! Certificates, revocation lists and a node's papers.

use std::time::Duration;

use proptest::prelude::*;
use protocol::membership::{
    CLOCK_TOLERANCE, Certificate, LIFETIME_MAX, Membership, MembershipError, MembershipNews, NotAMember,
    Revocations, Revoked, Role, SignedCertificate, SignedRevocations,
};
use protocol::{NodeId, NodeKey};

fn key(number: u8) -> NodeKey {
    NodeKey::from_seed(&[number; 32])
}

fn certificate() -> Certificate {
    Certificate {
        grid: key(1).id(),
        member: key(2).id(),
        role: Role::Server,
        serial: 7,
        not_before_s: 1_800_000_000,
        not_after_s: 1_800_086_400,
        name: "attic".into(),
        zone: Some("home".into()),
    }
}

fn list(sequence: u64, revoked: &[(u8, u64)]) -> Revocations {
    let mut revoked: Vec<Revoked> = revoked
        .iter()
        .map(|(member, through)| Revoked { member: key(*member).id(), through: *through })
        .collect();
    revoked.sort_by_key(|entry| entry.member);
    Revocations { grid: key(1).id(), sequence, issued_s: 1_800_000_000, revoked }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    let page = include_str!("../../../docs/spec/membership.md").replace('\n', "");
    let signed = certificate().sign(&key(1));
    assert!(
        page.contains(&hex(&minicbor::to_vec(&signed).unwrap())),
        "{}",
        hex(&minicbor::to_vec(&signed).unwrap())
    );
    let signed = list(3, &[(2, 7)]).sign(&key(1));
    assert!(
        page.contains(&hex(&minicbor::to_vec(&signed).unwrap())),
        "{}",
        hex(&minicbor::to_vec(&signed).unwrap())
    );
}

#[test]
fn every_changed_bit_is_noticed() {
    let signed = certificate().sign(&key(1));
    assert_eq!(signed.open().unwrap(), certificate());
    for bit in 0..signed.payload.len() * 8 {
        let mut changed = signed.clone();
        changed.payload[bit / 8] ^= 1 << (bit % 8);
        assert!(changed.open().is_err(), "payload bit {bit}");
    }
    for bit in 0..512 {
        let mut changed = signed.clone();
        changed.signature[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(changed.open(), Err(MembershipError::Signature), "signature bit {bit}");
    }
    // A signature of another kind, over the same bytes, is none.
    let payload = signed.payload;
    let signature = key(1).sign("sarsen v1 revocation list", &payload);
    assert_eq!(SignedCertificate { payload, signature }.open(), Err(MembershipError::Signature));
    let stranger = SignedCertificate { signature: certificate().sign(&key(1)).signature, ..forged() };
    assert!(stranger.open().is_err());
}

/// One that another key signed in the owner's name.
fn forged() -> SignedCertificate {
    let payload = certificate().sign(&key(1)).payload;
    let signature = key(9).sign("sarsen v1 membership certificate", &payload);
    let signed = SignedCertificate { payload, signature };
    assert_eq!(signed.open(), Err(MembershipError::Signature));
    let other = Certificate { name: "x".into(), ..certificate() };
    other.sign(&key(1))
}

#[test]
fn bounds_are_kept_even_by_the_owner() {
    let day = |certificate: Certificate| certificate.sign(&key(1)).open();
    let start = certificate().not_before_s;
    let most = Certificate { not_after_s: start + LIFETIME_MAX.as_secs(), ..certificate() };
    assert!(day(most.clone()).is_ok());
    for not_after_s in [start + LIFETIME_MAX.as_secs() + 1, start, start - 1, u64::MAX] {
        let bad = Certificate { not_after_s, ..certificate() };
        assert_eq!(day(bad), Err(MembershipError::Lifetime), "{not_after_s}");
    }
    for name in [String::new(), "x".repeat(129), "a\u{1b}[2J".into(), "two\nlines".into()] {
        assert_eq!(day(Certificate { name, ..certificate() }), Err(MembershipError::Text));
    }
    assert_eq!(day(Certificate { zone: Some(String::new()), ..certificate() }), Err(MembershipError::Text));
    let mut payload = certificate().sign(&key(1)).payload;
    payload.push(0);
    let signature = key(1).sign("sarsen v1 membership certificate", &payload);
    assert_eq!(SignedCertificate { payload, signature }.open(), Err(MembershipError::Malformed));
}

#[test]
fn lists_are_in_order_and_count_by_member_and_serial() {
    let signed = list(3, &[(2, 7), (3, 0), (4, u64::MAX)]).sign(&key(1));
    let opened = signed.open().unwrap();
    let revoked = |member: u8, serial| opened.revokes(&key(member).id(), serial);
    assert!(revoked(2, 7) && revoked(2, 0) && !revoked(2, 8), "one that is admitted anew counts");
    assert!(revoked(3, 0) && !revoked(3, 1) && revoked(4, u64::MAX) && !revoked(5, 0));
    let mut twice = list(3, &[(2, 7)]);
    twice.revoked.push(twice.revoked[0]);
    assert_eq!(twice.sign(&key(1)).open(), Err(MembershipError::Order));
    let mut reversed = list(3, &[(2, 7), (3, 7)]);
    reversed.revoked.reverse();
    assert_eq!(reversed.sign(&key(1)).open(), Err(MembershipError::Order));
    let mut changed = signed;
    changed.signature[9] ^= 1;
    assert_eq!(changed.open(), Err(MembershipError::Signature));
}

#[test]
fn papers_take_what_is_newer_and_the_owners() {
    let mut papers = Membership::new(key(1).id(), key(2).id());
    let now = Duration::from_secs(1_800_000_100);
    let with = |certificate: Option<SignedCertificate>, revocations: Option<SignedRevocations>| {
        MembershipNews { certificate, revocations }
    };
    assert_eq!(papers.at(now), Err(NotAMember::NoCertificate));
    assert!(papers.learn(with(Some(certificate().sign(&key(1))), None)));
    assert_eq!(papers.at(now), Ok(&certificate()));
    // The same, an older one, somebody else's, another grid's: no news.
    let older = Certificate { serial: 6, name: "old".into(), ..certificate() };
    let others = Certificate { serial: 8, member: key(3).id(), ..certificate() };
    let elsewhere = Certificate { serial: 8, grid: key(9).id(), ..certificate() };
    for news in
        [certificate().sign(&key(1)), older.sign(&key(1)), others.sign(&key(1)), elsewhere.sign(&key(9))]
    {
        assert!(!papers.learn(with(Some(news), None)));
    }
    assert!(papers.learn(with(None, Some(list(5, &[(2, 7)]).sign(&key(1))))));
    assert_eq!(papers.at(now), Err(NotAMember::Revoked));
    assert!(!papers.learn(with(None, Some(list(4, &[]).sign(&key(1))))), "nobody is let in by an old list");
    assert!(!papers.learn(with(None, Some(list(5, &[]).sign(&key(1))))));
    let mut read = Membership::new(key(1).id(), key(2).id());
    read.read(&papers.to_bytes()).unwrap();
    assert_eq!((read.certificate(), read.revocations()), (papers.certificate(), papers.revocations()));
    assert!(read.read(b"rubbish").is_err());
    let mut foreign = Membership::new(key(8).id(), key(2).id());
    foreign.read(&papers.to_bytes()).unwrap();
    assert_eq!(foreign.certificate(), None);
    // Admitted anew.
    assert!(papers.learn(with(Some(Certificate { serial: 8, ..certificate() }.sign(&key(1))), None)));
    assert!(papers.at(now).is_ok());
}

proptest! {
    /// The check against its own words: whose it is, then whether it was taken back, then its dates.
    #[test]
    fn a_check_is_what_it_says(
        (owner, member) in (1u8..4, 1u8..4),
        (grid, of) in (1u8..4, 1u8..4),
        (now, from, lasts) in (0u64..20_000, 0u64..20_000, 1u64..20_000),
        (serial, through) in (0u64..4, prop::option::of(0u64..4)),
    ) {
        let tolerance = CLOCK_TOLERANCE.as_secs();
        let certificate = Certificate {
            grid: key(grid).id(), member: key(of).id(), serial,
            not_before_s: from, not_after_s: from + lasts, ..certificate()
        };
        let revoked = through.map(|through| Revocations {
            grid: key(owner).id(), ..list(1, &[(member, through)])
        });
        let expected = if (grid, of) != (owner, member) {
            Err(NotAMember::Forged)
        } else if through.is_some_and(|through| serial <= through) {
            Err(NotAMember::Revoked)
        } else if now + tolerance < from {
            Err(NotAMember::NotYetValid)
        } else if from + lasts + tolerance < now {
            Err(NotAMember::Expired)
        } else {
            Ok(())
        };
        let checked = certificate.check(&key(owner).id(), &key(member).id(), Duration::from_secs(now), revoked.as_ref());
        prop_assert_eq!(checked, expected);
    }

    #[test]
    fn what_was_signed_is_read(
        (serial, from, lasts) in (any::<u64>(), 0..u64::MAX / 2, 1..=LIFETIME_MAX.as_secs()),
        (server, member) in (any::<bool>(), any::<[u8; 32]>()),
        (name, zone) in ("[ -~]{1,128}", prop::option::of("[ -~]{1,128}")),
    ) {
        let role = if server { Role::Server } else { Role::Account };
        let certificate = Certificate {
            grid: key(1).id(), member: NodeId::new(member), role, serial,
            not_before_s: from, not_after_s: from + lasts, name, zone,
        };
        prop_assert_eq!(certificate.sign(&key(1)).open(), Ok(certificate));
    }

    #[test]
    fn rubbish_opens_nothing(payload in prop::collection::vec(any::<u8>(), 0..300), signature in any::<[u8; 32]>()) {
        let signature = [signature, signature].concat().try_into().unwrap();
        let certificate = SignedCertificate { payload: payload.clone(), signature };
        prop_assert!(certificate.open().is_err());
        let list = SignedRevocations { payload: payload.clone(), signature };
        prop_assert!(list.open().is_err());
        prop_assert!(Membership::new(key(1).id(), key(2).id()).read(&payload).is_err());
    }
}
