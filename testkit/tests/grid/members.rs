//! Who belongs to a grid: each reason to refuse is named, floods of invented servers get nothing, revocations arrive, codes work once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::membership::{InviteError, JoinError, Papers, await_guest, join, publish};
use client::{Client, GridView, Timeouts, UploadError};
use protocol::invitation::{Code, JoinAnswer, JoinRequest, Welcome};
use protocol::membership::{
    Certificate, LIFETIME_MAX, MembershipNews, NotAMember, Revocations, Revoked, Role, SignedCertificate,
    SignedRevocations,
};
use protocol::message::{
    Bytes16, Bytes32, Done, ErrorCode, Flags, Lease, LeaseTerms, Publish, Request, WireError,
};
use protocol::session::{RequestError, Session};
use protocol::transport::Connector;
use protocol::{Clock, NodeAddress, NodeId, NodeKey};
use storage_server::members::keep_informed;
use storage_server::{Admission, Members};
use testkit::disk::SimDisk;
use testkit::grid::{DISK, SimGrid};
use tokio::time::sleep;

use crate::support::{SECOND, noise, put, reads_back};

const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn owner() -> NodeKey {
    NodeKey::from_seed(&[200; 32])
}

/// A certificate for the 30 days from the grid's time on.
pub(crate) fn certificate(grid: &SimGrid, member: NodeId, role: Role, serial: u64) -> Certificate {
    let now = grid.clock.unix_time();
    Certificate {
        grid: owner().id(),
        member,
        role,
        serial,
        not_before_s: now.as_secs(),
        not_after_s: (now + LIFETIME_MAX).as_secs(),
        name: format!("member{serial}"),
        zone: (role == Role::Server).then(|| format!("zone{}", serial % 3)),
    }
}

fn revocations(sequence: u64, member: NodeId, through: u64) -> SignedRevocations {
    let revoked = vec![Revoked { member, through }];
    Revocations { grid: owner().id(), sequence, issued_s: 0, revoked }.sign(&owner())
}

/// Makes the first `count` servers certified ones that take members only; their papers' disks.
pub(crate) async fn closed(grid: &mut SimGrid, count: usize) -> Vec<SimDisk> {
    let mut disks = Vec::new();
    for index in 0..count {
        let disk = SimDisk::new(&format!("papers{index}"), DISK, grid.random.fork(&format!("papers{index}")));
        let id = grid.servers[index].key.id();
        grid.kill(index);
        let members = Members::open(owner().id(), id, disk.as_disk()).unwrap();
        grid.servers[index].admission = Admission::Members(members);
        let certificate = certificate(grid, id, Role::Server, index as u64);
        grid.servers[index].certificate = Some(certificate.sign(&owner()));
        grid.restart(index).await.unwrap();
        disks.push(disk);
    }
    disks
}

fn members(grid: &SimGrid, index: usize) -> Members {
    match &grid.servers[index].admission {
        Admission::Members(members) => members.clone(),
        other => panic!("it takes others: {other:?}"),
    }
}

/// A client of the owner's grid, with no certificate yet.
async fn joined(
    grid: &SimGrid,
    label: &str,
    shares: &str,
    change: impl FnOnce(&mut client::Settings),
) -> Client {
    let (mut settings, seams) = grid.client_parts(label, shares, Timeouts::default());
    settings.owner = Some(owner().id());
    change(&mut settings);
    let client = Client::new(settings, GridView::empty(), seams).unwrap();
    client.as_member(Papers::new(owner().id(), grid.client_host(label)));
    client.refresh().await;
    client
}

pub(crate) async fn tell(
    grid: &SimGrid,
    certificates: Vec<SignedCertificate>,
    revocations: Option<SignedRevocations>,
) {
    let connector: Arc<dyn Connector> = grid.net.connector(owner().id());
    let introducers = std::slice::from_ref(&grid.introducer);
    for (_, told) in publish(&connector, introducers, certificates, revocations, SECOND * 5).await {
        told.unwrap();
    }
}

/// What a server says to a lease that this account asks for, showing this.
async fn lease(
    grid: &SimGrid,
    index: usize,
    account: NodeId,
    shown: Option<SignedCertificate>,
) -> Result<(), WireError> {
    let server = &grid.servers[index];
    let address = std::slice::from_ref(&server.address);
    let connection = grid.net.connector(account).connect(server.key.id(), address).await.unwrap();
    let session = Session::start_as(connection, shown).await.unwrap();
    let terms = LeaseTerms { tag: Bytes16([1; 16]), duration_s: None };
    let request = Request::Lease(Lease { terms, hashes: vec![Bytes32([2; 32])] });
    match session.request::<Flags>(&request).await {
        Ok(_) => Ok(()),
        Err(RequestError::Refused(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_reason_is_named() {
    let mut grid = SimGrid::start(80, 1).await;
    closed(&mut grid, 1).await;
    let alice = NodeKey::from_seed(&[50; 32]).id();
    let good = certificate(&grid, alice, Role::Account, 20);
    let now = grid.clock.unix_time().as_secs();
    let dated = |from: u64, until: u64| {
        Certificate { not_before_s: from, not_after_s: until, ..good.clone() }.sign(&owner())
    };
    let mut bent = good.sign(&owner());
    bent.signature[0] ^= 1;
    let other_owner = NodeKey::from_seed(&[201; 32]);
    let others = Certificate { member: NodeKey::from_seed(&[51; 32]).id(), ..good.clone() };
    let foreign = Certificate { grid: other_owner.id(), ..good.clone() };
    let endless = dated(now, now + 31 * 86_400);
    let news = MembershipNews { certificate: None, revocations: Some(revocations(1, alice, 10)) };
    members(&grid, 0).learn(news).unwrap();
    let old = Certificate { serial: 10, ..good.clone() };
    let cases = [
        (None, NotAMember::NoCertificate, "only members of the grid"),
        (Some(bent), NotAMember::Forged, "signature does not hold"),
        (Some(foreign.sign(&other_owner)), NotAMember::Forged, "this grid's owner is"),
        (Some(others.sign(&owner())), NotAMember::Forged, "of another account"),
        (Some(endless), NotAMember::Forged, "signature does not hold"),
        (Some(dated(now - 9000, now - 3601)), NotAMember::Expired, "clock says 2026-01-01"),
        (Some(dated(now + 3700, now + 9000)), NotAMember::NotYetValid, "clock says 2026-01-01"),
        (Some(old.sign(&owner())), NotAMember::Revoked, "took it back"),
    ];
    for (shown, reason, word) in cases {
        let error = lease(&grid, 0, alice, shown).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NotAMember(reason), "{error}");
        assert!(error.message.contains(word) && error.to_string().contains(&reason.to_string()), "{error}");
    }
    lease(&grid, 0, alice, Some(good.sign(&owner()))).await.unwrap();
    // A server of the grid stores with others, too: it may hand on what it holds.
    let server = certificate(&grid, alice, Role::Server, 21);
    lease(&grid, 0, alice, Some(server.sign(&owner()))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn clocks_an_hour_off_do_no_harm_and_a_year_off_are_named() {
    let mut grid = SimGrid::start(81, 1).await;
    closed(&mut grid, 1).await;
    let alice = NodeKey::from_seed(&[50; 32]).id();
    let good = certificate(&grid, alice, Role::Account, 20).sign(&owner());
    let clock = grid.servers[0].clock.clone();
    clock.jump_ahead(SECOND * 3590);
    lease(&grid, 0, alice, Some(good.clone())).await.unwrap();
    clock.jump_back(SECOND * 3590 * 2);
    lease(&grid, 0, alice, Some(good.clone())).await.unwrap();
    clock.jump_ahead(SECOND * 3590 + DAY * 365);
    let error = lease(&grid, 0, alice, Some(good.clone())).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotAMember(NotAMember::Expired));
    assert!(
        error.message.contains("it ended at 2026-01-31") && error.message.contains("clock says 2027-01-01"),
        "{error}"
    );
    clock.jump_back(DAY * 730);
    let error = lease(&grid, 0, alice, Some(good)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotAMember(NotAMember::NotYetValid));
    assert!(
        error.message.contains("begins at 2026-01-01") && error.message.contains("clock says 2025-01-01"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn members_store_and_others_read() {
    let mut grid = SimGrid::start(82, 5).await;
    closed(&mut grid, 5).await;
    let data = noise(82, 200_000);
    let alice = grid.client_host("alice");
    tell(&grid, vec![certificate(&grid, alice, Role::Account, 20).sign(&owner())], None).await;
    let client = joined(&grid, "alice", "2/4/5", |_| ()).await;
    let report = put(&client, &data).await.unwrap();
    assert_eq!(report.happiness, 5);
    for size in [3_000, 200_000] {
        let stranger = joined(&grid, "stranger", "2/4/5", |_| ()).await;
        let error = put(&stranger, &noise(83, size)).await.unwrap_err();
        assert!(error.is_refusal() && error.not_a_member() == Some(NotAMember::NoCertificate), "{error:?}");
        reads_back(&stranger, &report.cap, &data).await;
    }
    // The certificate is renewed without a word from the member, from the third of its time on.
    grid.clock.jump_ahead(DAY * 5);
    tell(&grid, vec![certificate(&grid, alice, Role::Account, 21).sign(&owner())], None).await;
    client.refresh().await;
    assert_eq!(client.papers().unwrap().certificate().unwrap().serial, 20, "it is not asked for yet");
    grid.clock.jump_ahead(DAY * 6);
    client.refresh().await;
    assert_eq!(client.papers().unwrap().certificate().unwrap().serial, 21);
    // And one that was not renewed ends.
    grid.clock.jump_ahead(DAY * 30);
    let servers: Vec<usize> = (0..5).collect();
    for index in servers {
        grid.kill(index);
        let id = grid.servers[index].key.id();
        grid.servers[index].certificate = Some(certificate(&grid, id, Role::Server, 100).sign(&owner()));
        grid.restart(index).await.unwrap();
    }
    client.refresh().await;
    let error = put(&client, &noise(84, 3_000)).await.unwrap_err();
    assert_eq!(error.not_a_member(), Some(NotAMember::Expired), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_invented_servers_gets_no_share() {
    let mut grid = SimGrid::start(84, 5).await;
    closed(&mut grid, 5).await;
    // One of the grid's own says that it stands where the flood stands; its owner knows better.
    let flood = 100;
    for number in 0..flood {
        grid.add_server(Some(["zone0", "zone1", "elsewhere"][number % 3])).await;
    }
    // Some show what they have: another owner's word, that of a client, that of a member.
    let stranger = NodeKey::from_seed(&[201; 32]);
    let shown = [5, 6, 7].map(|index| (index, grid.servers[index].key.id()));
    for (index, id) in shown {
        let own = certificate(&grid, id, Role::Server, 40);
        grid.servers[index].certificate = Some(match index {
            5 => Certificate { grid: stranger.id(), ..own }.sign(&stranger),
            6 => Certificate { role: Role::Account, ..own }.sign(&owner()),
            _ => Certificate {
                not_before_s: own.not_before_s - 86_400 * 20,
                not_after_s: own.not_before_s - 7_200,
                ..own
            }
            .sign(&owner()),
        });
        grid.kill(index);
        grid.restart(index).await.unwrap();
    }
    let alice = grid.client_host("alice");
    tell(&grid, vec![certificate(&grid, alice, Role::Account, 20).sign(&owner())], None).await;
    let client = joined(&grid, "alice", "2/5/5", |_| ()).await;
    assert_eq!(client.grid().servers().len(), 5 + flood);
    for seed in 0..20 {
        let data = noise(seed, 5_000);
        let report = put(&client, &data).await.unwrap();
        assert_eq!(report.happiness, 5);
        for server in report.shares.values() {
            let index = grid.index_of(&server.id).unwrap();
            assert!(index < 5, "a share went to server{index}");
            assert_eq!(server.zone, Some(format!("zone{}", index % 3)), "by the owner's word");
        }
        reads_back(&client, &report.cap, &data).await;
    }
    // Of those that do not know the owner it gets nearly all: so the flood is one.
    grid.kill(0);
    let naive = grid.client("2/5/5").await;
    let report = put(&naive, &noise(1, 5_000)).await.unwrap();
    assert!(report.shares.values().any(|server| grid.index_of(&server.id).unwrap() >= 5));
    // What counts is what is left, and whoever the user pins beside it.
    let error = put(&client, &noise(30, 5_000)).await.unwrap_err();
    assert!(matches!(error, UploadError::NotHappy { happiness: 4, .. }), "{error:?}");
    let pinned = grid.servers[9].key.id();
    let pinning = joined(&grid, "alice", "2/5/5", |settings| settings.pinned = vec![pinned]).await;
    let report = put(&pinning, &noise(31, 5_000)).await.unwrap();
    assert!(report.shares.values().any(|server| server.id == pinned));
    // One of the grid's own that its owner let go is one of the flood.
    let gone = grid.servers[1].key.id();
    tell(&grid, Vec::new(), Some(revocations(9, gone, 1))).await;
    pinning.refresh().await;
    assert!(!pinning.counts(&pinning.grid().server(&gone)));
    let report = put(&pinning, &noise(33, 5_000)).await;
    assert!(matches!(report, Err(UploadError::NotHappy { happiness: 4, .. })), "{report:?}");
    // Nobody is left.
    grid.clock.jump_ahead(DAY * 31);
    let error = put(&client, &noise(32, 5_000)).await.unwrap_err();
    assert!(matches!(error, UploadError::NoneCounts { known: 105 }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn revocations_reach_the_servers_and_stay() {
    let mut grid = SimGrid::start(85, 3).await;
    let disks = closed(&mut grid, 3).await;
    let heard = Arc::new(AtomicUsize::new(0));
    for index in 0..3 {
        let connector: Arc<dyn Connector> = grid.net.connector(grid.servers[index].key.id());
        let heard = heard.clone();
        let changed = Arc::new(move || -> protocol::BoxFuture<'static, ()> {
            heard.fetch_add(1, Ordering::Relaxed);
            Box::pin(async {})
        });
        tokio::spawn(keep_informed(connector, grid.introducer.clone(), members(&grid, index), changed));
    }
    let alice = grid.client_host("alice");
    let good = certificate(&grid, alice, Role::Account, 20);
    // A server hears of its own certificate, too.
    let own = certificate(&grid, grid.servers[1].key.id(), Role::Server, 30);
    tell(&grid, vec![good.sign(&owner()), own.sign(&owner())], None).await;
    sleep(SECOND * 2).await;
    assert_eq!(heard.load(Ordering::Relaxed), 1);
    assert_eq!(members(&grid, 1).own(grid.clock.unix_time()), Ok(own));
    let client = joined(&grid, "alice", "1/3/3", |_| ()).await;
    put(&client, &noise(1, 5_000)).await.unwrap();

    // Only the owner publishes, whoever signed it.
    let list = revocations(2, alice, 20);
    let connection =
        grid.net.connector(alice).connect(grid.introducer.id, &["introducer:1".to_owned()]).await.unwrap();
    let session = Session::start(connection).await.unwrap();
    let request = Request::Publish(Publish { certificates: Vec::new(), revocations: Some(list.clone()) });
    let error = session.request::<Done>(&request).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, RequestError::Refused(error) if error.code == ErrorCode::NotAdmitted),
        "{error}"
    );
    put(&client, &noise(2, 5_000)).await.unwrap();

    tell(&grid, Vec::new(), Some(list)).await;
    sleep(SECOND * 2).await;
    let error = put(&client, &noise(3, 5_000)).await.unwrap_err();
    assert_eq!(error.not_a_member(), Some(NotAMember::Revoked), "{error:?}");
    // After a restart with no introducer, too.
    grid.net.host_down(grid.introducer.id);
    for (index, disk) in disks.iter().enumerate() {
        grid.kill(index);
        let members = Members::open(owner().id(), grid.servers[index].key.id(), disk.as_disk()).unwrap();
        grid.servers[index].admission = Admission::Members(members);
    }
    grid.net.host_up(grid.introducer.id);
    for index in 0..3 {
        grid.restart(index).await.unwrap();
        let error = lease(&grid, index, alice, Some(good.sign(&owner()))).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NotAMember(NotAMember::Revoked));
    }
    // Admitted anew, under a later serial.
    lease(&grid, 0, alice, Some(certificate(&grid, alice, Role::Account, 21).sign(&owner()))).await.unwrap();
}

async fn session_of(grid: &SimGrid, key: NodeId) -> Session {
    let address = std::slice::from_ref(&grid.introducer.host);
    Session::start(grid.net.connector(key).connect(grid.introducer.id, address).await.unwrap()).await.unwrap()
}

fn welcome(grid: &SimGrid, member: NodeId, introducer: &NodeAddress) -> JoinAnswer {
    let certificate = certificate(grid, member, Role::Account, 20).sign(&owner());
    let introducers = vec![introducer.to_string()];
    JoinAnswer::Welcome(Welcome {
        owner: owner().id(),
        certificate,
        introducers,
        needed: 1,
        happy: 1,
        total: 1,
    })
}

/// Invites under one code and joins under another; what becomes of both.
async fn meet(
    grid: &SimGrid,
    offered: &str,
    used: &str,
    introducer: &NodeAddress,
) -> (Result<bool, InviteError>, Result<Certificate, JoinError>, Result<(), JoinError>) {
    let (offered, used): (Code, Code) = (offered.parse().unwrap(), used.parse().unwrap());
    let inviting = session_of(grid, owner().id()).await;
    let joining = session_of(grid, NodeKey::from_seed(&[60; 32]).id()).await;
    let member = NodeKey::from_seed(&[61; 32]).id();
    let request = JoinRequest { member, role: Role::Account, name: "alice".into() };
    let (opened, is_open) = tokio::sync::oneshot::channel();
    let owner_side = async {
        let opened = || opened.send(()).unwrap();
        let decide = |request: JoinRequest| (welcome(grid, request.member, introducer), request.member);
        let answered = await_guest(&inviting, &offered, DAY, &*grid.random, opened, decide).await;
        answered.map(|answered| answered.delivered && answered.decided == member)
    };
    let guest_side = async {
        is_open.await.unwrap();
        let id = grid.introducer.id;
        let first = join(&joining, id, "introducer:1", &used, &request, &*grid.random).await;
        let second = join(&joining, id, "introducer:1", &offered, &request, &*grid.random).await;
        (first.map(|joined| joined.certificate), second.map(|_| ()))
    };
    let (invited, (first, second)) = tokio::join!(owner_side, guest_side);
    (invited, first, second)
}

#[tokio::test(start_paused = true)]
async fn a_code_works_once_and_only_as_it_is() {
    let grid = SimGrid::start(86, 0).await;
    let introducer = grid.introducer.clone();
    let (invited, joined, again) = meet(&grid, "7-oak-elm-fox", "7-oak-elm-fox", &introducer).await;
    assert!(invited.unwrap());
    assert_eq!(joined.unwrap().name, "member20");
    assert!(matches!(again, Err(JoinError::NoInvitation)), "{again:?}");

    let (invited, joined, again) = meet(&grid, "7-oak-elm-fox", "7-oak-elm-owl", &introducer).await;
    assert!(matches!(invited, Err(InviteError::Wrong(_))), "{invited:?}");
    assert!(matches!(joined, Err(JoinError::Wrong(_))), "{joined:?}");
    assert!(matches!(again, Err(JoinError::NoInvitation)), "burned: {again:?}");

    // Somebody who stands between the guest and the grid's introducer is found out by the key that the owner names.
    let other = NodeAddress { id: NodeKey::from_seed(&[62; 32]).id(), host: introducer.host.clone() };
    let (_, joined, _) = meet(&grid, "7-oak-elm-fox", "7-oak-elm-fox", &other).await;
    assert!(matches!(joined, Err(JoinError::Introducer { .. })), "{joined:?}");

    // Nobody comes: the time is over, and the channel free.
    let inviting = session_of(&grid, owner().id()).await;
    let code: Code = "7-oak-elm-fox".parse().unwrap();
    let decide = |_| (JoinAnswer::Refused(String::new()), ());
    let unused = await_guest(&inviting, &code, SECOND * 60, &*grid.random, || (), decide).await;
    assert!(matches!(unused, Err(InviteError::Unused)), "{unused:?}");
    let (invited, ..) = meet(&grid, "7-oak-elm-fox", "7-oak-elm-fox", &introducer).await;
    assert!(invited.unwrap());
}

#[tokio::test(start_paused = true)]
async fn mailboxes_are_bounded_and_go_with_whoever_opened_them() {
    let grid = SimGrid::start(87, 0).await;
    let owner_session = session_of(&grid, owner().id()).await;
    let mut waiting = tokio::task::JoinSet::new();
    for channel in 1..=8 {
        let (session, random) = (owner_session.clone(), grid.random.clone());
        let code: Code = format!("{channel}-oak-elm-fox").parse().unwrap();
        waiting.spawn(async move {
            let decide = |_| (JoinAnswer::Refused(String::new()), ());
            await_guest(&session, &code, DAY, &*random, || (), decide).await.map(|_| ())
        });
    }
    sleep(SECOND).await;
    // The same channel is taken, for this owner and for others.
    for key in [owner().id(), NodeKey::from_seed(&[63; 32]).id()] {
        let session = session_of(&grid, key).await;
        let code: Code = "3-owl-owl-owl".parse().unwrap();
        let decide = |_| (JoinAnswer::Refused(String::new()), ());
        let busy = await_guest(&session, &code, DAY, &*grid.random, || (), decide).await;
        assert!(matches!(busy, Err(InviteError::Busy(_))), "{busy:?}");
    }
    owner_session.connection().close();
    sleep(SECOND).await;
    let guest = session_of(&grid, NodeKey::from_seed(&[60; 32]).id()).await;
    let request =
        JoinRequest { member: NodeKey::from_seed(&[61; 32]).id(), role: Role::Account, name: "x".into() };
    let code: Code = "3-oak-elm-fox".parse().unwrap();
    let gone = join(&guest, grid.introducer.id, "introducer:1", &code, &request, &*grid.random).await;
    assert!(matches!(gone, Err(JoinError::NoInvitation)), "{gone:?}");
}
