//! `sarsen recovery`: one file under a passphrase that brings this client back.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, bail};
use client::ClientDir;
use client::recovery::{self, Exported, RecoveryError, WORK_FACTOR};
use protocol::{Clock, SystemClock};
use zeroize::Zeroizing;

use crate::cli::{Passphrase, RecoveryCommand};

const VARIABLE: &str = "SARSEN_PASSPHRASE";

pub(crate) fn run(dir: &Path, command: &RecoveryCommand, quiet: bool) -> anyhow::Result<()> {
    match command {
        RecoveryCommand::Export(args) => {
            let dir = ClientDir::open(dir)?;
            // A passphrase that cannot be used for it need not be typed.
            if args.file.exists() {
                return Err(RecoveryError::FileExists { path: args.file.clone() }.into());
            }
            let passphrase = passphrase(&args.passphrase, true)?;
            let summary = recovery::export(&dir, &args.file, &passphrase, WORK_FACTOR)?;
            for line in &summary.left_out {
                eprintln!("note: line {line} of the aliases is damaged, and is not in the recovery file");
            }
            if !quiet {
                let aliases = if summary.aliases == 1 {
                    "1 alias".into()
                } else {
                    format!("{} aliases", summary.aliases)
                };
                eprintln!(
                    "{aliases}, the account's key, the convergence secret and the settings are in {}.",
                    args.file.display()
                );
                eprintln!(
                    "Keep it away from this machine, and remember the passphrase: nobody can open it without."
                );
            }
        }
        RecoveryCommand::Import(args) => {
            let passphrase = passphrase(&args.passphrase, false)?;
            recovery::import(dir, &args.file, &passphrase)?;
            if !quiet {
                eprintln!("This client lives in {}.", dir.display());
            }
        }
    }
    Ok(())
}

/// Says that there is no recovery file yet, or what is not in it, if so; each once a day. What cannot be found out is not worth an error here.
pub(crate) fn remind(dir: &ClientDir, quiet: bool) {
    if quiet {
        return;
    }
    let reminder = match recovery::exported(dir) {
        Ok(Exported::Never) => "whoever loses this client's directory loses its aliases; `sarsen recovery export FILE` keeps them under a passphrase".to_owned(),
        Ok(Exported::Without(names)) => format!("{}; export again", not_in_it(&names)),
        Ok(Exported::Present) | Err(_) => return,
    };
    if recovery::is_reminder_due(dir, &reminder, SystemClock::default().unix_time()) {
        eprintln!("note: {reminder}");
    }
}

fn not_in_it(names: &[String]) -> String {
    match names {
        [] => "the aliases have changed since your last recovery file".into(),
        [name] => format!("alias {name:?} is not in your last recovery file"),
        names => {
            let list: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            format!("aliases {} are not in your last recovery file", list.join(", "))
        }
    }
}

/// From the file given, the environment, or the terminal, where it is typed twice for a new file.
fn passphrase(args: &Passphrase, new: bool) -> anyhow::Result<Zeroizing<String>> {
    if let Some(file) = &args.passphrase_file {
        return Ok(recovery::passphrase_from(file)?);
    }
    if let Some(passphrase) = std::env::var_os(VARIABLE) {
        let passphrase = passphrase.into_string().map_err(|_| RecoveryError::PassphraseNotText)?;
        return Ok(Zeroizing::new(passphrase));
    }
    if !std::io::stdin().is_terminal() {
        bail!("no passphrase: there is no terminal to ask; use --passphrase-file or ${VARIABLE}");
    }
    let ask =
        |what: &str| rpassword::prompt_password(what).map(Zeroizing::new).context("no passphrase was read");
    let passphrase = ask("Passphrase: ")?;
    if new && *passphrase != *ask("Again: ")? {
        bail!("the two passphrases differ");
    }
    Ok(passphrase)
}
