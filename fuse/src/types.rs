//! What calls on a mount take and give.

use encoding::directory::Time;

/// The number of a file or folder, as long as somebody holds it or something of it is owed. After a crash, those that the journal names keep theirs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ino(pub u64);

/// The root's number: what the kernel calls it.
pub const ROOT: Ino = Ino(1);

/// What something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A directory.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Symlink,
    /// Something that this program does not know: it can be moved and removed, not opened.
    Unknown,
}

/// Attributes, as `stat` shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attr {
    /// Which file or folder.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// Whether a name leads to it.
    pub named: bool,
    /// When the content changed last.
    pub mtime: Time,
    /// When content or attributes changed last.
    pub ctime: Time,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Who asks: the owner of what is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Changes of attributes; `None` leaves one as it is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Bytes: cut off or filled up with zeros.
    pub size: Option<u64>,
    /// When the content changed last; of the inner, `None` is now.
    pub mtime: Option<Option<Time>>,
    /// Takes setuid and setgid off, as a write by another than root does.
    pub kill_suid: bool,
}

/// How to open a file.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct OpenMode {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// Cut it off first.
    pub truncate: bool,
    /// Only if it was not there.
    pub exclusive: bool,
}

/// What a rename does about the new name.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum RenameMode {
    /// What is there is replaced.
    #[default]
    Replace,
    /// What is there stays: the rename is refused.
    NoReplace,
    /// Both change places.
    Exchange,
}

/// An entry of a directory stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// Its name; `.` and `..` come from the caller.
    pub name: String,
    /// Its attributes.
    pub attr: Attr,
}

/// Room, as `statfs` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Bytes of files that could be stored on an empty grid.
    pub total: u64,
    /// Bytes of files that can be stored now.
    pub free: u64,
}

/// Where to go on with `lseek`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seek {
    /// The next data.
    Data,
    /// The next hole.
    Hole,
}
