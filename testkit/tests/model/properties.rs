//! What must never happen, and what must happen somewhere if the case is to check anything.

use stateright::Property;

use crate::protocol::{Kind, Slots};
use crate::state::{Config, Phase, State};

pub(crate) fn all() -> Vec<Property<Slots>> {
    vec![
        Property::always("agreement", agreement),
        Property::always("reads", |_, state: &State| !state.reader.went_back),
        Property::always("once", once),
        Property::always("conclusions", conclusions),
        Property::sometimes("all done", all_done),
        Property::sometimes("confirmed", |_, state: &State| state.reader.last.len() > 0),
        Property::sometimes("confirmed twice", |model: &Slots, state: &State| {
            model.reads > 1 && state.reader.reads_left == 0
        }),
        Property::sometimes("concluded", |_, state: &State| {
            state.attempts.iter().any(|attempt| attempt.phase == Phase::Concluded)
        }),
        Property::sometimes("replaced", |model: &Slots, state: &State| {
            let mut records = model.records(state);
            records.any(|record| state.config(record) == Config::New && model.chosen(state, record))
        }),
        Property::sometimes("changed after", |model: &Slots, state: &State| {
            let mut records = model.records(state);
            records.any(|record| {
                let appends = record > 0 && matches!(model.plans[record as usize - 1].kind, Kind::Append(_));
                appends && state.config(record) == Config::New && model.chosen(state, record)
            })
        }),
        Property::sometimes("forgotten", |model: &Slots, state: &State| {
            model.forgets > 0 && state.forgets_left == 0
        }),
    ]
}

/// Of two chosen records the one with the higher ballot came from the other: no acknowledged change is lost.
fn agreement(model: &Slots, state: &State) -> bool {
    let chosen: Vec<_> = model.records(state).filter(|record| model.chosen(state, *record)).collect();
    chosen.iter().all(|early| {
        let mut later = chosen.iter().filter(|late| model.ballot(**late) >= model.ballot(*early));
        later.all(|late| state.value(*early).leads_to(state.value(*late)))
    })
}

/// No operation is applied twice.
fn once(model: &Slots, state: &State) -> bool {
    model.records(state).all(|record| {
        let ops: Vec<u8> = state.value(record).ops().collect();
        let mut distinct = ops.clone();
        distinct.sort_unstable();
        distinct.dedup();
        distinct.len() == ops.len()
    })
}

/// What a writer concluded from is as good as chosen.
fn conclusions(model: &Slots, state: &State) -> bool {
    let concluded = state.attempts.iter().filter(|attempt| attempt.phase == Phase::Concluded);
    concluded.clone().all(|conclusion| {
        let mut chosen = model.records(state).filter(|record| model.chosen(state, *record));
        chosen.all(|record| {
            let value = state.value(record);
            if model.ballot(record) >= model.ballot(conclusion.base) {
                conclusion.value.leads_to(value)
            } else {
                value.leads_to(conclusion.value)
            }
        })
    })
}

fn all_done(model: &Slots, state: &State) -> bool {
    let chosen = model.records(state).filter(|record| model.chosen(state, *record));
    let Some(last) = chosen.map(|record| state.value(record)).max_by_key(|value| value.len()) else {
        return false;
    };
    model.plans.iter().all(|plan| match plan.kind {
        Kind::Append(op) => last.contains(op),
        Kind::Advance => true,
    })
}
