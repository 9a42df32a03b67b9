//! Errors at the binary: a message, a hint, and a documented exit code.

mod filestore;
mod trees;

use std::process::ExitCode;

use caps::CapParseError;
use client::filestore::FileStoreError;
use client::recovery::RecoveryError;
use client::slot::SlotError;
use client::{AliasError, AliasNameError, ConfigError, DownloadError, PathError, UploadError};
use encoding::{AssembleError, ShareError};

use crate::cmd::long::without_controls;
use crate::cmd::mv::IntoItself;
use crate::cmd::slot::NoSlot;
use crate::cmd::target::NoName;

/// The documented exit codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    Error = 1,
    Usage = 2,
    Partly = 3,
    NotFound = 4,
    Retry = 5,
    Refused = 6,
    Unhealthy = 7,
    Unrecoverable = 8,
    Interrupted = 130,
}

/// The user pressed Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted {
    /// How to go on.
    pub(crate) hint: &'static str,
}

/// Some of it could not be done; what, was said before.
#[derive(Debug, thiserror::Error)]
#[error("{count} things went wrong, the rest is done")]
pub(crate) struct LeftOut {
    /// How many.
    pub(crate) count: u64,
}

/// A share file is damaged.
#[derive(Debug, thiserror::Error)]
#[error("the share file is not intact")]
pub(crate) struct Damaged(#[source] pub(crate) ShareError);

/// The command line says something that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) &'static str);

/// Some of it was done, and what was not has been said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Partly(pub(crate) &'static str);

/// What was compared differs, which has been said.
#[derive(Debug, thiserror::Error)]
#[error("they differ")]
pub(crate) struct Differs;

/// Says what went wrong with one thing of many.
pub(crate) fn tell(error: &anyhow::Error) {
    eprintln!("sarsen: {}", without_controls(&format!("{error:#}")));
}

/// The same, of a path.
pub(crate) fn tell_of(path: &str, error: &dyn std::error::Error) {
    eprintln!("sarsen: {}", without_controls(&format!("{path}: {error}")));
}

/// Prints the error to stderr and says how to exit.
pub(crate) fn print(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    if error.is::<Differs>() {
        return ExitCode::from(Exit::Error as u8);
    }
    tell(error);
    for line in details(error) {
        eprintln!("  {}", without_controls(&line));
    }
    let (exit, hint) = classify(error);
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(exit as u8)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |e: &(dyn std::error::Error + 'static)| {
        e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    };
    let download = match error.downcast_ref() {
        Some(FileStoreError::Download(error)) => Some(error),
        _ => error.downcast_ref::<DownloadError>(),
    };
    download.is_some_and(|e| matches!(e, DownloadError::Sink(e) if is_pipe(e))) || error.chain().any(is_pipe)
}

/// What each server said.
fn details(error: &anyhow::Error) -> Vec<String> {
    if let Some(error) = error.downcast_ref() {
        return trees::details(error);
    }
    if let Some(error) = error.downcast_ref() {
        return filestore::details(error);
    }
    if let Some(error) = error.downcast_ref() {
        return filestore::slot_details(error);
    }
    if let Some(error) = error.downcast_ref() {
        return download_details(error);
    }
    error.downcast_ref().map(upload_details).unwrap_or_default()
}

fn download_details(error: &DownloadError) -> Vec<String> {
    match error {
        DownloadError::NotEnoughShares { servers, .. } => {
            servers.iter().map(|answer| format!("{}: {}", answer.server.name(), answer.said)).collect()
        }
        _ => Vec::new(),
    }
}

fn upload_details(error: &UploadError) -> Vec<String> {
    match error {
        UploadError::NotHappy { failures, .. } => failures.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

fn classify(error: &anyhow::Error) -> (Exit, Option<&'static str>) {
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        return (Exit::Interrupted, Some(interrupted.hint));
    }
    if error.is::<LeftOut>() {
        return (Exit::Partly, None);
    }
    if let Some(class) = trees::classify(error) {
        return class;
    }
    if let Some(error) = error.downcast_ref::<UploadError>() {
        return classify_upload(error);
    }
    if let Some(error) = error.downcast_ref::<DownloadError>() {
        return classify_download(error);
    }
    if let Some(error) = error.downcast_ref::<FileStoreError>() {
        return filestore::classify(error);
    }
    if let Some(error) = error.downcast_ref::<SlotError>() {
        return filestore::classify_slot(error);
    }
    if let Some(class) = classify_ours(error) {
        return class;
    }
    if error.is::<CapParseError>() || matches!(error.downcast_ref(), Some(PathError::Cap(_))) {
        return (
            Exit::Usage,
            Some("a capability is one line that begins with URI:; was it cut when it was copied?"),
        );
    }
    if error.downcast_ref::<Damaged>().is_some() {
        return (Exit::Unhealthy, Some("any other k shares of the file still give it back"));
    }
    match error.downcast_ref::<AssembleError>() {
        Some(AssembleError::NotEnoughShares { .. }) => {
            return (
                Exit::Unrecoverable,
                Some("`sarsen share show FILE` says what a share file is and whether it is intact"),
            );
        }
        Some(AssembleError::Cap(_) | AssembleError::Sealed(_)) => {
            return (Exit::Refused, Some("is this the cap of another file?"));
        }
        _ => {}
    }
    if let Some(error) = error.downcast_ref::<RecoveryError>() {
        return classify_recovery(error);
    }
    if let Some(error) = error.downcast_ref::<AliasError>() {
        return classify_alias(error);
    }
    if error.is::<PathError>() || error.is::<AliasNameError>() {
        return (
            Exit::Usage,
            Some("a path on the grid is ALIAS:a/b, CAP/a/b, or a/b below the default alias"),
        );
    }
    classify_config(error.downcast_ref())
}

/// Errors of the command itself.
fn classify_ours(error: &anyhow::Error) -> Option<(Exit, Option<&'static str>)> {
    if error.is::<Partly>() {
        return Some((Exit::Partly, Some("the same command may be given again")));
    }
    if error.is::<Usage>() {
        return Some((Exit::Usage, Some("`--help` says what is meant")));
    }
    if error.is::<NoName>() {
        return Some((Exit::Usage, Some("name something below it, as in ALIAS:a/b")));
    }
    if error.is::<NoSlot>() {
        return Some((Exit::Usage, Some("directories and mutable files have slots")));
    }
    error.is::<IntoItself>().then_some((Exit::Error, Some("it would be reachable from nowhere else")))
}

fn classify_config(error: Option<&ConfigError>) -> (Exit, Option<&'static str>) {
    match error {
        Some(ConfigError::Missing { .. }) => (
            Exit::Error,
            Some("make one with `sarsen init --introducer URL`, or name another with --dir or SARSEN_DIR"),
        ),
        Some(ConfigError::Shares { .. } | ConfigError::SharesForm { .. }) => (Exit::Usage, None),
        _ => (Exit::Error, None),
    }
}

fn classify_alias(error: &AliasError) -> (Exit, Option<&'static str>) {
    match error {
        AliasError::Name(_) => (Exit::Usage, None),
        AliasError::Unknown { .. } => (Exit::NotFound, Some("`sarsen alias list` shows all of them")),
        AliasError::NoDefault => {
            (Exit::NotFound, Some("name an alias, as in ALIAS:a/b; `sarsen alias list` shows all of them"))
        }
        AliasError::NotADirectory { .. } => {
            (Exit::Usage, Some("`sarsen cap show` says what a capability is for"))
        }
        AliasError::NotReadable { .. } | AliasError::UnknownKind => {
            (Exit::Refused, Some("`sarsen cap show` says what a capability lets you do"))
        }
        AliasError::Busy => (Exit::Retry, None),
        AliasError::Exists { .. } => {
            (Exit::Error, Some("`sarsen alias rename` or `sarsen alias remove` makes room for it"))
        }
        AliasError::Damaged { .. } => {
            (Exit::Error, Some("`sarsen alias remove` takes the line away; `private/aliases` may be edited"))
        }
        _ => (Exit::Error, None),
    }
}

fn classify_recovery(error: &RecoveryError) -> (Exit, Option<&'static str>) {
    match error {
        RecoveryError::WrongPassphrase => (Exit::Refused, Some("nothing was changed; try again")),
        RecoveryError::EmptyPassphrase | RecoveryError::PassphraseNotText => (Exit::Usage, None),
        RecoveryError::Damaged => {
            (Exit::Unhealthy, Some("another copy of the file may be whole; no part of this one can be used"))
        }
        RecoveryError::NotARecoveryFile => {
            (Exit::Usage, Some("`sarsen recovery export` makes recovery files"))
        }
        RecoveryError::Newer { .. } => (Exit::Error, Some("use a newer version of this program")),
        RecoveryError::NotEmpty { .. } | RecoveryError::Config(ConfigError::Exists { .. }) => {
            (Exit::Error, Some("name a directory that does not exist yet with --dir or SARSEN_DIR"))
        }
        RecoveryError::Config(error) => classify_config(Some(error)),
        RecoveryError::Alias(error) => classify_alias(error),
        _ => (Exit::Error, None),
    }
}

const OVER_QUOTA: &str =
    "this account has used up its quota there; `sarsen usage` shows how much it may store, and where";

fn classify_upload(error: &UploadError) -> (Exit, Option<&'static str>) {
    match error {
        UploadError::NoServers => {
            (Exit::Retry, Some("is an introducer running? `sarsen status` shows what this client knows"))
        }
        UploadError::NotHappy { .. } if error.is_over_quota() => (Exit::Refused, Some(OVER_QUOTA)),
        UploadError::NotHappy { .. } if error.is_refusal() => {
            (Exit::Refused, Some("the servers refuse; ask their owners for room or admission"))
        }
        UploadError::NotHappy { .. } => (
            Exit::Retry,
            Some(
                "put the same file again to go on where it stopped; `sarsen init --shares` sets how many servers are wanted",
            ),
        ),
        UploadError::SourceChanged => (Exit::Retry, Some("put a copy that nobody writes to")),
        _ => (Exit::Error, None),
    }
}

fn classify_download(error: &DownloadError) -> (Exit, Option<&'static str>) {
    match error {
        DownloadError::NoServers => {
            (Exit::Retry, Some("is an introducer running? `sarsen status` shows what this client knows"))
        }
        DownloadError::NotEnoughShares { .. } if error.is_retryable() => {
            (Exit::Retry, Some("some servers did not answer; try again when they are back"))
        }
        DownloadError::NotEnoughShares { found: 0, .. } => (
            Exit::NotFound,
            Some("every server answered and none has a share of it; is this the right grid?"),
        ),
        DownloadError::NotEnoughShares { .. } => {
            (Exit::Unrecoverable, Some("every server answered and too few shares are left"))
        }
        DownloadError::NotReadable { .. } => {
            (Exit::Refused, Some("`sarsen cap show` says what a capability lets you do"))
        }
        DownloadError::Cap(_) => {
            (Exit::Refused, Some("the capability is damaged or forged; get it again from whoever gave it"))
        }
        DownloadError::Decode(_) => {
            (Exit::Unrecoverable, Some("whoever uploaded the file encoded it wrongly; no server can help"))
        }
        DownloadError::Index(_)
        | DownloadError::Sections(_)
        | DownloadError::NotATree
        | DownloadError::TreeTooLong { .. } => (
            Exit::Unrecoverable,
            Some("whoever uploaded the file made its index wrongly; no server can help"),
        ),
        DownloadError::Directory => (Exit::Usage, None),
        DownloadError::Range { .. } => (Exit::Usage, None),
        _ => (Exit::Error, None),
    }
}
