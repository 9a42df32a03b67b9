//! `sarsen du`: how much is below each directory.

use std::path::Path;

use client::filestore::Walked;
use encoding::directory::{EntryKind, Name};

use super::long;
use super::session::{self, Session};
use super::target::At;
use super::walk::Walking;
use crate::cli::Du;
use crate::out::Lines;
use crate::report::{self, Partly};
use crate::sizes;

pub(crate) async fn run(home: &Path, args: &Du, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let at = session.at(&args.path)?;
        let (mut walking, root) = Walking::begin(session, &at, None).await?;
        let mut sums = Sums { args, at: &at, out: Lines::new(), open: Vec::new(), path: Vec::new() };
        let mut unread = false;
        let mut next = Some(root);
        while let Some(walked) = next {
            sums.leave(&walked)?;
            match walked.kind() {
                EntryKind::Directory => sums.enter(&walked),
                _ => sums.add(bytes(session, &walked, &mut unread).await, &walked)?,
            }
            next = walking.next().await;
        }
        sums.finish()?;
        walking.end()?;
        if unread { Err(Partly::UNREAD.into()) } else { Ok(()) }
    })
    .await
}

/// Bytes of a file. A mutable one is asked: what its directory says of it may be old.
async fn bytes(session: &Session, walked: &Walked, unread: &mut bool) -> u64 {
    if let Some(caps::Cap::SlotRead(read)) = walked.cap.read() {
        return match session.client.read_mutable(&read).await {
            Ok(view) => view.size(),
            Err(error) => {
                *unread = true;
                report::tell_of(&super::target::joined(&walked.path), &error);
                0
            }
        };
    }
    long::size(&walked.cap, walked.entry.as_ref()).unwrap_or(0)
}

/// What is counted so far in each directory on the path.
struct Sums<'a> {
    args: &'a Du,
    at: &'a At,
    out: Lines,
    open: Vec<u64>,
    path: Vec<Name>,
}

impl Sums<'_> {
    /// Closes the directories that are done when the walk comes to this.
    fn leave(&mut self, next: &Walked) -> anyhow::Result<()> {
        while self.open.len() > next.path.len() {
            self.close()?;
        }
        Ok(())
    }

    fn enter(&mut self, walked: &Walked) {
        self.path.clone_from(&walked.path);
        self.open.push(0);
    }

    fn add(&mut self, bytes: u64, walked: &Walked) -> anyhow::Result<()> {
        match self.open.last_mut() {
            Some(sum) => *sum = sum.saturating_add(bytes),
            // The root itself is a file.
            None => self.line(bytes, &walked.path)?,
        }
        Ok(())
    }

    fn close(&mut self) -> anyhow::Result<()> {
        let Some(sum) = self.open.pop() else { return Ok(()) };
        let path = self.path.clone();
        self.path.pop();
        if let Some(above) = self.open.last_mut() {
            *above = above.saturating_add(sum);
        }
        match self.args.depth {
            Some(depth) if path.len() > depth as usize => Ok(()),
            _ => self.line(sum, &path),
        }
    }

    fn line(&mut self, bytes: u64, path: &[Name]) -> anyhow::Result<()> {
        let size = if self.args.human { sizes::human(bytes) } else { bytes.to_string() };
        self.out.line(format_args!("{size}\t{}", long::printable(&self.at.below(path))))
    }

    fn finish(mut self) -> anyhow::Result<()> {
        while !self.open.is_empty() {
            self.close()?;
        }
        self.out.finish()
    }
}
