//! The examples of `docs/spec/wire.md` are what the code writes.

use minicbor::Encode;
use protocol::announcement::{AnnouncedStore, Announcement};
use protocol::membership::NotAMember;
use protocol::message::{
    Bytes16, Done, ErrorCode, Hello, LeaseTerms, Put, PutSmall, Reply, Request, SmallShare, Subscribe,
    WireError,
};
use protocol::{NodeId, NodeKey, frame};

const SPEC: &str = include_str!("../../../docs/spec/wire.md");

/// Checks that the spec prints exactly these bytes, in lines of hex.
fn check(name: &str, bytes: &[u8]) {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<&str> =
        hex.as_bytes().chunks(128).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let block = format!("\n{}\n", lines.join("\n"));
    assert!(SPEC.contains(&block), "docs/spec/wire.md has not this {name}:{block}");
}

fn check_framed(name: &str, message: &impl Encode<()>) {
    check(name, &frame::encode(message));
}

#[test]
fn the_examples_of_the_spec() {
    let hello = Hello {
        major: 1,
        minor: 0,
        features: Vec::new(),
        software: "sarsen/0.1.0".into(),
        certificate: None,
    };
    check_framed("hello", &Request::Hello(hello));
    check_framed("status", &Request::Status);
    check_framed("subscribe", &Request::Subscribe(Subscribe { follow: true }));
    check_framed("error", &Reply::<Done>::Err(WireError::new(ErrorCode::NotFound, "no such share")));
    check_framed("done", &Reply::Ok(Done {}));
    let put = Put {
        upload: Bytes16([5; 16]),
        number: 3,
        store: NodeId::new([6; 32]),
        block_len: 262_144,
        len: None,
        expected: None,
        lease: LeaseTerms { tag: Bytes16([5; 16]), duration_s: None },
    };
    check("put", &minicbor::to_vec(Request::Put(put)).unwrap());
    let lease = LeaseTerms { tag: Bytes16([5; 16]), duration_s: Some(3600) };
    let shares = vec![SmallShare { len: 2000, lease }];
    let put = PutSmall { store: NodeId::new([6; 32]), shares };
    check("put-small", &minicbor::to_vec(Request::PutSmall(put)).unwrap());
    let (server, store) = (NodeKey::from_seed(&[1; 32]), NodeKey::from_seed(&[2; 32]));
    let announcement = Announcement {
        server: server.id(),
        sequence: 7,
        issued_s: 1_800_000_000,
        expires_s: 1_800_086_400,
        addresses: vec!["192.0.2.7:4455".into()],
        nickname: "granite".into(),
        zone: None,
        stores: vec![AnnouncedStore::new(&store, 1, &server.id())],
        software: "sarsen/0.1.0".into(),
        certificate: None,
    };
    check("announcement", &minicbor::to_vec(announcement.sign(&server)).unwrap());
}

#[test]
fn the_bounds_of_the_spec() {
    use protocol::limits as l;
    let rows = [
        ("a frame", u64::from(l::MAX_FRAME_LEN), "1,048,576 bytes"),
        ("a text (", l::MAX_TEXT_LEN as u64, "512 bytes"),
        ("hashes, lengths", l::MAX_BATCH as u64, "10,000"),
        ("addresses, stores or features", l::MAX_LIST as u64, "64"),
        ("blocks in one read", u64::from(l::MAX_BLOCKS_PER_READ), "64"),
        ("a share that travels inline", u64::from(l::MAX_INLINE_SHARE), "131,072 bytes"),
        ("a share of a put-small", u64::from(l::MAX_SMALL_SHARE_LEN), "65,536 bytes"),
        ("all shares of a put-small", l::MAX_SMALL_BODY_LEN as u64, "786,432 bytes"),
        ("shares of one object", l::MAX_SHARES as u64, "512"),
        ("streams of one connection", u64::from(l::MAX_STREAMS), "256"),
    ];
    for (row, value, printed) in rows {
        let digits: String = printed.chars().filter(char::is_ascii_digit).collect();
        assert_eq!(digits.parse(), Ok(value), "{row}");
        let line = SPEC.lines().find(|line| line.starts_with(&format!("| {row}"))).unwrap();
        assert!(line.contains(&format!("| {printed}")), "{line}");
    }
    assert_eq!(l::MAX_SHARE_LEN, 1 << 46);
    assert!(SPEC.contains("| a share file | 2^46 bytes |"));
}

#[test]
fn the_error_codes_of_the_spec() {
    let codes = [
        ErrorCode::BadRequest,
        ErrorCode::Unsupported,
        ErrorCode::UnsupportedVersion,
        ErrorCode::NotFound,
        ErrorCode::NotAdmitted,
        ErrorCode::ReadOnly,
        ErrorCode::NoSpace,
        ErrorCode::Busy,
        ErrorCode::Corrupt,
        ErrorCode::StoreFailed,
        ErrorCode::ShuttingDown,
        ErrorCode::BadAnnouncement,
        ErrorCode::BadSignature,
        ErrorCode::OverQuota,
        ErrorCode::NoInvitation,
    ];
    for code in codes {
        let number = minicbor::to_vec(code).unwrap()[1];
        let name = code.to_string();
        let name = name.strip_suffix(" request").filter(|_| code == ErrorCode::Unsupported).unwrap_or(&name);
        assert!(SPEC.contains(&format!("| {number} | {name} |")), "{number} {name}");
    }
    let not_a_member = minicbor::to_vec(ErrorCode::NotAMember(NotAMember::Revoked)).unwrap();
    assert_eq!(not_a_member, [0x82, 14, 0x81, 4]);
    let members = include_str!("../../../docs/spec/membership.md");
    assert!(SPEC.contains("| 14 | not a member |") && members.contains("| certificate revoked | 4 |"));
}
