//! Waiting for something that others do, or for a moment.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

/// What one look at the network gave.
pub(super) enum Step<T> {
    Done(T),
    /// Look again when woken, and at this moment if there is one.
    Wait(Option<Instant>),
}

/// Looks again when it is time.
#[derive(Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Looks until done. `look` leaves the waker with whatever it waits for.
    pub(super) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&Waker, Instant) -> Step<T>,
    ) -> Poll<T> {
        loop {
            match look(cx.waker(), Instant::now()) {
                Step::Done(value) => {
                    self.0 = None;
                    return Poll::Ready(value);
                }
                Step::Wait(None) => {
                    self.0 = None;
                    return Poll::Pending;
                }
                Step::Wait(Some(moment)) => {
                    let mut sleep = Box::pin(sleep_until(moment));
                    if sleep.as_mut().poll(cx).is_pending() {
                        self.0 = Some(sleep);
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

/// As [`Timer::drive`], for async functions.
pub(super) async fn wait<T>(mut look: impl FnMut(&Waker, Instant) -> Step<T>) -> T {
    let mut timer = Timer::default();
    std::future::poll_fn(|cx| timer.drive(cx, &mut look)).await
}

/// Tasks that wait for one thing.
#[derive(Default)]
pub(super) struct Waiters(Vec<Waker>);

impl Waiters {
    pub(super) fn add(&mut self, waker: &Waker) {
        if !self.0.iter().any(|known| known.will_wake(waker)) {
            self.0.push(waker.clone());
        }
    }

    /// Moves them to those who will be woken once the network is unlocked.
    pub(super) fn wake_into(&mut self, wake: &mut Vec<Waker>) {
        wake.append(&mut self.0);
    }
}

/// The earlier of two moments, where there are any.
pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
