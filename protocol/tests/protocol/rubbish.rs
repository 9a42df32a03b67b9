//! Whatever arrives, nothing panics, and what was read is written back as it was.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use protocol::announcement::{Announcement, Signed};
use protocol::message::{
    Announce, Announcements, Bulk, Bytes16, Bytes32, CancelLease, Census, Done, ErrorCode, Expected, Flags,
    Found, FoundShare, HasLengths, Hello, Lease, LeaseAt, LeaseQuery, LeaseTerms, Leases, LeasesReply,
    Lookup, OldLeases, Put, PutDone, PutReply, PutSmall, PutSmallDone, ReadBlocks, ReadSlice, ReadTable,
    Reply, Request, Sample, Scrubbed, SmallOutcome, SmallShare, Status, StoreState, StoreStatus, Subscribe,
    WireError,
};
use protocol::slot_message::{SlotRead, SlotReads};
use protocol::{NodeAddress, NodeId, frame};

fn bytes32() -> impl Strategy<Value = Bytes32> {
    any::<[u8; 32]>().prop_map(Bytes32)
}

fn bytes16() -> impl Strategy<Value = Bytes16> {
    any::<[u8; 16]>().prop_map(Bytes16)
}

fn node() -> impl Strategy<Value = NodeId> {
    any::<[u8; 32]>().prop_map(NodeId::new)
}

fn terms() -> impl Strategy<Value = LeaseTerms> {
    (bytes16(), any::<Option<u64>>()).prop_map(|(tag, duration_s)| LeaseTerms { tag, duration_s })
}

fn signed() -> impl Strategy<Value = Signed> {
    let signature = prop::collection::vec(any::<u8>(), 64).prop_map(|bytes| bytes.try_into().unwrap());
    (any::<Vec<u8>>(), signature).prop_map(|(payload, signature)| Signed { payload, signature })
}

fn put() -> impl Strategy<Value = Put> {
    let expected = prop::option::of((bytes32(), bytes32()));
    let expected = expected.prop_map(|both| both.map(|(hash, nonce)| Expected { hash, nonce }));
    (bytes16(), any::<u16>(), node(), any::<u32>(), any::<Option<u64>>(), expected, terms()).prop_map(
        |(upload, number, store, block_len, len, expected, lease)| Put {
            upload,
            number,
            store,
            block_len,
            len,
            expected,
            lease,
        },
    )
}

fn put_small() -> impl Strategy<Value = PutSmall> {
    let share = (any::<u32>(), terms()).prop_map(|(len, lease)| SmallShare { len, lease });
    (node(), prop::collection::vec(share, 0..20)).prop_map(|(store, shares)| PutSmall { store, shares })
}

fn request() -> impl Strategy<Value = Request> {
    let hashes = || prop::collection::vec(bytes32(), 0..20);
    prop_oneof![
        (any::<(u16, u16)>(), prop::collection::vec(any::<String>(), 0..=64), any::<String>()).prop_map(
            |((major, minor), features, software)| Request::Hello(Hello {
                major,
                minor,
                features,
                software,
                certificate: None
            })
        ),
        Just(Request::Status),
        any::<(u16, Vec<u64>)>()
            .prop_map(|(bucket, lengths)| Request::HasLengths(HasLengths { bucket, lengths })),
        put().prop_map(Request::Put),
        (bytes32(), any::<u32>()).prop_map(|(hash, inline)| Request::Lookup(Lookup { hash, inline })),
        (bytes32(), any::<(u16, u64, u32)>()).prop_map(|(hash, (number, first, count))| {
            Request::ReadBlocks(ReadBlocks { hash, number, first, count })
        }),
        (bytes32(), any::<(u16, Vec<u16>, u64, u64)>()).prop_map(
            |(hash, (number, columns, first, count))| {
                Request::ReadTable(ReadTable { hash, number, columns, first, count })
            }
        ),
        (bytes32(), any::<(u16, u64, u32, u32)>()).prop_map(|(hash, (number, segment, start, end))| {
            Request::ReadSlice(ReadSlice { hash, number, segment, start, end })
        }),
        (bytes32(), any::<(u16, Vec<u64>)>()).prop_map(|(hash, (number, chunks))| Request::Sample(Sample {
            hash,
            number,
            chunks
        })),
        (terms(), hashes()).prop_map(|(terms, hashes)| Request::Lease(Lease { terms, hashes })),
        hashes().prop_map(|hashes| Request::Census(Census { hashes })),
        (bytes16(), hashes(), prop::option::of((node(), any::<u64>()))).prop_map(|(tag, hashes, only)| {
            let only = only.map(|(store, made_until_s)| OldLeases { store, made_until_s });
            Request::CancelLease(CancelLease { tag, hashes, only })
        }),
        (hashes(), prop::option::of(bytes16())).prop_map(|(hashes, tag)| {
            let after = hashes.first().zip(tag).map(|(hash, tag)| LeaseAt { store: 1, hash: *hash, tag });
            let on = if hashes.is_empty() { LeaseQuery::All } else { LeaseQuery::Of(hashes) };
            Request::Leases(Leases { on, tag, after })
        }),
        signed().prop_map(|announcement| Request::Announce(Announce { announcement })),
        any::<bool>().prop_map(|follow| Request::Subscribe(Subscribe { follow })),
        put_small().prop_map(Request::PutSmall),
        prop::collection::vec((bytes32(), any::<bool>()), 0..=64).prop_map(|reads| {
            let read = |(hash, brief): (_, bool)| SlotRead {
                hash,
                store: None,
                known: brief.then_some(hash),
                brief,
            };
            Request::SlotReads(SlotReads { reads: reads.into_iter().map(read).collect() })
        }),
    ]
}

fn check_round_trip<T>(message: &T)
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()> + PartialEq + std::fmt::Debug,
{
    let bytes = minicbor::to_vec(message).unwrap();
    assert_eq!(&frame::decode::<T>(&bytes).unwrap(), message);
    for len in 0..bytes.len().min(300) {
        assert!(frame::decode::<T>(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
    }
}

proptest! {
    #[test]
    fn requests_round_trip(request in request()) {
        check_round_trip(&request);
    }

    #[test]
    fn bytes_never_panic(bytes in any::<Vec<u8>>(), text in any::<String>()) {
        read_everything(&bytes, &text);
    }

    /// Rubbish that begins well goes deeper.
    #[test]
    fn changed_requests_never_panic(request in request(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = minicbor::to_vec(&request).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read_everything(&bytes, &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn addresses_never_panic(text in "sarsen://[a-z2-7]{50,53}@.{0,20}:[0-9]{0,6}") {
        if let Ok(address) = text.parse::<NodeAddress>() {
            prop_assert_eq!(address.to_string(), text);
        }
    }
}

fn read_everything(bytes: &[u8], text: &str) {
    let _ = frame::decode::<Request>(bytes);
    let _ = frame::decode::<Reply<Found>>(bytes);
    let _ = frame::decode::<Reply<Announcements>>(bytes);
    let _ = frame::decode::<Reply<PutSmallDone>>(bytes);
    let _ = frame::decode::<Reply<LeasesReply>>(bytes);
    let _ = frame::decode::<Announcement>(bytes);
    if let Ok(signed) = frame::decode::<Signed>(bytes) {
        let _ = signed.open_fresh(Duration::from_secs(1));
    }
    let _ = Signed { payload: bytes.to_vec(), signature: [0; 64] }.open();
    let _ = text.parse::<NodeAddress>();
    let _ = text.parse::<NodeId>();
}

#[test]
fn answers_round_trip() {
    let (id, hash) = (NodeId::new([1; 32]), Bytes32([2; 32]));
    let state = |state| StoreStatus {
        id,
        incarnation: 1,
        state,
        available: 2,
        used: 3,
        shares: u64::MAX,
        scrub: Some(Scrubbed { finished_s: Some(4), ..Scrubbed::default() }),
    };
    let stores = [StoreState::Writable, StoreState::ReadOnly, StoreState::Failed, StoreState::Failing]
        .map(state)
        .to_vec();
    check_round_trip(&Reply::Ok(Status { nickname: "n".into(), software: "s".into(), uptime_s: 9, stores }));
    check_round_trip(&Reply::Ok(Flags { flags: vec![true, false] }));
    check_round_trip(&Reply::Ok(PutReply::Have(hash)));
    check_round_trip(&Reply::Ok(PutReply::Go(u64::MAX)));
    check_round_trip(&Reply::Ok(PutDone { hash }));
    let refused = WireError::new(ErrorCode::Corrupt, "no share");
    let outcomes = vec![SmallOutcome::Stored(hash), SmallOutcome::Had(hash), SmallOutcome::Refused(refused)];
    check_round_trip(&Reply::Ok(PutSmallDone { outcomes }));
    let shares = vec![FoundShare { number: 255, store: id, len: 1 << 46, inline: true }];
    check_round_trip(&Reply::Ok(Found { shares, descriptor: None }));
    check_round_trip(&Reply::Ok(Found { shares: Vec::new(), descriptor: Some(vec![1, 2, 3]) }));
    check_round_trip(&Reply::Ok(Bulk { lens: vec![0, 1 << 40] }));
    check_round_trip(&Reply::Ok(Done {}));
    check_round_trip(&Reply::<Done>::Err(WireError::new(ErrorCode::BadAnnouncement, "no")));
}

#[test]
fn an_error_message_is_cut_to_its_bound_between_characters() {
    let error = WireError::new(ErrorCode::Busy, "\u{2026}".repeat(200));
    assert_eq!(error.message.chars().count(), 170);
}

#[test]
fn stated_lengths_are_not_believed() {
    // Lists and strings of 2^56 items, in 20 bytes: refused at once, with no room made for them.
    let begun = Instant::now();
    for head in [0x9b_u8, 0x5b, 0x7b, 0xbb] {
        let huge = [&[0x82, 2, 0x81, 0x82, 0, head, 0][..], &[255; 7], &[0, 0]].concat();
        assert!(frame::decode::<Request>(&huge).is_err());
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn lists_and_texts_are_bounded_before_they_cost_anything() {
    let hello = |features| {
        Request::Hello(Hello { major: 1, minor: 0, features, software: String::new(), certificate: None })
    };
    let fits = minicbor::to_vec(hello(vec![String::new(); 64])).unwrap();
    assert!(frame::decode::<Request>(&fits).is_ok());
    // A million empty strings would be 24 MB once read.
    let crowded = minicbor::to_vec(hello(vec![String::new(); 1_000_000])).unwrap();
    assert!(frame::decode::<Request>(&crowded).is_err());

    let rude = WireError {
        code: ErrorCode::Busy,
        message: format!("\u{1b}]52;c;cm0gLXJm\u{7}{}", "x".repeat(2000)),
    };
    let read: WireError = frame::decode(&minicbor::to_vec(&rude).unwrap()).unwrap();
    assert!(read.message.len() <= 512 && !read.message.chars().any(char::is_control), "{}", read.message);
}

#[test]
fn small_shares_are_few_short_and_not_too_long_together() {
    let lease = LeaseTerms { tag: Bytes16([1; 16]), duration_s: None };
    let body = |lens: &[u32]| {
        let shares = lens.iter().map(|len| SmallShare { len: *len, lease }).collect();
        PutSmall { store: NodeId::new([1; 32]), shares }.body_len()
    };
    assert_eq!(body(&[1]), Some(1));
    assert_eq!(body(&[65_536; 12]), Some(786_432));
    assert_eq!(body(&[1; 512]), Some(512));
    for lens in [&[][..], &[0], &[5, 0], &[65_537], &[u32::MAX; 512], &[1; 513], &[60_495; 13]] {
        assert_eq!(body(lens), None);
    }
    let crowded = PutSmall { store: NodeId::new([1; 32]), shares: vec![SmallShare { len: 1, lease }; 513] };
    let bytes = minicbor::to_vec(Request::PutSmall(crowded)).unwrap();
    assert!(frame::decode::<Request>(&bytes).is_err(), "refused before its items are read");
}
