//! Blocking work (disks, hashing, encoding) as an argument, so that simulations can run it in turn on one thread.

use tokio::sync::oneshot;

/// A piece of blocking work.
pub type Job = Box<dyn FnOnce() + Send>;

/// Bytes that are hashed, encoded or decoded where they came in: that takes less time than another thread takes to begin.
const AT_ONCE: usize = 64 * 1024;

/// Where blocking work runs.
pub trait Pool: Send + Sync + 'static {
    /// Runs a job, now or soon.
    fn spawn(&self, job: Job);
}

impl dyn Pool {
    /// Runs `work` and waits for its result.
    ///
    /// # Panics
    ///
    /// If `work` panics.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = oneshot::channel();
        self.spawn(Box::new(move || {
            // Nobody waits any more if the receiver is gone; the work is done all the same.
            let _ = sender.send(work());
        }));
        receiver.await.expect("the job runs to its end")
    }

    /// As `run`, for work that only computes, on `len` bytes: of few it is done here, by whoever asks.
    pub async fn run_on<T: Send + 'static>(
        &self,
        len: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if len <= AT_ONCE { work() } else { self.run(work).await }
    }
}

/// tokio's threads for blocking work.
#[derive(Debug, Default)]
pub struct TokioPool;

impl Pool for TokioPool {
    fn spawn(&self, job: Job) {
        tokio::task::spawn_blocking(job);
    }
}

/// Runs everything at once where it is asked for: deterministic, for simulations.
#[derive(Debug, Default)]
pub struct InlinePool;

impl Pool for InlinePool {
    fn spawn(&self, job: Job) {
        job();
    }
}
