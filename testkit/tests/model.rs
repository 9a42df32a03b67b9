//! The protocol of slots, checked exhaustively in small cases: that it is safe, and that each rule it has is needed.
//!
//! `cargo nextest run -p testkit --test model --no-capture` prints how many states each case has. What the rules are is in `protocol`; the
//! cases are in `safe` and `planted`.

#[path = "model/members.rs"]
mod members;
#[path = "model/planted.rs"]
mod planted;
#[path = "model/properties.rs"]
mod properties;
#[path = "model/protocol.rs"]
mod protocol;
#[path = "model/safe.rs"]
mod safe;
#[path = "model/state.rs"]
mod state;

use std::time::Instant;

use protocol::Slots;
use stateright::{Checker, HasDiscoveries, Model};

/// Looks at every state: no promise is broken, and everything named in `happens` does happen.
fn holds(name: &str, model: Slots, happens: &[&'static str]) {
    let begun = Instant::now();
    // Nothing discovers this one: no state is left out.
    let all = HasDiscoveries::AllOf(["agreement", "reads", "once", "conclusions"].into());
    let checker = model.checker().finish_when(all).spawn_bfs().join();
    let found = checker.discoveries();
    println!(
        "{name}: {} states, {} steps, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f64()
    );
    for promise in ["agreement", "reads", "once", "conclusions"] {
        if let Some(path) = found.get(promise) {
            panic!("{promise} is broken by {:#?}", path.clone().into_actions());
        }
    }
    for event in happens {
        assert!(found.contains_key(event), "{event} never happens: the case checks nothing");
    }
}

/// Looks for a history that breaks `promise`, and must find one.
fn breaks(name: &str, model: Slots, promise: &'static str) {
    let begun = Instant::now();
    let finish = HasDiscoveries::AnyOf([promise].into());
    let checker = model.checker().finish_when(finish).spawn_bfs().join();
    let found = checker.discoveries().remove(promise);
    let steps = found.as_ref().map(|path| path.clone().into_actions());
    println!(
        "{name}: {promise} broken in {} steps, after {} states, {:.1} s: {steps:?}",
        steps.as_ref().map_or(0, Vec::len),
        checker.unique_state_count(),
        begun.elapsed().as_secs_f64()
    );
    assert!(steps.is_some(), "the model does not see what is wrong");
}
