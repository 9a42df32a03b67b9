//! What the house does to itself: `cargo xtask test` is the one gate, `cargo xtask fuzz` looks for what the tests did not think of.
//!
//! Nothing here is part of the program. Deliberately absent: shell scripts, and any dependency but `anyhow`.

mod command;
mod fuzz;
mod gate;
mod python;
mod sim;
mod tidy;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const HELP: &str = "\
cargo xtask test [--only STEP]                 the gate: everything that must hold before a commit
cargo xtask fuzz [--seconds N] [TARGET]...     run the fuzz targets (all of them, 60 seconds each)
cargo xtask sim [--histories N] [--seed S]     long run of slots under faults, judged (10000 histories from seed 0)
cargo xtask sim --year [--seeds N] [--seed S]  years of a grid that loses servers and repairs itself (100 from seed 0)
cargo xtask help                               this text, and the steps of the gate";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything asked for held.
fn run() -> Result<bool> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["test"] => gate::run(None),
        ["test", "--only", step] => gate::run(Some(step)),
        ["fuzz", rest @ ..] => {
            let (seconds, targets) = match rest {
                ["--seconds", seconds, targets @ ..] => {
                    (seconds.parse().context("--seconds takes a number")?, targets)
                }
                targets => (60, targets),
            };
            fuzz::run(seconds, targets)
        }
        ["sim", rest @ ..] => sim::run(rest),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}\n\nSteps of the gate, in their order:\n{}", gate::describe());
            Ok(true)
        }
        _ => bail!("unknown arguments\n\n{HELP}"),
    }
}
