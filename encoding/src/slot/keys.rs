//! The keys of a slot.

use caps::{SlotWrite, VerifyHash, WriteKey};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::quorum::Config;

/// What H is the hash of: public, the same in every record of the slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotId {
    /// Ed25519 public key that signs records.
    pub public_key: [u8; 32],
    /// S: random.
    pub salt: [u8; 32],
    /// Hash of the first members and quorum.
    pub genesis: [u8; 32],
    /// Ed25519 public key derived from the traversal key.
    pub caretaker_key: [u8; 32],
}

impl SlotId {
    /// H.
    pub fn hash(&self) -> VerifyHash {
        let mut hasher = blake3::Hasher::new_derive_key("sarsen v1 slot verify hash");
        hasher.update(&self.public_key).update(&self.salt).update(&self.genesis).update(&self.caretaker_key);
        VerifyHash::new(*hasher.finalize().as_bytes())
    }

    /// Whether the signature is that of the slot's key over these parts. Strict: no small-order keys.
    pub(crate) fn verify(&self, context: &[u8], parts: &[&[u8]], signature: &[u8; 64]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.public_key) else { return false };
        let message = message(context, &self.hash(), parts);
        key.verify_strict(&message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }
}

/// The key that signs a slot's records.
pub struct SlotKey {
    id: SlotId,
    hash: VerifyHash,
    signing: SigningKey,
}

impl std::fmt::Debug for SlotKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SlotKey({}, secret)", self.hash)
    }
}

impl SlotKey {
    /// The key of a new slot: W and S are random, `config` its first members.
    pub fn create(write: &WriteKey, salt: [u8; 32], config: &Config) -> Self {
        Self::of(write, salt, config.genesis())
    }

    /// The key of a slot that exists.
    pub fn of(write: &WriteKey, salt: [u8; 32], genesis: [u8; 32]) -> Self {
        let signing = signing_key("sarsen v1 slot signing key", write.expose(), &salt);
        let traversal = write.read_key().traversal_key(&salt);
        let caretaker = signing_key("sarsen v1 slot caretaker key", traversal.expose(), &[]);
        let id = SlotId {
            public_key: signing.verifying_key().to_bytes(),
            salt,
            genesis,
            caretaker_key: caretaker.verifying_key().to_bytes(),
        };
        Self { hash: id.hash(), id, signing }
    }

    /// What H is the hash of.
    pub fn id(&self) -> &SlotId {
        &self.id
    }

    /// H.
    pub fn hash(&self) -> VerifyHash {
        self.hash
    }

    /// The write cap of the slot.
    pub fn cap(&self, write: &WriteKey, directory: bool) -> SlotWrite {
        SlotWrite { key: write.clone(), hash: self.hash, directory }
    }

    pub(crate) fn sign(&self, context: &[u8], parts: &[&[u8]]) -> [u8; 64] {
        self.signing.sign(&message(context, &self.hash, parts)).to_bytes()
    }
}

fn signing_key(context: &'static str, secret: &[u8], salt: &[u8]) -> SigningKey {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(secret).update(salt);
    SigningKey::from_bytes(&Zeroizing::new(*hasher.finalize().as_bytes()))
}

fn message(context: &[u8], hash: &VerifyHash, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(context);
    out.extend_from_slice(hash.as_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}
