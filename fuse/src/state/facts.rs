//! Journals that no mount wrote: facts in any order, and bytes that are none. None of them may end the mount, or keep it.

use caps::{Cap, ImmutableRead, ReadKey, SlotWrite, VerifyHash, WriteKey};
use client::filestore::Child;
use encoding::directory::Metadata;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_oneof, proptest};

use super::tests::taken_up;
use crate::journal::{ChildRow, EmptiedRow, Journal, NameRow, NodeKind, NodeRow, Record};

fn child() -> impl Strategy<Value = ChildRow> {
    let slot = SlotWrite { key: WriteKey::new([3; 16]), hash: VerifyHash::new([4; 32]), directory: true };
    let file = |size| {
        let cap = ImmutableRead {
            key: ReadKey::new([1; 16]),
            hash: VerifyHash::new([2; 32]),
            needed: 3,
            total: 10,
            size,
            directory: false,
        };
        ChildRow::new(&Child::new(Cap::ImmutableRead(cap), None).unwrap())
    };
    let folder = ChildRow::new(&Child::new(Cap::SlotWrite(slot), None).unwrap());
    prop_oneof![Just(folder), (0_u64..1 << 20).prop_map(file)]
}

fn number() -> impl Strategy<Value = u64> {
    1_u64..7
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![9 => "[a-c]", 1 => Just("..".to_owned())]
}

/// A place in a file: mostly near the front, and now and then nowhere.
fn place() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 0_u64..100_000, 1 => Just(encoding::MAX_PLAINTEXT_LEN)]
}

fn node() -> impl Strategy<Value = Record> {
    let kind = prop_oneof![Just(NodeKind::File), Just(NodeKind::Folder), Just(NodeKind::Symlink)];
    let row = (number(), kind, option::of(child()), place(), option::of((number(), name())));
    row.prop_map(|(ino, kind, child, size, place)| {
        let meta = (&Metadata::default()).into();
        Record::Node(Box::new(NodeRow { ino, kind, child, meta, size, place, content: None }))
    })
}

fn names() -> impl Strategy<Value = Record> {
    let is = || "[xy]";
    let row =
        (number(), name(), option::of(number()), option::of(is()), vec(number(), 0..2), vec(is(), 0..2));
    let row = (row, 0_u64..50).prop_map(|((folder, name, to, base, moved, sent), seq)| NameRow {
        folder,
        name,
        to,
        base,
        seq,
        moved,
        sent,
    });
    vec(row, 1..3).prop_map(Record::Names)
}

fn fact() -> impl Strategy<Value = Record> {
    let emptied = (number(), name(), option::of(child()), 0_u64..50, vec(any::<u8>(), 0..40));
    prop_oneof![
        4 => node(),
        4 => names(),
        2 => (number(), place(), vec(any::<u8>(), 0..50))
            .prop_map(|(node, at, bytes)| Record::Write { node, at, bytes: bytes.into() }),
        1 => (number(), place()).prop_map(|(node, size)| Record::Size { node, size }),
        1 => (number(), place()).prop_map(|(node, size)| Record::Freeze { node, size }),
        1 => (number(), place()).prop_map(|(node, at)| Record::Past { node, at }),
        1 => (number(), child())
            .prop_map(|(node, child)| Record::Stored { node, child: Box::new(child), content: None }),
        1 => (number(), child()).prop_map(|(node, child)| Record::Made { node, child: Box::new(child) }),
        1 => (number(), name(), "[xy]").prop_map(|(folder, name, is)| Record::Sent { folder, name, is }),
        1 => (number(), name(), 0_u64..50, option::of("[xy]"))
            .prop_map(|(folder, name, seq, is)| Record::Settled { folder, name, seq, is }),
        1 => emptied.prop_map(|(folder, name, child, seq, known)| {
            let row = EmptiedRow { child, meta: (&Metadata::default()).into(), known: known.into(), seq };
            Record::Emptied { folder, name, row: Box::new(row) }
        }),
    ]
}

proptest! {
    #[test]
    fn any_facts_are_taken_up(facts in vec(fact(), 0..40)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path(), &[1; 32], [2; 32]).unwrap();
        facts.iter().try_for_each(|fact| journal.append(fact)).unwrap();
        drop(journal);
        let mut state = taken_up(dir.path());
        state.owed_names();
        state.begin_journal_anew().unwrap();
        drop(state);
        taken_up(dir.path()).owed_names();
    }

    #[test]
    fn bytes_that_are_no_journal_are_refused_or_cut(
        facts in vec(fact(), 0..5),
        hits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        more in vec(any::<u8>(), 0..200),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path(), &[1; 32], [2; 32]).unwrap();
        facts.iter().try_for_each(|fact| journal.append(fact)).unwrap();
        drop(journal);
        let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let segment = files.filter(|path| path.extension().is_some()).max().unwrap();
        let mut bytes = std::fs::read(&segment).unwrap();
        for (at, with) in hits {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        bytes.extend(more);
        std::fs::write(&segment, bytes).unwrap();
        if let Ok((_, told)) = Journal::open(dir.path(), &[1; 32], [2; 32]) {
            prop_assert!(told == facts[..told.len()], "what is told is what was written");
        }
    }
}
