//! The recovery file: aliases, account key, convergence secret and settings, under a passphrase.
//!
//! Whoever loses the client's directory loses the caps in it. The recovery file, kept elsewhere, brings the client back. It is an age
//! file for one passphrase (age-encryption.org/v1, scrypt); what is inside stands in `docs/spec/recovery.md`.

mod contents;
mod error;
mod seal;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use caps::Cap;
use zeroize::Zeroizing;

use crate::aliases::{Aliases, Listing};
use crate::config::{ClientDir, ConfigError};
use crate::files::{create_secret, write_atomically};
use contents::Contents;

pub use error::RecoveryError;
pub use seal::{MAX_WORK_FACTOR, WORK_FACTOR};

/// The largest recovery file read, in bytes.
pub const MAX_FILE_LEN: u64 = 8 << 20;
/// Remembers what was exported.
const MARKER: &str = "private/recovery.exported";
/// Remembers what was reminded of, and when: seconds since 1970, and the text. It names aliases, as `aliases` beside it does.
const REMINDED: &str = "private/recovery.reminded";
const REMIND_EVERY_S: u64 = 86_400;
const MARKER_CONTEXT: &str = "sarsen 2026 aliases in a recovery file, version 1";
const ALIAS_CONTEXT: &str = "sarsen 2026 alias in a recovery file, version 1";

/// Whether there is a recovery file of a client, as far as the client knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exported {
    /// None was ever made.
    Never,
    /// One was made, and lacks these aliases of those there are now; none where all that is known is that they are not the same.
    Without(Vec<String>),
    /// One was made with all aliases there are now.
    Present,
}

/// What went into a recovery file beside keys and settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// How many aliases.
    pub aliases: usize,
    /// The numbers of lines of the aliases' file that could not be understood and are not in it.
    pub left_out: Vec<usize>,
}

/// Writes the recovery file of a client to `file`, which must not exist, and remembers that it was made.
///
/// `work_factor` is the scrypt work factor as a power of two, [`WORK_FACTOR`] unless for tests. This takes about a second.
///
/// # Errors
///
/// [`RecoveryError`].
pub fn export(
    dir: &ClientDir,
    file: &Path,
    passphrase: &str,
    work_factor: u8,
) -> Result<Summary, RecoveryError> {
    let (contents, marker_text) = Contents::collect(dir)?;
    let summary = Summary { aliases: contents.aliases(), left_out: Aliases::of(dir).list()?.damaged };
    let sealed = seal::seal(&contents.to_text(), passphrase, work_factor)?;
    let written = create_secret(file, &sealed).and_then(|()| sync_folder(file));
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(RecoveryError::FileExists { path: file.to_owned() });
        }
        Err(source) => {
            // Half a recovery file is worse than none; the error that counts is the first one.
            let _ = fs::remove_file(file);
            return Err(RecoveryError::File { path: file.to_owned(), source });
        }
        Ok(()) => {}
    }
    let marker = dir.path(MARKER);
    write_atomically(&marker, marker_text.as_bytes(), 0o600)
        .map_err(|source| RecoveryError::File { path: marker, source })?;
    Ok(summary)
}

/// Whether the client in `dir` was ever exported, and which of its aliases were not.
///
/// # Errors
///
/// [`RecoveryError`] if the aliases or the marker cannot be read.
pub fn exported(dir: &ClientDir) -> Result<Exported, RecoveryError> {
    let path = dir.path(MARKER);
    let marker = match fs::read_to_string(&path) {
        Ok(marker) => marker,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Exported::Never),
        Err(source) => return Err(RecoveryError::File { path, source }),
    };
    let listing = Aliases::of(dir).list()?;
    let mut lines = marker.lines().map(str::trim);
    if lines.next() == Some(&*fingerprint(&listing)) || listing.aliases.is_empty() {
        return Ok(Exported::Present);
    }
    let kept: HashSet<&str> = lines.collect();
    if kept.is_empty() {
        // There was none to be exported, or an older program did it, which remembered no single ones.
        let none = marker.trim() == fingerprint(&Listing::default());
        return Ok(Exported::Without(if none { listing.aliases.into_keys().collect() } else { Vec::new() }));
    }
    let missing = listing.aliases.iter().filter(|(name, cap)| !kept.contains(&*alias_hash(name, cap)));
    let missing: Vec<String> = missing.map(|(name, _)| name.clone()).collect();
    Ok(if missing.is_empty() { Exported::Present } else { Exported::Without(missing) })
}

/// Whether a reminder is to be shown `now` (time since 1970): not if the same was shown within a day. What is shown is remembered; where that
/// cannot be written, it is shown each time.
pub fn is_reminder_due(dir: &ClientDir, reminder: &str, now: Duration) -> bool {
    let path = dir.path(REMINDED);
    let now_s = now.as_secs();
    let last = fs::read_to_string(&path).unwrap_or_default();
    let last = last.split_once('\n').filter(|(_, told)| *told == reminder);
    let last: Option<u64> = last.and_then(|(at, _)| at.parse().ok());
    // One of the future was written by a wrong clock.
    if last.is_some_and(|at| at <= now_s && now_s - at < REMIND_EVERY_S) {
        return false;
    }
    let told = format!("{now_s}\n{reminder}");
    if let Err(error) = write_atomically(&path, told.as_bytes(), 0o600) {
        tracing::debug!(path = %path.display(), %error, "what was reminded of is not kept");
    }
    true
}

/// Makes a client's directory at `dir` out of a recovery file. `dir` must not exist, or be an empty folder: it appears whole or not at
/// all.
///
/// # Errors
///
/// [`RecoveryError`].
pub fn import(dir: &Path, file: &Path, passphrase: &str) -> Result<ClientDir, RecoveryError> {
    // Before anything is deciphered: the passphrase need not be typed in vain.
    check_free(dir)?;
    let sealed = read_bounded(file)?;
    let contents = Contents::from_text(&seal::open(&sealed, passphrase)?)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RecoveryError::File { path, source }
    };
    let absolute = std::path::absolute(dir).map_err(failed(dir))?;
    let name = absolute.file_name().ok_or_else(|| RecoveryError::NotEmpty { dir: dir.to_owned() })?;
    let parent = absolute.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(failed(parent))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.import", std::process::id()));
    let beside = parent.join(beside);
    let made = (|| {
        fs::DirBuilder::new().mode(0o700).create(&beside).map_err(failed(&beside))?;
        let made = contents.write(&beside)?;
        let marker = made.path(MARKER);
        let text = marker_text(&Aliases::of(&made).list()?);
        write_atomically(&marker, text.as_bytes(), 0o600).map_err(failed(&marker))?;
        fs::rename(&beside, &absolute).map_err(|source| match source.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
                RecoveryError::NotEmpty { dir: dir.to_owned() }
            }
            _ => RecoveryError::File { path: absolute.clone(), source },
        })?;
        sync_folder(&absolute).map_err(failed(&absolute))
    })();
    if made.is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    made?;
    Ok(ClientDir::open(dir)?)
}

/// Reads a passphrase from a file: its first line, without the newline.
///
/// # Errors
///
/// [`RecoveryError::File`], or [`RecoveryError::EmptyPassphrase`].
pub fn passphrase_from(file: &Path) -> Result<Zeroizing<String>, RecoveryError> {
    let bytes = Zeroizing::new(read_bounded(file)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| RecoveryError::PassphraseNotText)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(RecoveryError::EmptyPassphrase);
    }
    Ok(Zeroizing::new(line.to_owned()))
}

fn check_free(dir: &Path) -> Result<(), RecoveryError> {
    if ClientDir::open(dir).is_ok() {
        return Err(ConfigError::Exists { dir: dir.to_owned() }.into());
    }
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(false) => Err(RecoveryError::NotEmpty { dir: dir.to_owned() }),
        Err(source) => Err(RecoveryError::File { path: dir.to_owned(), source }),
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, RecoveryError> {
    let failed = |source| RecoveryError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let read = file.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes).map_err(failed)?;
    if read as u64 > MAX_FILE_LEN {
        return Err(RecoveryError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder: PathBuf = std::path::absolute(file)?.parent().unwrap_or(Path::new("/")).to_owned();
    File::open(folder)?.sync_all()
}

/// What is remembered of the aliases in a recovery file: the fingerprint of all, and the hash of each.
fn marker_text(listing: &Listing) -> String {
    let each = listing.aliases.iter().map(|(name, cap)| alias_hash(name, cap));
    let lines: Vec<String> = std::iter::once(fingerprint(listing)).chain(each).collect();
    lines.join("\n") + "\n"
}

/// Tells one set of aliases from another, and says nothing else about them.
fn fingerprint(listing: &Listing) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(MARKER_CONTEXT);
    listing.aliases.iter().for_each(|(name, cap)| add(&mut hasher, name, cap));
    hasher.finalize().to_string()
}

/// Tells one alias from another. The cap in it is what nobody guesses.
fn alias_hash(name: &str, cap: &Cap) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(ALIAS_CONTEXT);
    add(&mut hasher, name, cap);
    hasher.finalize().to_string()
}

fn add(hasher: &mut blake3::Hasher, name: &str, cap: &Cap) {
    let cap = Zeroizing::new(cap.to_string());
    // Neither holds a newline.
    for part in [name.as_bytes(), b"\n", cap.as_bytes(), b"\n"] {
        hasher.update(part);
    }
}
