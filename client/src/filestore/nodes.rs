//! Where the nodes of directories are kept: in objects on the grid, and for a while in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use caps::VerifyHash;
use encoding::directory::{Mutability, Node, NodeRef};

use super::error::FileStoreError;
use super::trace::Trace;
use crate::directory::NodeStore;
use crate::upload::TreeKey;
use crate::{Client, Transfer};

/// Bytes of nodes kept in memory, as they are encoded.
const NODES_LEN_MAX: usize = 32 << 20;

/// Nodes that were read or written lately. They are immutable, so that none is ever out of date.
#[derive(Default)]
pub(crate) struct NodeCache(Mutex<Nodes>);

#[derive(Default)]
struct Nodes {
    by_key: HashMap<NodeKey, (Arc<Node>, usize)>,
    order: VecDeque<NodeKey>,
    len: usize,
}

/// All of a reference and how its node was judged. H alone would give a node to whoever knows that but not its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct NodeKey {
    hash: VerifyHash,
    key: [u8; 16],
    shares: (u16, u16),
    size: u64,
    salt: [u8; 32],
    mutable: bool,
}

impl NodeKey {
    fn of(node: &NodeRef, mutability: Mutability) -> Self {
        let cap = &node.cap;
        Self {
            hash: cap.hash,
            key: *cap.key.expose(),
            shares: (cap.needed, cap.total),
            size: cap.size,
            salt: node.salt,
            mutable: mutability == Mutability::Mutable,
        }
    }
}

impl NodeCache {
    fn get(&self, key: &NodeKey) -> Option<Arc<Node>> {
        self.lock().by_key.get(key).map(|(node, _)| node.clone())
    }

    /// Keeps a node that takes about `len` bytes.
    fn put(&self, key: NodeKey, node: Arc<Node>, len: usize) {
        let mut nodes = self.lock();
        if nodes.by_key.insert(key, (node, len)).is_none() {
            nodes.order.push_back(key);
            nodes.len += len;
        }
        while nodes.len > NODES_LEN_MAX {
            let Some(oldest) = nodes.order.pop_front() else { break };
            let gone = nodes.by_key.remove(&oldest);
            nodes.len -= gone.map_or(0, |(_, len)| len);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Nodes> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

/// The nodes of one directory.
#[derive(Clone)]
pub(crate) struct DirNodes {
    pub(super) client: Client,
    pub(super) mutability: Mutability,
    /// The lease of a slot's nodes belongs to the slot.
    pub(super) lease_tag: Option<[u8; 16]>,
    /// Of a change: what it reads and makes.
    pub(super) trace: Option<Trace>,
}

impl DirNodes {
    /// The nodes of a directory that is read, or made all at once.
    pub(super) fn new(client: &Client, mutability: Mutability) -> Self {
        Self { client: client.clone(), mutability, lease_tag: None, trace: None }
    }

    fn loaded(&self, node: &NodeRef, parsed: Arc<Node>) -> Arc<Node> {
        if let Some(trace) = &self.trace {
            trace.loaded(node.cap.hash, &parsed);
        }
        parsed
    }
}

impl NodeStore for DirNodes {
    type Error = FileStoreError;

    async fn load(&self, reference: &NodeRef) -> Result<Arc<Node>, FileStoreError> {
        let key = NodeKey::of(reference, self.mutability);
        if let Some(node) = self.client.nodes().get(&key) {
            return Ok(self.loaded(reference, node));
        }
        let (sections, _) = self.client.get_tree(&reference.cap).await?;
        let (mutability, len) = (self.mutability, sections.a.len());
        let parse = move || Node::parse(&sections, mutability);
        let parsed = Arc::new(self.client.pool().run(parse).await?);
        self.client.nodes().put(key, parsed.clone(), len);
        Ok(self.loaded(reference, parsed))
    }

    async fn store(&self, node: Node) -> Result<NodeRef, FileStoreError> {
        // Nodes that get superseded must not be anybody else's: each has a key of its own.
        let key = match self.mutability {
            Mutability::Mutable => TreeKey::Random,
            Mutability::Immutable => TreeKey::Convergent,
        };
        let (sections, count) = (node.to_sections(), node.count());
        let size = sections.a.len() as u64;
        let transfer = Transfer::default();
        let stored = self.client.put_tree(sections, size, key, true, self.lease_tag, &transfer).await?;
        let (cap, salt) = stored;
        let stored = NodeRef { cap, salt, count };
        let key = NodeKey::of(&stored, self.mutability);
        if let Some(trace) = &self.trace {
            trace.made(stored.cap.hash, &node);
        }
        self.client.nodes().put(key, Arc::new(node), size as usize);
        Ok(stored)
    }
}
