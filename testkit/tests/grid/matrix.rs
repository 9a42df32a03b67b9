//! Every request of the wire, asked by every account with every authority, of a server and of an introducer.

#[path = "matrix/ask.rs"]
mod ask;
#[path = "matrix/table.rs"]
mod table;

use caps::{Cap, SlotWrite, WriteKey};
use client::Timeouts;
use encoding::slot::{Ballot, Config, Member, Promise, Record, RecordHash, SignedRecord, SlotKey};
use encoding::{Descriptor, Sections};
use protocol::announcement::{Announcement, Signed};
use protocol::announcer::GOOD_FOR;
use protocol::limits::MAX_INLINE_SHARE;
use protocol::membership::{Revocations, Role, SignedCertificate};
use protocol::message::{
    Announce, AskMembership, Bytes16, Bytes32, CancelLease, Census, Flags, Found, HasLengths, HeldLease,
    Lease, LeaseQuery, LeaseTerms, Leases, LeasesReply, Letter, Lookup, OpenMailbox, Publish, Put, PutSmall,
    ReadBlocks, ReadSlice, ReadTable, Request, Sample, SmallShare, Subscribe, UseMailbox,
};
use protocol::session::{SOFTWARE, Session, our_hello};
use protocol::slot_message::{
    Held, RecordBytes, SlotAccept, SlotPrepare, SlotPromise, SlotRead, SlotReads, SlotState,
};
use protocol::{Clock, NodeKey};
use storage_server::Admission;
use testkit::grid::{SimGrid, seed_of};
use tokio::io::AsyncReadExt;

use crate::by_hand::{FOUR, store};
use crate::members::{certificate, closed, owner, tell};
use crate::support::{noise, put, reads_back};
use ask::ask;
use table::{Account, Authority, Cell, ROWS, Row, at_a_server, at_an_introducer};

const AUTHORITIES: [Authority; 5] =
    [Authority::None, Authority::Verify, Authority::Repair, Authority::Read, Authority::Write];
const ACCOUNTS: [Account; 3] = [Account::Owner, Account::Other, Account::Outsider];
/// What the owner's leases are tagged with, and those it has to spare.
const KEPT: Bytes16 = Bytes16([7; 16]);
const SPARE: Bytes16 = Bytes16([8; 16]);

/// A grid with an object and a slot of the owner's, and what those who ask may know of them.
struct Scene {
    grid: SimGrid,
    data: Vec<u8>,
    object: Cap,
    slot: SlotWrite,
    /// The number of the object's share at server 0, and its descriptor.
    number: u16,
    descriptor: Descriptor,
    /// A small share that server 0 does not have, and its number.
    share: Vec<u8>,
    share_number: u16,
    certificates: Vec<(Account, SignedCertificate)>,
    /// Counts the ballots tried at the slot.
    ballots: u64,
}

fn label(account: Account) -> &'static str {
    match account {
        Account::Owner => "alice",
        Account::Other => "bob",
        Account::Outsider => "mallory",
    }
}

impl Scene {
    async fn set(seed: u64, only_members: bool) -> Self {
        let mut grid = SimGrid::start(seed, 4).await;
        let alice = grid.client_of(label(Account::Owner), FOUR, Timeouts::default());
        alice.refresh().await;
        let data = noise(90, 200_000);
        let object = put(&alice, &data).await.unwrap().cap;
        let slot = alice.create_slot(false, |_, _| Sections::default()).await.unwrap().cap;
        let small = put(&alice, &noise(91, 3_000)).await.unwrap().cap;
        let (found, share) = lookup(&grid, 1, &small, MAX_INLINE_SHARE).await;
        let share_number = found.shares[0].number;
        let mut certificates = Vec::new();
        if only_members {
            closed(&mut grid, 4).await;
        }
        for (account, serial) in [(Account::Owner, 20), (Account::Other, 21)] {
            let id = grid.client_host(label(account));
            certificates.push((account, certificate(&grid, id, Role::Account, serial).sign(&owner())));
        }
        let all = certificates.iter().map(|(_, signed)| signed.clone()).collect();
        tell(&grid, all, None).await;
        let (number, descriptor) = found_at(&grid, 0, &object).await;
        let mut scene = Self {
            grid,
            data,
            object,
            slot,
            number,
            descriptor,
            share,
            share_number,
            certificates,
            ballots: 1000,
        };
        let hashes = vec![scene.object_hash(Authority::Read), scene.slot_hash(Authority::Read)];
        scene.lease_as_owner(KEPT, hashes).await;
        scene
    }

    fn key(&self, account: Account) -> NodeKey {
        NodeKey::from_seed(&seed_of(&self.grid.random, label(account)))
    }

    fn certificate(&self, account: Account) -> Option<SignedCertificate> {
        let mut found = self.certificates.iter().filter(|(whose, _)| *whose == account);
        found.next().map(|(_, signed)| signed.clone())
    }

    async fn at_server(&self, account: Account) -> Session {
        let server = &self.grid.servers[0];
        let connector = self.grid.net.connector(self.key(account).id());
        let connection =
            connector.connect(server.key.id(), std::slice::from_ref(&server.address)).await.unwrap();
        Session::start_as(connection, self.certificate(account)).await.unwrap()
    }

    async fn at_introducer(&self, account: Account) -> Session {
        let introducer = &self.grid.introducer;
        let connector = self.grid.net.connector(self.key(account).id());
        let connection =
            connector.connect(introducer.id, std::slice::from_ref(&introducer.host)).await.unwrap();
        Session::start(connection).await.unwrap()
    }

    async fn lease_as_owner(&mut self, tag: Bytes16, hashes: Vec<Bytes32>) {
        let terms = LeaseTerms { tag, duration_s: None };
        let session = self.at_server(Account::Owner).await;
        let (flags, _): (Flags, _) = session.request(&Request::Lease(Lease { terms, hashes })).await.unwrap();
        assert_eq!(flags.flags, [true, true][..flags.flags.len()]);
    }

    /// H of the object, by the cap of this authority; a guess without one.
    fn object_hash(&self, authority: Authority) -> Bytes32 {
        let Cap::ImmutableRead(read) = &self.object else { panic!("it is no object") };
        match authority {
            Authority::None => Bytes32([9; 32]),
            Authority::Verify => Bytes32(*read.to_verify().hash.as_bytes()),
            Authority::Repair | Authority::Read | Authority::Write => Bytes32(*read.hash.as_bytes()),
        }
    }

    /// H of the slot, by the cap of this authority; a guess without one.
    fn slot_hash(&self, authority: Authority) -> Bytes32 {
        let read = self.slot.to_read();
        Bytes32(match authority {
            Authority::None => [9; 32],
            Authority::Verify => *read.to_verify().hash.as_bytes(),
            Authority::Repair => *encoding::repair_slot(&read, &[0; 32]).hash.as_bytes(),
            Authority::Read => *read.hash.as_bytes(),
            Authority::Write => *self.slot.hash.as_bytes(),
        })
    }

    async fn held(&self) -> SignedRecord {
        let hash = self.slot_hash(Authority::Read);
        let ask = Request::SlotRead(SlotRead { hash, store: None, known: None, brief: false });
        let session = self.at_server(Account::Outsider).await;
        let (state, _): (SlotState, _) = session.request(&ask).await.unwrap();
        let Held::Record(record) = state.held else { panic!("the slot is gone") };
        SignedRecord::parse(&self.slot.hash, &record.0).unwrap()
    }

    /// The leases that an account has at server 0, of this tag.
    async fn leases(&self, account: Account, tag: Option<Bytes16>) -> Vec<HeldLease> {
        let ask = Request::Leases(Leases { on: LeaseQuery::All, tag, after: None });
        let (reply, _): (LeasesReply, _) = self.at_server(account).await.request(&ask).await.unwrap();
        assert!(reply.next.is_none());
        reply.leases
    }

    /// What whoever holds this of the slot can sign: with the slot's key, or with one of its own.
    fn signer(&self, authority: Authority, record: &SignedRecord) -> SlotKey {
        match authority {
            Authority::Write => SlotKey::of(&self.slot.key, record.id.salt, record.id.genesis),
            _ => self.own_slot().0,
        }
    }

    /// A slot that whoever asks made up, and its first record.
    fn own_slot(&self) -> (SlotKey, SignedRecord) {
        let at = &self.grid.servers[0].server().unwrap().status().stores[0];
        let mut salt = [2; 32];
        salt[..8].copy_from_slice(&self.ballots.to_le_bytes());
        let config = Config {
            members: vec![Member { store: *at.id.as_bytes(), incarnation: at.incarnation }],
            quorum: 1,
        };
        let write = WriteKey::new([66; 16]);
        let key = SlotKey::create(&write, salt, &config);
        let sections = Sections::default();
        let payload =
            encoding::seal_slot(&write.read_key(), &salt, &key.hash(), &sections, &[7; 48]).unwrap();
        let record = Record {
            id: key.id().clone(),
            ballot: ballot(1),
            config,
            old: None,
            previous: RecordHash::default(),
            tombstone: false,
            forced: false,
            next: None,
            payload,
        };
        let signed = record.sign(&key);
        (key, signed)
    }

    /// The next record of the slot, as well as this authority can make it.
    fn successor(&self, authority: Authority, held: &SignedRecord) -> Vec<u8> {
        let next = Record {
            ballot: ballot(self.ballots),
            previous: held.hash(),
            next: None,
            ..held.record().clone()
        };
        let key = SlotKey::of(&self.slot.key, held.id.salt, held.id.genesis);
        let mut bytes = next.sign(&key).bytes().to_vec();
        match authority {
            Authority::None => self.own_slot().1.bytes().to_vec(),
            Authority::Write => bytes,
            _ => {
                // All but the signature, which ends the record, is public.
                *bytes.last_mut().unwrap() ^= 1;
                bytes
            }
        }
    }

    /// A request as well as this account can make it with this authority, and what follows it.
    fn form(
        &self,
        row: Row,
        authority: Authority,
        account: Account,
        held: &SignedRecord,
    ) -> (Request, Vec<u8>) {
        let hash = self.object_hash(authority);
        let number = self.number;
        let slot = SlotRead { hash: self.slot_hash(authority), store: None, known: None, brief: false };
        // Whoever knows the owner's tag renews and cancels under it; the owner risks only what it has to spare.
        let tag = if account == Account::Owner { SPARE } else { KEPT };
        let terms = LeaseTerms { tag, duration_s: None };
        let request = match row {
            Row::Hello => Request::Hello(our_hello()),
            Row::Status => Request::Status,
            Row::Usage => Request::Usage,
            Row::HasLengths => Request::HasLengths(self.lengths(authority)),
            Row::Lookup => Request::Lookup(Lookup { hash, inline: 0 }),
            Row::Census => Request::Census(Census { hashes: vec![hash] }),
            Row::ReadBlocks => Request::ReadBlocks(ReadBlocks { hash, number, first: 0, count: 1 }),
            Row::ReadTable => {
                Request::ReadTable(ReadTable { hash, number, columns: vec![number], first: 0, count: 1 })
            }
            Row::ReadSlice => Request::ReadSlice(ReadSlice { hash, number, segment: 0, start: 0, end: 1024 }),
            Row::Sample => Request::Sample(Sample { hash, number, chunks: vec![0, 5] }),
            Row::CancelLease => {
                Request::CancelLease(CancelLease { tag, hashes: vec![hash, slot.hash], only: None })
            }
            Row::Leases => {
                let on = LeaseQuery::Of(vec![hash, slot.hash]);
                Request::Leases(Leases { on, tag: None, after: None })
            }
            Row::Lease => Request::Lease(Lease { terms, hashes: vec![hash, slot.hash] }),
            Row::Put => return (Request::Put(self.put(authority, account, terms)), self.share.clone()),
            Row::PutSmall => {
                let shares = vec![SmallShare { len: self.share.len() as u32, lease: terms }];
                let put = PutSmall { store: store(&self.grid, 0), shares };
                return (Request::PutSmall(put), self.share.clone());
            }
            Row::SlotRead => Request::SlotRead(slot),
            Row::SlotReads => Request::SlotReads(SlotReads { reads: vec![slot] }),
            Row::SlotPrepare
            | Row::SlotReplay
            | Row::SlotAccept
            | Row::SlotAcceptLeased
            | Row::SlotMake
            | Row::SlotMakeLeased => self.form_slot(row, authority, terms, held),
            _ => self.form_news(row, account),
        };
        (request, Vec::new())
    }

    fn lengths(&self, authority: Authority) -> HasLengths {
        match authority {
            Authority::None => HasLengths { bucket: self.descriptor.bucket.0, lengths: vec![77] },
            _ => HasLengths {
                bucket: self.descriptor.bucket.0,
                lengths: vec![self.descriptor.geometry.ciphertext_len()],
            },
        }
    }

    fn put(&self, authority: Authority, account: Account, lease: LeaseTerms) -> Put {
        Put {
            upload: Bytes16([authority as u8 * 16 + account as u8; 16]),
            number: self.share_number,
            store: store(&self.grid, 0),
            block_len: encoding::BLOCK_LEN,
            len: Some(self.share.len() as u64),
            expected: None,
            lease,
        }
    }

    fn form_slot(&self, row: Row, authority: Authority, terms: LeaseTerms, held: &SignedRecord) -> Request {
        let (hash, store) = (self.slot_hash(authority), store(&self.grid, 0));
        if row == Row::SlotPrepare {
            let signed = Promise::sign(&self.signer(authority, held), ballot(self.ballots));
            let promise =
                SlotPromise { ballot: Bytes32(signed.ballot.to_bytes()), signature: signed.signature };
            return Request::SlotPrepare(SlotPrepare { hash, store, promise, record: None, known: None });
        }
        let lease = matches!(row, Row::SlotAcceptLeased | Row::SlotMakeLeased).then_some(terms);
        if matches!(row, Row::SlotMake | Row::SlotMakeLeased) {
            let (key, record) = self.own_slot();
            let hash = Bytes32(*key.hash().as_bytes());
            let record = RecordBytes(record.bytes().to_vec());
            return Request::SlotAccept(SlotAccept { hash, store, record, lease });
        }
        let record = match row {
            Row::SlotReplay if authority != Authority::None => held.bytes().to_vec(),
            _ => self.successor(authority, held),
        };
        Request::SlotAccept(SlotAccept { hash, store, record: RecordBytes(record), lease })
    }

    fn form_news(&self, row: Row, account: Account) -> Request {
        let own = self.key(account);
        match row {
            Row::Announce => {
                Request::Announce(Announce { announcement: self.announcement(&own, self.ballots) })
            }
            Row::AnnounceAnother => {
                Request::Announce(Announce { announcement: (*self.grid.announcements()[0]).clone() })
            }
            Row::Subscribe => Request::Subscribe(Subscribe { follow: false }),
            Row::Publish => Request::Publish(Publish {
                certificates: self.certificates.iter().map(|(_, signed)| signed.clone()).collect(),
                revocations: None,
            }),
            Row::PublishForged => {
                let list = Revocations { grid: own.id(), sequence: 9, issued_s: 0, revoked: Vec::new() };
                let mut forged = list.sign(&own);
                let list = Revocations { grid: owner().id(), ..list };
                forged.payload = list.sign(&owner()).payload;
                Request::Publish(Publish { certificates: Vec::new(), revocations: Some(forged) })
            }
            Row::Membership => Request::Membership(AskMembership { grid: owner().id(), follow: false }),
            Row::OpenMailbox => Request::OpenMailbox(OpenMailbox {
                channel: 1000 + self.ballots as u16,
                lifetime_s: 60,
                letter: Letter { bytes: vec![1] },
            }),
            Row::UseMailbox => Request::UseMailbox(UseMailbox { channel: 1 }),
            other => panic!("{other:?} is not for introducers"),
        }
    }

    fn announcement(&self, key: &NodeKey, sequence: u64) -> Signed {
        let now = self.grid.clock.unix_time();
        Announcement {
            server: key.id(),
            sequence,
            issued_s: now.as_secs(),
            expires_s: (now + GOOD_FOR).as_secs(),
            addresses: vec!["nowhere:1".to_owned()],
            nickname: String::new(),
            zone: None,
            stores: Vec::new(),
            software: SOFTWARE.to_owned(),
            certificate: None,
        }
        .sign(key)
    }

    /// Lets go what whoever asked has leased by asking.
    async fn clean(&self, account: Account) {
        let tag = if account == Account::Owner { SPARE } else { KEPT };
        let session = self.at_server(account).await;
        let leases = self.leases(account, Some(tag)).await;
        if leases.is_empty() {
            return;
        }
        let hashes = leases.iter().map(|lease| lease.hash).collect();
        let cancel = Request::CancelLease(CancelLease { tag, hashes, only: None });
        assert_eq!(ask(&session, &cancel, &[]).await, Cell::Yes);
    }
}

fn ballot(counter: u64) -> Ballot {
    Ballot { epoch: 0, counter, random: [7; 16] }
}

async fn lookup(grid: &SimGrid, index: usize, cap: &Cap, inline: u32) -> (Found, Vec<u8>) {
    let server = &grid.servers[index];
    let connector = grid.net.connector(NodeKey::from_seed(&[66; 32]).id());
    let connection = connector.connect(server.key.id(), std::slice::from_ref(&server.address)).await.unwrap();
    let session = Session::start(connection).await.unwrap();
    let hash = Bytes32(*cap.verify_hash().unwrap().as_bytes());
    let ask = Request::Lookup(Lookup { hash, inline });
    let (found, mut stream) = session.request::<Found>(&ask).await.unwrap();
    let mut bytes = Vec::new();
    stream.recv.read_to_end(&mut bytes).await.unwrap();
    (found, bytes)
}

async fn found_at(grid: &SimGrid, index: usize, cap: &Cap) -> (u16, Descriptor) {
    let (found, _) = lookup(grid, index, cap, 0).await;
    (found.shares[0].number, Descriptor::parse(&found.descriptor.unwrap()).unwrap())
}

/// Every cell, and that nothing changed but by whom the table lets.
async fn matrix(seed: u64, closed: bool) {
    let mut scene = Scene::set(seed, closed).await;
    assert_eq!(matches!(scene.grid.servers[0].admission, Admission::Members(_)), closed);
    let kept = scene.leases(Account::Owner, Some(KEPT)).await;
    assert_eq!(kept.len(), 2);
    let mut wrong = Vec::new();
    for account in ACCOUNTS {
        for authority in AUTHORITIES {
            if account == Account::Owner {
                scene.lease_as_owner(SPARE, vec![scene.object_hash(Authority::Read)]).await;
            }
            let (server, introducer) = (scene.at_server(account).await, scene.at_introducer(account).await);
            let before = scene.held().await.hash();
            for row in ROWS.iter().copied() {
                scene.ballots += 1;
                let held = scene.held().await;
                let (request, body) = scene.form(row, authority, account, &held);
                assert_eq!(Row::of(&request), row.plain());
                let cells = [
                    (ask(&server, &request, &body).await, at_a_server(row, authority, account, closed)),
                    (ask(&introducer, &request, &body).await, at_an_introducer(row, account)),
                ];
                for (who, (said, listed)) in ["server", "introducer"].iter().zip(cells) {
                    if said != listed {
                        wrong.push(format!(
                            "{row:?} by {account:?} with {authority:?} at the {who}: {said:?}, not {listed:?}"
                        ));
                    }
                }
            }
            if authority != Authority::Write {
                assert_eq!(
                    scene.held().await.hash(),
                    before,
                    "{account:?} with {authority:?} changed the slot"
                );
            }
            assert_eq!(
                scene.leases(Account::Owner, Some(KEPT)).await,
                kept,
                "{account:?} with {authority:?}"
            );
            scene.clean(account).await;
        }
    }
    assert!(wrong.is_empty(), "{} cells differ:\n{}", wrong.len(), wrong.join("\n"));
    for account in [Account::Other, Account::Outsider] {
        assert_eq!(scene.leases(account, None).await, [], "{account:?} has what it let go");
    }
    reads_back(&scene.grid.client(FOUR).await, &scene.object, &scene.data).await;
    for store in scene.grid.servers[0].server().unwrap().stores() {
        assert_eq!(store.audit().unwrap(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn only_listed_cells_succeed_where_members_store() {
    matrix(95, true).await;
}

#[tokio::test(start_paused = true)]
async fn only_listed_cells_succeed_where_anybody_stores() {
    matrix(96, false).await;
}
