//! Who a node is: an Ed25519 key (RFC 8032). The node id is the public key.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use minicbor::{Decode, Encode};

fn base32() -> &'static Encoding {
    static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
        let mut spec = Specification::new();
        spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        spec.encoding().expect("the specification is a constant and valid")
    });
    &BASE32
}

/// A node's or store's public key, 32 bytes; written in base32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct NodeId(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

impl NodeId {
    /// Wraps the bytes of a public key. Whether they are one shows when a signature is verified.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the public key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight characters, for messages to people.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }

    /// Checks a signature over a message, strictly (no small-order keys, canonical only), in the given context.
    pub fn verify(&self, context: &'static str, message: &[u8], signature: &[u8; 64]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        key.verify_strict(&in_context(context, message), &signature).is_ok()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32().encode(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// Text that is not a key or an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not 32 bytes of lower-case base32.
    #[error("a key is 52 characters of lower-case base32")]
    Key,
    /// Not `sarsen://<key>@host:port`.
    #[error("an address has the form sarsen://<key>@host:port")]
    Form,
}

impl FromStr for NodeId {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bytes = base32().decode(text.as_bytes()).map_err(|_| AddressError::Key)?;
        bytes.try_into().map(Self).map_err(|_| AddressError::Key)
    }
}

/// A node's or store's private key. Shows nothing in `Debug`; wiped when dropped.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// The key grown from 32 secret bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The secret bytes, for keeping in a file that only its owner reads.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// Signs a message in the given context; one context per use of a key.
    pub fn sign(&self, context: &'static str, message: &[u8]) -> [u8; 64] {
        self.0.sign(&in_context(context, message)).to_bytes()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({}, secret)", self.id())
    }
}

/// What is signed: the length of the context in one byte, the context, the message.
fn in_context(context: &'static str, message: &[u8]) -> Vec<u8> {
    debug_assert!(context.len() < 256);
    [&[context.len() as u8], context.as_bytes(), message].concat()
}

/// Where a node is and who it must prove to be: `sarsen://<key>@host:port`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NodeAddress {
    /// The key it must have.
    pub id: NodeId,
    /// `host:port`; an IPv6 address stands in brackets.
    pub host: String,
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sarsen://{}@{}", self.id, self.host)
    }
}

impl FromStr for NodeAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix("sarsen://").ok_or(AddressError::Form)?;
        let (id, host) = rest.split_once('@').ok_or(AddressError::Form)?;
        let (name, port) = host.rsplit_once(':').ok_or(AddressError::Form)?;
        let plain = host.bytes().all(|b| b.is_ascii_graphic()) && host.len() <= crate::limits::MAX_TEXT_LEN;
        if name.is_empty() || !plain || port.parse::<u16>().is_err() {
            return Err(AddressError::Form);
        }
        Ok(Self { id: id.parse()?, host: host.to_owned() })
    }
}
