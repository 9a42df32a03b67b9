//! Which key and salt an object gets.

use caps::{PlacementBucket, ReadKey};

use crate::descriptor::{CIPHER_ID, CODEC_ID, FORMAT_VERSION, Kind};
use crate::geometry::Params;

/// What makes an object's ciphertext what it is: the secret K and the public salt. Equal ids must only ever encrypt equal bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectId {
    /// K.
    pub key: ReadKey,
    /// The descriptor's salt, 32 bytes, public.
    pub salt: [u8; 32],
}

impl ObjectId {
    /// The id of a file whose bytes are known: the same file under the same secret and parameters always gets the same one.
    ///
    /// `secret` is the convergence secret, `size` the bytes of the file and `plaintext_hash` its BLAKE3. K and salt come from keyed
    /// BLAKE3 in two domains, so that a collision of the 16-byte K is not a reuse of nonces.
    pub fn convergent(
        secret: &[u8; 32],
        params: Params,
        kind: Kind,
        size: u64,
        plaintext_hash: &[u8; 32],
    ) -> Self {
        let keyed = |domain: &str| {
            let mut hasher = blake3::Hasher::new_keyed(secret);
            hasher.update(domain.as_bytes());
            hasher.update(&FORMAT_VERSION.to_le_bytes()).update(&[kind as u8, CIPHER_ID, CODEC_ID]);
            hasher.update(&params.needed().to_le_bytes()).update(&params.total().to_le_bytes());
            hasher.update(&params.block_len().to_le_bytes()).update(&size.to_le_bytes());
            *hasher.update(plaintext_hash).finalize().as_bytes()
        };
        let mut key = [0; 16];
        key.copy_from_slice(&keyed("sarsen v1 convergent key\n")[..16]);
        Self { key: ReadKey::new(key), salt: keyed("sarsen v1 convergent salt\n") }
    }

    /// The id of a stream, or of a file that shall not be recognised: 48 random bytes.
    pub fn random(bytes: [u8; 48]) -> Self {
        let (mut key, mut salt) = ([0; 16], [0; 32]);
        key.copy_from_slice(&bytes[..16]);
        salt.copy_from_slice(&bytes[16..]);
        Self { key: ReadKey::new(key), salt }
    }

    /// Where the object's shares belong.
    pub fn placement_bucket(&self) -> PlacementBucket {
        self.key.immutable_storage_index().placement_bucket()
    }

    /// A key for one use, bound to K and salt by a context of its own.
    pub(crate) fn derive(&self, context: &'static str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(self.key.expose()).update(&self.salt);
        *hasher.finalize().as_bytes()
    }

    /// What the descriptor shows of K: enough to say "wrong key", not enough to learn it. 32 bytes.
    pub fn key_commitment(&self) -> [u8; 32] {
        self.derive("sarsen v1 key commitment")
    }
}
