//! Cases in which all rules are kept: nothing may go wrong.

use crate::holds;
use crate::protocol::{Amnesia, Kind, Plan, Slots};

pub(crate) const A: Kind = Kind::Append(1);
pub(crate) const B: Kind = Kind::Append(2);

#[test]
fn two_writers_with_retries() {
    let model = Slots::new(3, 2, &[(0, A), (1, B), (0, A), (1, B)]);
    holds("n=3 q=2, 2 writers with a retry each", model, &["all done", "concluded"]);
}

#[test]
fn three_writers_and_a_reader() {
    let plans = [(0, A), (1, B), (0, A), (2, Kind::Append(3)), (1, B)];
    let model = Slots::new(3, 2, &plans).reads(1);
    holds("n=3 q=2, 3 writers, 2 retries, 1 read", model, &["all done", "confirmed", "concluded"]);
}

#[test]
fn two_writers_and_a_reader() {
    let model = Slots::new(3, 2, &[(0, A), (1, B), (0, A)]).reads(2);
    holds("n=3 q=2, 2 writers, 1 retry, 2 reads", model, &["all done", "confirmed", "confirmed twice"]);
}

#[test]
fn four_members() {
    let model = Slots::new(4, 3, &[(0, A), (1, B), (0, A)]).reads(1);
    holds("n=4 q=3, 2 writers, 1 retry, 1 read", model, &["all done", "confirmed"]);
}

#[test]
fn as_many_liars_as_q_allows() {
    let plans = [(0, A), (1, B), (0, A)];
    let model = Slots::new(4, 3, &plans).liars(1).reads(2);
    holds("n=4 q=3, 1 liar", model, &["all done", "confirmed twice"]);
    let model = Slots::new(5, 4, &plans).liars(2).reads(2);
    holds("n=5 q=4, 2 liars", model, &["all done", "confirmed twice"]);
}

#[test]
fn as_many_forgetters_as_q_allows() {
    let model = Slots::new(4, 3, &[(0, A), (1, B), (0, A)]).forgets(1, Amnesia::Fresh);
    holds("n=4 q=3, 1 forgets", model, &["all done", "forgotten"]);
}

#[test]
fn blank_members_do_not_count() {
    let model = Slots::new(3, 2, &[(0, A), (1, B), (0, A)]).reads(1).forgets(1, Amnesia::Blank);
    holds("n=3 q=2, 1 member blank", model, &["all done", "confirmed", "forgotten"]);
    let model = Slots::new(4, 3, &[(0, A), (1, B), (0, A)]).forgets(2, Amnesia::Blank);
    holds("n=4 q=3, 2 members blank", model, &["all done", "forgotten"]);
}

pub(crate) fn lone_writer() -> Slots {
    let mut model = Slots::new(3, 2, &[(0, A), (1, B), (0, Kind::Append(3)), (1, B)]);
    model.plans[2] = Plan { piggybacked: true, ..model.plans[2] };
    model
}

#[test]
fn a_prepare_that_travels_with_an_accept() {
    holds("n=3 q=2, prepare with the accept", lone_writer(), &["all done"]);
}

pub(crate) fn replacement() -> Slots {
    Slots::new(3, 2, &[(2, Kind::Advance), (2, Kind::Advance), (0, A), (1, B)]).replaces_one()
}

#[test]
fn one_member_replaced() {
    holds("n=3 q=2, replacement first", replacement(), &["all done", "replaced", "changed after"]);
}

#[test]
fn one_member_replaced_after_a_change() {
    let plans = [(0, A), (2, Kind::Advance), (2, Kind::Advance), (1, B)];
    let model = Slots::new(3, 2, &plans).replaces_one();
    holds("n=3 q=2, replacement between", model, &["all done", "replaced", "changed after"]);
}

#[test]
fn a_change_between_the_steps_of_a_replacement() {
    let plans = [(2, Kind::Advance), (0, A), (2, Kind::Advance), (1, B)];
    let model = Slots::new(3, 2, &plans).replaces_one();
    holds("n=3 q=2, change between the steps", model, &["all done", "replaced", "changed after"]);
}

#[test]
fn the_replaced_member_is_blank() {
    let plans = [(2, Kind::Advance), (2, Kind::Advance), (0, A)];
    let model = Slots::new(3, 2, &plans).replaces_one().forgets(1, Amnesia::Blank);
    holds("n=3 q=2, replacement, 1 member blank", model, &["all done", "replaced", "forgotten"]);
}

#[test]
fn reads_while_a_member_is_replaced() {
    let plans = [(2, Kind::Advance), (2, Kind::Advance), (0, A)];
    let model = Slots::new(3, 2, &plans).replaces_one().reads(2);
    holds("n=3 q=2, replacement, 2 reads", model, &["all done", "replaced", "confirmed twice"]);
}
