//! What the system says is mounted where.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What is on a folder.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum There {
    Nothing,
    /// By FUSE: perhaps ours.
    Fuse,
    /// Of this kind.
    Other(String),
    /// This system does not say.
    Unknown,
}

/// What is mounted there, on top of all else.
pub(super) fn there(at: &Path) -> There {
    match fs::read_to_string("/proc/self/mounts") {
        Ok(table) => in_table(&table, at),
        Err(_) => There::Unknown,
    }
}

/// The path as the system has it. What a mount that died stands on cannot be looked up; the folder that it is in can.
pub(super) fn real(at: &Path) -> PathBuf {
    let at = std::path::absolute(at).unwrap_or_else(|_| at.to_owned());
    let within = || Some(fs::canonicalize(at.parent()?).ok()?.join(at.file_name()?));
    fs::canonicalize(&at).ok().or_else(within).unwrap_or(at)
}

fn in_table(table: &str, at: &Path) -> There {
    let kind = |line: &str| {
        let mut fields = line.split(' ');
        let (at, kind) = (fields.nth(1)?, fields.next()?);
        Some((unescaped(at), kind.to_owned()))
    };
    match table.lines().rev().filter_map(kind).find(|(target, _)| Path::new(target) == at) {
        None => There::Nothing,
        Some((_, kind)) if kind == "fuse" || kind.starts_with("fuse.") => There::Fuse,
        Some((_, kind)) => There::Other(kind),
    }
}

/// Blanks and backslashes stand there as three octal digits behind a backslash.
fn unescaped(field: &str) -> OsString {
    let (mut bytes, mut rest) = (Vec::new(), field.as_bytes());
    while let [first, behind @ ..] = rest {
        let digits = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_top_counts() {
        let table = "none /mnt/a tmpfs rw 0 0\nhome:x /mnt/a fuse rw 0 0\nproc /proc proc rw 0 0\nx /mnt/with\\040blank fuse.sshfs rw 0 0\n";
        let there = |at: &str| in_table(table, Path::new(at));
        assert_eq!(there("/mnt/a"), There::Fuse);
        assert_eq!(there("/proc"), There::Other("proc".into()));
        assert_eq!(there("/mnt/with blank"), There::Fuse);
        assert_eq!(there("/mnt"), There::Nothing);
    }
}
