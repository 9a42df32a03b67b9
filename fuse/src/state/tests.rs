//! What the journal keeps of changes of names, wherever it ends.

use std::path::Path;

use caps::{Cap, SlotWrite, VerifyHash, WriteKey};
use client::filestore::Child;
use encoding::directory::{Metadata, Name};

use super::State;
use crate::error::FsError;
use crate::journal::Journal;
use crate::types::{Ino, Kind, Owner, ROOT, RenameMode};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// What the journal in `dir` tells, and whether any of it was cut off is all the same.
pub(super) fn taken_up(dir: &Path) -> State {
    let slot = SlotWrite { key: WriteKey::new([3; 16]), hash: VerifyHash::new([4; 32]), directory: true };
    let root = Child::new(Cap::SlotWrite(slot), None).unwrap();
    let mut state = State::new(root, Owner { uid: 0, gid: 0 }, false);
    let (journal, records) = Journal::open(dir, &[1; 32], [2; 32]).unwrap();
    state.replay(records);
    state.keep_in(journal);
    state
}

fn make(state: &mut State, folder: Ino, text: &str, kind: Kind) -> Result<Ino, FsError> {
    state.make(folder, &name(text), kind, Metadata::default())
}

/// The paths of all that is owed.
fn paths(state: &State) -> Vec<String> {
    let path = |ino: Ino| {
        let mut names: Vec<&str> = state.above(ino).map(|(_, name)| name.as_str()).collect();
        names.reverse();
        names.join("/")
    };
    let owed = state.owing.iter().flat_map(|folder| state.folder(*folder).unwrap().owed.values());
    let mut paths: Vec<String> = owed.filter_map(|owed| owed.to).map(path).collect();
    paths.sort();
    paths
}

/// What is taken up of a journal that ends after each of its bytes; each answer once.
fn after_each_byte(dir: &Path, from: usize) -> Vec<Vec<String>> {
    let segments = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let segment = segments.filter(|path| path.extension().is_some()).max().unwrap();
    let whole = std::fs::read(&segment).unwrap();
    let mut all: Vec<Vec<String>> = Vec::new();
    for len in from..=whole.len() {
        let cut = tempfile::tempdir().unwrap();
        std::fs::write(cut.path().join(segment.file_name().unwrap()), &whole[..len]).unwrap();
        let told = paths(&taken_up(cut.path()));
        if all.last() != Some(&told) {
            all.push(told);
        }
    }
    all
}

fn len_of(state: &State) -> usize {
    state.journal_len() as usize
}

#[test]
fn a_journal_that_broke_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = taken_up(dir.path());
    make(&mut state, ROOT, "before", Kind::File).unwrap();
    state.journal.as_mut().unwrap().break_off();
    assert_eq!(make(&mut state, ROOT, "lost", Kind::File), Err(FsError::Io));
    make(&mut state, ROOT, "after", Kind::File).unwrap();
    assert_eq!(paths(&state), ["after", "before"]);
    drop(state);
    let mut state = taken_up(dir.path());
    assert_eq!(paths(&state), ["after", "before"]);
    // It is seen when it is to be synced, too.
    state.journal.as_mut().unwrap().break_off();
    assert!(state.begin_sync().unwrap().is_none());
    make(&mut state, ROOT, "last", Kind::File).unwrap();
    drop(state);
    assert_eq!(paths(&taken_up(dir.path())), ["after", "before", "last"]);
}

#[test]
fn what_is_renamed_has_one_name_wherever_the_journal_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = taken_up(dir.path());
    let folder = make(&mut state, ROOT, "folder", Kind::Folder).unwrap();
    make(&mut state, ROOT, "old", Kind::File).unwrap();
    let from = len_of(&state);
    state.rename((ROOT, &name("old")), (folder, &name("new")), RenameMode::Replace).unwrap();
    drop(state);
    assert_eq!(after_each_byte(dir.path(), from), [["folder", "old"], ["folder", "folder/new"]]);
}

#[test]
fn what_is_exchanged_is_in_one_order_or_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = taken_up(dir.path());
    let folder = make(&mut state, ROOT, "folder", Kind::Folder).unwrap();
    let one = make(&mut state, ROOT, "one", Kind::File).unwrap();
    let other = make(&mut state, folder, "other", Kind::Folder).unwrap();
    make(&mut state, other, "within", Kind::File).unwrap();
    let from = len_of(&state);
    state.rename((ROOT, &name("one")), (folder, &name("other")), RenameMode::Exchange).unwrap();
    assert_eq!(state.above(one).next().map(|(at, _)| at), Some(folder));
    drop(state);
    let before = ["folder", "folder/other", "folder/other/within", "one"];
    let after = ["folder", "folder/other", "one", "one/within"];
    assert_eq!(after_each_byte(dir.path(), from), [before, after]);
}

#[test]
fn what_the_grid_may_have_is_removed_there_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = taken_up(dir.path());
    make(&mut state, ROOT, "never", Kind::File).unwrap();
    make(&mut state, ROOT, "asked", Kind::File).unwrap();
    // The answer got lost.
    let asked = state.child_at(ROOT, &name("asked")).unwrap();
    assert!(state.note_sent((ROOT, &name("asked")), asked, "URI:what it was").unwrap());
    for text in ["never", "asked"] {
        state.remove(ROOT, &name(text), Kind::File).unwrap();
    }
    drop(state);
    let state = taken_up(dir.path());
    let owed = &state.folder(ROOT).unwrap().owed;
    assert_eq!(owed.keys().map(Name::as_str).collect::<Vec<_>>(), ["asked"]);
    assert!(owed[&name("asked")].to.is_none() && owed[&name("asked")].sent == ["URI:what it was"]);
}

#[test]
fn what_was_in_a_folder_that_was_removed_is_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = taken_up(dir.path());
    let slot = SlotWrite { key: WriteKey::new([5; 16]), hash: VerifyHash::new([6; 32]), directory: true };
    let [d, e] = ["d", "e"].map(|text| {
        let folder = if text == "d" { ROOT } else { state.child_at(ROOT, &name("d")).unwrap().unwrap() };
        let made = make(&mut state, folder, text, Kind::Folder).unwrap();
        state.node_mut(made).unwrap().child = Some(Child::new(Cap::SlotWrite(slot.clone()), None).unwrap());
        state.note_sent_now(folder, &name(text), "somewhere".into());
        made
    });
    make(&mut state, e, "x", Kind::File).unwrap();
    // More than one record holds.
    for count in 0..150_000 {
        state.note_sent_now(e, &name("x"), count.to_string());
    }
    state.remove(e, &name("x"), Kind::File).unwrap();
    state.remove(d, &name("e"), Kind::Folder).unwrap();
    state.remove(ROOT, &name("d"), Kind::Folder).unwrap();
    let emptied = |state: &State| {
        let owed = &state.folder(ROOT).unwrap().owed[&name("d")];
        let told =
            owed.emptied.iter().map(|(seq, emptied)| (emptied.identity(), emptied.known.clone(), *seq));
        told.collect::<Vec<_>>()
    };
    let before = emptied(&state);
    assert_eq!(before.iter().map(|(_, known, _)| known.len()).collect::<Vec<_>>(), [1, 150_000]);
    drop(state);
    let mut state = taken_up(dir.path());
    assert!(emptied(&state) == before);
    state.begin_journal_anew().unwrap();
    drop(state);
    let mut state = taken_up(dir.path());
    assert!(emptied(&state) == before);
    // What was seen to be removed is not looked for any more, whatever has the name by now.
    let seq = state.folder(ROOT).unwrap().owed[&name("d")].seq;
    make(&mut state, ROOT, "d", Kind::File).unwrap();
    state.settle(ROOT, &name("d"), seq, None).unwrap();
    assert_eq!(emptied(&state), []);
}
