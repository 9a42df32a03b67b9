//! A walk over a local tree, some of it ahead, with what earlier backups know of each file.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::{BoxFuture, Pool};

use super::problem::CopyError;
use crate::backup_db::{BackupDb, BackupDbError, Known};
use crate::local::{Entry, Event, Excludes, Scan};

/// Entries looked at in one job. Each keeps its folder open, and a process may have 1,024 files open where nobody raised that.
const BATCH: usize = 128;

/// A walk over a local tree.
pub(super) struct Scanning {
    pool: Arc<dyn Pool>,
    scan: Option<Scan>,
    memory: Option<Memory>,
    job: Option<BoxFuture<'static, Batch>>,
    ready: VecDeque<(Event, Option<Known>)>,
}

/// What earlier backups know.
#[derive(Clone)]
pub(super) struct Memory {
    pub(super) db: Arc<BackupDb>,
    /// The root of the tree, as an absolute path: paths in the database begin with it.
    pub(super) root: PathBuf,
}

type Batch = (Scan, Result<Vec<(Event, Option<Known>)>, BackupDbError>);

impl Scanning {
    pub(super) async fn new(
        pool: Arc<dyn Pool>,
        root: &Path,
        excludes: Excludes,
        memory: Option<Memory>,
    ) -> Result<Self, CopyError> {
        let root = root.to_owned();
        let scan = pool.run(move || Scan::new(&root, excludes)).await?;
        Ok(Self { pool, scan: Some(scan), memory, job: None, ready: VecDeque::new() })
    }

    /// What comes next; `None` at the end. It may be given up and asked again.
    pub(super) async fn next(&mut self) -> Result<Option<(Event, Option<Known>)>, CopyError> {
        loop {
            if let Some(next) = self.ready.pop_front() {
                return Ok(Some(next));
            }
            if let Some(scan) = self.scan.take() {
                let (pool, memory) = (self.pool.clone(), self.memory.clone());
                self.job =
                    Some(Box::pin(async move { pool.run(move || batch(scan, memory.as_ref())).await }));
            }
            let Some(job) = &mut self.job else { return Ok(None) };
            let (scan, batch) = job.await;
            self.job = None;
            self.ready = batch?.into();
            if !self.ready.is_empty() {
                self.scan = Some(scan);
            }
        }
    }
}

fn batch(mut scan: Scan, memory: Option<&Memory>) -> Batch {
    let met: Vec<Event> = scan.by_ref().take(BATCH).collect();
    let known = |event: Event| {
        let known = match (&event, memory) {
            (Event::Entry(entry), Some(memory)) => memory.of(entry)?,
            _ => None,
        };
        Ok((event, known))
    };
    (scan, met.into_iter().map(known).collect())
}

impl Memory {
    pub(super) fn path(&self, entry: &Entry) -> PathBuf {
        self.root.join(&entry.relative)
    }

    fn of(&self, entry: &Entry) -> Result<Option<Known>, BackupDbError> {
        self.db.unchanged(&self.path(entry), &entry.metadata)
    }
}
