//! Errors of the verbs that move whole trees.

use client::backup_db::BackupDbError;
use client::copy::CopyError;
use client::letting_go::LetGoError;
use client::local::ExcludeError;

use super::{Exit, filestore};

type Class = (Exit, Option<&'static str>);

/// How such an error is told, if it is one.
pub(super) fn classify(error: &anyhow::Error) -> Option<Class> {
    if let Some(error) = error.downcast_ref::<CopyError>() {
        return Some(classify_copy(error));
    }
    if let Some(error) = error.downcast_ref::<BackupDbError>() {
        return Some(classify_memory(error));
    }
    error.is::<ExcludeError>().then_some((Exit::Usage, None))
}

/// What each server said.
pub(super) fn details(error: &CopyError) -> Vec<String> {
    match error {
        CopyError::Grid { source, .. } => filestore::details(source),
        _ => Vec::new(),
    }
}

fn classify_copy(error: &CopyError) -> Class {
    match error {
        CopyError::Grid { source, .. } => filestore::classify(source),
        CopyError::Memory(error) => classify_memory(error),
        CopyError::ReadOnly { .. } => {
            (Exit::Refused, Some("`sarsen cap show` says what a capability lets you do"))
        }
        _ => (Exit::Error, None),
    }
}

fn classify_memory(error: &BackupDbError) -> Class {
    match error {
        BackupDbError::Busy => (Exit::Retry, Some("wait until the other backup of this client is done")),
        BackupDbError::Damaged { .. } => {
            (Exit::Error, Some("delete the file: the next backup then reads everything again, and goes on"))
        }
        _ => (Exit::Error, None),
    }
}

/// Where nothing was let go.
pub(super) fn classify_let_go(error: &LetGoError) -> Class {
    match error {
        LetGoError::Incomplete { retryable: true, .. } => (
            Exit::Retry,
            Some("nothing was let go; try again when the servers are back, or take the link away"),
        ),
        LetGoError::Incomplete { .. } => {
            (Exit::Partly, Some("nothing was let go; `sarsen rm` takes away a link to what cannot be walked"))
        }
        LetGoError::Changing => (Exit::Retry, Some("nothing was let go; try again when less is going on")),
        LetGoError::Memory(error) => classify_memory(error),
        _ => (Exit::Error, None),
    }
}
