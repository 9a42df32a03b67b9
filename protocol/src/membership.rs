//! Who belongs to a grid: certificates that its owner signs, and the list of those that count no more. The bytes are those of
//! `docs/spec/membership.md`.
//!
//! Pure: whoever checks passes in the time.

mod own;
mod revocations;

use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::identity::{NodeId, NodeKey};

pub use own::{Membership, MembershipNews, PapersError};
pub use revocations::{Revocations, Revoked, SignedRevocations};

const CONTEXT: &str = "sarsen v1 membership certificate";

/// The longest time between the two dates of a certificate.
pub const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How far a clock may be off: a certificate counts so much earlier and later than it says.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(3600);
/// The longest name or zone, in bytes.
pub const MAX_NAME_LEN: usize = 128;
/// The longest payload of a certificate, in bytes.
const MAX_PAYLOAD_LEN: usize = 1024;

/// What a member does in the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// It stores for itself: the key is a client's account.
    #[n(0)]
    Account,
    /// It keeps shares: the key is a storage server's.
    #[n(1)]
    Server,
}

/// The owner's word that a key belongs to the grid, for some days.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Certificate {
    /// The key of the grid's owner, who signs it.
    #[n(0)]
    pub grid: NodeId,
    /// The member's key.
    #[n(1)]
    pub member: NodeId,
    /// What the member does.
    #[n(2)]
    pub role: Role,
    /// Higher than in every certificate that the owner signed before.
    #[n(3)]
    pub serial: u64,
    /// From when it counts, in seconds since 1970.
    #[n(4)]
    pub not_before_s: u64,
    /// Until when, in seconds since 1970.
    #[n(5)]
    pub not_after_s: u64,
    /// What the owner calls the member: 1 to [`MAX_NAME_LEN`] bytes.
    #[n(6)]
    pub name: String,
    /// Of a server: what it shares its fate with, by the owner's word.
    #[n(7)]
    pub zone: Option<String>,
}

/// A certificate as it travels: the bytes that were signed, and the signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedCertificate {
    /// CBOR of a [`Certificate`].
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub payload: Vec<u8>,
    /// By the owner's key that the payload names.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// Why a certificate or a revocation list cannot be one, whatever the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Malformed,
    /// The signature is not by the key it names as the grid's owner.
    #[error("it is not signed by the owner of the grid that it names")]
    Signature,
    /// A name or zone is empty, too long, or has control characters.
    #[error("its name or zone is empty, longer than {MAX_NAME_LEN} bytes, or has control characters")]
    Text,
    /// It would count for more than [`LIFETIME_MAX`], or for no time at all.
    #[error("its dates are not in order, or more than 30 days apart")]
    Lifetime,
    /// A list that is not in order.
    #[error("its entries are not in the order of their keys")]
    Order,
}

/// Why a key is not taken for a member, as a refusal names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum NotAMember {
    /// It shows none.
    #[n(0)]
    #[error("no certificate")]
    NoCertificate,
    /// It cannot be read, is not signed by this grid's owner, or is somebody else's.
    #[n(1)]
    #[error("forged certificate")]
    Forged,
    /// It begins later, by the clock of whoever checks.
    #[n(2)]
    #[error("certificate not yet valid")]
    NotYetValid,
    /// It has ended, by the clock of whoever checks.
    #[n(3)]
    #[error("certificate expired")]
    Expired,
    /// The owner took it back.
    #[n(4)]
    #[error("certificate revoked")]
    Revoked,
}

impl Certificate {
    /// Signs it with the owner's key.
    pub fn sign(&self, owner: &NodeKey) -> SignedCertificate {
        debug_assert_eq!(owner.id(), self.grid);
        let payload = minicbor::to_vec(self).expect("writing to a Vec cannot fail");
        let signature = owner.sign(CONTEXT, &payload);
        SignedCertificate { payload, signature }
    }

    /// Whether it counts at `now` (time since 1970), give or take [`CLOCK_TOLERANCE`].
    ///
    /// # Errors
    ///
    /// [`NotAMember::NotYetValid`], [`NotAMember::Expired`].
    pub fn at(&self, now: Duration) -> Result<(), NotAMember> {
        let (now, tolerance) = (now.as_secs(), CLOCK_TOLERANCE.as_secs());
        if now.saturating_add(tolerance) < self.not_before_s {
            return Err(NotAMember::NotYetValid);
        }
        if self.not_after_s.saturating_add(tolerance) < now {
            return Err(NotAMember::Expired);
        }
        Ok(())
    }

    /// Whether it makes `member` a member of the grid of `owner` at `now`. `revoked` is the newest list known of that grid.
    ///
    /// # Errors
    ///
    /// [`NotAMember`].
    pub fn check(
        &self,
        owner: &NodeId,
        member: &NodeId,
        now: Duration,
        revoked: Option<&Revocations>,
    ) -> Result<(), NotAMember> {
        if self.grid != *owner || self.member != *member {
            return Err(NotAMember::Forged);
        }
        if revoked.is_some_and(|list| list.grid == *owner && list.revokes(member, self.serial)) {
            return Err(NotAMember::Revoked);
        }
        self.at(now)
    }

    /// Whether the third of its time is over after which a member asks for the next one.
    pub fn is_due(&self, now: Duration) -> bool {
        let third = self.not_after_s.saturating_sub(self.not_before_s) / 3;
        now.as_secs() >= self.not_before_s.saturating_add(third)
    }

    fn check_bounds(&self) -> Result<(), MembershipError> {
        let texts = [&self.name].into_iter().chain(&self.zone);
        for text in texts {
            check_text(text)?;
        }
        match self.not_after_s.checked_sub(self.not_before_s) {
            Some(1..) if self.not_after_s - self.not_before_s <= LIFETIME_MAX.as_secs() => Ok(()),
            _ => Err(MembershipError::Lifetime),
        }
    }
}

/// Whether this may be a member's name or zone.
///
/// # Errors
///
/// [`MembershipError::Text`].
pub fn check_text(text: &str) -> Result<(), MembershipError> {
    match (1..=MAX_NAME_LEN).contains(&text.len()) && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(MembershipError::Text),
    }
}

impl SignedCertificate {
    /// Reads it and checks signature and bounds, but neither its dates nor whose it is: [`Certificate::check`] does.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub fn open(&self) -> Result<Certificate, MembershipError> {
        if self.payload.len() > MAX_PAYLOAD_LEN {
            return Err(MembershipError::Malformed);
        }
        let certificate: Certificate =
            crate::frame::decode(&self.payload).map_err(|_| MembershipError::Malformed)?;
        certificate.check_bounds()?;
        match certificate.grid.verify(CONTEXT, &self.payload, &self.signature) {
            true => Ok(certificate),
            false => Err(MembershipError::Signature),
        }
    }
}
