//! Errors of the file store, and of the verbs that move whole trees.

use client::backup_db::BackupDbError;
use client::copy::CopyError;
use client::filestore::{FileStoreError, Refusal};
use client::local::ExcludeError;
use client::slot::SlotError;
use client::{DownloadError, UploadError};

use super::{Exit, classify_download, classify_upload};

type Class = (Exit, Option<&'static str>);

/// How such an error is told, if it is one.
pub(super) fn classify(error: &anyhow::Error) -> Option<Class> {
    if let Some(error) = error.downcast_ref::<CopyError>() {
        return Some(classify_copy(error));
    }
    if let Some(error) = error.downcast_ref::<FileStoreError>() {
        return Some(classify_filestore(error));
    }
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return Some(classify_refusal(refusal));
    }
    if let Some(error) = error.downcast_ref::<BackupDbError>() {
        return Some(classify_memory(error));
    }
    error.is::<ExcludeError>().then_some((Exit::Usage, None))
}

/// What each server said.
pub(super) fn details(error: &anyhow::Error) -> Vec<String> {
    let nested = match error.downcast_ref::<CopyError>() {
        Some(CopyError::Grid { source, .. }) => Some(source),
        _ => error.downcast_ref::<FileStoreError>(),
    };
    match nested {
        Some(FileStoreError::Upload(UploadError::NotHappy { failures, .. })) => {
            failures.iter().map(ToString::to_string).collect()
        }
        Some(FileStoreError::Download(DownloadError::NotEnoughShares { servers, .. })) => {
            servers.iter().map(|answer| format!("{}: {}", answer.server.name(), answer.said)).collect()
        }
        Some(FileStoreError::Slot(error)) => error.failures().iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

fn classify_copy(error: &CopyError) -> Class {
    match error {
        CopyError::Grid { source, .. } => classify_filestore(source),
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

fn classify_filestore(error: &FileStoreError) -> Class {
    match error {
        FileStoreError::Upload(error) => classify_upload(error),
        FileStoreError::Download(error) => classify_download(error),
        FileStoreError::Slot(error) => classify_slot(error),
        FileStoreError::Refused(refusal) => classify_refusal(refusal),
        FileStoreError::NoEntry { .. } => (Exit::NotFound, None),
        FileStoreError::NotADirectory { .. }
        | FileStoreError::IsADirectory { .. }
        | FileStoreError::Name(_) => (Exit::Usage, None),
        FileStoreError::ReadOnly { .. } | FileStoreError::NotReadable { .. } => {
            (Exit::Refused, Some("`sarsen cap show` says what a capability lets you do"))
        }
        FileStoreError::Directory(_)
        | FileStoreError::Tree(_)
        | FileStoreError::Seal(_)
        | FileStoreError::Sealed(_) => (
            Exit::Unrecoverable,
            Some(
                "whoever wrote the directory wrote it wrongly, or the cap is not its own; no server can help",
            ),
        ),
        _ => (Exit::Error, None),
    }
}

fn classify_refusal(refusal: &Refusal) -> Class {
    match refusal {
        Refusal::NoEntry { .. } => (Exit::NotFound, None),
        _ => (Exit::Error, None),
    }
}

fn classify_slot(error: &SlotError) -> Class {
    match error {
        SlotError::NotFound { failures, .. } if failures.is_empty() => {
            (Exit::NotFound, Some("every server answered and none has it; is this the right grid?"))
        }
        SlotError::NotFound { .. }
        | SlotError::TooFew { .. }
        | SlotError::Contention { .. }
        | SlotError::NotHappy { .. } => {
            (Exit::Retry, Some("too few servers could be reached; try again when they are back"))
        }
        SlotError::Unknown { .. } => {
            (Exit::Retry, Some("look whether the change was made before you make it again"))
        }
        SlotError::Deleted => (Exit::NotFound, None),
        _ => (Exit::Error, None),
    }
}
