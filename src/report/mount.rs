//! What a mount could not do.

use std::path::PathBuf;

use super::Exit;
use crate::sizes::plural;

/// Why the end of a mount was not a good one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountError {
    /// The journal has what the grid did not take.
    #[error("{} not on the grid yet", plural(*changes, "change"))]
    Owed { changes: u64 },
    /// Nor could the journal be written.
    #[error("{} neither on the grid nor in the journal, which cannot be written", plural(*changes, "change"))]
    Lost { changes: u64 },
    /// By this client, and to be seen.
    #[error("this client has it mounted on {} already (process {process})", at.display())]
    Mounted { at: PathBuf, process: String },
    /// The mount before this one has not ended.
    #[error("the mount before (process {process}) is still sending what was written")]
    Ending { process: String },
    #[error("nothing is mounted on {}", at.display())]
    NotMounted { at: PathBuf },
    #[error("what is mounted on {} is not sarsen's, but {kind}", at.display())]
    NotOurs { at: PathBuf, kind: String },
    #[error("the mount's option {word} {wants}")]
    Option { word: String, wants: &'static str },
    /// It was killed, or fell.
    #[error("the mount ended without a word: what it had not sent is in its journal")]
    Died,
}

const AGAIN: &str = "nothing is lost: the next `sarsen mount` of the same directory by this client sends the rest; `sarsen status` shows which servers answer";

/// How such an error is told, if it is one.
pub(super) fn classify(error: &anyhow::Error) -> Option<(Exit, Option<&'static str>)> {
    Some(match error.downcast_ref::<MountError>()? {
        MountError::Lost { .. } => (Exit::Error, Some("is the disk with the client's directory full?")),
        MountError::Mounted { .. } => (
            Exit::Error,
            Some(
                "one client mounts a directory to be written once; `-o ro`, a directory below it and other clients may be beside it",
            ),
        ),
        MountError::Ending { .. } => (
            Exit::Retry,
            Some("`sarsen umount` of where it was waits for it; `sarsen status` shows which servers answer"),
        ),
        MountError::Option { .. } => {
            (Exit::Usage, Some("docs/mount.md has a table of them, and `sarsen mount --help` a list"))
        }
        MountError::NotMounted { .. } => (Exit::NotFound, None),
        MountError::NotOurs { .. } => (Exit::Error, Some("`umount` takes it away")),
        MountError::Owed { .. } | MountError::Died => (Exit::Retry, Some(AGAIN)),
    })
}
