//! Why an alias cannot be used.

use std::io;
use std::path::PathBuf;

use caps::Authority;

use super::MAX_ALIAS_LEN;

/// Why a text cannot be the name of an alias.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AliasNameError {
    /// Nothing at all.
    #[error("the name of an alias is empty")]
    Empty,
    /// Longer than [`MAX_ALIAS_LEN`].
    #[error("an alias of {len} bytes is too long (the longest allowed is {MAX_ALIAS_LEN})")]
    TooLong {
        /// Its bytes.
        len: usize,
    },
    /// A character that would end the name, in a path or in the file.
    #[error("an alias may not contain {character:?}")]
    BadCharacter {
        /// Which one.
        character: char,
    },
    /// It means something else on a command line.
    #[error("{name:?} cannot be an alias: it would be taken for something else")]
    Taken {
        /// The name.
        name: String,
    },
}

/// Why an alias cannot be used, made or removed. No variant repeats a capability.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AliasError {
    /// No name for an alias.
    #[error(transparent)]
    Name(#[from] AliasNameError),
    /// There is no such alias.
    #[error("there is no alias {name:?}{}", proposal(close))]
    Unknown {
        /// The name asked for.
        name: String,
        /// Names of existing aliases that come close, the closest first.
        close: Vec<String>,
    },
    /// There is a line of this name, and what it says cannot be understood.
    #[error("alias {name:?} does not stand for a directory cap: its line is damaged")]
    Damaged {
        /// The name.
        name: String,
    },
    /// A path named no alias, and there is no default.
    #[error("the path names no alias, and there is no alias \"sarsen\" to take its place")]
    NoDefault,
    /// The name is taken.
    #[error("there is an alias {name:?} already")]
    Exists {
        /// The name.
        name: String,
    },
    /// The cap is a file's.
    #[error("an alias stands for a directory; this cap ({kind}) is no directory's")]
    NotADirectory {
        /// The kind of the cap, as written in it.
        kind: &'static str,
    },
    /// The cap grants no reading.
    #[error("an alias stands for a directory that can be read; this cap only allows to {authority}")]
    NotReadable {
        /// What the cap grants.
        authority: Authority,
    },
    /// The cap is of a kind this program does not know.
    #[error("this program does not know what the cap is for")]
    UnknownKind,
    /// Another process has been changing the aliases for too long.
    #[error("another process is changing the aliases")]
    Busy,
    /// The file is too large to be a list of aliases.
    #[error("{path} is larger than {max} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        max: u64,
    },
    /// The file cannot be read or written.
    #[error("{path} cannot be used")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

fn proposal(close: &[String]) -> String {
    match close {
        [] => String::new(),
        names => {
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            format!("; did you mean {}?", names.join(" or "))
        }
    }
}
