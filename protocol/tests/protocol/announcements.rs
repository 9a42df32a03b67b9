//! Announcements and addresses.

use std::time::Duration;

use protocol::announcement::{AnnouncedStore, Announcement, AnnouncementError, Signed};
use protocol::limits::{MAX_LIST, MAX_TEXT_LEN};
use protocol::membership::{Certificate, Role};
use protocol::{NodeAddress, NodeKey};

fn key(number: u8) -> NodeKey {
    NodeKey::from_seed(&[number; 32])
}

fn announcement() -> Announcement {
    Announcement {
        server: key(1).id(),
        sequence: 7,
        issued_s: 1000,
        expires_s: 2000,
        addresses: vec!["192.0.2.7:4455".into()],
        nickname: "granite".into(),
        zone: Some("cellar".into()),
        stores: vec![AnnouncedStore::new(&key(2), 1, &key(1).id())],
        software: "sarsen/0.1.0".into(),
        certificate: None,
    }
}

#[test]
fn what_was_signed_is_read() {
    let signed = announcement().sign(&key(1));
    assert_eq!(signed.open().unwrap(), announcement());
    assert_eq!(signed.open_fresh(Duration::from_secs(2000)).unwrap(), announcement());
    let expired = signed.open_fresh(Duration::from_secs(2001));
    assert_eq!(expired, Err(AnnouncementError::Expired { server: key(1).id() }));
}

#[test]
fn a_store_that_is_drained_says_so_and_any_other_says_nothing() {
    let drained = |draining| {
        let store = AnnouncedStore { draining, ..AnnouncedStore::new(&key(2), 1, &key(1).id()) };
        Announcement { stores: vec![store], ..announcement() }.sign(&key(1))
    };
    assert!(
        drained(true).open().unwrap().stores[0].draining
            && !drained(false).open().unwrap().stores[0].draining
    );
    // Most are not drained: they do not say so.
    assert!(drained(true).payload.len() > drained(false).payload.len());
}

#[test]
fn every_changed_bit_is_noticed() {
    let signed = announcement().sign(&key(1));
    for bit in 0..signed.payload.len() * 8 {
        let mut changed = signed.clone();
        changed.payload[bit / 8] ^= 1 << (bit % 8);
        assert!(changed.open().is_err(), "payload bit {bit}");
    }
    for bit in 0..512 {
        let mut changed = signed.clone();
        changed.signature[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(changed.open(), Err(AnnouncementError::Signature), "signature bit {bit}");
    }
}

#[test]
fn bytes_after_the_announcement_are_refused_even_if_signed() {
    // Signed by hand, since `sign` writes no such thing.
    let mut payload = announcement().sign(&key(1)).payload;
    payload.push(0);
    let signature = key(1).sign("sarsen v1 announcement", &payload);
    assert_eq!(Signed { payload, signature }.open(), Err(AnnouncementError::Malformed));
}

#[test]
fn fields_from_later_versions_stay_signed_and_are_skipped() {
    let mut payload = announcement().sign(&key(1)).payload;
    assert_eq!(payload[0], 0x89);
    // No certificate, and a field of a later version.
    payload[0] = 0x8b;
    payload.extend(*b"\xf6\x63new");
    let signature = key(1).sign("sarsen v1 announcement", &payload);
    assert_eq!(Signed { payload, signature }.open().unwrap(), announcement());
}

#[test]
fn a_signature_counts_in_its_context_only() {
    let payload = announcement().sign(&key(1)).payload;
    let signature = key(1).sign("sarsen v1 store binding", &payload);
    assert_eq!(Signed { payload, signature }.open(), Err(AnnouncementError::Signature));
    let mut foreign = announcement();
    foreign.stores = vec![AnnouncedStore::new(&key(2), 1, &key(3).id())];
    let refused = foreign.sign(&key(1)).open();
    assert_eq!(refused, Err(AnnouncementError::Binding { store: key(2).id() }));
}

#[test]
fn a_certificate_is_the_servers_own_or_the_announcement_is_bad() {
    let (owner, other) = (key(8), key(3));
    let certify = |member: &NodeKey| Certificate {
        grid: owner.id(),
        member: member.id(),
        role: Role::Server,
        serial: 1,
        not_before_s: 1,
        not_after_s: 2,
        name: "attic".into(),
        zone: None,
    };
    let with = |certificate| {
        let announcement = Announcement { certificate: Some(certificate), ..announcement() };
        announcement.sign(&key(1)).open()
    };
    // Its date is for clients to judge.
    let opened = with(certify(&key(1)).sign(&owner)).unwrap();
    assert_eq!(opened.own_certificate(), Ok(Some(certify(&key(1)))));
    let bad = Err(AnnouncementError::Certificate { server: key(1).id() });
    assert_eq!(with(certify(&other).sign(&owner)), bad);
    let mut bent = certify(&key(1)).sign(&owner);
    bent.signature[1] ^= 1;
    assert_eq!(with(bent), bad);
}

#[test]
fn texts_and_lists_have_bounds() {
    let check = |change: fn(&mut Announcement), fits: bool| {
        let mut changed = announcement();
        change(&mut changed);
        let opened = changed.sign(&key(1)).open();
        assert_eq!(opened.is_ok(), fits, "{opened:?}");
        let named = matches!(opened, Err(AnnouncementError::TooLong { .. } | AnnouncementError::Malformed));
        assert!(fits || named, "{opened:?}");
    };
    check(|a| a.nickname = "n".repeat(MAX_TEXT_LEN), true);
    check(|a| a.nickname = "n".repeat(MAX_TEXT_LEN + 1), false);
    check(|a| a.nickname = "\u{1b}[2J".into(), false);
    check(|a| a.zone = Some("z".repeat(MAX_TEXT_LEN + 1)), false);
    check(|a| a.software = "s".repeat(MAX_TEXT_LEN + 1), false);
    check(|a| a.addresses = vec!["a".repeat(MAX_TEXT_LEN); MAX_LIST], true);
    check(|a| a.addresses = vec![String::new(); MAX_LIST + 1], false);
    check(|a| a.addresses = vec!["a".repeat(70_000)], false);
    check(|a| a.stores = vec![a.stores[0].clone(); MAX_LIST + 1], false);
}

#[test]
fn addresses_are_read_strictly() {
    let id = key(1).id();
    for host in ["127.0.0.1:1", "[::1]:65535", "granite.example.org:4455"] {
        let text = format!("sarsen://{id}@{host}");
        let address: NodeAddress = text.parse().unwrap();
        assert_eq!((address.id, address.host.as_str()), (id, host));
        assert_eq!(address.to_string(), text);
    }
    let upper = id.to_string().to_uppercase();
    let long = format!("{}:1", "h".repeat(MAX_TEXT_LEN));
    let id = id.to_string();
    let last = &id[..51];
    for bad in [
        String::new(),
        format!("sarsen://{id}"),
        format!("sarsen://{id}@"),
        format!("sarsen://{id}@host"),
        format!("sarsen://{id}@:1"),
        format!("sarsen://{id}@host:65536"),
        format!("sarsen://{id}@ho st:1"),
        format!("sarsen://{id}@h\u{f6}st:1"),
        format!("sarsen://{id}@{long}"),
        format!("sarsen://{upper}@host:1"),
        format!("sarsen://{last}@host:1"),
        format!("sarsen://{last}b@host:1"),
        format!("http://{id}@host:1"),
    ] {
        assert!(bad.parse::<NodeAddress>().is_err(), "{bad}");
    }
}
