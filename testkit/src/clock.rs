//! A clock that follows tokio's, and jumps when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use protocol::Clock;
use tokio::time::Instant;

/// Uptime is what passed on tokio's clock, which a simulation pauses and advances; the wall clock follows it from a base, plus jumps.
#[derive(Debug)]
pub struct SimClock {
    base: Base,
    started: Instant,
    jumped_ms: AtomicI64,
}

#[derive(Debug)]
enum Base {
    /// What it showed when it was made.
    Began(Duration),
    Follows(Arc<SimClock>),
}

impl SimClock {
    /// A clock that shows `base` (time since 1970) now.
    pub fn new(base: Duration) -> Self {
        Self::on(Base::Began(base))
    }

    /// A clock of one host: it shows what `other` shows, jumps included, and jumps of its own.
    pub fn following(other: Arc<Self>) -> Self {
        Self::on(Base::Follows(other))
    }

    fn on(base: Base) -> Self {
        Self { base, started: Instant::now(), jumped_ms: AtomicI64::new(0) }
    }

    /// Makes the wall clock jump ahead. Uptime does not.
    pub fn jump_ahead(&self, by: Duration) {
        self.jumped_ms.fetch_add(milliseconds(by), Ordering::Relaxed);
    }

    /// Makes the wall clock jump back, to 1970 at the most.
    pub fn jump_back(&self, by: Duration) {
        self.jumped_ms.fetch_sub(milliseconds(by), Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn unix_time(&self) -> Duration {
        let jumped = self.jumped_ms.load(Ordering::Relaxed);
        let by = Duration::from_millis(jumped.unsigned_abs());
        let straight = match &self.base {
            Base::Began(base) => *base + self.started.elapsed(),
            Base::Follows(other) => other.unix_time(),
        };
        if jumped < 0 { straight.saturating_sub(by) } else { straight + by }
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

fn milliseconds(by: Duration) -> i64 {
    i64::try_from(by.as_millis()).expect("jumps are shorter than the age of the universe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_wall_clock_jumps() {
        let second = Duration::from_secs(1);
        let clock = SimClock::new(second * 1000);
        tokio::time::sleep(second).await;
        assert_eq!((clock.unix_time(), clock.uptime()), (second * 1001, second));
        clock.jump_ahead(second * 100);
        assert_eq!((clock.unix_time(), clock.uptime()), (second * 1101, second));
        clock.jump_back(second * 300);
        assert_eq!((clock.unix_time(), clock.uptime()), (second * 801, second));
        clock.jump_back(second * 3000);
        assert_eq!(clock.unix_time(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_has_a_clock_of_its_own() {
        let second = Duration::from_secs(1);
        let all = Arc::new(SimClock::new(second * 1000));
        let one = SimClock::following(all.clone());
        one.jump_ahead(second * 50);
        all.jump_back(second * 100);
        tokio::time::sleep(second).await;
        assert_eq!((all.unix_time(), one.unix_time()), (second * 901, second * 951));
    }
}
