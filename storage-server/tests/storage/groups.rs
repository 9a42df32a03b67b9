//! Chaining values of the groups of large shares: kept beside them, used for samples where they are right, and no harm where they are not.

use std::sync::Arc;
use std::time::Duration;

use encoding::{GROUP_LEN, Root, Sampled, ShareReport, block_groups};
use protocol::message::Put;
use storage_server::{Disk, ShareKey, Store, Upload};

use crate::collect::{Setup, cancel, dated, sound, tidy};
use crate::objects::{Object, Seeded, account, inline, load, now, object, object_of, put_of};

/// Four groups.
const BLOCK: usize = 4 * GROUP_LEN;
/// An object whose shares have 20 full blocks, and a short one.
const LEN: usize = 2 * 20 * BLOCK;

fn large(seed: u64) -> Object {
    object_of(seed, LEN, BLOCK as u32)
}

fn begin(store: &Arc<Store>, number: u16, block_len: usize) -> Upload {
    let put = put_of(store.id(), number, None, number as u8);
    store.begin(account(), &Put { block_len: block_len as u32, lease: dated(30), ..put }).unwrap()
}

fn store_in_pieces(store: &Arc<Store>, share: &[u8], number: u16, block_len: usize) {
    let mut upload = begin(store, number, block_len);
    while upload.to_resume() {
        upload.resume().unwrap();
    }
    share[upload.offset() as usize..].chunks(block_len).for_each(|piece| upload.push(piece).unwrap());
    now(store.commit(&inline(), upload.finish().unwrap())).unwrap();
}

fn path(key: ShareKey) -> String {
    let name = key.to_string();
    format!("groups/{}/{name}", &name[..2])
}

fn share_path(key: ShareKey) -> String {
    path(key).replace("groups/", "shares/")
}

/// What should be kept of a share.
fn expected(share: &[u8], blocks: usize) -> Vec<u8> {
    let mut values = Vec::new();
    for block in share.chunks(BLOCK).take(blocks) {
        block_groups(block, &mut values);
    }
    values
}

fn report(share: &[u8]) -> (ShareReport, Root) {
    let read_at = |at: u64, buffer: &mut [u8]| {
        buffer.copy_from_slice(&share[at as usize..at as usize + buffer.len()]);
        Ok(())
    };
    let (report, _) = ShareReport::read(share.len() as u64, read_at).unwrap();
    let root = report.descriptor.share_roots[usize::from(report.number)];
    (report, root)
}

/// Whether what the store proves of this chunk is what the share has.
fn proves(store: &Store, share: &[u8], chunk: u64) -> bool {
    let (report, root) = report(share);
    let key = ShareKey { hash: report.hash, number: report.number };
    let proof = store.sample(key, vec![chunk]).unwrap();
    let sampled = Sampled::new(report.descriptor.geometry, vec![chunk]).unwrap();
    sampled.verify(&root, &proof).is_ok()
}

/// Of a share with a rotten byte in the second group of its third block: whether the groups beside it are proved, which they are only from
/// values that are kept. The group itself never is.
fn uses_groups(setup: &Setup, store: &Store, object: &Object) -> bool {
    let share = &object.shares[1];
    let at = 2 * BLOCK + GROUP_LEN + 5000;
    let flip = || setup.disk.damage(&share_path(object.key(1)), |bytes| bytes[at] ^= 1);
    flip();
    let first = 2 * BLOCK as u64 / 1024;
    assert!((16..32).all(|chunk| !proves(store, share, first + chunk)), "a rotten group is noticed");
    let beside = [0, 15, 32, 63].map(|chunk| proves(store, share, first + chunk));
    flip();
    assert!([0, first + 20, 20 * BLOCK as u64 / 1024].iter().all(|chunk| proves(store, share, *chunk)));
    assert!(beside.iter().all(|proved| *proved == beside[0]));
    beside[0]
}

fn filled(setup: &Setup) -> (Arc<Store>, Object) {
    let (store, object) = (setup.open(), large(1));
    for number in [0, 1] {
        store_in_pieces(&store, &object.shares[usize::from(number)], number, BLOCK);
    }
    (store, object)
}

#[test]
fn groups_of_large_shares_are_kept_and_samples_use_them() {
    let setup = Setup::new();
    let (store, whole) = filled(&setup);
    assert_eq!(setup.disk.content(&path(whole.key(1))), expected(&whole.shares[1], 20));
    assert!(uses_groups(&setup, &store, &whole));
    // Of shorter ones, and where the pieces are none of its blocks or a block is one group, nothing is kept.
    let others = [object_of(2, LEN / 2, BLOCK as u32), large(3), object(4, LEN)];
    for (other, block_len) in others.iter().zip([BLOCK, BLOCK / 2, GROUP_LEN]) {
        store_in_pieces(&store, &other.shares[2], 2, block_len);
        assert!((0..10).all(|chunk| proves(&store, &other.shares[2], chunk * 7)));
    }
    assert_eq!(setup.count("groups/"), 2);
    sound(&store);
}

#[test]
fn values_that_are_missing_cut_off_or_wrong_do_no_harm_and_the_scrub_mends_them() {
    let damages: [fn(&Setup, &str); 5] = [
        |setup, path| drop(setup.disk.remove(path)),
        |setup, path| setup.disk.damage(path, |bytes| bytes.truncate(2 * 4 * 32 + 40)),
        |setup, path| setup.disk.damage(path, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 1)),
        |setup, path| setup.disk.damage(path, |bytes| bytes.fill(0)),
        // Those of another share.
        |setup, path| {
            let other = setup.disk.content(&format!("{}0", path.trim_end_matches('1')));
            setup.disk.damage(path, |bytes| *bytes = other);
        },
    ];
    for damage in damages {
        let setup = Setup::new();
        let (store, object) = filled(&setup);
        let path = path(object.key(1));
        damage(&setup, &path);
        assert!(!uses_groups(&setup, &store, &object), "its blocks are hashed");
        let rests = |_| now(store.scrub(&inline())) >= Duration::from_secs(60);
        assert!((0..1000).any(rests));
        setup.pass(31 * 24 * 3600);
        assert!((0..1000).any(rests));
        assert_eq!(setup.disk.content(&path), expected(&object.shares[1], 20));
        assert!(uses_groups(&setup, &store, &object));
        sound(&store);
    }
}

#[test]
fn values_go_with_their_share() {
    let setup = Setup::new();
    let (store, object) = filled(&setup);
    let other = large(5);
    store_in_pieces(&store, &other.shares[0], 0, BLOCK);
    // One is found to be bad.
    setup.disk.damage(&share_path(object.key(0)), |bytes| bytes[70_000] ^= 1);
    let reports = store.scrub_now().unwrap();
    assert_eq!(reports.bad.len(), 1);
    assert!(setup.disk.files().contains(&format!("quarantine/{}", object.key(0))));
    assert_eq!(setup.count("groups/"), 2);
    // And the other one is collected.
    assert_eq!(cancel(&store, &[&object]), [true]);
    setup.pass(8 * 24 * 3600);
    tidy(&store);
    assert!(store.list(object.hash).unwrap().is_empty());
    assert_eq!((setup.count("shares/"), setup.count("groups/")), (1, 1));
    assert!(setup.disk.files().contains(&path(other.key(0))));
    sound(&store);
}

#[test]
fn an_index_is_rebuilt_beside_them_and_strays_go() {
    let setup = Setup::new();
    let (store, object) = filled(&setup);
    let used = store.status().used;
    drop(store);
    setup.disk.remove("index.redb").unwrap();
    let stray = path(large(6).key(3));
    setup.disk.create_dir_all(stray.rsplit_once('/').unwrap().0).unwrap();
    for left in [stray.as_str(), "groups/somebody-0102-3.new"] {
        let file = setup.disk.open(left, storage_server::OpenMode::CreateNew).unwrap();
        file.write_all_at(&[7; 100], 0).unwrap();
    }
    let report = Store::rebuild(&(Arc::new(setup.disk.clone()) as Arc<dyn Disk>), &Seeded::new(9)).unwrap();
    assert_eq!((report.shares, report.bad), (2, 0));
    let store = setup.open();
    assert_eq!((store.status().shares, store.status().used), (2, used));
    assert_eq!(setup.count("groups/"), 3, "what an upload left is gone");
    (0..).find(|step| !store.sweep(*step)).unwrap();
    assert_eq!(setup.count("groups/"), 2);
    assert!(uses_groups(&setup, &store, &object));
    assert_eq!(setup.count("quarantine/"), 0);
    sound(&store);
}

#[test]
fn uploads_that_are_cut_off_taken_up_or_bad_leave_what_they_should() {
    let setup = Setup::new();
    let store = setup.open();
    // Long enough for its values not to wait in memory for its end.
    let object = object_of(7, 12 * LEN, BLOCK as u32);
    let share = &object.shares[3];
    let mut upload = begin(&store, 3, BLOCK);
    share.chunks(BLOCK).take(200).for_each(|piece| upload.push(piece).unwrap());
    assert_eq!(setup.count("groups/"), 1);
    drop(upload);
    assert_eq!(setup.count("groups/"), 0);
    let mut bad = share.clone();
    bad[100 * BLOCK] ^= 1;
    let mut upload = begin(&store, 2, BLOCK);
    bad.chunks(BLOCK).for_each(|piece| upload.push(piece).unwrap());
    assert!(upload.finish().is_err());
    assert_eq!(setup.count("groups/"), 0);
    drop(store);
    let store = setup.open();
    store_in_pieces(&store, share, 3, BLOCK);
    assert_eq!(setup.disk.content(&path(object.key(3))), expected(share, 240));
    assert_eq!(&load(&store, object.key(3)).unwrap(), share);
    // Stored again, it is there once.
    store_in_pieces(&store, share, 3, BLOCK);
    assert_eq!((setup.count("groups/"), setup.count("shares/")), (1, 1));
    assert_eq!(setup.disk.content(&path(object.key(3))), expected(share, 240));
    sound(&store);
}
