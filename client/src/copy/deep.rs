//! From one place of the grid to another with all that is in it: directories are made anew, so that a change of one does not show in
//! the other. Files are linked, or their bytes fetched and stored again, so that nothing of the copy depends on what it was copied from.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use caps::{Cap, VerifyHash};
use encoding::directory::{EntryKind, Metadata, Name};
use protocol::BoxFuture;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;

use super::{CopyError, CopyProblem, FILES_AT_ONCE, LARGE, Problems, TreeProgress};
use crate::filestore::{Child, DirView, FileStoreError, MAX_DEPTH};
use crate::{Client, GetOptions, PutOptions, Sink, Source};

/// Files up to this length are fetched into memory before they are stored.
const IN_MEMORY: u64 = 1 << 20;

/// What becomes of the files of a directory that is copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Files {
    /// The copy links them: a mutable file is the same one in both.
    Linked,
    /// Their bytes are stored again.
    Stored,
}

/// What was done.
#[derive(Debug)]
pub struct CopiedTree {
    /// The copy of the root.
    pub root: Child,
    /// Files that were linked.
    pub linked: u64,
    /// Files that were stored again.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// What went wrong.
    pub problems: Problems,
}

#[derive(Default)]
struct Counts {
    linked: u64,
    files: u64,
    directories: u64,
    bytes: u64,
    problems: Problems,
}

/// Writes what is fetched into a pipe that is being stored.
struct Pipe(DuplexStream);

impl Sink for Pipe {
    fn write(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            for piece in pieces {
                self.0.write_all(&piece).await?;
            }
            Ok(())
        })
    }
}

impl Client {
    /// Stores the content of a file of the grid again: as a new file of its kind, or in `overwrite`, a mutable file. With it, its bytes.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn copy_file(
        &self,
        child: &Child,
        overwrite: Option<Child>,
    ) -> Result<(Child, u64), FileStoreError> {
        if child.kind == EntryKind::Symlink {
            return Ok((child.clone(), 0));
        }
        let mutable = child.caps.read.is_mutable();
        let content = self.content_cap(&child.caps.read).await?;
        let size = content.size().unwrap_or(0);
        let options = PutOptions { chunked: size >= LARGE, ..PutOptions::default() };
        let (source, fetching) = if size <= IN_MEMORY {
            let mut bytes = Vec::new();
            self.get(&content, &mut bytes, GetOptions::default()).await?;
            (Source::bytes(bytes), None)
        } else {
            let (reader, writer) = tokio::io::duplex(IN_MEMORY as usize);
            let (client, content) = (self.clone(), content.clone());
            let mut sink = Pipe(writer);
            let fetch = async move { client.get(&content, &mut sink, GetOptions::default()).await };
            (Source::stream(reader), Some(tokio::spawn(fetch)))
        };
        let copy = async {
            Ok::<_, FileStoreError>(match (overwrite, mutable) {
                (Some(existing), _) => {
                    if let Some(Cap::SlotWrite(cap)) = &existing.caps.write {
                        self.overwrite(cap, source, options).await?;
                    }
                    existing
                }
                (None, true) => self.make_mutable(source, options).await?,
                (None, false) => {
                    let report = self.put(source, options).await?;
                    Child::new(report.cap, report.tree_salt)?
                }
            })
        };
        let copied = copy.await;
        if let Some(fetching) = fetching {
            // A stream that broke off looks like one that ended: only this tells them apart.
            fetching.await.map_err(|_| FileStoreError::GivenUp)??;
        }
        Ok((copied?.with(child.metadata.clone()), size))
    }

    /// Copies a directory with all that is in it.
    ///
    /// # Errors
    ///
    /// [`CopyError`]; what went wrong with single entries is in [`CopiedTree::problems`].
    pub async fn copy_directory(
        &self,
        view: &DirView,
        files: Files,
        progress: &TreeProgress,
    ) -> Result<CopiedTree, CopyError> {
        let mut copy = Copy { client: self, files, progress, counts: Counts::default() };
        let root = copy.tree(view).await?;
        let Counts { linked, files, directories, bytes, problems } = copy.counts;
        Ok(CopiedTree { root, linked, files, directories, bytes, problems })
    }
}

/// A directory that is being copied.
struct Level {
    path: PathBuf,
    /// Its entry in the one above, and what the copy's is to say; the root has none.
    entry: Option<(Name, Metadata)>,
    hash: Option<VerifyHash>,
    /// Files of it that are on their way.
    files: Copying,
    /// Directories in it that are still to come, the next one last.
    waiting: Vec<(Name, Child)>,
    /// What is copied.
    children: Vec<(Name, Child)>,
}

type Copying = JoinSet<(Name, Result<(Child, u64), FileStoreError>)>;

/// A copy under way.
struct Copy<'a> {
    client: &'a Client,
    files: Files,
    progress: &'a TreeProgress,
    counts: Counts,
}

impl Copy<'_> {
    /// A directory is made when all in it is.
    async fn tree(&mut self, view: &DirView) -> Result<Child, CopyError> {
        let mut levels = vec![self.begin(view, PathBuf::new(), None).await?];
        loop {
            let Some(level) = levels.last_mut() else { return Err(CopyError::Internal) };
            if let Some((name, child)) = level.waiting.pop() {
                let path = level.path.join(name.as_str());
                if let Some(view) = self.open(&path, &child, &levels).await? {
                    let entry = Some((name, child.metadata));
                    levels.push(self.begin(&view, path, entry).await?);
                }
                continue;
            }
            while !level.files.is_empty() {
                self.take(level).await?;
            }
            let Some(Level { path, entry, children, .. }) = levels.pop() else { continue };
            let made = self.client.make_directory_with(children).await;
            let made = made.map_err(|error| CopyError::grid(path, error))?;
            self.counts.directories += 1;
            match (levels.last_mut(), entry) {
                (Some(above), Some((name, metadata))) => above.children.push((name, made.with(metadata))),
                _ => return Ok(made),
            }
        }
    }

    /// Opens a directory, unless it cannot be followed.
    async fn open(
        &mut self,
        path: &Path,
        child: &Child,
        above: &[Level],
    ) -> Result<Option<DirView>, CopyError> {
        let hash = child.caps.read.verify_hash();
        let problem = if hash.is_some() && above.iter().any(|level| level.hash == hash) {
            CopyProblem::Cycle
        } else if above.len() > MAX_DEPTH {
            CopyProblem::Grid(FileStoreError::TooDeep)
        } else {
            match self.client.open_directory(child.cap()).await {
                Ok(view) => return Ok(Some(view)),
                Err(error) if CopyError::is_hopeless(&error) => return Err(CopyError::grid(path, error)),
                Err(error) => CopyProblem::Grid(error),
            }
        };
        self.counts.problems.add(path, problem);
        Ok(None)
    }

    /// Begins with a directory: its files are on their way, and what is in the directories in it is still to come.
    async fn begin(
        &mut self,
        view: &DirView,
        path: PathBuf,
        entry: Option<(Name, Metadata)>,
    ) -> Result<Level, CopyError> {
        let hash = view.cap().verify_hash();
        let (waiting, children) = (Vec::new(), Vec::new());
        let mut level = Level { path: path.clone(), entry, hash, files: JoinSet::new(), waiting, children };
        let mut entries = view.entries();
        let failed = |error| CopyError::grid(&path, error);
        while let Some((name, entry)) = entries.next().await.map_err(failed)? {
            let child = view.child_of(&entry).map_err(failed)?;
            if entry.kind == EntryKind::Directory {
                level.waiting.push((name, child));
                continue;
            }
            if self.files == Files::Linked {
                self.counts.linked += 1;
                self.progress.advance(entry.cap.size().unwrap_or(0));
                level.children.push((name, child));
                continue;
            }
            if level.files.len() >= FILES_AT_ONCE {
                self.take(&mut level).await?;
            }
            let client = self.client.clone();
            level.files.spawn(async move { (name, client.copy_file(&child, None).await) });
        }
        level.waiting.reverse();
        Ok(level)
    }

    async fn take(&mut self, level: &mut Level) -> Result<(), CopyError> {
        let Some(done) = level.files.join_next().await else { return Ok(()) };
        let (name, copied) = done.map_err(|_| CopyError::Internal)?;
        match copied {
            Ok((child, bytes)) => {
                self.counts.files += 1;
                self.counts.bytes += bytes;
                self.progress.advance(bytes);
                level.children.push((name, child));
            }
            Err(error) if CopyError::is_hopeless(&error) => {
                return Err(CopyError::grid(level.path.join(name.as_str()), error));
            }
            Err(error) => {
                self.counts.problems.add(level.path.join(name.as_str()), CopyProblem::Grid(error));
            }
        }
        Ok(())
    }
}
