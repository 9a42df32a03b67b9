//! What the file store's errors mean for whoever typed the command.

use client::PatchError;
use client::filestore::{FileStoreError, Refusal};
use client::slot::SlotError;
use encoding::directory::DirectoryError;

use super::{Exit, classify_download, classify_upload};

type Class = (Exit, Option<&'static str>);

const FORGED: &str = "whoever may write it wrote something wrong into it; no server can help";

/// What became of each member of a slot.
pub(super) fn details(error: &FileStoreError) -> Vec<String> {
    match error {
        FileStoreError::Slot(error) => slot_details(error),
        FileStoreError::Download(error) => super::download_details(error),
        FileStoreError::Upload(error) => super::upload_details(error),
        FileStoreError::Patch(PatchError::Download(error)) => super::download_details(error),
        FileStoreError::Patch(PatchError::Upload(error)) => super::upload_details(error),
        _ => Vec::new(),
    }
}

pub(super) fn slot_details(error: &SlotError) -> Vec<String> {
    if let SlotError::RolledBack { stores } = error {
        let line = |store: &client::slot::Forgetful| {
            format!(
                "store {} acknowledged change {} of epoch {}, and shows change {} of epoch {}",
                store.store,
                store.acknowledged.counter,
                store.acknowledged.epoch,
                store.shows.counter,
                store.shows.epoch
            )
        };
        return stores.iter().map(line).collect();
    }
    error.failures().iter().map(ToString::to_string).collect()
}

pub(super) fn classify(error: &FileStoreError) -> Class {
    match error {
        FileStoreError::Slot(error) => classify_slot(error),
        FileStoreError::Download(error) => classify_download(error),
        FileStoreError::Upload(error) => classify_upload(error),
        FileStoreError::Patch(PatchError::Download(error)) => classify_download(error),
        FileStoreError::Patch(PatchError::Upload(error)) => classify_upload(error),
        FileStoreError::Patch(PatchError::OutOfRange { .. }) | FileStoreError::TooFar { .. } => {
            (Exit::Usage, None)
        }
        FileStoreError::Directory(DirectoryError::NotADirectory | DirectoryError::NotAFile) => {
            (Exit::Refused, Some("the capability says otherwise: it is forged"))
        }
        FileStoreError::Directory(_) | FileStoreError::Tree(_) => (Exit::Unrecoverable, Some(FORGED)),
        FileStoreError::Seal(_) => (Exit::Refused, Some(FORGED)),
        FileStoreError::Entry(_) => (Exit::Refused, Some("`sarsen cap show` says what a capability is for")),
        FileStoreError::Name(_) => {
            (Exit::Usage, Some("a name has 1 to 255 bytes of UTF-8, no slash and no NUL, and is not . or .."))
        }
        FileStoreError::Refused(refusal) => classify_refusal(refusal),
        FileStoreError::NoEntry { .. } => (Exit::NotFound, Some("`sarsen ls` shows what is there")),
        FileStoreError::NotADirectory { .. } => (
            Exit::Error,
            Some("only directories have anything below them; `sarsen ls -l` shows what is what"),
        ),
        FileStoreError::IsADirectory { .. } => {
            (Exit::Error, Some("`sarsen ls` lists a directory, `sarsen cp -r` copies it"))
        }
        FileStoreError::ReadOnly { .. } => {
            (Exit::Refused, Some("`sarsen cap show` says what a capability lets you do"))
        }
        FileStoreError::NotReadable { .. } => {
            (Exit::Refused, Some("`sarsen cap show` says what a capability lets you do"))
        }
        FileStoreError::Round { .. } | FileStoreError::GivenUp => {
            (Exit::Retry, Some("try again: a change that was made already is not made twice"))
        }
        _ => (Exit::Error, None),
    }
}

fn classify_refusal(refusal: &Refusal) -> Class {
    match refusal {
        Refusal::NoEntry { .. } => (Exit::NotFound, Some("`sarsen ls` shows what is there")),
        Refusal::IsDirectory { .. } => (
            Exit::Error,
            Some("end the path with / to put it into that directory, or remove the directory first"),
        ),
        Refusal::Exists { .. } | Refusal::IsFile { .. } => {
            (Exit::Error, Some("give it another name, or remove what is there first"))
        }
        Refusal::Replaced { .. } => (Exit::Error, Some("look again: nothing of theirs was undone")),
        Refusal::Entry { .. } => (Exit::Refused, Some("`sarsen cap show` says what a capability is for")),
        _ => (Exit::Error, None),
    }
}

pub(super) fn classify_slot(error: &SlotError) -> Class {
    match error {
        SlotError::TooFew { .. } | SlotError::Unknown { .. } | SlotError::NotHappy { .. }
            if error.is_over_quota() =>
        {
            (Exit::Refused, Some(super::OVER_QUOTA))
        }
        SlotError::TooFew { .. } | SlotError::Unknown { .. } | SlotError::NotHappy { .. }
            if error.is_refusal() && error.not_a_member().is_some() =>
        {
            (Exit::Refused, error.not_a_member().map(super::members::not_a_member))
        }
        // Where as many did not answer as did, those may be the ones that have it.
        SlotError::NotFound { asked, failures } if *asked > failures.len() => (
            Exit::NotFound,
            Some("no server that answers knows it: is this the right grid, and the whole capability?"),
        ),
        SlotError::NotFound { .. } => {
            (Exit::Retry, Some("some servers did not answer; try again when they are back"))
        }
        SlotError::TooFew { .. } => (
            Exit::Retry,
            Some(
                "nothing was changed; try again when more servers are back. `sarsen slot restore` shows who holds it",
            ),
        ),
        SlotError::Unknown { .. } => (
            Exit::Retry,
            Some("a retry is safe: a change that was made already is found, and not made twice"),
        ),
        SlotError::Contention { .. } => (Exit::Retry, Some("nothing was changed; try again in a moment")),
        SlotError::Deleted => {
            (Exit::NotFound, Some("what is deleted stays deleted; `sarsen rm` takes the link away"))
        }
        SlotError::Sealed(_) => (Exit::Refused, Some("the capability is damaged or forged")),
        SlotError::NotHappy { live: 0, failures, .. } if failures.is_empty() => {
            (Exit::Retry, Some(super::NO_SERVERS))
        }
        SlotError::NotHappy { .. } => (Exit::Retry, Some(super::HOW_MANY)),
        SlotError::RolledBack { .. } => (
            Exit::Unhealthy,
            Some(
                "these stores forgot: were they restored from an old copy? If the others that have it do not come back, `sarsen slot members \
                 --force` goes on from what is left",
            ),
        ),
        SlotError::Members { .. } => (Exit::Error, None),
        _ => (Exit::Error, None),
    }
}
