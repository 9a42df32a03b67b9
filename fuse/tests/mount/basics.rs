//! One mount, and another that sees what became of it.

use std::ffi::OsStr;

use caps::Cap;
use fuse::{FsError, Kind, OpenMode, ROOT, RenameMode, Seek, SetAttr, XattrMode};

use crate::bed::{Bed, ME, Paths, RW, SECOND, noise, read_all};

#[tokio::test(start_paused = true)]
async fn what_is_synced_is_seen_elsewhere() {
    let bed = Bed::new(1).await;
    let (here, there) = (bed.mount("here").await, bed.mount("there").await);
    here.make_folder("a").await.unwrap();
    here.make_folder("a/b").await.unwrap();
    for (name, len) in [("empty", 0), ("tiny", 30), ("small", 5000), ("large", 3_000_000)] {
        let bytes = noise(1, len);
        let ino = here.write_file(&format!("a/b/{name}"), &bytes).await.unwrap();
        assert_eq!(here.read_path(&format!("a/b/{name}")).await.unwrap(), bytes);
        here.fsync(ino).await.unwrap();
        // Names are believed for a second.
        tokio::time::sleep(SECOND).await;
        assert!(there.read_path(&format!("a/b/{name}")).await.unwrap() == bytes, "{name}");
    }
    assert_eq!(there.ls("a/b").await.unwrap(), ["empty", "large", "small", "tiny"]);
    assert_eq!(here.stop(SECOND).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_closed_arrives_by_itself() {
    let bed = Bed::new(2).await;
    let (here, there) = (bed.mount("here").await, bed.mount("there").await);
    for index in 0..50 {
        here.write_file(&format!("f{index:02}"), &noise(index, 2000)).await.unwrap();
    }
    tokio::time::sleep(SECOND * 3).await;
    assert_eq!(there.ls("").await.unwrap().len(), 50);
    assert_eq!(there.read_path("f07").await.unwrap(), noise(7, 2000));
    here.rm("f07").await.unwrap();
    here.mv("f08", "g").await.unwrap();
    tokio::time::sleep(SECOND * 3).await;
    assert_eq!(there.read_path("f07").await, Err(FsError::NotFound));
    assert_eq!(there.read_path("g").await.unwrap(), noise(8, 2000));
    assert_eq!(there.ls("").await.unwrap().len(), 49);
}

#[tokio::test(start_paused = true)]
async fn parts_of_files_change() {
    let bed = Bed::new(3).await;
    let (here, there) = (bed.mount("here").await, bed.mount("there").await);
    let mut bytes = noise(3, 2_000_000);
    let ino = here.write_file("f", &bytes).await.unwrap();
    here.fsync(ino).await.unwrap();
    let handle = here.open(ino, RW).await.unwrap();
    here.write(handle, 1_000_000, b"in the middle").await.unwrap();
    bytes[1_000_000..1_000_013].copy_from_slice(b"in the middle");
    here.fsync(ino).await.unwrap();
    assert!(there.read_path("f").await.unwrap() == bytes);
    // Cut off, and grown again: zeros.
    here.setattr(ino, SetAttr { size: Some(1_000_005), ..SetAttr::default() }).await.unwrap();
    here.setattr(ino, SetAttr { size: Some(1_500_000), ..SetAttr::default() }).await.unwrap();
    bytes.truncate(1_000_005);
    bytes.resize(1_500_000, 0);
    assert!(read_all(&here, handle).await.unwrap() == bytes);
    here.fsync(ino).await.unwrap();
    assert!(there.read_path("f").await.unwrap() == bytes);
    let append = here.open(ino, OpenMode { append: true, ..RW }).await.unwrap();
    here.write(append, 0, b"at the end").await.unwrap();
    bytes.extend_from_slice(b"at the end");
    assert!(here.read_path("f").await.unwrap() == bytes);
    assert_eq!(here.seek(handle, 5, Seek::Data).unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn one_byte_of_a_large_file_moves_little() {
    let bed = Bed::new(4).await;
    let (here, there) = (bed.mount("here").await, bed.mount("there").await);
    let mut bytes = noise(4, 24_000_000);
    let ino = here.write_file("f", &bytes).await.unwrap();
    here.fsync(ino).await.unwrap();
    let free = here.statfs().await.free;
    let handle = here.open(ino, RW).await.unwrap();
    here.write(handle, 20_000_000, b"x").await.unwrap();
    bytes[20_000_000] = b'x';
    here.fsync(ino).await.unwrap();
    tokio::time::sleep(SECOND * 5).await;
    let stored = free - here.statfs().await.free;
    assert!((1..4_000_000).contains(&stored), "{stored} bytes for one");
    assert!(there.read_path("f").await.unwrap() == bytes);
}

#[tokio::test(start_paused = true)]
async fn names_obey_posix() {
    let bed = Bed::new(5).await;
    let mount = bed.mount("here").await;
    mount.write_file("a", b"a").await.unwrap();
    mount.write_file("b", b"b").await.unwrap();
    mount.make_folder("d").await.unwrap();
    mount.write_file("d/f", b"f").await.unwrap();
    assert_eq!(mount.make_folder("a").await, Err(FsError::Exists));
    assert_eq!(mount.rm("d").await, Err(FsError::IsADirectory));
    assert_eq!(mount.rmdir(ROOT, OsStr::new("d")).await, Err(FsError::NotEmpty));
    assert_eq!(mount.rmdir(ROOT, OsStr::new("a")).await, Err(FsError::NotADirectory));
    assert_eq!(mount.mv("d", "a").await, Err(FsError::NotADirectory));
    assert_eq!(mount.mv("a", "d").await, Err(FsError::IsADirectory));
    assert_eq!(mount.mv("d", "d/e").await, Err(FsError::Invalid));
    assert_eq!(mount.mv("nothing", "a").await, Err(FsError::NotFound));
    let both = ((ROOT, OsStr::new("a")), (ROOT, OsStr::new("b")));
    assert_eq!(mount.rename(both.0, both.1, RenameMode::NoReplace).await, Err(FsError::Exists));
    mount.rename(both.0, both.1, RenameMode::Exchange).await.unwrap();
    assert_eq!(mount.read_path("a").await.unwrap(), b"b");
    mount.mv("a", "b").await.unwrap();
    assert_eq!(mount.read_path("b").await.unwrap(), b"b");
    assert_eq!(mount.ls("").await.unwrap(), ["b", "d"]);
    let long = "n".repeat(256);
    assert_eq!(mount.write_file(&long, b"").await, Err(FsError::NameTooLong));
    use std::os::unix::ffi::OsStrExt;
    assert_eq!(mount.lookup(ROOT, OsStr::from_bytes(b"\xff")).await.unwrap_err(), FsError::BadName);
    mount.rm("d/f").await.unwrap();
    mount.rmdir(ROOT, OsStr::new("d")).await.unwrap();
    assert_eq!(mount.ls("").await.unwrap(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_removed_lives_while_it_is_open() {
    let bed = Bed::new(6).await;
    let mount = bed.mount("here").await;
    let ino = mount.write_file("f", &noise(6, 100_000)).await.unwrap();
    mount.fsync(ino).await.unwrap();
    let handle = mount.open(ino, RW).await.unwrap();
    mount.rm("f").await.unwrap();
    mount.write(handle, 0, b"still").await.unwrap();
    let mut bytes = noise(6, 100_000);
    bytes[..5].copy_from_slice(b"still");
    assert!(read_all(&mount, handle).await.unwrap() == bytes);
    mount.fsync(ino).await.unwrap();
    mount.release(handle);
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(bed.mount("there").await.ls("").await.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn attributes_links_and_extended_attributes_travel() {
    let bed = Bed::new(7).await;
    let (here, there) = (bed.mount("here").await, bed.mount("there").await);
    let ino = here.write_file("f", b"text").await.unwrap();
    let time = encoding::directory::Time { seconds: 1_000_000_000, nanoseconds: 123_456_789 };
    let set = SetAttr { mode: Some(0o4751), uid: Some(7), mtime: Some(Some(time)), ..SetAttr::default() };
    here.setattr(ino, set).await.unwrap();
    here.setxattr(ino, "user.colour", b"red", XattrMode::Create).await.unwrap();
    assert_eq!(here.setxattr(ino, "user.colour", b"", XattrMode::Create).await, Err(FsError::Exists));
    assert_eq!(here.setxattr(ino, "trusted.x", b"", XattrMode::Set).await, Err(FsError::Unsupported));
    let big = vec![0; 70_000];
    assert_eq!(here.setxattr(ino, "user.big", &big, XattrMode::Set).await, Err(FsError::AttributesTooBig));
    here.symlink(ROOT, OsStr::new("link"), b"to/f".to_vec(), ME).await.unwrap();
    here.fsync(ROOT).await.unwrap();
    let attr = there.at("f").await.unwrap();
    assert_eq!((attr.mode, attr.uid, attr.gid, attr.mtime, attr.size), (0o4751, 7, 1000, time, 4));
    assert_eq!(there.getxattr(attr.ino, "user.colour").await.unwrap(), b"red");
    assert_eq!(there.listxattr(attr.ino).unwrap(), ["user.colour"]);
    assert!(there.getxattr(attr.ino, "user.sarsen.cap").await.unwrap().starts_with(b"URI:"));
    assert!(there.getxattr(attr.ino, "user.sarsen.health").await.unwrap().starts_with(b"healthy"));
    let link = there.at("link").await.unwrap();
    assert_eq!((link.kind, there.readlink(link.ino).unwrap()), (Kind::Symlink, b"to/f".to_vec()));
    // A write takes setuid off only if the kernel says so.
    let kill = SetAttr { kill_suid: true, ..SetAttr::default() };
    assert_eq!(here.setattr(ino, kill).await.unwrap().mode, 0o751);
}

#[tokio::test(start_paused = true)]
async fn who_writes_to_one_of_two_hard_links_parts_them() {
    let bed = Bed::new(18).await;
    let client = bed.client("backup").await;
    let report =
        client.put(client::Source::bytes(noise(1, 5000)), client::PutOptions::default()).await.unwrap();
    let child = client::filestore::Child::new(report.cap, None).unwrap();
    let twin = encoding::directory::Metadata { hardlink: Some([9; 16]), ..child.metadata.clone() };
    let Cap::SlotWrite(root) = bed.root.clone() else { panic!("it is ours") };
    let link = |name: &str| client::filestore::DirEdit::Link {
        name: encoding::directory::Name::new(name).unwrap(),
        child: Box::new(child.clone().with(twin.clone())),
        replace: client::filestore::Replace::No,
    };
    client.edit_directory(&root, vec![link("one"), link("other")]).await.unwrap();
    let mount = bed.mount("here").await;
    let one = mount.at("one").await.unwrap().ino;
    let handle = mount.open(one, RW).await.unwrap();
    mount.write(handle, 0, b"changed").await.unwrap();
    mount.release(handle);
    mount.fsync(one).await.unwrap();
    let listed = client.open_directory(&bed.root).await.unwrap().list().await.unwrap();
    let links: Vec<_> = listed.iter().map(|(name, entry)| (name.as_str(), entry.metadata.hardlink)).collect();
    assert_eq!(links, [("one", None), ("other", Some([9; 16]))]);
}

#[tokio::test(start_paused = true)]
async fn what_is_renamed_while_it_is_synced_is_there_when_that_returns() {
    let bed = Bed::new(19).await;
    let (here, there) = (bed.mount("here").await, bed.mount("there").await);
    let ino = here.write_file("partial", &noise(2, 300_000)).await.unwrap();
    let syncing = tokio::spawn({
        let here = here.clone();
        async move { here.fsync(ino).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    here.mv("partial", "whole").await.unwrap();
    syncing.await.unwrap().unwrap();
    bed.grid.net.isolate(bed.grid.client_host("here"));
    let names = there.ls("").await.unwrap();
    assert!(names.contains(&"whole".to_owned()) || names.contains(&"partial".to_owned()), "{names:?}");
    let name = names.first().unwrap();
    assert!(there.read_path(name).await.unwrap() == noise(2, 300_000));
}

#[tokio::test(start_paused = true)]
async fn names_that_changed_places_arrive() {
    let bed = Bed::new(20).await;
    let (here, there) = (bed.mount("here").await, bed.mount("there").await);
    for folder in ["a", "b", "a/inner"] {
        here.make_folder(folder).await.unwrap();
    }
    for (path, text) in [("a/x", "x"), ("b/y", "y"), ("a/inner/deep", "deep"), ("log", "old")] {
        here.write_file(path, text.as_bytes()).await.unwrap();
    }
    here.fsync(ROOT).await.unwrap();
    tokio::time::sleep(SECOND).await;
    // Two files by a third name, what is in a folder that goes, and a log that is rotated while it is open.
    here.mv("a/x", "b/t").await.unwrap();
    here.mv("b/y", "a/x").await.unwrap();
    here.mv("b/t", "b/y").await.unwrap();
    here.mv("a/inner/deep", "deep").await.unwrap();
    let a = here.at("a").await.unwrap().ino;
    here.rmdir(a, OsStr::new("inner")).await.unwrap();
    let open = here.open(here.at("log").await.unwrap().ino, RW).await.unwrap();
    here.mv("log", "log.1").await.unwrap();
    let log = here.write_file("log", b"new").await.unwrap();
    here.fsync(log).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(there.ls("").await.unwrap(), ["a", "b", "deep", "log", "log.1"]);
    here.write(open, 3, b" and more").await.unwrap();
    here.release(open);
    assert_eq!(here.stop(SECOND * 20).await, 0);
    tokio::time::sleep(SECOND).await;
    for (path, text) in
        [("a/x", "y"), ("b/y", "x"), ("deep", "deep"), ("log", "new"), ("log.1", "old and more")]
    {
        assert_eq!(there.read_path(path).await.unwrap(), text.as_bytes(), "{path}");
    }
    assert_eq!(
        (there.ls("a").await.unwrap(), there.ls("b").await.unwrap()),
        (vec!["x".into()], vec!["y".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn who_syncs_a_folder_waits_for_no_writer_of_what_left_it() {
    let bed = Bed::new(25).await;
    let (here, there) = (bed.mount("here").await, bed.mount("there").await);
    for folder in ["a", "b"] {
        here.make_folder(folder).await.unwrap();
    }
    let ino = here.write_file("a/log", b"begun").await.unwrap();
    here.fsync(ino).await.unwrap();
    let handle = here.open(ino, RW).await.unwrap();
    here.mv("a/log", "b/log").await.unwrap();
    let writing = tokio::spawn({
        let here = here.clone();
        async move {
            for line in 0.. {
                here.write(handle, line, b"x").await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    });
    let a = here.at("a").await.unwrap().ino;
    here.fsync(a).await.unwrap();
    writing.abort();
    tokio::time::sleep(SECOND).await;
    assert_eq!(
        (there.ls("a").await.unwrap(), there.ls("b").await.unwrap()),
        (vec![], vec!["log".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn who_may_only_read_changes_nothing() {
    let mut bed = Bed::new(8).await;
    let writing = bed.mount("here").await;
    let ino = writing.write_file("f", b"text").await.unwrap();
    writing.fsync(ino).await.unwrap();
    bed.root = bed.root.read().unwrap();
    let reading = bed.mount("reader").await;
    assert_eq!(reading.read_path("f").await.unwrap(), b"text");
    assert_eq!(reading.write_file("g", b"").await, Err(FsError::ReadOnly));
    assert_eq!(reading.write_file("f", b"").await, Err(FsError::ReadOnly));
    assert_eq!(reading.rm("f").await, Err(FsError::ReadOnly));
    assert_eq!(reading.mv("f", "g").await, Err(FsError::ReadOnly));
    let room = reading.statfs().await;
    assert!(room.free > 0 && room.total >= room.free);
}

#[tokio::test(start_paused = true)]
async fn without_servers_calls_end() {
    let bed = Bed::new(9).await;
    let mount = bed.mount("here").await;
    let ino = mount.write_file("f", &noise(9, 3_000_000)).await.unwrap();
    mount.fsync(ino).await.unwrap();
    let fresh = bed.mount("fresh").await;
    let servers: Vec<_> = bed.grid.servers.iter().map(|server| server.key.id()).collect();
    servers.iter().for_each(|id| bed.grid.net.isolate(*id));
    let hour = std::time::Duration::from_secs(3600);
    let read = tokio::time::timeout(hour, fresh.read_path("f")).await.expect("it ends");
    assert!(matches!(read, Err(FsError::TimedOut | FsError::Io)), "{read:?}");
    // Its content is not in memory: what was known last of the name is all there is.
    let known = tokio::time::timeout(hour, mount.read_path("f")).await.expect("it ends");
    assert!(matches!(known, Err(FsError::TimedOut | FsError::Io)), "{known:?}");
    let (_, handle) = mount.create(ROOT, OsStr::new("new"), (0o644, ME), RW).await.unwrap();
    mount.write(handle, 0, b"kept").await.unwrap();
    let new = mount.at("new").await.unwrap().ino;
    let synced = tokio::time::timeout(hour, mount.fsync(new)).await.expect("it ends");
    assert!(matches!(synced, Err(FsError::TimedOut)), "{synced:?}");
    assert!(mount.stop(SECOND * 30).await > 0);
    // They are back, and nothing was lost.
    servers.iter().for_each(|id| bed.grid.net.rejoin(*id));
    mount.fsync(new).await.unwrap();
    assert_eq!(bed.mount("later").await.read_path("new").await.unwrap(), b"kept");
}

#[tokio::test(start_paused = true)]
async fn what_is_written_without_end_is_named_all_the_same() {
    let bed = Bed::new(10).await;
    let (here, there) = (bed.mount("here").await, bed.mount("there").await);
    let (attr, handle) = here.create(ROOT, OsStr::new("log"), (0o644, ME), RW).await.unwrap();
    let writing = {
        let here = here.clone();
        tokio::spawn(async move {
            for line in 0..4000_u64 {
                here.write(handle, line * 8, b"one line").await.unwrap();
                tokio::time::sleep(SECOND / 400).await;
            }
        })
    };
    tokio::time::sleep(SECOND).await;
    here.fsync(attr.ino).await.unwrap();
    let seen = there.at("log").await.unwrap().size;
    assert!(seen >= 8 * 100, "{seen} bytes are there after fsync");
    writing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_old_name_goes_with_the_new_one() {
    let bed = Bed::new(11).await;
    let (here, there) = (bed.mount("here").await, bed.mount("there").await);
    here.make_folder("a").await.unwrap();
    here.make_folder("b").await.unwrap();
    for name in ["a/log", "a/x", "a/y"] {
        here.write_file(name, &noise(1, 3000)).await.unwrap();
    }
    here.fsync(here.at("a").await.unwrap().ino).await.unwrap();
    here.fsync(ROOT).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    // Renamed while somebody writes on in it, and moved to another folder: a file beside them is synced.
    let handle = here.open(here.at("a/log").await.unwrap().ino, RW).await.unwrap();
    here.write(handle, 0, b"more").await.unwrap();
    here.mv("a/log", "a/log.1").await.unwrap();
    here.mv("a/x", "b/x").await.unwrap();
    here.fsync(here.write_file("a/y", b"y").await.unwrap()).await.unwrap();
    bed.grid.net.isolate(bed.grid.client_host("here"));
    tokio::time::sleep(SECOND * 2).await;
    let (a, b) = (there.ls("a").await.unwrap(), there.ls("b").await.unwrap());
    let has = |name: &str| a.iter().chain(&b).any(|known| known == name);
    assert!((has("log") || has("log.1")) && has("x"), "{a:?} {b:?}");
}
