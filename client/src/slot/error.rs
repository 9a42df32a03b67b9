//! What can go wrong with slots.

use encoding::SectionError;
use protocol::NodeId;
use protocol::membership::NotAMember;
use protocol::message::ErrorCode;
use protocol::session::RequestError;
use protocol::slot_message::Verdict;

use super::memory::Forgetful;

/// What became of a member that was of no use.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{server}: {reason}")]
pub struct MemberFailure {
    /// The store.
    pub store: NodeId,
    /// The server that serves it, for people; of a store that nobody announced, the beginning of its key.
    pub server: String,
    /// Why.
    pub reason: String,
    /// Whether it answered at all.
    pub answered: bool,
    /// The kind of refusal, where its server refused.
    pub code: Option<ErrorCode>,
}

impl MemberFailure {
    /// Of a request that failed.
    pub(crate) fn asked(store: NodeId, server: String, error: &RequestError) -> Self {
        let code = match error {
            RequestError::Refused(error) => Some(error.code),
            _ => None,
        };
        Self { code, answered: code.is_some(), ..Self::new(store, server, error) }
    }

    /// It did not answer.
    pub(crate) fn new(store: NodeId, server: String, reason: impl ToString) -> Self {
        Self { store, server, reason: reason.to_string(), answered: false, code: None }
    }

    /// It answered, and with nothing that is of use.
    pub(crate) fn answered(store: NodeId, server: String, reason: impl ToString) -> Self {
        Self { answered: true, ..Self::new(store, server, reason) }
    }

    pub(crate) fn verdict(store: NodeId, server: String, verdict: Verdict) -> Self {
        let reason = match verdict {
            Verdict::Kept => "it is blank: it keeps the record and does not count",
            Verdict::Outbid => "another writer is ahead",
            Verdict::NotMember => "it is no member of this slot",
            Verdict::Unknown => "it holds nothing of this slot",
            Verdict::Deleted => "the slot was deleted",
            Verdict::TooFar => "the ballot is too far ahead of all it knows",
            Verdict::Conflict => "it holds another record of the same ballot: two were signed",
            _ => "it answers in a way this program does not know",
        };
        Self::answered(store, server, reason)
    }
}

/// Why a slot could not be read or changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// No server that was asked has it.
    #[error("none of {asked} servers asked holds anything of this file or directory")]
    NotFound {
        /// How many answered.
        asked: usize,
        /// Those that did not.
        failures: Vec<MemberFailure>,
    },
    /// Too few members could be reached; nothing was changed.
    #[error("{reached} of the {wanted} stores needed could be reached; nothing was changed")]
    TooFew {
        /// How many could.
        reached: usize,
        /// The quorum.
        wanted: usize,
        /// The others.
        failures: Vec<MemberFailure>,
    },
    /// A change was sent, and too few members confirmed it: it may yet come to pass.
    #[error(
        "the change was sent, but only {accepted} of {wanted} stores confirmed it: it may have been made or not"
    )]
    Unknown {
        /// How many did.
        accepted: usize,
        /// The quorum.
        wanted: usize,
        /// The others.
        failures: Vec<MemberFailure>,
    },
    /// Others changed it all the time.
    #[error("other writers were ahead in {attempts} attempts")]
    Contention {
        /// How often it was tried.
        attempts: u32,
    },
    /// The write cap's key is not that of the slot it names: the cap was altered, or made up.
    #[error("the write cap's key is not that of the file or directory it names")]
    WrongKey,
    /// It was deleted.
    #[error("it was deleted")]
    Deleted,
    /// Its payload does not open.
    #[error("its content does not open")]
    Sealed(#[from] SectionError),
    /// Too few servers to create it on.
    #[error("{live} {} can be reached, and {wanted} are wanted", if *live == 1 { "server" } else { "servers" })]
    NotHappy {
        /// Servers that can be reached.
        live: usize,
        /// `shares_happy`.
        wanted: usize,
        /// The others.
        failures: Vec<MemberFailure>,
    },
    /// The members show less than they acknowledged to this client before: building on that would lose what was acknowledged.
    #[error("the stores show an older state than {} of them acknowledged to this client before", stores.len())]
    RolledBack {
        /// Those that acknowledged more.
        stores: Vec<Forgetful>,
    },
    /// The new members are none that could hold it.
    #[error("{reason}")]
    Members {
        /// Why.
        reason: String,
    },
}

impl SlotError {
    /// Stores that failed, and how.
    pub fn failures(&self) -> &[MemberFailure] {
        match self {
            Self::NotFound { failures, .. }
            | Self::TooFew { failures, .. }
            | Self::Unknown { failures, .. }
            | Self::NotHappy { failures, .. } => failures,
            _ => &[],
        }
    }

    /// Whether every store that failed refused for want of authority or room.
    pub fn is_refusal(&self) -> bool {
        use ErrorCode::{NoSpace, NotAMember, NotAdmitted, OverQuota, ReadOnly};
        let refused = |failure: &MemberFailure| {
            matches!(failure.code, Some(NotAdmitted | NotAMember(_) | NoSpace | OverQuota | ReadOnly))
        };
        !self.failures().is_empty() && self.failures().iter().all(refused)
    }

    /// Why some store's server takes this account for no member of the grid, if one does.
    pub fn not_a_member(&self) -> Option<NotAMember> {
        self.failures().iter().find_map(|failure| match failure.code {
            Some(ErrorCode::NotAMember(reason)) => Some(reason),
            _ => None,
        })
    }

    /// Whether the account's quota is used up on some of those.
    pub fn is_over_quota(&self) -> bool {
        self.is_refusal() && self.failures().iter().any(|failure| failure.code == Some(ErrorCode::OverQuota))
    }
}

/// Why a change was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EditError<R> {
    /// The change itself did not want to be made, given what the slot holds.
    #[error("{0}")]
    Refused(R),
    /// The slot could not be changed, or nobody knows.
    #[error(transparent)]
    Slot(#[from] SlotError),
}
