//! Trees: loading nodes and holding each against its place, and finding one name.

use std::future::Future;
use std::sync::Arc;

use encoding::directory::{Entry, MAX_TREE_LEVEL, Name, Node, NodeRef};

use super::error::TreeError;

/// Whatever keeps nodes.
pub trait NodeStore: Send + Sync {
    /// Why a node cannot be had or kept, or does not fit its place.
    type Error: From<TreeError> + Send;

    /// The node of this reference.
    fn load(&self, node: &NodeRef) -> impl Future<Output = Result<Arc<Node>, Self::Error>> + Send;

    /// Keeps a node. The reference's count is the node's.
    fn store(&self, node: Node) -> impl Future<Output = Result<NodeRef, Self::Error>> + Send;
}

impl<S: NodeStore> NodeStore for &S {
    type Error = S::Error;

    async fn load(&self, node: &NodeRef) -> Result<Arc<Node>, S::Error> {
        (*self).load(node).await
    }

    async fn store(&self, node: Node) -> Result<NodeRef, S::Error> {
        (*self).store(node).await
    }
}

impl<S: NodeStore> NodeStore for Arc<S> {
    type Error = S::Error;

    async fn load(&self, node: &NodeRef) -> Result<Arc<Node>, S::Error> {
        (**self).load(node).await
    }

    async fn store(&self, node: Node) -> Result<NodeRef, S::Error> {
        (**self).store(node).await
    }
}

/// Trees whose nodes are kept in `S`. The empty tree is `None`.
#[derive(Clone, Copy, Debug)]
pub struct Tree<S> {
    store: S,
}

/// A reference with all that its place says of the node.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) node: NodeRef,
    /// Level and first name; of a root nothing is known before.
    pub(super) place: Option<(u8, Name)>,
    /// All names are below this one.
    pub(super) end: Option<Name>,
}

impl Link {
    pub(super) fn root(node: &NodeRef) -> Self {
        Self { node: node.clone(), place: None, end: None }
    }

    /// The links of an inner node's children; none of a leaf.
    pub(super) fn children(node: &Node, end: Option<&Name>) -> Vec<Self> {
        let Node::Inner { level, children } = node else { return Vec::new() };
        let ends = children.iter().skip(1).map(|(name, _)| Some(name)).chain([end]);
        let link = |((first, node), end): (&(Name, NodeRef), Option<&Name>)| Self {
            node: node.clone(),
            place: Some((level.saturating_sub(1), first.clone())),
            end: end.cloned(),
        };
        children.iter().zip(ends).map(link).collect()
    }

    /// Holds a node against its place.
    fn check(&self, node: &Node) -> Result<(), TreeError> {
        let (Some(first), Some(last)) = (node.first(), node.last()) else { return Err(TreeError::Empty) };
        let inner = matches!(node, Node::Inner { .. });
        if node.level() > MAX_TREE_LEVEL || inner != (node.level() > 0) {
            return Err(TreeError::TooDeep);
        }
        if !node.is_ordered() {
            return Err(TreeError::Unordered);
        }
        if let Some((level, _)) = &self.place
            && *level != node.level()
        {
            return Err(TreeError::WrongLevel { expected: *level, found: node.level() });
        }
        let begins = self.place.as_ref().is_none_or(|(_, name)| name == first);
        let ends = self.end.as_ref().is_none_or(|end| last < end);
        if !begins || !ends {
            return Err(TreeError::OutOfRange);
        }
        let (expected, found) = (self.node.count, node.count());
        if expected == found { Ok(()) } else { Err(TreeError::CountMismatch { expected, found }) }
    }
}

impl<S: NodeStore> Tree<S> {
    /// Trees over this store.
    pub fn new(store: S) -> Self {
        Self { store }
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    pub(super) async fn load(&self, link: &Link) -> Result<Arc<Node>, S::Error> {
        let node = self.store.load(&link.node).await?;
        link.check(&node)?;
        Ok(node)
    }

    /// Keeps a node that is not empty; with its first name.
    pub(super) async fn keep(&self, node: Node) -> Result<(Name, NodeRef), S::Error> {
        let first = node.first().cloned().ok_or(TreeError::Empty)?;
        Ok((first, self.store.store(node).await?))
    }

    /// The entry of this name.
    ///
    /// # Errors
    ///
    /// The store's, [`TreeError`] among them.
    pub async fn get(&self, root: Option<&NodeRef>, name: &Name) -> Result<Option<Entry>, S::Error> {
        let Some(root) = root else { return Ok(None) };
        let mut link = Link::root(root);
        loop {
            let node = self.load(&link).await?;
            let children = match &*node {
                Node::Leaf(entries) => {
                    let found = entries.binary_search_by(|(other, _)| other.cmp(name));
                    return Ok(found.ok().map(|at| entries[at].1.clone()));
                }
                Node::Inner { children, .. } => children,
            };
            let after = children.partition_point(|(first, _)| first <= name);
            if after == 0 {
                return Ok(None);
            }
            link = Link::children(&node, link.end.as_ref()).swap_remove(after - 1);
        }
    }
}
