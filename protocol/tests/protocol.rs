//! The wire: examples of the spec, round trips, bounds, and what is refused.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot make its own inputs has nothing to report but the panic"
)]

#[path = "protocol/announcements.rs"]
mod announcements;
#[path = "protocol/examples.rs"]
mod examples;
#[path = "protocol/frames.rs"]
mod frames;
#[path = "protocol/invitation.rs"]
mod invitation;
#[path = "protocol/membership.rs"]
mod membership;
#[path = "protocol/rubbish.rs"]
mod rubbish;
