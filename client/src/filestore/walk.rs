//! Walking a whole tree: in the order of names, directories before what is in them, with the directories ahead already on their way.
//!
//! Memory holds one page of each directory on the path, and H of every directory seen: one that is reached again, as in a cycle, is
//! shown and not entered. Whoever copies a tree needs every path and enters it again, unless it lies in itself.

use std::collections::HashSet;
use std::sync::Arc;

use caps::{Cap, VerifyHash};
use encoding::directory::{Entry, EntryKind, Name};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::MAX_DEPTH;
use super::error::FileStoreError;
use super::view::DirView;
use crate::Client;

/// Directories being opened ahead of the walk.
const AHEAD: usize = 64;
/// Entries of one directory that are looked at ahead.
const PAGE: usize = 256;

/// Something that a walk came to.
#[derive(Debug)]
pub struct Walked {
    /// Names from the root; empty for the root itself.
    pub path: Vec<Name>,
    /// Its strongest cap that the root grants.
    pub cap: Cap,
    /// What its directory says of it; `None` for the root.
    pub entry: Option<Entry>,
    /// Of a directory: whether it was opened, and if not, why not.
    pub opened: Option<Result<(), FileStoreError>>,
    /// Whether it was met before, and is not entered again.
    pub again: bool,
}

impl Walked {
    /// What it is.
    pub fn kind(&self) -> EntryKind {
        self.entry.as_ref().map_or_else(|| Entry::kind_of(&self.cap), |entry| entry.kind)
    }
}

/// A directory that is opened ahead, and its place among those: held until the walk comes to it.
type Opening = JoinHandle<Result<(Arc<DirView>, OwnedSemaphorePermit), FileStoreError>>;

/// An entry that was looked at ahead.
struct Ahead {
    name: Name,
    entry: Entry,
    cap: Result<Cap, FileStoreError>,
    /// Whether it is a directory that is to be entered.
    opens: bool,
    opening: Option<Opening>,
}

struct Level {
    /// H of the directory, where only those above are remembered.
    hash: Option<VerifyHash>,
    pages: mpsc::Receiver<Result<Ahead, FileStoreError>>,
    reading: JoinHandle<()>,
}

impl Drop for Level {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A walk under way.
pub struct Walk {
    client: Client,
    permits: Arc<Semaphore>,
    root: Option<Cap>,
    levels: Vec<Level>,
    path: Vec<Name>,
    seen: HashSet<VerifyHash>,
    every_path: bool,
    depth: usize,
}

impl Client {
    /// Walks everything below a cap. A directory that cannot be opened is shown with its error, and the walk goes on.
    pub fn walk(&self, root: &Cap) -> Walk {
        Walk {
            client: self.clone(),
            permits: Arc::new(Semaphore::new(AHEAD)),
            root: Some(root.clone()),
            levels: Vec::new(),
            path: Vec::new(),
            seen: HashSet::new(),
            every_path: false,
            depth: usize::MAX,
        }
    }
}

impl Walk {
    /// Enters a directory each time that it is met, unless it lies in itself. A tree whose directories are linked several times each can
    /// be far larger so than what is stored of it.
    #[must_use]
    pub fn every_path(mut self) -> Self {
        self.every_path = true;
        self
    }

    /// Goes no more than so many names below the root: directories there are shown and not opened.
    #[must_use]
    pub fn down_to(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// The next thing; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`] if a directory that was opened cannot be read on; its other entries are left out.
    pub async fn next(&mut self) -> Result<Option<Walked>, FileStoreError> {
        if let Some(root) = self.root.take() {
            return Ok(Some(self.begin(root).await));
        }
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            match level.pages.recv().await {
                Some(Ok(ahead)) => return Ok(Some(self.take(ahead).await)),
                Some(Err(error)) => return Err(error),
                None => {
                    let level = self.levels.pop();
                    if let Some(hash) = level.and_then(|level| level.hash) {
                        self.seen.remove(&hash);
                    }
                    self.path.pop();
                }
            }
        }
    }

    async fn begin(&mut self, cap: Cap) -> Walked {
        let mut walked =
            Walked { path: Vec::new(), cap: cap.clone(), entry: None, opened: None, again: false };
        if cap.is_directory() && self.depth > 0 {
            self.seen.extend(cap.verify_hash());
            walked.opened = Some(match self.client.open_directory(&cap).await {
                Ok(view) => {
                    self.enter(Arc::new(view), &cap);
                    Ok(())
                }
                Err(error) => Err(error),
            });
        }
        walked
    }

    async fn take(&mut self, ahead: Ahead) -> Walked {
        let Ahead { name, entry, cap, opens, opening } = ahead;
        let mut path = self.path.clone();
        path.push(name.clone());
        let (cap, mut opened) = match cap {
            Ok(cap) => (cap, None),
            Err(error) => (entry.cap.clone(), Some(Err(error))),
        };
        let mut again = false;
        if opens && opened.is_none() {
            let hash = cap.verify_hash();
            again = hash.is_some_and(|hash| self.seen.contains(&hash));
            if again || path.len() > MAX_DEPTH {
                opening.inspect(Opening::abort);
                opened = (!again).then_some(Err(FileStoreError::TooDeep));
            } else {
                opened = Some(match self.opened(&cap, opening).await {
                    Ok(view) => {
                        // Only what was entered counts as seen: a wrong key for the same H must not hide the right one.
                        self.seen.extend(hash);
                        self.path.push(name);
                        self.enter(view, &cap);
                        Ok(())
                    }
                    Err(error) => Err(error),
                });
            }
        }
        Walked { path, cap, entry: Some(entry), opened, again }
    }

    async fn opened(&self, cap: &Cap, opening: Option<Opening>) -> Result<Arc<DirView>, FileStoreError> {
        match opening {
            // Its place is free for another from here on.
            Some(opening) => opening.await.map_err(|_| FileStoreError::GivenUp)?.map(|(view, _)| view),
            None => self.client.open_directory(cap).await.map(Arc::new),
        }
    }

    /// Goes on with the entries of this directory.
    fn enter(&mut self, view: Arc<DirView>, cap: &Cap) {
        let (sender, pages) = mpsc::channel(PAGE);
        let (client, permits) = (self.client.clone(), self.permits.clone());
        let opens = self.path.len() + 1 < self.depth;
        let reading = tokio::spawn(read_ahead(client, view, permits, sender, opens));
        let hash = cap.verify_hash().filter(|_| self.every_path);
        self.levels.push(Level { hash, pages, reading });
    }
}

async fn read_ahead(
    client: Client,
    view: Arc<DirView>,
    permits: Arc<Semaphore>,
    sender: mpsc::Sender<Result<Ahead, FileStoreError>>,
    open: bool,
) {
    let mut entries = view.entries();
    loop {
        let next = match entries.next().await {
            Ok(None) => return,
            Ok(Some((name, entry))) => {
                let cap = view.cap_of(&entry);
                let wanted = open && entry.kind == EntryKind::Directory;
                let opens = cap.as_ref().is_ok_and(|_| wanted);
                let place = permits.clone().try_acquire_owned().ok().filter(|_| opens);
                // Without a place it is opened when the walk comes to it.
                let opening = place.zip(cap.as_ref().ok()).map(|(place, cap)| {
                    let (client, cap) = (client.clone(), cap.clone());
                    tokio::spawn(async move {
                        let view = client.open_directory(&cap).await?;
                        Ok((Arc::new(view), place))
                    })
                });
                Ok(Ahead { name, entry, cap, opens, opening })
            }
            Err(error) => Err(error),
        };
        let ended = next.is_err();
        if sender.send(next).await.is_err() || ended {
            return;
        }
    }
}
