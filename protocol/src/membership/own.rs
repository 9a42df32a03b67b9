//! What a node knows of its own membership: the newest certificate and the newest revocation list, from whomever they came.

use std::time::Duration;

use minicbor::{Decode, Encode};

use super::{Certificate, NotAMember, Revocations, Role, SignedCertificate, SignedRevocations};
use crate::identity::NodeId;

/// What an introducer tells a node, and what a node keeps in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct MembershipNews {
    /// The newest certificate of the node that asks.
    #[n(0)]
    pub certificate: Option<SignedCertificate>,
    /// The newest list of the grid.
    #[n(1)]
    pub revocations: Option<SignedRevocations>,
}

/// A node's papers in a grid. What comes in is believed only if the owner signed it, and never replaces anything newer.
#[derive(Clone, Debug)]
pub struct Membership {
    owner: NodeId,
    member: NodeId,
    certificate: Option<(SignedCertificate, Certificate)>,
    revocations: Option<(SignedRevocations, Revocations)>,
}

/// Papers that cannot be read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PapersError {
    /// They are not what a node writes.
    #[error("the papers of this node are damaged")]
    Damaged,
    /// A newer program wrote them.
    #[error("the papers of this node were written by a newer program (version {version})")]
    Newer {
        /// Their version.
        version: u16,
    },
}

#[derive(Encode, Decode)]
struct Papers {
    #[n(0)]
    version: u16,
    #[n(1)]
    news: MembershipNews,
}

const VERSION: u16 = 1;

impl Membership {
    /// That of the node with key `member` in the grid of `owner`, with no papers yet.
    pub fn new(owner: NodeId, member: NodeId) -> Self {
        Self { owner, member, certificate: None, revocations: None }
    }

    /// The grid's owner.
    pub fn owner(&self) -> NodeId {
        self.owner
    }

    /// The node's own key.
    pub fn member(&self) -> NodeId {
        self.member
    }

    /// Takes in what is newer and signed by the owner; whether there was any.
    pub fn learn(&mut self, news: MembershipNews) -> bool {
        let certificate = news.certificate.is_some_and(|signed| self.learn_certificate(signed));
        let revocations = news.revocations.is_some_and(|signed| self.learn_revocations(signed));
        certificate || revocations
    }

    fn learn_certificate(&mut self, signed: SignedCertificate) -> bool {
        let Ok(opened) = signed.open() else { return false };
        let ours = opened.grid == self.owner && opened.member == self.member;
        let newer = self.certificate.as_ref().is_none_or(|(_, known)| known.serial < opened.serial);
        if ours && newer {
            self.certificate = Some((signed, opened));
        }
        ours && newer
    }

    fn learn_revocations(&mut self, signed: SignedRevocations) -> bool {
        let Ok(opened) = signed.open() else { return false };
        let ours = opened.grid == self.owner;
        let newer = self.revocations.as_ref().is_none_or(|(_, known)| known.sequence < opened.sequence);
        if ours && newer {
            self.revocations = Some((signed, opened));
        }
        ours && newer
    }

    /// The newest certificate, to be shown to others.
    pub fn signed_certificate(&self) -> Option<&SignedCertificate> {
        self.certificate.as_ref().map(|(signed, _)| signed)
    }

    /// What it says.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref().map(|(_, certificate)| certificate)
    }

    /// The newest list of what the owner took back.
    pub fn revocations(&self) -> Option<&Revocations> {
        self.revocations.as_ref().map(|(_, list)| list)
    }

    /// Whether this node is a member at `now` (time since 1970), as far as it knows.
    ///
    /// # Errors
    ///
    /// [`NotAMember`].
    pub fn at(&self, now: Duration) -> Result<&Certificate, NotAMember> {
        let certificate = self.certificate().ok_or(NotAMember::NoCertificate)?;
        certificate.check(&self.owner, &self.member, now, self.revocations()).map(|()| certificate)
    }

    /// Whether another node that shows this certificate is a member at `now`.
    ///
    /// # Errors
    ///
    /// [`NotAMember`].
    pub fn judge(
        &self,
        member: &NodeId,
        certificate: Option<&Certificate>,
        now: Duration,
    ) -> Result<(), NotAMember> {
        let certificate = certificate.ok_or(NotAMember::NoCertificate)?;
        certificate.check(&self.owner, member, now, self.revocations())
    }

    /// Whether the grid's owner certified this node as a server that counts at `now`.
    ///
    /// # Errors
    ///
    /// [`NotAMember`].
    pub fn judge_server(
        &self,
        server: &NodeId,
        certificate: Option<&Certificate>,
        now: Duration,
    ) -> Result<(), NotAMember> {
        match certificate {
            Some(certificate) if certificate.role != Role::Server => Err(NotAMember::Forged),
            certificate => self.judge(server, certificate, now),
        }
    }

    /// The bytes of the file in which a node keeps its papers.
    pub fn to_bytes(&self) -> Vec<u8> {
        let certificate = self.signed_certificate().cloned();
        let revocations = self.revocations.as_ref().map(|(signed, _)| signed.clone());
        let papers = Papers { version: VERSION, news: MembershipNews { certificate, revocations } };
        minicbor::to_vec(&papers).expect("writing to a Vec cannot fail")
    }

    /// Takes in what [`Membership::to_bytes`] wrote. Papers of another grid or node are left aside.
    ///
    /// # Errors
    ///
    /// [`PapersError`].
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), PapersError> {
        let papers: Papers = crate::frame::decode(bytes).map_err(|_| PapersError::Damaged)?;
        if papers.version > VERSION {
            return Err(PapersError::Newer { version: papers.version });
        }
        self.learn(papers.news);
        Ok(())
    }
}
