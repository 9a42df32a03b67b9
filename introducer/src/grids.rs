//! What owners of grids published: the newest certificate of each member, and the newest revocation list.

use std::collections::BTreeMap;
use std::time::Duration;

use minicbor::{Decode, Encode};
use protocol::NodeId;
use protocol::membership::{
    CLOCK_TOLERANCE, Certificate, MembershipError, MembershipNews, Revocations, SignedCertificate,
    SignedRevocations,
};
use protocol::message::{ErrorCode, MAX_PUBLISHED, Publish, WireError};

use crate::keep::LoadError;

/// Why what an owner publishes is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// It is not to be believed.
    #[error("what is published is not to be believed: {0}")]
    Invalid(#[from] MembershipError),
    /// It is dated ahead: it would keep its place for as long as whoever signed it likes.
    #[error("what is published is dated more than a day ahead: is a clock wrong?")]
    DatedAhead,
    /// Somebody else brought it.
    #[error("only a grid's owner publishes who belongs to it")]
    Foreign,
    /// This introducer is for others.
    #[error("this introducer is for other grids (`owners` in its introducer.toml)")]
    NotOurs,
    /// There is no room.
    #[error("this introducer has no room for more {what}")]
    Full {
        /// Of what.
        what: &'static str,
    },
    /// Too many at once.
    #[error("more than {MAX_PUBLISHED} certificates in one message")]
    TooMany,
    /// It could not be made durable.
    #[error("what is published could not be kept")]
    Keep(#[source] std::io::Error),
}

impl From<&PublishError> for WireError {
    fn from(error: &PublishError) -> Self {
        let code = match error {
            PublishError::Invalid(_) | PublishError::DatedAhead | PublishError::TooMany => {
                ErrorCode::BadRequest
            }
            PublishError::Foreign | PublishError::NotOurs => ErrorCode::NotAdmitted,
            PublishError::Full { .. } => ErrorCode::Busy,
            PublishError::Keep(_) => ErrorCode::StoreFailed,
        };
        Self::new(code, error.to_string())
    }
}

/// What was published, opened.
pub(crate) struct Opened {
    certificates: Vec<(SignedCertificate, Certificate)>,
    revocations: Option<(SignedRevocations, Revocations)>,
}

impl Opened {
    /// Checks all signatures, and that all is of one grid.
    pub(crate) fn open(publish: Publish, owner: &NodeId) -> Result<Self, PublishError> {
        if publish.certificates.len() > MAX_PUBLISHED {
            return Err(PublishError::TooMany);
        }
        let mut certificates = Vec::new();
        for signed in publish.certificates {
            let opened = signed.open()?;
            if opened.grid != *owner {
                return Err(PublishError::Foreign);
            }
            certificates.push((signed, opened));
        }
        let revocations = match publish.revocations {
            Some(signed) => Some((signed.open()?, signed)),
            None => None,
        };
        if revocations.as_ref().is_some_and(|(opened, _)| opened.grid != *owner) {
            return Err(PublishError::Foreign);
        }
        Ok(Self { certificates, revocations: revocations.map(|(opened, signed)| (signed, opened)) })
    }

    /// When the newest of it says that it was made, in seconds since 1970.
    fn newest_s(&self) -> u64 {
        let certificates = self.certificates.iter().map(|(_, certificate)| certificate.not_before_s);
        let list = self.revocations.iter().map(|(_, list)| list.issued_s);
        certificates.chain(list).max().unwrap_or_default()
    }
}

/// All grids.
#[derive(Default)]
pub(crate) struct Grids {
    grids: BTreeMap<NodeId, Grid>,
}

#[derive(Default)]
struct Grid {
    certificates: BTreeMap<NodeId, (SignedCertificate, Certificate)>,
    revocations: Option<(SignedRevocations, Revocations)>,
}

/// The file in which they outlive a restart.
#[derive(Encode, Decode)]
struct File {
    #[n(0)]
    certificates: Vec<SignedCertificate>,
    #[n(1)]
    revocations: Vec<SignedRevocations>,
}

impl Grids {
    /// Takes what an owner published; whether any of it was news.
    pub(crate) fn insert(
        &mut self,
        owner: NodeId,
        opened: Opened,
        now: Duration,
        most_grids: usize,
    ) -> Result<bool, PublishError> {
        if opened.newest_s() > (now + AHEAD).as_secs() {
            return Err(PublishError::DatedAhead);
        }
        if !self.grids.contains_key(&owner) && self.grids.len() >= most_grids {
            self.forget_expired(now);
            if self.grids.len() >= most_grids {
                return Err(PublishError::Full { what: "grids" });
            }
        }
        let grid = self.grids.entry(owner).or_default();
        let mut news = false;
        if let Some((signed, list)) = opened.revocations
            && grid.revocations.as_ref().is_none_or(|(_, known)| known.sequence < list.sequence)
        {
            grid.certificates.retain(|member, (_, certificate)| !list.revokes(member, certificate.serial));
            grid.revocations = Some((signed, list));
            news = true;
        }
        for (signed, certificate) in opened.certificates {
            let known = grid.certificates.get(&certificate.member);
            let older = known.is_some_and(|(_, known)| known.serial >= certificate.serial);
            let revoked =
                |(_, list): &(_, Revocations)| list.revokes(&certificate.member, certificate.serial);
            if older || grid.revocations.as_ref().is_some_and(revoked) {
                continue;
            }
            if known.is_none() && grid.certificates.len() >= MOST_MEMBERS {
                return Err(PublishError::Full { what: "members" });
            }
            grid.certificates.insert(certificate.member, (signed, certificate));
            news = true;
        }
        Ok(news)
    }

    /// What concerns one member, or whoever asks.
    pub(crate) fn news(&self, owner: &NodeId, member: &NodeId) -> MembershipNews {
        let Some(grid) = self.grids.get(owner) else { return MembershipNews::default() };
        MembershipNews {
            certificate: grid.certificates.get(member).map(|(signed, _)| signed.clone()),
            revocations: grid.revocations.as_ref().map(|(signed, _)| signed.clone()),
        }
    }

    /// Forgets expired certificates, and grids in which nobody is left.
    fn forget_expired(&mut self, now: Duration) {
        let past = now.saturating_sub(GRACE + CLOCK_TOLERANCE).as_secs();
        for grid in self.grids.values_mut() {
            grid.certificates.retain(|_, (_, certificate)| certificate.not_after_s >= past);
        }
        self.grids.retain(|_, grid| {
            let issued = grid.revocations.as_ref().map_or(0, |(_, list)| list.issued_s);
            !grid.certificates.is_empty() || issued >= past
        });
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &FORMAT.to_le_bytes()].concat();
        let certificates = self.grids.values().flat_map(|grid| grid.certificates.values());
        let revocations = self.grids.values().filter_map(|grid| grid.revocations.as_ref());
        let file = File {
            certificates: certificates.map(|(signed, _)| signed.clone()).collect(),
            revocations: revocations.map(|(signed, _)| signed.clone()).collect(),
        };
        minicbor::encode(file, &mut bytes).expect("writing to a Vec cannot fail");
        bytes
    }

    /// Every entry proves itself; those that do not are left out.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, LoadError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(LoadError::Damaged)?;
        let (version, rest) = rest.split_first_chunk().ok_or(LoadError::Damaged)?;
        let version = u32::from_le_bytes(*version);
        if version > FORMAT {
            return Err(LoadError::Newer { version });
        }
        let file: File = protocol::frame::decode(rest).map_err(|_| LoadError::Damaged)?;
        let mut grids = Self::default();
        for signed in file.revocations {
            let Ok(list) = signed.open() else { continue };
            let grid = grids.grids.entry(list.grid).or_default();
            grid.revocations = Some((signed, list));
        }
        for signed in file.certificates {
            let Ok(certificate) = signed.open() else { continue };
            let grid = grids.grids.entry(certificate.grid).or_default();
            grid.certificates.insert(certificate.member, (signed, certificate));
        }
        Ok(grids)
    }
}

const MAGIC: &[u8; 8] = b"sarsenME";
const FORMAT: u32 = 1;
/// Members of one grid.
const MOST_MEMBERS: usize = 10_000;
/// How far ahead the clock of an owner may be.
const AHEAD: Duration = Duration::from_secs(24 * 3600);
/// How long expired certificates keep a place: the owner may have been away.
const GRACE: Duration = Duration::from_secs(60 * 24 * 3600);
