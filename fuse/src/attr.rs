//! Attributes: what `stat` shows, and what an entry keeps of them.

use std::time::Duration;

use encoding::directory::{Metadata, Time};

use crate::state::{Node, What};
use crate::types::{Attr, Ino, Kind, Owner, SetAttr};

const TYPE_FILE: u32 = 0o100_000;
const TYPE_FOLDER: u32 = 0o040_000;
const TYPE_SYMLINK: u32 = 0o120_000;
/// Bits of a mode that are no type.
const PERMISSIONS: u32 = 0o7777;
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o010;
/// Before any file.
const EPOCH: Time = Time { seconds: 0, nanoseconds: 0 };

/// A moment as entries have it.
pub(crate) fn time_of(since_1970: Duration) -> Time {
    Time { seconds: since_1970.as_secs() as i64, nanoseconds: since_1970.subsec_nanos() }
}

pub(crate) fn of(ino: Ino, node: &Node, owner: Owner) -> Attr {
    let (kind, meta) = (node.kind(), &node.meta);
    let size = match &node.what {
        What::File(file) => file.size,
        What::Symlink => meta.symlink.as_ref().map_or(0, |target| target.len() as u64),
        _ => 0,
    };
    let default = match kind {
        Kind::Folder => 0o755,
        Kind::Symlink => 0o777,
        Kind::File => 0o644,
        Kind::Unknown => 0,
    };
    let mtime = meta.mtime.or(meta.link_modified).unwrap_or(EPOCH);
    Attr {
        ino,
        kind,
        size,
        named: ino == crate::types::ROOT || node.place.is_some(),
        mtime,
        ctime: meta.ctime.or(meta.link_modified).unwrap_or(mtime),
        mode: meta.mode.unwrap_or(default) & PERMISSIONS,
        uid: meta.uid.unwrap_or(owner.uid),
        gid: meta.gid.unwrap_or(owner.gid),
    }
}

/// The attributes of something new in a folder. One whose group goes to what is made in it says so by its setgid bit.
pub(crate) fn new(kind: Kind, mode: u32, owner: Owner, folder: &Attr, now: Time) -> Metadata {
    let inherits = folder.mode & SETGID != 0;
    let (kind_bits, setgid) = match kind {
        Kind::Folder => (TYPE_FOLDER, if inherits { SETGID } else { 0 }),
        Kind::Symlink => (TYPE_SYMLINK, 0),
        Kind::File | Kind::Unknown => (TYPE_FILE, 0),
    };
    Metadata {
        mtime: Some(now),
        ctime: Some(now),
        mode: Some(kind_bits | (mode & PERMISSIONS) | setgid),
        uid: Some(owner.uid),
        gid: Some(if inherits { folder.gid } else { owner.gid }),
        ..Metadata::default()
    }
}

/// Changes attributes, but for the size.
pub(crate) fn set(meta: &mut Metadata, kind: Kind, before: &Attr, set: &SetAttr, now: Time) {
    let kind_bits = match kind {
        Kind::Folder => TYPE_FOLDER,
        Kind::Symlink => TYPE_SYMLINK,
        Kind::File | Kind::Unknown => TYPE_FILE,
    };
    if let Some(mode) = set.mode {
        meta.mode = Some(kind_bits | (mode & PERMISSIONS));
    }
    if set.uid.is_some() || set.gid.is_some() {
        // Both are said once one is: what is not said is the mount's, and may be another's elsewhere.
        meta.uid = Some(set.uid.unwrap_or(before.uid));
        meta.gid = Some(set.gid.unwrap_or(before.gid));
    }
    if let Some(mtime) = set.mtime {
        meta.mtime = Some(mtime.unwrap_or(now));
    } else if set.size.is_some() {
        meta.mtime = Some(now);
    }
    if set.kill_suid && kind == Kind::File {
        kill_suid(meta, before);
    }
    meta.ctime = Some(now);
}

/// Takes off what would lend the owner's rights to changed content. Setgid without execution by the group is a lock and stays.
pub(crate) fn kill_suid(meta: &mut Metadata, before: &Attr) {
    let mode = meta.mode.unwrap_or(TYPE_FILE | before.mode);
    let setgid = if mode & GROUP_EXECUTE != 0 { SETGID } else { 0 };
    if mode & (SETUID | setgid) != 0 {
        meta.mode = Some(mode & !(SETUID | setgid));
    }
}
