//! The facts of which a journal consists, as CBOR.

use std::collections::BTreeMap;

use caps::Cap;
use client::filestore::Child;
use encoding::directory::{ChildCaps, EntryKind, Metadata, Time};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// One fact.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub(crate) enum Record {
    /// Something that later records name by its number: what it is, and what it is known as on the grid.
    #[n(0)]
    Node(#[n(0)] Box<NodeRow>),
    /// Names in folders shall lead elsewhere, all at once.
    #[n(1)]
    Names(#[n(0)] Vec<NameRow>),
    /// These bytes were written.
    #[n(2)]
    Write {
        #[n(0)]
        node: u64,
        #[n(1)]
        at: u64,
        #[n(2)]
        bytes: ByteVec,
    },
    /// The file has this length.
    #[n(3)]
    Size {
        #[n(0)]
        node: u64,
        #[n(1)]
        size: u64,
    },
    /// The attributes are these.
    #[n(4)]
    Meta {
        #[n(0)]
        node: u64,
        #[n(1)]
        meta: Box<MetaRow>,
    },
    /// What was written before is about to be stored; what comes later is not part of it.
    #[n(5)]
    Freeze {
        #[n(0)]
        node: u64,
        /// Bytes of the file: what is not in the journal counts.
        #[n(1)]
        size: u64,
    },
    /// What was frozen is stored as this.
    #[n(6)]
    Stored {
        #[n(0)]
        node: u64,
        #[n(1)]
        child: Box<ChildRow>,
        /// Of a file that is a slot: the cap of what it says now.
        #[n(2)]
        content: Option<String>,
    },
    /// A folder was made.
    #[n(7)]
    Made {
        #[n(0)]
        node: u64,
        #[n(1)]
        child: Box<ChildRow>,
    },
    /// What is written from here on is not in the journal, until it says that the file is stored.
    #[n(9)]
    Past {
        #[n(0)]
        node: u64,
        /// The first byte of it.
        #[n(1)]
        at: u64,
    },
    /// The grid was asked to let a name lead to this.
    #[n(10)]
    Sent {
        #[n(0)]
        folder: u64,
        #[n(1)]
        name: String,
        #[n(2)]
        is: String,
    },
    /// Of a name that was given or taken out before: a folder that was removed by that, the one with the name first.
    #[n(11)]
    Emptied {
        #[n(0)]
        folder: u64,
        #[n(1)]
        name: String,
        #[n(2)]
        row: Box<EmptiedRow>,
    },
    /// The grid says what a name leads to, as of this change; `is` is what it led to then.
    #[n(8)]
    Settled {
        #[n(0)]
        folder: u64,
        #[n(1)]
        name: String,
        #[n(2)]
        seq: u64,
        #[n(3)]
        is: Option<String>,
    },
}

/// A name in a folder shall lead to this, or to nothing.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub(crate) struct NameRow {
    /// The folder's number.
    #[n(0)]
    pub(crate) folder: u64,
    #[n(1)]
    pub(crate) name: String,
    /// What it shall lead to.
    #[n(2)]
    pub(crate) to: Option<u64>,
    /// What it led to on the grid when it was changed first.
    #[n(3)]
    pub(crate) base: Option<String>,
    /// Counts changes of names.
    #[n(4)]
    pub(crate) seq: u64,
    /// What it led to, and that got other names.
    #[n(5)]
    pub(crate) moved: Vec<u64>,
    /// What the grid may say by now.
    #[n(6)]
    pub(crate) sent: Vec<String>,
}

/// A folder that was empty when it was removed, or more of what was known to be in it.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub(crate) struct EmptiedRow {
    /// `None`: this goes on with the one before.
    #[n(0)]
    pub(crate) child: Option<ChildRow>,
    #[n(1)]
    pub(crate) meta: MetaRow,
    /// What was known to be in it, one mark after the other.
    #[n(2)]
    pub(crate) known: ByteVec,
    #[n(3)]
    pub(crate) seq: u64,
}

/// What something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum NodeKind {
    #[n(0)]
    File,
    #[n(1)]
    Folder,
    #[n(2)]
    Symlink,
    #[n(3)]
    Unknown,
}

#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub(crate) struct NodeRow {
    #[n(0)]
    pub(crate) ino: u64,
    #[n(1)]
    pub(crate) kind: NodeKind,
    /// Where it is on the grid; `None`: it is not there yet.
    #[n(2)]
    pub(crate) child: Option<ChildRow>,
    #[n(3)]
    pub(crate) meta: MetaRow,
    /// Bytes of a file.
    #[n(4)]
    pub(crate) size: u64,
    /// The folder that it stands in and its name there, for one that the grid knows.
    #[n(5)]
    pub(crate) place: Option<(u64, String)>,
    /// Of a file that is a slot: the cap of what it says on the grid.
    #[n(6)]
    pub(crate) content: Option<String>,
}

/// Capabilities, as text.
#[derive(Clone, PartialEq, Encode, Decode)]
pub(crate) struct ChildRow {
    #[n(0)]
    read: String,
    #[n(1)]
    write: Option<String>,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    salt: Option<[u8; 32]>,
}

impl std::fmt::Debug for ChildRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChildRow")
    }
}

impl ChildRow {
    pub(crate) fn new(child: &Child) -> Self {
        let write = child.caps.write.as_ref().map(Cap::to_string);
        Self { read: child.caps.read.to_string(), write, salt: child.salt }
    }

    /// The child again; its attributes are the node's.
    pub(crate) fn child(&self, symlink: bool) -> Option<Child> {
        let read: Cap = self.read.parse().ok()?;
        let write = self.write.as_deref().map(str::parse).transpose().ok()?;
        let kind = if symlink { EntryKind::Symlink } else { encoding::directory::Entry::kind_of(&read) };
        Some(Child { caps: ChildCaps { read, write }, kind, salt: self.salt, metadata: Metadata::default() })
    }
}

/// Seconds and nanoseconds.
type Moment = (i64, u32);

#[derive(Clone, PartialEq, Default, Encode, Decode)]
pub(crate) struct MetaRow {
    #[n(0)]
    mtime: Option<Moment>,
    #[n(1)]
    ctime: Option<Moment>,
    #[n(2)]
    link_created: Option<Moment>,
    #[n(3)]
    link_modified: Option<Moment>,
    #[n(4)]
    mode: Option<u32>,
    #[n(5)]
    uid: Option<u32>,
    #[n(6)]
    gid: Option<u32>,
    #[n(7)]
    size: Option<u64>,
    #[n(8)]
    symlink: Option<ByteVec>,
    #[n(9)]
    xattrs: Vec<(String, ByteVec)>,
    #[n(10)]
    #[cbor(with = "minicbor::bytes")]
    hardlink: Option<[u8; 16]>,
    #[n(11)]
    extra: BTreeMap<u64, ByteVec>,
}

impl std::fmt::Debug for MetaRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetaRow")
    }
}

impl From<&Metadata> for MetaRow {
    fn from(meta: &Metadata) -> Self {
        let moment = |time: &Option<Time>| time.map(|time| (time.seconds, time.nanoseconds));
        Self {
            mtime: moment(&meta.mtime),
            ctime: moment(&meta.ctime),
            link_created: moment(&meta.link_created),
            link_modified: moment(&meta.link_modified),
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            size: meta.size,
            symlink: meta.symlink.clone().map(ByteVec::from),
            xattrs: meta.xattrs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect(),
            hardlink: meta.hardlink,
            extra: meta.extra.iter().map(|(field, value)| (*field, value.clone().into())).collect(),
        }
    }
}

impl From<MetaRow> for Metadata {
    fn from(row: MetaRow) -> Self {
        let time =
            |moment: Option<Moment>| moment.map(|(seconds, nanoseconds)| Time { seconds, nanoseconds });
        Self {
            mtime: time(row.mtime),
            ctime: time(row.ctime),
            link_created: time(row.link_created),
            link_modified: time(row.link_modified),
            mode: row.mode,
            uid: row.uid,
            gid: row.gid,
            size: row.size,
            symlink: row.symlink.map(Vec::from),
            xattrs: row.xattrs.into_iter().map(|(name, value)| (name, value.into())).collect(),
            hardlink: row.hardlink,
            extra: row.extra.into_iter().map(|(field, value)| (field, value.into())).collect(),
        }
    }
}
