//! Aliases: short names for directory caps, in `private/aliases` of the client's directory, in Tahoe's own form:
//!
//! ```text
//! # comments stay where they are
//! photos: URI:DIR2:...
//! ```
//!
//! The file is as secret as the caps in it. It is rewritten whole or not at all, and one process at a time rewrites it.

mod error;
mod text;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use caps::{Authority, Cap, MAX_CAP_LEN};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::config::ClientDir;
use crate::files::{read_secret, write_atomically};
use crate::path::Root;
use text::{Line, Text};

pub use error::{AliasError, AliasNameError};

const FILE: &str = "private/aliases";
const LOCK: &str = "private/aliases.lock";
/// The alias of paths that name none.
pub const DEFAULT: &str = "sarsen";
/// The alias of such paths where there is no [`DEFAULT`]: who comes from Tahoe has this one.
pub const TAHOE_DEFAULT: &str = "tahoe";
/// The longest name, in bytes.
pub const MAX_ALIAS_LEN: usize = 255;
/// The largest file read, in bytes: some 10,000 aliases.
const MAX_FILE_LEN: u64 = 4 << 20;
/// How long to wait for another process that changes the aliases; it needs milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How many names an error proposes.
const MAX_CLOSE: usize = 3;
/// How alike a proposed name must be, by Jaro and Winkler: 1 is equal.
const CLOSE_ENOUGH: f64 = 0.8;

/// Checks the name of an alias, and brings it to NFC. One colon at its end is dropped, as Tahoe does: `add-alias photos: CAP`.
///
/// # Errors
///
/// [`AliasNameError`] if it is empty, too long, contains `:`, `/`, whitespace or a control character, or would be read as something
/// else on a command line (`URI`, `env`, a leading `@` or `#`).
pub fn name(text: &str) -> Result<String, AliasNameError> {
    let text = text.strip_suffix(':').unwrap_or(text);
    if text.is_empty() {
        return Err(AliasNameError::Empty);
    }
    if text.len() > MAX_ALIAS_LEN {
        return Err(AliasNameError::TooLong { len: text.len() });
    }
    if let Some(character) = text.chars().find(|c| ":/".contains(*c) || c.is_whitespace() || c.is_control()) {
        return Err(AliasNameError::BadCharacter { character });
    }
    if ["URI", "ro.URI", "imm.URI", "env"].contains(&text) || text.starts_with(['@', '#']) {
        return Err(AliasNameError::Taken { name: text.to_owned() });
    }
    let name: String = text.nfc().collect();
    if name.len() > MAX_ALIAS_LEN {
        return Err(AliasNameError::TooLong { len: name.len() });
    }
    Ok(name)
}

/// The aliases of one client.
#[derive(Clone, Debug)]
pub struct Aliases {
    file: PathBuf,
    lock: PathBuf,
}

/// What the file holds.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The aliases by name. Of two lines with the same name the later one counts, as in Tahoe.
    pub aliases: BTreeMap<String, Cap>,
    /// The numbers of lines that cannot be understood, from 1. They are kept when the file is rewritten.
    pub damaged: Vec<usize>,
}

impl Aliases {
    /// The aliases in a client's directory. The file need not exist.
    pub fn of(dir: &ClientDir) -> Self {
        Self { file: dir.path(FILE), lock: dir.path(LOCK) }
    }

    /// Where they are kept.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// All of them.
    ///
    /// # Errors
    ///
    /// [`AliasError::File`] or [`AliasError::TooLarge`]. One bad line does not hide the others.
    pub fn list(&self) -> Result<Listing, AliasError> {
        self.read().map(|text| listing(&text))
    }

    /// The cap behind one of them.
    ///
    /// # Errors
    ///
    /// [`AliasError::Unknown`] with the names that come close, [`AliasError::Damaged`]; see [`Self::list`] for others.
    pub fn get(&self, name_given: &str) -> Result<Cap, AliasError> {
        let name = name(name_given)?;
        find(&self.read()?, &name)
    }

    /// The cap a path begins at. [`Root::Default`] is `sarsen`, or `tahoe` where only that exists.
    ///
    /// # Errors
    ///
    /// As [`Self::get`]; [`AliasError::NoDefault`] if there is neither default.
    pub fn resolve(&self, root: &Root) -> Result<Cap, AliasError> {
        match root {
            Root::Cap(cap) => Ok(cap.clone()),
            Root::Alias(name) => self.get(name),
            Root::Default => {
                let text = self.read()?;
                let found = [DEFAULT, TAHOE_DEFAULT].into_iter().find(|name| text.has(name));
                find(&text, found.ok_or(AliasError::NoDefault)?)
            }
        }
    }

    /// Adds one.
    ///
    /// # Errors
    ///
    /// [`AliasError`]: [`AliasError::Exists`] if the name is taken; a cap that is no directory's, or grants no reading, is refused.
    pub fn add(&self, name: &str, cap: &Cap) -> Result<(), AliasError> {
        self.add_all(&[(name, cap.clone())])
    }

    /// Adds several at once; all of them or none.
    ///
    /// # Errors
    ///
    /// As [`Self::add`].
    pub fn add_all(&self, aliases: &[(&str, Cap)]) -> Result<(), AliasError> {
        self.change(|text| {
            let mut names: HashSet<String> = text.names().collect();
            let mut lines =
                Zeroizing::new(String::with_capacity(aliases.len() * (MAX_ALIAS_LEN + MAX_CAP_LEN + 3)));
            for (name_given, cap) in aliases {
                let name = name(name_given)?;
                check(cap)?;
                let cap = Zeroizing::new(cap.to_string());
                [&name, ": ", &cap, "\n"].into_iter().for_each(|part| lines.push_str(part));
                if !names.insert(name.clone()) {
                    return Err(AliasError::Exists { name });
                }
            }
            text.append(&lines);
            Ok(())
        })
    }

    /// Removes one, even if its line is damaged.
    ///
    /// # Errors
    ///
    /// [`AliasError`]: [`AliasError::Unknown`] if there is none.
    pub fn remove(&self, name_given: &str) -> Result<(), AliasError> {
        let name = name(name_given)?;
        self.change(|text| {
            if !text.has(&name) {
                return Err(unknown(text, &name));
            }
            text.remove(&name);
            Ok(())
        })
    }

    /// Gives one another name; it stays in its line.
    ///
    /// # Errors
    ///
    /// [`AliasError`]: [`AliasError::Unknown`] if there is none, [`AliasError::Exists`] if the new name is taken.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), AliasError> {
        let (from, to) = (name(from)?, name(to)?);
        self.change(|text| {
            if !text.has(&from) {
                return Err(unknown(text, &from));
            }
            if from != to && text.has(&to) {
                return Err(AliasError::Exists { name: to });
            }
            text.rename(&from, &to);
            Ok(())
        })
    }

    /// Reads, changes and rewrites the file while no other process does.
    fn change<T>(&self, change: impl FnOnce(&mut Text) -> Result<T, AliasError>) -> Result<T, AliasError> {
        let _lock = self.lock()?;
        let mut text = self.read()?;
        let done = change(&mut text)?;
        write_atomically(&self.file, text.as_bytes(), 0o600).map_err(self.failed())?;
        Ok(done)
    }

    /// Held until dropped. It is a file of its own, since the file with the aliases is replaced.
    fn lock(&self) -> Result<File, AliasError> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.lock);
        let file = file.map_err(self.failed())?;
        let begun = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK | Errno::INTR) if begun.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => return Err(AliasError::Busy),
                Err(error) => return Err(self.failed()(error.into())),
            }
        }
    }

    fn read(&self) -> Result<Text, AliasError> {
        match fs::metadata(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Text::new(Zeroizing::default()));
            }
            Ok(metadata) if metadata.len() > MAX_FILE_LEN => {
                return Err(AliasError::TooLarge { path: self.file.clone(), max: MAX_FILE_LEN });
            }
            _ => {}
        }
        read_secret(&self.file).map(Text::new).map_err(self.failed())
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> AliasError + use<> {
        let path = self.file.clone();
        move |source| AliasError::File { path, source }
    }
}

fn listing(text: &Text) -> Listing {
    let mut aliases = BTreeMap::new();
    let mut damaged = Vec::new();
    for (number, line) in text.lines() {
        match line {
            Line::Alias { name, cap } => drop(aliases.insert(name, cap)),
            Line::Damaged => damaged.push(number),
            Line::Comment => {}
        }
    }
    Listing { aliases, damaged }
}

fn find(text: &Text, name: &str) -> Result<Cap, AliasError> {
    if let Some(cap) = listing(text).aliases.remove(name) {
        return Ok(cap);
    }
    if text.has(name) {
        return Err(AliasError::Damaged { name: name.to_owned() });
    }
    Err(unknown(text, name))
}

fn unknown(text: &Text, name: &str) -> AliasError {
    let listing = listing(text);
    let likeness = |other: &str| strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase());
    let mut close: Vec<(f64, &String)> = listing
        .aliases
        .keys()
        .map(|other| (likeness(other), other))
        .filter(|(likeness, _)| *likeness >= CLOSE_ENOUGH)
        .collect();
    close.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let close = close.into_iter().take(MAX_CLOSE).map(|(_, other)| other.clone()).collect();
    AliasError::Unknown { name: name.to_owned(), close }
}

/// Whether an alias may stand for this cap.
fn check(cap: &Cap) -> Result<(), AliasError> {
    if matches!(cap, Cap::Unknown(_)) {
        return Err(AliasError::UnknownKind);
    }
    if !cap.is_directory() {
        return Err(AliasError::NotADirectory { kind: cap.kind() });
    }
    match cap.authority() {
        Authority::Read | Authority::Write => Ok(()),
        authority => Err(AliasError::NotReadable { authority }),
    }
}
