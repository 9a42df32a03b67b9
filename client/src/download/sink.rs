//! Where downloaded bytes go.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use protocol::{BoxFuture, Pool};

/// Takes the bytes of a file in order.
pub trait Sink: Send {
    /// Takes the next pieces.
    fn write(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'_, io::Result<()>>;
}

impl Sink for Vec<u8> {
    fn write(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'_, io::Result<()>> {
        pieces.iter().for_each(|piece| self.extend_from_slice(piece));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A file on disk, written from some byte on.
pub struct FileSink {
    file: Arc<File>,
    at: u64,
    pool: Arc<dyn Pool>,
}

impl FileSink {
    /// Writes into `file` from byte `at` on, in jobs of `pool`.
    pub fn new(file: Arc<File>, at: u64, pool: Arc<dyn Pool>) -> Self {
        Self { file, at, pool }
    }
}

impl Sink for FileSink {
    fn write(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'_, io::Result<()>> {
        let (file, mut at) = (self.file.clone(), self.at);
        self.at += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        Box::pin(self.pool.run(move || {
            for piece in pieces {
                file.write_all_at(&piece, at)?;
                at += piece.len() as u64;
            }
            Ok(())
        }))
    }
}

/// Anything that is written with blocking calls, such as standard output.
pub struct BlockingSink<W> {
    writer: Option<W>,
    pool: Arc<dyn Pool>,
}

impl<W: Write + Send + 'static> BlockingSink<W> {
    /// Writes into `writer`, in jobs of `pool`.
    pub fn new(writer: W, pool: Arc<dyn Pool>) -> Self {
        Self { writer: Some(writer), pool }
    }
}

impl<W: Write + Send + 'static> Sink for BlockingSink<W> {
    fn write(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let Some(mut writer) = self.writer.take() else {
                return Err(io::Error::other("an earlier write was given up"));
            };
            let job = move || {
                let written =
                    pieces.iter().try_for_each(|piece| writer.write_all(piece)).and_then(|()| writer.flush());
                (writer, written)
            };
            let (writer, written) = self.pool.run(job).await;
            self.writer = Some(writer);
            written
        })
    }
}
