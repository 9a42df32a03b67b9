//! Memberships at an introducer: whose they are, who is told, what outlives a restart.

use std::sync::Arc;

use introducer::MemoryKeep;
use protocol::membership::{Certificate, MembershipNews, Revocations, Revoked, Role, SignedCertificate};
use protocol::message::{AskMembership, Done, ErrorCode, Publish, Request};
use protocol::session::{RequestError, Session, read_reply};
use protocol::{NodeId, NodeKey};

use crate::harness::{NOW_S, Running, check_refused, key};

fn certificate(owner: &NodeKey, member: NodeId, serial: u64) -> SignedCertificate {
    let certificate = Certificate {
        grid: owner.id(),
        member,
        role: Role::Account,
        serial,
        not_before_s: NOW_S,
        not_after_s: NOW_S + 86_400,
        name: "alice".into(),
        zone: None,
    };
    certificate.sign(owner)
}

async fn publish(session: &Session, publish: Publish) -> Result<Done, RequestError> {
    session.request(&Request::Publish(publish)).await.map(|(done, _)| done)
}

fn only(certificate: SignedCertificate) -> Publish {
    Publish { certificates: vec![certificate], revocations: None }
}

async fn asked(running: &Running, by: &NodeKey, grid: NodeId) -> MembershipNews {
    let session = running.session(by).await;
    let ask = Request::Membership(AskMembership { grid, follow: false });
    session.request(&ask).await.unwrap().0
}

#[tokio::test]
async fn a_certificate_is_told_to_its_member_alone_and_outlives_a_restart() {
    let kept = Arc::new(MemoryKeep::default());
    let start = || {
        let kept = kept.clone();
        Running::start_with(Arc::new(MemoryKeep::default()), |parts| parts.members = kept)
    };
    let running = start();
    let (owner, alice, bob) = (key(10), key(11), key(12));
    let (first, second) = (certificate(&owner, alice.id(), 1), certificate(&owner, alice.id(), 2));
    let session = running.session(&owner).await;
    publish(&session, only(second.clone())).await.unwrap();
    publish(&session, only(first)).await.unwrap();
    assert_eq!(asked(&running, &alice, owner.id()).await.certificate, Some(second.clone()), "the newer one");
    assert_eq!(asked(&running, &bob, owner.id()).await, MembershipNews::default());
    assert_eq!(asked(&running, &alice, bob.id()).await, MembershipNews::default());
    // Somebody else brings what the owner signed, or the owner what somebody else did; and what nobody did.
    let others = running.session(&bob).await;
    check_refused(
        publish(&others, only(second.clone())).await,
        ErrorCode::NotAdmitted,
        "only a grid's owner",
    );
    let foreign = only(certificate(&bob, alice.id(), 9));
    check_refused(publish(&session, foreign).await, ErrorCode::NotAdmitted, "only a grid's owner");
    let mut bent = certificate(&owner, alice.id(), 9);
    bent.signature[5] ^= 1;
    check_refused(publish(&session, only(bent)).await, ErrorCode::BadRequest, "not to be believed");
    // What is dated far ahead would never give up its place.
    let issued_s = NOW_S + 2 * 86_400;
    let ahead = Revocations { grid: owner.id(), sequence: 1, issued_s, revoked: Vec::new() }.sign(&owner);
    let ahead = Publish { certificates: Vec::new(), revocations: Some(ahead) };
    check_refused(publish(&session, ahead).await, ErrorCode::BadRequest, "dated");

    running.stop().await;
    let running = start();
    assert_eq!(asked(&running, &alice, owner.id()).await.certificate, Some(second));
    // What the list names is passed on no more, and the list is.
    let revoked = vec![Revoked { member: alice.id(), through: 2 }];
    let list = Revocations { grid: owner.id(), sequence: 1, issued_s: NOW_S, revoked }.sign(&owner);
    let following = running.session(&alice).await;
    let ask = Request::Membership(AskMembership { grid: owner.id(), follow: true });
    let (_, mut stream) = following.request::<MembershipNews>(&ask).await.unwrap();
    let session = running.session(&owner).await;
    publish(&session, Publish { certificates: Vec::new(), revocations: Some(list.clone()) }).await.unwrap();
    let pushed: MembershipNews = read_reply(&mut stream).await.unwrap();
    assert_eq!(pushed, MembershipNews { certificate: None, revocations: Some(list) });
    publish(&session, only(certificate(&owner, alice.id(), 2))).await.unwrap();
    assert_eq!(asked(&running, &alice, owner.id()).await.certificate, None);
    publish(&session, only(certificate(&owner, alice.id(), 3))).await.unwrap();
    let pushed: MembershipNews = read_reply(&mut stream).await.unwrap();
    assert_eq!(pushed.certificate, Some(certificate(&owner, alice.id(), 3)));
    running.stop().await;
}

#[tokio::test]
async fn an_introducer_may_be_for_some_owners_only_and_has_room_for_so_many() {
    let (ours, others) = (key(10), key(13));
    let running = Running::start_with(Arc::new(MemoryKeep::default()), |parts| {
        parts.limits.owners = vec![ours.id()];
    });
    publish(&running.session(&ours).await, only(certificate(&ours, key(11).id(), 1))).await.unwrap();
    let session = running.session(&others).await;
    let refused = publish(&session, only(certificate(&others, key(11).id(), 1))).await;
    check_refused(refused, ErrorCode::NotAdmitted, "other grids");
    running.stop().await;

    let running = Running::start_with(Arc::new(MemoryKeep::default()), |parts| parts.limits.grids = 1);
    publish(&running.session(&ours).await, only(certificate(&ours, key(11).id(), 1))).await.unwrap();
    let session = running.session(&others).await;
    let refused = publish(&session, only(certificate(&others, key(11).id(), 1))).await;
    check_refused(refused, ErrorCode::Busy, "no room for more grids");
    // When all certificates of the first ended long ago, its place is free.
    running.clock.advance(62 * 86_400);
    publish(&session, only(certificate(&others, key(11).id(), 1))).await.unwrap();
    running.stop().await;
}
