//! Attenuation: weaker keys from stronger ones, exactly as Tahoe derives them, so that a third-party client gets the right string.

use sha2::{Digest, Sha256};

use crate::keys::{PlacementBucket, ReadKey, StorageIndex, TraversalKey, WriteKey};

/// Tahoe's `tagged_hash`: SHA-256 twice over netstring(tag) and the value; first 16 bytes.
fn tahoe_tagged_16(tag: &str, value: &[u8]) -> [u8; 16] {
    let inner = Sha256::new()
        .chain_update(format!("{}:", tag.len()))
        .chain_update(tag)
        .chain_update(",")
        .chain_update(value)
        .finalize();
    let outer = Sha256::digest(inner);
    let mut out = [0; 16];
    out.copy_from_slice(&outer[..16]);
    out
}

impl WriteKey {
    /// R from W.
    pub fn read_key(&self) -> ReadKey {
        ReadKey::new(tahoe_tagged_16("allmydata_mutable_writekey_to_readkey_v1", self.expose()))
    }
}

impl ReadKey {
    /// SI of the immutable object that this K reads.
    pub fn immutable_storage_index(&self) -> StorageIndex {
        StorageIndex::new(tahoe_tagged_16("allmydata_immutable_key_to_storage_index_v1", self.expose()))
    }

    /// SI of the slot that this R reads.
    pub fn slot_storage_index(&self) -> StorageIndex {
        StorageIndex::new(tahoe_tagged_16("allmydata_mutable_readkey_to_storage_index_v1", self.expose()))
    }

    /// The traversal key of a tree, from its read key and the public salt (the descriptor's, or a slot's S). 32 bytes.
    pub fn traversal_key(&self, salt: &[u8; 32]) -> TraversalKey {
        let mut hasher = blake3::Hasher::new_derive_key("sarsen v1 traversal key");
        hasher.update(self.expose()).update(salt);
        TraversalKey::new(*hasher.finalize().as_bytes())
    }
}

impl StorageIndex {
    /// The placement bucket: first two bytes, little-endian, of a BLAKE3 derive-key hash of SI.
    pub fn placement_bucket(&self) -> PlacementBucket {
        let hash = blake3::derive_key("sarsen v1 placement bucket", self.expose());
        PlacementBucket(u16::from_le_bytes([hash[0], hash[1]]))
    }
}
