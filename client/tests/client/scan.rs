//! Walking trees of this machine.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use client::local::scan::{MAX_DEPTH, OpenError};
use client::local::{Entry, Event, Excludes, Kind, LocalMetadata, Scan, ScanError, SkipReason};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};

use crate::nobody;

fn excludes(patterns: &[&str]) -> Excludes {
    let mut excludes = Excludes::default();
    patterns.iter().for_each(|pattern| excludes.add(pattern).unwrap());
    excludes
}

fn scan(root: &Path) -> Vec<Event> {
    Scan::new(root, Excludes::default()).unwrap().collect()
}

/// One line for each event.
fn told(root: &Path, events: &[Event]) -> Vec<String> {
    let line = |event: &Event| match event {
        Event::Enter(entry) => format!("> {}", entry.relative.display()),
        Event::Leave(entry) => format!("< {}", entry.relative.display()),
        Event::Entry(entry) => match &entry.kind {
            Kind::Symlink { target } => {
                format!("{} -> {}", entry.relative.display(), String::from_utf8_lossy(target))
            }
            _ => entry.relative.display().to_string(),
        },
        Event::Skipped { path, reason } => {
            format!("! {}: {reason}", path.strip_prefix(root).unwrap().display())
        }
    };
    events.iter().map(line).collect()
}

fn entry(events: &[Event], name: &str) -> Entry {
    let found = events.iter().find_map(|event| match event {
        Event::Entry(entry) | Event::Enter(entry) if entry.name == name => Some(entry.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn in_order_with_kinds_and_without_following_links() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("b/c")).unwrap();
    fs::write(root.join("b/x"), "x").unwrap();
    fs::write(root.join("a"), "").unwrap();
    symlink("b", root.join("l")).unwrap();
    symlink("nowhere/at all", root.join("b/dangling")).unwrap();
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let expected = [
        "> ",
        "a",
        "> b",
        "> b/c",
        "< b/c",
        "b/dangling -> nowhere/at all",
        "b/x",
        "< b",
        "l -> b",
        "! pipe: it is a pipe",
        "! socket: it is a socket",
        "< ",
    ];
    assert_eq!(told(root, &scan(root)), expected);
}

#[test]
fn metadata_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "12345").unwrap();
    fs::hard_link(&file, dir.path().join("other")).unwrap();
    fs::write(dir.path().join("single"), "").unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    let large = vec![7; 3_000];
    let mut xattrs = vec![("user.b".to_owned(), b"two".to_vec()), ("user.empty".to_owned(), vec![])];
    xattrs.extend([("user.large".to_owned(), large)]);
    for (name, value) in xattrs.iter().rev() {
        lsetxattr(&file, name.as_str(), value, XattrFlags::empty()).unwrap();
    }
    fs::set_permissions(&file, PermissionsExt::from_mode(0o4751)).unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o1710)).unwrap();
    let events = scan(dir.path());
    let meta = entry(&events, "file").metadata;
    assert_eq!((meta.mtime.secs, meta.mtime.nanos), (1_000_000_000, 123_456_789));
    assert_eq!((meta.size, meta.mode, meta.identity.nlink), (5, 0o4751, 2));
    assert_eq!(
        (meta.uid, meta.gid),
        (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    );
    assert_eq!(meta.xattrs, xattrs);
    assert!(meta.ctime.secs > 1_500_000_000);
    assert!(meta.hardlink().is_some() && meta.hardlink() == entry(&events, "other").metadata.hardlink());
    assert_eq!(entry(&events, "single").metadata.hardlink(), None);
    assert_eq!(entry(&events, "").metadata.mode, 0o1710);
}

#[test]
fn too_large_attributes_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    // ext4 keeps a few kilobytes of attributes; only file systems that keep more can show the bound.
    let full = (0..100).map(|n| lsetxattr(&file, format!("user.{n}"), &[0; 60_000], XattrFlags::empty()));
    let set = full.take_while(Result::is_ok).count();
    let events = scan(dir.path());
    let kept = entry(&events, "file").metadata.xattrs.len();
    let told = events.iter().any(
        |event| matches!(event, Event::Skipped { reason, .. } if matches!(reason, SkipReason::Xattrs { .. }) && reason.is_partial()),
    );
    assert_eq!((told, kept), if set > 4 { (true, 4) } else { (false, set) });
}

#[test]
fn odd_names() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let long = "x".repeat(255);
    for name in ["-rf", " a ", "new\nline", "e\u{301}", long.as_str()] {
        fs::write(root.join(name), "").unwrap();
    }
    fs::write(root.join(OsStr::from_bytes(b"latin\xe9")), "").unwrap();
    let events = scan(root);
    for name in ["-rf", " a ", "new\nline", &long] {
        assert!(!entry(&events, name).is_renamed());
    }
    assert!(entry(&events, "\u{e9}").is_renamed());
    assert_eq!(entry(&events, "\u{e9}").relative, Path::new("e\u{301}"));
    let skipped = events.iter().filter(|e| matches!(e, Event::Skipped { reason: SkipReason::NotUtf8, .. }));
    assert_eq!(skipped.count(), 1);
}

#[test]
fn two_names_that_are_one_after_normalisation() {
    let dir = tempfile::tempdir().unwrap();
    // Both orders of the composed and the decomposed name; and two that are one, neither being it.
    for name in ["e\u{301}", "\u{e9}", "\u{1100}\u{1161}", "\u{ac00}", "\u{212b}", "A\u{30a}", "\u{2126}"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let events = scan(dir.path());
    for name in ["\u{e9}", "\u{ac00}"] {
        assert!(!entry(&events, name).is_renamed(), "{name}");
    }
    assert!(entry(&events, "\u{c5}").is_renamed() && entry(&events, "\u{3a9}").is_renamed());
    let skipped =
        events.iter().filter(|e| matches!(e, Event::Skipped { reason: SkipReason::SameName { .. }, .. }));
    assert_eq!(skipped.count(), 3);
}

#[test]
fn what_is_excluded() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for folder in ["src/.git", "src/target/debug", "docs"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for file in ["src/.git/config", "src/main.rs", "src/main.rs.bak", "docs/.hidden", "src/target/debug/x"] {
        fs::write(root.join(file), "").unwrap();
    }
    let list = root.join("docs/list");
    fs::write(&list, "*.bak\n\n.hid*\n").unwrap();
    let mut excludes = excludes(&["src/target/", "[l]ist"]);
    excludes.add_file(&list).unwrap();
    excludes.add_vcs();
    let events: Vec<_> = Scan::new(root, excludes).unwrap().collect();
    let expected = [
        "> ",
        "> docs",
        "! docs/.hidden: it is excluded",
        "! docs/list: it is excluded",
        "< docs",
        "> src",
        "! src/.git: it is excluded",
        "src/main.rs",
        "! src/main.rs.bak: it is excluded",
        "! src/target: it is excluded",
        "< src",
        "< ",
    ];
    assert_eq!(told(root, &events), expected);
    assert!(events.iter().all(|e| !matches!(e, Event::Skipped { reason, .. } if reason.is_problem())));
    assert!(Excludes::default().add("[a").is_err());
    assert!(Excludes::default().add_file(Path::new("/nowhere")).is_err());
}

#[test]
fn what_is_no_tree() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file, dir.path().join("missing")] {
        assert!(matches!(Scan::new(&path, Excludes::default()), Err(ScanError::Root { .. })));
    }
    symlink(dir.path(), dir.path().join("root")).unwrap();
    assert_eq!(scan(&dir.path().join("root")).len(), 4);
}

#[test]
fn a_tree_without_end_has_one() {
    let dir = tempfile::tempdir().unwrap();
    // Built from inside, since the whole path is longer than the system takes.
    let mut folder = fs::File::open(dir.path()).unwrap();
    for _ in 0..MAX_DEPTH + 50 {
        rustix::fs::mkdirat(&folder, "ten-bytes-", Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY;
        folder = rustix::fs::openat(&folder, "ten-bytes-", flags, Mode::empty()).unwrap().into();
    }
    let events = scan(dir.path());
    let entered = events.iter().filter(|event| matches!(event, Event::Enter(_))).count();
    assert_eq!(entered, MAX_DEPTH);
    let deep = events.iter().filter(|e| matches!(e, Event::Skipped { reason: SkipReason::TooDeep, .. }));
    assert_eq!(deep.count(), 1);
}

#[test]
fn a_folder_mounted_into_itself_is_a_cycle() {
    const VARIABLE: &str = "SARSEN_TEST_MOUNTED";
    if let Some(root) = std::env::var_os(VARIABLE) {
        let root = PathBuf::from(root);
        let told = told(&root, &scan(&root));
        assert_eq!(told, ["> ", "> a", "! a/b: it is a folder that it lies in", "< a", "< "]);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$1\" \"$1/a/b\" || exit 77; exec \"$2\" --exact \"$3\" --nocapture";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(dir.path()).arg(std::env::current_exe().unwrap());
    command.arg("scan::a_folder_mounted_into_itself_is_a_cycle").env(VARIABLE, dir.path());
    match command.output() {
        Ok(output) if output.status.code() == Some(0) => {
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        }
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("panicked") => {
            panic!("{}", String::from_utf8_lossy(&output.stdout));
        }
        Ok(output) if output.status.code() == Some(101) => {
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        }
        // Harness swallows what `eprintln!` says in a test that passes.
        _ => writeln!(std::io::stderr(), "note: not tested: this user may not mount anything").unwrap(),
    }
}

#[test]
fn what_may_not_be_read_is_told_and_passed_over() {
    let Some(root) = nobody::inside() else {
        return nobody::run("scan::what_may_not_be_read_is_told_and_passed_over", |_| {});
    };
    fs::create_dir_all(root.join("closed/inner")).unwrap();
    fs::write(root.join("open"), "").unwrap();
    fs::write(root.join("secret"), "x").unwrap();
    fs::set_permissions(root.join("secret"), PermissionsExt::from_mode(0o000)).unwrap();
    fs::create_dir(root.join("listed")).unwrap();
    fs::write(root.join("listed/file"), "").unwrap();
    fs::set_permissions(root.join("listed"), PermissionsExt::from_mode(0o400)).unwrap();
    fs::set_permissions(root.join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    let events = scan(&root);
    let told = told(&root, &events);
    let denied = "it cannot be read: Permission denied (os error 13)";
    let expected = [
        "> ".to_owned(),
        format!("! closed: {denied}"),
        "> listed".into(),
        format!("! listed/file: {denied}"),
        "< listed".into(),
        "open".into(),
        "secret".into(),
        "< ".into(),
    ];
    let shown: Vec<_> = told.iter().filter(|line| !line.contains("attributes")).collect();
    assert_eq!(shown, expected.iter().collect::<Vec<_>>());
    assert!(matches!(entry(&events, "secret").open(), Err(OpenError::Unreadable(_))));
    for closed in ["closed", "listed"] {
        fs::set_permissions(root.join(closed), PermissionsExt::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_file_is_opened_only_if_it_is_the_one_that_was_met() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for name in ["a", "b", "c", "d"] {
        fs::write(root.join(name), "content").unwrap();
    }
    let events = scan(root);
    fs::remove_file(root.join("b")).unwrap();
    symlink("/etc/passwd", root.join("b")).unwrap();
    fs::write(root.join("new"), "other").unwrap();
    fs::rename(root.join("new"), root.join("c")).unwrap();
    fs::remove_file(root.join("d")).unwrap();
    let a = entry(&events, "a");
    let file = a.open().unwrap();
    a.check_unchanged(&file).unwrap();
    fs::write(root.join("a"), "longer content").unwrap();
    assert!(matches!(a.check_unchanged(&file), Err(OpenError::Changed)));
    assert!(matches!(entry(&events, "b").open(), Err(OpenError::Replaced)));
    assert!(matches!(entry(&events, "c").open(), Err(OpenError::Replaced)));
    assert!(matches!(entry(&events, "d").open(), Err(OpenError::Unreadable(_))));
    assert_eq!(LocalMetadata::default().hardlink(), None);
}
