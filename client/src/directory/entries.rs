//! All entries in order, with read-ahead and flat memory.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use encoding::directory::{Entry, Name, Node, NodeRef};

use super::concurrent::BoxFuture;
use super::tree::{Link, NodeStore, Tree};

/// How many nodes are loaded at once.
const READ_AHEAD: usize = 8;

enum State<'a, E> {
    Waiting,
    Running(BoxFuture<'a, Result<Arc<Node>, E>>),
    Done(Result<Arc<Node>, E>),
}

/// A stream of entries. It ends at the first error.
pub struct Entries<'a, S: NodeStore> {
    tree: &'a Tree<S>,
    /// What is still to come, in order; the first [`READ_AHEAD`] are being loaded.
    ahead: VecDeque<(Link, State<'a, S::Error>)>,
    leaf: std::vec::IntoIter<(Name, Entry)>,
}

impl<S: NodeStore> Tree<S> {
    /// The entries in order.
    pub fn entries(&self, root: Option<&NodeRef>) -> Entries<'_, S> {
        let ahead = root.map(|root| (Link::root(root), State::Waiting)).into_iter().collect();
        Entries { tree: self, ahead, leaf: Vec::new().into_iter() }
    }
}

impl<'a, S: NodeStore> Entries<'a, S> {
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
        for child in Link::children(&node, link.end.as_ref()).into_iter().rev() {
            self.ahead.push_front((child, State::Waiting));
        }
        if let Node::Leaf(entries) = Arc::unwrap_or_clone(node) {
            self.leaf = entries.into_iter();
        }
    }

    /// The first node that is to come.
    #[allow(clippy::type_complexity, reason = "it has one caller")]
    fn poll_node(&mut self, context: &mut Context<'_>) -> Poll<Option<(Link, Result<Arc<Node>, S::Error>)>> {
        let tree = self.tree;
        for (link, state) in self.ahead.iter_mut().take(READ_AHEAD) {
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
