//! Trees of directories against a map in memory: what they hold, what they cost, what they share.

use std::collections::{BTreeMap, HashSet};

use client::directory::{Change, Tree, TreeError, diff};
use encoding::directory::{Entry, INNER_MAX, LEAF_MAX_LEN, Name, Node, NodeRef, leaf_item_len};
use proptest::prelude::*;

use crate::memory::{Memory, MemoryError, entries, entry, name};

type Map = BTreeMap<Name, Entry>;

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn all_set(map: &Map) -> BTreeMap<Name, Option<Entry>> {
    map.iter().map(|(name, entry)| (name.clone(), Some(entry.clone()))).collect()
}

async fn list(tree: &Tree<Memory>, root: Option<&NodeRef>) -> Map {
    let mut out = Vec::new();
    let mut stream = tree.entries(root);
    while let Some(entry) = stream.next().await.unwrap() {
        out.push(entry);
    }
    assert!(out.is_sorted_by(|(a, _), (b, _)| a < b));
    out.into_iter().collect()
}

/// Every node of a tree, parents first, with the sizes held against their bounds.
fn nodes(memory: &Memory, root: Option<&NodeRef>) -> Vec<Node> {
    let mut queue: Vec<NodeRef> = root.into_iter().cloned().collect();
    let mut out = Vec::new();
    while let Some(reference) = queue.pop() {
        let node = memory.node(&reference);
        match &node {
            Node::Leaf(entries) => {
                let len: usize = entries.iter().map(|(name, entry)| leaf_item_len(name, entry)).sum();
                assert!(len <= LEAF_MAX_LEN || entries.len() == 1, "a leaf of {len} bytes");
            }
            Node::Inner { children, .. } => {
                assert!(children.len() <= INNER_MAX);
                queue.extend(children.iter().map(|(_, child)| child.clone()));
            }
        }
        out.push(node);
    }
    out
}

fn height(memory: &Memory, root: &NodeRef) -> usize {
    usize::from(memory.node(root).level()) + 1
}

#[test]
fn one_change_among_100_000_costs_the_height() {
    let tree = Tree::new(Memory::default());
    run(async {
        let map = entries((0..100_000).map(|i| i * 2));
        let began = std::time::Instant::now();
        let root = tree.build(map.clone()).await.unwrap().unwrap();
        assert!(began.elapsed().as_secs() < 20, "{:?} for a build", began.elapsed());
        let height = height(tree.store(), &root);
        assert!((2..=4).contains(&height) && root.count == 100_000);
        nodes(tree.store(), Some(&root));
        tree.store().cost();
        for i in [0, 1, 77_777, 100_000, 199_998, 300_000] {
            let edits = BTreeMap::from([(name(i), Some(entry(9, 0)))]);
            let changed = tree.apply(Some(&root), edits.clone()).await.unwrap().unwrap();
            let (loads, stores) = tree.store().cost();
            assert!(loads <= height && stores <= height + 1, "{loads} loads, {stores} stores");
            assert_eq!(tree.get(Some(&changed), &name(i)).await, Ok(Some(entry(9, 0))));
            assert!(tree.store().cost().0 <= height);
            assert_eq!(tree.apply(Some(&changed), edits).await, Ok(Some(changed)), "nothing to do");
            assert_eq!(tree.store().cost().1, 0);
            assert_eq!(tree.get(Some(&root), &name(i)).await.unwrap(), map.get(&name(i)).cloned());
            tree.store().cost();
        }
        let gone = BTreeMap::from([(name(77_778), None)]);
        let changed = tree.apply(Some(&root), gone).await.unwrap().unwrap();
        assert_eq!((changed.count, tree.store().cost()), (99_999, (height, height)));
        assert_eq!(list(&tree, Some(&root)).await, map);
    });
}

#[test]
fn siblings_are_loaded_and_stored_at_once() {
    let tree = Tree::new(Memory::default());
    run(async {
        let root = tree.build(entries(0..30_000)).await.unwrap().unwrap();
        assert!(tree.store().most_at_once() >= 8);
        list(&tree, Some(&root)).await;
        assert!((4..=32).contains(&tree.store().most_at_once()), "read-ahead, and a bound to it");
        let edits = (0..30_000).step_by(500).map(|i| (name(i), Some(entry(1, 1)))).collect();
        tree.apply(Some(&root), edits).await.unwrap();
        assert!((8..=64).contains(&tree.store().most_at_once()));
    });
}

#[test]
fn a_tree_grows_from_nothing_and_shrinks_to_nothing() {
    let tree = Tree::new(Memory::default());
    run(async {
        let map = entries(0..40_000);
        let mut root = tree.apply(None, all_set(&map)).await.unwrap();
        assert!(height(tree.store(), root.as_ref().unwrap()) >= 3);
        let mut left = map;
        for step in 0..20 {
            let gone: Vec<Name> =
                left.keys().take(if step == 19 { 40_000 } else { 2_050 }).cloned().collect();
            gone.iter().for_each(|name| drop(left.remove(name)));
            root =
                tree.apply(root.as_ref(), gone.into_iter().map(|name| (name, None)).collect()).await.unwrap();
            nodes(tree.store(), root.as_ref());
            if step == 18 {
                assert!(height(tree.store(), root.as_ref().unwrap()) <= 2, "the root shrinks");
                assert_eq!(list(&tree, root.as_ref()).await, left);
            }
        }
        assert_eq!(root, None);
        assert_eq!(tree.apply(None, BTreeMap::from([(name(1), None)])).await, Ok(None));
    });
}

#[test]
fn scattered_removals_leave_no_crumbs() {
    let tree = Tree::new(Memory::default());
    run(async {
        let map = entries(0..20_000);
        let root = tree.build(map.clone()).await.unwrap();
        let (kept, gone): (Vec<u64>, Vec<u64>) = (0..20_000).partition(|i| i % 50 == 0);
        let edits = gone.into_iter().map(|i| (name(i), None)).collect();
        let root = tree.apply(root.as_ref(), edits).await.unwrap();
        assert_eq!(list(&tree, root.as_ref()).await, entries(kept.into_iter()));
        let leaves = nodes(tree.store(), root.as_ref()).iter().filter(|node| node.level() == 0).count();
        assert!(leaves <= 8, "{leaves} leaves for 400 entries");
    });
}

#[test]
fn equal_entries_build_equal_nodes_and_an_insertion_changes_few() {
    let tree = Tree::new(Memory::default());
    run(async {
        let map = entries((0..20_000).map(|i| i * 3));
        let root = tree.build(map.clone()).await.unwrap();
        assert_eq!(tree.build(map.clone()).await.unwrap(), root);
        let hashes = |root: &Option<NodeRef>| -> HashSet<blake3::Hash> {
            let nodes = nodes(tree.store(), root.as_ref());
            nodes.iter().map(|node| blake3::hash(&node.to_sections().a)).collect()
        };
        let mut more = map;
        more.insert(name(31), entry(1, 0));
        let other = tree.build(more).await.unwrap();
        let new = hashes(&other).difference(&hashes(&root)).count();
        assert!(new <= 8, "{new} new nodes for one more entry");
        assert_eq!(tree.build([]).await, Ok(None));
        let unordered = [(name(2), entry(1, 0)), (name(1), entry(1, 0))];
        assert_eq!(tree.build(unordered).await, Err(MemoryError::Tree(TreeError::Unordered)));
    });
}

#[test]
fn a_diff_looks_at_what_differs_only() {
    let tree = Tree::new(Memory::default());
    run(async {
        let root = tree.build(entries((0..50_000).map(|i| i * 2))).await.unwrap();
        let edits = BTreeMap::from([
            (name(4), None),
            (name(5), Some(entry(5, 0))),
            (name(90_000), Some(entry(1, 0))),
        ]);
        let other = tree.apply(root.as_ref(), edits).await.unwrap();
        tree.store().cost();
        let mut stream = diff((&tree, root.as_ref()), (&tree, other.as_ref()));
        let mut changes = Vec::new();
        while let Some(Change { name, old, new }) = stream.next().await.unwrap() {
            changes.push((name, old.map(|e| e.metadata.size), new.map(|e| e.metadata.size)));
        }
        let expected = [
            (name(4), Some(Some(4)), None),
            (name(5), None, Some(Some(5))),
            (name(90_000), Some(Some(90_000)), Some(Some(1))),
        ];
        assert_eq!(changes, expected);
        assert!(tree.store().cost().0 <= 12);
    });
}

/// A batch: base of its names, steps and entries. Padding makes some entries larger than a leaf.
/// Which name, and what it gets: a seed and a length, or nothing.
type Edits = Vec<(u64, Option<(u64, usize)>)>;

fn batches() -> impl Strategy<Value = Vec<Edits>> {
    let padding = prop_oneof![20 => Just(0_usize), 5 => 0..2_000_usize, 1 => 0..60_000_usize];
    let edit = (0..3_000_u64, prop::option::weighted(0.6, (0..4_u64, padding)));
    let run = (0..3_000_u64, 0..1_500_u64, prop::option::weighted(0.5, (0..4_u64, 0..300_usize)))
        .prop_map(|(from, len, what)| (from..from + len).map(|i| (i, what)).collect());
    prop::collection::vec(prop_oneof![prop::collection::vec(edit, 0..200), run], 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_tree_holds_what_a_map_holds(batches in batches()) {
        let tree = Tree::new(Memory::default());
        run(async {
            let (mut map, mut root) = (Map::new(), None);
            for batch in batches {
                let before = (map.clone(), root.clone());
                let edits: BTreeMap<Name, Option<Entry>> = batch
                    .into_iter()
                    .map(|(i, what)| (name(i), what.map(|(version, padding)| entry(version, padding))))
                    .collect();
                for (name, edit) in &edits {
                    match edit {
                        Some(entry) => drop(map.insert(name.clone(), entry.clone())),
                        None => drop(map.remove(name)),
                    }
                }
                root = tree.apply(root.as_ref(), edits).await.unwrap();
                nodes(tree.store(), root.as_ref());
                assert!(list(&tree, root.as_ref()).await == map);
                assert_eq!(root.as_ref().map_or(0, |root| root.count), map.len() as u64);
                check_diff(&tree, (before.1.as_ref(), &before.0), (root.as_ref(), &map)).await;
                let built = tree.build(map.clone()).await.unwrap();
                nodes(tree.store(), built.as_ref());
                check_diff(&tree, (built.as_ref(), &map), (root.as_ref(), &map)).await;
            }
        });
    }
}

async fn check_diff(tree: &Tree<Memory>, old: (Option<&NodeRef>, &Map), new: (Option<&NodeRef>, &Map)) {
    let mut names: Vec<&Name> = old.1.keys().chain(new.1.keys()).collect();
    names.sort();
    names.dedup();
    let mut stream = diff((tree, old.0), (tree, new.0));
    for name in names.into_iter().filter(|name| old.1.get(name) != new.1.get(name)) {
        let change = stream.next().await.unwrap().unwrap();
        assert!(
            change.name == *name
                && change.old.as_ref() == old.1.get(name)
                && change.new.as_ref() == new.1.get(name)
        );
    }
    assert_eq!(stream.next().await, Ok(None));
}
