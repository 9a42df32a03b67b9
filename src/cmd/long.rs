//! Entries as people read them: mode, size, time, name.

use std::io::IsTerminal;
use std::time::{Duration, UNIX_EPOCH};

use caps::{Authority, Cap};
use client::filestore::Target;
use encoding::directory::{Entry, EntryKind, Time};

/// The first second that has five digits of years: what no column here is made for.
const YEAR_10000: i64 = 253_402_300_800;

/// Mode, size and time, in columns.
pub(crate) fn columns(cap: &Cap, entry: Option<&Entry>) -> String {
    let kind = entry.map_or_else(|| Entry::kind_of(cap), |entry| entry.kind);
    let size = match kind {
        EntryKind::Directory => "-".to_owned(),
        _ => size(cap, entry).map_or_else(|| "?".to_owned(), |size| size.to_string()),
    };
    let metadata = entry.map(|entry| &entry.metadata);
    let time = metadata.and_then(|metadata| metadata.mtime.or(metadata.link_modified));
    let mode = mode(kind, cap, metadata.and_then(|metadata| metadata.mode));
    format!("{mode} {size:>13} {:<20}", time.and_then(rfc3339).as_deref().unwrap_or("-"))
}

/// Bytes of a file as far as its cap or its directory says; a mutable file may have grown since.
pub(crate) fn size(cap: &Cap, entry: Option<&Entry>) -> Option<u64> {
    match entry {
        Some(entry) if entry.kind == EntryKind::Symlink => {
            entry.metadata.symlink.as_ref().map(|target| target.len() as u64)
        }
        entry => cap.size().or(entry.and_then(|entry| entry.metadata.size)),
    }
}

/// As `ls` of this machine writes it; of an unknown mode, what the cap grants.
fn mode(kind: EntryKind, cap: &Cap, mode: Option<u32>) -> String {
    let first = match kind {
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::File => '-',
        EntryKind::Unknown => '?',
    };
    let writes = cap.authority() == Authority::Write;
    let bits = mode.unwrap_or(match (kind, writes) {
        (EntryKind::Directory, true) => 0o700,
        (EntryKind::Directory, false) => 0o500,
        (EntryKind::File, true) => 0o600,
        (EntryKind::File, false) => 0o400,
        (EntryKind::Symlink, _) => 0o777,
        (EntryKind::Unknown, _) => 0,
    });
    let letters = "rwxrwxrwx".char_indices();
    let letters = letters.map(|(place, letter)| if bits & (0o400 >> place) != 0 { letter } else { '-' });
    std::iter::once(first).chain(letters).collect()
}

/// A time in UTC; `None` for one that no calendar of four-digit years has.
fn rfc3339(time: Time) -> Option<String> {
    let in_range = (0..YEAR_10000).contains(&time.seconds);
    let since = Duration::from_secs(u64::try_from(time.seconds).ok()?);
    in_range.then(|| humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string())
}

/// A day in UTC; nothing for one that no calendar of four-digit years has.
pub(crate) fn day(unix_s: u64) -> Option<String> {
    let seconds = i64::try_from(unix_s).ok()?;
    rfc3339(Time { seconds, nanoseconds: 0 }).map(|text| text.chars().take_while(|c| *c != 'T').collect())
}

/// What stands after a name with `-F`.
pub(crate) fn mark(kind: EntryKind, cap: &Cap) -> &'static str {
    match kind {
        EntryKind::Directory => "/",
        EntryKind::Symlink => "@",
        EntryKind::Unknown => "?",
        EntryKind::File if cap.is_mutable() => "*",
        EntryKind::File => "",
    }
}

/// What a long line says after a symbolic link.
pub(crate) fn arrow(entry: Option<&Entry>) -> String {
    let target = entry.and_then(|entry| entry.metadata.symlink.as_deref());
    target.map_or_else(String::new, |target| format!(" -> {}", String::from_utf8_lossy(target)))
}

/// A name or path for standard output: on a terminal nothing in it can move the cursor, begin a line or change the colours.
pub(crate) fn printable(text: &str) -> String {
    match std::io::stdout().is_terminal() {
        true => escaped(text),
        false => text.to_owned(),
    }
}

/// A name or path with its control characters escaped, newlines among them.
pub(crate) fn escaped(text: &str) -> String {
    without_controls(text).replace('\n', "\\n")
}

/// A text of any number of lines with its other control characters escaped.
pub(crate) fn without_controls(text: &str) -> String {
    let escape = |c: char| match c.is_control() && c != '\n' {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// What an entry is in Tahoe's JSON: `["filenode", {...}]`, without the children of a directory.
pub(crate) fn tahoe_json(target: &Target) -> serde_json::Value {
    let (cap, entry) = (&target.cap, target.entry.as_ref());
    let mut details = serde_json::json!({ "mutable": cap.is_mutable() });
    let kind = target.kind();
    if let (EntryKind::Unknown, Some(read)) = (kind, entry.map(|entry| &entry.cap)) {
        details["ro_uri"] = read.to_string().into();
    }
    if cap.authority() == Authority::Write {
        details["rw_uri"] = cap.to_string().into();
    }
    if let Some(read) = cap.read() {
        details["ro_uri"] = read.to_string().into();
    }
    if let Some(verify) = cap.verify() {
        details["verify_uri"] = verify.to_string().into();
    }
    if kind == EntryKind::File || kind == EntryKind::Symlink {
        details["format"] = if cap.is_mutable() { "SDMF" } else { "CHK" }.into();
        if let Some(size) = size(cap, entry) {
            details["size"] = size.into();
        }
    }
    if let Some(entry) = entry {
        details["metadata"] = metadata_json(entry);
    }
    let name = match kind {
        EntryKind::Directory => "dirnode",
        EntryKind::Unknown => "unknown",
        EntryKind::File | EntryKind::Symlink => "filenode",
    };
    serde_json::json!([name, details])
}

fn metadata_json(entry: &Entry) -> serde_json::Value {
    let metadata = &entry.metadata;
    let seconds = |time: Time| time.seconds as f64 + f64::from(time.nanoseconds) / 1e9;
    let mut out = serde_json::Map::new();
    let mut tahoe = serde_json::Map::new();
    let mut put = |name: &str, value: Option<serde_json::Value>| {
        value.into_iter().for_each(|value| drop(out.insert(name.to_owned(), value)));
    };
    put("mtime", metadata.mtime.map(|time| seconds(time).into()));
    put("ctime", metadata.ctime.map(|time| seconds(time).into()));
    put("st_mode", metadata.mode.map(Into::into));
    put("st_uid", metadata.uid.map(Into::into));
    put("st_gid", metadata.gid.map(Into::into));
    let symlink = metadata.symlink.as_deref().map(String::from_utf8_lossy);
    put("symlink", symlink.map(|target| target.into_owned().into()));
    let times = [("linkcrtime", metadata.link_created), ("linkmotime", metadata.link_modified)];
    for (name, time) in times {
        time.into_iter().for_each(|time| drop(tahoe.insert(name.to_owned(), seconds(time).into())));
    }
    out.insert("tahoe".to_owned(), tahoe.into());
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_on_their_line() {
        assert_eq!(escaped("a\nb\u{1b}[2J\u{9b}\t\u{e4}"), "a\\nb\\u{1b}[2J\\u{9b}\\t\u{e4}");
        assert_eq!(without_controls("one\nline\r"), "one\nline\\r");
    }
}
