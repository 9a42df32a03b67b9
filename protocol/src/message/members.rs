//! Who belongs to a grid, and how somebody comes to: what is asked of introducers.

use minicbor::{Decode, Encode};

use crate::identity::NodeId;
use crate::membership::{SignedCertificate, SignedRevocations};

/// See [`super::Request::Publish`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Publish {
    /// Certificates; at most [`MAX_PUBLISHED`] in one message.
    #[n(0)]
    #[cbor(with = "crate::bounded::batch")]
    pub certificates: Vec<SignedCertificate>,
    /// The newest list.
    #[n(1)]
    pub revocations: Option<SignedRevocations>,
}

/// Certificates in one message.
pub const MAX_PUBLISHED: usize = 256;

/// See [`super::Request::Membership`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AskMembership {
    /// The grid's owner.
    #[n(0)]
    pub grid: NodeId,
    /// Whether to keep the stream open for what comes later.
    #[n(1)]
    pub follow: bool,
}

/// See [`super::Request::OpenMailbox`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OpenMailbox {
    /// Where the other side will look.
    #[n(0)]
    pub channel: u16,
    /// How long to wait for it, in seconds.
    #[n(1)]
    pub lifetime_s: u64,
    /// The first letter, for the other side.
    #[n(2)]
    pub letter: Letter,
}

/// See [`super::Request::UseMailbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct UseMailbox {
    /// Where the letter lies.
    #[n(0)]
    pub channel: u16,
}

/// What one side sends the other through an introducer, which cannot read it; at most [`crate::limits::MAX_LETTER_LEN`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Letter {
    /// The bytes.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}
