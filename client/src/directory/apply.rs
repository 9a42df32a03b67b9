//! Many changes at once: only the nodes on the way to them are loaded and written anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use encoding::directory::{Entry, MAX_TREE_LEVEL, Name, Node, NodeRef};

use super::concurrent::{BoxFuture, gather};
use super::error::TreeError;
use super::split::{is_small, join, size, split};
use super::tree::{Link, NodeStore, Tree};

/// How many leaves are worked on at once below one node, which bounds memory too.
pub(super) const LEAVES_AT_ONCE: usize = 16;
/// How many inner nodes are worked on at once below one node.
const INNER_AT_ONCE: usize = 4;

type Edit = (Name, Option<Entry>);

/// A child after the changes.
enum Part {
    Kept(Link),
    New { node: Node, shrank: bool },
}

impl Part {
    /// A small node that did not shrink was small before and may stay: growing costs no look at neighbours.
    fn wants_neighbour(&self) -> bool {
        matches!(self, Self::New { node, shrank: true } if is_small(node))
    }
}

impl<S: NodeStore> Tree<S> {
    /// The tree with these names set, or gone where there is `None`. The same reference if nothing changes; `None` if nothing is left.
    ///
    /// # Errors
    ///
    /// The store's, [`TreeError`] among them. Nodes stored until then may be left over.
    pub async fn apply(
        &self,
        root: Option<&NodeRef>,
        edits: BTreeMap<Name, Option<Entry>>,
    ) -> Result<Option<NodeRef>, S::Error> {
        let Some(root) = root else {
            let entries = edits.into_iter().filter_map(|(name, entry)| Some((name, entry?))).collect();
            return self.grow(split(Node::Leaf(entries))).await;
        };
        if edits.is_empty() {
            return Ok(Some(root.clone()));
        }
        let link = Link::root(root);
        let node = self.load(&link).await?;
        match self.edit(node, None, edits.into_iter().collect()).await? {
            Some(nodes) => self.grow(nodes).await,
            None => Ok(Some(root.clone())),
        }
    }

    /// What becomes of a node: nodes of its level, not stored yet; `None` if it stays as it is.
    fn edit<'a>(
        &'a self,
        node: Arc<Node>,
        end: Option<Name>,
        edits: Vec<Edit>,
    ) -> BoxFuture<'a, Result<Option<Vec<Node>>, S::Error>> {
        Box::pin(async move {
            let level = match &*node {
                Node::Leaf(entries) => {
                    return Ok(edit_leaf(entries, edits).map(|leaf| split(Node::Leaf(leaf))));
                }
                Node::Inner { level, .. } => *level,
            };
            let links = Link::children(&node, end.as_ref());
            drop(node);
            let mut parts = Vec::with_capacity(links.len());
            let width = if level == 1 { LEAVES_AT_ONCE } else { INNER_AT_ONCE };
            let work = distribute(links, edits).into_iter().map(|(link, edits)| self.edit_child(link, edits));
            let mut changed = false;
            for child in gather(width, work).await? {
                changed |= !matches!(child[..], [Part::Kept(_)]);
                parts.extend(child);
            }
            if !changed {
                return Ok(None);
            }
            let nodes = self.settle(parts).await?;
            Ok(Some(split(Node::Inner { level, children: nodes })))
        })
    }

    async fn edit_child(&self, link: Link, edits: Vec<Edit>) -> Result<Vec<Part>, S::Error> {
        if edits.is_empty() {
            return Ok(vec![Part::Kept(link)]);
        }
        let node = self.load(&link).await?;
        let before = size(&node);
        let Some(nodes) = self.edit(node, link.end.clone(), edits).await? else {
            return Ok(vec![Part::Kept(link)]);
        };
        let shrank = nodes.iter().map(size).sum::<usize>() < before;
        Ok(nodes.into_iter().map(|node| Part::New { node, shrank }).collect())
    }

    /// Joins what became small with its neighbours, and stores what is new.
    async fn settle(&self, parts: Vec<Part>) -> Result<Vec<(Name, NodeRef)>, S::Error> {
        let mut out: Vec<Part> = Vec::with_capacity(parts.len());
        let mut parts = parts.into_iter();
        while let Some(mut part) = parts.next() {
            while part.wants_neighbour() {
                let (left, right) = match (parts.next(), out.pop()) {
                    (Some(right), left) => {
                        out.extend(left);
                        (part, right)
                    }
                    (None, Some(left)) => (left, part),
                    (None, None) => break,
                };
                let node = join(self.unpack(left).await?, self.unpack(right).await?);
                part = Part::New { node, shrank: true };
            }
            match part {
                Part::New { node, .. } => {
                    out.extend(split(node).into_iter().map(|node| Part::New { node, shrank: false }));
                }
                kept => out.push(kept),
            }
        }
        gather(LEAVES_AT_ONCE, out.into_iter().map(|part| self.keep_part(part))).await
    }

    async fn unpack(&self, part: Part) -> Result<Node, S::Error> {
        match part {
            Part::New { node, .. } => Ok(node),
            Part::Kept(link) => Ok(Arc::unwrap_or_clone(self.load(&link).await?)),
        }
    }

    async fn keep_part(&self, part: Part) -> Result<(Name, NodeRef), S::Error> {
        match part {
            Part::New { node, .. } => self.keep(node).await,
            Part::Kept(Link { node, place: Some((_, first)), .. }) => Ok((first, node)),
            Part::Kept(_) => unreachable!("a child's place is known"),
        }
    }

    /// A root over nodes of one level.
    async fn grow(&self, mut nodes: Vec<Node>) -> Result<Option<NodeRef>, S::Error> {
        while nodes.len() > 1 {
            let level = nodes[0].level() + 1;
            if level > MAX_TREE_LEVEL {
                return Err(TreeError::TooDeep.into());
            }
            let children = gather(LEAVES_AT_ONCE, nodes.into_iter().map(|node| self.keep(node))).await?;
            nodes = split(Node::Inner { level, children });
        }
        match nodes.pop() {
            None => Ok(None),
            Some(root @ Node::Inner { .. }) if root.len() == 1 => self.shrink(&root).await.map(Some),
            Some(root) => Ok(Some(self.keep(root).await?.1)),
        }
    }

    /// The first node below that is a leaf or has more than one child.
    async fn shrink(&self, root: &Node) -> Result<NodeRef, S::Error> {
        let mut links = Link::children(root, None);
        loop {
            let link = links.swap_remove(0);
            if link.place.as_ref().is_none_or(|(level, _)| *level == 0) {
                return Ok(link.node);
            }
            let node = self.load(&link).await?;
            if node.len() > 1 {
                return Ok(link.node);
            }
            links = Link::children(&node, None);
        }
    }
}

/// The entries of a leaf after the changes; `None` if nothing changes.
fn edit_leaf(entries: &[(Name, Entry)], edits: Vec<Edit>) -> Option<Vec<(Name, Entry)>> {
    let mut out = Vec::with_capacity(entries.len() + edits.len());
    let mut changed = false;
    let mut old = entries.iter().peekable();
    for (name, entry) in edits {
        while let Some(before) = old.next_if(|(other, _)| *other < name) {
            out.push(before.clone());
        }
        let same = old.next_if(|(other, _)| *other == name);
        changed |= same.map(|(_, entry)| entry) != entry.as_ref();
        out.extend(entry.map(|entry| (name, entry)));
    }
    out.extend(old.cloned());
    changed.then_some(out)
}

/// Gives each change to the child in whose range its name is; the first child's range begins at the beginning.
fn distribute(links: Vec<Link>, edits: Vec<Edit>) -> Vec<(Link, Vec<Edit>)> {
    let mut edits = edits.into_iter().peekable();
    let take = |link: Link| {
        let mut mine = Vec::new();
        while let Some(edit) = edits.next_if(|(name, _)| link.end.as_ref().is_none_or(|end| name < end)) {
            mine.push(edit);
        }
        (link, mine)
    };
    links.into_iter().map(take).collect()
}
