//! All entries in order, with read-ahead and flat memory.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use encoding::directory::{Entry, Name, Node, NodeRef};

use super::concurrent::BoxFuture;
use super::tree::{Link, NodeStore, Tree};

/// How many nodes are loaded at once, unless told otherwise.
const READ_AHEAD: usize = 8;
const MAX_READ_AHEAD: usize = 32;

enum State<'a, E> {
    Waiting,
    Running(BoxFuture<'a, Result<Arc<Node>, E>>),
    Done(Result<Arc<Node>, E>),
}

/// A stream of entries. It ends at the first error.
pub struct Entries<'a, S: NodeStore> {
    tree: &'a Tree<S>,
    after: Option<Name>,
    width: usize,
    /// What is still to come, in order; the first `width` are being loaded.
    ahead: VecDeque<(Link, State<'a, S::Error>)>,
    leaf: std::vec::IntoIter<(Name, Entry)>,
}

impl<S: NodeStore> Tree<S> {
    /// The entries in order, those after `after` only.
    pub fn entries(&self, root: Option<&NodeRef>, after: Option<&Name>) -> Entries<'_, S> {
        let ahead = root.map(|root| (Link::root(root), State::Waiting)).into_iter().collect();
        Entries { tree: self, after: after.cloned(), width: READ_AHEAD, ahead, leaf: Vec::new().into_iter() }
    }
}

impl<'a, S: NodeStore> Entries<'a, S> {
    /// Loads up to so many nodes at once, from 1 to 32.
    pub fn read_ahead(mut self, nodes: usize) -> Self {
        self.width = nodes.clamp(1, MAX_READ_AHEAD);
        self
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    ///
    /// The store's, [`super::TreeError`] among them.
    pub async fn next(&mut self) -> Result<Option<(Name, Entry)>, S::Error> {
        loop {
            if let Some(entry) = self.leaf.next() {
                return Ok(Some(entry));
            }
            let Some((link, node)) = poll_fn(|context| self.poll_node(context)).await else {
                return Ok(None);
            };
            let node = match node {
                Ok(node) => node,
                Err(error) => {
                    self.ahead.clear();
                    return Err(error);
                }
            };
            self.open(&link, node);
        }
    }

    /// A leaf's entries come next; an inner node's children take its place.
    fn open(&mut self, link: &Link, node: Arc<Node>) {
        let after = self.after.as_ref();
        let children = Link::children(&node, link.end.as_ref());
        let is_wanted = |link: &Link| !matches!((&link.end, after), (Some(end), Some(after)) if end <= after);
        for child in children.into_iter().filter(is_wanted).rev() {
            self.ahead.push_front((child, State::Waiting));
        }
        if let Node::Leaf(mut entries) = Arc::unwrap_or_clone(node) {
            if let Some(after) = self.after.take() {
                entries.drain(..entries.partition_point(|(name, _)| *name <= after));
                // Only the first leaf that is wanted has names that are not.
            }
            self.leaf = entries.into_iter();
        }
    }

    /// The first node that is to come.
    #[allow(clippy::type_complexity, reason = "it has one caller")]
    fn poll_node(&mut self, context: &mut Context<'_>) -> Poll<Option<(Link, Result<Arc<Node>, S::Error>)>> {
        let tree = self.tree;
        for (link, state) in self.ahead.iter_mut().take(self.width) {
            if let State::Waiting = state {
                let link = link.clone();
                *state = State::Running(Box::pin(async move { tree.load(&link).await }));
            }
            if let State::Running(future) = state
                && let Poll::Ready(node) = future.as_mut().poll(context)
            {
                *state = State::Done(node);
            }
        }
        match self.ahead.pop_front() {
            None => Poll::Ready(None),
            Some((link, State::Done(node))) => Poll::Ready(Some((link, node))),
            Some(head) => {
                self.ahead.push_front(head);
                Poll::Pending
            }
        }
    }
}
