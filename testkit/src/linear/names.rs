//! A directory as a sequential model: names and what they point to.

use std::collections::BTreeMap;

use super::search::Sequential;

/// A directory that begins empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names;

/// What is asked of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// Sets a name.
    Put {
        /// The name.
        name: String,
        /// What it shall point to.
        value: u64,
        /// Whether another value may be replaced.
        replace: bool,
    },
    /// Sets a name if it points to what is expected (`None`: if it does not exist).
    Swap {
        /// The name.
        name: String,
        /// What it must point to.
        expected: Option<u64>,
        /// What it shall point to.
        value: u64,
    },
    /// Removes a name.
    Remove {
        /// The name.
        name: String,
    },
    /// Gives an entry another name.
    Rename {
        /// The name it has.
        from: String,
        /// The name it shall have.
        to: String,
        /// Whether an entry of that name may be replaced.
        replace: bool,
    },
    /// Asks for one name.
    Get {
        /// The name.
        name: String,
    },
    /// Asks for all.
    List,
}

/// What a directory answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is so now.
    Done,
    /// The name exists and must not be replaced.
    Exists,
    /// There is no such name.
    Missing,
    /// The name points to something else than was expected.
    Differs,
    /// What the name points to.
    Value(Option<u64>),
    /// All names and what they point to.
    All(BTreeMap<String, u64>),
}

impl Sequential for Names {
    type State = BTreeMap<String, u64>;
    type Call = Call;
    type Answer = Answer;

    fn start(&self) -> Self::State {
        BTreeMap::new()
    }

    fn apply(&self, state: &mut Self::State, call: &Call) -> Answer {
        match call {
            Call::Put { name, replace: false, .. } if state.contains_key(name) => Answer::Exists,
            Call::Put { name, value, .. } => {
                state.insert(name.clone(), *value);
                Answer::Done
            }
            Call::Swap { name, expected, .. } if state.get(name) != expected.as_ref() => Answer::Differs,
            Call::Swap { name, value, .. } => {
                state.insert(name.clone(), *value);
                Answer::Done
            }
            Call::Remove { name } => state.remove(name).map_or(Answer::Missing, |_| Answer::Done),
            Call::Rename { from, .. } if !state.contains_key(from) => Answer::Missing,
            Call::Rename { from, to, .. } if from == to => Answer::Done,
            Call::Rename { to, replace: false, .. } if state.contains_key(to) => Answer::Exists,
            Call::Rename { from, to, .. } => {
                let moved = state.remove(from);
                moved.map_or(Answer::Missing, |value| {
                    state.insert(to.clone(), value);
                    Answer::Done
                })
            }
            Call::Get { name } => Answer::Value(state.get(name).copied()),
            Call::List => Answer::All(state.clone()),
        }
    }
}
