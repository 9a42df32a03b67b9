//! Verbs of Tahoe's that are called otherwise here, or are not there.

use clap::Parser;
use clap::error::{ContextKind, ContextValue};

use super::Cli;

const VERBS: &[(&[&str], &str)] = &[
    (&["create-node"], "`sarsen server init` makes a storage server, `sarsen init` a client"),
    (&["create-client"], "`sarsen init` makes a client"),
    (&["create-introducer"], "`sarsen introducer init` makes an introducer"),
    (
        &["run", "start", "daemonize"],
        "`sarsen server run` and `sarsen introducer run` run a node; a client needs none, each command is one",
    ),
    (
        &["stop", "restart"],
        "servers and introducers end at SIGTERM or Ctrl-C; a client has no process to stop",
    ),
    (&["invite"], "`sarsen grid invite` prints a code, `sarsen join` and `sarsen server join` use it"),
    (&["webopen"], "`sarsen gateway run` serves a web page, `sarsen gateway url` prints its address"),
    (&["debug"], "`sarsen cap show` looks into caps, `sarsen share show` into shares"),
];

/// The command line; a verb of Tahoe's ends the program with a hint at what to use.
pub(crate) fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        let Some(hint) = hint(&error) else { error.exit() };
        // Where stderr is closed there is nobody to tell.
        let _ = error.print();
        eprintln!("\nhint: {hint}. docs/tahoe-users.md has every verb of Tahoe's");
        std::process::exit(error.exit_code())
    })
}

fn hint(error: &clap::Error) -> Option<&'static str> {
    let Some(ContextValue::String(verb)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    VERBS.iter().find(|(verbs, _)| verbs.contains(&verb.as_str())).map(|(_, hint)| *hint)
}
