//! The long runs of simulations: histories of slots under faults, and years of a grid that loses servers.

use anyhow::{Context, Result, bail};

use crate::command::{cargo, succeeds_loudly};

/// Runs so many histories, or with `--year` so many years, from a seed on. Whether all went well; what did not is printed, with the seed
/// that repeats it.
pub(crate) fn run(mut args: &[&str]) -> Result<bool> {
    let (mut count, mut seed, mut years) = (None, 0u64, false);
    while let [name, rest @ ..] = args {
        args = rest;
        if *name == "--year" {
            years = true;
            continue;
        }
        let [value, rest @ ..] = rest else { bail!("{name} takes a number, or is unknown") };
        let number = value.parse().with_context(|| format!("{name} takes a number"))?;
        match *name {
            "--histories" if !years => count = Some(number),
            "--seeds" if years => count = Some(number),
            "--seed" => seed = number,
            _ => bail!("there is no option {name} here"),
        }
        args = rest;
    }
    let mut test = cargo("test --package testkit --locked --test sim -- --ignored --exact --nocapture");
    if years {
        test.arg("year::many_years");
        test.env("SARSEN_YEAR_SEEDS", count.unwrap_or(100).to_string())
            .env("SARSEN_YEAR_SEED", seed.to_string());
    } else {
        test.arg("histories::long_run");
        test.env("SARSEN_SIM_HISTORIES", count.unwrap_or(10_000).to_string());
        test.env("SARSEN_SIM_SEED", seed.to_string());
    }
    succeeds_loudly(&mut test)
}
