//! What the servers claim to hold of a file, in a line.

use caps::Cap;
use client::Client;
use client::check::{CheckOptions, State};

use crate::error::FsError;

/// Asks all servers for what they claim.
pub(crate) async fn of(client: &Client, cap: &Cap) -> Result<String, FsError> {
    let checked = client.check(cap, CheckOptions::default()).await.map_err(|_| FsError::Unsupported)?;
    let Some(health) = checked else { return Ok("healthy: in its capability".into()) };
    let state = match health.now() {
        State::Healthy => "healthy",
        State::Unhealthy => "unhealthy",
        State::Unrecoverable => "unrecoverable",
    };
    let said = format!("{state}: {} of {}, {} needed", health.good, health.total, health.needed);
    // Among them, who does not answer: what they hold is not lost.
    let problems = health.problems.iter().map(|problem| format!("; {problem}"));
    Ok(std::iter::once(said).chain(problems).collect())
}
