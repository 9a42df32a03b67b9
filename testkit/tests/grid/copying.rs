//! Trees between a machine and the grid.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use caps::{Cap, SlotWrite};
use client::backup_db::{BackupDb, Known};
use client::copy::{
    CopyError, CopyProblem, Directories, DownloadOptions, Files, Form, TreeProgress, UploadOptions,
};
use client::filestore::{Child, DirEdit, FileStoreError, MAX_DEPTH, Replace};
use client::local::{Excludes, Trust, scan};
use client::{Client, ClientDir, GetOptions, PutOptions, Shares, Source};
use encoding::directory::Name;
use testkit::grid::SimGrid;

use crate::support::{noise, put, simulate};

fn options(form: Form, memory: Option<Arc<BackupDb>>) -> UploadOptions {
    UploadOptions {
        form,
        excludes: Excludes::default(),
        memory,
        ignore_timestamps: false,
        progress: TreeProgress::default(),
    }
}

fn own() -> DownloadOptions {
    DownloadOptions { trust: Trust::Own, root: None, caps_only: false, progress: TreeProgress::default() }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn writer(child: &Child) -> SlotWrite {
    match child.cap() {
        Cap::SlotWrite(cap) => cap.clone(),
        other => panic!("no write cap: {}", other.kind()),
    }
}

async fn link(client: &Client, into: &Child, text: &str, child: &Child) {
    let edit = DirEdit::Link { name: name(text), child: Box::new(child.clone()), replace: Replace::No };
    client.edit_entry(&writer(into), edit).await.unwrap();
}

async fn read(client: &Client, cap: &Cap) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.read_file(cap, &mut bytes, GetOptions::default()).await.unwrap();
    bytes
}

fn file(path: &Path, data: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, data).unwrap();
}

#[test]
fn equal_folders_come_back_twice_and_hard_links_as_one_file() {
    simulate(async {
        let mut grid = SimGrid::start(1, 10).await;
        let client = grid.client("3/7/10").await;
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        for folder in ["one", "two"] {
            file(&from.join(folder).join("inner/file"), &noise(1, 5000));
        }
        fs::hard_link(from.join("one/inner/file"), from.join("linked")).unwrap();
        symlink("nowhere", from.join("link")).unwrap();
        // As a directory that says nothing of its entries is linked twice.
        let tree = client.upload_tree(&from, options(Form::Immutable, None)).await.unwrap();
        assert!(tree.done.problems.is_empty() && tree.done.files == 3 && tree.done.symlinks == 1);
        let top = client.make_directory().await.unwrap();
        link(&client, &top, "a", &tree.root).await;
        link(&client, &top, "b", &tree.root).await;
        let done = client.download_tree(top.cap(), &to, own()).await.unwrap();
        assert!(done.problems.is_empty(), "{:?}", done.problems);
        for path in ["a/one/inner/file", "a/two/inner/file", "b/one/inner/file", "b/linked"] {
            assert!(fs::read(to.join(path)).unwrap() == noise(1, 5000), "{path}");
        }
        // Two names each of `a` and `b`, and all four are one file: that is what their directories say.
        assert_eq!((done.files, done.hard_links, done.symlinks), (3, 3, 2));
        assert_eq!(fs::read_link(to.join("b/link")).unwrap(), Path::new("nowhere"));
    });
}

#[test]
fn a_directory_in_itself_ends() {
    simulate(async {
        let mut grid = SimGrid::start(2, 10).await;
        let client = grid.client("3/7/10").await;
        let (top, below) = (client.make_directory().await.unwrap(), client.make_directory().await.unwrap());
        let hello = Child::new(put(&client, b"hello").await.unwrap().cap, None).unwrap();
        link(&client, &top, "below", &below).await;
        link(&client, &below, "above", &top).await;
        link(&client, &below, "file", &hello).await;
        let scratch = tempfile::tempdir().unwrap();
        let done = client.download_tree(top.cap(), &scratch.path().join("to"), own()).await.unwrap();
        assert!(matches!(&done.problems.list[..], [(_, CopyProblem::Cycle)]), "{:?}", done.problems);
        assert_eq!(fs::read(scratch.path().join("to/below/file")).unwrap(), b"hello");
        let view = client.open_directory(top.cap()).await.unwrap();
        let copy = client.copy_directory(&view, Files::Stored, &TreeProgress::default()).await.unwrap();
        assert!(matches!(&copy.problems.list[..], [(_, CopyProblem::Cycle)]), "{:?}", copy.problems);
        assert_eq!((copy.files, copy.directories), (1, 2));
    });
}

#[test]
fn what_lies_too_deep_is_told() {
    simulate(async {
        let mut grid = SimGrid::start(5, 4).await;
        let client = grid.client("1/3/4").await;
        let mut top = client.make_directory().await.unwrap();
        for _ in 0..MAX_DEPTH + 2 {
            top = client.make_directory_with(vec![(name("x"), top)]).await.unwrap();
        }
        let mut walk = client.walk(top.cap());
        let (mut opened, mut refused) = (0, Vec::new());
        while let Some(walked) = walk.next().await.unwrap() {
            assert!(!walked.again);
            match walked.opened {
                Some(Ok(())) => opened += 1,
                other => refused.push((walked.path.len(), other)),
            }
        }
        assert_eq!(opened, MAX_DEPTH + 1);
        assert!(matches!(refused[..], [(1025, Some(Err(FileStoreError::TooDeep)))]), "{refused:?}");
        let view = client.open_directory(top.cap()).await.unwrap();
        let copy = client.copy_directory(&view, Files::Stored, &TreeProgress::default()).await.unwrap();
        let too_deep = |problem: &CopyProblem| matches!(problem, CopyProblem::Grid(FileStoreError::TooDeep));
        assert!(matches!(&copy.problems.list[..], [(_, problem)] if too_deep(problem)));
        assert_eq!(copy.directories, MAX_DEPTH as u64 + 1);

        // Two that lie in themselves are as deep as anybody looks.
        let (from, into) = (client.make_directory().await.unwrap(), client.make_directory().await.unwrap());
        link(&client, &from, "x", &from).await;
        link(&client, &into, "x", &into).await;
        let view = client.open_directory(into.cap()).await.unwrap();
        let progress = TreeProgress::default();
        let done = client.relink(vec![(name("x"), from)], &view, Directories::Linked, &progress);
        let done = done.await.unwrap();
        assert!(matches!(&done.problems.list[..], [(_, problem)] if too_deep(problem)));
        assert_eq!(done.filled_up, MAX_DEPTH as u64);
    });
}

#[test]
fn a_copy_has_directories_of_its_own_and_the_same_files() {
    simulate(async {
        let mut grid = SimGrid::start(6, 10).await;
        let client = grid.client("3/7/10").await;
        let (from, below) = (client.make_directory().await.unwrap(), client.make_directory().await.unwrap());
        let (into, old) = (client.make_directory().await.unwrap(), client.make_directory().await.unwrap());
        let source = Source::bytes(noise(1, 3000));
        let mutable = client.make_mutable(source, PutOptions::default()).await.unwrap();
        link(&client, &from, "below", &below).await;
        link(&client, &below, "file", &mutable).await;
        link(&client, &into, "old", &old).await;
        let relink = async |place: &str| {
            let view = client.open_directory(into.cap()).await.unwrap();
            let progress = TreeProgress::default();
            let children = vec![(name(place), from.clone())];
            client.relink(children, &view, Directories::Made, &progress).await.unwrap()
        };
        // Where nothing is in the way, and into a directory that is there.
        for (place, made) in [("new", 2), ("old", 1)] {
            let done = relink(place).await;
            assert_eq!((done.made, done.linked, done.problems.is_empty()), (made, 1, true), "{place}");
            let names = [name(place), name("below")];
            let copy = client.resolve(into.cap(), &names).await.unwrap();
            assert!(copy.cap != *below.cap() && matches!(copy.cap, Cap::SlotWrite(_)));
            let file = client.resolve(&copy.cap, &[name("file")]).await.unwrap();
            assert_eq!(file.cap, *mutable.cap(), "a file is the same file");
            let copy = Child::new(copy.cap, None).unwrap();
            link(&client, &copy, place, &mutable).await;
        }
        let view = client.open_directory(below.cap()).await.unwrap();
        assert_eq!(view.list().await.unwrap().len(), 1, "nothing of this shows in what was copied");
    });
}

#[test]
fn a_directory_that_is_there_is_filled_up() {
    simulate(async {
        let mut grid = SimGrid::start(3, 10).await;
        let client = grid.client("3/7/10").await;
        let top = client.make_directory().await.unwrap();
        let (below, taken) = (client.make_directory().await.unwrap(), client.make_directory().await.unwrap());
        let source = Source::bytes(noise(1, 3000));
        let mutable = client.make_mutable(source, PutOptions::default()).await.unwrap();
        let old = Child::new(put(&client, &noise(2, 3000)).await.unwrap().cap, None).unwrap();
        link(&client, &top, "below", &below).await;
        link(&client, &top, "taken", &taken).await;
        link(&client, &top, "file", &old).await;
        link(&client, &below, "mutable", &mutable).await;
        link(&client, &below, "kept", &old).await;
        let scratch = tempfile::tempdir().unwrap();
        let from = scratch.path().join("from");
        for (path, seed) in [("below/mutable", 10), ("below/new", 11), ("taken", 12), ("file/in/it", 13)] {
            file(&from.join(path), &noise(seed, 4000));
        }
        let view = client.open_directory(top.cap()).await.unwrap();
        let done = client.fill_up_tree(&from, view, options(Form::Mutable, None)).await.unwrap().done;
        let problems = done.problems.list.iter().map(|(path, problem)| (path.clone(), problem.to_string()));
        let said = problems.collect::<Vec<_>>();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said.iter().any(|(path, why)| path.ends_with("taken") && why.contains("a directory")));
        assert!(said.iter().any(|(path, why)| path.ends_with("file") && why.contains("a file")));
        assert_eq!((done.files, done.files_skipped, done.directories_skipped), (2, 1, 1));

        assert!(read(&client, mutable.cap()).await == noise(10, 4000), "it was overwritten in place");
        let view = client.open_directory(below.cap()).await.unwrap();
        let list = view.list().await.unwrap();
        let names: Vec<_> = list.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["kept", "mutable", "new"]);
        assert_eq!(view.cap_of(&list[1].1).unwrap(), *mutable.cap());
        assert!(list[1].1.metadata.mtime.is_some(), "its times came along");
        let view = client.open_directory(top.cap()).await.unwrap();
        assert_eq!(view.list().await.unwrap().len(), 3);

        let reader = client.open_directory(&top.cap().read().unwrap()).await.unwrap();
        let refused = client.fill_up_tree(&from, reader, options(Form::Mutable, None)).await;
        assert!(matches!(refused, Err(CopyError::ReadOnly { .. })));
    });
}

#[test]
fn what_was_uploaded_long_ago_is_looked_for() {
    simulate(async {
        let mut grid = SimGrid::start(4, 10).await;
        let client = grid.client("3/7/10").await;
        let scratch = tempfile::tempdir().unwrap();
        let shares = Shares { needed: 3, happy: 7, total: 10 };
        let home = scratch.path().join("client");
        let home = ClientDir::create(&home, &[], shares, None, &protocol::OsRandom).unwrap();
        let memory = Arc::new(BackupDb::open(&home, &[1; 32]).unwrap());
        let from = scratch.path().join("from");
        let there = put(&client, &noise(1, 3000)).await.unwrap().cap;
        let lost: Cap = format!("URI:CHK:{}:{}:3:10:3000", "a".repeat(26), "a".repeat(52)).parse().unwrap();
        for (text, seed, cap) in [("a", 1, &there), ("b", 2, &lost)] {
            file(&from.join(text), &noise(seed, 3000));
            let (entry, _) = scan::single(&from.join(text)).unwrap();
            let known = Known { cap: cap.clone(), salt: None, uploaded: 0, checked: 0 };
            let path = fs::canonicalize(from.join(text)).unwrap();
            let read_at = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
            assert!(memory.record(&path, &entry.metadata, read_at.into(), known).unwrap());
        }
        let tree = client.upload_tree(&from, options(Form::Immutable, Some(memory))).await.unwrap();
        assert_eq!((tree.done.files, tree.done.files_reused), (1, 1), "{:?}", tree.done);
        let view = client.open_directory(tree.root.cap()).await.unwrap();
        let lost = view.get(&name("b")).await.unwrap().unwrap();
        assert!(read(&client, &lost.cap).await == noise(2, 3000), "what was lost is stored again");
    });
}
