//! From one place of the grid to another with all that is in it: directories are made anew, and the bytes of files are fetched and
//! stored again, so that nothing of the copy depends on what it was copied from.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use caps::{Cap, VerifyHash};
use encoding::directory::{Entry, EntryKind, Name};
use protocol::BoxFuture;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;

use super::{CopyError, CopyProblem, FILES_AT_ONCE, LARGE, Problems, TreeProgress};
use crate::filestore::{Child, DirView, FileStoreError};
use crate::{Client, GetOptions, PutOptions, Sink, Source};

/// Files up to this length are fetched into memory before they are stored.
const IN_MEMORY: u64 = 1 << 20;
/// Deeper than any tree that people make; it also keeps the recursion within its stack.
const MAX_DEPTH: usize = 512;

/// What was done.
#[derive(Debug)]
pub struct DeepCopied {
    /// The copy of the root.
    pub root: Child,
    /// Files.
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
    /// [`CopyError`]; what went wrong with single entries is in [`DeepCopied::problems`].
    pub async fn copy_directory(
        &self,
        view: &DirView,
        progress: &TreeProgress,
    ) -> Result<DeepCopied, CopyError> {
        let mut counts = Counts::default();
        let mut above = Vec::new();
        let root = self.copy_below(view, PathBuf::new(), &mut above, &mut counts, progress).await?;
        let Counts { files, directories, bytes, problems } = counts;
        Ok(DeepCopied { root, files, directories, bytes, problems })
    }

    fn copy_below<'a>(
        &'a self,
        view: &'a DirView,
        path: PathBuf,
        above: &'a mut Vec<Option<VerifyHash>>,
        counts: &'a mut Counts,
        progress: &'a TreeProgress,
    ) -> BoxFuture<'a, Result<Child, CopyError>> {
        Box::pin(async move {
            above.push(view.cap().verify_hash());
            let failed = |error| CopyError::grid(&path, error);
            let (mut children, mut files) = (Vec::new(), JoinSet::new());
            let mut entries = view.entries();
            while let Some((name, entry)) = entries.next().await.map_err(failed)? {
                let child = view.child_of(&entry).map_err(failed)?;
                if entry.kind == EntryKind::Directory {
                    let below = path.join(name.as_str());
                    if let Some(copy) =
                        self.copy_folder(&entry, &child, below, above, counts, progress).await?
                    {
                        children.push((name, copy.with(entry.metadata)));
                    }
                    continue;
                }
                if files.len() >= FILES_AT_ONCE {
                    take(&mut files, &path, &mut children, counts, progress).await?;
                }
                let client = self.clone();
                files.spawn(async move { (name, client.copy_file(&child, None).await) });
            }
            while !files.is_empty() {
                take(&mut files, &path, &mut children, counts, progress).await?;
            }
            above.pop();
            counts.directories += 1;
            self.make_directory_with(children).await.map_err(failed)
        })
    }

    async fn copy_folder(
        &self,
        entry: &Entry,
        child: &Child,
        path: PathBuf,
        above: &mut Vec<Option<VerifyHash>>,
        counts: &mut Counts,
        progress: &TreeProgress,
    ) -> Result<Option<Child>, CopyError> {
        let hash = entry.cap.verify_hash();
        if above.len() >= MAX_DEPTH || (hash.is_some() && above.contains(&hash)) {
            counts.problems.add(path, CopyProblem::Cycle);
            return Ok(None);
        }
        match self.open_directory(child.cap()).await {
            Ok(view) => self.copy_below(&view, path, above, counts, progress).await.map(Some),
            Err(error) if CopyError::is_hopeless(&error) => Err(CopyError::grid(path, error)),
            Err(error) => {
                counts.problems.add(path, CopyProblem::Grid(error));
                Ok(None)
            }
        }
    }
}

type Copying = JoinSet<(Name, Result<(Child, u64), FileStoreError>)>;

async fn take(
    files: &mut Copying,
    path: &Path,
    children: &mut Vec<(Name, Child)>,
    counts: &mut Counts,
    progress: &TreeProgress,
) -> Result<(), CopyError> {
    let Some(done) = files.join_next().await else { return Ok(()) };
    let (name, copied) = done.map_err(|_| CopyError::Internal)?;
    match copied {
        Ok((child, bytes)) => {
            counts.files += 1;
            counts.bytes += bytes;
            progress.advance(bytes);
            children.push((name, child));
        }
        Err(error) if CopyError::is_hopeless(&error) => {
            return Err(CopyError::grid(path.join(name.as_str()), error));
        }
        Err(error) => counts.problems.add(path.join(name.as_str()), CopyProblem::Grid(error)),
    }
    Ok(())
}
