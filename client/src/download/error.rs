//! Why a download failed, and what servers did on the way.

use std::io;
use std::sync::Mutex;

use encoding::{CapError, DecodeError, FileIndexError, SectionError};
use protocol::frame::FrameError;
use protocol::message::ErrorCode;
use protocol::session::RequestError;

use super::lock;
use crate::grid::Server;

/// What a server did that it should not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The server.
    pub server: Server,
    /// The share it was about, if one.
    pub number: Option<u16>,
    /// What it did.
    pub what: String,
    /// Whether it sent something that is not what it claims: a lie or a broken disk, as against being slow or away.
    pub corrupt: bool,
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.number {
            Some(number) => write!(f, "share {number} on {}: {}", self.server.name(), self.what),
            None => write!(f, "{}: {}", self.server.name(), self.what),
        }
    }
}

/// Whether a server that answered so sent what no honest one with a sound disk sends.
pub(crate) fn is_corrupt(error: &RequestError) -> bool {
    match error {
        RequestError::Refused(refused) => refused.code == ErrorCode::Corrupt,
        RequestError::Frame(error) => {
            matches!(error, FrameError::TooLong { .. } | FrameError::Malformed { .. } | FrameError::Unknown)
        }
        RequestError::Nonsense { .. } => true,
        _ => false,
    }
}

/// Notes a complaint, once.
pub(crate) fn complain(complaints: &Mutex<Vec<Complaint>>, complaint: Complaint) {
    let mut complaints = lock(complaints);
    if !complaints.contains(&complaint) {
        tracing::info!(%complaint, "a server failed us");
        complaints.push(complaint);
    }
}

/// What one server said when it was asked for shares.
#[derive(Clone, Debug)]
pub struct ServerAnswer {
    /// The server.
    pub server: Server,
    /// Its answer, or what went wrong.
    pub said: String,
    /// Whether it answered at all.
    pub answered: bool,
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// Fewer than k different shares could be had.
    #[error("{needed} different shares are needed, {found} can be had")]
    NotEnoughShares {
        /// k
        needed: u16,
        /// Different shares that could be had.
        found: u16,
        /// What each server said.
        servers: Vec<ServerAnswer>,
    },
    /// No server is known at all.
    #[error("no storage server is known")]
    NoServers,
    /// The cap reads nothing, or something this program cannot read yet.
    #[error("a {kind} capability cannot be read here")]
    NotReadable {
        /// Its kind.
        kind: &'static str,
    },
    /// The cap is a directory's, which is no sequence of bytes.
    #[error("a directory cannot be read as a file")]
    Directory,
    /// The object is a file's own bytes where a tree was expected.
    #[error("the object is not a tree")]
    NotATree,
    /// A tree object that is longer than any honest one.
    #[error("a tree object of {len} bytes is too long")]
    TreeTooLong {
        /// Bytes of its payload.
        len: u64,
    },
    /// Whoever made the tree sealed it wrongly.
    #[error("the tree cannot be opened")]
    Sections(#[from] SectionError),
    /// Whoever made the index of the file made it wrongly. No server is to blame.
    #[error(transparent)]
    Index(#[from] FileIndexError),
    /// The cap is not its object's: its key is wrong, or a field of it was altered.
    #[error(transparent)]
    Cap(#[from] CapError),
    /// The uploader encoded or encrypted wrongly. No server is to blame.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The range begins past the end of the file, or is empty.
    #[error("a range from byte {start} is not within a file of {size} bytes")]
    Range {
        /// Its first byte.
        start: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// What was fetched could not be written.
    #[error("the output cannot be written")]
    Sink(#[source] io::Error),
    /// A task of our own died.
    #[error("the download broke off; this is a defect of this program")]
    Internal,
}

impl DownloadError {
    /// Whether trying again later may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotEnoughShares { servers, .. } => servers.iter().any(|server| !server.answered),
            Self::NoServers => true,
            _ => false,
        }
    }
}
