//! `sarsen diff`: what differs between two directories. Only names, kinds and caps are compared: nothing is fetched but directories.

use std::collections::HashSet;
use std::path::Path;

use caps::{Cap, VerifyHash};
use client::Client;
use client::filestore::DirView;
use encoding::directory::{Entry, EntryKind, Name};

use super::target::joined;
use super::{long, session};
use crate::cli;
use crate::out::Lines;
use crate::report::{self, Differs, Partly};

/// Deeper than any tree that people make.
const MAX_DEPTH: usize = 1024;

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
            (true, _) => Err(Partly("some of it could not be read").into()),
            (false, true) => Err(Differs.into()),
            (false, false) => Ok(()),
        }
    })
    .await
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
        let (mut lefts, mut rights) = (left.entries(), right.entries());
        let (mut old, mut new) = (lefts.next().await?, rights.next().await?);
        loop {
            let order = match (&old, &new) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let (was, is) = match order {
                std::cmp::Ordering::Less => (old.take(), None),
                std::cmp::Ordering::Greater => (None, new.take()),
                std::cmp::Ordering::Equal => (old.take(), new.take()),
            };
            let (took_old, took_new) = (was.is_some(), is.is_some());
            match (was, is) {
                (Some((name, was)), Some((_, is))) => {
                    self.same_name(name, (&left, was), (&right, is)).await?
                }
                (Some((name, was)), None) => self.say('-', was.kind, Some(&name))?,
                (None, Some((name, is))) => self.say('+', is.kind, Some(&name))?,
                (None, None) => {}
            }
            if took_old {
                old = lefts.next().await?;
            }
            if took_new {
                new = rights.next().await?;
            }
        }
    }

    async fn same_name(
        &mut self,
        name: Name,
        left: (&DirView, Entry),
        right: (&DirView, Entry),
    ) -> anyhow::Result<()> {
        let kinds = (left.1.kind, right.1.kind);
        if kinds == (EntryKind::Directory, EntryKind::Directory) {
            let caps = (left.0.cap_of(&left.1)?, right.0.cap_of(&right.1)?);
            return self.below(name, caps).await;
        }
        let same = kinds.0 == kinds.1
            && left.1.cap == right.1.cap
            && left.1.metadata.symlink == right.1.metadata.symlink;
        if same { Ok(()) } else { self.say('~', kinds.1, Some(&name)) }
    }

    async fn below(&mut self, name: Name, (left, right): (Cap, Cap)) -> anyhow::Result<()> {
        if left.read() == right.read() {
            return Ok(());
        }
        if let (Some(left), Some(right)) = (left.verify_hash(), right.verify_hash())
            && !self.seen.insert((left, right))
        {
            return Ok(());
        }
        let views = tokio::join!(self.client.open_directory(&left), self.client.open_directory(&right));
        self.path.push(name);
        let done = match views {
            (Ok(left), Ok(right)) if self.path.len() <= MAX_DEPTH => Box::pin(self.both(left, right)).await,
            (Ok(_), Ok(_)) => Ok(()),
            (Err(error), _) | (_, Err(error)) => Err(error.into()),
        };
        match done {
            Err(error) if error.is::<client::filestore::FileStoreError>() => {
                self.failed = true;
                report::tell(&error.context(joined(&self.path)));
            }
            other => other?,
        }
        self.path.pop();
        Ok(())
    }

    fn say(&mut self, sign: char, kind: EntryKind, name: Option<&Name>) -> anyhow::Result<()> {
        self.differs = true;
        let names: Vec<Name> = self.path.iter().chain(name).cloned().collect();
        let mark = if kind == EntryKind::Directory { "/" } else { "" };
        let path = if names.is_empty() { ".".to_owned() } else { joined(&names) };
        self.out.line(format_args!("{sign} {}{mark}", long::printable(&path)))
    }
}
