//! Capabilities on the command line: given directly, or kept out of argv, which everybody on a machine can read.

use std::io::Read;

use anyhow::{Context, bail};
use caps::{Cap, MAX_CAP_LEN};

/// Reads the capability that `argument` is or points to: itself, `@FILE`, `-` for standard input, `env:` for `$SARSEN_CAP`.
pub(crate) fn read(argument: &str) -> anyhow::Result<Cap> {
    let text = if let Some(path) = argument.strip_prefix('@') {
        let file =
            std::fs::File::open(path).with_context(|| format!("cannot read a capability from {path}"))?;
        bounded(file).with_context(|| format!("cannot read a capability from {path}"))?
    } else if argument == "-" {
        bounded(std::io::stdin()).context("cannot read a capability from standard input")?
    } else if argument == "env:" {
        std::env::var("SARSEN_CAP").context("$SARSEN_CAP holds no capability")?
    } else {
        argument.to_owned()
    };
    Ok(text.trim_end_matches(['\n', '\r']).parse()?)
}

/// Whether an argument says where the capability is, and is none itself.
pub(crate) fn is_elsewhere(argument: &str) -> bool {
    argument.starts_with('@') || argument == "-" || argument == "env:"
}

fn bounded(input: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    let most = MAX_CAP_LEN as u64 + 2;
    if input.take(most + 1).read_to_string(&mut text)? as u64 > most {
        bail!("what is there is too long for a capability");
    }
    Ok(text)
}
