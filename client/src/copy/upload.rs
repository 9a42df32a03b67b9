//! A local tree becomes a directory: files are sent many at once, and a directory is made when all that is in it is there, deepest
//! first.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use caps::Cap;
use encoding::directory::{EntryKind, Metadata, Name};
use tokio::task::JoinSet;

use super::file::{Goal, Sending, Sent, child, is_due};
use super::folder::{Finished, Folder};
use super::scanning::{Memory, Scanning};
use super::{
    BYTES_AT_ONCE, CopyError, CopyProblem, FILES_AT_ONCE, LARGE, Problems, TreeProgress, from_local,
};
use crate::Client;
use crate::backup_db::{BackupDb, Known};
use crate::filestore::{Child, DirView};
use crate::local::{Entry, Event, Excludes, Kind, SkipReason};

/// Directories being made at once.
const FOLDERS_AT_ONCE: usize = 64;

/// What a tree becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Directories that may change, of immutable files.
    Mutable,
    /// Directories that can never change.
    Immutable,
}

/// How a tree shall be uploaded.
pub struct UploadOptions {
    /// What it becomes.
    pub form: Form,
    /// What is left out.
    pub excludes: Excludes,
    /// What earlier uploads of immutable trees remember. It is asked, and told.
    pub memory: Option<Arc<BackupDb>>,
    /// Reads every file, even if its times say that it is unchanged.
    pub ignore_timestamps: bool,
    /// Watches it.
    pub progress: TreeProgress,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Uploaded {
    /// Files that were read and stored, or found to be stored.
    pub files: u64,
    /// Files that were known from before and not read.
    pub files_reused: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Directories that were made, or filled up.
    pub directories: u64,
    /// Directories that were known from before.
    pub directories_reused: u64,
    /// Bytes of the files that were read.
    pub bytes: u64,
    /// Files, and whatever else is no directory, that were left out though nobody asked for it.
    pub files_skipped: u64,
    /// Directories that were.
    pub directories_skipped: u64,
    /// What went wrong.
    pub problems: Problems,
}

/// A tree on the grid.
#[derive(Debug)]
pub struct UploadedTree {
    /// Its root, with its metadata.
    pub root: Child,
    /// What was done.
    pub done: Uploaded,
}

impl Client {
    /// Stores a local tree. Many files are on their way at once; memory holds the directories that are not finished.
    ///
    /// # Errors
    ///
    /// [`CopyError`]; what went wrong with single entries is in [`Uploaded::problems`].
    pub async fn upload_tree(&self, root: &Path, options: UploadOptions) -> Result<UploadedTree, CopyError> {
        Upload::run(self, root, None, options).await
    }

    /// Stores what is in a local tree in a directory that is there: directories of the same names are filled up, mutable files
    /// overwritten in place, other files replaced. Each directory is changed in one round.
    ///
    /// # Errors
    ///
    /// As [`Client::upload_tree`].
    pub async fn fill_up_tree(
        &self,
        root: &Path,
        existing: DirView,
        options: UploadOptions,
    ) -> Result<UploadedTree, CopyError> {
        writable(&existing, root)?;
        Upload::run(self, root, Some(Arc::new(existing)), options).await
    }

    /// Stores a single local file, as [`Client::upload_tree`] does: a child with its metadata, and what is odd about it.
    /// `overwrite` is a mutable file that gets its content instead of a new file being made.
    ///
    /// # Errors
    ///
    /// [`CopyError`].
    pub async fn upload_file(
        &self,
        entry: Entry,
        overwrite: Option<Child>,
        progress: &TreeProgress,
    ) -> Result<Result<(Child, Option<CopyProblem>), CopyProblem>, CopyError> {
        let (metadata, _) = from_local(&entry.metadata, &entry.kind);
        let goal = overwrite.map_or(Goal::New, |child| Goal::Overwrite(Box::new(child)));
        let progress = progress.clone();
        let sending = Sending { client: self.clone(), entry, memory: None, known: None, progress };
        Ok(match sending.run(goal).await? {
            Sent::Uploaded(child, odd) => Ok((child.with(metadata), odd)),
            Sent::Reused(child) => Ok((child.with(metadata), None)),
            Sent::Not(problem) => Err(problem),
        })
    }
}

enum Done {
    File { above: u64, name: Name, entry: Box<Entry>, metadata: Box<Metadata>, sent: Sent },
    Folder { folder: u64, finished: Box<Finished> },
}

struct Upload {
    client: Client,
    form: Form,
    memory: Option<Memory>,
    ignore_timestamps: bool,
    progress: TreeProgress,
    tasks: JoinSet<Result<Done, CopyError>>,
    folders: HashMap<u64, Folder>,
    /// The folders that the walk is in.
    stack: Vec<u64>,
    next: u64,
    /// Folders below one that cannot be copied, which the walk is in.
    passed_over: usize,
    files: usize,
    bytes: u64,
    making: usize,
    existing: Option<Arc<DirView>>,
    root: Option<Child>,
    done: Uploaded,
}

impl Upload {
    async fn run(
        client: &Client,
        root: &Path,
        existing: Option<Arc<DirView>>,
        options: UploadOptions,
    ) -> Result<UploadedTree, CopyError> {
        let (pool, given) = (client.pool(), root.to_owned());
        let absolute = pool.run(move || std::fs::canonicalize(given)).await;
        let absolute =
            absolute.map_err(|source| crate::local::ScanError::Root { path: root.to_owned(), source })?;
        let memory = options.memory.map(|db| Memory { db, root: absolute });
        let asked = memory.clone().filter(|_| !options.ignore_timestamps);
        let mut scanning = Scanning::new(pool, root, options.excludes, asked).await?;
        let mut upload = Self {
            client: client.clone(),
            form: options.form,
            memory,
            ignore_timestamps: options.ignore_timestamps,
            progress: options.progress,
            tasks: JoinSet::new(),
            folders: HashMap::new(),
            stack: Vec::new(),
            next: 0,
            passed_over: 0,
            files: 0,
            bytes: 0,
            making: 0,
            existing,
            root: None,
            done: Uploaded::default(),
        };
        upload.work(&mut scanning).await?;
        let root = upload.root.take().ok_or(CopyError::Internal)?;
        Ok(UploadedTree { root, done: upload.done })
    }

    async fn work(&mut self, scanning: &mut Scanning) -> Result<(), CopyError> {
        let mut more = true;
        while more || !self.tasks.is_empty() {
            let room =
                self.files < FILES_AT_ONCE && self.bytes < BYTES_AT_ONCE && self.making < FOLDERS_AT_ONCE;
            tokio::select! {
                biased;
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.take(done.map_err(|_| CopyError::Internal)??);
                }
                next = scanning.next(), if more && room => match next? {
                    Some((event, known)) => self.meet(event, known).await?,
                    None => more = false,
                },
            }
        }
        Ok(())
    }

    async fn meet(&mut self, event: Event, known: Option<Known>) -> Result<(), CopyError> {
        match event {
            Event::Enter(entry) if self.passed_over > 0 => {
                tracing::debug!(path = %entry.path.display(), "passed over");
                self.passed_over += 1;
                Ok(())
            }
            Event::Enter(entry) => self.enter(entry).await,
            Event::Leave(_) if self.passed_over > 0 => {
                self.passed_over -= 1;
                Ok(())
            }
            Event::Leave(_) => {
                if let Some(number) = self.stack.pop() {
                    if let Some(folder) = self.folders.get_mut(&number) {
                        folder.left = true;
                    }
                    self.finish_if_done(number);
                }
                Ok(())
            }
            Event::Entry(_) if self.passed_over > 0 => Ok(()),
            Event::Entry(entry) => self.entry(entry, known),
            Event::Skipped { path, reason } => {
                self.skipped(path, reason);
                Ok(())
            }
        }
    }

    fn skipped(&mut self, path: std::path::PathBuf, reason: SkipReason) {
        if !reason.is_problem() {
            tracing::info!(path = %path.display(), "excluded");
            return;
        }
        if !reason.is_partial() {
            match std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                true => self.done.directories_skipped += 1,
                false => self.done.files_skipped += 1,
            }
        }
        self.done.problems.add(path, reason);
    }

    async fn enter(&mut self, entry: Entry) -> Result<(), CopyError> {
        let above = self.stack.last().copied();
        let (metadata, left_out) = from_local(&entry.metadata, &entry.kind);
        if let Some(reason) = left_out {
            self.done.problems.add(&entry.path, reason);
        }
        let mut existing = self.existing.take();
        let mut place = None;
        if let Some(above) = above {
            let name = self.name(&entry)?;
            existing = match self.existing_below(above, &name, &entry).await? {
                Ok(existing) => existing,
                Err(problem) => {
                    self.passed_over = 1;
                    self.done.directories_skipped += 1;
                    self.done.problems.add(&entry.path, problem);
                    return Ok(());
                }
            };
            place = Some((above, name));
            self.above(above).waiting += 1;
        }
        let number = self.next;
        self.next += 1;
        self.stack.push(number);
        let folder = Folder {
            path: entry.path,
            above: place,
            metadata,
            existing,
            children: Vec::new(),
            waiting: 0,
            left: false,
        };
        self.folders.insert(number, folder);
        Ok(())
    }

    /// The directory of this name in one that is there.
    async fn existing_below(
        &mut self,
        above: u64,
        name: &Name,
        entry: &Entry,
    ) -> Result<Result<Option<Arc<DirView>>, CopyProblem>, CopyError> {
        let Some(view) = self.above(above).existing.clone() else { return Ok(Ok(None)) };
        let failed = |error| CopyError::grid(&entry.path, error);
        let Some(found) = view.get(name).await.map_err(failed)? else { return Ok(Ok(None)) };
        if found.kind != EntryKind::Directory {
            return Ok(Err(CopyProblem::InTheWay { what: "a file" }));
        }
        let cap = view.cap_of(&found).map_err(failed)?;
        let below = self.client.open_directory(&cap).await.map_err(failed)?;
        writable(&below, &entry.path)?;
        Ok(Ok(Some(Arc::new(below))))
    }

    fn entry(&mut self, entry: Entry, known: Option<Known>) -> Result<(), CopyError> {
        let above = *self.stack.last().ok_or(CopyError::Internal)?;
        let name = self.name(&entry)?;
        let (metadata, left_out) = from_local(&entry.metadata, &entry.kind);
        if let Some(reason) = left_out {
            self.done.problems.add(&entry.path, reason);
        }
        if let Kind::Symlink { target } = &entry.kind {
            let link = Child::symlink(target.clone()).with(metadata);
            self.done.symlinks += 1;
            self.progress.advance(0);
            self.above(above).children.push((name, link));
            return Ok(());
        }
        let known = known.filter(|_| !self.ignore_timestamps);
        if let Some(known) = &known
            && !is_due(&self.client, known)
        {
            let reused = child(known.cap.clone(), known.salt, &entry.path)?;
            self.file(above, name, &entry, metadata, Sent::Reused(Box::new(reused)));
            return Ok(());
        }
        self.files += 1;
        self.bytes += entry.metadata.size.min(LARGE);
        let existing = self.above(above).existing.clone();
        self.above(above).waiting += 1;
        let (client, progress, memory) = (self.client.clone(), self.progress.clone(), self.memory.clone());
        self.tasks.spawn(async move {
            let goal = match existing {
                Some(view) => goal(&view, &name, &entry).await?,
                None => Ok(Goal::New),
            };
            let sending = Sending { client, entry: entry.clone(), memory, known, progress };
            let sent = match goal {
                Ok(goal) => sending.run(goal).await?,
                Err(problem) => Sent::Not(problem),
            };
            Ok(Done::File { above, name, entry: Box::new(entry), metadata: Box::new(metadata), sent })
        });
        Ok(())
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::File { above, name, entry, metadata, sent } => {
                self.files -= 1;
                self.bytes -= entry.metadata.size.min(LARGE);
                self.above(above).waiting -= 1;
                self.file(above, name, &entry, *metadata, sent);
                self.finish_if_done(above);
            }
            Done::Folder { folder, finished } => {
                self.making -= 1;
                match finished.reused {
                    true => self.done.directories_reused += 1,
                    false => self.done.directories += 1,
                }
                for (path, problem) in finished.problems {
                    self.done.problems.add(path, problem);
                }
                let Some(folder) = self.folders.remove(&folder) else { return };
                let Some((above, name)) = folder.above else {
                    self.root = Some(finished.child);
                    return;
                };
                let parent = self.above(above);
                parent.waiting -= 1;
                if folder.existing.is_none() {
                    parent.children.push((name, finished.child));
                }
                self.finish_if_done(above);
            }
        }
    }

    /// Notes what became of a file.
    fn file(&mut self, above: u64, name: Name, entry: &Entry, metadata: Metadata, sent: Sent) {
        self.progress.advance(entry.metadata.size);
        let child = match sent {
            Sent::Reused(child) => {
                tracing::info!(path = %entry.path.display(), "reused");
                self.done.files_reused += 1;
                child
            }
            Sent::Uploaded(child, odd) => {
                tracing::info!(path = %entry.path.display(), "uploaded");
                self.done.files += 1;
                self.done.bytes += entry.metadata.size;
                if let Some(problem) = odd {
                    self.done.problems.add(&entry.path, problem);
                }
                child
            }
            Sent::Not(problem) => {
                self.done.files_skipped += 1;
                self.done.problems.add(&entry.path, problem);
                return;
            }
        };
        self.above(above).children.push((name, child.with(metadata)));
    }

    fn finish_if_done(&mut self, number: u64) {
        let Some(folder) = self.folders.get_mut(&number) else { return };
        if !folder.left || folder.waiting > 0 {
            return;
        }
        // What the finishing needs is taken along; its place stays.
        let whole = Folder {
            path: folder.path.clone(),
            above: None,
            metadata: folder.metadata.clone(),
            existing: folder.existing.clone(),
            children: std::mem::take(&mut folder.children),
            waiting: 0,
            left: true,
        };
        self.making += 1;
        let (client, form, memory) = (self.client.clone(), self.form, self.memory.clone());
        self.tasks.spawn(async move {
            let finished = Box::new(whole.finish(&client, form, memory).await?);
            Ok(Done::Folder { folder: number, finished })
        });
    }

    fn above(&mut self, number: u64) -> &mut Folder {
        self.folders.get_mut(&number).expect("a folder stays until all that is in it is done")
    }

    fn name(&self, entry: &Entry) -> Result<Name, CopyError> {
        Name::new(&entry.name).map_err(|error| CopyError::grid(&entry.path, error))
    }
}

fn writable(view: &DirView, path: &Path) -> Result<(), CopyError> {
    view.writer().map(drop).ok_or_else(|| CopyError::ReadOnly { path: path.to_owned() })
}

/// Where a file goes in a directory that is there.
async fn goal(view: &DirView, name: &Name, entry: &Entry) -> Result<Result<Goal, CopyProblem>, CopyError> {
    let failed = |error| CopyError::grid(&entry.path, error);
    let Some(found) = view.get(name).await.map_err(failed)? else { return Ok(Ok(Goal::New)) };
    if found.kind == EntryKind::Directory {
        return Ok(Err(CopyProblem::InTheWay { what: "a directory" }));
    }
    let child = view.child_of(&found).map_err(failed)?;
    Ok(Ok(match child.caps.write {
        Some(Cap::SlotWrite(_)) => Goal::Overwrite(Box::new(child)),
        _ => Goal::New,
    }))
}
