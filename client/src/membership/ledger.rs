//! What a grid's owner keeps of its members: who they are, until when their certificates run, and whose count no more. Pure: files and
//! clocks are elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::limits::MAX_BATCH;
use protocol::membership::{
    Certificate, LIFETIME_MAX, MembershipError, Revocations, Revoked, Role, SignedCertificate,
    SignedRevocations, check_text,
};
use protocol::{NodeId, NodeKey};
use serde::{Deserialize, Serialize};

/// How long before its end a certificate is worth a reminder.
const REMIND: Duration = Duration::from_secs(10 * 24 * 3600);

/// All members, and all that were.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The highest serial that was signed.
    serial: u64,
    /// The highest sequence number of a revocation list that was signed.
    sequence: u64,
    members: Vec<Member>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its key.
    pub key: String,
    /// What the owner calls it; no two members have one name.
    pub name: String,
    /// Whether it is a storage server, not a client's account.
    pub server: bool,
    /// Of a server: what it shares its fate with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The serial of its newest certificate.
    pub serial: u64,
    /// When that one ends, in seconds since 1970.
    pub until_s: u64,
    /// Whether its certificates count no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Its certificate counts for a while.
    Good,
    /// It ends within ten days.
    EndsSoon,
    /// It has ended.
    Expired,
    /// It was taken back.
    Revoked,
}

/// Why a ledger is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Another member has the name.
    #[error("another member is called {name}")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A name or zone that cannot be one.
    #[error("the name or zone is empty, too long, or has control characters")]
    Text,
    /// Nobody of this name or key.
    #[error("{text} is neither the name nor the key of a member")]
    Unknown {
        /// What was asked for.
        text: String,
    },
    /// No room.
    #[error("a grid has at most {MAX_BATCH} members, counting those whose certificates were taken back")]
    Full,
    /// An entry is damaged.
    #[error("the entry of {name} is damaged")]
    Damaged {
        /// Whose.
        name: String,
    },
}

impl From<MembershipError> for LedgerError {
    fn from(_: MembershipError) -> Self {
        Self::Text
    }
}

impl Member {
    /// How it stands at `now`.
    pub fn outlook(&self, now: Duration) -> Outlook {
        match self.until_s.checked_sub(now.as_secs()) {
            _ if self.revoked => Outlook::Revoked,
            None => Outlook::Expired,
            Some(left) if left <= REMIND.as_secs() => Outlook::EndsSoon,
            Some(_) => Outlook::Good,
        }
    }

    fn id(&self) -> Result<NodeId, LedgerError> {
        self.key.parse().map_err(|_| LedgerError::Damaged { name: self.name.clone() })
    }
}

impl Ledger {
    /// All members, those included whose certificates were taken back.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Checks that somebody may be admitted under this name and zone.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub fn check(&self, key: Option<&NodeId>, name: &str, zone: Option<&str>) -> Result<(), LedgerError> {
        check_text(name)?;
        zone.map_or(Ok(()), check_text)?;
        let key = key.map(ToString::to_string);
        let taken =
            |member: &Member| member.name == name && Some(&member.key) != key.as_ref() && !member.revoked;
        if self.members.iter().any(taken) {
            return Err(LedgerError::NameTaken { name: name.to_owned() });
        }
        Ok(())
    }

    /// Admits a member, or anew one that is or was one, and signs its certificate: for [`LIFETIME_MAX`] from `now` (time since 1970).
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub fn admit(
        &mut self,
        owner: &NodeKey,
        member: NodeId,
        role: Role,
        name: &str,
        zone: Option<String>,
        now: Duration,
    ) -> Result<SignedCertificate, LedgerError> {
        self.check(Some(&member), name, zone.as_deref())?;
        let key = member.to_string();
        let at = self.members.iter().position(|known| known.key == key);
        if at.is_none() && self.members.len() >= MAX_BATCH {
            return Err(LedgerError::Full);
        }
        let entry = Member {
            key,
            name: name.to_owned(),
            server: role == Role::Server,
            zone,
            serial: 0,
            until_s: 0,
            revoked: false,
        };
        let at = match at {
            Some(at) => {
                self.members[at] = entry;
                at
            }
            None => {
                self.members.push(entry);
                self.members.len() - 1
            }
        };
        self.sign(owner, at, now)
    }

    /// Signs a new certificate for every member but those whose certificates were taken back.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Damaged`].
    pub fn renew(&mut self, owner: &NodeKey, now: Duration) -> Result<Vec<SignedCertificate>, LedgerError> {
        let current: Vec<usize> = (0..self.members.len()).filter(|at| !self.members[*at].revoked).collect();
        current.into_iter().map(|at| self.sign(owner, at, now)).collect()
    }

    fn sign(&mut self, owner: &NodeKey, at: usize, now: Duration) -> Result<SignedCertificate, LedgerError> {
        // Not below the time, so that a ledger brought back from a copy signs nothing that is older than what was signed since.
        self.serial = now.as_secs().max(self.serial.saturating_add(1));
        let until = (now + LIFETIME_MAX).as_secs();
        let entry = &mut self.members[at];
        (entry.serial, entry.until_s) = (self.serial, until);
        let certificate = Certificate {
            grid: owner.id(),
            member: entry.id()?,
            role: if entry.server { Role::Server } else { Role::Account },
            serial: self.serial,
            not_before_s: now.as_secs(),
            not_after_s: until,
            name: entry.name.clone(),
            zone: entry.zone.clone(),
        };
        Ok(certificate.sign(owner))
    }

    /// Takes back all certificates of the member with this name or key, and signs the new list.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub fn revoke(
        &mut self,
        owner: &NodeKey,
        name_or_key: &str,
        now: Duration,
    ) -> Result<SignedRevocations, LedgerError> {
        // One that is a member now goes before one of the same name that was.
        let meant = |member: &&mut Member| member.name == name_or_key || member.key == name_or_key;
        let mut found: Vec<&mut Member> = self.members.iter_mut().filter(meant).collect();
        found.sort_by_key(|member| member.revoked);
        let Some(member) = found.into_iter().next() else {
            return Err(LedgerError::Unknown { text: name_or_key.to_owned() });
        };
        member.revoked = true;
        self.sequence = now.as_secs().max(self.sequence.saturating_add(1));
        self.revocations(owner, now)
    }

    /// The newest list, signed.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Damaged`].
    pub fn revocations(&self, owner: &NodeKey, now: Duration) -> Result<SignedRevocations, LedgerError> {
        let mut revoked = BTreeMap::new();
        for member in self.members.iter().filter(|member| member.revoked) {
            revoked.insert(member.id()?, member.serial);
        }
        let revoked = revoked.into_iter().map(|(member, through)| Revoked { member, through }).collect();
        let list =
            Revocations { grid: owner.id(), sequence: self.sequence, issued_s: now.as_secs(), revoked };
        Ok(list.sign(owner))
    }
}
