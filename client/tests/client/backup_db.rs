//! What a backup remembers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use client::backup_db::{BackupDb, BackupDbError, Known};
use client::local::{Identity, LocalMetadata, Time};

use crate::things::{Home, directory, file};

const GRID: [u8; 32] = [1; 32];
const READ_AT: Time = Time { secs: 2_000, nanos: 0 };

fn meta(size: u64) -> LocalMetadata {
    LocalMetadata {
        mtime: Time { secs: -5, nanos: 7 },
        ctime: Time { secs: 1_000, nanos: 999_999_999 },
        size,
        identity: Identity { dev: 3, ino: u64::MAX, nlink: 1 },
        ..LocalMetadata::default()
    }
}

fn known(number: u8) -> Known {
    Known { cap: file(number), salt: (number > 0).then_some([number; 32]), uploaded: 10, checked: 20 }
}

#[test]
fn what_is_unchanged_is_found_before_and_after_the_flush_and_a_restart() {
    let home = Home::new();
    let db = BackupDb::open(&home.dir, &GRID).unwrap();
    let long = PathBuf::from(format!("/{}", "long/".repeat(300)));
    for (number, path) in [Path::new("/a"), &long].into_iter().enumerate() {
        assert_eq!(db.unchanged(path, &meta(1)).unwrap(), None);
        assert!(db.record(path, &meta(1), READ_AT, known(number as u8)).unwrap());
        assert_eq!(db.unchanged(path, &meta(1)).unwrap(), Some(known(number as u8)));
        assert_eq!(db.unchanged(path, &meta(2)).unwrap(), None);
    }
    let dir = Known { cap: directory(1).read().unwrap(), ..known(0) };
    db.record_directory(&[7; 32], dir.clone()).unwrap();
    assert_eq!(db.directory(&[7; 32]).unwrap(), Some(dir.clone()));
    db.flush().unwrap();
    drop(db);
    let db = BackupDb::open(&home.dir, &GRID).unwrap();
    assert_eq!(db.unchanged(Path::new("/a"), &meta(1)).unwrap(), Some(known(0)));
    assert_eq!(db.unchanged(&long, &meta(1)).unwrap(), Some(known(1)));
    assert_eq!(db.unchanged(Path::new("/b"), &meta(1)).unwrap(), None);
    assert_eq!(db.directory(&[7; 32]).unwrap(), Some(dir));
    assert_eq!(db.directory(&[8; 32]).unwrap(), None);
    let mode = fs::metadata(home.path("private/backup.redb")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn every_part_of_the_stamp_counts() {
    let home = Home::new();
    let db = BackupDb::open(&home.dir, &GRID).unwrap();
    db.record(Path::new("/a"), &meta(1), READ_AT, known(1)).unwrap();
    db.flush().unwrap();
    let changes: [fn(&mut LocalMetadata); 5] = [
        |meta| meta.size += 1,
        |meta| meta.mtime.nanos += 1,
        |meta| meta.ctime.nanos -= 1,
        |meta| meta.identity.ino -= 1,
        |meta| meta.identity.dev += 1,
    ];
    for change in changes {
        let mut other = meta(1);
        change(&mut other);
        assert_eq!(db.unchanged(Path::new("/a"), &other).unwrap(), None, "{other:?}");
    }
    // What tells nothing about the content does not count.
    let other = LocalMetadata { uid: 7, xattrs: vec![("user.x".into(), vec![])], ..meta(1) };
    assert!(db.unchanged(Path::new("/a"), &other).unwrap().is_some());
}

#[test]
fn what_changed_just_before_it_was_read_is_not_remembered() {
    let home = Home::new();
    let db = BackupDb::open(&home.dir, &GRID).unwrap();
    let just = Time { secs: 1_001, nanos: 50_000_000 };
    assert!(!db.record(Path::new("/a"), &meta(1), just, known(1)).unwrap());
    assert_eq!(db.unchanged(Path::new("/a"), &meta(1)).unwrap(), None);
    assert!(db.record(Path::new("/a"), &meta(1), Time { nanos: 200_000_000, ..just }, known(1)).unwrap());
}

#[test]
fn rows_of_another_grid_are_not_used() {
    let home = Home::new();
    let db = BackupDb::open(&home.dir, &GRID).unwrap();
    db.record(Path::new("/a"), &meta(1), READ_AT, known(1)).unwrap();
    db.record_directory(&[7; 32], known(1)).unwrap();
    drop(db); // which keeps what was recorded
    let db = BackupDb::open(&home.dir, &[2; 32]).unwrap();
    assert_eq!(db.unchanged(Path::new("/a"), &meta(1)).unwrap(), None);
    assert_eq!(db.directory(&[7; 32]).unwrap(), None);
    db.record(Path::new("/a"), &meta(1), READ_AT, known(2)).unwrap();
    drop(db);
    let db = BackupDb::open(&home.dir, &GRID).unwrap();
    assert_eq!(db.unchanged(Path::new("/a"), &meta(1)).unwrap(), Some(known(1)));
}

#[test]
fn one_backup_at_a_time() {
    let home = Home::new();
    let db = BackupDb::open(&home.dir, &GRID).unwrap();
    assert!(matches!(BackupDb::open(&home.dir, &GRID), Err(BackupDbError::Busy)));
    drop(db);
    BackupDb::open(&home.dir, &GRID).unwrap();
}

#[test]
fn rubbish_is_named_as_such() {
    let home = Home::new();
    for rubbish in [&b"rubbish"[..], &[0; 100_000]] {
        fs::write(home.path("private/backup.redb"), rubbish).unwrap();
        let error = BackupDb::open(&home.dir, &GRID).err().unwrap();
        assert!(matches!(error, BackupDbError::Damaged { .. }), "{error:?}");
    }
}

#[test]
fn twenty_thousand_rows_are_read_in_no_time() {
    let home = Home::new();
    let db = BackupDb::open(&home.dir, &GRID).unwrap();
    let paths: Vec<PathBuf> =
        (0..20_000).map(|n| format!("/tree/folder-{}/file-{n}", n % 300).into()).collect();
    for path in &paths {
        db.record(path, &meta(5), READ_AT, known(1)).unwrap();
    }
    drop(db);
    let begun = Instant::now();
    let db = BackupDb::open(&home.dir, &GRID).unwrap();
    assert!(paths.iter().all(|path| db.unchanged(path, &meta(5)).unwrap().is_some()));
    let took = begun.elapsed();
    // Far more than it takes, since tests run beside each other; it must not be ten times that.
    assert!(took.as_millis() < 1500, "{took:?}");
    eprintln!("20,000 rows took {took:?}");
}
