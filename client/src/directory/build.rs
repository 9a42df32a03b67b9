//! A tree from sorted entries, from the leaves up. Where nodes are cut depends on names and lengths nearby, so equal entries give equal
//! nodes, and an entry more or less changes the nodes around it and no others.

use encoding::directory::{
    Entry, INNER_MAX, LEAF_MAX_LEN, LEAF_TARGET_LEN, MAX_TREE_LEVEL, Name, Node, NodeRef, leaf_item_len,
};

use super::apply::LEAVES_AT_ONCE;
use super::concurrent::InOrder;
use super::error::TreeError;
use super::split::{INNER_SMALL, LEAF_SMALL_LEN};
use super::tree::{NodeStore, Tree};

/// Beyond the smallest leaf, one is cut after this many bytes on average.
const LEAF_MORE_LEN: usize = LEAF_TARGET_LEN - LEAF_SMALL_LEN;
/// Beyond the smallest inner node, one is cut after this many children on average.
const INNER_MORE: usize = 64;

struct Builder<'a, S: NodeStore> {
    tree: &'a Tree<S>,
    leaf: Vec<(Name, Entry)>,
    leaf_len: usize,
    storing: InOrder<'a, Result<(Name, NodeRef), S::Error>>,
    /// From level 1 up: the children that are not in a node yet.
    levels: Vec<Vec<(Name, NodeRef)>>,
}

impl<S: NodeStore> Tree<S> {
    /// The tree of these entries, which ascend by name; `None` of none. Memory does not grow with their number.
    ///
    /// # Errors
    ///
    /// [`TreeError::Unordered`], or the store's.
    pub async fn build(
        &self,
        entries: impl IntoIterator<Item = (Name, Entry)>,
    ) -> Result<Option<NodeRef>, S::Error> {
        let mut builder = Builder {
            tree: self,
            leaf: Vec::new(),
            leaf_len: 0,
            storing: InOrder::new(),
            levels: Vec::new(),
        };
        let mut last: Option<Name> = None;
        for (name, entry) in entries {
            if last.is_some_and(|last| last >= name) {
                return Err(TreeError::Unordered.into());
            }
            last = Some(name.clone());
            builder.add(name, entry).await?;
        }
        builder.finish().await
    }
}

impl<S: NodeStore> Builder<'_, S> {
    async fn add(&mut self, name: Name, entry: Entry) -> Result<(), S::Error> {
        let len = leaf_item_len(&name, &entry);
        if self.leaf_len + len > LEAF_MAX_LEN {
            self.cut().await?;
        }
        let cut_here = chance(&name, len, LEAF_MORE_LEN);
        self.leaf.push((name, entry));
        self.leaf_len += len;
        if cut_here && self.leaf_len >= LEAF_SMALL_LEN {
            self.cut().await?;
        }
        Ok(())
    }

    async fn cut(&mut self) -> Result<(), S::Error> {
        if self.leaf.is_empty() {
            return Ok(());
        }
        self.leaf_len = 0;
        let (tree, node) = (self.tree, Node::Leaf(std::mem::take(&mut self.leaf)));
        if self.storing.len() >= LEAVES_AT_ONCE {
            self.take_stored().await?;
        }
        self.storing.push(tree.keep(node));
        Ok(())
    }

    /// Waits for the oldest leaf and puts it under its parents. Whether there was one.
    async fn take_stored(&mut self) -> Result<bool, S::Error> {
        let Some(stored) = self.storing.next().await else { return Ok(false) };
        let mut child = stored?;
        for level in 1.. {
            if level > usize::from(MAX_TREE_LEVEL) {
                return Err(TreeError::TooDeep.into());
            }
            if self.levels.len() < level {
                self.levels.push(Vec::new());
            }
            let children = &mut self.levels[level - 1];
            let cut_here = chance(&child.0, 1, INNER_MORE);
            children.push(child);
            let full = children.len() >= INNER_MAX || (cut_here && children.len() >= INNER_SMALL);
            if !full {
                break;
            }
            let children = std::mem::take(children);
            child = self.tree.keep(Node::Inner { level: level as u8, children }).await?;
        }
        Ok(true)
    }

    async fn finish(mut self) -> Result<Option<NodeRef>, S::Error> {
        self.cut().await?;
        while self.take_stored().await? {}
        let mut below: Option<(Name, NodeRef)> = None;
        let levels = self.levels.len();
        for (index, mut children) in std::mem::take(&mut self.levels).into_iter().enumerate() {
            children.extend(below.take());
            // The only node of its level is the root, and needs none above it.
            if index + 1 == levels && children.len() == 1 {
                below = children.pop();
                break;
            }
            if !children.is_empty() {
                let level = index as u8 + 1;
                below = Some(self.tree.keep(Node::Inner { level, children }).await?);
            }
        }
        Ok(below.map(|(_, root)| root))
    }
}

/// Whether a node is cut after this name: with probability `weight / mean`, always the same for the same name and weight.
fn chance(name: &Name, weight: usize, mean: usize) -> bool {
    let hash = blake3::derive_key("sarsen v1 directory cut", name.as_str().as_bytes());
    let drawn = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
    u64::from(drawn) * (mean as u64) < (weight as u64) << 32
}
