//! What errors of membership mean for whoever typed the command.

use client::membership::{InviteError, JoinError, LedgerError, OwnerError};
use protocol::membership::NotAMember;

use super::Exit;
use crate::cmd::grid::GridError;

type Class = (Exit, Option<&'static str>);

/// What was signed is written down, and no introducer knows it.
#[derive(Debug, thiserror::Error)]
#[error("it is written down, but no introducer could be told")]
pub(crate) struct Unpublished;

pub(super) fn classify(error: &anyhow::Error) -> Option<Class> {
    if error.is::<Unpublished>() {
        return Some((Exit::Retry, Some("`sarsen grid renew` tells them all, once one answers")));
    }
    if let Some(error) = error.downcast_ref::<InviteError>() {
        return Some(classify_invite(error));
    }
    if let Some(error) = error.downcast_ref::<JoinError>() {
        return Some(classify_join(error));
    }
    match error.downcast_ref::<GridError>() {
        Some(GridError::Owner(error)) => Some(classify_owner(error)),
        Some(GridError::Ledger(error)) => Some(classify_ledger(error)),
        None => error.downcast_ref::<OwnerError>().map(classify_owner),
    }
}

fn classify_invite(error: &InviteError) -> Class {
    match error {
        InviteError::Unreachable(_) => (Exit::Retry, Some("is the introducer of grid.toml running?")),
        InviteError::Busy(_) => (Exit::Retry, Some("it keeps too many invitations; try again later")),
        InviteError::Unused => (Exit::Retry, Some("the code is worth nothing any more: invite again")),
        InviteError::Wrong(_) | InviteError::Broken(_) => (
            Exit::Refused,
            Some(
                "the invitation is burned, and nobody was admitted: invite again, and pass the code on with care",
            ),
        ),
        _ => (Exit::Error, None),
    }
}

fn classify_join(error: &JoinError) -> Class {
    match error {
        JoinError::Request(_) => (
            Exit::Retry,
            Some(
                "does the introducer answer there? Once it was reached, the code may be used up: ask for another",
            ),
        ),
        JoinError::NoInvitation => (Exit::Refused, Some("ask the grid's owner for another invitation")),
        JoinError::Wrong(_) => {
            (Exit::Refused, Some("a code works once, also where it is mistyped: ask for another invitation"))
        }
        JoinError::Refused { .. } => (Exit::Refused, Some("ask the grid's owner for another invitation")),
        JoinError::Introducer { .. } => {
            (Exit::Refused, Some("nothing was joined; ask the grid's owner for the address once more"))
        }
        _ => (Exit::Error, None),
    }
}

fn classify_owner(error: &OwnerError) -> Class {
    match error {
        OwnerError::Missing { .. } => (
            Exit::Error,
            Some(
                "`sarsen grid init --introducer URL` makes one, in `grid` in the client's directory (--dir, SARSEN_DIR)",
            ),
        ),
        OwnerError::Busy { .. } => (Exit::Retry, None),
        _ => (Exit::Error, None),
    }
}

fn classify_ledger(error: &LedgerError) -> Class {
    match error {
        LedgerError::Unknown { .. } => (Exit::NotFound, Some("`sarsen grid members` shows all of them")),
        LedgerError::NameTaken { .. } => (Exit::Usage, Some("give it another one with --name")),
        LedgerError::Text => (Exit::Usage, Some("names and zones have 1 to 128 bytes")),
        _ => (Exit::Error, None),
    }
}

/// A hint for whoever is refused as no member.
pub(super) fn not_a_member(reason: NotAMember) -> &'static str {
    match reason {
        NotAMember::NoCertificate => {
            "only members of the grid store there: ask its owner for an invitation, and give it to `sarsen join`"
        }
        NotAMember::Forged => "the certificate is of another grid or account; `sarsen status` shows it",
        NotAMember::NotYetValid => {
            "the clock of the server, or of the grid's owner, is wrong: an hour is tolerated"
        }
        NotAMember::Expired => {
            "does an introducer answer? The grid's owner renews with `sarsen grid renew`; a wrong clock says the same"
        }
        _ => "the grid's owner let this account go; what it stored can still be read",
    }
}
