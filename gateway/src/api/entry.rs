//! Entries as our own API tells them.

use caps::{Authority, Cap};
use client::filestore::{DirView, Target};
use encoding::directory::{Entry, EntryKind};
use serde::Serialize;

/// An entry of a directory.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EntryJson {
    name: String,
    kind: &'static str,
    size: Option<u64>,
    modified: Option<i64>,
    cap: String,
    writable: bool,
    /// Where a symbolic link points.
    #[serde(skip_serializing_if = "Option::is_none")]
    symlink: Option<String>,
}

impl EntryJson {
    /// What a path led to.
    pub(super) fn of(name: &str, target: &Target) -> Self {
        let (cap, entry) = (&target.cap, target.entry.as_ref());
        let metadata = entry.map(|entry| &entry.metadata);
        let time = metadata.and_then(|metadata| metadata.mtime.or(metadata.link_modified));
        let size = match target.kind() {
            EntryKind::File => cap.size().or(metadata.and_then(|metadata| metadata.size)),
            _ => None,
        };
        let symlink = metadata.and_then(|metadata| metadata.symlink.as_deref());
        Self {
            name: name.to_owned(),
            kind: kind(target.kind(), cap),
            size,
            modified: time.map(|time| time.seconds),
            cap: cap.to_string(),
            writable: cap.authority() == Authority::Write,
            symlink: symlink.map(|target| String::from_utf8_lossy(target).into_owned()),
        }
    }

    /// An entry of a directory that was read. One whose write cap does not open is shown as readers see it.
    pub(super) fn in_view(view: &DirView, name: &str, entry: Entry) -> Self {
        let cap = view.cap_of(&entry).unwrap_or_else(|_| entry.cap.clone());
        Self::of(name, &Target { cap, entry: Some(entry) })
    }

    /// With the size that was found.
    pub(super) fn sized(self, size: u64) -> Self {
        Self { size: Some(size), ..self }
    }
}

fn kind(kind: EntryKind, cap: &Cap) -> &'static str {
    match kind {
        EntryKind::Directory => "dir",
        EntryKind::File if cap.is_mutable() => "mutable",
        EntryKind::File => "file",
        EntryKind::Symlink | EntryKind::Unknown => "unknown",
    }
}
