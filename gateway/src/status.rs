//! What errors of the client mean over HTTP: a status, a code for programs, a hint for people.

use axum::http::StatusCode;
use client::check::CheckError;
use client::filestore::{FileStoreError, Refusal};
use client::slot::SlotError;
use client::{AliasError, DownloadError, PatchError, UploadError};
use encoding::directory::DirectoryError;
use protocol::message::ErrorCode;

/// What an error means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meaning {
    /// The status.
    pub status: StatusCode,
    /// The kind of error, in words that never change.
    pub code: &'static str,
    /// What may help.
    pub hint: Option<&'static str>,
}

/// After how many seconds whoever got a 503 may try again.
pub const RETRY_AFTER_S: u32 = 5;

const BACK: &str = "some servers did not answer; try again when they are back";
const FORGED: &str = "whoever may write it wrote something wrong into it; no server can help";
const LOST: &str = "every server answered and too few shares are left";
const ROOM: &str = "ask the servers' owners for room, or let something go";

impl Meaning {
    const fn new(status: StatusCode, code: &'static str) -> Self {
        Self { status, code, hint: None }
    }

    const fn hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    const fn unavailable(code: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code)
    }

    const fn forbidden(code: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code)
    }

    const fn bad(code: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code)
    }

    const fn gone(code: &'static str) -> Self {
        Self::new(StatusCode::GONE, code)
    }

    const fn conflict(code: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, code)
    }

    const fn ours() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal")
    }

    /// Whether trying again later may help.
    pub fn is_retryable(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Of the file store.
pub fn of_filestore(error: &FileStoreError) -> Meaning {
    match error {
        FileStoreError::Slot(error) => of_slot(error),
        FileStoreError::Download(error) | FileStoreError::Patch(PatchError::Download(error)) => {
            of_download(error)
        }
        FileStoreError::Upload(error) | FileStoreError::Patch(PatchError::Upload(error)) => of_upload(error),
        FileStoreError::Patch(_) | FileStoreError::TooFar { .. } => Meaning::bad("out-of-range"),
        FileStoreError::Directory(DirectoryError::NotADirectory | DirectoryError::NotAFile) => {
            Meaning::forbidden("forged").hint("the capability says otherwise: it is forged")
        }
        FileStoreError::Directory(_) | FileStoreError::Tree(_) => Meaning::gone("damaged").hint(FORGED),
        FileStoreError::Seal(_) => Meaning::forbidden("forged").hint(FORGED),
        FileStoreError::Entry(_) => Meaning::bad("not-linkable"),
        FileStoreError::Name(_) => Meaning::bad("bad-name")
            .hint("a name has 1 to 255 bytes of UTF-8, no slash and no NUL, and is not . or .."),
        FileStoreError::Refused(refusal) => of_refusal(refusal),
        FileStoreError::NoEntry { .. } => Meaning::new(StatusCode::NOT_FOUND, "not-found"),
        FileStoreError::NotADirectory { .. } => Meaning::bad("not-a-directory"),
        FileStoreError::IsADirectory { .. } => Meaning::bad("is-a-directory"),
        FileStoreError::TooDeep => Meaning::bad("too-deep"),
        FileStoreError::ReadOnly { .. } => {
            Meaning::forbidden("read-only").hint("ask whoever gave you this for a capability that writes")
        }
        FileStoreError::NotReadable { .. } => {
            Meaning::forbidden("not-readable").hint("it checks and repairs, and reads nothing")
        }
        FileStoreError::Round { .. } | FileStoreError::GivenUp => Meaning::unavailable("given-up")
            .hint("try again: a change that was made already is not made twice"),
        _ => Meaning::ours(),
    }
}

/// Of a change that was refused, given what is there.
pub fn of_refusal(refusal: &Refusal) -> Meaning {
    match refusal {
        Refusal::NoEntry { .. } => Meaning::new(StatusCode::NOT_FOUND, "not-found"),
        Refusal::Exists { .. } | Refusal::IsDirectory { .. } | Refusal::IsFile { .. } => {
            Meaning::conflict("exists").hint("give it another name, or remove what is there first")
        }
        Refusal::Replaced { .. } => {
            Meaning::conflict("replaced").hint("look again: nothing of theirs was undone")
        }
        Refusal::Entry { .. } => Meaning::bad("not-linkable"),
        _ => Meaning::conflict("refused"),
    }
}

/// Of reading.
pub fn of_download(error: &DownloadError) -> Meaning {
    match error {
        DownloadError::NoServers => Meaning::unavailable("no-servers").hint("is an introducer running?"),
        DownloadError::NotEnoughShares { .. } if error.is_retryable() => {
            Meaning::unavailable("too-few-servers").hint(BACK)
        }
        DownloadError::NotEnoughShares { found: 0, .. } => {
            Meaning::gone("no-shares").hint("every server answered and none has a share of it")
        }
        DownloadError::NotEnoughShares { .. } => Meaning::gone("unrecoverable").hint(LOST),
        DownloadError::NotReadable { .. } => {
            Meaning::forbidden("not-readable").hint("it checks and repairs, and reads nothing")
        }
        DownloadError::Cap(_) => Meaning::forbidden("forged")
            .hint("the capability is damaged or forged; get it again from whoever gave it"),
        DownloadError::Decode(_)
        | DownloadError::Index(_)
        | DownloadError::Sections(_)
        | DownloadError::NotATree
        | DownloadError::TreeTooLong { .. } => {
            Meaning::gone("damaged").hint("whoever uploaded it encoded it wrongly; no server can help")
        }
        DownloadError::Directory => Meaning::bad("is-a-directory"),
        DownloadError::Range { .. } => Meaning::new(StatusCode::RANGE_NOT_SATISFIABLE, "range"),
        _ => Meaning::ours(),
    }
}

/// Of storing.
pub fn of_upload(error: &UploadError) -> Meaning {
    match error {
        UploadError::NoServers => Meaning::unavailable("no-servers").hint("is an introducer running?"),
        UploadError::NoneCounts { .. } => Meaning::unavailable("no-servers")
            .hint("`owner` and `pinned` in the client's settings say which servers count"),
        UploadError::NotHappy { failures, .. } => {
            let codes = failures.iter().map(|failure| failure.code);
            of_unhappy(error.is_refusal(), codes)
        }
        UploadError::Source(_) => {
            Meaning::bad("broken-off").hint("the body ended before all of it was there")
        }
        UploadError::SourceChanged => Meaning::conflict("changed"),
        UploadError::Encode(_) | UploadError::Index(_) => {
            Meaning::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large")
        }
        _ => Meaning::ours(),
    }
}

/// Where too few servers took something: `refused` says whether all that did not, refused.
fn of_unhappy(refused: bool, codes: impl Iterator<Item = Option<ErrorCode>> + Clone) -> Meaning {
    let any = |wanted: fn(&ErrorCode) -> bool| codes.clone().flatten().any(|code| wanted(&code));
    if !refused {
        return Meaning::unavailable("too-few-servers").hint(BACK);
    }
    if any(|code| matches!(code, ErrorCode::OverQuota)) {
        let hint = "this account has used up its quota there; `sarsen usage` shows how much it may store";
        return Meaning::new(StatusCode::INSUFFICIENT_STORAGE, "over-quota").hint(hint);
    }
    if any(|code| matches!(code, ErrorCode::NotAMember(_) | ErrorCode::NotAdmitted)) {
        return Meaning::forbidden("not-a-member").hint("the servers' owners decide who may store");
    }
    Meaning::new(StatusCode::INSUFFICIENT_STORAGE, "full").hint(ROOM)
}

/// Of directories and mutable files.
pub fn of_slot(error: &SlotError) -> Meaning {
    let codes = error.failures().iter().map(|failure| failure.code);
    match error {
        // Those that did not answer may be the ones that have it.
        SlotError::NotFound { failures, .. } if failures.iter().all(|failure| failure.answered) => {
            Meaning::gone("no-shares").hint("every server answered and none knows it")
        }
        SlotError::NotFound { .. } => Meaning::unavailable("too-few-servers").hint(BACK),
        SlotError::TooFew { .. } | SlotError::NotHappy { .. } => of_unhappy(error.is_refusal(), codes),
        SlotError::Unknown { .. } if error.is_refusal() => of_unhappy(true, codes),
        SlotError::Unknown { .. } => Meaning::unavailable("unknown-outcome")
            .hint("a retry is safe: a change that was made already is found, and not made twice"),
        SlotError::Contention { .. } => {
            Meaning::unavailable("contention").hint("nothing was changed; try again in a moment")
        }
        SlotError::WrongKey | SlotError::Sealed(_) => {
            Meaning::forbidden("forged").hint("the capability is damaged or forged")
        }
        SlotError::Deleted => Meaning::gone("deleted").hint("what is deleted stays deleted"),
        SlotError::RolledBack { .. } => Meaning::unavailable("rolled-back")
            .hint("these stores forgot what they acknowledged: were they restored from an old copy?"),
        SlotError::Members { .. } => Meaning::conflict("members"),
        _ => Meaning::ours(),
    }
}

/// Of checking.
pub fn of_check(error: &CheckError) -> Meaning {
    match error {
        CheckError::Unknown => Meaning::bad("unknown-cap"),
        CheckError::Literal => Meaning::bad("nothing-stored"),
        _ => Meaning::ours(),
    }
}

/// Of aliases.
pub fn of_alias(error: &AliasError) -> Meaning {
    match error {
        AliasError::Name(_) => Meaning::bad("bad-name"),
        AliasError::Unknown { .. } | AliasError::NoDefault => {
            Meaning::new(StatusCode::NOT_FOUND, "not-found")
        }
        AliasError::NotADirectory { .. } => Meaning::bad("not-a-directory"),
        AliasError::NotReadable { .. } | AliasError::UnknownKind => Meaning::forbidden("not-readable"),
        AliasError::Exists { .. } => Meaning::conflict("exists").hint("give it another name"),
        AliasError::Busy => Meaning::unavailable("busy"),
        _ => Meaning::ours(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_what_a_client_can_do_about_it() {
        let too_few = |answered| DownloadError::NotEnoughShares {
            needed: 3,
            found: 1,
            servers: vec![client::download::ServerAnswer {
                server: client::Server::unknown(protocol::NodeId::new([1; 32])),
                said: String::new(),
                answered,
            }],
        };
        assert_eq!(of_download(&too_few(false)).status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(of_download(&too_few(true)).status, StatusCode::GONE);
        let quota = [Some(ErrorCode::OverQuota), Some(ErrorCode::NoSpace)];
        assert_eq!(of_unhappy(true, quota.into_iter()).code, "over-quota");
        assert_eq!(of_unhappy(true, [Some(ErrorCode::NoSpace)].into_iter()).code, "full");
        assert_eq!(
            of_unhappy(true, [Some(ErrorCode::NotAdmitted)].into_iter()).status,
            StatusCode::FORBIDDEN
        );
        assert!(of_unhappy(false, quota.into_iter()).is_retryable());
        let exists = FileStoreError::Refused(Refusal::Exists { name: "a".into() });
        assert_eq!(of_filestore(&exists).status, StatusCode::CONFLICT);
        assert_eq!(of_slot(&SlotError::Deleted).status, StatusCode::GONE);
        let silent = client::slot::MemberFailure {
            store: protocol::NodeId::new([1; 32]),
            server: "s".into(),
            reason: String::new(),
            answered: false,
            code: None,
        };
        let not_found = |failures| of_slot(&SlotError::NotFound { asked: 9, failures }).status;
        assert_eq!(not_found(vec![silent]), StatusCode::SERVICE_UNAVAILABLE, "it may be the one that has it");
        assert_eq!(not_found(Vec::new()), StatusCode::GONE);
    }
}
