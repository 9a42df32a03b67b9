//! The power is cut at every sync: whatever was acknowledged is there afterwards, whole, and nothing else is broken.

use std::sync::Arc;

use protocol::message::ErrorCode;
use storage_server::{Disk, ShareKey, Store, StoreOptions};

use crate::crash_disk::{CrashDisk, Unsynced};
use crate::objects::{Object, TAG, account, init, inline, load, now, object, open, store_share};

/// Stores everything, as far as it comes; returns what was acknowledged.
fn work(store: &Arc<Store>, objects: &[Object]) -> Vec<(ShareKey, Vec<u8>)> {
    let mut acknowledged = Vec::new();
    for (upload, object) in (0..).zip(objects) {
        for number in [0, 3] {
            let share = &object.shares[usize::from(number)];
            let mut stored = store_share(store, share, number, upload);
            if stored.as_ref().is_err_and(|error| error.code() == ErrorCode::Corrupt) {
                // The part that an earlier attempt had left was torn: it is gone now.
                stored = store_share(store, share, number, upload);
            }
            if stored.is_ok() {
                acknowledged.push((object.key(number), share.clone()));
            }
        }
    }
    acknowledged
}

fn objects() -> Vec<Object> {
    // Small ones go into a pack, large ones into files.
    [500, 200_000, 4096, 150_000, 60_000]
        .into_iter()
        .enumerate()
        .map(|(seed, len)| object(seed as u64, len))
        .collect()
}

fn check(disk: &CrashDisk, acknowledged: &[(ShareKey, Vec<u8>)], incarnation: u64) {
    let store = open(Arc::new(disk.clone()), StoreOptions::default()).unwrap();
    assert_eq!(store.incarnation(), incarnation, "the index was lost");
    for step in 0.. {
        if !store.sweep(step) {
            break;
        }
    }
    for (key, share) in acknowledged {
        assert_eq!(load(&store, *key).unwrap(), *share);
    }
    let hashes: Vec<_> = acknowledged.iter().map(|(key, _)| key.hash).collect();
    let leases = now(store.cancel_lease(&inline(), account(), TAG.0, hashes)).unwrap();
    // Two shares of an object share its lease; the second finds it gone.
    let first = |at: usize| acknowledged[..at].iter().all(|(key, _)| key.hash != acknowledged[at].0.hash);
    assert!(leases.iter().enumerate().all(|(at, leased)| *leased == first(at)));
    let status = store.status();
    assert!(status.shares >= acknowledged.len() as u64 && status.shares <= acknowledged.len() as u64 + 1);
    // And it goes on: everything can be stored.
    let all = objects();
    assert_eq!(work(&store, &all).len(), 2 * all.len());
    for object in &all {
        assert_eq!(load(&store, object.key(3)).unwrap(), object.shares[3]);
    }
    assert_eq!(store.status().shares, 2 * all.len() as u64);
}

#[test]
fn nothing_acknowledged_is_lost_at_any_sync() {
    let objects = objects();
    let fresh = || {
        let disk = CrashDisk::default();
        init(&(Arc::new(disk.clone()) as Arc<dyn Disk>));
        disk
    };
    let disk = fresh();
    let before = disk.syncs();
    let store = open(Arc::new(disk.clone()), StoreOptions::default()).unwrap();
    let incarnation = store.incarnation();
    assert_eq!(work(&store, &objects).len(), 10);
    drop(store);
    let syncs = disk.syncs() - before;
    assert!(syncs > 30, "{syncs}");
    for cut in 0..=syncs {
        let disk = fresh();
        disk.cut_after(cut);
        let mut acknowledged = Vec::new();
        if let Ok(store) = open(Arc::new(disk.clone()), StoreOptions::default()) {
            acknowledged = work(&store, &objects);
        }
        let seed = cut as u64;
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(seed), Unsynced::Torn(seed + 1000)] {
            check(&disk.after_crash(unsynced), &acknowledged, incarnation);
            // The power fails again while the store is being opened.
            for again in 0..4 {
                let second = disk.after_crash(unsynced);
                second.cut_after(again);
                let opened = open(Arc::new(second.clone()), StoreOptions::default());
                drop(opened);
                check(&second.after_crash(Unsynced::Torn(seed)), &acknowledged, incarnation);
            }
        }
    }
}

#[test]
fn a_crash_while_a_store_is_made_leaves_a_store_or_none() {
    for cut in 0.. {
        let disk = CrashDisk::default();
        disk.cut_after(cut);
        let made = Store::init(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &crate::objects::Seeded::new(2));
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(cut as u64)] {
            let after = disk.after_crash(unsynced);
            let dynamic: Arc<dyn Disk> = Arc::new(after.clone());
            if Store::identify(&*dynamic).is_err() {
                assert!(made.is_err());
                init(&dynamic);
            }
            open(dynamic, StoreOptions::default()).unwrap();
        }
        if made.is_ok() {
            break;
        }
    }
}

#[test]
fn a_failed_sync_fences_the_store_and_loses_nothing() {
    let objects = objects();
    for fail in 1..60 {
        let disk = CrashDisk::default();
        init(&(Arc::new(disk.clone()) as Arc<dyn Disk>));
        let store = open(Arc::new(disk.clone()), StoreOptions::default()).unwrap();
        let incarnation = store.incarnation();
        disk.fail_sync(fail);
        let acknowledged = work(&store, &objects);
        if acknowledged.len() == 10 {
            assert!(fail > 20);
            break;
        }
        assert_eq!(store.status().state, protocol::message::StoreState::Failed);
        let tried_again = store_share(&store, &objects[0].shares[1], 1, 99).unwrap_err();
        assert!(matches!(tried_again, storage_server::PutError::Failed));
        // What was acknowledged can still be read.
        for (key, share) in &acknowledged {
            assert_eq!(load(&store, *key).unwrap(), *share);
        }
        drop(store);
        check(&disk.after_crash(Unsynced::Torn(fail as u64)), &acknowledged, incarnation);
    }
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let objects = objects();
    let disk = CrashDisk::default();
    init(&(Arc::new(disk.clone()) as Arc<dyn Disk>));
    let empty = disk.used();
    for room in (0..1_000_000).step_by(37_123) {
        let disk = CrashDisk::default();
        init(&(Arc::new(disk.clone()) as Arc<dyn Disk>));
        let store = open(Arc::new(disk.clone()), StoreOptions::default()).unwrap();
        let incarnation = store.incarnation();
        disk.set_capacity(Some(empty + room));
        let acknowledged = work(&store, &objects);
        assert_ne!(store.status().state, protocol::message::StoreState::Failed, "{room} bytes of room");
        for (key, share) in &acknowledged {
            assert_eq!(load(&store, *key).unwrap(), *share);
        }
        disk.set_capacity(None);
        let later = work(&store, &objects);
        assert_eq!(later.len(), 10, "{room} bytes of room");
        drop(store);
        check(&disk.after_crash(Unsynced::Lost), &later, incarnation);
    }
}
