//! Errors of the repair agent.

use client::agent::AgentDirError;

use super::Exit;

/// Some of what the agent holds could not be checked; why, its state says.
#[derive(Debug, thiserror::Error)]
#[error("{count} of what the agent holds could not be checked")]
pub(crate) struct Unchecked {
    /// How many.
    pub(crate) count: usize,
}

/// How such an error is told, if it is one.
pub(super) fn classify(error: &anyhow::Error) -> Option<(Exit, Option<&'static str>)> {
    if error.is::<Unchecked>() {
        return Some((Exit::Retry, Some("`sarsen agent status` says why")));
    }
    Some(match error.downcast_ref::<AgentDirError>()? {
        AgentDirError::Name(_) => (Exit::Usage, None),
        AgentDirError::Cap { .. } => (Exit::Refused, None),
        AgentDirError::Unknown { .. } => (Exit::NotFound, Some("`sarsen agent list` shows what it holds")),
        AgentDirError::Exists { .. } => (Exit::Error, Some("`sarsen agent remove` lets go of it")),
        _ => (Exit::Error, None),
    })
}
