//! Several futures at once without tasks of their own: dropping the whole drops each, and a simulation sees one order.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future on the heap.
pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

enum Item<'a, T> {
    Running(BoxFuture<'a, T>),
    Done(T),
}

/// Futures that run at once and whose results come in the order in which they were put in.
pub(super) struct InOrder<'a, T>(VecDeque<Item<'a, T>>);

impl<'a, T> InOrder<'a, T> {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Begins when [`Self::next`] is awaited.
    pub(super) fn push(&mut self, future: impl Future<Output = T> + Send + 'a) {
        self.0.push_back(Item::Running(Box::pin(future)));
    }

    /// The result of the oldest one.
    pub(super) async fn next(&mut self) -> Option<T> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        for item in &mut self.0 {
            if let Item::Running(future) = item
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *item = Item::Done(value);
            }
        }
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(Item::Done(value)) => Poll::Ready(Some(value)),
            Some(running) => {
                self.0.push_front(running);
                Poll::Pending
            }
        }
    }
}

/// Runs up to `width` of these at once; the results in order, or the first error in order.
pub(super) async fn gather<'a, T, E, F>(width: usize, work: impl IntoIterator<Item = F>) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>> + Send + 'a,
{
    let mut running = InOrder::new();
    let mut out = Vec::new();
    for future in work {
        if running.len() >= width
            && let Some(done) = running.next().await
        {
            out.push(done?);
        }
        running.push(future);
    }
    while let Some(done) = running.next().await {
        out.push(done?);
    }
    Ok(out)
}
