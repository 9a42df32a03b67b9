use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::names::{Answer, Call as Ask, Names};
use super::search::{self, MAX_CALLS, NotLinearizable, Sequential};
use super::set::{Added, Call, OpId, Timed, Violation, check};

fn add(begin: u64, end: u64, id: OpId, outcome: Added) -> Timed {
    Timed { begin, end, call: Call::Add { id, outcome } }
}

fn done(begin: u64, end: u64, id: OpId) -> Timed {
    add(begin, end, id, Added::Done)
}

fn read(begin: u64, end: u64, ids: &[OpId]) -> Timed {
    Timed { begin, end, call: Call::Confirmed { ids: ids.to_vec(), version: None } }
}

fn version(begin: u64, end: u64, ids: &[OpId], version: u64) -> Timed {
    Timed { begin, end, call: Call::Confirmed { ids: ids.to_vec(), version: Some(version) } }
}

fn seen(begin: u64, end: u64, ids: &[OpId]) -> Timed {
    Timed { begin, end, call: Call::NewestSeen { ids: ids.to_vec() } }
}

#[test]
fn good_histories() {
    let good: [&[Timed]; 7] = [
        &[],
        &[done(0, 1, 1), read(2, 3, &[1]), done(4, 5, 2), read(6, 7, &[2, 1])],
        // Concurrent with both: it may show either, both or none.
        &[done(0, 10, 1), done(0, 10, 2), read(1, 2, &[]), read(3, 4, &[2]), read(5, 6, &[1, 2])],
        // An unknown one appears long after its caller gave up, or never.
        &[add(0, 1, 1, Added::Unknown), read(2, 3, &[]), read(4, 5, &[1]), add(6, 7, 2, Added::Unknown)],
        &[add(0, 1, 1, Added::Refused), read(2, 3, &[])],
        // What was newest seen may be old, may vanish and may show what is not acknowledged.
        &[done(0, 1, 1), add(2, 3, 2, Added::Unknown), seen(4, 5, &[2]), seen(6, 7, &[]), read(8, 9, &[1])],
        &[version(0, 1, &[], 3), done(2, 3, 1), version(4, 5, &[1], 4), version(6, 7, &[1], 5)],
    ];
    for history in good {
        assert_eq!(check(history), Ok(()), "{history:?}");
    }
}

#[test]
fn bad_histories() {
    let went_back = |earlier, later| Violation::WentBack { earlier, later };
    let bad: [(&[Timed], Violation); 14] = [
        (&[done(0, 1, 1), read(2, 3, &[])], went_back(0, 1)),
        (&[done(0, 9, 1), read(1, 2, &[1]), read(3, 4, &[])], went_back(1, 2)),
        // The second addition began after the first was acknowledged, and is there without it.
        (&[done(0, 1, 1), done(2, 9, 2), read(0, 9, &[2])], went_back(0, 1)),
        // A read that showed it not, then an acknowledged one, then a read that shows the later one alone.
        (&[add(0, 1, 1, Added::Unknown), done(2, 3, 2), read(4, 5, &[1])], went_back(1, 2)),
        (&[read(0, 1, &[1]), done(2, 3, 1)], Violation::Invented { read: 0, id: 1 }),
        (&[read(0, 1, &[7])], Violation::Invented { read: 0, id: 7 }),
        (&[seen(0, 1, &[7])], Violation::Invented { read: 0, id: 7 }),
        (&[add(0, 1, 1, Added::Refused), read(2, 3, &[1])], Violation::Refused { read: 1, id: 1 }),
        (&[add(0, 1, 1, Added::Refused), seen(2, 3, &[1])], Violation::Refused { read: 1, id: 1 }),
        (&[done(0, 1, 1), read(2, 3, &[1, 1])], Violation::AppliedTwice { read: 1, id: 1 }),
        (&[done(0, 1, 1), seen(2, 3, &[1, 1])], Violation::AppliedTwice { read: 1, id: 1 }),
        (
            &[done(0, 9, 1), done(0, 9, 2), read(0, 9, &[1]), read(0, 9, &[2])],
            Violation::Forked { one: 2, other: 3 },
        ),
        (
            &[done(0, 9, 1), version(0, 9, &[], 5), version(0, 9, &[1], 4)],
            Violation::Versions { one: 1, other: 2 },
        ),
        (&[done(0, 1, 1), done(2, 3, 1)], Violation::AddedTwice { id: 1 }),
    ];
    for (history, violation) in bad {
        assert_eq!(check(history), Err(violation), "{history:?}");
    }
}

/// The register as a model for the search.
struct Register;

impl Sequential for Register {
    type State = BTreeSet<OpId>;
    /// `None` reads.
    type Call = Option<OpId>;
    type Answer = BTreeSet<OpId>;

    fn start(&self) -> Self::State {
        BTreeSet::new()
    }

    fn apply(&self, state: &mut Self::State, call: &Self::Call) -> Self::Answer {
        match call {
            Some(id) => {
                state.insert(*id);
                BTreeSet::new()
            }
            None => state.clone(),
        }
    }
}

fn searched(history: &[Timed]) -> bool {
    let timed = history.iter().filter_map(|timed| {
        let (begin, end) = (timed.begin, Some(timed.end));
        match &timed.call {
            Call::Add { id, outcome: Added::Done } => {
                Some(search::Timed { begin, end, call: Some(*id), answer: Some(BTreeSet::new()) })
            }
            Call::Add { id, .. } => Some(search::Timed { begin, end: None, call: Some(*id), answer: None }),
            Call::Confirmed { ids, .. } => {
                let answer = Some(ids.iter().copied().collect());
                Some(search::Timed { begin, end, call: None, answer })
            }
            Call::NewestSeen { .. } => None,
        }
    });
    search::check(&Register, &timed.collect::<Vec<_>>()).is_ok()
}

/// Moments in which calls begin, take effect and end, for additions and reads; then some damage.
fn histories() -> impl Strategy<Value = Vec<Timed>> {
    let call = (0u64..30, 0u64..8, 0u64..8, 0u8..4);
    let damage = prop::option::weighted(0.6, (0usize..8, 0u64..6));
    (prop::collection::vec(call, 1..9), damage).prop_map(|(calls, damage)| {
        let effects: Vec<u64> = calls.iter().map(|(begin, before, ..)| begin + before).collect();
        let is_add = |kind: u8| kind < 2;
        let mut history: Vec<Timed> = Vec::new();
        for (at, (begin, before, after, kind)) in calls.iter().enumerate() {
            // Effects at the same moment happen in the order of the list.
            let earlier = |other: &usize| (effects[*other], *other) < (effects[at], at);
            let ids = (0..calls.len()).filter(|other| is_add(calls[*other].3)).filter(earlier);
            let (begin, end) = (*begin, begin + before + after);
            history.push(match kind {
                0 => add(begin, end, at as u64, Added::Done),
                1 => add(begin, end, at as u64, Added::Unknown),
                _ => read(begin, end, &ids.map(|id| id as u64).collect::<Vec<_>>()),
            });
        }
        if let Some((which, id)) = damage {
            let which = which % history.len();
            match &mut history[which].call {
                Call::Confirmed { ids, .. } if ids.contains(&id) => ids.retain(|known| *known != id),
                Call::Confirmed { ids, .. } => ids.push(id),
                Call::Add { .. } => history[which].end = history[which].begin,
                Call::NewestSeen { .. } => {}
            }
        }
        history
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn both_checkers_agree(history in histories()) {
        let exact = check(&history);
        prop_assert_eq!(exact.is_ok(), searched(&history), "{:?}", exact);
    }
}

#[test]
fn the_histories_are_good_and_bad() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut good, mut bad) = (0, 0);
    for _ in 0..500 {
        let history = histories().new_tree(&mut runner).expect("any history is one").current();
        *if check(&history).is_ok() { &mut good } else { &mut bad } += 1;
    }
    assert!(good > 100 && bad > 100, "{good} good, {bad} bad");
}

fn ask(begin: u64, end: u64, call: Ask, answer: Answer) -> search::Timed<Ask, Answer> {
    search::Timed { begin, end: Some(end), call, answer: Some(answer) }
}

fn put(name: &str, value: u64, replace: bool) -> Ask {
    Ask::Put { name: name.into(), value, replace }
}

fn rename(from: &str, to: &str) -> Ask {
    Ask::Rename { from: from.into(), to: to.into(), replace: false }
}

fn get(name: &str) -> Ask {
    Ask::Get { name: name.into() }
}

#[test]
fn directories() {
    let good = [
        ask(0, 1, put("a", 1, false), Answer::Done),
        // Two rename the same file: one of them comes too late.
        ask(2, 5, rename("a", "b"), Answer::Done),
        ask(2, 5, rename("a", "c"), Answer::Missing),
        ask(6, 7, put("b", 2, false), Answer::Exists),
        ask(6, 7, Ask::Swap { name: "b".into(), expected: Some(1), value: 3 }, Answer::Done),
        ask(8, 9, Ask::List, Answer::All([("b".to_owned(), 3)].into())),
        ask(8, 9, Ask::Swap { name: "b".into(), expected: None, value: 4 }, Answer::Differs),
        ask(10, 11, Ask::Remove { name: "b".into() }, Answer::Done),
        ask(12, 13, get("b"), Answer::Value(None)),
    ];
    let order = search::check(&Names, &good).expect("an order");
    assert_eq!(order.len(), good.len());
    let position = |call: usize| order.iter().position(|at| *at == call);
    assert!(position(1) < position(2));

    let mut both = good.clone();
    both[2].answer = Some(Answer::Done);
    assert!(search::check(&Names, &both).is_err(), "a file was renamed twice");
    let mut lost = good;
    lost[8].answer = Some(Answer::Value(Some(3)));
    let error = search::check(&Names, &lost).expect_err("a removed name is there");
    assert!(matches!(error, NotLinearizable::NoOrder { explained } if explained.len() == 8));
}

#[test]
fn a_call_that_never_returned_may_take_effect_late_or_never() {
    let lost = search::Timed { begin: 0, end: None, call: put("a", 1, true), answer: None };
    let absent = ask(1, 2, get("a"), Answer::Value(None));
    let there = ask(3, 4, get("a"), Answer::Value(Some(1)));
    assert_eq!(search::check(&Names, &[lost.clone(), absent.clone(), there.clone()]), Ok(vec![1, 0, 2]));
    assert_eq!(search::check(&Names, &[lost.clone(), absent.clone()]), Ok(vec![1]));
    let back = ask(5, 6, get("a"), Answer::Value(None));
    assert!(search::check(&Names, &[lost, absent, there, back]).is_err());
}

#[test]
fn sixty_calls_at_once_are_judged_and_one_more_is_not() {
    let mut history: Vec<_> = (0..MAX_CALLS as u64 - 1).map(|id| (0, 1, Some(id), BTreeSet::new())).collect();
    history.push((2, 3, None, (0..MAX_CALLS as u64 - 1).collect()));
    let timed =
        |(begin, end, call, answer)| search::Timed { begin, end: Some(end), call, answer: Some(answer) };
    let mut history: Vec<_> = history.into_iter().map(timed).collect();
    assert!(search::check(&Register, &history).is_ok());
    history.push(history[0].clone());
    assert_eq!(search::check(&Register, &history), Err(NotLinearizable::TooLong { calls: MAX_CALLS + 1 }));
}
