//! Making trees on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use client::local::restore::Problem;
use client::local::{
    Entry, Event, Excludes, Folder, Kind, LocalMetadata, Report, Restore, RestoreError, Scan, Time, Trust,
};
use encoding::directory::NameError;
use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};

use crate::nobody;

/// Copies a tree through a scan and a restore.
fn copy(from: &Path, to: &Path, trust: Trust) -> Report {
    let restore = Restore::new(to, trust).unwrap();
    let mut folders: Vec<Folder> = Vec::new();
    let mut root = None;
    for event in Scan::new(from, Excludes::default()).unwrap() {
        match event {
            Event::Enter(entry) if entry.name.is_empty() => {
                folders.push(restore.root().clone());
                root = Some(entry.metadata);
            }
            Event::Enter(entry) => {
                let folder = restore.folder(folders.last().unwrap(), &entry.name, entry.metadata).unwrap();
                folders.push(folder);
            }
            Event::Leave(_) => drop(folders.pop()),
            Event::Entry(entry) => put(&restore, folders.last().unwrap(), &entry),
            Event::Skipped { path, reason } => panic!("{path:?}: {reason}"),
        }
    }
    restore.finish(root.as_ref())
}

fn put(restore: &Restore, folder: &Folder, entry: &Entry) {
    if let Kind::Symlink { target } = &entry.kind {
        return restore.symlink(folder, &entry.name, target, &entry.metadata).unwrap();
    }
    if let Some(group) = entry.metadata.hardlink()
        && !restore.hard_link(folder, &entry.name, group).unwrap()
    {
        return;
    }
    let mut file = restore.file(folder, &entry.name).unwrap();
    let mut bytes = Vec::new();
    entry.open().unwrap().read_to_end(&mut bytes).unwrap();
    file.file().write_all(&bytes).unwrap();
    restore.finish_file(file, &entry.metadata).unwrap();
}

/// Everything about a tree that a restore brings back.
fn all(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut groups = BTreeMap::new();
    for event in Scan::new(root, Excludes::default()).unwrap() {
        let (Event::Enter(entry) | Event::Entry(entry)) = event else { continue };
        let content = if entry.kind == Kind::File { fs::read(&entry.path).unwrap() } else { Vec::new() };
        let LocalMetadata { mtime, mode, uid, gid, size, xattrs, identity, .. } = &entry.metadata;
        let path = entry.relative.to_str().unwrap().to_owned();
        let size = if entry.kind == Kind::Directory { 0 } else { *size };
        let first = groups.entry(identity.ino).or_insert_with(|| path.clone());
        let nlink = if entry.kind == Kind::File { identity.nlink } else { 0 };
        let all = format!(
            "{:?} {mtime:?} {mode:o} {uid} {gid} {size} {xattrs:?} {nlink} {first} {content:?}",
            entry.kind
        );
        found.insert(path, all);
    }
    found
}

fn set_time(path: &Path, secs: u64, nanos: u32) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(secs, nanos);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// A tree with some of everything.
fn make(root: &Path) {
    fs::create_dir_all(root.join("a/closed/inner")).unwrap();
    for (name, content) in
        [("a/file", "content"), ("a/closed/x", "y"), ("empty", ""), ("-odd \n caf\u{e9}", "z")]
    {
        fs::write(root.join(name), content).unwrap();
        lsetxattr(root.join(name), "user.name", name.as_bytes(), XattrFlags::empty()).unwrap();
        set_time(&root.join(name), 1_234_567_890, 123_456_789);
    }
    fs::hard_link(root.join("a/file"), root.join("a/closed/link")).unwrap();
    fs::hard_link(root.join("a/file"), root.join("0link")).unwrap();
    symlink("../nowhere", root.join("a/dangling")).unwrap();
    symlink("/", root.join("slash")).unwrap();
    let modes = [
        ("a/file", 0o640),
        ("empty", 0o4755),
        ("a/closed/x", 0o400),
        ("a/closed/inner", 0o1777),
        ("a/closed", 0o500),
    ];
    for (name, mode) in modes {
        fs::set_permissions(root.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    lsetxattr(root.join("a"), "user.folder", b"1", XattrFlags::empty()).unwrap();
    for (number, name) in ["a/closed/inner", "a/closed", "a", ""].into_iter().enumerate() {
        set_time(&root.join(name), 1_000_000_000 + number as u64, 7);
    }
}

fn good(report: &Report) {
    assert!(report.problems.is_empty() && report.owners_left_off == 0, "{report:?}");
}

#[test]
fn a_tree_comes_back_identical() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to/deep"));
    fs::create_dir(&from).unwrap();
    make(&from);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(from.join("a/file"), Some(12), Some(34)).unwrap();
        std::os::unix::fs::lchown(from.join("a/dangling"), Some(56), Some(78)).unwrap();
        lsetxattr(from.join("slash"), "trusted.x", b"link", XattrFlags::empty()).unwrap();
        lsetxattr(from.join("empty"), "trusted.x", b"file", XattrFlags::empty()).unwrap();
    }
    fs::set_permissions(from.join("empty"), PermissionsExt::from_mode(0o4755)).unwrap();
    good(&copy(&from, &to, Trust::Own));
    assert_eq!(all(&to), all(&from));
    // Once more, over what is there: nothing changes and nothing is left beside it.
    good(&copy(&from, &to, Trust::Own));
    assert_eq!(all(&to), all(&from));
}

#[test]
fn a_generated_tree_comes_back_identical() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let generator = Path::new(env!("CARGO_MANIFEST_DIR")).join("../misc/make_tree.py");
    let made =
        std::process::Command::new("python3").arg(generator).arg(&from).args(["--files", "400"]).status();
    assert!(made.unwrap().success());
    good(&copy(&from, &to, Trust::Own));
    let (from, to) = (all(&from), all(&to));
    assert!(from.len() > 400);
    assert_eq!(to, from);
}

#[test]
fn an_ordinary_user_gets_all_but_owners() {
    let Some(work) = nobody::inside() else {
        return nobody::run("restore::an_ordinary_user_gets_all_but_owners", |work| {
            let from = work.join("from");
            fs::create_dir(&from).unwrap();
            make(&from);
            for name in ["a/closed", "a/closed/x", "a/file"] {
                fs::set_permissions(from.join(name), PermissionsExt::from_mode(0o755)).unwrap();
            }
        });
    };
    let report = copy(&work.join("from"), &work.join("to"), Trust::Own);
    // Whoever is not root owns what root made, unless the tests are run by that user anyway.
    let foreign = fs::metadata(work.join("from")).unwrap().uid() != rustix::process::geteuid().as_raw();
    assert_eq!(report.owners_left_off > 0, foreign, "{report:?}");
    let mode = fs::metadata(work.join("to/empty")).unwrap().mode() & 0o7777;
    if foreign {
        let [(path, Problem::SetId)] = &report.problems[..] else { panic!("{report:?}") };
        assert!(path.ends_with("empty") && mode == 0o755);
    }
    assert_eq!(fs::metadata(work.join("to/a")).unwrap().mtime(), 1_000_000_002);
    assert_eq!(fs::metadata(work.join("to/a/closed/link")).unwrap().nlink(), 3);
}

#[test]
fn what_strangers_say_is_not_acted_upon() {
    let dir = tempfile::tempdir().unwrap();
    let restore = Restore::new(dir.path(), Trust::Foreign).unwrap();
    let meta = LocalMetadata {
        mode: 0o6755,
        uid: rustix::process::geteuid().as_raw() + 1,
        xattrs: vec![("security.capability".into(), vec![1; 20]), ("user.x".into(), b"1".to_vec())],
        ..LocalMetadata::default()
    };
    let file = restore.file(restore.root(), "file").unwrap();
    restore.finish_file(file, &meta).unwrap();
    let report = restore.finish(None);
    let path = dir.path().join("file");
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid()), (0o755, rustix::process::geteuid().as_raw()));
    assert_eq!(lgetxattr(&path, "user.x", &mut [0; 9]), Ok(1));
    assert!(lgetxattr(&path, "security.capability", &mut [0; 99]).is_err());
    assert_eq!(report.owners_left_off, 1);
    let kinds: Vec<_> = report.problems.iter().map(|(_, problem)| problem.to_string()).collect();
    assert!(kinds.len() == 2 && kinds[0].contains("security.capability") && kinds[1].contains("set-user-id"));
}

#[test]
fn no_symlink_is_gone_through() {
    let dir = tempfile::tempdir().unwrap();
    let (outside, inside) = (dir.path().join("outside"), dir.path().join("inside"));
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&inside).unwrap();
    fs::write(outside.join("file"), "untouched").unwrap();
    symlink(&outside, inside.join("folder")).unwrap();
    symlink(outside.join("file"), inside.join("file")).unwrap();
    symlink(outside.join("new"), inside.join("new")).unwrap();
    let restore = Restore::new(&inside, Trust::Own).unwrap();
    let error = restore.folder(restore.root(), "folder", LocalMetadata::default()).err().unwrap();
    assert!(matches!(error, RestoreError::InTheWay { .. }), "{error}");
    for name in ["file", "new"] {
        let mut file = restore.file(restore.root(), name).unwrap();
        file.file().write_all(b"ours").unwrap();
        restore.finish_file(file, &LocalMetadata { mode: 0o600, ..LocalMetadata::default() }).unwrap();
        assert!(fs::symlink_metadata(inside.join(name)).unwrap().is_file());
    }
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"untouched");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_symlink_that_takes_a_folders_place_meanwhile_is_not_gone_through() {
    let dir = tempfile::tempdir().unwrap();
    let (outside, inside) = (dir.path().join("outside"), dir.path().join("inside"));
    fs::create_dir(&outside).unwrap();
    let restore = Restore::new(&inside, Trust::Own).unwrap();
    let meta = LocalMetadata { mode: 0o700, ..LocalMetadata::default() };
    let folder = restore.folder(restore.root(), "folder", meta.clone()).unwrap();
    fs::rename(inside.join("folder"), inside.join("moved")).unwrap();
    symlink(&outside, inside.join("folder")).unwrap();
    assert!(restore.hard_link(&folder, "first", [1; 16]).unwrap());
    let file = restore.file(&folder, "first").unwrap();
    restore.finish_file(file, &meta).unwrap();
    assert!(!restore.hard_link(&folder, "second", [1; 16]).unwrap());
    let before = fs::metadata(&outside).unwrap();
    let report = restore.finish(None);
    assert_eq!(report.problems.len(), 2, "{report:?}");
    assert!(matches!(report.problems[0].1, Problem::HardLink(_)));
    assert!(matches!(report.problems[1].1, Problem::Gone(_)));
    assert!(inside.join("moved/first").exists());
    let after = fs::metadata(&outside).unwrap();
    assert_eq!(
        (after.mtime(), after.mode(), after.ctime_nsec()),
        (before.mtime(), before.mode(), before.ctime_nsec())
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn names_and_targets_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let restore = Restore::new(&dir.path().join("in"), Trust::Own).unwrap();
    let (root, meta) = (restore.root(), LocalMetadata::default());
    let long = "x".repeat(256);
    for name in ["", ".", "..", "../x", "a/b", "/etc/x", "a\0b", &long] {
        let name_refused =
            |error: RestoreError| assert!(matches!(error, RestoreError::Name(_)), "{name:?} {error}");
        name_refused(restore.folder(root, name, meta.clone()).err().unwrap());
        name_refused(restore.file(root, name).err().unwrap());
        name_refused(restore.symlink(root, name, b"x", &meta).unwrap_err());
        name_refused(restore.symlink(root, name, b"", &meta).unwrap_err());
        name_refused(restore.hard_link(root, name, [0; 16]).unwrap_err());
    }
    assert!(matches!(restore.file(root, "a\0b").err(), Some(RestoreError::Name(NameError::Nul))));
    for target in [&b""[..], b"a\0b", &[b'x'; 5000]] {
        let error = restore.symlink(root, "link", target, &meta).unwrap_err();
        assert!(matches!(error, RestoreError::Target { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path().join("in")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_is_in_the_way_is_named_and_what_is_not_finished_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("folder/full")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let restore = Restore::new(dir.path(), Trust::Own).unwrap();
    let meta = LocalMetadata::default();
    let file = restore.file(restore.root(), "folder").unwrap();
    let in_the_way = |error| assert!(matches!(error, RestoreError::InTheWay { .. }), "{error}");
    in_the_way(restore.finish_file(file, &meta).unwrap_err());
    in_the_way(restore.symlink(restore.root(), "folder", b"x", &meta).unwrap_err());
    in_the_way(restore.folder(restore.root(), "file", meta.clone()).err().unwrap());
    drop(restore.file(restore.root(), "unfinished").unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    in_the_way(Restore::new(&dir.path().join("file"), Trust::Own).err().unwrap());
}

#[test]
fn absurd_metadata_is_told_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let restore = Restore::new(dir.path(), Trust::Own).unwrap();
    let meta = LocalMetadata {
        // 2^30 - 1 and 2^30 - 2 nanoseconds are commands to the kernel.
        mtime: Time { secs: i64::MIN, nanos: (1 << 30) - 1 },
        mode: u32::MAX,
        uid: u32::MAX,
        gid: u32::MAX,
        xattrs: vec![
            ("no-namespace".into(), vec![]),
            ("user.\0x".into(), vec![]),
            ("user.x".into(), vec![0; 1 << 20]),
        ],
        ..LocalMetadata::default()
    };
    let file = restore.file(restore.root(), "file").unwrap();
    restore.finish_file(file, &meta).unwrap();
    let report = restore.finish(None);
    // Three attributes, the set-id bits without the owner, the times.
    assert_eq!((report.problems.len(), report.owners_left_off), (5, 1), "{report:?}");
    assert_eq!(fs::metadata(dir.path().join("file")).unwrap().mode() & 0o7777, 0o1777);
}
