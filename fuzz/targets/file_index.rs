//! Index nodes of tree files: 8 bytes of size, 2 of section A's length, both sections. What parses keeps every promise that readers rely
//! on, and is read as the same when it is written again.

#![no_main]

use caps::{ReadKey, VerifyHash};
use encoding::{IndexChild, IndexNode, MAX_FAN_OUT, MAX_INDEX_LEVEL, Sections};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: sarsen_fuzz::sow(seeds()), |data: &[u8]| {
    let Some((size, rest)) = data.split_first_chunk() else { return };
    let Some((len, rest)) = rest.split_first_chunk() else { return };
    let (a, b) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
    let (size, sections) = (u64::from_le_bytes(*size), Sections { a: a.to_vec(), b: b.to_vec() });
    let Ok(node) = IndexNode::parse(&sections, size, None) else { return };
    assert!(node.level <= MAX_INDEX_LEVEL && node.children.len() <= MAX_FAN_OUT);
    assert_eq!(node.size(), size);
    assert!(node.children.iter().all(|child| child.size > 0 && child.salt.is_some() == (node.level > 0)));
    assert_eq!(node.children_of(&(0..size)).count(), node.children.len());
    assert_eq!(IndexNode::parse(&node.sections(), size, Some(node.level)), Ok(node));
});

fn seeds() -> Vec<Vec<u8>> {
    let child = |size, salt| IndexChild {
        size,
        key: ReadKey::new([1; 16]),
        hash: VerifyHash::new([2; 32]),
        needed: 3,
        total: 10,
        salt,
    };
    let node = |level, children: Vec<IndexChild>| {
        let node = IndexNode { level, children };
        let Sections { a, b } = node.sections();
        [&node.size().to_le_bytes()[..], &(a.len() as u16).to_le_bytes(), &a, &b].concat()
    };
    vec![
        node(0, Vec::new()),
        node(0, vec![child(1 << 20, None), child(300_000, None)]),
        node(3, vec![child(1 << 40, Some([3; 32])); 20]),
    ]
}
