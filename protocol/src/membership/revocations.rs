//! The list of certificates that count no more.

use minicbor::{Decode, Encode};

use super::MembershipError;
use crate::identity::{NodeId, NodeKey};

const CONTEXT: &str = "sarsen v1 revocation list";
/// The longest payload of a list, in bytes.
const MAX_PAYLOAD_LEN: usize = 512 * 1024;

/// All certificates that the owner took back. The list with the highest sequence number counts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Revocations {
    /// The key of the grid's owner, who signs it.
    #[n(0)]
    pub grid: NodeId,
    /// Higher than in every list before.
    #[n(1)]
    pub sequence: u64,
    /// When it was made, in seconds since 1970.
    #[n(2)]
    pub issued_s: u64,
    /// In the order of their keys, each once; at most [`crate::limits::MAX_BATCH`].
    #[n(3)]
    #[cbor(with = "crate::bounded::batch")]
    pub revoked: Vec<Revoked>,
}

/// A member whose certificates count no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Revoked {
    /// Its key.
    #[n(0)]
    pub member: NodeId,
    /// All its certificates with serials up to this one. A later one counts: whoever was let go may be admitted anew.
    #[n(1)]
    pub through: u64,
}

/// A list as it travels: the bytes that were signed, and the signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedRevocations {
    /// CBOR of [`Revocations`].
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub payload: Vec<u8>,
    /// By the owner's key that the payload names.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

impl Revocations {
    /// Signs it with the owner's key.
    pub fn sign(&self, owner: &NodeKey) -> SignedRevocations {
        debug_assert_eq!(owner.id(), self.grid);
        let payload = minicbor::to_vec(self).expect("writing to a Vec cannot fail");
        let signature = owner.sign(CONTEXT, &payload);
        SignedRevocations { payload, signature }
    }

    /// Whether this certificate of `member` is taken back.
    pub fn revokes(&self, member: &NodeId, serial: u64) -> bool {
        let found = self.revoked.binary_search_by_key(member, |entry| entry.member);
        found.is_ok_and(|at| serial <= self.revoked[at].through)
    }
}

impl SignedRevocations {
    /// Reads it and checks signature, bounds and order.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub fn open(&self) -> Result<Revocations, MembershipError> {
        if self.payload.len() > MAX_PAYLOAD_LEN {
            return Err(MembershipError::Malformed);
        }
        let list: Revocations =
            crate::frame::decode(&self.payload).map_err(|_| MembershipError::Malformed)?;
        if !list.revoked.is_sorted_by(|a, b| a.member < b.member) {
            return Err(MembershipError::Order);
        }
        match list.grid.verify(CONTEXT, &self.payload, &self.signature) {
            true => Ok(list),
            false => Err(MembershipError::Signature),
        }
    }
}
