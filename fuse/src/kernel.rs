//! What the kernel asks, by FUSE's protocol (`fuser`), in terms of a [`Mount`].

mod convert;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, Notifier, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use tokio::runtime::Handle as Runtime;

use convert::{BLOCK, errno, file_attr, open_mode, owner, time};

use crate::error::FsError;
use crate::mount::{Handle, Kernel, Mount};
use crate::types::{Attr, Ino, RenameMode, Seek, SetAttr};
use crate::xattrs::XattrMode;

/// Entries of a directory stream that are looked at for one answer.
const ENTRIES: usize = 512;
/// More than any file system has.
const FILES: u64 = 1 << 40;

/// A mount as the kernel sees it.
pub struct KernelSide {
    mount: Mount,
    runtime: Runtime,
    /// For so long the kernel believes names and attributes without asking.
    believe: Duration,
    /// Who may learn capabilities.
    holder: u32,
}

impl KernelSide {
    /// Calls are worked on in `runtime`. The user `holder` may ask for capabilities.
    pub fn new(mount: Mount, runtime: Runtime, believe: Duration, holder: u32) -> Self {
        Self { mount, runtime, believe, holder }
    }

    fn run<F: Future<Output = ()> + Send + 'static>(&self, work: impl FnOnce(Mount) -> F) {
        self.runtime.spawn(work(self.mount.clone()));
    }
}

/// Tells the kernel of changes by others, from a thread of its own: the kernel may wait for calls under way.
pub struct Telling(std::sync::mpsc::Sender<(Ino, Option<String>)>);

impl Telling {
    /// Through `notifier`.
    pub fn start(notifier: Notifier) -> Self {
        let (sender, told) = std::sync::mpsc::channel::<(Ino, Option<String>)>();
        std::thread::spawn(move || {
            for (ino, name) in told {
                let done = match name {
                    Some(name) => notifier.inval_entry(INodeNo(ino.0), OsStr::new(&name)),
                    None => notifier.inval_inode(INodeNo(ino.0), 0, 0),
                };
                if let Err(error) = done {
                    tracing::debug!(%error, "the kernel was not told of a change");
                }
            }
        });
        Self(sender)
    }
}

impl Kernel for Telling {
    fn forget_name(&self, folder: Ino, name: &str) {
        let _ = self.0.send((folder, Some(name.to_owned())));
    }

    fn forget_content(&self, ino: Ino) {
        let _ = self.0.send((ino, None));
    }
}

fn empty(done: Result<(), FsError>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

fn entry(attr: Result<Attr, FsError>, believe: Duration, reply: ReplyEntry) {
    match attr {
        Ok(attr) => reply.entry(&believe, &file_attr(&attr), Generation(0)),
        Err(error) => reply.error(errno(error)),
    }
}

fn attributes(attr: Result<Attr, FsError>, believe: Duration, reply: ReplyAttr) {
    match attr {
        Ok(attr) => reply.attr(&believe, &file_attr(&attr)),
        Err(error) => reply.error(errno(error)),
    }
}

fn xattr(value: Result<Vec<u8>, FsError>, size: u32, reply: ReplyXattr) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(errno(error)),
    }
}

impl Filesystem for KernelSide {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Who has these makes fewer calls; who does not works all the same.
        for wanted in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_CACHE_SYMLINKS,
        ] {
            let _ = config.add_capabilities(wanted);
        }
        let _ = config.set_max_readahead(1024 * 1024);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (name, believe) = (name.to_owned(), self.believe);
        self.run(|mount| async move { entry(mount.lookup(Ino(parent.0), &name).await, believe, reply) });
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.mount.forget(Ino(ino.0), nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        let believe = self.believe;
        self.run(|mount| async move {
            attributes(mount.getattr(Ino(ino.0)).await, believe, reply);
        });
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mtime = mtime.map(|mtime| match mtime {
            TimeOrNow::SpecificTime(moment) => Some(time(moment)),
            TimeOrNow::Now => None,
        });
        // Who owns a file anew, or cuts it, does not keep the rights that its bits lent; a mode that is set says them itself.
        let kill_suid = mode.is_none() && (uid.is_some() || gid.is_some() || size.is_some());
        let (set, believe) = (SetAttr { mode, uid, gid, size, mtime, kill_suid }, self.believe);
        self.run(|mount| async move {
            attributes(mount.setattr(Ino(ino.0), set).await, believe, reply);
        });
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match self.mount.readlink(Ino(ino.0)) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        if mode & libc::S_IFMT != libc::S_IFREG && mode & libc::S_IFMT != 0 {
            return reply.error(Errno::EPERM);
        }
        let (name, believe, owner) = (name.to_owned(), self.believe, owner(req));
        self.run(|mount| async move {
            entry(mount.mknod(Ino(parent.0), &name, mode & !umask, owner).await, believe, reply);
        });
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (name, believe, owner) = (name.to_owned(), self.believe, owner(req));
        self.run(|mount| async move {
            entry(mount.mkdir(Ino(parent.0), &name, mode & !umask, owner).await, believe, reply);
        });
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.run(|mount| async move { empty(mount.unlink(Ino(parent.0), &name).await, reply) });
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.run(|mount| async move { empty(mount.rmdir(Ino(parent.0), &name).await, reply) });
    }

    fn symlink(&self, req: &Request, parent: INodeNo, link_name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (name, target) = (link_name.to_owned(), target.as_os_str().as_bytes().to_vec());
        let (believe, owner) = (self.believe, owner(req));
        self.run(|mount| async move {
            entry(mount.symlink(Ino(parent.0), &name, target, owner).await, believe, reply);
        });
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mode = match flags {
            flags if flags.is_empty() => RenameMode::Replace,
            RenameFlags::RENAME_NOREPLACE => RenameMode::NoReplace,
            RenameFlags::RENAME_EXCHANGE => RenameMode::Exchange,
            _ => return reply.error(Errno::EINVAL),
        };
        let (name, newname) = (name.to_owned(), newname.to_owned());
        self.run(|mount| async move {
            let (from, to) = ((Ino(parent.0), name.as_os_str()), (Ino(newparent.0), newname.as_os_str()));
            empty(mount.rename(from, to, mode).await, reply);
        });
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.run(|mount| async move {
            match mount.open_again(Ino(ino.0), open_mode(flags.0)).await {
                // What the kernel remembers of the content is right.
                Ok((handle, true)) => reply.opened(FileHandle(handle.0), FopenFlags::FOPEN_KEEP_CACHE),
                Ok((handle, false)) => reply.opened(FileHandle(handle.0), FopenFlags::empty()),
                Err(error) => reply.error(errno(error)),
            }
        });
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (name, believe, owner) = (name.to_owned(), self.believe, owner(req));
        self.run(|mount| async move {
            match mount.create(Ino(parent.0), &name, (mode & !umask, owner), open_mode(flags)).await {
                Ok((attr, handle)) => reply.created(
                    &believe,
                    &file_attr(&attr),
                    Generation(0),
                    FileHandle(handle.0),
                    FopenFlags::FOPEN_KEEP_CACHE,
                ),
                Err(error) => reply.error(errno(error)),
            }
        });
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.run(|mount| async move {
            match mount.read(Handle(fh.0), offset, size).await {
                Ok(bytes) => reply.data(&bytes),
                Err(error) => reply.error(errno(error)),
            }
        });
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let data = bytes::Bytes::copy_from_slice(data);
        let appends = !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        self.run(|mount| async move {
            match mount.write_bytes(Handle(fh.0), offset, data, appends).await {
                Ok(written) => reply.written(written),
                Err(error) => reply.error(errno(error)),
            }
        });
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        empty(self.mount.flush(Handle(fh.0)), reply);
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.mount.release(Handle(fh.0));
        reply.ok();
    }

    fn fsync(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.run(|mount| async move { empty(mount.fsync(Ino(ino.0)).await, reply) });
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.run(|mount| async move {
            match mount.opendir(Ino(ino.0)).await {
                Ok(handle) => reply.opened(FileHandle(handle.0), FopenFlags::empty()),
                Err(error) => reply.error(errno(error)),
            }
        });
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let dots = [(Ino(ino.0), "."), (self.mount.parent(Ino(ino.0)), "..")];
        for (index, (dot, name)) in dots.into_iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(dot.0), index as u64 + 1, FileType::Directory, name) {
                return reply.ok();
            }
        }
        match self.mount.readdir(Handle(fh.0), offset.saturating_sub(2), ENTRIES) {
            Ok(entries) => {
                for (next, entry) in &entries {
                    let attr = file_attr(&entry.attr);
                    if reply.add(attr.ino, next + 2, attr.kind, &entry.name) {
                        break;
                    }
                }
                // The kernel counts none of these.
                entries.iter().for_each(|(_, entry)| self.mount.forget(entry.attr.ino, 1));
                reply.ok();
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn readdirplus(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let dots = [(Ino(ino.0), "."), (self.mount.parent(Ino(ino.0)), "..")];
        for (index, (dot, name)) in dots.into_iter().enumerate().skip(offset as usize) {
            // The kernel does not count these two.
            let Ok(attr) = self.mount.attr(dot) else { return reply.error(Errno::ESTALE) };
            let (dot, next) = (INodeNo(dot.0), index as u64 + 1);
            if reply.add(dot, next, name, &self.believe, &file_attr(&attr), Generation(0)) {
                return reply.ok();
            }
        }
        match self.mount.readdir(Handle(fh.0), offset.saturating_sub(2), ENTRIES) {
            Ok(entries) => {
                let mut told = 0;
                for (next, entry) in &entries {
                    let attr = file_attr(&entry.attr);
                    if reply.add(attr.ino, next + 2, &entry.name, &self.believe, &attr, Generation(0)) {
                        break;
                    }
                    told += 1;
                }
                entries[told..].iter().for_each(|(_, entry)| self.mount.forget(entry.attr.ino, 1));
                reply.ok();
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.mount.releasedir(Handle(fh.0));
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.run(|mount| async move { empty(mount.fsync(Ino(ino.0)).await, reply) });
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.run(|mount| async move {
            let room = mount.statfs().await;
            // Programs refuse to write where there is no room at all; the grid says so itself when there is none.
            let blocks = |bytes: u64| (bytes / u64::from(BLOCK)).max(1);
            let (total, free) = (blocks(room.total), blocks(room.free));
            reply.statfs(total.max(free), free, free, FILES, FILES, BLOCK, 255, BLOCK);
        });
    }

    fn setxattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let Some(name) = name.to_str().map(str::to_owned) else { return reply.error(Errno::EILSEQ) };
        let mode = match flags {
            libc::XATTR_CREATE => XattrMode::Create,
            libc::XATTR_REPLACE => XattrMode::Replace,
            _ => XattrMode::Set,
        };
        let value = value.to_vec();
        self.run(|mount| async move { empty(mount.setxattr(Ino(ino.0), &name, &value, mode).await, reply) });
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        // Programs that hear that a kind of attributes is not supported stop asking for every file.
        if !name.as_bytes().starts_with(b"user.") {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let Some(name) = name.to_str().map(str::to_owned) else { return reply.error(Errno::ENODATA) };
        // A cap reads past all modes: it is whose mount this is, and nobody else's.
        if name == crate::xattrs::CAP && req.uid() != self.holder {
            return reply.error(Errno::ENODATA);
        }
        self.run(|mount| async move { xattr(mount.getxattr(Ino(ino.0), &name).await, size, reply) });
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.mount.listxattr(Ino(ino.0));
        let list =
            names.map(|names| names.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect());
        xattr(list, size, reply);
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let Some(name) = name.to_str().map(str::to_owned) else { return reply.error(Errno::ENODATA) };
        self.run(|mount| async move { empty(mount.removexattr(Ino(ino.0), &name).await, reply) });
    }

    fn fallocate(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let keep = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let zero = mode & (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE) != 0;
        let known = libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
        let Some(end) = offset.checked_add(length).filter(|_| mode & !known == 0) else {
            return reply.error(Errno::EOPNOTSUPP);
        };
        self.run(|mount| async move {
            let done = match zero {
                true => mount.punch(Handle(fh.0), offset, length, keep).await,
                false => mount.allocate(Handle(fh.0), end, keep).await,
            };
            empty(done, reply);
        });
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let what = match whence {
            libc::SEEK_DATA => Seek::Data,
            libc::SEEK_HOLE => Seek::Hole,
            _ => return reply.error(Errno::EINVAL),
        };
        match u64::try_from(offset)
            .map_err(|_| FsError::NoData)
            .and_then(|at| self.mount.seek(Handle(fh.0), at, what))
        {
            Ok(at) => reply.offset(at as i64),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn copy_file_range(
        &self,
        _req: &Request,
        _ino_in: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        _ino_out: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        self.run(|mount| async move {
            let (from, to) = ((Handle(fh_in.0), offset_in), (Handle(fh_out.0), offset_out));
            match mount.copy(from, to, len).await {
                Ok(copied) => reply.written(copied as u32),
                Err(error) => reply.error(errno(error)),
            }
        });
    }
}
