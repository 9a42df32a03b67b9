//! `sarsen init`: a new client.

use std::path::Path;

use client::ClientDir;
use protocol::OsRandom;

use crate::cli::Init;

pub(crate) fn run(dir: &Path, args: &Init, quiet: bool) -> anyhow::Result<()> {
    ClientDir::create(dir, &args.introducers, args.shares, args.zone.clone(), &OsRandom)?;
    if quiet {
        return Ok(());
    }
    eprintln!("This client lives in {}.", dir.display());
    if args.introducers.is_empty() {
        eprintln!("It knows no introducer yet: add one to {}.", dir.join("sarsen.toml").display());
    }
    Ok(())
}
