//! Errors at the binary: a message, a hint, and a documented exit code.

mod trees;

use std::process::ExitCode;

use caps::CapParseError;
use client::recovery::RecoveryError;
use client::{AliasError, AliasNameError, ConfigError, DownloadError, PathError, UploadError};
use encoding::{AssembleError, ShareError};

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
pub(crate) struct Partly {
    /// How many.
    pub(crate) count: u64,
}

/// A share file is damaged.
#[derive(Debug, thiserror::Error)]
#[error("the share file is not intact")]
pub(crate) struct Damaged(#[source] pub(crate) ShareError);

/// Prints the error to stderr and says how to exit.
pub(crate) fn print(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    eprintln!("sarsen: {error:#}");
    for line in details(error) {
        eprintln!("  {line}");
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
    error.downcast_ref::<DownloadError>().is_some_and(|e| matches!(e, DownloadError::Sink(e) if is_pipe(e)))
        || error.chain().any(is_pipe)
}

/// What each server said.
fn details(error: &anyhow::Error) -> Vec<String> {
    if let Some(DownloadError::NotEnoughShares { servers, .. }) = error.downcast_ref() {
        return servers.iter().map(|answer| format!("{}: {}", answer.server.name(), answer.said)).collect();
    }
    if let Some(UploadError::NotHappy { failures, .. }) = error.downcast_ref() {
        return failures.iter().map(ToString::to_string).collect();
    }
    trees::details(error)
}

fn classify(error: &anyhow::Error) -> (Exit, Option<&'static str>) {
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        return (Exit::Interrupted, Some(interrupted.hint));
    }
    if error.is::<Partly>() {
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
    if error.downcast_ref::<CapParseError>().is_some() {
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

fn classify_upload(error: &UploadError) -> (Exit, Option<&'static str>) {
    match error {
        UploadError::NoServers => {
            (Exit::Retry, Some("is an introducer running? `sarsen status` shows what this client knows"))
        }
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
