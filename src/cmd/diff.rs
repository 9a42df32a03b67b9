//! `sarsen diff`: what differs between two directories. Only names, kinds and caps are compared: nothing is fetched but directories.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use caps::{Cap, VerifyHash};
use client::Client;
use client::filestore::{DirView, FileStoreError, MAX_DEPTH};
use encoding::directory::{Entry, EntryKind, Name};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::target::joined;
use super::{long, session};
use crate::cli;
use crate::out::Lines;
use crate::report::{self, Differs, Partly};

/// Entries of a directory that are read ahead.
const AHEAD: usize = 64;

pub(crate) async fn run(home: &Path, args: &cli::Diff, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let client = &session.client;
        let (left, right) = (session.at(&args.left)?, session.at(&args.right)?);
        let (left, right) = tokio::join!(left.resolve(client), right.resolve(client));
        let (left, right) = (left?, right?);
        let mut diff = Diff::new(client);
        match (left.kind(), right.kind()) {
            (EntryKind::Directory, EntryKind::Directory) => {
                let views = tokio::join!(client.open_directory(&left.cap), client.open_directory(&right.cap));
                diff.both(views.0?, views.1?).await?;
            }
            (was, is) if was != is || left.cap.read() != right.cap.read() => {
                diff.say('~', EntryKind::File, None)?
            }
            _ => {}
        }
        diff.out.finish()?;
        match (diff.failed, diff.differs) {
            (true, _) => Err(Partly::UNREAD.into()),
            (false, true) => Err(Differs.into()),
            (false, false) => Ok(()),
        }
    })
    .await
}

/// One of two directories that are compared.
struct Side {
    view: Arc<DirView>,
    /// Its entries, from a task of their own: a level borrows from nothing, and levels are a list and no recursion.
    entries: mpsc::Receiver<Result<(Name, Entry), FileStoreError>>,
    next: Option<(Name, Entry)>,
    reading: JoinHandle<()>,
}

impl Drop for Side {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Side {
    fn new(view: DirView) -> Self {
        let view = Arc::new(view);
        let (sender, entries) = mpsc::channel(AHEAD);
        let reading = tokio::spawn(read(view.clone(), sender));
        Self { view, entries, next: None, reading }
    }

    /// The name that comes next.
    async fn peek(&mut self) -> Result<Option<&Name>, FileStoreError> {
        if self.next.is_none() {
            self.next = self.entries.recv().await.transpose()?;
        }
        Ok(self.next.as_ref().map(|(name, _)| name))
    }
}

async fn read(view: Arc<DirView>, sender: mpsc::Sender<Result<(Name, Entry), FileStoreError>>) {
    let mut entries = view.entries();
    while let Some(next) = entries.next().await.transpose() {
        let ended = next.is_err();
        if sender.send(next).await.is_err() || ended {
            return;
        }
    }
}

/// Two directories of the same path.
struct Level {
    left: Side,
    right: Side,
}

/// What two directories have under one name; at least one of them has something.
type Pair = (Option<(Name, Entry)>, Option<(Name, Entry)>);

impl Level {
    fn new(left: DirView, right: DirView) -> Self {
        Self { left: Side::new(left), right: Side::new(right) }
    }

    async fn next(&mut self) -> Result<Option<Pair>, FileStoreError> {
        let (old, new) = tokio::join!(self.left.peek(), self.right.peek());
        let order = match (old?, new?) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(new),
        };
        let was = if order.is_le() { self.left.next.take() } else { None };
        let is = if order.is_ge() { self.right.next.take() } else { None };
        Ok(Some((was, is)))
    }
}

struct Diff<'a> {
    client: &'a Client,
    out: Lines,
    path: Vec<Name>,
    /// Pairs of directories that were compared: cycles end here.
    seen: HashSet<(VerifyHash, VerifyHash)>,
    differs: bool,
    failed: bool,
}

impl<'a> Diff<'a> {
    fn new(client: &'a Client) -> Self {
        let (path, seen) = (Vec::new(), HashSet::new());
        Self { client, out: Lines::new(), path, seen, differs: false, failed: false }
    }

    async fn both(&mut self, left: DirView, right: DirView) -> anyhow::Result<()> {
        let mut levels = vec![Level::new(left, right)];
        while let Some(level) = levels.last_mut() {
            let below = match level.next().await {
                Ok(Some(pair)) => self.pair(level, pair).await,
                Ok(None) => {
                    levels.pop();
                    self.path.pop();
                    continue;
                }
                Err(error) => Err(error.into()),
            };
            match below {
                Ok(below) => levels.extend(below),
                // The rest of this directory is left out.
                Err(error) if error.is::<FileStoreError>() && levels.len() > 1 => {
                    self.tell(error);
                    levels.pop();
                    self.path.pop();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says how they differ. Two directories are to be compared next.
    async fn pair(&mut self, level: &Level, pair: Pair) -> anyhow::Result<Option<Level>> {
        match pair {
            (Some((name, was)), Some((_, is))) => return self.same_name(level, name, was, is).await,
            (Some((name, was)), None) => self.say('-', was.kind, Some(&name))?,
            (None, Some((name, is))) => self.say('+', is.kind, Some(&name))?,
            (None, None) => {}
        }
        Ok(None)
    }

    async fn same_name(
        &mut self,
        level: &Level,
        name: Name,
        was: Entry,
        is: Entry,
    ) -> anyhow::Result<Option<Level>> {
        if (was.kind, is.kind) == (EntryKind::Directory, EntryKind::Directory) {
            let caps = (level.left.view.cap_of(&was)?, level.right.view.cap_of(&is)?);
            return Ok(self.below(name, caps).await);
        }
        let same = was.kind == is.kind && was.cap == is.cap && was.metadata.symlink == is.metadata.symlink;
        if !same {
            self.say('~', is.kind, Some(&name))?;
        }
        Ok(None)
    }

    /// Opens two directories, unless there is no need; what cannot be opened is said.
    async fn below(&mut self, name: Name, (left, right): (Cap, Cap)) -> Option<Level> {
        if left.read() == right.read() {
            return None;
        }
        if let (Some(left), Some(right)) = (left.verify_hash(), right.verify_hash())
            && !self.seen.insert((left, right))
        {
            return None;
        }
        self.path.push(name);
        let views = match self.path.len() > MAX_DEPTH {
            true => Err(FileStoreError::TooDeep),
            false => tokio::try_join!(self.client.open_directory(&left), self.client.open_directory(&right)),
        };
        match views {
            Ok((left, right)) => Some(Level::new(left, right)),
            Err(error) => {
                self.tell(error.into());
                self.path.pop();
                None
            }
        }
    }

    fn tell(&mut self, error: anyhow::Error) {
        self.failed = true;
        report::tell(&error.context(joined(&self.path)));
    }

    fn say(&mut self, sign: char, kind: EntryKind, name: Option<&Name>) -> anyhow::Result<()> {
        self.differs = true;
        let names: Vec<Name> = self.path.iter().chain(name).cloned().collect();
        let mark = if kind == EntryKind::Directory { "/" } else { "" };
        let path = if names.is_empty() { ".".to_owned() } else { joined(&names) };
        self.out.line(format_args!("{sign} {}{mark}", long::printable(&path)))
    }
}
