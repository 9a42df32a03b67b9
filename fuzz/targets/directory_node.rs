//! Nodes of directories. What parses is written back to the letter and passes the checks of writers; no entry shows a write cap; an
//! immutable directory holds nothing that may change; literal directories are made of their entries again.

#![no_main]

use caps::{Authority, Cap, ImmutableRead, Literal, MAX_LITERAL_LEN, ReadKey, VerifyHash};
use encoding::directory::{
    Entry, EntryKind, INNER_MAX, MAX_NODE_LEN, Metadata, Mutability, Name, Node, NodeRef, SealedWrite, Time,
    leaf_item_len, literal_directory, open_literal,
};
use libfuzzer_sys::fuzz_target;
use sarsen_fuzz::unite;

fuzz_target!(init: sarsen_fuzz::sow(seeds()), |data: &[u8]| {
    let sections = sarsen_fuzz::sections(data);
    for mutability in [Mutability::Mutable, Mutability::Immutable] {
        let Ok(node) = Node::parse(&sections, mutability) else { continue };
        assert_eq!(node.to_sections(), sections);
        assert_eq!(node.check(mutability), Ok(()));
        assert!(sections.a.len() <= MAX_NODE_LEN && node.is_ordered() && !node.is_empty());
        check_node(&node, mutability);
    }
    let literal = Literal { bytes: sections.a, directory: true };
    if let Ok(entries) = open_literal(&literal) {
        let fits = literal.bytes.len() <= MAX_LITERAL_LEN;
        assert_eq!(literal_directory(&entries), fits.then_some(literal));
    }
});

fn check_node(node: &Node, mutability: Mutability) {
    match node {
        Node::Inner { children, .. } => assert!(children.len() <= INNER_MAX),
        Node::Leaf(entries) => {
            for (name, entry) in entries {
                assert_eq!(Name::new(name.as_str()).as_ref(), Ok(name));
                assert!(leaf_item_len(name, entry) > name.as_str().len());
                assert!(entry.cap.authority() != Authority::Write && entry.shows_same(entry));
                if mutability == Mutability::Immutable {
                    assert!(!entry.cap.is_mutable() && entry.write.is_none());
                }
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let object = |seed: u8, directory| ImmutableRead {
        key: ReadKey::new([seed; 16]),
        hash: VerifyHash::new([seed; 32]),
        needed: 3,
        total: 10,
        size: 4096,
        directory,
    };
    let name = |text: &str| Name::new(text).expect("it is a name");
    let cap = |text: &str| text.parse::<Cap>().expect("it is a cap");
    let read_only = cap("ro.URI:FUTURE:x");
    let sealed = SealedWrite::from_bytes(&read_only, &[3; 552]).expect("the length is right");
    let metadata = Metadata {
        mtime: Some(Time { seconds: -1, nanoseconds: 5 }),
        mode: Some(0o755),
        symlink: Some(b"../x".to_vec()),
        xattrs: vec![("user.a".into(), vec![1])],
        extra: [(16, vec![2])].into(),
        ..Metadata::default()
    };
    let leaf = |entries: Vec<(Name, Entry)>| unite(&Node::Leaf(entries).to_sections());
    let literal =
        || Entry { metadata: metadata.clone(), ..Entry::new(EntryKind::File, cap("URI:LIT:nbswy3dp")) };
    let directory = Entry::new(EntryKind::Directory, cap("URI:DIR2-LIT:qmaqbaa"));
    let unknown = Entry::new(EntryKind::Unknown, cap("imm.URI:X:1"));
    let limited = Entry { write: Some(sealed), ..Entry::new(EntryKind::Unknown, read_only) };
    let file = Entry::new(EntryKind::File, Cap::ImmutableRead(object(1, false)));
    let child = NodeRef { cap: object(2, true), salt: [2; 32], count: 9 };
    vec![
        leaf(vec![]),
        leaf(vec![(name("a"), literal()), (name("é"), directory)]),
        leaf(vec![(name("a"), unknown)]),
        leaf(vec![(name("a"), limited), (name("b"), literal())]),
        leaf(vec![(name("f"), file)]),
        unite(
            &Node::Inner { level: 1, children: vec![(name("a"), child.clone()), (name("b"), child)] }
                .to_sections(),
        ),
    ]
}
