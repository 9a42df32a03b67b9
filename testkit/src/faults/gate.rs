//! Work that can be made to stand still.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// Lets work go on, or not. Clones are the same gate. Time goes on meanwhile: a deadline that passed is noticed when the gate opens.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many want it closed.
    closed: u32,
    waiting: Vec<Waker>,
}

impl Gate {
    /// Does `work` while the gate is open. What `work` gave to tasks of its own goes on.
    pub async fn through<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            {
                let mut state = self.0.lock().expect("no holder panics");
                if state.closed > 0 {
                    state.waiting.push(cx.waker().clone());
                    return Poll::Pending;
                }
            }
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Closes it, once more if it is closed.
    pub fn close(&self) {
        self.0.lock().expect("no holder panics").closed += 1;
    }

    /// Takes one [`Gate::close`] back.
    pub fn open(&self) {
        let waiting = {
            let mut state = self.0.lock().expect("no holder panics");
            state.closed = state.closed.saturating_sub(1);
            if state.closed == 0 { std::mem::take(&mut state.waiting) } else { Vec::new() }
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_stands_still_while_the_gate_is_closed() {
        let gate = Gate::default();
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        let work = gate.through(async {
            sleep(second * 2).await;
            begun.elapsed()
        });
        let holding = async {
            sleep(second).await;
            gate.close();
            gate.close();
            sleep(second * 4).await;
            gate.open();
            sleep(second).await;
            gate.open();
        };
        assert_eq!(tokio::join!(work, holding).0, second * 6);
    }
}
