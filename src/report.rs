//! Errors at the binary: a message, a hint, and a documented exit code.

mod agent;
mod filestore;
mod gateway;
mod members;
mod mount;
mod trees;

use std::borrow::Cow;
use std::path::Path;
use std::process::ExitCode;

use caps::CapParseError;
use client::filestore::FileStoreError;
use client::letting_go::LetGoError;
use client::recovery::RecoveryError;
use client::slot::SlotError;
use client::{AliasError, AliasNameError, ClientDir, ConfigError, DownloadError, PathError, UploadError};
use encoding::{AssembleError, ShareError};
use protocol::message::ErrorCode;
use storage_server::node::NodeError;

pub(crate) use agent::Unchecked;
pub(crate) use gateway::GatewayError;
pub(crate) use members::Unpublished;
pub(crate) use mount::MountError;

use crate::cmd::forget::NoSuchServer;
use crate::cmd::long::{escaped, without_controls};
use crate::cmd::mv::IntoItself;
use crate::cmd::slot::NoSlot;
use crate::cmd::target::{Misread, MisreadError, NoName, NotThere, Of};

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
    Repaired = 9,
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
#[error("{count} {} went wrong, the rest is done", if *count == 1 { "thing" } else { "things" })]
pub(crate) struct LeftOut {
    /// How many.
    pub(crate) count: u64,
}

/// A share file is damaged.
#[derive(Debug, thiserror::Error)]
#[error("the share file is not intact")]
pub(crate) struct Damaged(#[source] pub(crate) ShareError);

/// Shares of a server are bad, which has been said.
#[derive(Debug, thiserror::Error)]
#[error("{count} bad {} found", if *count == 1 { "share was" } else { "shares were" })]
pub(crate) struct BadShares {
    /// How many.
    pub(crate) count: usize,
}

/// The command line says something that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) &'static str);

/// Some of it was done, and what was not has been said.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Partly {
    /// What was not.
    pub(crate) what: &'static str,
    /// Whether the same command can do the rest.
    pub(crate) again: bool,
}

impl Partly {
    /// Of what was to be read.
    pub(crate) const UNREAD: Self = Self { what: "some of it could not be read", again: true };
}

/// No server answers, which has been shown.
#[derive(Debug, thiserror::Error)]
#[error("{}", if *known == 0 { "no server is known" } else { "no server answers" })]
pub(crate) struct NoneAnswers {
    /// How many are known.
    pub(crate) known: usize,
}

/// The servers refuse to lease anything to this account.
#[derive(Debug, thiserror::Error)]
#[error("nothing was renewed: the servers refuse this account ({code})")]
pub(crate) struct NotLeased {
    /// Why.
    pub(crate) code: ErrorCode,
}

/// What was compared differs, which has been said.
#[derive(Debug, thiserror::Error)]
#[error("they differ")]
pub(crate) struct Differs;

/// What a check came to, where all is not healthy and was not before. What it found, was said.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Verdict {
    #[error("too little is left of something: it cannot be read")]
    Unrecoverable,
    #[error("something is missing, and can still be read")]
    Unhealthy,
    #[error("something is missing still, and can be read")]
    StillUnhealthy,
    #[error("not all of it could be checked")]
    NotAll,
    #[error("not all leases could be renewed")]
    NotAllRenewed,
    #[error("what was missing was brought back")]
    Repaired,
}

impl Verdict {
    fn classify(self) -> (Exit, Option<&'static str>) {
        match self {
            Self::Unrecoverable => (
                Exit::Unrecoverable,
                Some("servers that are away may still hold it: check again when they are back"),
            ),
            Self::Unhealthy => (Exit::Unhealthy, Some("`--repair` makes missing shares anew")),
            Self::StillUnhealthy => (
                Exit::Unhealthy,
                Some(
                    "what is left wants another server (`sarsen status` shows which take shares) or, for members of directories, a cap that writes",
                ),
            ),
            Self::NotAll => (
                Exit::Partly,
                Some(
                    "a verify cap shows a directory's root only; a repair cap (`sarsen cap repair`) all of it",
                ),
            ),
            Self::NotAllRenewed => (
                Exit::Partly,
                Some(
                    "`sarsen status` shows which servers are away, and whether this client is a member; give the same command again when they are back",
                ),
            ),
            Self::Repaired => (Exit::Repaired, None),
        }
    }
}

/// Says what went wrong with one thing of many.
pub(crate) fn tell(error: &anyhow::Error) {
    eprintln!("sarsen: {}", without_controls(&format!("{error:#}")));
}

/// The same, of a path.
pub(crate) fn tell_of(path: &str, error: &dyn std::error::Error) {
    eprintln!("sarsen: {}: {}", escaped(path), without_controls(&error.to_string()));
}

const NO_SERVERS: &str = "is an introducer running? `sarsen status` shows what this client knows";
const NONE_COUNTS: &str = "`sarsen status` shows which servers the owner certified; `owner` and `pinned` in SETTINGS say which count";
const NO_INTRODUCER: &str =
    "no introducer is set in SETTINGS: give `introducers` the line that is in the introducer.url of one";
/// What stands in hints for the path of the client's settings.
const SETTINGS: &str = "SETTINGS";
const HOW_MANY: &str =
    "`sarsen status` shows which servers answer; `[shares]` in SETTINGS sets how many are wanted";

/// Prints the error to stderr and says how to exit. `home` is the client's directory.
pub(crate) fn print(error: &anyhow::Error, home: Option<&Path>) -> ExitCode {
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
    let hint = hint.map(|hint| if hint == NO_SERVERS && is_alone(home) { NO_INTRODUCER } else { hint });
    if let Some(hint) = own_hint(error).or(hint.map(Cow::Borrowed)) {
        let settings = home.map_or_else(|| "sarsen.toml".into(), |home| home.join("sarsen.toml"));
        let hint = hint.replace(SETTINGS, &settings.display().to_string());
        eprintln!("hint: {}", without_controls(&hint));
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

/// Whether the client has nobody to ask which servers exist.
fn is_alone(home: Option<&Path>) -> bool {
    let settings = home.and_then(|home| ClientDir::open(home).ok()?.settings().ok());
    settings.is_some_and(|settings| settings.introducers.is_empty())
}

/// A hint that names what the error is about.
fn own_hint(error: &anyhow::Error) -> Option<Cow<'static, str>> {
    if let Some(error) = error.downcast_ref::<NotThere>() {
        return Some(error.hint.clone().into());
    }
    if let Some(error) = error.downcast_ref::<Misread>() {
        return Some(error.hint.clone().into());
    }
    if let Some(NodeError::Running { .. }) = error.downcast_ref() {
        return Some("stop it first: SIGTERM lets it finish what is under way".into());
    }
    let deleted = matches!(error.downcast_ref(), Some(FileStoreError::Slot(SlotError::Deleted)));
    match error.downcast_ref::<Of>() {
        Some(Of { path, is_link: true }) if deleted => {
            Some(format!("what is deleted stays deleted; `sarsen rm {path}` takes the link away").into())
        }
        _ => None,
    }
}

/// Whether it may go well another time.
pub(crate) fn is_retryable(error: &anyhow::Error) -> bool {
    classify(error).0 == Exit::Retry
}

fn classify(error: &anyhow::Error) -> (Exit, Option<&'static str>) {
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        return (Exit::Interrupted, Some(interrupted.hint));
    }
    if error.is::<LeftOut>() {
        return (Exit::Partly, None);
    }
    if let Some(verdict) = error.downcast_ref::<Verdict>() {
        return verdict.classify();
    }
    if let Some(error) = error.downcast_ref::<LetGoError>() {
        return trees::classify_let_go(error);
    }
    let own = [agent::classify, trees::classify, members::classify, gateway::classify, mount::classify];
    if let Some(class) = own.iter().find_map(|classify| classify(error)) {
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
    if error.is::<BadShares>() {
        let hint = "they are in quarantine; `sarsen check -r --repair` makes them anew";
        return Some((Exit::Unhealthy, Some(hint)));
    }
    if let Some(NotLeased { code }) = error.downcast_ref() {
        let hint = match code {
            ErrorCode::NotAMember(reason) => members::not_a_member(*reason),
            ErrorCode::OverQuota => OVER_QUOTA,
            _ => "ask their owners for admission",
        };
        return Some((Exit::Refused, Some(hint)));
    }
    if let Some(NoneAnswers { known }) = error.downcast_ref() {
        let hint =
            if *known == 0 { NO_SERVERS } else { "are they running, and is this machine on the network?" };
        return Some((Exit::Retry, Some(hint)));
    }
    if error.is::<Damaged>() {
        return Some((Exit::Unhealthy, Some("any other k shares of the file still give it back")));
    }
    if let Some(Partly { again, .. }) = error.downcast_ref() {
        return Some((Exit::Partly, again.then_some("the same command may be given again")));
    }
    if error.is::<Usage>() {
        return Some((Exit::Usage, Some("`--help` says what is meant")));
    }
    if error.is::<NotThere>() {
        return Some((Exit::NotFound, None));
    }
    match error.downcast_ref() {
        Some(NoSuchServer::Unknown { .. }) => {
            return Some((Exit::NotFound, Some("`sarsen status` shows the servers that this client knows")));
        }
        Some(NoSuchServer::Several { .. }) => {
            return Some((Exit::Usage, Some("give its key; `sarsen status --json` shows it")));
        }
        None => {}
    }
    match error.downcast_ref().map(|misread: &Misread| &misread.error) {
        Some(MisreadError::Path(_) | MisreadError::Cap(_)) => return Some((Exit::Usage, None)),
        Some(MisreadError::Alias(error)) => return Some(classify_alias(error)),
        None => {}
    }
    if error.is::<NoName>() {
        return Some((Exit::Usage, Some("name something below it, as in ALIAS:a/b")));
    }
    if error.is::<NoSlot>() {
        return Some((Exit::Usage, Some("directories and mutable files have slots")));
    }
    let into_itself = error.downcast_ref::<IntoItself>()?;
    let hint = match into_itself.what {
        "moved" => "it would be reachable from nowhere else",
        _ => "copy it to a place that is not below it",
    };
    Some((Exit::Error, Some(hint)))
}

fn classify_config(error: Option<&ConfigError>) -> (Exit, Option<&'static str>) {
    match error {
        Some(ConfigError::Missing { .. }) => (
            Exit::Error,
            Some(
                "make one with `sarsen init --introducer URL`, or with an invitation, `sarsen join CODE@HOST`; or name another with --dir or SARSEN_DIR",
            ),
        ),
        Some(ConfigError::File { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => (
            Exit::Error,
            Some("it belongs to another account, mostly: name another with --dir or SARSEN_DIR"),
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
        UploadError::NoServers => (Exit::Retry, Some(NO_SERVERS)),
        UploadError::NoneCounts { .. } => (Exit::Retry, Some(NONE_COUNTS)),
        UploadError::NotHappy { .. } if error.is_over_quota() => (Exit::Refused, Some(OVER_QUOTA)),
        UploadError::NotHappy { .. } if error.is_refusal() && error.not_a_member().is_some() => {
            (Exit::Refused, error.not_a_member().map(members::not_a_member))
        }
        UploadError::NotHappy { .. } if error.is_refusal() => {
            (Exit::Refused, Some("the servers refuse; ask their owners for room or admission"))
        }
        UploadError::NotHappy { .. } => (
            Exit::Retry,
            Some(
                "put the same file again to go on where it stopped; `[shares]` in SETTINGS sets how many servers are wanted",
            ),
        ),
        UploadError::SourceChanged => (Exit::Retry, Some("put a copy that nobody writes to")),
        _ => (Exit::Error, None),
    }
}

fn classify_download(error: &DownloadError) -> (Exit, Option<&'static str>) {
    match error {
        DownloadError::NoServers => (Exit::Retry, Some(NO_SERVERS)),
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
