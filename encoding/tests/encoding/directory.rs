//! Directories: what is written comes back, what is wrong is refused by name, and a reader cannot tell a dummy.

#[path = "directory/entries.rs"]
mod entries;
#[path = "directory/nodes.rs"]
mod nodes;
#[path = "directory/sealed.rs"]
mod sealed;
#[path = "directory/vector.rs"]
mod vector;

use std::collections::BTreeMap;

use caps::{Cap, ImmutableRead, ReadKey, SlotWrite, VerifyHash, WriteKey};
use encoding::directory::{Entry, EntryKind, Metadata, Name, NodeRef, SealedWrite, Time, seal_write};

pub(crate) const SALT: [u8; 32] = [5; 32];

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn write_key() -> WriteKey {
    WriteKey::new([1; 16])
}

pub(crate) fn hash() -> VerifyHash {
    VerifyHash::new([9; 32])
}

pub(crate) fn object(seed: u8, directory: bool) -> ImmutableRead {
    let (key, hash) = (ReadKey::new([seed; 16]), VerifyHash::new([seed; 32]));
    ImmutableRead { key, hash, needed: 3, total: 10, size: 4096 + u64::from(seed), directory }
}

pub(crate) fn slot(seed: u8, directory: bool) -> SlotWrite {
    SlotWrite { key: WriteKey::new([seed; 16]), hash: VerifyHash::new([seed; 32]), directory }
}

pub(crate) fn cap(text: &str) -> Cap {
    text.parse().unwrap()
}

pub(crate) fn sealed(read: &Cap, write: Option<&Cap>, nonce: u8) -> SealedWrite {
    seal_write(&write_key(), &SALT, &hash(), read, write, &[nonce; 24]).unwrap()
}

/// A directory in a slot, with its write cap.
pub(crate) fn slot_entry(seed: u8) -> Entry {
    let write = Cap::SlotWrite(slot(seed, true));
    let read = write.read().unwrap();
    let sealed = sealed(&read, Some(&write), seed);
    Entry { write: Some(sealed), salt: Some([seed; 32]), ..Entry::new(EntryKind::Directory, read) }
}

pub(crate) fn file_entry(seed: u8) -> Entry {
    Entry::new(EntryKind::File, Cap::ImmutableRead(object(seed, false)))
}

pub(crate) fn full_metadata() -> Metadata {
    let time = |seconds| Some(Time { seconds, nanoseconds: 999_999_999 });
    Metadata {
        mtime: time(1_700_000_000),
        ctime: time(-1),
        link_created: time(0),
        link_modified: time(i64::MIN),
        mode: Some(0o100_644),
        uid: Some(1000),
        gid: Some(u32::MAX),
        size: Some(1 << 40),
        symlink: Some(b"../\xFF".to_vec()),
        xattrs: vec![("user.a".into(), vec![0, 1]), ("user.b".into(), vec![])],
        hardlink: Some([7; 16]),
        extra: BTreeMap::from([(16, vec![1]), (u64::MAX, vec![])]),
    }
}

pub(crate) fn reference(seed: u8, count: u64) -> NodeRef {
    NodeRef { cap: object(seed, true), salt: [seed; 32], count }
}
