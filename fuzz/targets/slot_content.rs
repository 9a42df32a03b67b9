//! What slots hold. What parses is written back to the letter, fits into a slot's largest payload, is either a directory or a file, and
//! remembers no more operations than it may.

#![no_main]

use caps::{ImmutableRead, ReadKey, VerifyHash};
use encoding::MAX_SLOT_SECTIONS_LEN;
use encoding::directory::{
    Entry, EntryKind, FileContent, MAX_REMEMBERED, Mutability, Name, NodeRef, SlotContent, SlotDirectory,
    SlotFile,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: sarsen_fuzz::sow(seeds()), |data: &[u8]| {
    let sections = sarsen_fuzz::sections(data);
    let Ok(mut content) = SlotContent::parse(&sections) else { return };
    assert_eq!(content.to_sections(), sections);
    assert!(sections.a.len() + sections.b.len() <= MAX_SLOT_SECTIONS_LEN);
    assert!(content.clone().into_directory().is_ok() != content.clone().into_file().is_ok());
    content.remember([0xA5; 16]);
    assert!(content.remembers(&[0xA5; 16]));
    let operations = match &content {
        SlotContent::File(file) => &file.operations,
        SlotContent::Directory(directory) => {
            for edit in directory.edits.values() {
                assert!(edit.as_ref().is_none_or(|entry| entry.check(Mutability::Mutable).is_ok()));
            }
            &directory.operations
        }
    };
    assert!(operations.len() <= MAX_REMEMBERED);
    let again = content.to_sections();
    if again.a.len() + again.b.len() <= MAX_SLOT_SECTIONS_LEN {
        assert_eq!(SlotContent::parse(&again), Ok(content));
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let object = |directory| ImmutableRead {
        key: ReadKey::new([1; 16]),
        hash: VerifyHash::new([2; 32]),
        needed: 3,
        total: 10,
        size: 4096,
        directory,
    };
    let name = |text: &str| Name::new(text).expect("it is a name");
    let literal = Entry::new(EntryKind::File, "URI:LIT:nbswy3dp".parse().expect("it is a cap"));
    let directory = SlotDirectory {
        base: Some(NodeRef { cap: object(true), salt: [3; 32], count: 9 }),
        edits: [(name("a"), Some(literal)), (name("b"), None)].into(),
        operations: vec![[4; 16]; 3],
    };
    let file = |content| SlotContent::File(SlotFile { content, operations: vec![[5; 16]] });
    let contents = [
        SlotContent::Directory(SlotDirectory::default()),
        SlotContent::Directory(directory),
        file(FileContent::Inline(b"hello".to_vec())),
        file(FileContent::Object { cap: object(false), salt: None }),
        file(FileContent::Object { cap: object(false), salt: Some([6; 32]) }),
    ];
    contents.iter().map(|content| sarsen_fuzz::unite(&content.to_sections())).collect()
}
