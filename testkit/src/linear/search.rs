//! Histories against any sequential model, by search.

use std::collections::HashSet;
use std::hash::Hash;

/// Calls a history may have, at most.
pub const MAX_CALLS: usize = 60;

/// What a thing does when nothing is concurrent.
pub trait Sequential {
    /// Its state.
    type State: Clone + Eq + Hash;
    /// What is asked of it.
    type Call;
    /// What it answers.
    type Answer: PartialEq;

    /// The state it begins with.
    fn start(&self) -> Self::State;

    /// Does a call, and tells the answer.
    fn apply(&self, state: &mut Self::State, call: &Self::Call) -> Self::Answer;
}

/// A call, when it was made, and what it answered.
#[derive(Clone, Debug)]
pub struct Timed<C, A> {
    /// Before it began.
    pub begin: u64,
    /// After it returned; `None`: it did not, and may take effect at any time or never. Then `answer` must be `None`.
    pub end: Option<u64>,
    /// The call.
    pub call: C,
    /// What it answered; `None`: not known, anything fits.
    pub answer: Option<A>,
}

/// A history was too long, or is not linearizable.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotLinearizable {
    /// More calls than can be searched.
    #[error("{calls} calls are more than {MAX_CALLS}")]
    TooLong {
        /// So many.
        calls: usize,
    },
    /// No order of the calls explains the answers.
    #[error("no order explains the answers; the best explains {} calls: {explained:?}", explained.len())]
    NoOrder {
        /// The longest beginning of an order that was found, as places in the history.
        explained: Vec<usize>,
    },
}

/// Whether a history is linearizable. Returns the order that was found, without calls that never took effect.
///
/// # Errors
///
/// [`NotLinearizable`].
pub fn check<M: Sequential>(
    model: &M,
    history: &[Timed<M::Call, M::Answer>],
) -> Result<Vec<usize>, NotLinearizable> {
    if history.len() > MAX_CALLS {
        return Err(NotLinearizable::TooLong { calls: history.len() });
    }
    let returned = history.iter().enumerate().filter(|(_, timed)| timed.end.is_some());
    let must = returned.fold(0, |mask, (at, _)| mask | 1 << at);
    let mut search =
        Search { model, history, must, tried: HashSet::new(), order: Vec::new(), best: Vec::new() };
    if search.run(0, &model.start()) {
        Ok(search.order)
    } else {
        Err(NotLinearizable::NoOrder { explained: search.best })
    }
}

struct Search<'a, M: Sequential> {
    model: &'a M,
    history: &'a [Timed<M::Call, M::Answer>],
    /// Calls that returned: all of them must find a place.
    must: u64,
    tried: HashSet<(u64, M::State)>,
    order: Vec<usize>,
    best: Vec<usize>,
}

impl<M: Sequential> Search<'_, M> {
    fn run(&mut self, done: u64, state: &M::State) -> bool {
        if done & self.must == self.must {
            return true;
        }
        if !self.tried.insert((done, state.clone())) {
            return false;
        }
        let left = |at: &usize| done >> at & 1 == 0;
        let ends = (0..self.history.len()).filter(left).filter_map(|at| self.history[at].end);
        // Whatever comes next must have begun before any of those that are left had ended.
        let bound = ends.min().unwrap_or(u64::MAX);
        for at in (0..self.history.len()).filter(left) {
            let timed = &self.history[at];
            if timed.begin > bound {
                continue;
            }
            let mut after = state.clone();
            let answer = self.model.apply(&mut after, &timed.call);
            if timed.answer.as_ref().is_some_and(|known| *known != answer) {
                continue;
            }
            self.order.push(at);
            if self.order.len() > self.best.len() {
                self.best.clone_from(&self.order);
            }
            if self.run(done | 1 << at, &after) {
                return true;
            }
            self.order.pop();
        }
        false
    }
}
