//! Many histories, within what slots promise to survive: none loses, undoes or repeats an acknowledged change.

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use testkit::faults::Kind;

use crate::history::tell;
use crate::plan::Plan;
use crate::tally::Tally;

/// In every run; in eight parts, for as many threads.
const USUAL: u64 = 200;
const PARTS: u64 = 8;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs the history of a seed, and says what is wrong with it.
fn judge(seed: u64) -> Result<Tally, String> {
    let told = catch_unwind(|| tell(&Plan::of(seed)));
    let told = told.map_err(|_| format!("seed {seed}: it panicked"))?;
    match told.verdict() {
        Ok(()) => Ok(told.tally),
        Err(violation) => {
            let (plan, history, faults) = (Plan::of(seed), &told.history, &told.schedule.0);
            Err(format!("seed {seed}: {violation}\n{plan:?}\n{faults:#?}\n{}", lines(history)))
        }
    }
}

fn lines(history: &[testkit::linear::set::Timed]) -> String {
    let line = |(at, timed): (usize, &testkit::linear::set::Timed)| format!("{at}: {timed:?}\n");
    history.iter().enumerate().map(line).collect()
}

/// Runs these seeds on so many threads.
fn run(first: u64, histories: u64, threads: u64) -> (Tally, Vec<String>) {
    let (tally, failures) = (Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    let (next, begun) = (AtomicU64::new(0), Instant::now());
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= histories {
                return;
            }
            match judge(first + at) {
                Ok(one) => tally.lock().unwrap().merge(&one),
                Err(failure) => {
                    println!("{failure}");
                    failures.lock().unwrap().push(failure);
                }
            }
            if (at + 1) % 500 == 0 {
                println!("{} histories in {:.0} s", at + 1, begun.elapsed().as_secs_f64());
            }
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    (tally.into_inner().unwrap(), failures.into_inner().unwrap())
}

/// One part of the usual histories.
fn part(number_of_part: u64) {
    let first = number("SARSEN_SIM_SEED").unwrap_or(0);
    let histories = number("SARSEN_SIM_HISTORIES").unwrap_or(USUAL).div_ceil(PARTS);
    let (tally, failures) = run(first + number_of_part * histories, histories, 1);
    println!("{tally}");
    assert!(failures.is_empty(), "{}", failures[0]);
    proves_something(&tally);
}

/// Histories in which little succeeds, or nothing goes wrong, prove nothing.
fn proves_something(tally: &Tally) {
    if tally.histories < 20 {
        return;
    }
    assert!(tally.operations() >= 30 * tally.histories, "{tally}");
    assert!(tally.done * 2 >= tally.adds(), "{tally}");
    assert!(tally.refused > 0 && tally.unknown > 0 && tally.killed > 0 && tally.retried > 0, "{tally}");
    assert!(tally.confirmed > tally.newest_seen && tally.newest_seen > 0, "{tally}");
    assert!(tally.moved > 0 && tally.reborn > 0, "{tally}");
    assert_eq!(tally.census.missing(), Vec::<Kind>::new(), "{tally}");
}

#[test]
fn part_0() {
    part(0);
}

#[test]
fn part_1() {
    part(1);
}

#[test]
fn part_2() {
    part(2);
}

#[test]
fn part_3() {
    part(3);
}

#[test]
fn part_4() {
    part(4);
}

#[test]
fn part_5() {
    part(5);
}

#[test]
fn part_6() {
    part(6);
}

#[test]
fn part_7() {
    part(7);
}

/// The long run, on all processors: `cargo xtask sim`.
#[test]
#[ignore = "takes an hour; cargo xtask sim runs it"]
fn long_run() {
    let first = number("SARSEN_SIM_SEED").unwrap_or(0);
    let histories = number("SARSEN_SIM_HISTORIES").unwrap_or(10_000);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let begun = Instant::now();
    let (tally, failures) = run(first, histories, threads);
    println!("{tally}\n  {:.0} s on {threads} threads", begun.elapsed().as_secs_f64());
    for failure in &failures {
        println!("FAILED {}", failure.lines().next().unwrap_or_default());
    }
    assert!(failures.is_empty(), "{} histories are not linearizable", failures.len());
    proves_something(&tally);
}

#[test]
fn a_seed_repeats_its_history() {
    for seed in [3, 11, 17] {
        let (one, other) = (tell(&Plan::of(seed)), tell(&Plan::of(seed)));
        assert_eq!((&one.trace, &one.tally), (&other.trace, &other.tally), "seed {seed}");
        assert_eq!(one.history, other.history, "seed {seed}");
    }
    assert_ne!(tell(&Plan::of(3)).trace, tell(&Plan::of(4)).trace);
}
