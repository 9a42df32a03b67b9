//! How large nodes are: where they are cut, and when two become one.

use encoding::directory::{
    Entry, INNER_MAX, LEAF_MAX_LEN, LEAF_TARGET_LEN, Name, Node, NodeRef, leaf_item_len,
};

/// A leaf that shrinks below this joins a neighbour, in bytes.
pub(super) const LEAF_SMALL_LEN: usize = LEAF_TARGET_LEN / 3;
/// An inner node that shrinks below this joins a neighbour, in children.
pub(super) const INNER_SMALL: usize = INNER_MAX / 4;
/// Children that each part of an inner node gets.
const INNER_TARGET: usize = INNER_MAX * 2 / 3;

/// Bytes of a leaf, children of an inner node.
pub(super) fn size(node: &Node) -> usize {
    match node {
        Node::Leaf(entries) => entries.iter().map(|(name, entry)| leaf_item_len(name, entry)).sum(),
        Node::Inner { children, .. } => children.len(),
    }
}

/// Whether a node should join a neighbour.
pub(super) fn is_small(node: &Node) -> bool {
    match node {
        Node::Leaf(_) => size(node) < LEAF_SMALL_LEN,
        Node::Inner { .. } => size(node) < INNER_SMALL,
    }
}

/// Two neighbours as one node, of whatever size. Both are of one level: their places were checked.
pub(super) fn join(left: Node, right: Node) -> Node {
    match (left, right) {
        (Node::Leaf(mut left), Node::Leaf(right)) => {
            left.extend(right);
            Node::Leaf(left)
        }
        (Node::Inner { level, children: mut left }, Node::Inner { children: right, .. }) => {
            left.extend(right);
            Node::Inner { level, children: left }
        }
        _ => unreachable!("siblings are of one level"),
    }
}

/// Nodes that are not too large, of everything in this one; none of an empty one.
pub(super) fn split(node: Node) -> Vec<Node> {
    match node {
        Node::Leaf(entries) => split_leaf(entries),
        Node::Inner { level, children } => {
            let cut = |children| Node::Inner { level, children };
            split_inner(children).into_iter().map(cut).collect()
        }
    }
}

fn split_leaf(entries: Vec<(Name, Entry)>) -> Vec<Node> {
    let lens: Vec<usize> = entries.iter().map(|(name, entry)| leaf_item_len(name, entry)).collect();
    let total: usize = lens.iter().sum();
    // Rounded, so that a leaf which only just grew too large becomes two and not three.
    let parts = if total > LEAF_MAX_LEN { (total + LEAF_TARGET_LEN / 2) / LEAF_TARGET_LEN } else { 1 };
    let target = total.div_ceil(parts.max(1));
    let (mut out, mut leaf, mut leaf_len) = (Vec::new(), Vec::new(), 0);
    for (item, len) in entries.into_iter().zip(lens) {
        let full = leaf_len >= target || leaf_len + len > LEAF_MAX_LEN;
        if full && !leaf.is_empty() {
            out.push(Node::Leaf(std::mem::take(&mut leaf)));
            leaf_len = 0;
        }
        leaf_len += len;
        leaf.push(item);
    }
    if !leaf.is_empty() {
        out.push(Node::Leaf(leaf));
    }
    out
}

fn split_inner(mut children: Vec<(Name, NodeRef)>) -> Vec<Vec<(Name, NodeRef)>> {
    let mut parts = if children.len() > INNER_MAX {
        children.len().div_ceil(INNER_TARGET)
    } else {
        children.len().min(1)
    };
    let mut out = Vec::new();
    while parts > 0 {
        let rest = children.split_off(children.len().div_ceil(parts));
        out.push(std::mem::replace(&mut children, rest));
        parts -= 1;
    }
    out
}
