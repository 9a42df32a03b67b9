//! Capabilities on the command line: given directly, or kept out of argv, which everybody on a machine can read.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use caps::{Cap, CapParseError, MAX_CAP_LEN};
use client::path::looks_like_cap;
use client::{GridPath, Root};

use crate::cmd::target::Misread;

/// So many bytes tell a capability from something else.
const MAX_CAP_START: usize = 16;

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
        let parsed = argument.trim_end_matches(['\n', '\r']).parse();
        return parsed.map_err(|error: CapParseError| match meant(argument) {
            Some(hint) => Misread { error: error.into(), hint }.into(),
            None => error.into(),
        });
    };
    Ok(text.trim_end_matches(['\n', '\r']).parse()?)
}

/// What was meant by an argument that is no capability. It is not repeated unless it is a file's name: half a capability is a secret too.
fn meant(argument: &str) -> Option<String> {
    if argument.to_ascii_lowercase().contains("uri:") {
        return None;
    }
    let path = || {
        let path = argument.parse().is_ok_and(|path: GridPath| matches!(path.root, Root::Alias(_)));
        path.then(|| {
            "this is a path; `sarsen ls --uri` shows caps, `sarsen alias list` those of aliases".into()
        })
    };
    file_here(argument).or_else(path)
}

/// Whether an argument says where the capability is, and is none itself.
pub(crate) fn is_elsewhere(argument: &str) -> bool {
    argument.starts_with('@') || argument == "-" || argument == "env:"
}

/// What was meant by the name of a file of this machine, if it is one.
pub(crate) fn file_here(argument: &str) -> Option<String> {
    let path = Path::new(argument);
    if !path.is_file() {
        return None;
    }
    let mut begin = [0; MAX_CAP_START];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut begin)).unwrap_or(0);
    let is_cap = std::str::from_utf8(&begin[..read]).is_ok_and(looks_like_cap);
    Some(match is_cap {
        true => format!("{argument} is a file here; did you mean @{argument}?"),
        false => format!("{argument} is a file here; `sarsen put` and `sarsen cp` store local files"),
    })
}

fn bounded(input: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    let most = MAX_CAP_LEN as u64 + 2;
    if input.take(most + 1).read_to_string(&mut text)? as u64 > most {
        bail!("what is there is too long for a capability");
    }
    Ok(text)
}
