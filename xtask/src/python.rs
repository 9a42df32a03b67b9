//! The Python that tests run programs under `misc/` with, so that the formats are read by more than our own code.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::{command, run, succeeds, target_dir};

/// The variable that names it to the tests.
pub(crate) const VARIABLE: &str = "SARSEN_PYTHON";
/// The variable that names the stock `tahoe` command to the tests.
pub(crate) const TAHOE_VARIABLE: &str = "SARSEN_TAHOE";
/// The version that the gateway is held against.
const TAHOE: &str = "tahoe-lafs==1.20.0";
const PACKAGES: [&str; 3] = ["blake3", "cryptography", "selenium"];

/// The Python named by the environment, or else one of our own below the target directory, made when it is missing.
pub(crate) fn ensure() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(VARIABLE) {
        return Ok(given.into());
    }
    let home = target_dir().join("venv");
    let python = home.join("bin/python");
    let import = format!("import {}", PACKAGES.join(", "));
    if !succeeds(command(&python).args(["-c", &import])) {
        run(command("python3").args(["-m", "venv", "--clear"]).arg(&home))
            .context("no virtual environment (Debian: python3-venv)")?;
        run(command(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
    }
    Ok(python)
}

/// The stock `tahoe` command named by the environment, or else one of our own below the target directory, installed when it is missing. It
/// has an environment of its own, since it wants many packages of certain versions.
pub(crate) fn ensure_tahoe() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(TAHOE_VARIABLE) {
        return Ok(given.into());
    }
    let home = target_dir().join("tahoe-venv");
    let tahoe = home.join("bin/tahoe");
    if !succeeds(command(&tahoe).arg("--version")) {
        run(command("python3").args(["-m", "venv", "--clear"]).arg(&home))
            .context("no virtual environment (Debian: python3-venv)")?;
        run(command(home.join("bin/python")).args(["-m", "pip", "install", "--quiet", TAHOE]))?;
    }
    Ok(tahoe)
}
