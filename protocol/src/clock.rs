//! Time as an argument, so that simulations own it. Timers are tokio's, whose clock a simulation pauses and advances.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where wall-clock time and uptime come from.
pub trait Clock: Send + Sync + 'static {
    /// Time since 1970-01-01 UTC, as the wall clock has it. It may jump.
    fn unix_time(&self) -> Duration;

    /// Time since some fixed moment; it never jumps.
    fn uptime(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: tokio::time::Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: tokio::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn unix_time(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
