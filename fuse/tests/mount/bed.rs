//! A grid, a directory on it, and mounts of that.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use caps::Cap;
use client::{Client, Timeouts};
use fuse::{Attr, FsError, Handle, Ino, Mount, OpenMode, Options, Owner, ROOT};
use testkit::grid::SimGrid;

pub(crate) const ME: Owner = Owner { uid: 1000, gid: 1000 };
pub(crate) const RW: OpenMode =
    OpenMode { read: true, write: true, append: false, truncate: false, exclusive: false };
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Bed {
    pub(crate) grid: SimGrid,
    pub(crate) root: Cap,
}

impl Bed {
    pub(crate) async fn new(seed: u64) -> Self {
        let mut grid = SimGrid::start(seed, 5).await;
        let client = grid.client("2/3/5").await;
        let root = client.make_directory().await.unwrap().cap().clone();
        Self { grid, root }
    }

    pub(crate) async fn client(&self, label: &str) -> Client {
        let client = self.grid.client_of(label, "2/3/5", Timeouts::default());
        client.refresh().await;
        client
    }

    pub(crate) async fn mount_with(&self, label: &str, options: Options) -> Mount {
        let options = Options { owner: ME, host: label.into(), ..options };
        let world = (self.grid.clock.clone() as _, self.grid.random.clone() as _);
        Mount::start(&self.client(label).await, &self.root, world, options).await.unwrap()
    }

    pub(crate) async fn mount(&self, label: &str) -> Mount {
        self.mount_with(label, Options::default()).await
    }

    /// With a journal in `dir`.
    pub(crate) async fn journaled(&self, label: &str, dir: &Path) -> Mount {
        let journal = Some((dir.to_owned(), [7; 32]));
        self.mount_with(label, Options { journal, ..Options::default() }).await
    }
}

/// Bytes that depend on `seed` and position.
pub(crate) fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut out);
    out
}

/// What programs do with paths.
pub(crate) trait Paths {
    async fn at(&self, path: &str) -> Result<Attr, FsError>;
    async fn above<'p>(&self, path: &'p str) -> Result<(Ino, &'p OsStr), FsError>;
    async fn write_file(&self, path: &str, bytes: &[u8]) -> Result<Ino, FsError>;
    async fn read_path(&self, path: &str) -> Result<Vec<u8>, FsError>;
    async fn ls(&self, path: &str) -> Result<Vec<String>, FsError>;
    async fn make_folder(&self, path: &str) -> Result<Ino, FsError>;
    async fn mv(&self, from: &str, to: &str) -> Result<(), FsError>;
    async fn rm(&self, path: &str) -> Result<(), FsError>;
}

impl Paths for Mount {
    async fn at(&self, path: &str) -> Result<Attr, FsError> {
        let mut attr = self.getattr(ROOT).await?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            attr = self.lookup(attr.ino, OsStr::new(name)).await?;
        }
        Ok(attr)
    }

    async fn above<'p>(&self, path: &'p str) -> Result<(Ino, &'p OsStr), FsError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.at(folder).await?;
        if folder.kind != fuse::Kind::Folder {
            return Err(FsError::NotADirectory);
        }
        Ok((folder.ino, OsStr::new(name)))
    }

    async fn write_file(&self, path: &str, bytes: &[u8]) -> Result<Ino, FsError> {
        let (folder, name) = self.above(path).await?;
        let mode = OpenMode { truncate: true, ..RW };
        let (ino, handle) = match self.lookup(folder, name).await {
            Ok(attr) => (attr.ino, self.open(attr.ino, mode).await?),
            Err(FsError::NotFound) => {
                let (attr, handle) = self.create(folder, name, (0o644, ME), RW).await?;
                (attr.ino, handle)
            }
            Err(error) => return Err(error),
        };
        for (index, piece) in bytes.chunks(128 * 1024).enumerate() {
            self.write(handle, index as u64 * 128 * 1024, piece).await?;
        }
        self.flush(handle)?;
        self.release(handle);
        Ok(ino)
    }

    async fn read_path(&self, path: &str) -> Result<Vec<u8>, FsError> {
        let attr = self.at(path).await?;
        let handle = self.open(attr.ino, OpenMode { read: true, ..OpenMode::default() }).await?;
        let bytes = read_all(self, handle).await;
        self.release(handle);
        bytes
    }

    async fn ls(&self, path: &str) -> Result<Vec<String>, FsError> {
        let handle = self.opendir(self.at(path).await?.ino).await?;
        let entries = self.readdir(handle, 0, usize::MAX)?;
        self.releasedir(handle);
        Ok(entries.into_iter().map(|(_, entry)| entry.name).collect())
    }

    async fn make_folder(&self, path: &str) -> Result<Ino, FsError> {
        let (folder, name) = self.above(path).await?;
        Ok(self.mkdir(folder, name, 0o755, ME).await?.ino)
    }

    async fn mv(&self, from: &str, to: &str) -> Result<(), FsError> {
        let (from, to) = (self.above(from).await?, self.above(to).await?);
        self.rename(from, to, fuse::RenameMode::Replace).await
    }

    async fn rm(&self, path: &str) -> Result<(), FsError> {
        let (folder, name) = self.above(path).await?;
        self.unlink(folder, name).await
    }
}

pub(crate) async fn read_all(mount: &Mount, handle: Handle) -> Result<Vec<u8>, FsError> {
    let mut out = Vec::new();
    loop {
        let piece = mount.read(handle, out.len() as u64, 100_000).await?;
        if piece.is_empty() {
            return Ok(out);
        }
        out.extend_from_slice(&piece);
    }
}
