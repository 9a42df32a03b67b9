//! Where the nodes of directories are kept: in objects on the grid, and for a while in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use caps::VerifyHash;
use encoding::directory::{Mutability, Node, NodeRef};

use super::error::FileStoreError;
use crate::directory::NodeStore;
use crate::upload::TreeKey;
use crate::{Client, Transfer};

/// Nodes kept in memory: about 32 MiB of them.
const NODES_MAX: usize = 1024;

/// Nodes that were read or written lately. They are immutable, so that none is ever out of date.
#[derive(Default)]
pub(crate) struct NodeCache(Mutex<Nodes>);

#[derive(Default)]
struct Nodes {
    by_hash: HashMap<(VerifyHash, bool), Arc<Node>>,
    order: VecDeque<(VerifyHash, bool)>,
}

impl NodeCache {
    fn get(&self, key: &(VerifyHash, bool)) -> Option<Arc<Node>> {
        self.lock().by_hash.get(key).cloned()
    }

    fn put(&self, key: (VerifyHash, bool), node: Arc<Node>) {
        let mut nodes = self.lock();
        if nodes.by_hash.insert(key, node).is_none() {
            nodes.order.push_back(key);
        }
        while nodes.order.len() > NODES_MAX {
            if let Some(oldest) = nodes.order.pop_front() {
                nodes.by_hash.remove(&oldest);
            }
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
}

impl NodeStore for DirNodes {
    type Error = FileStoreError;

    async fn load(&self, node: &NodeRef) -> Result<Arc<Node>, FileStoreError> {
        let key = (node.cap.hash, self.mutability == Mutability::Mutable);
        if let Some(node) = self.client.nodes().get(&key) {
            return Ok(node);
        }
        let (sections, _) = self.client.get_tree(&node.cap).await?;
        let mutability = self.mutability;
        let parse = move || Node::parse(&sections, mutability);
        let parsed = Arc::new(self.client.pool().run(parse).await?);
        self.client.nodes().put(key, parsed.clone());
        Ok(parsed)
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
        self.client.nodes().put((cap.hash, self.mutability == Mutability::Mutable), Arc::new(node));
        Ok(NodeRef { cap, salt, count })
    }
}
