//! What all verbs that walk a tree have in common: what cannot be read is said, and the walk goes on.

use client::filestore::{Walk, Walked};

use super::session::Session;
use super::target::{At, joined};
use crate::report::{self, Partly};

/// A walk that says what it could not read.
pub(crate) struct Walking {
    walk: Walk,
    failed: bool,
}

impl Walking {
    /// Begins at a path; down to a depth, if one is given. What the path leads to is the first thing met, and has to be readable.
    pub(crate) async fn begin(
        session: &Session,
        at: &At,
        depth: Option<usize>,
    ) -> anyhow::Result<(Self, Walked)> {
        let target = at.resolve(&session.client).await?;
        let mut walk = session.client.walk(&target.cap);
        if let Some(depth) = depth {
            walk = walk.down_to(depth);
        }
        let first = walk.next().await?;
        let mut root = first.ok_or(client::filestore::FileStoreError::GivenUp)?;
        if let Some(Err(error)) = root.opened.take() {
            return Err(at.of(error));
        }
        // The walk sees the cap only.
        root.entry = target.entry;
        Ok((Self { walk, failed: false }, root))
    }

    /// The next thing that could be read, or that is a directory that could not.
    pub(crate) async fn next(&mut self) -> Option<Walked> {
        loop {
            match self.walk.next().await {
                Ok(walked) => {
                    if let Some(Walked { path, opened: Some(Err(error)), .. }) = &walked {
                        self.failed = true;
                        report::tell_of(&joined(path), error);
                    }
                    return walked;
                }
                Err(error) => {
                    self.failed = true;
                    report::tell_of("a directory", &error);
                }
            }
        }
    }

    /// Whether all was read.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        if self.failed { Err(Partly::UNREAD.into()) } else { Ok(()) }
    }
}
