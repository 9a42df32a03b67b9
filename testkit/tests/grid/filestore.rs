//! The file store: directories, mutable files, paths, walks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use caps::{Cap, SlotWrite};
use client::filestore::{Child, DirEdit, FileStoreError, GAP_MAX, MutableEdit, Refusal, Replace};
use client::{Client, GetOptions, PutOptions, Source};
use encoding::directory::{Entry, EntryKind, Name};
use testkit::grid::SimGrid;

use crate::support::{SECOND, noise, put, simulate, within};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn link(text: &str, child: &Child) -> DirEdit {
    DirEdit::Link { name: name(text), child: Box::new(child.clone()), replace: Replace::No }
}

pub(crate) fn writer(child: &Child) -> SlotWrite {
    match child.cap() {
        Cap::SlotWrite(cap) => cap.clone(),
        other => panic!("no write cap: {}", other.kind()),
    }
}

pub(crate) async fn file(client: &Client, data: &[u8]) -> Child {
    Child::new(put(client, data).await.unwrap().cap, None).unwrap()
}

pub(crate) async fn names(client: &Client, cap: &Cap) -> Vec<String> {
    let view = client.open_directory(cap).await.unwrap();
    view.list().await.unwrap().into_iter().map(|(name, _)| name.to_string()).collect()
}

async fn read(client: &Client, cap: &Cap) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.read_file(cap, &mut bytes, GetOptions::default()).await.unwrap();
    bytes
}

#[test]
fn entries_are_linked_renamed_and_taken_out_and_readers_get_no_write_cap() {
    simulate(async {
        let mut grid = SimGrid::start(1, 10).await;
        let client = grid.client("3/7/10").await;
        let top = client.make_directory().await.unwrap();
        let below = client.make_directory().await.unwrap();
        let (hello, there) = (file(&client, b"hello").await, file(&client, &noise(1, 5000)).await);
        let edits = vec![link("b", &hello), link("a", &there), link("below", &below), link("a", &hello)];
        let outcomes = client.edit_directory(&writer(&top), edits).await.unwrap();
        assert!(outcomes[..3].iter().all(Result::is_ok));
        assert_eq!(outcomes[3], Err(Refusal::Exists { name: "a".into() }));
        let rename = DirEdit::Rename { from: name("b"), to: name("c"), replace: Replace::No };
        client.edit_entry(&writer(&top), rename).await.unwrap();
        client.edit_entry(&writer(&top), DirEdit::Unlink { name: name("a"), only: None }).await.unwrap();
        let refused =
            DirEdit::Link { name: name("below"), child: Box::new(hello), replace: Replace::OnlyFiles };
        let refused = client.edit_entry(&writer(&top), refused).await;
        assert!(matches!(refused, Err(FileStoreError::Refused(Refusal::IsDirectory { .. }))), "{refused:?}");
        let gone = client.edit_entry(&writer(&top), DirEdit::Unlink { name: name("a"), only: None }).await;
        assert!(matches!(gone, Err(FileStoreError::Refused(Refusal::NoEntry { .. }))));

        let other = grid.client("3/7/10").await;
        assert_eq!(names(&other, top.cap()).await, ["below", "c"]);
        let (read_top, read_below) = (top.cap().read().unwrap(), below.cap().read().unwrap());
        let by_reader = other.resolve(&read_top, &[name("below")]).await.unwrap();
        assert_eq!(by_reader.cap, read_below);
        let by_writer = other.resolve(top.cap(), &[name("below")]).await.unwrap();
        assert_eq!(by_writer.cap, *below.cap());
        let middle = other.resolve(top.cap(), &[name("c"), name("x")]).await;
        assert!(matches!(middle, Err(FileStoreError::NotADirectory { path }) if path == "c"));
    });
}

#[test]
fn edits_of_one_process_travel_together_and_racing_processes_lose_nothing() {
    simulate(async {
        let mut grid = SimGrid::start(2, 10).await;
        let first = grid.client("3/7/10").await;
        let top = first.make_directory().await.unwrap();
        let child = file(&first, b"same").await;
        let mut racing = tokio::task::JoinSet::new();
        for client_index in 0..3 {
            let client = grid.client("3/7/10").await;
            for index in 0..40 {
                let (client, cap, child) = (client.clone(), writer(&top), child.clone());
                let name = format!("{client_index}-{index:03} {}", "long".repeat(20));
                racing.spawn(async move {
                    within(SECOND * 90, client.edit_entry(&cap, link(&name, &child))).await.unwrap();
                });
            }
        }
        while let Some(done) = racing.join_next().await {
            done.unwrap();
        }
        let seen = names(&grid.client("3/7/10").await, top.cap()).await;
        assert_eq!(seen.len(), 120);
        assert!(seen.is_sorted());
        // Folded into a tree by now, and still changed entry by entry.
        let view = first.open_directory(top.cap()).await.unwrap();
        assert_eq!(view.list().await.unwrap().len(), 120);
        first.edit_entry(&writer(&top), DirEdit::Unlink { name: name(&seen[7]), only: None }).await.unwrap();
        let now = names(&first, top.cap()).await;
        assert!(now.len() == 119 && !now.contains(&seen[7]));
    });
}

#[test]
fn large_directories_are_made_whole_and_walked_in_order() {
    simulate(async {
        let mut grid = SimGrid::start(3, 10).await;
        let client = grid.client("3/7/10").await;
        let leaf = file(&client, b"leaf").await;
        let many: Vec<(Name, Child)> = (0..900).map(|i| (name(&format!("f{i:04}")), leaf.clone())).collect();
        let wide = client.make_directory_with(many.clone()).await.unwrap();
        let fixed = client.make_immutable(many).await.unwrap();
        assert_eq!(fixed.kind, EntryKind::Directory);
        let same: Vec<(Name, Child)> = (0..900).map(|i| (name(&format!("f{i:04}")), leaf.clone())).collect();
        assert_eq!(client.make_immutable(same).await.unwrap().cap(), fixed.cap());
        let empty = client.make_immutable(Vec::new()).await.unwrap();
        assert!(matches!(empty.cap(), Cap::Literal(_)));
        let top = vec![(name("wide"), wide.clone()), (name("fixed"), fixed), (name("empty"), empty)];
        let top = client.make_directory_with(top).await.unwrap();
        // A cycle: the walk shows it and goes on.
        client.edit_entry(&writer(&wide), link("up", &top)).await.unwrap();
        let mut walk = client.walk(top.cap());
        let (mut files, mut again, mut paths) = (0, 0, Vec::new());
        while let Some(walked) = walk.next().await.unwrap() {
            assert!(walked.opened.as_ref().is_none_or(Result::is_ok), "{walked:?}");
            files += usize::from(walked.kind() == EntryKind::File);
            again += usize::from(walked.again);
            paths.push(walked.path);
        }
        assert_eq!((files, again), (1800, 1));
        assert!(paths.is_sorted(), "in the order of names");
        let mutable_inside = client.make_immutable(vec![(name("wide"), wide)]).await;
        assert!(matches!(mutable_inside, Err(FileStoreError::Entry(_))), "{mutable_inside:?}");
    });
}

#[test]
fn mutable_files_of_any_size_change_in_place() {
    simulate(async {
        let mut grid = SimGrid::start(4, 10).await;
        let client = grid.client("3/7/10").await;
        for size in [0, 100, 40_000, 60_000, 3_000_000] {
            let mut data = noise(4, size);
            let made = client.make_mutable(Source::bytes(data.clone()), PutOptions::default()).await.unwrap();
            let cap = writer(&made);
            assert_eq!(read(&client, made.cap()).await, data);
            let write = MutableEdit::WriteAt(size as u64 / 2, Bytes::from_static(b"changed"));
            client.edit_file(&cap, write).await.unwrap();
            data.resize(data.len().max(size / 2 + 7), 0);
            data[size / 2..size / 2 + 7].copy_from_slice(b"changed");
            assert_eq!(read(&grid.client("3/7/10").await, &made.cap().read().unwrap()).await, data);
            let end = data.len() as u64;
            for far in [end + GAP_MAX + 1, u64::MAX - 3, u64::MAX] {
                let write = MutableEdit::WriteAt(far, Bytes::from_static(b"beyond"));
                let refused = client.edit_file(&cap, write).await;
                assert!(matches!(refused, Err(FileStoreError::TooFar { .. })), "{far}: {refused:?}");
            }
            client.edit_file(&cap, MutableEdit::Truncate(70_000)).await.unwrap();
            data.resize(70_000, 0);
            assert_eq!(read(&client, made.cap()).await, data, "truncated to 70,000 from {size}");
            client.overwrite(&cap, Source::bytes(b"short".to_vec()), PutOptions::default()).await.unwrap();
            assert_eq!(read(&client, made.cap()).await, b"short");
        }
        let directory = client.make_directory().await.unwrap();
        let mut as_file = writer(&directory);
        as_file.directory = false;
        let refused = client.read_mutable(&as_file.to_read()).await;
        assert!(matches!(refused, Err(FileStoreError::Directory(_))), "{refused:?}");
    });
}

#[test]
fn an_entry_with_a_wrong_key_hides_nothing_from_a_walk() {
    simulate(async {
        let mut grid = SimGrid::start(5, 10).await;
        let client = grid.client("3/7/10").await;
        let below = client.make_directory_with(vec![(name("x"), file(&client, b"x").await)]).await.unwrap();
        let real = writer(&below);
        let wrong = Cap::SlotWrite(SlotWrite { key: caps::WriteKey::new([9; 16]), ..real });
        let decoy = Child::new(wrong.read().unwrap(), None).unwrap();
        let top = vec![(name("a"), decoy), (name("b"), below)];
        let top = client.make_directory_with(top).await.unwrap();
        let mut walk = client.walk(top.cap());
        let mut opened = Vec::new();
        while let Some(walked) = walk.next().await.unwrap() {
            assert!(!walked.again);
            opened.push((walked.path.len(), walked.opened.map(|opened| opened.is_ok())));
        }
        assert_eq!(opened, [(0, Some(true)), (1, Some(false)), (1, Some(true)), (2, None)]);
    });
}

#[test]
fn two_views_tell_all_that_differs_and_nothing_else() {
    simulate(async {
        let mut grid = SimGrid::start(9, 10).await;
        let client = grid.client("3/7/10").await;
        let children = [file(&client, b"one").await, file(&client, b"other").await];
        let many = (0..2000).map(|i| (name(&format!("n{i:05}")), children[0].clone())).collect();
        let top = client.make_directory_with(many).await.unwrap();
        let mut views = vec![client.open_directory(top.cap()).await.unwrap()];
        let mut word = 1_u64;
        for round in 0..12 {
            let edits = (0..1 + round * 20).map(|_| {
                word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (text, child) =
                    (format!("n{:05}", (word >> 33) % 2500), &children[(word >> 60) as usize % 2]);
                match (word >> 40) % 3 {
                    0 => DirEdit::Unlink { name: name(&text), only: None },
                    _ => DirEdit::Link {
                        name: name(&text),
                        child: Box::new(child.clone()),
                        replace: Replace::Yes,
                    },
                }
            });
            client.edit_directory(&writer(&top), edits.collect()).await.unwrap();
            views.push(client.open_directory(top.cap()).await.unwrap());
        }
        for (old, new) in
            views.iter().zip(&views[1..]).chain([(&views[0], &views[12]), (&views[12], &views[3])])
        {
            let before: BTreeMap<Name, Entry> = old.list().await.unwrap().into_iter().collect();
            let after: BTreeMap<Name, Entry> = new.list().await.unwrap().into_iter().collect();
            let all: BTreeSet<&Name> = before.keys().chain(after.keys()).collect();
            let differ = all.into_iter().filter(|name| before.get(*name) != after.get(*name));
            let expected: Vec<_> = differ.map(|name| (name, before.get(name), after.get(name))).collect();
            let told = old.changes(new).await.unwrap();
            let told: Vec<_> =
                told.iter().map(|one| (&one.name, one.old.as_ref(), one.new.as_ref())).collect();
            assert!(told == expected && !told.is_empty());
        }
        // Of a long one, little is read: what both have in common is not looked at.
        assert!(views[12].changes(&views[12]).await.unwrap().is_empty());
    });
}
