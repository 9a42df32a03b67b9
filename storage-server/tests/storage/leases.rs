//! What leases are charged for, and that no counter ever differs from what it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use protocol::NodeId;
use protocol::message::{Bytes16, LeaseTerms};
use storage_server::Store;

use crate::collect::{Setup, sound, tidy};
use crate::crash_disk::CrashDisk;
use crate::objects::{Object, feed, inline, now, object, put_of};

const DAY: u64 = 24 * 3600;
/// Of these objects everything is made: two small ones and two large ones, with four shares each.
const LENS: [usize; 4] = [1000, 3000, 130_000, 140_000];

#[derive(Clone, Debug)]
enum Step {
    Put { object: usize, number: u16, lease: Reason },
    Lease { objects: Vec<usize>, lease: Reason },
    Cancel { objects: Vec<usize>, lease: Reason },
    Pass { days: u64 },
    Reopen,
}

/// Whose lease it is, which of them, and for how many days.
#[derive(Clone, Copy, Debug)]
struct Reason {
    account: u8,
    tag: u8,
    days: Option<u64>,
}

impl Reason {
    fn account(self) -> NodeId {
        NodeId::new([self.account + 1; 32])
    }

    fn terms(self) -> LeaseTerms {
        LeaseTerms { tag: Bytes16([self.tag; 16]), duration_s: self.days.map(|days| days * DAY) }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reason = (0u8..3, 0u8..2, proptest::option::of(1u64..20)).prop_map(|(account, tag, days)| Reason {
        account,
        tag,
        days,
    });
    let objects = || proptest::collection::vec(0..LENS.len(), 1..4);
    let step = prop_oneof![
        4 => (0..LENS.len(), 0u16..4, reason.clone())
            .prop_map(|(object, number, lease)| Step::Put { object, number, lease }),
        2 => (objects(), reason.clone()).prop_map(|(objects, lease)| Step::Lease { objects, lease }),
        3 => (objects(), reason).prop_map(|(objects, lease)| Step::Cancel { objects, lease }),
        2 => (1u64..8).prop_map(|days| Step::Pass { days }),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What a store should hold, told as simply as can be.
#[derive(Default)]
struct Model {
    day: u64,
    shares: BTreeSet<(usize, u16)>,
    /// Object, account and tag; the day it ends.
    leases: BTreeMap<(usize, u8, u8), u64>,
    /// The day an object was last leased.
    leased: BTreeMap<usize, u64>,
}

impl Model {
    fn lease(&mut self, object: usize, lease: Reason) {
        if self.shares.iter().any(|(of, _)| *of == object) {
            let ends = lease.days.map_or(u64::MAX, |days| self.day + days);
            self.leases.insert((object, lease.account, lease.tag), ends);
        }
        self.note();
    }

    fn note(&mut self) {
        let leased = self.leases.keys().map(|(object, ..)| (*object, self.day));
        self.leased.extend(leased.collect::<Vec<_>>());
    }

    /// A day passes, and what is over is tidied up.
    fn pass(&mut self) {
        self.day += 1;
        let day = self.day;
        self.note();
        self.leases.retain(|_, ends| *ends > day);
        let (leases, leased) = (&self.leases, &self.leased);
        self.shares.retain(|(object, _)| {
            let is_leased = leases.keys().any(|(of, ..)| of == object);
            is_leased || day < leased[object] + 7
        });
    }

    fn charged(&self, account: u8, objects: &[Object]) -> u64 {
        let leased = |object: usize| (0..2).any(|tag| self.leases.contains_key(&(object, account, tag)));
        let shares = self.shares.iter().filter(|(object, _)| leased(*object));
        shares.map(|(object, number)| objects[*object].shares[usize::from(*number)].len() as u64).sum()
    }
}

fn put(store: &Arc<Store>, object: &Object, number: u16, lease: Reason) {
    let put = protocol::message::Put { lease: lease.terms(), ..put_of(store.id(), number, None, 1) };
    let mut upload = store.begin(lease.account(), &put).unwrap();
    feed(&mut upload, &object.shares[usize::from(number)]).unwrap();
    now(store.commit(&inline(), upload.finish().unwrap())).unwrap();
}

fn agree(store: &Store, model: &Model, objects: &[Object]) {
    sound(store);
    let here: BTreeSet<(usize, u16)> = objects
        .iter()
        .enumerate()
        .flat_map(|(at, object)| store.list(object.hash).unwrap().into_iter().map(move |s| (at, s.number)))
        .collect();
    assert_eq!(here, model.shares);
    for account in 0..3 {
        let charged = store.charged(&NodeId::new([account + 1; 32])).unwrap();
        assert_eq!(charged, model.charged(account, objects), "account {account}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn counters_are_what_a_simple_model_says(steps in steps()) {
        let objects: Vec<Object> = LENS.iter().zip(0..).map(|(len, seed)| object(seed, *len)).collect();
        let setup = Setup::new();
        let (mut store, mut model) = (setup.open(), Model::default());
        for step in steps {
            match step {
                Step::Put { object, number, lease } => {
                    put(&store, &objects[object], number, lease);
                    model.shares.insert((object, number));
                    model.lease(object, lease);
                }
                Step::Lease { objects: wanted, lease } => {
                    let hashes = wanted.iter().map(|at| objects[*at].hash).collect();
                    now(store.lease(&inline(), lease.account(), lease.terms(), hashes)).unwrap();
                    wanted.iter().for_each(|at| model.lease(*at, lease));
                }
                Step::Cancel { objects: wanted, lease } => {
                    let hashes = wanted.iter().map(|at| objects[*at].hash).collect();
                    let tag = lease.terms().tag.0;
                    now(store.cancel_lease(&inline(), lease.account(), tag, hashes)).unwrap();
                    model.note();
                    for at in wanted {
                        model.leases.remove(&(at, lease.account, lease.tag));
                    }
                }
                Step::Pass { days } => {
                    for _ in 0..days {
                        setup.pass(DAY);
                        tidy(&store);
                        model.pass();
                    }
                }
                Step::Reopen => {
                    drop(store);
                    store = setup.open();
                }
            }
            agree(&store, &model, &objects);
        }
    }
}

/// Makes the index one of format 1, without the tables that came with 2, or of 2: without what came with 3.
pub(crate) fn downgrade(disk: &CrashDisk, format: u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    std::fs::write(&path, disk.content("index.redb")).unwrap();
    let db = redb::Database::open(&path).unwrap();
    let txn = db.begin_write().unwrap();
    let newer: &[&str] = if format == 1 { &["expiry", "dying", "due", "usage"] } else { &[] };
    for name in newer {
        let handle = redb::TableHandle::name;
        let table = txn.list_tables().unwrap().find(|table| handle(table) == *name).unwrap();
        assert!(txn.delete_table(table).unwrap());
    }
    let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
    {
        let mut meta = txn.open_table(meta).unwrap();
        meta.insert("format", format).unwrap();
        if format == 1 {
            meta.remove("dying").unwrap();
        }
        let packs: redb::TableDefinition<'_, u32, u64> = redb::TableDefinition::new("packs");
        txn.open_table(packs).unwrap().retain_in(1 << 31.., |_, _| false).unwrap();
    }
    txn.commit().unwrap();
    drop(db);
    let bytes = std::fs::read(&path).unwrap();
    disk.damage("index.redb", |content| *content = bytes);
}
