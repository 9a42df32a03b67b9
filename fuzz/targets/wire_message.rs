//! Messages on the wire. The first byte says which type is expected. What is read can be sent, is then read as the same, and is sent
//! the same again, so that nothing is told differently when it is passed on.

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use minicbor::{Decode, Encode};
use protocol::NodeKey;
use protocol::announcement::{AnnouncedStore, Announcement};
use protocol::frame;
use protocol::limits::MAX_FRAME_LEN;
use protocol::message::{
    Announce, Announcements, Bulk, Bytes16, Bytes32, CancelLease, Census, CensusReply, Done, ErrorCode, Expected, Flags, Found,
    FoundShare, HasLengths, HeldLease, Hello, Lease, LeaseAt, LeaseQuery, LeaseTerms, Leases, LeasesReply, Lookup, OldLeases, Put, PutDone, PutReply, PutSmall, PutSmallDone,
    ReadBlocks, ReadSlice, ReadTable, Reply, Request, Sample, SmallOutcome, SmallShare, Status, StoreState, StoreStatus, Subscribe, WireError,
};
use protocol::slot_message::{SlotRead, SlotReads, SlotStates};

fuzz_target!(init: sarsen_fuzz::sow(seeds()), |data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 14 {
        0 => check::<Request>(bytes),
        1 => check::<Reply<Hello>>(bytes),
        2 => check::<Reply<Status>>(bytes),
        3 => check::<Reply<Flags>>(bytes),
        4 => check::<Reply<PutReply>>(bytes),
        5 => check::<Reply<PutDone>>(bytes),
        6 => check::<Reply<Found>>(bytes),
        7 => check::<Reply<Bulk>>(bytes),
        8 => check::<Reply<Announcements>>(bytes),
        9 => check::<Reply<PutSmallDone>>(bytes),
        10 => check::<Reply<CensusReply>>(bytes),
        11 => check::<Reply<SlotStates>>(bytes),
        12 => check::<Reply<LeasesReply>>(bytes),
        _ => check::<Reply<Done>>(bytes),
    }
});

fn check<T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = frame::decode::<T>(bytes) else { return };
    let sent = frame::encode(&message);
    let (len, body) = sent.split_first_chunk().expect("a length stands in front");
    assert_eq!(u32::from_le_bytes(*len) as usize, body.len());
    assert!(body.len() <= MAX_FRAME_LEN as usize);
    let again = frame::decode::<T>(body).expect("what is sent can be read");
    assert_eq!(again, message);
    assert_eq!(frame::encode(&again), sent);
    assert!(frame::decode::<T>(&[body, &[0]].concat()).is_err(), "nothing may follow");
}

fn seed<T: Encode<()>>(kind: u8, message: T) -> Vec<u8> {
    [&[kind], &frame::encode(&message)[4..]].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let requests = requests().into_iter().map(|request| seed(0, request));
    requests.chain(replies()).collect()
}

fn announcement() -> protocol::announcement::Signed {
    let key = NodeKey::from_seed(&[1; 32]);
    let announcement = Announcement {
        server: key.id(),
        sequence: 1,
        issued_s: 1,
        expires_s: 2,
        addresses: vec!["[::1]:1".into()],
        nickname: "n".into(),
        zone: None,
        stores: vec![AnnouncedStore::new(&NodeKey::from_seed(&[2; 32]), 1, &key.id())],
        software: "s".into(),
        certificate: None,
    };
    announcement.sign(&key)
}

fn hello() -> Hello {
    Hello { major: 1, minor: 0, features: vec!["f".into()], software: "s".into(), certificate: None }
}

fn requests() -> Vec<Request> {
    let (hash, number) = (Bytes32([3; 32]), 2);
    let (tag, store) = (Bytes16([4; 16]), NodeKey::from_seed(&[2; 32]).id());
    let terms = LeaseTerms { tag, duration_s: Some(60) };
    vec![
        Request::Hello(hello()),
        Request::Status,
        Request::HasLengths(HasLengths { bucket: 7, lengths: vec![1, 1 << 40] }),
        Request::Put(Put {
            upload: tag,
            number,
            store,
            block_len: 1 << 18,
            len: Some(582),
            expected: Some(Expected { hash, nonce: hash }),
            lease: terms,
        }),
        Request::Lookup(Lookup { hash, inline: 4096 }),
        Request::ReadBlocks(ReadBlocks { hash, number, first: 0, count: 8 }),
        Request::ReadTable(ReadTable { hash, number, columns: vec![0, 1], first: 0, count: 9 }),
        Request::ReadSlice(ReadSlice { hash, number, segment: 5, start: 0, end: 100 }),
        Request::Lease(Lease { terms, hashes: vec![hash] }),
        Request::Census(Census { hashes: vec![hash] }),
        Request::CancelLease(CancelLease { tag, hashes: vec![hash, hash], only: Some(OldLeases { store, made_until_s: 7 }) }),
        Request::Leases(Leases { on: LeaseQuery::Of(vec![hash]), tag: Some(tag), after: None }),
        Request::Leases(Leases { on: LeaseQuery::All, tag: None, after: Some(LeaseAt { store: 0, hash, tag }) }),
        Request::Announce(Announce { announcement: announcement() }),
        Request::Subscribe(Subscribe { follow: true }),
        Request::Usage,
        Request::SlotReads(SlotReads {
            reads: vec![SlotRead { hash, store: Some(store), known: None, brief: true }; 2],
        }),
        Request::Sample(Sample { hash, number, chunks: vec![0, 3, 1 << 33] }),
        Request::PutSmall(PutSmall { store, shares: vec![SmallShare { len: 582, lease: terms }; 2] }),
    ]
}

fn replies() -> Vec<Vec<u8>> {
    let (hash, id) = (Bytes32([3; 32]), NodeKey::from_seed(&[2; 32]).id());
    let store =
        StoreStatus { id, incarnation: 1, state: StoreState::Writable, available: 9, used: 8, shares: 7, scrub: None };
    let status = Status {
        nickname: "n".into(),
        software: "s".into(),
        uptime_s: 1,
        stores: vec![store.clone(), store],
    };
    let share = FoundShare { number: 1, store: id, len: 582, inline: true };
    let error = WireError::new(ErrorCode::NoSpace, "the disk is full");
    let outcomes =
        vec![SmallOutcome::Stored(hash), SmallOutcome::Had(hash), SmallOutcome::Refused(error.clone())];
    vec![
        seed(1, Reply::Ok(hello())),
        seed(1, Reply::<Hello>::Err(error)),
        seed(2, Reply::Ok(status)),
        seed(3, Reply::Ok(Flags { flags: vec![true, false] })),
        seed(4, Reply::Ok(PutReply::Have(hash))),
        seed(4, Reply::Ok(PutReply::Go(1 << 18))),
        seed(5, Reply::Ok(PutDone { hash })),
        seed(6, Reply::Ok(Found { shares: vec![share], descriptor: Some(vec![1, 2, 3]) })),
        seed(7, Reply::Ok(Bulk { lens: vec![1, 2] })),
        seed(8, Reply::Ok(Announcements { list: vec![announcement()] })),
        seed(9, Reply::Ok(PutSmallDone { outcomes })),
        seed(11, Reply::Ok(LeasesReply {
            store: id,
            uptime_s: 9,
            leases: vec![HeldLease { hash, tag: Bytes16([4; 16]), made_s: 5, bytes: 582 }],
            next: Some(LeaseAt { store: 1, hash, tag: Bytes16([4; 16]) }),
        })),
        seed(12, Reply::Ok(Done {})),
    ]
}
