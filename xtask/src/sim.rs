//! The long run of simulated histories: real clients and servers of slots, everything going wrong, every history judged.

use anyhow::{Context, Result, bail};

use crate::command::{cargo, succeeds_loudly};

/// Runs so many histories from a seed on. Whether all were linearizable; which were not is printed, with the seed that repeats each.
pub(crate) fn run(mut args: &[&str]) -> Result<bool> {
    let (mut histories, mut seed) = (10_000u64, 0u64);
    while let [name, value, rest @ ..] = args {
        let number = value.parse().with_context(|| format!("{name} takes a number"))?;
        match *name {
            "--histories" => histories = number,
            "--seed" => seed = number,
            _ => bail!("there is no option {name}"),
        }
        args = rest;
    }
    if let [unknown] = args {
        bail!("{unknown} takes a number, or is unknown");
    }
    let mut test = cargo("test --package testkit --locked --test sim -- --ignored --exact --nocapture");
    test.arg("histories::long_run");
    test.env("SARSEN_SIM_HISTORIES", histories.to_string()).env("SARSEN_SIM_SEED", seed.to_string());
    succeeds_loudly(&mut test)
}
