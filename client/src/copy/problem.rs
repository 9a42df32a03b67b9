//! What goes wrong when trees are copied: what stops everything, and what costs one entry.

use std::path::PathBuf;

use crate::backup_db::BackupDbError;
use crate::filestore::{FileStoreError, Refusal};
use crate::local::scan::OpenError;
use crate::local::{RestoreError, ScanError, SkipReason};
use crate::slot::SlotError;
use crate::{DownloadError, UploadError};

/// The most problems that are listed; the rest is counted.
pub const MAX_PROBLEMS: usize = 10_000;

/// Why a copy of a tree ended early. What was done stays; nothing half-done is linked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The local tree cannot be read at all.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The local tree cannot be begun.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The grid fails.
    #[error("{path}")]
    Grid {
        /// What was being copied.
        path: PathBuf,
        /// Why.
        source: FileStoreError,
    },
    /// The memory of earlier backups fails.
    #[error(transparent)]
    Memory(#[from] BackupDbError),
    /// A directory that should be copied into may not be changed.
    #[error("{path} may not be changed with this cap")]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// A task of our own died.
    #[error("the copy broke off; this is a defect of this program")]
    Internal,
}

impl CopyError {
    pub(super) fn grid(path: impl Into<PathBuf>, source: impl Into<FileStoreError>) -> Self {
        Self::Grid { path: path.into(), source: source.into() }
    }

    /// Of something of the grid that cannot be had: whether the next one cannot be had either, so that there is no use in going on.
    pub(super) fn is_hopeless(error: &FileStoreError) -> bool {
        match error {
            FileStoreError::Upload(UploadError::NoServers | UploadError::NotHappy { .. })
            | FileStoreError::Download(DownloadError::NoServers)
            | FileStoreError::Slot(SlotError::NotHappy { .. } | SlotError::NotFound { asked: 0, .. }) => true,
            FileStoreError::Download(DownloadError::NotEnoughShares { servers, .. }) => {
                !servers.is_empty() && servers.iter().all(|server| !server.answered)
            }
            _ => false,
        }
    }
}

/// Why something was not copied, or not wholly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyProblem {
    /// It was left out when the local tree was walked.
    #[error(transparent)]
    Skipped(#[from] SkipReason),
    /// A local file could not be read.
    #[error(transparent)]
    Unreadable(#[from] OpenError),
    /// It changed while it was read; what was read is kept.
    #[error("it changed while it was read: what was read is kept")]
    Changed,
    /// It kept changing while it was read, and is left out.
    #[error("it changes all the time and is left out")]
    Changing,
    /// The directory refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A file and a directory have the same name.
    #[error("{what} of this name is in the way")]
    InTheWay {
        /// What is in the way.
        what: &'static str,
    },
    /// It cannot be read from the grid.
    #[error("it cannot be read: {0}")]
    Grid(#[source] FileStoreError),
    /// It lies in itself.
    #[error("it is a directory that it lies in")]
    Cycle,
    /// What it is is not known to this program.
    #[error("it is of a kind that this program does not know")]
    UnknownKind,
    /// It cannot be made on this machine.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// It was made, and something of it could not be put on.
    #[error(transparent)]
    Applied(#[from] crate::local::restore::Problem),
}

impl CopyProblem {
    /// Whether the thing itself was copied all the same.
    pub fn is_partial(&self) -> bool {
        match self {
            Self::Skipped(reason) => reason.is_partial(),
            Self::Changed | Self::Applied(_) => true,
            _ => false,
        }
    }
}

/// What went wrong in a copy that was otherwise made.
#[derive(Debug, Default)]
pub struct Problems {
    /// What, at most [`MAX_PROBLEMS`].
    pub list: Vec<(PathBuf, CopyProblem)>,
    /// How many more there are.
    pub more: u64,
}

impl Problems {
    /// Whether everything went well.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.more == 0
    }

    pub(super) fn add(&mut self, path: impl Into<PathBuf>, problem: impl Into<CopyProblem>) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push((path.into(), problem.into()));
        } else {
            self.more += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_server_answers_for_a_slot_the_next_one_is_not_tried() {
        let not_happy = SlotError::NotHappy { live: 2, wanted: 7, failures: Vec::new() };
        let not_found = |asked| SlotError::NotFound { asked, failures: Vec::new() };
        let is_hopeless = |error: SlotError| CopyError::is_hopeless(&error.into());
        assert!(is_hopeless(not_happy) && is_hopeless(not_found(0)));
        assert!(!is_hopeless(not_found(1)) && !is_hopeless(SlotError::Deleted));
    }
}
