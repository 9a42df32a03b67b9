//! The committed bytes of directories.

use encoding::directory::{Entry, Mutability, Node, SlotContent, SlotDirectory};
use serde_json::json;

use super::{file_entry, full_metadata, name, reference, slot_entry};
use crate::support::hex;
use crate::vectors::compare_or_write;

#[test]
fn committed_directories() {
    let leaf = Node::Leaf(vec![
        (name("directory"), slot_entry(1)),
        (name("file"), Entry { metadata: full_metadata(), ..file_entry(2) }),
    ]);
    let inner = Node::Inner { level: 1, children: vec![(name("directory"), reference(3, 2))] };
    let directory = SlotDirectory {
        base: Some(reference(3, 2)),
        edits: [(name("file"), None), (name("other"), Some(file_entry(4)))].into(),
        operations: vec![[7; 16]],
    };
    assert_eq!(leaf.check(Mutability::Mutable), Ok(()));
    let describe = |name: &str, sections: encoding::Sections| json!({ "name": name, "A": hex(&sections.a), "B": hex(&sections.b) });
    compare_or_write(
        "directories.json",
        &json!({
            "notes": "sections in hexadecimal; the directory's W is 01 x 16, S is 05 x 32, H is 09 x 32; the write cap of \"directory\" has W and H of 01 and is sealed under a nonce of 01 x 24",
            "objects": [
                describe("leaf", leaf.to_sections()),
                describe("inner", inner.to_sections()),
                describe("slot", SlotContent::Directory(directory).to_sections()),
            ],
        }),
    );
}
