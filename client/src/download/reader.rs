//! Reading a file by its cap, whether it is one object or a tree of many.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use caps::ImmutableRead;
use encoding::Kind;

use super::error::{Complaint, DownloadError};
use super::{DirectReader, FileTree, GetOptions, GetReport, Sink, clip};
use crate::Client;
use crate::progress::Transfer;
use crate::upload::ReadAt;

/// Bytes for which room is made before they come, of what is read into memory.
const READ_AT_ONCE: u64 = 16 * 1024 * 1024;

/// A file that was found: its descriptor is verified, its key is right, and enough shares are known. Clones share all of it.
#[derive(Clone)]
pub struct ObjectReader(pub(crate) Body);

/// Where the file's bytes are.
#[derive(Clone)]
pub(crate) enum Body {
    Direct(DirectReader),
    Tree(Arc<FileTree>),
}

impl ObjectReader {
    pub(crate) async fn open(client: Client, cap: &ImmutableRead) -> Result<Self, DownloadError> {
        let object = DirectReader::open(client.clone(), cap).await?;
        Ok(Self(match object.kind() {
            Kind::Direct => Body::Direct(object),
            Kind::Tree => Body::Tree(Arc::new(FileTree::open(client, cap, &object).await?)),
        }))
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Body::Direct(object) => object.len(),
            Body::Tree(tree) => tree.size(),
        }
    }

    /// Servers that lied, failed or were slow so far.
    pub fn complaints(&self) -> Vec<Complaint> {
        match &self.0 {
            Body::Direct(object) => object.complaints(),
            Body::Tree(tree) => tree.complaints(),
        }
    }

    /// Reads a range of the file into memory: cheap for small ones, since only the groups around it are fetched.
    ///
    /// # Errors
    ///
    /// [`DownloadError`].
    pub async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, DownloadError> {
        let range = clip(&Some(range), self.size())?;
        if let Some(bytes) = self.slice(range.clone()).await? {
            return Ok(bytes);
        }
        let mut out = Vec::with_capacity((range.end - range.start).min(READ_AT_ONCE) as usize);
        self.stream(range, &mut out, &Transfer::default()).await?;
        Ok(out)
    }

    /// Reads the file, or a range of it, into a sink.
    ///
    /// # Errors
    ///
    /// [`DownloadError`]. Bytes handed to the sink before an error are right.
    pub async fn read_into(
        &self,
        sink: &mut dyn Sink,
        options: GetOptions,
    ) -> Result<GetReport, DownloadError> {
        let range = clip(&options.range, self.size())?;
        let wanted = range.end - range.start;
        options.transfer.expect(wanted);
        if options.range.is_some()
            && let Some(bytes) = self.slice(range.clone()).await?
        {
            options.transfer.advance(wanted);
            sink.write(vec![Bytes::from(bytes)]).await.map_err(DownloadError::Sink)?;
        } else {
            self.stream(range, sink, &options.transfer).await?;
        }
        Ok(GetReport { bytes: wanted, complaints: self.complaints() })
    }

    /// How many of the first bytes of `file` are already this file's, in whole segments: what an interrupted download left is
    /// encrypted again and held against the block roots, so nothing on a disk is simply believed.
    ///
    /// # Errors
    ///
    /// [`DownloadError`] if the table of block roots cannot be fetched.
    pub async fn matching_prefix(&self, file: Arc<dyn ReadAt>) -> Result<u64, DownloadError> {
        match &self.0 {
            Body::Direct(object) => object.matching_prefix(file).await,
            Body::Tree(tree) => tree.matching_prefix(file).await,
        }
    }

    async fn slice(&self, range: Range<u64>) -> Result<Option<Vec<u8>>, DownloadError> {
        match &self.0 {
            Body::Direct(object) => object.slice(range).await,
            Body::Tree(tree) => tree.slice(range).await,
        }
    }

    async fn stream(
        &self,
        range: Range<u64>,
        sink: &mut dyn Sink,
        transfer: &Transfer,
    ) -> Result<(), DownloadError> {
        match &self.0 {
            Body::Direct(object) => object.stream(range, sink, transfer).await,
            Body::Tree(tree) => tree.stream(range, sink, transfer).await,
        }
    }
}
