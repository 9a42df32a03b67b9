//! Nodes, literals and what slots hold.

use caps::{Cap, Literal};
use encoding::directory::{
    DirectoryError, Entry, EntryKind, FileContent, MAX_REMEMBERED, Mutability, Node, SlotContent,
    SlotDirectory, SlotFile, leaf_item_len, literal_directory, open_literal,
};
use encoding::{Children, Sections};
use proptest::prelude::*;

use super::{cap, file_entry, name, object, reference, slot_entry};

use Mutability::{Immutable, Mutable};

fn leaf() -> Node {
    let unknown = Entry::new(EntryKind::Unknown, cap("imm.URI:FUTURE:abc"));
    let link = Entry::new(EntryKind::Symlink, cap("URI:LIT:nbswy3dp"));
    let entries = [("a", slot_entry(1)), ("b", file_entry(2)), ("c", unknown), ("d", link)];
    Node::Leaf(entries.map(|(text, entry)| (name(text), entry)).into())
}

fn inner() -> Node {
    Node::Inner { level: 2, children: vec![(name("a"), reference(1, 7)), (name("m"), reference(2, 1 << 40))] }
}

fn directory() -> SlotDirectory {
    let edits = [("a", Some(slot_entry(1))), ("b", None), ("c", Some(file_entry(3)))];
    SlotDirectory {
        base: Some(reference(4, 100)),
        edits: edits.map(|(text, edit)| (name(text), edit)).into(),
        operations: vec![[1; 16], [2; 16]],
    }
}

fn contents() -> Vec<SlotContent> {
    let object = |salt| FileContent::Object { cap: object(1, false), salt };
    let files =
        [FileContent::Inline(vec![1; 100]), FileContent::Inline(vec![]), object(None), object(Some([1; 32]))];
    let files = files.map(|content| SlotContent::File(SlotFile { content, operations: vec![[3; 16]] }));
    let directories = [directory(), SlotDirectory::default()].map(SlotContent::Directory);
    files.into_iter().chain(directories).collect()
}

#[test]
fn what_is_written_comes_back() {
    for node in [leaf(), inner()] {
        assert_eq!(Node::parse(&node.to_sections(), Mutable), Ok(node.clone()));
        assert_eq!(node.check(Mutable), Ok(()));
    }
    for content in contents() {
        assert_eq!(SlotContent::parse(&content.to_sections()), Ok(content));
    }
    assert_eq!(inner().count(), 7 + (1 << 40));
}

#[test]
fn lengths_are_told_without_writing() {
    let Node::Leaf(entries) = leaf() else { unreachable!() };
    let sum: usize = entries.iter().map(|(name, entry)| leaf_item_len(name, entry)).sum();
    assert_eq!(leaf().to_sections().a.len(), 4 + sum);
}

#[test]
fn section_b_lists_what_a_walker_needs() {
    let children = leaf().children();
    let kinds: Vec<&str> = children.list.iter().map(Cap::kind).collect();
    assert_eq!((kinds, children.unknown), (vec!["SARSEN-REPAIR", "CHK-Verifier"], 1));
    let content = SlotContent::Directory(directory());
    let kinds: Vec<String> = content.children().list.iter().map(|cap| cap.kind().to_owned()).collect();
    assert_eq!(kinds, ["SARSEN-REPAIR", "SARSEN-REPAIR", "CHK-Verifier"]);
}

#[test]
fn a_section_b_that_does_not_list_section_a_is_refused() {
    let sections = leaf().to_sections();
    let mut fewer = leaf().children();
    fewer.list.pop();
    for b in [fewer.to_bytes(), Children { unknown: 2, ..leaf().children() }.to_bytes(), Vec::new()] {
        let altered = Sections { b, ..sections.clone() };
        assert_eq!(Node::parse(&altered, Mutable), Err(DirectoryError::Children));
    }
    let altered = Sections { b: Vec::new(), ..SlotContent::Directory(directory()).to_sections() };
    assert_eq!(SlotContent::parse(&altered), Err(DirectoryError::Children));
}

#[test]
fn a_literal_directorys_children_stand_in_its_parents_list() {
    let unknown = Entry::new(EntryKind::Unknown, cap("imm.URI:F:a"));
    let within = literal_directory(&[(name("u"), unknown)]).expect("it is short");
    let around = Entry::new(EntryKind::Directory, Cap::Literal(within));
    let node = Node::Leaf(vec![(name("d"), around)]);
    assert_eq!(node.children(), Children { list: vec![], unknown: 1 });
    assert_eq!(Node::parse(&node.to_sections(), Immutable), Ok(node));
    // One that nobody can open does not make its parent unreadable.
    let broken = Cap::Literal(Literal { bytes: vec![0xFF; 10], directory: true });
    let node = Node::Leaf(vec![(name("d"), Entry::new(EntryKind::Directory, broken))]);
    assert_eq!(Node::parse(&node.to_sections(), Immutable), Ok(node));
}

#[test]
fn small_directories_are_literals() {
    let empty = literal_directory(&[]).expect("the empty one fits");
    assert_eq!((empty.bytes.len(), open_literal(&empty)), (4, Ok(vec![])));
    assert_eq!(literal_directory(&[(name("a"), file_entry(1))]), None);
    let file = Literal { bytes: empty.bytes.clone(), directory: false };
    assert_eq!(open_literal(&file), Err(DirectoryError::NotADirectory));
    let mutable = Cap::SlotWrite(super::slot(1, false)).read().expect("it has one");
    let node = Node::Leaf(vec![(name("a"), Entry::new(EntryKind::File, mutable))]);
    let literal = Literal { bytes: node.to_sections().a, directory: true };
    assert!(matches!(open_literal(&literal), Err(DirectoryError::Entry(_))), "immutable all the way down");
}

#[test]
fn nodes_out_of_order_are_refused() {
    let twice = |texts: [&str; 2]| {
        let node = Node::Leaf(texts.map(|text| (name(text), file_entry(1))).into());
        Node::parse(&node.to_sections(), Mutable)
    };
    assert_eq!(twice(["b", "a"]), Err(DirectoryError::Unordered));
    assert_eq!(twice(["a", "a"]), Err(DirectoryError::Unordered));
    let empty = Node::Leaf(vec![]).to_sections();
    assert_eq!(Node::parse(&empty, Mutable), Err(DirectoryError::Count { count: 0 }));
    let wide = Node::Inner {
        level: 1,
        children: (100..293).map(|i| (name(&i.to_string()), reference(1, 1))).collect(),
    };
    assert_eq!(Node::parse(&wide.to_sections(), Mutable), Err(DirectoryError::Count { count: 193 }));
    let high = Node::Inner { level: 16, children: vec![(name("a"), reference(1, 1))] };
    assert_eq!(Node::parse(&high.to_sections(), Mutable), Err(DirectoryError::Level { level: 16 }));
    let nothing = Node::Inner { level: 1, children: vec![(name("a"), reference(1, 0))] };
    assert_eq!(Node::parse(&nothing.to_sections(), Mutable), Err(DirectoryError::Reference));
}

#[test]
fn other_versions_kinds_and_forms_are_refused_by_name() {
    let parse = |a: &[u8]| SlotContent::parse(&Sections { a: a.to_vec(), b: Children::default().to_bytes() });
    // The empty directory, then one thing altered.
    assert!(parse(b"\x85\x01\x00\xf6\xa0\x80").is_ok());
    assert_eq!(parse(b"\x85\x02\x00\xf6\xa0\x80"), Err(DirectoryError::Version { version: 2 }));
    assert_eq!(parse(b"\x85\x01\x09\xf6\xa0\x80"), Err(DirectoryError::Kind { kind: 9 }));
    assert_eq!(parse(b"\x85\x01\x00\xf6\xa0\x98\x00"), Err(DirectoryError::NotCanonical));
    assert_eq!(parse(b"\x85\x01\x00\xf6\xa0\x80\x00"), Err(DirectoryError::Malformed));
    assert_eq!(parse(b"\x9f\x01\x00\xf6\xa0\x80\xff"), Err(DirectoryError::Malformed));
    assert_eq!(
        parse(b"\x85\x01\x00\xf6\xbb\xff\xff\xff\xff\xff\xff\xff\xff"),
        Err(DirectoryError::Malformed)
    );
    assert_eq!(parse(b"any text"), Err(DirectoryError::Malformed));
    let [file, directory] = [&contents()[0], &contents()[4]].map(Clone::clone);
    assert_eq!(file.clone().into_directory(), Err(DirectoryError::NotADirectory));
    assert_eq!(directory.clone().into_file(), Err(DirectoryError::NotAFile));
    assert!(file.into_file().is_ok() && directory.into_directory().is_ok());
}

#[test]
fn the_worked_example_of_the_specification() {
    let a = b"\x85\x01\x00\xf6\xa2\x61a\xa2\x00\x00\x01\x70URI:LIT:nbswy3dp\x61b\xf6\x81\x50";
    let sections = Sections { a: [&a[..], &[7; 16]].concat(), b: b"\x82\x80\x00".to_vec() };
    let file = Entry::new(EntryKind::File, cap("URI:LIT:nbswy3dp"));
    let edits = [(name("a"), Some(file)), (name("b"), None)].into();
    let directory = SlotDirectory { base: None, edits, operations: vec![[7; 16]] };
    assert_eq!(SlotContent::parse(&sections), Ok(SlotContent::Directory(directory)));
}

#[test]
fn a_slot_remembers_the_latest_operations() {
    let mut content = SlotContent::Directory(SlotDirectory::default());
    (0..40).for_each(|i| content.remember([i; 16]));
    let remembered: Vec<u8> = (0..40).filter(|i| content.remembers(&[*i; 16])).collect();
    assert_eq!(remembered, (8..40).collect::<Vec<u8>>());
    let operations = vec![[1; 16]; MAX_REMEMBERED + 1];
    let many = SlotContent::Directory(SlotDirectory { operations, ..SlotDirectory::default() });
    assert_eq!(SlotContent::parse(&many.to_sections()), Err(DirectoryError::Operations { count: 33 }));
}

proptest! {
    #[test]
    fn altered_bytes_never_panic_and_never_read_as_something_else(
        which in 0_usize..6, at in any::<prop::sample::Index>(), bit in 0_u32..8,
    ) {
        let mut sections = contents()[which].to_sections();
        let at = at.index(sections.a.len());
        sections.a[at] ^= 1_u8 << bit;
        if let Ok(content) = SlotContent::parse(&sections) {
            prop_assert_eq!(content.to_sections(), sections);
        }
        let mut sections = leaf().to_sections();
        let at = at % sections.a.len();
        sections.a[at] ^= 1_u8 << bit;
        for mutability in [Mutable, Immutable] {
            if let Ok(node) = Node::parse(&sections, mutability) {
                prop_assert_eq!(node.to_sections(), sections.clone());
            }
        }
    }

    #[test]
    fn rubbish_is_refused(a in prop::collection::vec(any::<u8>(), 0..500), b in prop::collection::vec(any::<u8>(), 0..50)) {
        let sections = Sections { a, b };
        let _ = SlotContent::parse(&sections);
        let _ = Node::parse(&sections, Mutable);
        let _ = open_literal(&Literal { bytes: sections.a, directory: true });
    }
}
