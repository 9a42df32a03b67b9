//! Two mounts of one directory that change it at the same time.

use std::ffi::OsStr;

use fuse::{OpenMode, ROOT};

use crate::bed::{Bed, Paths, RW, SECOND, noise, read_all};

#[tokio::test(start_paused = true)]
async fn changes_of_different_files_merge() {
    let bed = Bed::new(20).await;
    let (one, two) = (bed.mount("one").await, bed.mount("two").await);
    one.make_folder("d").await.unwrap();
    two.make_folder("d").await.unwrap();
    one.write_file("d/a", b"a").await.unwrap();
    two.write_file("d/b", b"b").await.unwrap();
    one.write_file("x", b"x").await.unwrap();
    two.write_file("y", b"y").await.unwrap();
    tokio::time::sleep(SECOND * 5).await;
    for mount in [&one, &two] {
        assert_eq!(mount.ls("").await.unwrap(), ["d", "x", "y"]);
        assert_eq!(mount.ls("d").await.unwrap(), ["a", "b"]);
        assert_eq!(mount.read_path("d/a").await.unwrap(), b"a");
        assert_eq!(mount.read_path("d/b").await.unwrap(), b"b");
    }
}

#[tokio::test(start_paused = true)]
async fn changes_of_one_file_are_both_kept() {
    let bed = Bed::new(21).await;
    let (one, two) = (bed.mount("one").await, bed.mount("two").await);
    let ino = one.write_file("notes.txt", &noise(1, 4000)).await.unwrap();
    one.fsync(ino).await.unwrap();
    let other = two.at("notes.txt").await.unwrap().ino;
    let (here, there) = (one.open(ino, RW).await.unwrap(), two.open(other, RW).await.unwrap());
    one.write(here, 0, b"ONE").await.unwrap();
    two.write(there, 0, b"TWO").await.unwrap();
    one.fsync(ino).await.unwrap();
    two.fsync(other).await.unwrap();
    tokio::time::sleep(SECOND * 3).await;
    let names = one.ls("").await.unwrap();
    assert_eq!(names.len(), 2, "{names:?}");
    let aside = names.iter().find(|name| *name != "notes.txt").unwrap();
    assert!(aside.starts_with("notes (conflict, two 2026-") && aside.ends_with(".txt"), "{aside}");
    // The later stands under the name.
    assert!(one.read_path("notes.txt").await.unwrap().starts_with(b"TWO"));
    assert!(two.read_path(aside).await.unwrap().starts_with(b"ONE"));
}

#[tokio::test(start_paused = true)]
async fn a_change_survives_a_removal_elsewhere() {
    let bed = Bed::new(22).await;
    let (one, two) = (bed.mount("one").await, bed.mount("two").await);
    let ino = one.write_file("f", b"before").await.unwrap();
    one.fsync(ino).await.unwrap();
    let other = two.at("f").await.unwrap().ino;
    let handle = two.open(other, RW).await.unwrap();
    two.write(handle, 0, b"AFTER!").await.unwrap();
    one.rm("f").await.unwrap();
    one.fsync(ROOT).await.unwrap();
    two.fsync(other).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(one.read_path("f").await.unwrap(), b"AFTER!");
    // The other way round: what was changed meanwhile is not removed.
    tokio::time::sleep(SECOND * 2).await;
    two.at("f").await.unwrap();
    one.write_file("f", b"changed again").await.unwrap();
    one.fsync(ROOT).await.unwrap();
    two.unlink(ROOT, OsStr::new("f")).await.unwrap();
    two.fsync(ROOT).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    let left = one.read_path("f").await;
    assert!(left.is_err() || left == Ok(b"changed again".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_somebody_replaced_by_a_file_keeps_what_was_put_into_it() {
    let bed = Bed::new(24).await;
    let (one, two) = (bed.mount("one").await, bed.mount("two").await);
    one.make_folder("d").await.unwrap();
    one.fsync(ROOT).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    assert!(two.ls("d").await.unwrap().is_empty());
    bed.grid.net.isolate(bed.grid.client_host("two"));
    two.write_file("d/f", b"put into it").await.unwrap();
    one.rmdir(ROOT, OsStr::new("d")).await.unwrap();
    one.write_file("d", b"a file by now").await.unwrap();
    one.fsync(ROOT).await.unwrap();
    bed.grid.net.rejoin(bed.grid.client_host("two"));
    // It is seen before anything is sent.
    two.ls("").await.unwrap();
    assert_eq!(two.stop(SECOND * 120).await, 0);
    tokio::time::sleep(SECOND * 2).await;
    let names = one.ls("").await.unwrap();
    assert!(names.len() == 2 && names[0] == "d" && names[1].starts_with("d (conflict, two "), "{names:?}");
    assert_eq!(one.read_path("d/f").await.unwrap(), b"put into it");
    assert_eq!(one.read_path(&names[1]).await.unwrap(), b"a file by now");
}

#[tokio::test(start_paused = true)]
async fn what_was_closed_is_seen_by_who_opens() {
    let bed = Bed::new(23).await;
    let (one, two) = (bed.mount("one").await, bed.mount("two").await);
    let ino = one.write_file("f", b"0").await.unwrap();
    one.fsync(ino).await.unwrap();
    let other = two.at("f").await.unwrap().ino;
    let reading = OpenMode { read: true, ..OpenMode::default() };
    for round in 1..20_u8 {
        one.write_file("f", &[round; 3]).await.unwrap();
        one.fsync(ino).await.unwrap();
        // Without a lookup in between: the kernel may remember the name for a while.
        let handle = two.open(other, reading).await.unwrap();
        assert_eq!(read_all(&two, handle).await.unwrap(), [round; 3]);
        two.release(handle);
    }
}
