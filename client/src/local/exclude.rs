//! What to leave out of a backup, by glob patterns, as Tahoe's `--exclude`, `--exclude-from` and `--exclude-vcs`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

/// What the version control systems keep beside people's files; Tahoe's list.
const VCS: [&str; 20] = [
    "CVS",
    "RCS",
    "SCCS",
    ".git",
    ".gitignore",
    ".cvsignore",
    ".svn",
    ".arch-ids",
    "{arch}",
    "=RELEASE-ID",
    "=meta-update",
    "=update",
    ".bzr",
    ".bzrignore",
    ".bzrtags",
    ".hg",
    ".hgignore",
    ".hgtags",
    "_darcs",
    ".jj",
];
/// The largest file of patterns read, in bytes.
const MAX_FILE_LEN: u64 = 1 << 20;
/// As a shell does it, except that a star also stands for a slash and for a dot at the beginning, as in Tahoe.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExcludeError {
    /// It is no glob.
    #[error("{pattern:?} is no pattern: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Where and why.
        reason: String,
    },
    /// The file of patterns cannot be read.
    #[error("the patterns in {path} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file of patterns is too large.
    #[error("{path} is larger than {MAX_FILE_LEN} bytes, too large for a list of patterns")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// Patterns of what to leave out.
#[derive(Clone, Debug, Default)]
pub struct Excludes {
    patterns: Vec<Pattern>,
    vcs: bool,
}

impl Excludes {
    /// Adds a glob: `*`, `?`, `[...]`, `**`. A slash at its end is dropped.
    ///
    /// # Errors
    ///
    /// [`ExcludeError::Pattern`].
    pub fn add(&mut self, pattern: &str) -> Result<(), ExcludeError> {
        let shorter = if pattern.len() > 1 { pattern.trim_end_matches('/') } else { pattern };
        let parsed = Pattern::new(shorter);
        self.patterns.push(parsed.map_err(|error| ExcludeError::Pattern {
            pattern: pattern.to_owned(),
            reason: format!("{} at character {}", error.msg, error.pos),
        })?);
        Ok(())
    }

    /// Adds the globs in a file, one a line, in UTF-8. Empty lines are passed over.
    ///
    /// # Errors
    ///
    /// [`ExcludeError`].
    pub fn add_file(&mut self, path: &Path) -> Result<(), ExcludeError> {
        let failed = |source| ExcludeError::File { path: path.to_owned(), source };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        let read = file.take(MAX_FILE_LEN + 1).read_to_string(&mut text).map_err(failed)?;
        if read as u64 > MAX_FILE_LEN {
            return Err(ExcludeError::TooLarge { path: path.to_owned() });
        }
        text.lines().filter(|line| !line.is_empty()).try_for_each(|line| self.add(line))
    }

    /// Leaves out what version control systems keep.
    pub fn add_vcs(&mut self) {
        self.vcs = true;
    }

    /// Whether to leave out this entry: its name, or its path below the root of the tree, matches a pattern.
    pub fn matches(&self, name: &str, relative: &Path) -> bool {
        if self.vcs && VCS.contains(&name) {
            return true;
        }
        let relative = if self.patterns.is_empty() { "".into() } else { relative.to_string_lossy() };
        self.patterns
            .iter()
            .any(|pattern| pattern.matches_with(name, OPTIONS) || pattern.matches_with(&relative, OPTIONS))
    }
}
