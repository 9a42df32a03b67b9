//! What is removed or replaced here while somebody else puts something into it.

use std::ffi::OsStr;
use std::time::Duration;

use fuse::{FsError, Mount, Options, ROOT};

use crate::bed::{Bed, Paths, RW, SECOND, read_all};
use crate::crash::as_of_now;

/// Removes what is below a folder, and the folder, as `rm -r` does.
async fn rm_r(mount: &Mount, path: &str) -> Result<(), FsError> {
    for name in mount.ls(path).await? {
        let path = format!("{path}/{name}");
        match mount.rm(&path).await {
            Err(FsError::IsADirectory) => Box::pin(rm_r(mount, &path)).await?,
            removed => removed?,
        }
    }
    let (folder, name) = mount.above(path).await?;
    mount.rmdir(folder, name).await
}

async fn tree(mount: &Mount) {
    for folder in ["d", "d/b", "d/b/c"] {
        mount.make_folder(folder).await.unwrap();
    }
    for file in ["d/one", "d/b/two", "d/b/c/three"] {
        mount.write_file(file, b"old").await.unwrap();
    }
    mount.fsync(ROOT).await.unwrap();
    assert_eq!(mount.stop(SECOND * 60).await, 0);
}

/// One that sends nothing by itself for a while.
fn slow() -> Options {
    Options { linger: SECOND * 600, ..Options::default() }
}

#[tokio::test(start_paused = true)]
async fn what_is_put_into_a_folder_that_somebody_removed_brings_it_back() {
    let bed = Bed::new(40).await;
    let (one, two) = (bed.mount("one").await, bed.mount("two").await);
    one.make_folder("d").await.unwrap();
    one.make_folder("d/e").await.unwrap();
    one.fsync(one.at("d").await.unwrap().ino).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    assert!(two.ls("d/e").await.unwrap().is_empty());
    bed.grid.net.isolate(bed.grid.client_host("two"));
    two.write_file("d/e/f", b"put into it").await.unwrap();
    rm_r(&one, "d").await.unwrap();
    one.fsync(ROOT).await.unwrap();
    assert!(one.ls("").await.unwrap().is_empty());
    bed.grid.net.rejoin(bed.grid.client_host("two"));
    assert_eq!(two.stop(SECOND * 120).await, 0);
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(one.read_path("d/e/f").await.unwrap(), b"put into it");
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_somebody_filled_is_not_removed() {
    let bed = Bed::new(41).await;
    tree(&bed.mount("one").await).await;
    let (one, two) = (bed.mount_with("one", slow()).await, bed.mount("two").await);
    rm_r(&one, "d").await.unwrap();
    assert!(one.ls("").await.unwrap().is_empty());
    let ino = two.write_file("d/b/c/new", b"new").await.unwrap();
    two.fsync(ino).await.unwrap();
    one.fsync(ROOT).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    for mount in [&one, &two] {
        assert_eq!(mount.read_path("d/b/c/new").await.unwrap(), b"new");
    }
    // Where nothing was added, it goes.
    tokio::time::sleep(SECOND * 2).await;
    rm_r(&one, "d").await.unwrap();
    one.fsync(ROOT).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    assert!(two.ls("").await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_somebody_filled_is_not_replaced() {
    let bed = Bed::new(42).await;
    tree(&bed.mount("one").await).await;
    let (one, two) = (bed.mount_with("one", slow()).await, bed.mount("two").await);
    rm_r(&one, "d").await.unwrap();
    one.write_file("d", b"a file by now").await.unwrap();
    let ino = two.write_file("d/b/new", b"new").await.unwrap();
    two.fsync(ino).await.unwrap();
    one.fsync(ROOT).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    let names = two.ls("").await.unwrap();
    assert!(names.len() == 2 && names[0] == "d" && names[1].starts_with("d (conflict, one "), "{names:?}");
    assert_eq!(two.read_path("d").await.unwrap(), b"a file by now");
    assert_eq!(two.read_path(&format!("{}/b/new", names[1])).await.unwrap(), b"new");
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_waits_in_the_journal_looks_first() {
    let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bed = Bed::new(43).await;
    tree(&bed.mount("one").await).await;
    let journal = Some((dir.path().to_owned(), [7; 32]));
    let one = bed.mount_with("one", Options { journal, ..slow() }).await;
    rm_r(&one, "d").await.unwrap();
    bed.grid.net.isolate(bed.grid.client_host("one"));
    as_of_now(dir.path(), after.path());
    let two = bed.mount("two").await;
    let ino = two.write_file("d/b/new", b"new").await.unwrap();
    two.fsync(ino).await.unwrap();
    let one = bed.journaled("next", after.path()).await;
    assert!(one.ls("").await.unwrap().is_empty());
    assert_eq!(one.stop(SECOND * 60).await, 0);
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(two.read_path("d/b/new").await.unwrap(), b"new");
}

/// Whatever the moment, one of the two sees the other.
#[tokio::test(start_paused = true)]
async fn who_fills_a_folder_while_it_is_removed_keeps_what_was_put_there() {
    let bed = Bed::new(44).await;
    let (one, two) = (bed.mount("one").await, bed.mount("two").await);
    let (mut stayed, mut late) = (0, 0);
    for round in 0..80 {
        let folder = format!("d{round}");
        one.make_folder(&folder).await.unwrap();
        one.fsync(ROOT).await.unwrap();
        tokio::time::sleep(SECOND * 2).await;
        two.ls(&folder).await.unwrap();
        let removing = async {
            let removed = one.rmdir(ROOT, OsStr::new(&folder)).await;
            one.fsync(ROOT).await.unwrap();
            removed
        };
        let filling = async {
            tokio::time::sleep(Duration::from_millis(round * 4)).await;
            let ino = two.write_file(&format!("{folder}/f"), b"kept").await?;
            two.fsync(ino).await
        };
        let (removed, filled) = tokio::join!(removing, filling);
        tokio::time::sleep(SECOND * 4).await;
        match (removed, filled) {
            // It was seen before anything was done.
            (Err(FsError::NotEmpty), Ok(())) => {}
            (Ok(()), Err(_)) => late += 1,
            (Ok(()), Ok(())) => stayed += 1,
            other => panic!("{other:?}"),
        }
        if filled.is_ok() {
            assert_eq!(one.read_path(&format!("{folder}/f")).await, Ok(b"kept".to_vec()), "{round}");
        }
    }
    assert!(stayed > 5, "{stayed} met, {late} came too late");
}

#[tokio::test(start_paused = true)]
async fn who_writes_what_somebody_replaced_writes_beside_it() {
    let bed = Bed::new(45).await;
    let (one, two) = (bed.mount("one").await, bed.mount("two").await);
    one.write_file("f.txt", b"before").await.unwrap();
    one.write_file("g.txt", b"before").await.unwrap();
    one.fsync(ROOT).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    let (f, g) = (two.at("f.txt").await.unwrap().ino, two.at("g.txt").await.unwrap().ino);
    let (replaced, removed) = (two.open(f, RW).await.unwrap(), two.open(g, RW).await.unwrap());
    one.write_file("f.txt", b"another").await.unwrap();
    one.rm("g.txt").await.unwrap();
    one.fsync(ROOT).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(two.read_path("f.txt").await.unwrap(), b"another");
    assert_eq!(two.ls("").await.unwrap(), ["f.txt"]);
    // What was opened is what it was, and what is written to it is there afterwards.
    for (ino, handle) in [(f, replaced), (g, removed)] {
        assert_eq!(read_all(&two, handle).await.unwrap(), b"before");
        two.write(handle, 0, b"AFTER!").await.unwrap();
        two.fsync(ino).await.unwrap();
        two.release(handle);
    }
    tokio::time::sleep(SECOND * 2).await;
    let names = one.ls("").await.unwrap();
    let [beside, name, gone] = &names[..] else { panic!("{names:?}") };
    assert!(name == "f.txt" && gone == "g.txt" && beside.starts_with("f (conflict, two "), "{names:?}");
    assert_eq!(one.read_path(name).await.unwrap(), b"another");
    assert_eq!(one.read_path(beside).await.unwrap(), b"AFTER!");
    assert_eq!(one.read_path(gone).await.unwrap(), b"AFTER!");
}

#[tokio::test(start_paused = true)]
async fn what_others_wrote_into_a_file_that_may_change_is_kept_beside_it() {
    use client::filestore::{DirEdit, Replace};
    use client::{PutOptions, Source};
    let bed = Bed::new(46).await;
    let client = bed.client("maker").await;
    let caps::Cap::SlotWrite(root) = bed.root.clone() else { panic!("a directory") };
    for (name, len) in [("small.txt", 1_000), ("large.txt", 300_000)] {
        let file = client.make_mutable(Source::bytes(vec![b'0'; len]), PutOptions::default()).await.unwrap();
        let name = encoding::directory::Name::new(name).unwrap();
        let link = DirEdit::Link { name, child: Box::new(file), replace: Replace::No };
        client.edit_directory(&root, vec![link]).await.unwrap()[0].as_ref().unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (bed.mount("one").await, bed.journaled("two", dir.path()).await);
    for name in ["small.txt", "large.txt"] {
        let (here, there) = (one.at(name).await.unwrap().ino, two.at(name).await.unwrap().ino);
        let (first, second) = (one.open(here, RW).await.unwrap(), two.open(there, RW).await.unwrap());
        one.write(first, 0, b"ONE").await.unwrap();
        two.write(second, 0, b"TWO").await.unwrap();
        one.fsync(here).await.unwrap();
        // Across a restart as well: what it said when it was changed is in the journal.
        let next = if name == "small.txt" {
            two.fsync(there).await.unwrap();
            None
        } else {
            let after = tempfile::tempdir().unwrap();
            bed.grid.net.isolate(bed.grid.client_host("two"));
            as_of_now(dir.path(), after.path());
            let next = bed.journaled("two again", after.path()).await;
            assert_eq!(next.stop(SECOND * 60).await, 0);
            Some((next, after))
        };
        drop(next);
        tokio::time::sleep(SECOND * 3).await;
        let (stem, _) = name.split_once('.').unwrap();
        let names = one.ls("").await.unwrap();
        let beside: Vec<&String> = names.iter().filter(|n| n.starts_with(&format!("{stem} ("))).collect();
        let [beside] = beside[..] else { panic!("{names:?}") };
        assert!(one.read_path(name).await.unwrap().starts_with(b"TWO0"));
        assert!(one.read_path(beside).await.unwrap().starts_with(b"ONE0"));
    }
    // Who writes on after that is not in conflict with what was just written.
    let ino = one.at("small.txt").await.unwrap().ino;
    for text in [b"1st", b"2nd"] {
        let handle = one.open(ino, RW).await.unwrap();
        one.write(handle, 0, text).await.unwrap();
        one.fsync(ino).await.unwrap();
        one.release(handle);
    }
    assert_eq!(one.ls("").await.unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_open_in_a_folder_that_somebody_removed_brings_it_back_when_it_is_written() {
    let bed = Bed::new(47).await;
    tree(&bed.mount("one").await).await;
    let (one, two) = (bed.mount("one").await, bed.mount("two").await);
    let f = one.write_file("f", b"f").await.unwrap();
    one.fsync(f).await.unwrap();
    let ino = two.at("d/b/c/three").await.unwrap().ino;
    let written = two.open(ino, RW).await.unwrap();
    let removed = two.at("f").await.unwrap().ino;
    one.rm("f").await.unwrap();
    rm_r(&one, "d").await.unwrap();
    one.make_folder("d").await.unwrap();
    one.write_file("d/another", b"another").await.unwrap();
    one.fsync(ROOT).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(two.ls("d").await.unwrap(), ["another"]);
    // Who comes with a number from before is told to look again.
    assert_eq!(two.open(removed, RW).await, Err(FsError::Stale));
    two.write(written, 0, b"NEW").await.unwrap();
    two.fsync(ino).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    let names = one.ls("").await.unwrap();
    assert!(names.len() == 2 && names[0] == "d" && names[1].starts_with("d (conflict, two "), "{names:?}");
    assert_eq!(one.read_path(&format!("{}/b/c/three", names[1])).await.unwrap(), b"NEW");
    assert_eq!(one.ls("d").await.unwrap(), ["another"]);
    two.release(written);
}

#[tokio::test(start_paused = true)]
async fn what_was_put_into_a_folder_that_somebody_made_anew_is_in_the_new_one() {
    let bed = Bed::new(48).await;
    let (one, two) = (bed.mount("one").await, bed.mount("two").await);
    let d = one.make_folder("d").await.unwrap();
    one.fsync(d).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    let there = two.at("d").await.unwrap().ino;
    one.rmdir(ROOT, OsStr::new("d")).await.unwrap();
    one.make_folder("d").await.unwrap();
    let first = one.write_file("d/one", b"one").await.unwrap();
    one.fsync(first).await.unwrap();
    // Without a look at what is above it, as who stands in it.
    let (attr, handle) = two.create(there, OsStr::new("f"), (0o644, crate::bed::ME), RW).await.unwrap();
    two.write(handle, 0, b"two").await.unwrap();
    two.fsync(attr.ino).await.unwrap();
    two.release(handle);
    // What was acknowledged is there at once.
    let third = bed.mount("third").await;
    let mut found = Vec::new();
    for name in third.ls("").await.unwrap() {
        found.extend(third.ls(&name).await.unwrap());
    }
    found.sort();
    assert_eq!(found, ["f", "one"]);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_is_renamed_and_removed_is_looked_into_as_well() {
    for journal in [false, true] {
        let bed = Bed::new(49).await;
        let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tree(&bed.mount("one").await).await;
        let of_disk = Some((dir.path().to_owned(), [7; 32]));
        let one = bed.mount_with("one", Options { journal: of_disk, ..slow() }).await;
        one.mv("d", "e").await.unwrap();
        rm_r(&one, "e").await.unwrap();
        let two = bed.mount("two").await;
        let ino = two.write_file("d/b/new", b"new").await.unwrap();
        two.fsync(ino).await.unwrap();
        if journal {
            bed.grid.net.isolate(bed.grid.client_host("one"));
            as_of_now(dir.path(), after.path());
            let next = bed.journaled("next", after.path()).await;
            assert_eq!(next.stop(SECOND * 60).await, 0);
        } else {
            one.fsync(ROOT).await.unwrap();
        }
        tokio::time::sleep(SECOND * 2).await;
        assert_eq!(two.ls("").await.unwrap(), ["d"], "{journal}");
        assert_eq!(two.read_path("d/b/new").await.unwrap(), b"new");
    }
}

/// Whether somebody who follows this path from the root finds something.
async fn finds(client: &client::Client, root: &caps::Cap, path: &str) -> bool {
    let mut cap = root.clone();
    for name in path.split('/') {
        let view = client.open_directory(&cap).await.unwrap();
        let name = encoding::directory::Name::new(name).unwrap();
        let Some(entry) = view.get(&name).await.unwrap() else { return false };
        cap = view.cap_of(&entry).unwrap();
    }
    true
}

#[tokio::test(start_paused = true)]
async fn what_leaves_a_folder_before_that_is_removed_is_never_nowhere() {
    let bed = Bed::new(50).await;
    let one = bed.mount_with("one", slow()).await;
    one.make_folder("p").await.unwrap();
    one.make_folder("p/d").await.unwrap();
    let ino = one.write_file("p/d/x", b"x").await.unwrap();
    one.fsync(ino).await.unwrap();
    one.mv("p/d/x", "x").await.unwrap();
    let p = one.at("p").await.unwrap().ino;
    one.rmdir(p, OsStr::new("d")).await.unwrap();
    let observer = bed.client("observer").await;
    let watching = async {
        while !finds(&observer, &bed.root, "x").await || finds(&observer, &bed.root, "p/d").await {
            // What is seen first may be gone when the other is looked at, but not the other way round.
            let old = finds(&observer, &bed.root, "p/d/x").await;
            assert!(old || finds(&observer, &bed.root, "x").await, "it is nowhere");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let sending = async { assert_eq!(one.stop(SECOND * 60).await, 0) };
    tokio::join!(watching, sending);
}
