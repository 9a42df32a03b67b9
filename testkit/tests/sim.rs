//! Slots under fire: real clients and real servers on the simulated grid, everything going wrong by a seeded schedule, and every history
//! judged exactly (`testkit::linear::set`).
//!
//! 200 histories in every run; `cargo xtask sim` runs 10,000. `SARSEN_SIM_HISTORIES` says how many, `SARSEN_SIM_SEED` where they begin:
//! one history and the seed that was printed repeat a failure.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot make its own inputs has nothing to report but the panic"
)]

#[path = "sim/erased.rs"]
mod erased;
#[path = "sim/found.rs"]
mod found;
#[path = "sim/histories.rs"]
mod histories;
#[path = "sim/history.rs"]
mod history;
#[path = "sim/killed.rs"]
mod killed;
#[path = "sim/plan.rs"]
mod plan;
#[path = "sim/planted.rs"]
mod planted;
#[path = "sim/tally.rs"]
mod tally;
#[path = "sim/worker.rs"]
mod worker;
#[path = "sim/year.rs"]
mod year;
#[path = "sim/year_told.rs"]
mod year_told;
#[path = "sim/year_writer.rs"]
mod year_writer;
