//! One file of the grid on its way to this machine.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use caps::Cap;

use super::problem::{CopyError, CopyProblem};
use super::progress::TreeProgress;
use crate::download::FileSink;
use crate::local::{Folder, LocalMetadata, Restore, RestoreError};
use crate::{Client, GetOptions};

/// Files up to this length are fetched into memory before they are begun.
const IN_MEMORY: u64 = 1 << 20;

/// A file about to be fetched.
pub(super) struct Fetching {
    pub(super) client: Client,
    pub(super) restore: Arc<Restore>,
    pub(super) folder: Folder,
    pub(super) name: String,
    pub(super) cap: Cap,
    pub(super) metadata: LocalMetadata,
    pub(super) caps_only: bool,
    pub(super) progress: TreeProgress,
}

impl Fetching {
    /// Fetches the file and puts it in its place. How many bytes it has, or why it is not there.
    pub(super) async fn run(self) -> Result<Result<u64, CopyProblem>, CopyError> {
        match self.fetch().await {
            Err(CopyProblem::Grid(error)) if CopyError::is_hopeless(&error) => {
                Err(CopyError::grid(self.folder.path().join(&self.name), error))
            }
            done => Ok(done),
        }
    }

    async fn fetch(&self) -> Result<u64, CopyProblem> {
        if self.caps_only {
            return self.put(format!("{}\n", self.cap).into()).await;
        }
        let content = self.client.content_cap(&self.cap).await.map_err(CopyProblem::Grid)?;
        let moving = self.progress.begin();
        let options = GetOptions { transfer: moving.transfer.clone(), ..GetOptions::default() };
        let small = match &content {
            Cap::Literal(literal) => Some(literal.bytes.clone()),
            Cap::ImmutableRead(read) if read.size <= IN_MEMORY => {
                let mut bytes = Vec::with_capacity(read.size as usize);
                let got = self.client.get(&content, &mut bytes, options.clone()).await;
                got.map_err(|error| CopyProblem::Grid(error.into()))?;
                Some(bytes)
            }
            _ => None,
        };
        match small {
            Some(bytes) => self.put(bytes.into()).await,
            None => self.stream(&content, options).await,
        }
    }

    async fn put(&self, bytes: Bytes) -> Result<u64, CopyProblem> {
        let (restore, folder, name) = (self.restore.clone(), self.folder.clone(), self.name.clone());
        let metadata = self.metadata.clone();
        let len = bytes.len() as u64;
        let job = move || -> Result<(), RestoreError> {
            let mut file = restore.file(&folder, &name)?;
            let written = file.file().write_all(&bytes);
            written.map_err(|source| RestoreError::Io { path: file.path(), source })?;
            restore.finish_file(file, &metadata)
        };
        self.client.pool().run(job).await?;
        Ok(len)
    }

    async fn stream(&self, cap: &Cap, options: GetOptions) -> Result<u64, CopyProblem> {
        let pool = self.client.pool();
        let (restore, folder, name) = (self.restore.clone(), self.folder.clone(), self.name.clone());
        let begin = move || -> Result<_, RestoreError> {
            let mut file = restore.file(&folder, &name)?;
            let writer = file.file().try_clone();
            let writer = writer.map_err(|source| RestoreError::Io { path: file.path(), source })?;
            Ok((file, Arc::new(writer)))
        };
        let (file, writer) = pool.run(begin).await?;
        let mut sink = FileSink::new(writer, 0, pool.clone());
        let got = self.client.get(cap, &mut sink, options).await;
        let got = got.map_err(|error| CopyProblem::Grid(error.into()))?;
        let (restore, metadata) = (self.restore.clone(), self.metadata.clone());
        pool.run(move || restore.finish_file(file, &metadata)).await?;
        Ok(got.bytes)
    }
}
