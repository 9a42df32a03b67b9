//! Nodes that a malicious writer made: each is refused by name, whichever way one comes to it.

use std::collections::BTreeMap;

use client::directory::{Tree, TreeError, diff};
use encoding::directory::{Node, NodeRef};

use crate::directory::run;
use crate::memory::{Memory, MemoryError, entry, name};

fn leaf(memory: &Memory, names: &[u64]) -> NodeRef {
    memory.insert(Node::Leaf(names.iter().map(|i| (name(*i), entry(*i, 0))).collect()))
}

fn inner(memory: &Memory, level: u8, children: &[(u64, &NodeRef)]) -> NodeRef {
    let children = children.iter().map(|(first, child)| (name(*first), (*child).clone())).collect();
    memory.insert(Node::Inner { level, children })
}

fn refused(memory: Memory, root: &NodeRef, error: TreeError) {
    let error = Err(MemoryError::Tree(error));
    let tree = Tree::new(memory);
    run(async {
        let mut stream = tree.entries(Some(root));
        let mut all = Vec::new();
        let listed = loop {
            match stream.next().await {
                Ok(Some(entry)) => all.push(entry),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert_eq!(listed, error);
        assert_eq!(stream.next().await, Ok(None), "nothing comes after an error");
        let mut changes = diff((&tree, Some(root)), (&tree, None));
        let compared = loop {
            match changes.next().await {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert_eq!(compared, error);
        let edits: BTreeMap<_, _> = (0..10).map(|i| (name(i), Some(entry(99, 0)))).collect();
        assert_eq!(tree.apply(Some(root), edits).await.map(|_| ()), error);
    });
}

#[test]
fn counts_must_be_true() {
    let memory = Memory::default();
    let root = NodeRef { count: 3, ..leaf(&memory, &[1, 2]) };
    refused(memory, &root, TreeError::CountMismatch { expected: 3, found: 2 });

    let memory = Memory::default();
    let (one, two) = (leaf(&memory, &[1, 2]), NodeRef { count: 1, ..leaf(&memory, &[5, 6]) });
    let root = inner(&memory, 1, &[(1, &one), (5, &two)]);
    refused(memory, &root, TreeError::CountMismatch { expected: 1, found: 2 });

    let memory = Memory::default();
    let huge = NodeRef { count: u64::MAX, ..leaf(&memory, &[1]) };
    let root = NodeRef { count: 1, ..inner(&memory, 1, &[(1, &huge), (5, &huge)]) };
    refused(memory, &root, TreeError::CountMismatch { expected: 1, found: u64::MAX });
}

#[test]
fn names_stay_in_their_parents_range() {
    for names in [&[1, 2, 5][..], &[1, 9], &[0, 1], &[2]] {
        let memory = Memory::default();
        let (one, two) = (leaf(&memory, names), leaf(&memory, &[5, 6]));
        let root = inner(&memory, 1, &[(1, &one), (5, &two)]);
        refused(memory, &root, TreeError::OutOfRange);
    }
    // The bound holds for grandchildren too.
    let memory = Memory::default();
    let (far, other) = (leaf(&memory, &[1, 7]), leaf(&memory, &[5, 6]));
    let (left, right) = (inner(&memory, 1, &[(1, &far)]), inner(&memory, 1, &[(5, &other)]));
    let root = inner(&memory, 2, &[(1, &left), (5, &right)]);
    refused(memory, &root, TreeError::OutOfRange);
}

#[test]
fn levels_go_down_one_by_one() {
    let memory = Memory::default();
    let child = leaf(&memory, &[1, 2]);
    let root = inner(&memory, 2, &[(1, &child)]);
    refused(memory, &root, TreeError::WrongLevel { expected: 1, found: 0 });

    let memory = Memory::default();
    let child = leaf(&memory, &[1, 2]);
    let middle = inner(&memory, 1, &[(1, &child)]);
    let root = inner(&memory, 1, &[(1, &middle)]);
    refused(memory, &root, TreeError::WrongLevel { expected: 0, found: 1 });

    let memory = Memory::default();
    let child = leaf(&memory, &[1, 2]);
    let root = inner(&memory, 16, &[(1, &child)]);
    refused(memory, &root, TreeError::TooDeep);
}

#[test]
fn order_and_content_are_needed() {
    let memory = Memory::default();
    let root = leaf(&memory, &[2, 1]);
    refused(memory, &root, TreeError::Unordered);
    let memory = Memory::default();
    let root = leaf(&memory, &[]);
    refused(memory, &root, TreeError::Empty);
    let memory = Memory::default();
    let (one, two) = (leaf(&memory, &[5]), leaf(&memory, &[1]));
    let root = inner(&memory, 1, &[(5, &one), (1, &two)]);
    refused(memory, &root, TreeError::Unordered);
}

#[test]
fn a_missing_node_is_said_to_be_missing() {
    let memory = Memory::default();
    let child = leaf(&Memory::default(), &[1, 2]);
    let root = inner(&memory, 1, &[(1, &child)]);
    let tree = Tree::new(memory);
    assert_eq!(run(tree.get(Some(&root), &name(1))), Err(MemoryError::Missing));
}
