//! A directory becomes a local tree: the walk runs ahead, files are fetched many at once, and folders get their metadata last.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use caps::Cap;
use encoding::directory::{Entry, EntryKind, Metadata, Name};
use tokio::task::JoinSet;

use super::fetch::Fetching;
use super::{BYTES_AT_ONCE, CopyError, CopyProblem, FILES_AT_ONCE, LARGE, Problems, TreeProgress, to_local};
use crate::Client;
use crate::filestore::{FileStoreError, Walked};
use crate::local::{Folder, LocalMetadata, Restore, Trust};

const GROUP_CONTEXT: &str = "sarsen 2026 names of one file and one content, version 1";

/// How a tree shall be brought to this machine.
pub struct DownloadOptions {
    /// How far what its directories say is trusted.
    pub trust: Trust,
    /// What is put on the root, where that is known.
    pub root: Option<Metadata>,
    /// Writes the caps of files in place of their content.
    pub caps_only: bool,
    /// Watches it.
    pub progress: TreeProgress,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Downloaded {
    /// Files, each name of one counted.
    pub files: u64,
    /// Directories, the root included.
    pub directories: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Names of files that have another one.
    pub hard_links: u64,
    /// Bytes that were fetched.
    pub bytes: u64,
    /// How many things belong to whoever runs this rather than to whom they belonged to.
    pub owners_left_off: u64,
    /// What went wrong.
    pub problems: Problems,
}

/// A file that was fetched: its place, what it counted against the bound, and what came of it.
type Fetched = (PathBuf, u64, Result<u64, CopyProblem>);

struct Download {
    client: Client,
    restore: Arc<Restore>,
    target: PathBuf,
    /// The open folders from the root to where the walk is; `None` for one that could not be made.
    folders: Vec<Option<Folder>>,
    tasks: JoinSet<Result<Fetched, CopyError>>,
    files: usize,
    bytes: u64,
    caps_only: bool,
    progress: TreeProgress,
    done: Downloaded,
}

impl Client {
    /// Makes a local tree of a directory, in a folder that is made where there is none; what is there is kept, and files of the same
    /// names are replaced.
    ///
    /// # Errors
    ///
    /// [`CopyError`]; what went wrong with single entries is in [`Downloaded::problems`].
    pub async fn download_tree(
        &self,
        root: &Cap,
        target: &Path,
        options: DownloadOptions,
    ) -> Result<Downloaded, CopyError> {
        let (path, trust) = (target.to_owned(), options.trust);
        let restore = Arc::new(self.pool().run(move || Restore::new(&path, trust)).await?);
        let mut download = Download {
            client: self.clone(),
            folders: vec![Some(restore.root().clone())],
            restore,
            target: target.to_owned(),
            tasks: JoinSet::new(),
            files: 0,
            bytes: 0,
            caps_only: options.caps_only,
            progress: options.progress,
            done: Downloaded::default(),
        };
        download.walk(root).await?;
        let Download { restore, mut done, folders, .. } = download;
        drop(folders);
        let restore = Arc::into_inner(restore).ok_or(CopyError::Internal)?;
        let meta = options.root.map(|metadata| to_local(&metadata, true, self.now()));
        let report = self.pool().run(move || restore.finish(meta.as_ref())).await;
        done.owners_left_off = report.owners_left_off;
        for (path, problem) in report.problems {
            done.problems.add(path, problem);
        }
        done.problems.more += report.more_problems;
        Ok(done)
    }
}

impl Download {
    async fn walk(&mut self, root: &Cap) -> Result<(), CopyError> {
        let mut walk = self.client.walk(root).every_path();
        loop {
            while self.files >= FILES_AT_ONCE || self.bytes >= BYTES_AT_ONCE {
                self.join().await?;
            }
            match walk.next().await {
                Ok(Some(walked)) => self.met(walked).await?,
                Ok(None) => break,
                Err(error) if CopyError::is_hopeless(&error) => {
                    return Err(CopyError::grid(&self.target, error));
                }
                Err(error) => self.done.problems.add(&self.target, CopyProblem::Grid(error)),
            }
        }
        while !self.tasks.is_empty() {
            self.join().await?;
        }
        Ok(())
    }

    async fn met(&mut self, walked: Walked) -> Result<(), CopyError> {
        let Walked { path, cap, entry, opened, again } = walked;
        let (Some(name), Some(entry)) = (path.last(), entry) else {
            return match opened {
                Some(Ok(())) => {
                    self.done.directories += 1;
                    Ok(())
                }
                Some(Err(error)) => Err(CopyError::grid(&self.target, error)),
                None => {
                    let path = "what is to be copied".to_owned();
                    Err(CopyError::grid(&self.target, FileStoreError::NotADirectory { path }))
                }
            };
        };
        self.folders.truncate(path.len());
        let Some(folder) = self.folders.last().cloned().flatten() else {
            // It was said of the folder that it cannot be made.
            if entry.kind == EntryKind::Directory {
                self.folders.push(None);
            }
            return Ok(());
        };
        let place = folder.path().join(name.as_str());
        let done = match entry.kind {
            EntryKind::Directory => self.directory(&folder, name, &entry, opened, again).await,
            EntryKind::Unknown => Err(CopyProblem::UnknownKind),
            EntryKind::Symlink | EntryKind::File => self.file(&folder, name, cap, &entry).await,
        };
        match done {
            Err(CopyProblem::Grid(error)) if CopyError::is_hopeless(&error) => {
                return Err(CopyError::grid(place, error));
            }
            Err(problem) => self.done.problems.add(place, problem),
            Ok(()) => {}
        }
        Ok(())
    }

    async fn directory(
        &mut self,
        folder: &Folder,
        name: &Name,
        entry: &Entry,
        opened: Option<Result<(), FileStoreError>>,
        again: bool,
    ) -> Result<(), CopyProblem> {
        if again {
            return Err(CopyProblem::Cycle);
        }
        let meta = self.local(&entry.metadata, true);
        let (restore, above, name) = (self.restore.clone(), folder.clone(), name.to_string());
        let made = self.client.pool().run(move || restore.folder(&above, &name, meta)).await;
        match opened {
            Some(Err(error)) => return Err(CopyProblem::Grid(error)),
            None => return Err(CopyProblem::UnknownKind),
            Some(Ok(())) => {}
        }
        // What lies below is met nevertheless, and has no place to go.
        let made = made.inspect_err(|_| self.folders.push(None))?;
        self.done.directories += 1;
        self.folders.push(Some(made));
        Ok(())
    }

    async fn file(
        &mut self,
        folder: &Folder,
        name: &Name,
        cap: Cap,
        entry: &Entry,
    ) -> Result<(), CopyProblem> {
        let name = name.to_string();
        if let Some(group) = entry.metadata.hardlink
            && !self.restore.hard_link(folder, &name, group_of(group, entry))?
        {
            self.done.hard_links += 1;
            self.progress.advance(entry.metadata.size.unwrap_or(0));
            return Ok(());
        }
        let metadata = self.local(&entry.metadata, false);
        if entry.kind == EntryKind::Symlink {
            let target = entry.metadata.symlink.clone().unwrap_or_default();
            let (restore, folder) = (self.restore.clone(), folder.clone());
            let make = move || restore.symlink(&folder, &name, &target, &metadata);
            self.client.pool().run(make).await?;
            self.done.symlinks += 1;
            self.progress.advance(0);
            return Ok(());
        }
        let bytes = cap.size().or(entry.metadata.size).unwrap_or(0).min(LARGE);
        let place = folder.path().join(&name);
        let fetching = Fetching {
            client: self.client.clone(),
            restore: self.restore.clone(),
            folder: folder.clone(),
            name,
            cap,
            metadata,
            caps_only: self.caps_only,
            progress: self.progress.clone(),
        };
        self.files += 1;
        self.bytes += bytes;
        self.tasks.spawn(async move { Ok((place, bytes, fetching.run().await?)) });
        Ok(())
    }

    async fn join(&mut self) -> Result<(), CopyError> {
        let Some(done) = self.tasks.join_next().await else { return Ok(()) };
        let (path, bytes, outcome) = done.map_err(|_| CopyError::Internal)??;
        self.files -= 1;
        self.bytes -= bytes;
        match outcome {
            Ok(len) => {
                self.done.files += 1;
                self.done.bytes += len;
                self.progress.advance(len);
            }
            Err(problem) => self.done.problems.add(path, problem),
        }
        Ok(())
    }

    fn local(&self, metadata: &Metadata, directory: bool) -> LocalMetadata {
        to_local(metadata, directory, self.client.now())
    }
}

/// Names belong to one file only if they also have one content: one of them may have got another since.
fn group_of(group: [u8; 16], entry: &Entry) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key(GROUP_CONTEXT);
    hasher.update(&group).update(zeroize::Zeroizing::new(entry.cap.to_string()).as_bytes());
    if let Some(target) = &entry.metadata.symlink {
        hasher.update(target);
    }
    let mut first = [0; 16];
    hasher.finalize_xof().fill(&mut first);
    first
}

impl Client {
    /// Makes one local file of a file of the grid.
    ///
    /// # Errors
    ///
    /// [`CopyError`] if it cannot be made; what could not be put on it is in [`Downloaded::problems`].
    pub async fn download_file(
        &self,
        cap: &Cap,
        metadata: &Metadata,
        target: (&Path, &str),
        options: DownloadOptions,
    ) -> Result<Downloaded, CopyError> {
        let ((folder, name), trust) = ((target.0.to_owned(), target.1.to_owned()), options.trust);
        let restore = Arc::new(self.pool().run(move || Restore::new(&folder, trust)).await?);
        let place = target.0.join(&name);
        let meta = to_local(metadata, false, self.now());
        let mut done = Downloaded::default();
        if let Some(link) = metadata.symlink.clone() {
            let (restore, folder) = (restore.clone(), restore.root().clone());
            self.pool().run(move || restore.symlink(&folder, &name, &link, &meta)).await?;
            done.symlinks = 1;
        } else {
            let fetching = Fetching {
                client: self.clone(),
                restore: restore.clone(),
                folder: restore.root().clone(),
                name,
                cap: cap.clone(),
                metadata: meta,
                caps_only: options.caps_only,
                progress: options.progress,
            };
            match fetching.run().await? {
                Ok(bytes) => (done.files, done.bytes) = (1, bytes),
                Err(CopyProblem::Grid(error)) => return Err(CopyError::grid(place, error)),
                Err(CopyProblem::Restore(error)) => return Err(error.into()),
                Err(problem) => done.problems.add(place, problem),
            }
        }
        let restore = Arc::into_inner(restore).ok_or(CopyError::Internal)?;
        let report = self.pool().run(move || restore.finish(None)).await;
        done.owners_left_off = report.owners_left_off;
        for (path, problem) in report.problems {
            done.problems.add(path, problem);
        }
        Ok(done)
    }
}
