//! Cases in which one rule is broken: the model must see it.

use crate::breaks;
use crate::protocol::{Amnesia, Conclusion, Kind, Second, Slots};
use crate::safe::{A, B, lone_writer, replacement};

#[test]
fn majority_instead_of_q() {
    let plans = [(0, A), (1, B), (0, A)];
    breaks("n=5 q=3, 1 liar", Slots::new(5, 3, &plans).liars(1), "agreement");
    breaks("n=3 q=2, 1 forgets", Slots::new(3, 2, &plans).forgets(1, Amnesia::Fresh), "agreement");
}

#[test]
fn one_too_many() {
    let plans = [(0, A), (1, B), (0, A)];
    breaks("n=4 q=3, 2 liars", Slots::new(4, 3, &plans).liars(2), "agreement");
    breaks("n=4 q=3, 2 forget", Slots::new(4, 3, &plans).forgets(2, Amnesia::Fresh), "agreement");
}

#[test]
fn an_accept_after_amnesia() {
    let model = Slots::new(3, 2, &[(0, A), (1, B)]).reads(1).forgets(1, Amnesia::Fresh);
    breaks("n=3 q=2, blank counts as fresh", model, "reads");
}

#[test]
fn a_promise_that_was_not_synced() {
    let model = Slots::new(3, 2, &[(0, A), (1, B)]).forgets(1, Amnesia::PromiseOnly);
    breaks("n=3 q=2, promise lost at a restart", model, "agreement");
}

#[test]
fn ballots_without_a_random_part() {
    let mut model = Slots::new(3, 2, &[(0, A), (1, B), (2, Kind::Append(3))]);
    model.plans[1].ballot = 1;
    model.promises_once = false;
    breaks("n=3 q=2, one ballot twice", model, "agreement");
}

#[test]
fn newest_of_q_is_not_confirmed() {
    let mut model = Slots::new(3, 2, &[(0, A)]).reads(2);
    model.confirms = false;
    breaks("n=3 q=2, reader takes the newest of q", model, "reads");
}

#[test]
fn a_retry_that_does_not_find_itself() {
    let mut model = Slots::new(3, 2, &[(0, A), (0, A)]);
    model.remembers_ops = false;
    breaks("n=3 q=2, no operation ids", model, "once");
}

#[test]
fn an_outcome_from_an_unsettled_base() {
    let mut model = Slots::new(3, 2, &[(0, A), (0, A), (1, B)]);
    model.conclusion = Conclusion::OnSight;
    breaks("n=3 q=2, done because the base has it", model, "conclusions");
}

#[test]
fn a_yes_from_memory_is_no_promise() {
    let mut model = lone_writer();
    model.yes_is_promise = true;
    breaks("n=3 q=2, yes from memory taken for a promise", model, "agreement");
}

#[test]
fn the_old_members_drop_the_forward() {
    breaks("n=3 q=2, forward lost", replacement().forgets(1, Amnesia::Forward), "agreement");
}

#[test]
fn the_second_step_on_an_unsettled_joint_record() {
    let mut model = replacement();
    model.second = Second::OnSight;
    breaks("n=3 q=2, new config on a joint record not chosen", model, "agreement");
}
