//! Why an upload failed.

use std::collections::BTreeSet;
use std::io;

use encoding::{EncodeError, FileIndexError};
use protocol::frame::FrameError;
use protocol::membership::NotAMember;
use protocol::message::{ErrorCode, WireError};
use protocol::session::RequestError;
use protocol::transport::TransportError;

use crate::grid::Server;

/// Why one server did not take one share.
#[derive(Clone, Debug)]
pub struct ShareFailure {
    /// Share number.
    pub number: u16,
    /// The server.
    pub server: Server,
    /// What it said or did.
    pub reason: String,
    /// The kind of refusal, where it refused.
    pub code: Option<ErrorCode>,
}

impl std::fmt::Display for ShareFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "share {} on {}: {}", self.number, self.server.name(), self.reason)
    }
}

/// Why a file could not be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The file or stream could not be read.
    #[error("the input cannot be read")]
    Source(#[source] io::Error),
    /// The file kept changing while it was read.
    #[error("the file changes while it is read")]
    SourceChanged,
    /// No server is known at all.
    #[error("no storage server is known")]
    NoServers,
    /// Servers are known, and none of them is to get shares.
    #[error("none of the {known} servers that are known is certified by the grid's owner, or pinned")]
    NoneCounts {
        /// How many are known.
        known: usize,
    },
    /// Fewer servers than `shares_happy` hold a share of their own.
    #[error("{}", unhappy(*happiness, *wanted, failures))]
    NotHappy {
        /// Servers that do.
        happiness: usize,
        /// `shares_happy`.
        wanted: usize,
        /// What each server that failed said.
        failures: Vec<ShareFailure>,
    },
    /// What was encoded does not decode: this machine's memory or processor is at fault. Nothing was reported as stored.
    #[error("the encoded data does not decode on this machine: its memory or processor is faulty")]
    SelfCheck,
    /// The file is larger than an object may be.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The index of the file would be too deep.
    #[error(transparent)]
    Index(#[from] FileIndexError),
    /// A task of our own died.
    #[error("the upload broke off; this is a defect of this program")]
    Internal,
}

impl UploadError {
    /// Whether trying again later may help.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::NotHappy { .. } | Self::NoServers | Self::NoneCounts { .. } | Self::SourceChanged
        )
    }

    /// Whether every server that failed refused for want of authority or room.
    pub fn is_refusal(&self) -> bool {
        let Self::NotHappy { failures, .. } = self else { return false };
        let refused = |failure: &ShareFailure| {
            use ErrorCode::{NoSpace, NotAMember, NotAdmitted, OverQuota, ReadOnly};
            matches!(failure.code, Some(NotAdmitted | NotAMember(_) | NoSpace | OverQuota | ReadOnly))
        };
        !failures.is_empty() && failures.iter().all(refused)
    }

    /// Why some server takes this account for no member of the grid, if one does.
    pub fn not_a_member(&self) -> Option<NotAMember> {
        let Self::NotHappy { failures, .. } = self else { return None };
        failures.iter().find_map(|failure| match failure.code {
            Some(ErrorCode::NotAMember(reason)) => Some(reason),
            _ => None,
        })
    }

    /// Whether the account's quota is used up on some of the servers that refused.
    pub fn is_over_quota(&self) -> bool {
        let Self::NotHappy { failures, .. } = self else { return false };
        self.is_refusal() && failures.iter().any(|failure| failure.code == Some(ErrorCode::OverQuota))
    }
}

/// Says how many servers there are and how many it takes, and what kept the others. A server's own words, and its name, are in `failures`.
fn unhappy(happiness: usize, wanted: usize, failures: &[ShareFailure]) -> String {
    let are = if wanted == 1 { "is" } else { "are" };
    let holding = match happiness {
        0 => "no server holds a share".to_owned(),
        1 => "only 1 server holds a share of its own".to_owned(),
        _ => format!("only {happiness} servers hold a share of their own"),
    };
    let servers: BTreeSet<_> = failures.iter().map(|failure| failure.server.id).collect();
    let refused = |failure: &&ShareFailure| failure.code.is_some();
    let refusing: BTreeSet<_> = failures.iter().filter(refused).map(|failure| failure.server.id).collect();
    let why = match (servers.len(), refusing.len()) {
        (0, _) => String::new(),
        (failed, 0) => format!(" ({failed} cannot be reached, or broke off)"),
        (failed, refused) if failed == refused => format!(" ({failed} refused)"),
        (failed, refused) => {
            format!(" ({refused} refused, {} cannot be reached, or broke off)", failed - refused)
        }
    };
    format!("{holding}, {wanted} {are} wanted{why}")
}

/// Why a share is not on a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The request failed.
    #[error(transparent)]
    Request(std::sync::Arc<RequestError>),
    /// The server committed something else than was sent.
    #[error("it stored something else than was sent")]
    WrongHash,
    /// The server went on from what an earlier upload left there, and that was damaged: it is gone now.
    #[error("what an earlier upload left there was damaged")]
    DamagedPartial,
    /// The server gave way to another sender of the same share, since nothing was heard of this one.
    #[error("another sends the same share")]
    MadeWay,
    /// The server claims to hold the share and cannot prove it.
    #[error("it claims to hold the share and cannot prove it")]
    BadProof,
    /// The server takes bytes so slowly that it holds up the others.
    #[error("it takes data too slowly")]
    TooSlow,
    /// The server said nothing while others took their shares.
    #[error("it does not answer")]
    Silent,
    /// There is no connection to the server yet, while others took their shares.
    #[error("it cannot be reached")]
    Unreachable,
    /// The upload ended before the share did.
    #[error("the upload ended early")]
    Abandoned,
    /// The input could not be read again for a replacement.
    #[error("the input cannot be read again")]
    Source,
}

impl From<RequestError> for SendError {
    fn from(error: RequestError) -> Self {
        Self::Request(error.into())
    }
}

impl From<TransportError> for SendError {
    fn from(error: TransportError) -> Self {
        RequestError::from(error).into()
    }
}

impl SendError {
    /// Whether the same server may well take the share when it is offered again: it gave up only this stream, as it does when the same
    /// upload comes in twice, or only what was left of an earlier one was bad.
    pub(crate) fn is_worth_another_try(&self) -> bool {
        let request = match self {
            Self::DamagedPartial | Self::MadeWay => return true,
            Self::Request(request) => &**request,
            _ => return false,
        };
        match request {
            RequestError::Transport(TransportError::Stopped) => true,
            RequestError::Frame(FrameError::Io(error)) => error.kind() == io::ErrorKind::ConnectionReset,
            _ => false,
        }
    }

    /// The refusal, where the server refused.
    fn refusal(&self) -> Option<&WireError> {
        let Self::Request(request) = self else { return None };
        match &**request {
            RequestError::Refused(error) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn code(&self) -> Option<ErrorCode> {
        self.refusal().map(|error| error.code)
    }

    /// Whether the server is to be avoided for a while: it did not answer, or not as it should. A refusal is none of that.
    pub(crate) fn is_blameworthy(&self) -> bool {
        match self {
            Self::Request(_) => self.refusal().is_none(),
            Self::TooSlow | Self::Silent | Self::Unreachable | Self::WrongHash => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::NodeId;

    use super::*;

    #[test]
    fn too_few_servers_are_counted_and_what_kept_them_is_said() {
        let failure = |number: u16, code| ShareFailure {
            number,
            server: Server::unknown(NodeId::new([number as u8 / 2; 32])),
            reason: "secret of theirs".into(),
            code,
        };
        let said = |happiness, failures: &[ShareFailure]| {
            UploadError::NotHappy { happiness, wanted: 7, failures: failures.to_vec() }.to_string()
        };
        assert_eq!(said(0, &[]), "no server holds a share, 7 are wanted");
        let silent = [failure(0, None), failure(1, None), failure(2, None)];
        assert_eq!(
            said(1, &silent),
            "only 1 server holds a share of its own, 7 are wanted (2 cannot be reached, or broke off)"
        );
        let full = [failure(4, Some(ErrorCode::NoSpace))];
        assert_eq!(said(2, &full), "only 2 servers hold a share of their own, 7 are wanted (1 refused)");
        let both = [&silent[..], &full].concat();
        assert!(said(2, &both).ends_with("(1 refused, 2 cannot be reached, or broke off)"));
    }
}
