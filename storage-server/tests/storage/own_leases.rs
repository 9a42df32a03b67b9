//! An account asks which leases it has, and lets go of old ones only.

use std::collections::BTreeSet;

use protocol::NodeId;
use protocol::message::{
    Bytes16, Bytes32, CancelLease, ErrorCode, Flags, Lease, LeaseAt, LeaseQuery, LeaseTerms, Leases,
    LeasesReply, OldLeases, Request,
};
use protocol::session::Session;
use storage_server::Admission;

use crate::objects::{Object, object, terms};
use crate::server::{Grid, code, session, start, stored};

fn hash(object: &Object) -> Bytes32 {
    Bytes32(*object.hash.as_bytes())
}

async fn lease(session: &Session, tag: [u8; 16], objects: &[&Object]) {
    let terms = LeaseTerms { tag: Bytes16(tag), duration_s: None };
    let hashes = objects.iter().map(|object| hash(object)).collect();
    session.request::<Flags>(&Request::Lease(Lease { terms, hashes })).await.unwrap();
}

async fn ask(session: &Session, on: LeaseQuery, tag: Option<[u8; 16]>) -> LeasesReply {
    let request = Leases { on, tag: tag.map(Bytes16), after: None };
    session.request(&Request::Leases(request)).await.unwrap().0
}

fn tags(reply: &LeasesReply) -> BTreeSet<([u8; 32], [u8; 16])> {
    reply.leases.iter().map(|lease| (lease.hash.0, lease.tag.0)).collect()
}

async fn cancel(grid: &Grid, session: &Session, of: &Object, made_until_s: u64) -> bool {
    let only = Some(OldLeases { store: grid.store.id(), made_until_s });
    let cancel = CancelLease { tag: terms().tag, hashes: vec![hash(of)], only };
    session.request::<Flags>(&Request::CancelLease(cancel)).await.unwrap().0.flags[0]
}

#[tokio::test(start_paused = true)]
async fn an_account_sees_its_own_leases_and_nobody_elses() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let objects = [object(1, 3000), object(2, 300_000)];
    for object in &objects {
        stored(&grid, &session, object, 0).await;
    }
    let stranger = Session::start(grid.listener.connect(NodeId::new([8; 32]))).await.unwrap();
    assert_eq!(ask(&stranger, LeaseQuery::All, None).await.leases, []);
    lease(&stranger, [9; 16], &[&objects[0]]).await;
    lease(&session, [5; 16], &[&objects[1]]).await;

    let all = ask(&session, LeaseQuery::All, None).await;
    let own = terms().tag.0;
    let (first, second) = (hash(&objects[0]).0, hash(&objects[1]).0);
    assert_eq!(tags(&all), BTreeSet::from([(first, own), (second, own), (second, [5; 16])]));
    assert_eq!((all.store, all.next), (grid.store.id(), None));
    let bytes: BTreeSet<u64> = all.leases.iter().map(|lease| lease.bytes).collect();
    assert_eq!(bytes, objects.iter().map(|object| object.shares[0].len() as u64).collect());
    assert_eq!(tags(&ask(&stranger, LeaseQuery::All, None).await), BTreeSet::from([(first, [9; 16])]));
    let of = |object: &Object| LeaseQuery::Of(vec![hash(object), hash(object)]);
    assert_eq!(tags(&ask(&session, of(&objects[0]), None).await), BTreeSet::from([(first, own)]));
    assert_eq!(
        tags(&ask(&session, LeaseQuery::All, Some([5; 16])).await),
        BTreeSet::from([(second, [5; 16])])
    );
    assert_eq!(ask(&stranger, of(&objects[1]), None).await.leases, []);
    // It goes on after any of them.
    let mut walked = Vec::new();
    let mut after = None;
    loop {
        let request = Request::Leases(Leases { on: LeaseQuery::All, tag: None, after });
        let (reply, _): (LeasesReply, _) = session.request(&request).await.unwrap();
        let Some(lease) = reply.leases.first() else { break };
        walked.push((lease.hash.0, lease.tag.0));
        after = Some(LeaseAt { store: 0, hash: lease.hash, tag: lease.tag });
    }
    assert_eq!(walked, tags(&all).into_iter().collect::<Vec<_>>());
    let nowhere = Some(LeaseAt { store: 1, hash: Bytes32([0; 32]), tag: Bytes16([0; 16]) });
    let refused = Request::Leases(Leases { on: LeaseQuery::All, tag: None, after: nowhere });
    assert_eq!(code(session.request::<LeasesReply>(&refused).await), ErrorCode::BadRequest);
}

#[tokio::test(start_paused = true)]
async fn what_was_renewed_since_it_was_listed_stays() {
    let grid = start(Admission::Open);
    let session = session(&grid).await;
    let object = object(1, 3000);
    stored(&grid, &session, &object, 0).await;
    grid.clock.0.store(100, std::sync::atomic::Ordering::SeqCst);
    let listed = ask(&session, LeaseQuery::All, None).await;
    assert_eq!((listed.uptime_s, listed.leases[0].made_s), (100, 0));
    lease(&session, terms().tag.0, &[&object]).await;
    assert!(!cancel(&grid, &session, &object, 0).await);
    assert!(!cancel(&grid, &session, &object, 99).await);
    let elsewhere = OldLeases { store: NodeId::new([66; 32]), made_until_s: u64::MAX };
    let elsewhere = CancelLease { tag: terms().tag, hashes: vec![hash(&object)], only: Some(elsewhere) };
    let refused = session.request::<Flags>(&Request::CancelLease(elsewhere)).await;
    assert_eq!(code(refused), ErrorCode::NotFound);
    assert_eq!(ask(&session, LeaseQuery::All, None).await.leases[0].made_s, 100);
    assert!(cancel(&grid, &session, &object, 100).await);
    assert_eq!(ask(&session, LeaseQuery::All, None).await.leases, []);
    assert_eq!(grid.store.audit().unwrap(), Vec::<String>::new());
}
