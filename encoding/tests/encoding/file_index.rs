//! Index nodes: written and read back, put together level by level, and refused when they contradict themselves.

use caps::{Cap, ReadKey, VerifyHash};
use encoding::{
    Added, Children, FileIndexError, Finished, IndexBuilder, IndexChild, IndexNode, MAX_FAN_OUT,
    MAX_INDEX_LEVEL, Sections,
};
use proptest::prelude::*;

fn child(number: u64, size: u64, salt: Option<[u8; 32]>) -> IndexChild {
    let hash = blake3::hash(&number.to_le_bytes());
    let key = ReadKey::new(std::array::from_fn(|i| hash.as_bytes()[i]));
    IndexChild { size, key, hash: VerifyHash::new(*hash.as_bytes()), needed: 3, total: 10, salt }
}

fn leaf(count: u64) -> IndexNode {
    IndexNode { level: 0, children: (0..count).map(|number| child(number, number + 1, None)).collect() }
}

/// Stores nodes in a list; a node's H is its number there.
#[derive(Default)]
struct Shelf {
    nodes: Vec<IndexNode>,
}

impl Shelf {
    fn store(&mut self, node: IndexNode) -> IndexChild {
        assert!(!node.children.is_empty() && node.children.len() <= MAX_FAN_OUT);
        self.nodes.push(node.clone());
        let stored = child(1 << 40 | self.nodes.len() as u64, node.size(), Some([node.level; 32]));
        IndexNode::parse(&node.sections(), node.size(), Some(node.level)).unwrap();
        stored
    }

    fn add(&mut self, builder: &mut IndexBuilder, level: u8, child: IndexChild) {
        let mut stack = vec![(level, child)];
        while let Some((level, child)) = stack.pop() {
            if let Added::StoreFirst(node, child) = builder.add(level, child).unwrap() {
                stack.push((level, child));
                stack.push((node.level + 1, self.store(node)));
            }
        }
    }

    fn finish(&mut self, builder: &mut IndexBuilder) -> Finished {
        loop {
            match builder.finish() {
                Finished::Store(node) => {
                    let level = node.level + 1;
                    let stored = self.store(node);
                    self.add(builder, level, stored);
                }
                done => return done,
            }
        }
    }

    fn build(&mut self, count: u64) -> IndexNode {
        let mut builder = IndexBuilder::default();
        (0..count).for_each(|number| self.add(&mut builder, 0, child(number, 7, None)));
        match self.finish(&mut builder) {
            Finished::Root(root) => root,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_node_comes_back_as_it_was_written() {
    let upper =
        IndexNode { level: 1, children: vec![child(1, 5, Some([1; 32])), child(2, 6, Some([2; 32]))] };
    for node in [leaf(0), leaf(1), leaf(256), upper] {
        let sections = node.sections();
        assert!(sections.a.len() + sections.b.len() < 40_000, "a node is one segment");
        assert_eq!(IndexNode::parse(&sections, node.size(), None), Ok(node.clone()));
        assert_eq!(IndexNode::parse(&sections, node.size(), Some(node.level)), Ok(node));
    }
}

#[test]
fn section_b_has_a_repair_cap_of_each_node_and_a_verify_cap_of_each_chunk() {
    let upper = IndexNode { level: 1, children: vec![child(1, 5, Some([1; 32]))] };
    let list = |node: &IndexNode| Children::parse(&node.sections().b).unwrap().list;
    assert!(matches!(&list(&upper)[..], [Cap::Repair(_)]));
    assert!(matches!(&list(&leaf(2))[..], [Cap::ImmutableVerify(_), Cap::ImmutableVerify(_)]));
}

#[test]
fn nodes_fill_up_and_stack() {
    for (count, level) in [(0, 0), (1, 0), (31, 0), (5000, 1), (60_000, 2)] {
        let mut shelf = Shelf::default();
        let root = shelf.build(count);
        assert_eq!((root.level, root.size()), (level, count * 7), "{count} chunks");
        assert!(shelf.nodes.len() as u64 <= count / 32 + 2);
        assert!(level == 0 || root.children.len() > 1, "no level is there for nothing");
    }
}

#[test]
fn one_chunk_more_in_front_leaves_most_nodes_alone() {
    let (mut shelf, mut other) = (Shelf::default(), Shelf::default());
    shelf.build(5000);
    let mut builder = IndexBuilder::default();
    other.add(&mut builder, 0, child(99_999, 7, None));
    (0..5000).for_each(|number| other.add(&mut builder, 0, child(number, 7, None)));
    let _ = other.finish(&mut builder);
    let new = other.nodes.iter().filter(|node| node.level == 0 && !shelf.nodes.contains(node)).count();
    assert!(new <= 4, "{new} of {} nodes are new", other.nodes.len());
}

#[test]
fn older_nodes_find_their_place() {
    let mut shelf = Shelf::default();
    let mut builder = IndexBuilder::default();
    let kept = shelf.store(leaf(40));
    shelf.add(&mut builder, 1, kept.clone());
    shelf.add(&mut builder, 0, child(7, 3, None));
    shelf.add(&mut builder, 1, kept.clone());
    let Finished::Root(root) = shelf.finish(&mut builder) else { panic!("three nodes have a root") };
    assert_eq!((root.level, root.children.len(), root.size()), (1, 3, 2 * kept.size + 3));
    // A single node needs none above it.
    shelf.add(&mut builder, 1, kept.clone());
    assert!(matches!(shelf.finish(&mut builder), Finished::Known(root) if root == kept));
    let error = builder.add(MAX_INDEX_LEVEL + 1, kept).unwrap_err();
    assert_eq!(error, FileIndexError::TooDeep { level: 8 });
}

#[test]
fn the_children_of_a_range() {
    let node = leaf(4);
    let found =
        |range| node.children_of(&range).map(|(start, child)| (start, child.size)).collect::<Vec<_>>();
    assert_eq!(found(0..10), [(0, 1), (1, 2), (3, 3), (6, 4)]);
    assert_eq!(found(1..3), [(1, 2)]);
    assert_eq!(found(2..4), [(1, 2), (3, 3)]);
    assert_eq!(found(9..50), [(6, 4)]);
    assert_eq!(found(10..50), []);
}

#[test]
fn nodes_that_contradict_themselves() {
    use FileIndexError::{
        ChildKind, ChildrenDiffer, FanOut, Level, Malformed, NotAFile, Size, TooDeep, Version,
    };
    let good = leaf(3);
    let read = |sections: &Sections| IndexNode::parse(sections, 6, None);
    let with = |change: &dyn Fn(&mut IndexNode)| {
        let mut node = good.clone();
        change(&mut node);
        read(&node.sections())
    };
    assert_eq!(IndexNode::parse(&good.sections(), 7, None), Err(Size { stated: 7 }));
    assert_eq!(IndexNode::parse(&good.sections(), 6, Some(1)), Err(Level { level: 0, expected: 1 }));
    assert_eq!(with(&|node| node.level = 8), Err(TooDeep { level: 8 }));
    assert_eq!(with(&|node| node.level = 1), Err(ChildKind));
    assert_eq!(with(&|node| node.children[0].salt = Some([0; 32])), Err(ChildKind));
    assert_eq!(with(&|node| node.children[0].size = 0), Err(Size { stated: 6 }));
    assert_eq!(with(&|node| node.children[0].size = u64::MAX), Err(Size { stated: 6 }));
    assert!(matches!(with(&|node| node.children[1].needed = 11), Err(FileIndexError::Parameters(_))));
    assert!(matches!(with(&|node| node.children[1].total = 0), Err(FileIndexError::Parameters(_))));
    assert_eq!(with(&|node| node.children = leaf(257).children), Err(FanOut { count: 257 }));
    let none = IndexNode { level: 1, children: Vec::new() };
    assert_eq!(IndexNode::parse(&none.sections(), 0, None), Err(FanOut { count: 0 }));

    let sections = good.sections();
    let altered = |change: &dyn Fn(&mut Sections)| {
        let mut sections = sections.clone();
        change(&mut sections);
        read(&sections)
    };
    assert_eq!(altered(&|s| s.a[1] = 2), Err(Version { version: 2 }));
    assert_eq!(altered(&|s| s.a[3] = b'p'), Err(NotAFile));
    assert_eq!(altered(&|s| s.a.push(0)), Err(Malformed));
    assert_eq!(altered(&|s| s.a.truncate(20)), Err(Malformed));
    assert_eq!(altered(&|s| s.b.clear()), Err(ChildrenDiffer));
    assert_eq!(altered(&|s| s.b = leaf(2).sections().b), Err(ChildrenDiffer));
    assert_eq!(
        altered(&|s| *s.b.last_mut().unwrap() = 1),
        Err(ChildrenDiffer),
        "a file has no unknown children"
    );
}

proptest! {
    #[test]
    fn rubbish_is_no_index(a in proptest::collection::vec(any::<u8>(), 0..500), size in any::<u64>()) {
        let read = IndexNode::parse(&Sections { a, b: Vec::new() }, size, None);
        prop_assert!(read.is_err());
    }
}
