//! Nodes in memory, filed under a hash of what they say.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use caps::{ImmutableRead, ReadKey, VerifyHash};
use client::directory::{NodeStore, TreeError};
use encoding::directory::{DirectoryError, Entry, EntryKind, Metadata, Mutability, Name, Node, NodeRef};

#[derive(Default)]
pub(crate) struct Memory {
    nodes: Mutex<HashMap<VerifyHash, Arc<Node>>>,
    loads: AtomicUsize,
    stores: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum MemoryError {
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Node(#[from] DirectoryError),
    #[error("no such node")]
    Missing,
}

impl NodeStore for Memory {
    type Error = MemoryError;

    async fn load(&self, node: &NodeRef) -> Result<Arc<Node>, MemoryError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.pause().await;
        self.nodes.lock().unwrap().get(&node.cap.hash).cloned().ok_or(MemoryError::Missing)
    }

    async fn store(&self, node: Node) -> Result<NodeRef, MemoryError> {
        node.check(Mutability::Immutable)?;
        self.stores.fetch_add(1, Ordering::Relaxed);
        self.pause().await;
        Ok(self.insert(node))
    }
}

impl Memory {
    /// Keeps a node, whatever it says.
    pub(crate) fn insert(&self, node: Node) -> NodeRef {
        let bytes = node.to_sections().a;
        let hash = *blake3::hash(&bytes).as_bytes();
        let cap = ImmutableRead {
            key: ReadKey::new(hash[..16].try_into().unwrap()),
            hash: VerifyHash::new(hash),
            needed: 3,
            total: 10,
            size: bytes.len() as u64,
            directory: true,
        };
        let reference = NodeRef { cap, salt: hash, count: node.count() };
        self.nodes.lock().unwrap().insert(reference.cap.hash, Arc::new(node));
        reference
    }

    pub(crate) fn node(&self, reference: &NodeRef) -> Node {
        Node::clone(&self.nodes.lock().unwrap()[&reference.cap.hash])
    }

    /// Loads and stores since the last call.
    pub(crate) fn cost(&self) -> (usize, usize) {
        (self.loads.swap(0, Ordering::Relaxed), self.stores.swap(0, Ordering::Relaxed))
    }

    /// The most that went on at once so far.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most_running.swap(0, Ordering::Relaxed)
    }

    async fn pause(&self) {
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_running.fetch_max(running, Ordering::Relaxed);
        tokio::task::yield_now().await;
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn name(i: u64) -> Name {
    Name::new(&format!("entry {i:08}")).unwrap()
}

/// An entry of this version, with `padding` bytes more.
pub(crate) fn entry(version: u64, padding: usize) -> Entry {
    let cap = ImmutableRead {
        key: ReadKey::new([7; 16]),
        hash: VerifyHash::new([8; 32]),
        needed: 3,
        total: 10,
        size: version,
        directory: false,
    };
    let xattrs = if padding > 0 { vec![("user.x".to_owned(), vec![0; padding])] } else { Vec::new() };
    let metadata = Metadata { size: Some(version), xattrs, ..Metadata::default() };
    Entry { metadata, ..Entry::new(EntryKind::File, caps::Cap::ImmutableRead(cap)) }
}

pub(crate) fn entries(range: impl Iterator<Item = u64>) -> BTreeMap<Name, Entry> {
    range.map(|i| (name(i), entry(i, 0))).collect()
}
