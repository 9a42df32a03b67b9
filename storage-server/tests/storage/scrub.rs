//! Every share is hashed again now and then; what is bad is put aside, and nothing else is.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use protocol::Pool;
use protocol::message::{ErrorCode, Scrubbed, StoreState};
use storage_server::{Disk, ReadError, ScrubOptions, ShareKey, Store};

use crate::collect::{Setup, cancel, dated, is_here, put, sound, tidy};
use crate::objects::{Late, Object, inline, load, now, object, store_share};

const DAY: u64 = 24 * 3600;
const PERIOD: u64 = 30 * DAY;

fn scrubbed(store: &Store) -> Scrubbed {
    store.status().scrub.unwrap()
}

/// Scrubs until nothing is due.
fn work_off(store: &Arc<Store>) {
    let rests = (0..10_000).any(|_| now(store.scrub(&inline())) >= Duration::from_secs(60));
    assert!(rests, "it comes to an end");
}

/// Lets the period go by, and a pass end.
fn whole_pass(setup: &Setup, store: &Arc<Store>) {
    work_off(store);
    setup.pass(PERIOD + 1);
    work_off(store);
}

fn path(object: &Object, number: u16) -> String {
    let name = object.key(number).to_string();
    format!("shares/{}/{name}", &name[..2])
}

fn flip(setup: &Setup, path: &str, at: usize) {
    setup.disk.damage(path, |bytes| bytes[at] ^= 1);
}

/// Damages a share that lies in a pack.
fn flip_packed(setup: &Setup, share: &[u8]) {
    let packs: Vec<String> =
        setup.disk.files().into_iter().filter(|path| path.starts_with("packs/")).collect();
    for pack in packs {
        let content = setup.disk.content(&pack);
        if let Some(at) = content.windows(share.len()).position(|window| window == share) {
            flip(setup, &pack, at + share.len() / 2);
        }
    }
}

fn gone(store: &Store, key: ShareKey) -> bool {
    matches!(store.open_share(key), Err(ReadError::NotFound))
}

/// A store with small shares and large ones, leased for long.
fn filled(setup: &Setup) -> (Arc<Store>, Vec<Object>) {
    let store = setup.open();
    let objects: Vec<Object> =
        (0..6).map(|at| object(at, if at % 2 == 0 { 3000 } else { 300_000 })).collect();
    for object in &objects {
        (0..2).for_each(|number| put(&store, &object.shares[usize::from(number)], number, dated(900)));
    }
    (store, objects)
}

#[test]
fn what_is_intact_stays_and_the_counters_survive() {
    let setup = Setup::new();
    let (store, objects) = filled(&setup);
    assert_eq!(scrubbed(&store), Scrubbed::default());
    whole_pass(&setup, &store);
    let first = scrubbed(&store);
    assert_eq!((first.checked, first.bad, first.unreadable), (12, 0, 0), "{first:?}");
    let finished = first.finished_s.expect("a pass ended");
    assert!(finished > PERIOD);
    drop(store);
    let store = setup.open();
    assert_eq!(scrubbed(&store), first);
    whole_pass(&setup, &store);
    let second = scrubbed(&store);
    assert_eq!(second.checked, 24);
    assert!(second.finished_s > Some(finished + PERIOD));
    for object in &objects {
        assert_eq!(load(&store, object.key(1)).unwrap(), object.shares[1]);
    }
    sound(&store);
}

#[test]
fn whatever_is_wrong_with_a_share_is_found_and_it_alone_goes() {
    let setup = Setup::new();
    let (store, objects) = filled(&setup);
    let before = (store.status(), store.charged(&crate::objects::account()).unwrap());
    flip_packed(&setup, &objects[0].shares[0]);
    flip(&setup, &path(&objects[1], 0), 70_000);
    setup.disk.damage(&path(&objects[3], 0), |bytes| bytes.truncate(100_000));
    setup.disk.remove(&path(&objects[5], 0)).unwrap();
    // The end of a share: its table and descriptor.
    let len = objects[5].shares[1].len();
    flip(&setup, &path(&objects[5], 1), len - 300);
    let lost = [(0, 0), (1, 0), (3, 0), (5, 0), (5, 1)].map(|(at, number)| (&objects[at], number));
    whole_pass(&setup, &store);
    sound(&store);
    let after = store.status();
    assert_eq!((after.shares, scrubbed(&store).bad, scrubbed(&store).unreadable), (7, 5, 0));
    let bytes: u64 = lost.iter().map(|(object, n)| object.shares[usize::from(*n)].len() as u64).sum();
    assert_eq!(before.0.used - after.used, bytes);
    assert_eq!(before.1 - store.charged(&crate::objects::account()).unwrap(), bytes, "it is credited");
    for (object, number) in lost {
        assert!(gone(&store, object.key(number)));
        let name = object.key(number).to_string();
        let there = setup.disk.files().contains(&format!("quarantine/{name}"));
        assert_eq!(there, name != objects[5].key(0).to_string(), "what is missing leaves nothing");
    }
    assert!(!is_here(&store, &objects[5]), "both are bad");
    assert_eq!(load(&store, objects[1].key(1)).unwrap(), objects[1].shares[1]);
    // Stored again they are there, under the leases they had.
    for (at, (object, number)) in lost.into_iter().enumerate() {
        let share = &object.shares[usize::from(number)];
        store_share(&store, share, number, 50 + at as u8).unwrap();
        assert_eq!(&load(&store, object.key(number)).unwrap(), share);
    }
    sound(&store);
    assert_eq!(store.charged(&crate::objects::account()).unwrap(), before.1);
    drop(store);
    let store = setup.open();
    (0..).take_while(|step| store.sweep(*step)).for_each(drop);
    assert_eq!(store.status().shares, 12);
    whole_pass(&setup, &store);
    assert_eq!((store.status().shares, scrubbed(&store).bad), (12, 5));
}

#[test]
fn a_bad_share_without_a_lease_leaves_the_counters_right() {
    let setup = Setup::new();
    let (store, objects) = filled(&setup);
    assert_eq!(cancel(&store, &[&objects[1], &objects[3]]), [true, true]);
    flip(&setup, &path(&objects[1], 0), 7);
    flip(&setup, &path(&objects[1], 1), 7);
    flip(&setup, &path(&objects[3], 1), 7);
    // By hand: else the grace would be over before the period is.
    let report = store.scrub_now().unwrap();
    assert_eq!((report.shares, report.bad.len()), (12, 3));
    sound(&store);
    setup.pass(8 * DAY);
    tidy(&store);
    sound(&store);
    assert_eq!(store.status().shares, 8, "what was in its grace has gone");
}

#[test]
fn a_medium_that_cannot_read_several_shares_is_failing_until_it_reads_all() {
    let setup = Setup::new();
    let (store, objects) = filled(&setup);
    setup.disk.fail_reads(&path(&objects[1], 0));
    whole_pass(&setup, &store);
    assert_eq!((scrubbed(&store).bad, scrubbed(&store).unreadable), (1, 1));
    assert_eq!(store.state(), StoreState::Writable, "one bad spot is no failing disk");
    setup.disk.fail_reads(&path(&objects[3], 0));
    setup.disk.fail_reads(&path(&objects[5], 0));
    whole_pass(&setup, &store);
    assert_eq!((scrubbed(&store).bad, scrubbed(&store).unreadable), (3, 2), "of this pass");
    setup.disk.fail_reads(&path(&objects[5], 1));
    store.scrub_now().unwrap();
    assert_eq!(store.state(), StoreState::Writable);
    let more: Vec<Object> = (20..23).map(|seed| object(seed, 300_000)).collect();
    for object in &more {
        put(&store, &object.shares[0], 0, dated(900));
        setup.disk.fail_reads(&path(object, 0));
    }
    let report = store.scrub_now().unwrap();
    assert!(report.bad.len() == 3 && report.bad.iter().all(|bad| bad.unreadable));
    assert_eq!(store.state(), StoreState::Failing);
    let another = object(30, 300_000);
    let refused = store_share(&store, &another.shares[0], 0, 90).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::StoreFailed);
    assert_eq!(load(&store, objects[1].key(1)).unwrap(), objects[1].shares[1]);
    drop(store);
    let store = setup.open();
    assert_eq!((store.state(), store.status().available), (StoreState::Failing, 0));
    store.scrub_now().unwrap();
    assert_eq!(store.state(), StoreState::Writable, "it read all there is");
    sound(&store);
}

#[test]
fn a_medium_that_went_is_not_judged() {
    let setup = Setup::new();
    let (store, objects) = filled(&setup);
    work_off(&store);
    setup.pass(PERIOD + 1);
    let identity = setup.disk.content("identity");
    setup.disk.remove("identity").unwrap();
    setup.disk.remove(&path(&objects[1], 0)).unwrap();
    work_off(&store);
    assert_eq!((store.state(), store.status().shares), (StoreState::Failed, 12));
    drop(store);
    let file = setup.disk.open("identity", storage_server::OpenMode::CreateNew).unwrap();
    file.write_all_at(&identity, 0).unwrap();
    let store = setup.open();
    whole_pass(&setup, &store);
    assert_eq!(store.status().shares, 11);
}

#[test]
fn the_bytes_are_spread_over_the_period_and_over_restarts() {
    let mut setup = Setup::new();
    setup.options.scrub.max_rate = 1_000_000;
    let mut store = setup.open();
    let objects: Vec<Object> =
        (0..40).map(|at| object(at, if at % 2 == 0 { 9000 } else { 200_000 })).collect();
    for object in &objects {
        put(&store, &object.shares[0], 0, dated(900));
    }
    work_off(&store);
    let (used, longest) = (store.status().used, objects[1].shares[0].len() as u64);
    for day in 1..=30 {
        setup.pass(if day == 30 { DAY + 2 } else { DAY });
        let mut waited = 0.0;
        let before = scrubbed(&store);
        loop {
            let wait = now(store.scrub(&inline()));
            if wait >= Duration::from_secs(60) {
                break;
            }
            waited += wait.as_secs_f64();
        }
        let after = scrubbed(&store);
        if day == 30 {
            assert!(after.finished_s.is_some());
            break;
        }
        let due = used * day / 30;
        assert!(
            after.done >= due.saturating_sub(longest) && after.done <= due + longest,
            "day {day}: {after:?}"
        );
        let rate = (after.done - before.done) as f64 / waited.max(1e-9);
        assert!(rate < 1_001_000.0, "{rate} bytes a second");
        if day % 7 == 0 {
            drop(store);
            store = setup.open();
            // A restart goes on where it was.
            assert_eq!(scrubbed(&store), after);
        }
    }
    let checked = scrubbed(&store).checked;
    assert!((40..=48).contains(&checked), "{checked} of 40: at a restart a few are looked at again");
    setup.options.scrub = ScrubOptions { period: Duration::ZERO, ..setup.options.scrub };
    drop(store);
    let store = setup.open();
    setup.pass(100 * DAY);
    work_off(&store);
    assert_eq!(scrubbed(&store).checked, checked, "never by itself");
}

/// Has a scrub look and find, then does `meanwhile` before that is written down.
fn with_a_finding(store: &Arc<Store>, meanwhile: impl FnOnce()) {
    let late = Arc::new(Late::default());
    let pool: Arc<dyn Pool> = late.clone();
    let mut scrubbing = std::pin::pin!(store.scrub(&pool));
    let mut context = Context::from_waker(Waker::noop());
    assert!(scrubbing.as_mut().poll(&mut context).is_pending());
    assert_eq!(late.work(), 1);
    meanwhile();
    for _ in 0..10 {
        if scrubbing.as_mut().poll(&mut context).is_ready() {
            return;
        }
        late.work();
    }
    panic!("it comes to an end");
}

#[test]
fn what_is_stored_anew_while_the_old_one_is_found_bad_stays() {
    for at in [0, 1] {
        let setup = Setup::new();
        let (store, objects) = filled(&setup);
        let damage = || match at {
            0 => flip_packed(&setup, &objects[0].shares[0]),
            _ => flip(&setup, &path(&objects[1], 0), 9),
        };
        damage();
        work_off(&store);
        setup.pass(PERIOD + 1);
        with_a_finding(&store, || {
            store_share(&store, &objects[at].shares[0], 0, 60).unwrap();
        });
        assert_eq!(load(&store, objects[at].key(0)).unwrap(), objects[at].shares[0]);
        work_off(&store);
        assert_eq!((scrubbed(&store).bad, store.status().shares), (0, 12));
        sound(&store);
        // And the other way round: it is found again when it is bad again.
        damage();
        whole_pass(&setup, &store);
        assert_eq!((scrubbed(&store).bad, store.status().shares), (1, 11));
        sound(&store);
    }
}

#[test]
fn collection_and_rewritten_packs_do_not_mislead_it() {
    let setup = Setup::new();
    let (store, objects) = filled(&setup);
    flip(&setup, &path(&objects[1], 0), 9);
    work_off(&store);
    setup.pass(PERIOD + 1);
    with_a_finding(&store, || {
        cancel(&store, &[&objects[1]]);
        setup.pass(8 * DAY);
        tidy(&store);
        assert!(!is_here(&store, &objects[1]));
        // And it comes anew.
        put(&store, &objects[1].shares[0], 0, dated(900));
    });
    assert_eq!(load(&store, objects[1].key(0)).unwrap(), objects[1].shares[0]);
    assert_eq!(scrubbed(&store).bad, 0);
    // Packs are rewritten between its steps.
    let many: Vec<Object> = (100..140).map(|seed| object(seed, 3000)).collect();
    many.iter().for_each(|object| put(&store, &object.shares[0], 0, dated(900)));
    work_off(&store);
    setup.pass(PERIOD / 2);
    work_off(&store);
    cancel(&store, &many.iter().skip(1).take(30).collect::<Vec<_>>());
    setup.pass(8 * DAY);
    tidy(&store);
    setup.pass(PERIOD);
    work_off(&store);
    assert_eq!(scrubbed(&store).bad, 0);
    assert_eq!(load(&store, many[0].key(0)).unwrap(), many[0].shares[0]);
    sound(&store);
}

#[test]
fn a_damaged_record_no_longer_keeps_its_pack() {
    let setup = Setup::new();
    let store = setup.open();
    let objects: Vec<Object> = (0..30).map(|seed| object(seed, 3000)).collect();
    objects.iter().for_each(|object| put(&store, &object.shares[0], 0, dated(900)));
    let packs = |setup: &Setup| setup.disk.files().iter().filter(|path| path.starts_with("packs/")).count();
    let before = packs(&setup);
    flip_packed(&setup, &objects[0].shares[0]);
    cancel(&store, &objects[1..].iter().collect::<Vec<_>>());
    setup.pass(8 * DAY);
    tidy(&store);
    assert!(packs(&setup) >= 1 && packs(&setup) < before);
    let report = store.scrub_now().unwrap();
    assert_eq!(report.bad.iter().map(|bad| bad.key).collect::<Vec<_>>(), [objects[0].key(0)]);
    tidy(&store);
    sound(&store);
    assert!(store.dead_bytes() == 0 || packs(&setup) <= 1, "{} in {}", store.dead_bytes(), packs(&setup));
    assert_eq!(
        setup.disk.content(&format!("quarantine/{}", objects[0].key(0))).len(),
        objects[0].shares[0].len() + 64
    );
}

#[test]
fn a_crash_while_a_bad_share_is_put_aside_loses_nothing_else() {
    use crate::crash_disk::Unsynced;
    for syncs in 0..6 {
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(syncs as u64)] {
            let setup = Setup::new();
            let (store, objects) = filled(&setup);
            flip(&setup, &path(&objects[1], 0), 9);
            flip_packed(&setup, &objects[2].shares[1]);
            setup.disk.cut_after(syncs);
            let _ = store.scrub_now();
            drop(store);
            let setup = Setup { disk: setup.disk.after_crash(unsynced), ..setup };
            let store = setup.open();
            (0..).take_while(|step| store.sweep(*step)).for_each(drop);
            sound(&store);
            let report = store.scrub_now().unwrap();
            assert!(report.bad.len() <= 2);
            assert_eq!((store.status().shares, scrubbed(&store).unreadable), (10, 0));
            for object in [&objects[0], &objects[3], &objects[4], &objects[5]] {
                (0..2).for_each(|number| drop(load(&store, object.key(number)).unwrap()));
            }
        }
    }
}
