//! What a store does without the rights it wants. Root has every right, so the work is done by a child of another user.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use protocol::message::{ErrorCode, StoreState};
use storage_server::node::{self, NodeError};
use storage_server::{Disk, RealDisk, ServerNode, StoreError, StoreOptions};

use crate::objects::{account, init, inline, load, now, object, open, store_share, terms};

const NOBODY: u32 = 65_534;
const DIR: &str = "SARSEN_TEST_UNPRIVILEGED";

/// Runs the test `name` again, as nobody, with a directory that holds a store of nobody's with a small and a large share.
fn as_nobody(name: &str, prepare: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&path));
    init(&disk);
    let store = open(disk, StoreOptions::default()).unwrap();
    for len in [4000, 300_000] {
        store_share(&store, &object(len as u64, len).shares[0], 0, 1).unwrap();
    }
    drop(store);
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let root = rustix::process::geteuid().is_root();
    walk(&path, &|path| {
        if root {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    });
    prepare(&path);
    // The test binary may lie where nobody may not go.
    let binary = dir.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(&binary);
    command.args(["--exact", name, "--nocapture"]).env(DIR, &path).current_dir("/");
    if root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn walk(path: &Path, visit: &dyn Fn(&Path)) {
    if path.is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|entry| walk(&entry.unwrap().path(), visit));
    }
    visit(path);
}

fn inside() -> Option<Arc<dyn Disk>> {
    let path = std::env::var_os(DIR)?;
    assert!(!rustix::process::geteuid().is_root());
    Some(Arc::new(RealDisk::new(path)))
}

#[test]
fn a_medium_that_cannot_be_written_is_served_read_only() {
    let Some(disk) = inside() else {
        return as_nobody("rights::a_medium_that_cannot_be_written_is_served_read_only", |path| {
            walk(path, &|path| {
                let mode = if path.is_dir() { 0o555 } else { 0o444 };
                std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
            });
        });
    };
    let refused = open(disk.clone(), StoreOptions::default()).unwrap_err();
    assert!(matches!(refused, StoreError::Io { .. }), "{refused:?}");
    let store = open(disk, StoreOptions { read_only: true, ..StoreOptions::default() }).unwrap();
    assert_eq!(store.status().state, StoreState::ReadOnly);
    for len in [4000, 300_000] {
        let object = object(len as u64, len);
        assert_eq!(load(&store, object.key(0)).unwrap(), object.shares[0]);
        let lease = now(store.lease(&inline(), account(), terms(), vec![object.hash]));
        assert_eq!(lease.unwrap_err().code(), ErrorCode::ReadOnly);
        assert_eq!(store_share(&store, &object.shares[1], 1, 1).unwrap_err().code(), ErrorCode::ReadOnly);
    }
}

#[test]
fn a_store_without_permission_is_named() {
    let Some(disk) = inside() else {
        return as_nobody("rights::a_store_without_permission_is_named", |path| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o000)).unwrap();
        });
    };
    for read_only in [false, true] {
        let refused = open(disk.clone(), StoreOptions { read_only, ..StoreOptions::default() }).unwrap_err();
        match refused {
            StoreError::Io { source, .. } => assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn losing_the_right_to_write_fences_the_store() {
    let Some(disk) = inside() else {
        return as_nobody("rights::losing_the_right_to_write_fences_the_store", |_| {});
    };
    let store = open(disk, StoreOptions::default()).unwrap();
    let partial = Path::new(&std::env::var_os(DIR).unwrap()).join("partial");
    std::fs::set_permissions(&partial, PermissionsExt::from_mode(0o555)).unwrap();
    let large = object(7, 300_000);
    assert_eq!(store_share(&store, &large.shares[1], 1, 1).unwrap_err().code(), ErrorCode::StoreFailed);
    assert_eq!(store.status().state, StoreState::Failed);
    let known = object(4000, 4000);
    assert_eq!(load(&store, known.key(0)).unwrap(), known.shares[0]);
}

#[test]
fn a_server_directory_from_init_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("server");
    let config = storage_server::config::Config::parse(
        "listen = \"127.0.0.1:0\"\nnickname = \"one\"\n[[storage]]\npath = \"a\"\nreserve = \"1GiB\"\n",
    )
    .unwrap();
    let id = node::init(&at, config.clone()).unwrap();
    assert!(matches!(node::init(&at, config), Err(NodeError::Exists { .. })));
    let storage = |path: &str| storage_server::config::StorageConfig {
        path: path.into(),
        reserve: "5G".parse().unwrap(),
        read_only: false,
        id: None,
    };
    let second = node::add_storage(&at, storage("b")).unwrap();
    assert!(matches!(node::add_storage(&at, storage("b")), Err(NodeError::StorageExists { .. })));
    node::set_storage(&at, Path::new("a"), |storage| storage.read_only = true).unwrap();
    let node = ServerNode::open(&at).unwrap();
    assert_eq!(node.key.id(), id);
    assert!(node.config.storage[0].read_only && node.config.storage[1].id == Some(second));
    assert!(matches!(ServerNode::open(&at), Err(NodeError::Running { .. })));
    let bound = "127.0.0.1:7".parse().unwrap();
    let now = std::time::Duration::from_secs(1_000_000);
    let first = node.announcement(now, bound).unwrap().open().unwrap();
    assert_eq!((first.server, first.stores.len(), first.addresses), (id, 2, vec!["127.0.0.1:7".to_owned()]));
    assert!(matches!(node.announcement(now, "0.0.0.0:7".parse().unwrap()), Err(NodeError::NoAddress)));
    drop(node);
    // An unmounted disk: the others serve, and nothing is written where it should be.
    std::fs::rename(at.join("b"), at.join("elsewhere")).unwrap();
    std::fs::create_dir(at.join("b")).unwrap();
    let node = ServerNode::open(&at).unwrap();
    let status = node.server.status();
    let failed: Vec<_> = status.stores.iter().filter(|store| store.state == StoreState::Failed).collect();
    assert_eq!((status.stores.len(), failed.len(), failed[0].id), (2, 1, second));
    assert_eq!(std::fs::read_dir(at.join("b")).unwrap().count(), 0);
    let again = node.announcement(now, bound).unwrap().open().unwrap();
    assert!(again.sequence > first.sequence);
    drop(node);
    node::remove_storage(&at, Path::new("b")).unwrap();
    assert!(matches!(node::remove_storage(&at, Path::new("b")), Err(NodeError::NoSuchStorage { .. })));
    let text = std::fs::read_to_string(at.join(node::CONFIG_FILE)).unwrap();
    assert!(text.starts_with("# A storage server of Sarsen") && text.matches("[[storage]]").count() == 1);
    std::fs::set_permissions(at.join("node.key"), PermissionsExt::from_mode(0o640)).unwrap();
    assert!(matches!(ServerNode::open(&at), Err(NodeError::KeyReadable { mode: 0o640, .. })));
}
