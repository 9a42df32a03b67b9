//! Blocking work (disks, hashing, encoding) as an argument, so that simulations can run it in turn on one thread.

use tokio::sync::oneshot;

/// A piece of blocking work.
pub type Job = Box<dyn FnOnce() + Send>;

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
