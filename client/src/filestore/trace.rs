//! Which nodes of a directory a change replaced.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use caps::VerifyHash;
use encoding::directory::{Node, NodeRef};

/// What a change read and made of one directory's tree: H, and of an inner node its children.
#[derive(Clone, Default)]
pub(super) struct Trace(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    loaded: HashMap<VerifyHash, Vec<VerifyHash>>,
    made: HashMap<VerifyHash, Vec<VerifyHash>>,
}

impl Trace {
    pub(super) fn loaded(&self, hash: VerifyHash, node: &Node) {
        self.lock().loaded.entry(hash).or_insert_with(|| children(node));
    }

    pub(super) fn made(&self, hash: VerifyHash, node: &Node) {
        self.lock().made.insert(hash, children(node));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().expect("no code panics while it holds this lock")
    }

    /// The nodes of the old tree that the new one does not reach. Every node has a key of its own and one place in its tree, and what a
    /// change replaces it has read: so a node that was not read, and one that a node made now refers to, stays with all that is below.
    pub(super) fn replaced(&self, old: Option<&NodeRef>, new: Option<&NodeRef>) -> Vec<VerifyHash> {
        let (seen, mut kept, mut replaced) = (self.lock(), HashSet::new(), Vec::new());
        let mut below: Vec<VerifyHash> = new.map(|root| root.cap.hash).into_iter().collect();
        while let Some(node) = below.pop() {
            match seen.made.get(&node) {
                Some(children) => below.extend(children),
                None => drop(kept.insert(node)),
            }
        }
        below.extend(old.map(|root| root.cap.hash));
        while let Some(node) = below.pop() {
            // Who is handed a tree in which a node stands twice lets go of none of it.
            let Some(children) = seen.loaded.get(&node).filter(|_| !kept.contains(&node)) else { continue };
            replaced.push(node);
            kept.insert(node);
            below.extend(children);
        }
        replaced
    }
}

fn children(node: &Node) -> Vec<VerifyHash> {
    match node {
        Node::Leaf(_) => Vec::new(),
        Node::Inner { children, .. } => children.iter().map(|(_, child)| child.cap.hash).collect(),
    }
}
