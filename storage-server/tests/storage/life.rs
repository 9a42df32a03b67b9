//! What a store does in its life.

use std::sync::Arc;

use protocol::NodeId;
use protocol::message::{ErrorCode, LeaseTerms, StoreState};
use storage_server::{Disk, MAX_PACKED_LEN, PutError, ReadError, RealDisk, Store, StoreError, StoreOptions};

use crate::crash_disk::CrashDisk;
use crate::objects::{
    BLOCK_LEN, Late, TAG, account, feed, init, inline, load, now, object, open, put_of, store_share, terms,
};

fn memory() -> (CrashDisk, Arc<dyn Disk>) {
    let disk = CrashDisk::default();
    let dynamic: Arc<dyn Disk> = Arc::new(disk.clone());
    init(&dynamic);
    (disk, dynamic)
}

#[test]
fn small_and_large_come_back_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path().join("store")));
    let id = init(&disk);
    let objects = [object(1, 0), object(2, 4096), object(3, 120_000), object(4, 1_000_000)];
    let store = open(disk.clone(), StoreOptions::default()).unwrap();
    assert_eq!(store.id(), id);
    for object in &objects {
        for (number, share) in (0..).zip(&object.shares) {
            assert_eq!(store_share(&store, share, number, 1).unwrap(), object.hash);
        }
    }
    let used: u64 = objects.iter().flat_map(|object| &object.shares).map(|share| share.len() as u64).sum();
    let incarnation = store.incarnation();
    drop(store);
    let store = open(disk, StoreOptions { expected: Some(id), ..StoreOptions::default() }).unwrap();
    let status = store.status();
    assert_eq!((status.shares, status.used, status.incarnation), (16, used, incarnation));
    for object in &objects {
        let listed: Vec<u16> = store.list(object.hash).unwrap().iter().map(|share| share.number).collect();
        assert_eq!(listed, [0, 1, 2, 3]);
        for (number, share) in (0..).zip(&object.shares) {
            assert_eq!(load(&store, object.key(number)).unwrap(), *share);
        }
    }
    assert!(matches!(store.open_share(objects[0].key(4)), Err(ReadError::NotFound)));
}

#[test]
fn a_share_is_kept_once() {
    let (disk, dynamic) = memory();
    let store = open(dynamic, StoreOptions::default()).unwrap();
    for object in [object(1, 3000), object(2, 300_000)] {
        let share = &object.shares[0];
        // Two at once: both are begun before either is committed.
        let ready: Vec<_> = [1, 2]
            .into_iter()
            .map(|upload| {
                let mut put = store.begin(account(), &put_of(store.id(), 0, None, upload)).unwrap();
                feed(&mut put, share).unwrap();
                put.finish().unwrap()
            })
            .collect();
        for ready in ready {
            assert_eq!(now(store.commit(&inline(), ready)).unwrap(), object.hash);
        }
        assert_eq!(load(&store, object.key(0)).unwrap(), *share);
    }
    assert_eq!(store.status().shares, 2);
    assert!(disk.files().iter().all(|file| !file.starts_with("partial/")), "{:?}", disk.files());
}

#[test]
fn what_waits_is_committed_together() {
    let (disk, dynamic) = memory();
    let store = open(dynamic, StoreOptions::default()).unwrap();
    let objects: Vec<_> = (0..64).map(|seed| object(seed, 2000)).collect();
    // Everything is waiting by the time it starts.
    let late = Arc::new(Late::default());
    let pool: Arc<dyn protocol::Pool> = late.clone();
    let before = disk.syncs();
    now(async {
        let commits: Vec<_> = objects
            .iter()
            .flat_map(|object| [object, object])
            .zip(0..)
            .map(|(object, upload)| {
                let mut put = store.begin(account(), &put_of(store.id(), 0, None, upload)).unwrap();
                feed(&mut put, &object.shares[0]).unwrap();
                let (ready, store, pool) = (put.finish().unwrap(), store.clone(), pool.clone());
                tokio::spawn(async move { store.commit(&pool, ready).await })
            })
            .collect();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(late.work(), 1);
        for commit in commits {
            commit.await.unwrap().unwrap();
        }
    });
    assert!(disk.syncs() - before <= 6, "{} syncs", disk.syncs() - before);
    assert_eq!(store.status().shares, 64);
    for object in &objects {
        assert_eq!(load(&store, object.key(0)).unwrap(), object.shares[0]);
    }
}

#[test]
fn a_corrupt_share_is_refused_and_not_kept() {
    let (disk, dynamic) = memory();
    let store = open(dynamic, StoreOptions::default()).unwrap();
    for len in [3000, 300_000] {
        let object = object(1, len);
        let good = &object.shares[2];
        for at in [0, good.len() / 2, good.len() - 300, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let error = store_share(&store, &bad, 2, 1).unwrap_err();
            assert_eq!(error.code(), ErrorCode::Corrupt, "byte {at}: {error}");
        }
        let error = store_share(&store, good, 1, 1).unwrap_err();
        assert!(matches!(error, PutError::WrongNumber { stated: 1, found: 2 }));
        assert_eq!(
            store_share(&store, &good[..good.len() - 1], 2, 1).unwrap_err().code(),
            ErrorCode::Corrupt
        );
        assert!(matches!(store.open_share(object.key(2)), Err(ReadError::NotFound)));
        store_share(&store, good, 2, 1).unwrap();
    }
    assert!(disk.files().iter().all(|file| !file.starts_with("partial/")));
}

#[test]
fn uploads_resume_where_they_stopped() {
    let (_, dynamic) = memory();
    let object = object(1, 500_000);
    let share = &object.shares[0];
    let begin =
        |store: &Arc<Store>| store.begin(account(), &put_of(store.id(), 0, Some(share.len() as u64), 1));
    let store = open(dynamic.clone(), StoreOptions::default()).unwrap();
    let mut put = begin(&store).unwrap();
    for piece in share.chunks(BLOCK_LEN as usize).take(7) {
        put.push(piece).unwrap();
    }
    assert!(matches!(begin(&store), Err(PutError::Busy)));
    let wanted = share.len() as u64 - 7 * u64::from(BLOCK_LEN);
    assert_eq!((1 << 40) - store.status().available, wanted);
    drop(put);
    drop(store);
    let store = open(dynamic, StoreOptions::default()).unwrap();
    let mut put = begin(&store).unwrap();
    while put.to_resume() {
        put.resume().unwrap();
    }
    assert_eq!(put.offset(), 7 * u64::from(BLOCK_LEN));
    feed(&mut put, share).unwrap();
    let ready = put.finish().unwrap();
    assert_eq!(now(store.commit(&inline(), ready)).unwrap(), object.hash);
    assert_eq!(load(&store, object.key(0)).unwrap(), *share);
    // Another account's upload of the same id is another upload.
    let other = store.begin(NodeId::new([8; 32]), &put_of(store.id(), 0, None, 1)).unwrap();
    assert_eq!(other.offset(), 0);
}

#[test]
fn a_partial_share_that_rotted_is_found_out() {
    let (disk, dynamic) = memory();
    let object = object(1, 500_000);
    let share = &object.shares[0];
    let store = open(dynamic, StoreOptions::default()).unwrap();
    let mut put = store.begin(account(), &put_of(store.id(), 0, None, 1)).unwrap();
    share.chunks(BLOCK_LEN as usize).take(8).for_each(|piece| put.push(piece).unwrap());
    drop(put);
    let partial = disk.files().into_iter().find(|file| file.starts_with("partial/")).unwrap();
    disk.damage(&partial, |bytes| bytes[20_000] ^= 1);
    assert_eq!(store_share(&store, share, 0, 1).unwrap_err().code(), ErrorCode::Corrupt);
    store_share(&store, share, 0, 1).unwrap();
}

#[test]
fn lengths_are_bounded() {
    let (_, dynamic) = memory();
    let store = open(dynamic, StoreOptions::default()).unwrap();
    let object = object(1, 3000);
    let share = &object.shares[0];
    let begin = |len| store.begin(account(), &put_of(store.id(), 0, Some(len), 1));
    assert_eq!(begin(u64::MAX).err().unwrap().code(), ErrorCode::BadRequest);
    assert_eq!(begin(protocol::limits::MAX_SHARE_LEN).err().unwrap().code(), ErrorCode::NoSpace);
    let mut put = begin(share.len() as u64 - 1).unwrap();
    assert_eq!(feed(&mut put, share).unwrap_err().code(), ErrorCode::BadRequest);
    drop(put);
    let mut put = begin(share.len() as u64 + 1).unwrap();
    feed(&mut put, share).unwrap();
    assert!(matches!(put.finish(), Err(PutError::TooShort { .. })));
}

#[test]
fn the_reserve_is_left_alone() {
    let (disk, dynamic) = memory();
    disk.set_capacity(Some(disk.used() + 3_000_000));
    let store = open(dynamic, StoreOptions { reserve: 2_500_000, ..StoreOptions::default() }).unwrap();
    let object = object(1, 600_000);
    let share = &object.shares[0];
    let len = Some(share.len() as u64);
    let first = store.begin(account(), &put_of(store.id(), 0, len, 1)).unwrap();
    // What the first still wants is promised to it.
    let second = store.begin(account(), &put_of(store.id(), 0, len, 2));
    assert!(matches!(second, Err(PutError::NoSpace { .. })));
    drop(first);
    drop(store.begin(account(), &put_of(store.id(), 0, len, 2)).unwrap());
    // Of unknown length: refused when it gets there, and nothing is left of it.
    let mut put = store.begin(account(), &put_of(store.id(), 0, None, 3)).unwrap();
    let refused = (0..100).find_map(|_| put.push(&vec![0; BLOCK_LEN as usize]).err());
    assert_eq!(refused.unwrap().code(), ErrorCode::NoSpace);
    drop(put);
    assert!(disk.files().iter().all(|file| !file.starts_with("partial/")));
}

#[test]
fn read_only_serves_and_leases_and_takes_nothing() {
    let (_, dynamic) = memory();
    let object = object(1, 3000);
    let store = open(dynamic.clone(), StoreOptions::default()).unwrap();
    store_share(&store, &object.shares[0], 0, 1).unwrap();
    drop(store);
    let store = open(dynamic, StoreOptions { read_only: true, ..StoreOptions::default() }).unwrap();
    assert_eq!(store.status().state, StoreState::ReadOnly);
    assert_eq!(store_share(&store, &object.shares[1], 1, 1).unwrap_err().code(), ErrorCode::ReadOnly);
    assert_eq!(load(&store, object.key(0)).unwrap(), object.shares[0]);
    assert_eq!(now(store.lease(&inline(), account(), terms(), vec![object.hash])).unwrap(), [true]);
}

#[test]
fn leases_come_and_go() {
    let (_, dynamic) = memory();
    let store = open(dynamic, StoreOptions::default()).unwrap();
    let (here, gone) = (object(1, 3000), object(2, 3000));
    store_share(&store, &here.shares[0], 0, 1).unwrap();
    let hashes = vec![gone.hash, here.hash];
    let other = NodeId::new([8; 32]);
    let dated = LeaseTerms { tag: TAG, duration_s: Some(u64::MAX) };
    let lease = |account, terms| now(store.lease(&inline(), account, terms, hashes.clone())).unwrap();
    let cancel = |account, tag| now(store.cancel_lease(&inline(), account, tag, hashes.clone())).unwrap();
    assert_eq!(cancel(other, TAG.0), [false, false]);
    assert_eq!(lease(other, dated), [false, true]);
    assert_eq!(lease(other, dated), [false, true]);
    assert_eq!(cancel(other, [4; 16]), [false, false]);
    assert_eq!(cancel(other, TAG.0), [false, true]);
    assert_eq!(cancel(other, TAG.0), [false, false]);
    assert_eq!(cancel(account(), TAG.0), [false, true]);
    now(store.contact(&inline(), NodeId::new([5; 32]))).unwrap();
}

#[test]
fn lengths_are_known_by_bucket() {
    let (_, dynamic) = memory();
    let store = open(dynamic, StoreOptions::default()).unwrap();
    let object = object(1, 300_000);
    assert!(object.shares[0].len() as u64 > MAX_PACKED_LEN, "small shares leave none");
    store_share(&store, &object.shares[0], 0, 1).unwrap();
    let share = store.open_share(object.key(0)).unwrap();
    let (bytes, _) = share.descriptor().unwrap();
    let descriptor = encoding::Descriptor::parse(&bytes).unwrap();
    let (bucket, len) = (descriptor.bucket.0, descriptor.geometry.ciphertext_len());
    assert_eq!(store.has_lengths(bucket, &[len, len + 1]).unwrap(), [true, false]);
    assert_eq!(store.has_lengths(bucket ^ 1, &[len]).unwrap(), [false]);
}

#[test]
fn an_index_older_than_the_packs_begins_a_new_incarnation() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
    init(&disk);
    let store = open(disk.clone(), StoreOptions::default()).unwrap();
    store_share(&store, &object(0, 3000).shares[0], 0, 1).unwrap();
    let before = store.incarnation();
    drop(store);
    let index = dir.path().join("index.redb");
    let image = std::fs::read(&index).unwrap();

    let store = open(disk.clone(), StoreOptions::default()).unwrap();
    assert_eq!(store.incarnation(), before, "an orderly restart is none");
    let mut written = 0;
    // More than one batch leaves beyond the end that the index knows.
    for seed in 1.. {
        let object = object(seed, 120_000);
        for (number, share) in object.shares.iter().enumerate() {
            store_share(&store, share, number as u16, 1).unwrap();
            written += share.len();
        }
        if written > 17 << 20 {
            break;
        }
    }
    drop(store);
    std::fs::write(&index, image).unwrap();
    let store = open(disk, StoreOptions::default()).unwrap();
    assert_ne!(store.incarnation(), before, "promises made since may be forgotten");
}

#[test]
fn a_directory_that_is_no_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
    assert!(matches!(open(disk.clone(), StoreOptions::default()), Err(StoreError::NotAStore { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let found = init(&disk);
    assert!(matches!(Store::init(&disk, &protocol::OsRandom), Err(StoreError::AlreadyAStore { .. })));
    let expected = NodeId::new([1; 32]);
    let wrong = open(disk.clone(), StoreOptions { expected: Some(expected), ..StoreOptions::default() });
    assert!(matches!(wrong, Err(StoreError::WrongStore { found: f, .. }) if f == found));
    let store = open(disk.clone(), StoreOptions::default()).unwrap();
    assert!(matches!(open(disk.clone(), StoreOptions::default()), Err(StoreError::InUse { .. })));
    store_share(&store, &object(1, 3000).shares[0], 0, 1).unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("identity")).unwrap();
    assert!(matches!(Store::init(&disk, &protocol::OsRandom), Err(StoreError::LostIdentity { .. })));
}

#[test]
fn newer_and_damaged_stores_are_refused_by_name() {
    let (disk, dynamic) = memory();
    disk.damage("identity", |bytes| bytes[8] = 2);
    let error = open(dynamic.clone(), StoreOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::NewerVersion { found: 2, known: 1, .. }));
    disk.damage("identity", |bytes| bytes[8] = 1);
    drop(open(dynamic.clone(), StoreOptions::default()).unwrap());
    for at in [0, 12, 20, 47] {
        disk.damage("identity", |bytes| bytes[at] ^= 1);
        assert!(matches!(
            open(dynamic.clone(), StoreOptions::default()),
            Err(StoreError::BadIdentity { .. })
        ));
        disk.damage("identity", |bytes| bytes[at] ^= 1);
    }
}

#[test]
fn a_lost_index_is_rebuilt_from_the_shares() {
    type Damage = fn(&mut Vec<u8>);
    let ways: [(&str, Damage); 5] = [
        ("emptied", |bytes| bytes.clear()),
        ("cut", |bytes| bytes.truncate(bytes.len() / 3)),
        ("zeroed", |bytes| bytes.fill(0)),
        ("header zeroed", |bytes| bytes[..4096].fill(0)),
        ("garbage", |bytes| bytes.iter_mut().enumerate().for_each(|(i, b)| *b = (i * 7) as u8)),
    ];
    for (way, damage) in ways {
        let (disk, dynamic) = memory();
        let objects = [object(1, 500), object(2, 4000), object(3, 300_000), object(4, 9000)];
        let store = open(dynamic.clone(), StoreOptions::default()).unwrap();
        for object in &objects {
            store_share(&store, &object.shares[0], 0, 1).unwrap();
            store_share(&store, &object.shares[3], 3, 1).unwrap();
        }
        let before = store.status();
        drop(store);
        disk.damage("index.redb", damage);
        let read_only = open(dynamic.clone(), StoreOptions { read_only: true, ..StoreOptions::default() });
        assert!(matches!(read_only, Err(StoreError::IndexLost { .. })), "{way}");
        let store = open(dynamic.clone(), StoreOptions::default()).unwrap();
        let after = store.status();
        assert_eq!((after.shares, after.used), (before.shares, before.used), "{way}");
        for object in &objects {
            assert_eq!(load(&store, object.key(3)).unwrap(), object.shares[3]);
        }
        let cancelled = now(store.cancel_lease(&inline(), account(), TAG.0, vec![objects[0].hash])).unwrap();
        assert_eq!(cancelled, [false], "leases are lost with the index");
        store_share(&store, &objects[0].shares[1], 1, 1).unwrap();
        assert_eq!(load(&store, objects[0].key(1)).unwrap(), objects[0].shares[1]);
    }
}

#[test]
fn a_rebuild_leaves_out_what_is_bad() {
    let (disk, dynamic) = memory();
    let objects: Vec<_> = (0..5).map(|seed| object(seed, 4000)).collect();
    let (large, torn) = (object(10, 300_000), object(11, 300_000));
    let store = open(dynamic.clone(), StoreOptions::default()).unwrap();
    for object in &objects {
        store_share(&store, &object.shares[0], 0, 1).unwrap();
    }
    store_share(&store, &large.shares[0], 0, 1).unwrap();
    store_share(&store, &torn.shares[0], 0, 1).unwrap();
    let incarnation = store.incarnation();
    drop(store);
    let record = 64 + objects[0].shares[0].len();
    let pack = "packs/00000000.pack";
    disk.damage(pack, |bytes| {
        bytes[record + 10] ^= 1; // The second record's header.
        bytes[2 * record + 100] ^= 1; // The third record's share.
        bytes.extend_from_slice(b"SrRc and then nothing");
    });
    let path = format!("shares/{}/{}.0", &torn.hash.to_string()[..2], torn.hash);
    disk.damage(&path, |bytes| bytes[5000] ^= 1);
    let report = Store::rebuild(&dynamic, &crate::objects::Seeded::new(77)).unwrap();
    assert_eq!((report.shares, report.bad), (4, 3));
    let store = open(dynamic, StoreOptions::default()).unwrap();
    assert_ne!(store.incarnation(), incarnation);
    for at in [0, 3, 4] {
        assert_eq!(load(&store, objects[at].key(0)).unwrap(), objects[at].shares[0]);
    }
    assert_eq!(load(&store, large.key(0)).unwrap(), large.shares[0]);
    assert!(disk.files().contains(&format!("quarantine/{}.0", torn.hash)));
    // What was lost can be stored again.
    store_share(&store, &objects[1].shares[0], 0, 1).unwrap();
    store_share(&store, &torn.shares[0], 0, 1).unwrap();
    assert_eq!(store.status().shares, 6);
}

#[test]
fn rot_is_named_and_a_new_copy_replaces_it() {
    let (disk, dynamic) = memory();
    let store = open(dynamic, StoreOptions::default()).unwrap();
    let (small, large) = (object(1, 4000), object(2, 300_000));
    for object in [&small, &large] {
        store_share(&store, &object.shares[0], 0, 1).unwrap();
    }
    disk.damage("packs/00000000.pack", |bytes| bytes[100] ^= 1);
    let path = format!("shares/{}/{}.0", &large.hash.to_string()[..2], large.hash);
    disk.damage(&path, |bytes| bytes.truncate(1000));
    for object in [&small, &large] {
        assert_eq!(store.open_share(object.key(0)).err().unwrap().code(), ErrorCode::Corrupt);
        store_share(&store, &object.shares[0], 0, 1).unwrap();
        assert_eq!(load(&store, object.key(0)).unwrap(), object.shares[0]);
    }
    assert_eq!(store.status().shares, 2);
}

#[test]
fn a_rotten_file_does_not_swallow_its_new_copy() {
    let (disk, dynamic) = memory();
    let store = open(dynamic, StoreOptions::default()).unwrap();
    let object = object(2, 300_000);
    store_share(&store, &object.shares[0], 0, 1).unwrap();
    let path = format!("shares/{}/{}.0", &object.hash.to_string()[..2], object.hash);
    // Of the right length: only reading all of it would show.
    disk.damage(&path, |bytes| bytes[70_000] ^= 1);
    let mut proof = store.open_share(object.key(0)).unwrap().proof(&[1; 32]).unwrap();
    assert!(matches!(proof.step(), Err(ReadError::Corrupt)));
    store_share(&store, &object.shares[0], 0, 1).unwrap();
    assert_eq!(load(&store, object.key(0)).unwrap(), object.shares[0]);
    let status = store.status();
    assert_eq!((status.shares, status.used), (1, object.shares[0].len() as u64));
    let mut proof = store.open_share(object.key(0)).unwrap().proof(&[1; 32]).unwrap();
    let expected = *blake3::keyed_hash(&[1; 32], &object.shares[0]).as_bytes();
    assert_eq!(proof.step().unwrap(), Some(expected));
}

#[test]
fn a_system_short_of_files_does_not_fence_a_store() {
    // EINTR, ENOMEM, ENFILE, EMFILE, EFBIG.
    for errno in [4, 12, 23, 24, 27] {
        let (disk, dynamic) = memory();
        let store = open(dynamic, StoreOptions::default()).unwrap();
        for object in [object(1, 4000), object(2, 300_000)] {
            disk.fail_opens(Some(errno));
            assert_eq!(store_share(&store, &object.shares[0], 0, 1).unwrap_err().code(), ErrorCode::Busy);
            assert_eq!(store.state(), StoreState::Writable);
            disk.fail_opens(None);
            store_share(&store, &object.shares[0], 0, 1).unwrap();
        }
        disk.fail_opens(Some(errno));
        assert_eq!(store.open_share(object(2, 300_000).key(0)).err().unwrap().code(), ErrorCode::Busy);
    }
    // EIO, EROFS.
    for errno in [5, 30] {
        let (disk, dynamic) = memory();
        let store = open(dynamic, StoreOptions::default()).unwrap();
        disk.fail_opens(Some(errno));
        let error = store_share(&store, &object(1, 4000).shares[0], 0, 1).unwrap_err();
        assert_eq!((error.code(), store.state()), (ErrorCode::StoreFailed, StoreState::Failed));
    }
}

#[test]
fn room_is_promised_as_bytes_come() {
    let (disk, dynamic) = memory();
    let clock = Arc::new(crate::objects::ManualClock::default());
    let store = Store::open(dynamic, clock.clone(), &crate::objects::Seeded::new(1), StoreOptions::default())
        .unwrap();
    let put = store.begin(account(), &put_of(store.id(), 0, Some(1 << 39), 1)).unwrap();
    assert_eq!((1 << 40) - store.status().available, 64 << 20);
    drop(put);
    assert_eq!(store.status().available, 1 << 40);
    // What was not promised may be gone when it is needed.
    let object = object(1, 600_000);
    let mut put = store.begin(account(), &put_of(store.id(), 0, Some(1 << 30), 1)).unwrap();
    for piece in object.shares[0].chunks(BLOCK_LEN as usize).take(6) {
        put.push(piece).unwrap();
    }
    drop(put);
    disk.set_capacity(Some(disk.used() + 1000));
    // Plenty is believed for a moment.
    clock.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let again = store.begin(account(), &put_of(store.id(), 0, Some(1 << 30), 1));
    assert_eq!(again.err().unwrap().code(), ErrorCode::NoSpace);
}

#[test]
fn partial_shares_do_not_stay_for_ever() {
    let (disk, dynamic) = memory();
    let clock = Arc::new(crate::objects::ManualClock::default());
    let store = Store::open(dynamic, clock.clone(), &crate::objects::Seeded::new(1), StoreOptions::default())
        .unwrap();
    let object = object(1, 600_000);
    let begin = |upload| {
        let mut put = store.begin(account(), &put_of(store.id(), 0, None, upload)).unwrap();
        object.shares[0].chunks(BLOCK_LEN as usize).take(6).for_each(|piece| put.push(piece).unwrap());
        put
    };
    drop(begin(1));
    let held = begin(2);
    let pass = |days: u64| clock.0.fetch_add(days * 24 * 3600, std::sync::atomic::Ordering::SeqCst);
    let count = || disk.files().iter().filter(|file| file.starts_with("partial/")).count();
    pass(6);
    store.expire_partials();
    assert_eq!(count(), 2);
    pass(2);
    store.expire_partials();
    assert_eq!(count(), 1);
    drop(held);
    store.expire_partials();
    assert_eq!(count(), 1);
    pass(7);
    store.expire_partials();
    assert_eq!(count(), 0);
}

#[test]
fn nobody_has_too_many_partial_shares() {
    let (disk, dynamic) = memory();
    drop(open(dynamic.clone(), StoreOptions::default()).unwrap());
    for upload in 0..4096 {
        let name = format!("partial/{}-{upload:032x}-0", account());
        dynamic.open(&name, storage_server::OpenMode::CreateNew).unwrap();
    }
    let store = open(dynamic, StoreOptions::default()).unwrap();
    let count = || disk.files().iter().filter(|file| file.starts_with("partial/")).count();
    let begin = |account| {
        let mut put = store.begin(account, &put_of(store.id(), 0, None, 0xff)).unwrap();
        object(1, 600_000).shares[0].chunks(BLOCK_LEN as usize).take(6).for_each(|p| put.push(p).unwrap());
    };
    begin(NodeId::new([8; 32]));
    assert_eq!(count(), 4097);
    begin(account());
    assert_eq!(count(), 4097);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever stands between records, and whatever is cut off the end, the intact records are found.
    #[test]
    fn a_rebuild_finds_records_in_any_rubbish(
        before in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        magic in proptest::prelude::any::<bool>(),
        cut in 0usize..200,
    ) {
        let (disk, dynamic) = memory();
        let store = open(dynamic.clone(), StoreOptions::default()).unwrap();
        let (first, second) = (object(1, 700), object(2, 900));
        store_share(&store, &first.shares[0], 0, 1).unwrap();
        store_share(&store, &second.shares[0], 0, 1).unwrap();
        drop(store);
        disk.damage("packs/00000000.pack", |bytes| {
            let mut rubbish = before.clone();
            if magic {
                rubbish.extend_from_slice(b"SrRc");
            }
            bytes.truncate(bytes.len() - cut);
            bytes.splice(0..0, rubbish);
        });
        let report = Store::rebuild(&dynamic, &crate::objects::Seeded::new(77)).unwrap();
        proptest::prop_assert_eq!(report.shares, if cut == 0 { 2 } else { 1 });
        let store = open(dynamic, StoreOptions::default()).unwrap();
        proptest::prop_assert_eq!(&load(&store, first.key(0)).unwrap(), &first.shares[0]);
    }
}
