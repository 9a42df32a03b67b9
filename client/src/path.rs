//! Paths on the grid, as people write them: `ALIAS:a/b`, `CAP/a/b`, `CAP:./a/b`, or `a/b` below the default alias.
//!
//! A path is cut into [`Name`]s once, here. Nothing is looked up.

use std::str::FromStr;

use caps::{Cap, CapParseError};
use encoding::directory::{Name, NameError};

use crate::aliases::{self, AliasNameError};

/// The longest path read, in bytes: more than any local file system takes.
pub const MAX_PATH_LEN: usize = 64 * 1024;

/// Where a path begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Root {
    /// The default alias: [`crate::Aliases::resolve`] says which one that is.
    Default,
    /// An alias, by its checked name. It need not exist.
    Alias(String),
    /// A capability, given in the path itself.
    Cap(Cap),
}

/// A path on the grid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GridPath {
    /// Where it begins.
    pub root: Root,
    /// The names to follow from there.
    pub names: Vec<Name>,
    /// Whether it ended in `/`: whoever wrote it means a directory.
    pub trailing_slash: bool,
}

/// Why a text is no path on the grid. No variant repeats a capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Longer than [`MAX_PATH_LEN`].
    #[error("a path of {len} bytes is too long (the longest allowed is {MAX_PATH_LEN})")]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// `/a/b`: a path of this machine, most likely.
    #[error("a path on the grid does not begin with a slash")]
    LeadingSlash,
    /// `a//b` or `ALIAS:/a`.
    #[error("a name in the path is empty: two slashes together, or one where a name should begin")]
    EmptyName,
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What stands before the first colon cannot be an alias.
    #[error("what stands before the colon is no alias")]
    Alias(#[from] AliasNameError),
    /// The capability at the beginning is none.
    #[error("the path does not begin with a capability, though it looks so")]
    Cap(#[from] CapParseError),
}

impl FromStr for GridPath {
    type Err = PathError;

    /// Reads a path. What begins as a capability does is one, up to the first `/` or `:./`; else an alias ends at the first colon that no
    /// slash precedes; else the path is below the default alias. The empty text is the default alias itself.
    ///
    /// # Errors
    ///
    /// [`PathError`].
    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.len() > MAX_PATH_LEN {
            return Err(PathError::TooLong { len: text.len() });
        }
        let (root, rest) = split_root(text)?;
        let trailing_slash = text.ends_with('/');
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() {
            return Ok(Self { root, names: Vec::new(), trailing_slash });
        }
        let name = |text: &str| match text {
            "" => Err(PathError::EmptyName),
            text => Ok(Name::new(text)?),
        };
        let names = rest.split('/').map(name).collect::<Result<_, _>>()?;
        Ok(Self { root, names, trailing_slash })
    }
}

/// Whether a text is meant as a capability.
pub fn looks_like_cap(text: &str) -> bool {
    ["URI:", "ro.URI:", "imm.URI:"].iter().any(|start| text.starts_with(start))
}

fn split_root(text: &str) -> Result<(Root, &str), PathError> {
    if looks_like_cap(text) {
        let (cap, rest) = match (text.find('/'), text.find(":./")) {
            (Some(slash), Some(dot)) if dot < slash => (&text[..dot], &text[dot + 3..]),
            (Some(slash), _) => (&text[..slash], &text[slash + 1..]),
            (None, _) => (text, ""),
        };
        if rest.starts_with('/') {
            return Err(PathError::EmptyName);
        }
        return Ok((Root::Cap(cap.parse()?), rest));
    }
    if text.starts_with('/') {
        return Err(PathError::LeadingSlash);
    }
    match text.split_once(':') {
        // A colon in the middle of a path, as in Tahoe.
        Some((before, _)) if before.contains('/') => Ok((Root::Default, text)),
        Some((_, after)) if after.starts_with('/') => Err(PathError::EmptyName),
        Some((before, after)) => Ok((Root::Alias(aliases::name(before)?), after)),
        None => Ok((Root::Default, text)),
    }
}
