//! A verb at work on the file store: its client, its aliases, and what is to be said at the end.

use std::path::Path;

use client::slot::Doubts;
use client::{Client, ClientDir};

use super::recovery;
use super::target::At;

/// What to do when a verb was interrupted that has nothing better to say.
pub(crate) const HINT: &str = "what was done until then stays; the same command may be given again";

/// A client and its directory.
#[derive(Clone)]
pub(crate) struct Session {
    /// The client.
    pub(crate) client: Client,
    /// Its directory.
    pub(crate) dir: ClientDir,
    /// Whether only errors are wanted on stderr.
    pub(crate) quiet: bool,
}

impl Session {
    /// What a path begins at and leads through. Nothing is looked up on the grid.
    pub(crate) fn at(&self, path: &str) -> anyhow::Result<At> {
        At::parse(path, || Ok(self.dir.clone()))
    }

    /// This session, as it works for the sake of the root that a path begins at.
    pub(crate) fn under(&self, at: &At) -> Self {
        Self { client: self.client.under(&at.root), dir: self.dir.clone(), quiet: self.quiet }
    }

    /// Says something on stderr, unless nobody wants to know.
    pub(crate) fn note(&self, text: std::fmt::Arguments<'_>) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Reminds of the recovery file.
    pub(crate) fn remind(&self) {
        recovery::remind(&self.dir, self.quiet);
    }
}

/// Runs `work` with a client that knows which servers exist, until it is done or interrupted; `hint` says what to do then. What reads left
/// in doubt is said at the end, and what slots' members acknowledged is kept, whatever became of the work.
pub(crate) async fn run<T>(
    home: &Path,
    quiet: bool,
    hint: &'static str,
    work: impl AsyncFnOnce(&Session) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let client = super::connected(home, quiet).await?;
    let session = Session { client, dir: ClientDir::open(home)?, quiet };
    let done = super::interruptible(&session.client, hint, work(&session)).await;
    tell_doubts(&session.client, quiet);
    session.client.close().await;
    done
}

/// Says how sure the reads were, where they were not.
fn tell_doubts(client: &Client, quiet: bool) {
    let Doubts { newest_seen, forgetful } = client.take_doubts();
    if quiet {
        return;
    }
    if newest_seen > 0 {
        eprintln!(
            "note: too few servers answered to be sure: this is the newest that was seen, and there may be newer"
        );
    }
    for store in forgetful {
        let server = client.grid().server_of(&store.store);
        let server = server.map_or_else(|| store.store.to_string(), |server| server.name());
        eprintln!("note: {server} shows less than it once acknowledged: it forgot, or lies");
    }
}
