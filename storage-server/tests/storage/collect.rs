//! What goes when nobody leases it any more, what stays, and what a crash in the middle of it leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::NodeId;
use protocol::message::{ErrorCode, LeaseTerms};
use storage_server::{Disk, GcOptions, Gone, GoneBy, ReadError, Reason, ShareKey, Store, StoreOptions};

use crate::crash_disk::{CrashDisk, Unsynced};
use crate::objects::{
    Late, ManualClock, Object, Seeded, TAG, account, feed, init, inline, load, now, object, put_of,
    store_share, terms,
};

const DAY: u64 = 24 * 3600;
const GRACE: u64 = 7 * DAY;

pub(crate) struct Setup {
    pub(crate) disk: CrashDisk,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) options: StoreOptions,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let disk = CrashDisk::default();
        init(&(Arc::new(disk.clone()) as Arc<dyn Disk>));
        // Packs are finished early, so that there is something to rewrite.
        let options = StoreOptions { pack_len: 20_000, ..StoreOptions::default() };
        Self { disk, clock: Arc::default(), options }
    }

    pub(crate) fn open(&self) -> Arc<Store> {
        self.reopen(&self.disk).unwrap()
    }

    fn reopen(&self, disk: &CrashDisk) -> Result<Arc<Store>, storage_server::StoreError> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        Store::open(disk, self.clock.clone(), &Seeded::new(1), self.options.clone())
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn count(&self, dir: &str) -> usize {
        self.disk.files().iter().filter(|file| file.starts_with(dir)).count()
    }
}

pub(crate) fn dated(days: u64) -> LeaseTerms {
    LeaseTerms { tag: TAG, duration_s: Some(days * DAY) }
}

pub(crate) fn put(store: &Arc<Store>, share: &[u8], number: u16, lease: LeaseTerms) {
    let put = protocol::message::Put { lease, ..put_of(store.id(), number, None, number as u8) };
    let mut upload = store.begin(account(), &put).unwrap();
    feed(&mut upload, share).unwrap();
    now(store.commit(&inline(), upload.finish().unwrap())).unwrap();
}

/// Tidies until there is nothing to do; how many steps it took.
pub(crate) fn tidy(store: &Arc<Store>) -> usize {
    (0..10_000).find(|_| !now(store.tidy(&inline()))).expect("it comes to an end")
}

pub(crate) fn sound(store: &Store) {
    assert_eq!(store.audit().unwrap(), Vec::<String>::new());
}

pub(crate) fn lease(store: &Arc<Store>, terms: LeaseTerms, objects: &[&Object]) -> Vec<bool> {
    let hashes = objects.iter().map(|object| object.hash).collect();
    now(store.lease(&inline(), account(), terms, hashes)).unwrap()
}

pub(crate) fn cancel(store: &Arc<Store>, objects: &[&Object]) -> Vec<bool> {
    let hashes = objects.iter().map(|object| object.hash).collect();
    now(store.cancel_lease(&inline(), account(), TAG.0, hashes)).unwrap()
}

pub(crate) fn is_here(store: &Store, object: &Object) -> bool {
    !store.list(object.hash).unwrap().is_empty()
}

#[test]
fn a_dated_lease_ends_and_after_the_grace_the_object_goes() {
    let setup = Setup::new();
    let store = setup.open();
    let objects = [object(1, 3000), object(2, 300_000), object(3, 3000), object(4, 300_000)];
    for object in &objects {
        for number in [0, 1] {
            put(&store, &object.shares[usize::from(number)], number, dated(30));
        }
    }
    sound(&store);
    let (ended, renewed) = ([&objects[0], &objects[1]], [&objects[2], &objects[3]]);
    setup.pass(29 * DAY);
    tidy(&store);
    assert_eq!(lease(&store, dated(60), &renewed), [true, true]);
    setup.pass(2 * DAY);
    tidy(&store);
    assert_eq!(store.status().shares, 8, "the grace runs");
    setup.pass(GRACE - 2 * DAY);
    tidy(&store);
    assert_eq!(store.status().shares, 8);
    setup.pass(2 * DAY);
    tidy(&store);
    sound(&store);
    for object in ended {
        assert!(!is_here(&store, object));
        assert!(matches!(store.open_share(object.key(0)), Err(ReadError::NotFound)));
    }
    for object in renewed {
        assert_eq!(load(&store, object.key(1)).unwrap(), object.shares[1]);
    }
    let used: usize = renewed.iter().flat_map(|object| &object.shares[..2]).map(Vec::len).sum();
    assert_eq!((store.status().shares, store.status().used), (4, used as u64));
    assert_eq!(setup.count("shares/"), 2);
    assert_eq!(tidy(&store), 0, "nothing is left to do");
    // What went can be stored again.
    put(&store, &objects[1].shares[0], 0, terms());
    assert_eq!(load(&store, objects[1].key(0)).unwrap(), objects[1].shares[0]);
    sound(&store);
}

#[test]
fn leases_end_by_uptime_across_restarts() {
    let setup = Setup::new();
    let object = object(1, 3000);
    let store = setup.open();
    put(&store, &object.shares[0], 0, dated(3));
    drop(store);
    // The machine was off for years.
    setup.pass(1000 * DAY);
    let store = setup.open();
    tidy(&store);
    assert!(is_here(&store, &object));
    // Nothing is written to it, and it is restarted every other day.
    for _ in 0..8 {
        setup.pass(2 * DAY);
        tidy(&store);
    }
    assert!(!is_here(&store, &object));
    drop(store);
    let written = setup.open().uptime_s();
    assert!(written >= 15 * DAY, "{written}");
}

#[test]
fn the_last_of_several_leases_counts() {
    let setup = Setup::new();
    let store = setup.open();
    let object = object(1, 3000);
    put(&store, &object.shares[0], 0, terms());
    let other = NodeId::new([8; 32]);
    let tag = |tag| LeaseTerms { tag: protocol::message::Bytes16([tag; 16]), duration_s: None };
    now(store.lease(&inline(), other, tag(1), vec![object.hash])).unwrap();
    now(store.lease(&inline(), other, tag(2), vec![object.hash])).unwrap();
    sound(&store);
    let let_go = |account, tag| {
        assert_eq!(now(store.cancel_lease(&inline(), account, tag, vec![object.hash])).unwrap(), [true]);
        sound(&store);
        setup.pass(GRACE + DAY);
        tidy(&store);
        is_here(&store, &object)
    };
    assert!(let_go(other, [1; 16]));
    assert!(let_go(account(), TAG.0));
    assert!(!let_go(other, [2; 16]));
    sound(&store);
}

#[test]
fn a_lease_or_the_share_again_before_it_goes_keeps_it_for_good() {
    let setup = Setup::new();
    let store = setup.open();
    let objects = [object(1, 3000), object(2, 300_000), object(3, 3000), object(4, 300_000), object(5, 3000)];
    for object in &objects {
        put(&store, &object.shares[0], 0, terms());
    }
    cancel(&store, &objects.iter().collect::<Vec<_>>());
    setup.pass(GRACE - DAY);
    tidy(&store);
    lease(&store, terms(), &[&objects[0], &objects[1]]);
    put(&store, &objects[2].shares[0], 0, terms());
    put(&store, &objects[3].shares[1], 1, terms());
    sound(&store);
    setup.pass(2 * DAY);
    tidy(&store);
    let here: Vec<bool> = objects.iter().map(|object| is_here(&store, object)).collect();
    assert_eq!(here, [true, true, true, true, false]);
    assert_eq!(
        load(&store, objects[3].key(0)).unwrap(),
        objects[3].shares[0],
        "the object is leased, not the share"
    );
    // Its grace begins anew when it is let go anew.
    cancel(&store, &[&objects[0]]);
    setup.pass(GRACE - DAY);
    tidy(&store);
    assert!(is_here(&store, &objects[0]));
    setup.pass(2 * DAY);
    tidy(&store);
    assert!(!is_here(&store, &objects[0]));
    sound(&store);
}

#[test]
fn what_was_found_without_a_lease_stays_long_and_never_makes_way() {
    let mut setup = Setup::new();
    let objects = [object(1, 3000), object(2, 300_000)];
    let store = setup.open();
    for object in &objects {
        put(&store, &object.shares[0], 0, terms());
    }
    drop(store);
    setup.options.idle_limit = Duration::from_secs(100 * DAY);
    let dynamic: Arc<dyn Disk> = Arc::new(setup.disk.clone());
    dynamic.remove("index.redb").unwrap();
    let store = setup.open();
    sound(&store);
    setup.pass(99 * DAY);
    tidy(&store);
    assert!(objects.iter().all(|object| is_here(&store, object)));
    setup.disk.set_capacity(Some(setup.disk.used() + 100_000));
    let refused = store.begin(account(), &put_of(store.id(), 0, Some(150_000), 1));
    assert_eq!(refused.err().unwrap().code(), ErrorCode::NoSpace);
    assert!(objects.iter().all(|object| is_here(&store, object)));
    setup.disk.set_capacity(None);
    lease(&store, terms(), &[&objects[0]]);
    setup.pass(2 * DAY);
    tidy(&store);
    assert!(is_here(&store, &objects[0]) && !is_here(&store, &objects[1]));
    sound(&store);
}

#[test]
fn who_leases_what_was_found_and_lets_it_go_does_not_shorten_its_time() {
    let mut setup = Setup::new();
    let object = object(1, 3000);
    put(&setup.open(), &object.shares[0], 0, terms());
    setup.options.idle_limit = Duration::from_secs(100 * DAY);
    let dynamic: Arc<dyn Disk> = Arc::new(setup.disk.clone());
    dynamic.remove("index.redb").unwrap();
    let store = setup.open();
    lease(&store, terms(), &[&object]);
    sound(&store);
    cancel(&store, &[&object]);
    sound(&store);
    setup.pass(60 * DAY);
    tidy(&store);
    assert!(is_here(&store, &object), "its owner still has time to say so");
    setup.pass(41 * DAY);
    tidy(&store);
    assert!(!is_here(&store, &object));
    sound(&store);
}

#[test]
fn accounts_that_are_not_heard_of_lose_their_undated_leases() {
    let setup = Setup::new();
    let store = setup.open();
    let objects = [object(1, 3000), object(2, 300_000), object(3, 3000)];
    let (gone, alive) = (NodeId::new([8; 32]), account());
    put(&store, &objects[0].shares[0], 0, terms());
    for object in &objects[1..] {
        put(&store, &object.shares[0], 0, terms());
        now(store.lease(&inline(), gone, terms(), vec![object.hash])).unwrap();
    }
    now(store.lease(
        &inline(),
        gone,
        LeaseTerms { duration_s: Some(500 * DAY), ..terms() },
        vec![objects[2].hash],
    ))
    .unwrap();
    cancel(&store, &[&objects[1], &objects[2]]);
    for _ in 0..39 {
        setup.pass(10 * DAY);
        tidy(&store);
        now(store.contact(&inline(), alive)).unwrap();
    }
    assert!(objects.iter().all(|object| is_here(&store, object)));
    setup.pass(11 * DAY);
    tidy(&store);
    sound(&store);
    assert_eq!(now(store.cancel_lease(&inline(), gone, TAG.0, vec![objects[1].hash])).unwrap(), [false]);
    setup.pass(GRACE + DAY);
    tidy(&store);
    let here: Vec<bool> = objects.iter().map(|object| is_here(&store, object)).collect();
    assert_eq!(here, [true, false, true], "a dated lease lasts as long as it says");
    // It is back, and what it leases from now on stays.
    now(store.lease(&inline(), gone, terms(), vec![objects[0].hash])).unwrap();
    cancel(&store, &[&objects[0]]);
    setup.pass(30 * DAY);
    tidy(&store);
    assert!(is_here(&store, &objects[0]));
    sound(&store);
}

#[test]
fn what_nobody_leases_makes_way_when_there_is_no_room() {
    for len in [300_000, 3000] {
        let setup = Setup::new();
        let store = setup.open();
        let objects: Vec<Object> = (0..40).map(|seed| object(seed, len)).collect();
        for object in &objects {
            put(&store, &object.shares[0], 0, terms());
        }
        cancel(&store, &[&objects[0]]);
        setup.pass(DAY);
        cancel(&store, &objects[1..30].iter().collect::<Vec<_>>());
        let large = object(77, 290_000);
        // Nothing is taken where it would not do.
        setup.disk.set_capacity(Some(setup.disk.used()));
        let begin = |len| store.begin(account(), &put_of(store.id(), 0, Some(len), 9));
        assert_eq!(begin(1 << 30).err().unwrap().code(), ErrorCode::NoSpace);
        assert!(objects.iter().all(|object| is_here(&store, object)));
        if len > 100_000 {
            let mut upload = begin(large.shares[0].len() as u64).unwrap();
            assert!(is_here(&store, &objects[0]), "a length is only spoken of");
            feed(&mut upload, &large.shares[0]).unwrap();
            assert!(!is_here(&store, &objects[0]), "the oldest first");
            assert!(is_here(&store, &objects[29]), "no more than needed");
        } else {
            let more: Vec<Object> = (100..110).map(|seed| object(seed, len)).collect();
            setup.disk.set_capacity(Some(setup.disk.used() + 70_000));
            for object in &more {
                store_share(&store, &object.shares[0], 0, 1).unwrap();
            }
        }
        assert!(
            objects[30..].iter().all(|object| load(&store, object.key(0)).is_ok()),
            "what is leased stays"
        );
        setup.disk.set_capacity(None);
        sound(&store);
    }
}

#[test]
fn then_interrupted_uploads_make_way() {
    let setup = Setup::new();
    let store = setup.open();
    let object = object(1, 600_000);
    let begin =
        |upload| store.begin(account(), &put_of(store.id(), 0, Some(object.shares[0].len() as u64), upload));
    let mut interrupted = begin(1).unwrap();
    feed(&mut interrupted, &object.shares[0][..200_000]).unwrap();
    setup.disk.set_capacity(Some(setup.disk.used() + 150_000));
    // Plenty is believed for a moment.
    setup.pass(1);
    assert_eq!(begin(2).err().unwrap().code(), ErrorCode::NoSpace, "it is not interrupted yet");
    drop(interrupted);
    setup.disk.set_capacity(Some(setup.disk.used() + 150_000));
    let left = setup.disk.files().into_iter().find(|path| path.starts_with("partial/")).unwrap();
    let mut second = begin(2).unwrap();
    assert!(setup.disk.files().contains(&left), "a length is only spoken of");
    feed(&mut second, &object.shares[0]).unwrap();
    assert!(!setup.disk.files().contains(&left));
}

#[test]
fn what_is_acknowledged_beside_a_collection_stays() {
    // What has come by the time the collection is decided: the collection is first in the queue, and in the same batch.
    for again in [false, true] {
        for len in [3000, 300_000] {
            let setup = Setup::new();
            let store = setup.open();
            let (object, other) = (object(1, len), object(2, len));
            for object in [&object, &other] {
                put(&store, &object.shares[0], 0, terms());
            }
            cancel(&store, &[&object, &other]);
            setup.pass(GRACE + DAY);
            let late = Arc::new(Late::default());
            let pool: Arc<dyn protocol::Pool> = late.clone();
            now(async {
                let yields = async || {
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                };
                let (at, pool_of) = (store.clone(), pool.clone());
                let collecting = tokio::spawn(async move { at.tidy(&pool_of).await });
                yields().await;
                assert_eq!(late.work(), 1, "it looked for what is over");
                yields().await;
                let (at, pool_of) = (store.clone(), pool.clone());
                let keeping = match again {
                    false => {
                        let hashes = vec![object.hash];
                        let leased = async move {
                            at.lease(&pool_of, account(), terms(), hashes).await.unwrap() == [true]
                        };
                        tokio::spawn(leased)
                    }
                    true => {
                        let mut upload = at.begin(account(), &put_of(at.id(), 0, None, 9)).unwrap();
                        feed(&mut upload, &object.shares[0]).unwrap();
                        let ready = upload.finish().unwrap();
                        tokio::spawn(async move { at.commit(&pool_of, ready).await.is_ok() })
                    }
                };
                // The lease is looked up in the index before it waits.
                let held = late.hold_first();
                yields().await;
                late.work();
                yields().await;
                held();
                assert!(collecting.await.unwrap() && keeping.await.unwrap());
            });
            assert_eq!(load(&store, object.key(0)).unwrap(), object.shares[0], "again {again}, {len}");
            assert!(!is_here(&store, &other));
            sound(&store);
        }
    }
}

/// Objects whose shares fill several packs of the setup.
fn many(count: u64) -> Vec<Object> {
    (0..count).map(|seed| object(seed, 4000)).collect()
}

#[test]
fn packs_of_which_little_is_live_are_rewritten() {
    let setup = Setup::new();
    let store = setup.open();
    let objects = many(60);
    for object in &objects {
        put(&store, &object.shares[0], 0, terms());
    }
    let packed = || {
        setup
            .disk
            .files()
            .iter()
            .filter(|f| f.starts_with("packs/"))
            .map(|f| setup.disk.content(f).len())
            .sum()
    };
    let (packs, before): (usize, usize) = (setup.count("packs/"), packed());
    assert!(packs >= 6, "{packs}");
    let stays = |at: usize| at.is_multiple_of(6);
    let gone: Vec<&Object> =
        objects.iter().enumerate().filter(|(at, _)| !stays(*at)).map(|(_, o)| o).collect();
    cancel(&store, &gone);
    // One that is being read.
    let reading = store.open_share(objects[0].key(0)).unwrap();
    setup.pass(GRACE + DAY);
    tidy(&store);
    sound(&store);
    assert!(setup.count("packs/") <= 3, "{:?}", setup.disk.files());
    let after: usize = packed();
    assert!(after < before / 2, "{after} of {before}");
    assert_eq!(reading.read(0, 100).unwrap(), objects[0].shares[0][..100]);
    let check = |store: &Arc<Store>| {
        for (at, object) in objects.iter().enumerate() {
            match stays(at) {
                true => assert_eq!(load(store, object.key(0)).unwrap(), object.shares[0], "{at}"),
                false => assert!(!is_here(store, object)),
            }
        }
    };
    check(&store);
    drop(store);
    let store = setup.open();
    check(&store);
    sound(&store);
    // Numbers of packs are not given twice.
    for object in (1000..1020).map(|seed| object(seed, 4000)) {
        put(&store, &object.shares[1], 1, terms());
    }
    check(&store);
    sound(&store);
}

#[test]
fn a_pack_is_kept_for_a_damaged_record() {
    let setup = Setup::new();
    let store = setup.open();
    let objects = many(12);
    for object in &objects {
        put(&store, &object.shares[0], 0, terms());
    }
    setup.disk.damage("packs/00000000.pack", |bytes| bytes[200] ^= 1);
    cancel(&store, &objects[2..].iter().collect::<Vec<_>>());
    setup.pass(GRACE + DAY);
    tidy(&store);
    sound(&store);
    assert!(setup.disk.files().contains(&"packs/00000000.pack".to_owned()));
    assert!(matches!(store.open_share(objects[0].key(0)), Err(ReadError::Corrupt)));
    assert_eq!(load(&store, objects[1].key(0)).unwrap(), objects[1].shares[0]);
    assert_eq!(tidy(&store), 0);
}

#[test]
fn an_index_from_before_there_were_counters_gets_them() {
    // Of format 1: made by taking out what came with 2.
    let setup = Setup::new();
    let store = setup.open();
    let objects = many(8);
    for object in &objects {
        put(&store, &object.shares[0], 0, dated(30));
    }
    cancel(&store, &[&objects[0]]);
    drop(store);
    crate::leases::downgrade(&setup.disk, 1);
    let store = setup.open();
    sound(&store);
    setup.pass(31 * DAY);
    tidy(&store);
    assert!(is_here(&store, &objects[1]));
    setup.pass(GRACE + DAY);
    tidy(&store);
    assert!(is_here(&store, &objects[0]), "why it has no lease is not known");
    assert!(!is_here(&store, &objects[1]));
    sound(&store);
}

#[test]
fn an_index_of_format_2_keeps_its_leases_and_knows_what_of_its_packs_is_live() {
    let setup = Setup::new();
    let store = setup.open();
    let objects = many(8);
    for object in &objects {
        put(&store, &object.shares[0], 0, dated(30));
    }
    cancel(&store, &[&objects[0]]);
    drop(store);
    crate::leases::downgrade(&setup.disk, 2);
    let store = setup.open();
    sound(&store);
    setup.pass(GRACE + DAY);
    tidy(&store);
    assert!(!is_here(&store, &objects[0]) && is_here(&store, &objects[1]));
    sound(&store);
}

#[test]
fn by_hand_it_is_told_first_and_done_then() {
    let mut setup = Setup::new();
    let objects = many(24);
    let store = setup.open();
    put(&store, &objects[0].shares[0], 0, terms());
    drop(store);
    // One whose lease was lost with the index.
    let dynamic: Arc<dyn Disk> = Arc::new(setup.disk.clone());
    dynamic.remove("index.redb").unwrap();
    setup.options.idle_limit = Duration::from_secs(100 * DAY);
    let store = setup.open();
    let gone = NodeId::new([8; 32]);
    put(&store, &objects[1].shares[0], 0, dated(3));
    for object in &objects[2..] {
        put(&store, &object.shares[0], 0, terms());
    }
    now(store.lease(&inline(), gone, terms(), vec![objects[2].hash])).unwrap();
    cancel(&store, &objects[2..20].iter().collect::<Vec<_>>());
    let told = |now, dry_run| {
        let before = setup.disk.files();
        let report = store.gc(GcOptions { dry_run, now }).unwrap();
        assert!(!dry_run || before == setup.disk.files());
        sound(&store);
        let count = |by: &GoneBy| Reason::ALL.map(|reason| by.get(&reason).map_or(0, |gone| gone.objects));
        (count(&report.gone), count(&report.waiting), report)
    };
    assert_eq!(told(false, true).0, [0; 4]);
    assert_eq!(told(false, true).1, [0, 17, 0, 1]);
    assert_eq!(told(true, true).0, [0, 17, 0, 0], "what was found without a lease keeps its time");
    setup.pass(4 * DAY);
    assert_eq!(told(true, true).0, [1, 17, 0, 0]);
    assert_eq!((told(false, false).0, told(false, false).1), ([0; 4], [1, 17, 0, 1]));
    setup.pass(96 * DAY);
    now(store.contact(&inline(), account())).unwrap();
    setup.pass(DAY);
    assert_eq!(told(false, true).0, [1, 17, 0, 1]);
    assert_eq!(told(true, true).0, [1, 17, 1, 1], "and an account is gone");
    let (done, waiting, report) = told(true, false);
    assert_eq!((done, waiting), ([1, 17, 1, 1], [0; 4]));
    assert!(report.given_back > 0 && store.dead_bytes() < 20_000);
    assert_eq!(Gone::sum(&report.gone).objects, 20);
    for object in &objects[20..] {
        assert_eq!(load(&store, object.key(0)).unwrap(), object.shares[0]);
    }
}

/// Stores, cancels and lets time pass; returns what is acknowledged as stored and leased, and what must be gone if nothing failed.
fn scenario(setup: &Setup, store: &Arc<Store>, objects: &[Object]) -> BTreeMap<ShareKey, Vec<u8>> {
    let mut leased = BTreeMap::new();
    for (at, object) in objects.iter().enumerate() {
        if store_share(store, &object.shares[0], 0, at as u8).is_ok() {
            leased.insert(object.key(0), object.shares[0].clone());
        }
    }
    let (stay, go): (Vec<_>, Vec<_>) = objects.iter().enumerate().partition(|(at, _)| at % 5 == 0);
    drop(stay);
    let hashes = go.iter().map(|(_, object)| object.hash).collect();
    // What is let go may be gone from here on, whether that is acknowledged or not.
    go.iter().for_each(|(_, object)| drop(leased.remove(&object.key(0))));
    let _ = now(store.cancel_lease(&inline(), account(), TAG.0, hashes));
    setup.pass(GRACE - DAY);
    while now(store.tidy(&inline())) {}
    // Some come back just before their time, by a lease or by being stored again, and some of them with another share.
    let back: Vec<&Object> = go.iter().map(|(_, object)| *object).step_by(7).collect();
    for (at, object) in back.iter().enumerate() {
        let (number, stored) = match at % 3 {
            0 => (
                0,
                now(store.lease(&inline(), account(), terms(), vec![object.hash])).is_ok_and(|here| here[0]),
            ),
            1 => (0, store_share(store, &object.shares[0], 0, 90).is_ok()),
            _ => (1, store_share(store, &object.shares[1], 1, 91).is_ok()),
        };
        if stored {
            leased.insert(object.key(number), object.shares[usize::from(number)].clone());
        }
    }
    setup.pass(2 * DAY);
    // Others come in the middle of it.
    let mut late = go.iter().map(|(_, object)| *object).skip(3).step_by(7).enumerate();
    while now(store.tidy(&inline())) {
        let Some((at, object)) = late.next() else { continue };
        let lease =
            || now(store.lease(&inline(), account(), terms(), vec![object.hash])).is_ok_and(|here| here[0]);
        if at % 2 == 0 && store_share(store, &object.shares[2], 2, 92).is_ok() {
            leased.insert(object.key(2), object.shares[2].clone());
        } else if at % 2 == 1 && lease() {
            // If it is here still, all of it stays.
            leased.insert(object.key(0), object.shares[0].clone());
        }
    }
    leased
}

#[test]
fn nothing_leased_is_lost_at_any_sync_of_collection_and_rewriting() {
    let objects: Vec<Object> =
        (0..40).map(|seed| object(seed, if seed % 4 == 3 { 140_000 } else { 3000 })).collect();
    let setup = Setup::new();
    let before = setup.disk.syncs();
    let store = setup.open();
    let incarnation = store.incarnation();
    let leased = scenario(&setup, &store, &objects);
    assert!(leased.len() > 15, "{}", leased.len());
    assert!(!setup.disk.files().contains(&"packs/00000000.pack".to_owned()), "a pack was rewritten");
    assert_eq!(store.status().shares as usize, leased.len() + back_without_other(&store, &objects, &leased));
    sound(&store);
    drop(store);
    let syncs = setup.disk.syncs() - before;
    // The first part is the business of `crash.rs`.
    for cut in (60..=syncs).step_by(1) {
        let setup = Setup::new();
        setup.disk.cut_after(cut);
        let mut leased = BTreeMap::new();
        if let Ok(store) = setup.reopen(&setup.disk) {
            leased = scenario(&setup, &store, &objects);
        }
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(cut as u64)] {
            let disk = setup.disk.after_crash(unsynced);
            let store = setup.reopen(&disk).unwrap();
            assert_eq!(store.incarnation(), incarnation, "the index was lost");
            (0..).find(|step| !store.sweep(*step));
            sound(&store);
            setup.pass(30 * DAY);
            while now(store.tidy(&inline())) {}
            sound(&store);
            for (key, share) in &leased {
                let loaded = load(&store, *key);
                assert!(loaded.is_ok_and(|loaded| loaded == *share), "{key} after sync {cut}, {unsynced:?}");
            }
            // And everything can be stored again.
            for (at, object) in objects.iter().enumerate() {
                store_share(&store, &object.shares[0], 0, at as u8).unwrap();
                assert_eq!(load(&store, object.key(0)).unwrap(), object.shares[0]);
            }
            sound(&store);
        }
    }
}

/// Shares that are here because another share of their object is leased.
fn back_without_other(store: &Store, objects: &[Object], leased: &BTreeMap<ShareKey, Vec<u8>>) -> usize {
    let here = objects.iter().flat_map(|object| {
        store
            .list(object.hash)
            .unwrap()
            .into_iter()
            .map(|listed| ShareKey { hash: object.hash, number: listed.number })
    });
    here.filter(|key| !leased.contains_key(key)).count()
}
