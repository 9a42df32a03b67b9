//! Between the requests of one upload and the grid.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use caps::{Cap, SlotWrite};
use client::filestore::{Child, DirEdit, FileStoreError, Replace};
use client::{Client, Source, Transfer};
use data_encoding::BASE64URL_NOPAD;
use encoding::directory::{Metadata, Name};
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::api::folders::linked;
use crate::api::problem::Problem;
use crate::api::transfers::{Transfers, UnderWay, Way};
use crate::incoming::{self, CONVERGENT};

/// Bytes between the requests and the grid.
const PIPE: usize = 256 << 10;

/// Where a file goes.
pub(super) struct Destination {
    pub(super) client: Client,
    pub(super) target: Target,
    pub(super) name: Name,
    pub(super) replace: Replace,
    pub(super) metadata: Metadata,
}

/// What is to become of the bytes.
pub(super) enum Target {
    /// A new entry of this directory.
    Link(SlotWrite),
    /// The content of a file that may change.
    Overwrite(SlotWrite),
}

/// One upload's bytes.
pub(super) struct Pipe {
    body: Body,
    transfer: Transfer,
    under_way: Option<UnderWay>,
}

enum Body {
    /// All of it, and its part of the memory there is for that.
    Gathered(Vec<u8>, OwnedSemaphorePermit),
    /// On its way.
    Flowing { writer: DuplexStream, storing: Storing },
    /// The entry, as a header has it.
    Linked(String),
    /// Given up, or failed.
    Closed,
}

/// What the grid says in the end. Dropped, it is given up.
struct Storing(JoinHandle<Result<Stored, FileStoreError>>);

impl Drop for Storing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Stored {
    File(Box<Child>),
    Overwritten,
}

impl Pipe {
    /// An empty one for so many bytes.
    pub(super) fn open(
        destination: &Destination,
        length: u64,
        room: &Arc<Semaphore>,
        transfers: &Transfers,
    ) -> Self {
        let transfer = Transfer::default();
        let name = destination.name.as_str();
        let under_way = Some(transfers.begin(name, Way::Up, Some(length), None, transfer.clone()));
        let place =
            (length <= CONVERGENT as u64).then(|| room.clone().try_acquire_many_owned(length as u32).ok());
        let body = match place.flatten() {
            // Memory is taken when bytes come.
            Some(place) => Body::Gathered(Vec::new(), place),
            None => {
                let (writer, reader) = tokio::io::duplex(PIPE);
                let source = Source::stream(Whole { reader, left: length });
                let storing = Storing(tokio::spawn(store(
                    destination.client.clone(),
                    destination.overwrites(),
                    source,
                    transfer.clone(),
                )));
                Body::Flowing { writer, storing }
            }
        };
        Self { body, transfer, under_way }
    }

    /// Takes some of these bytes. Given up, it took none.
    pub(super) async fn write(&mut self, bytes: &Bytes) -> io::Result<usize> {
        match &mut self.body {
            Body::Gathered(gathered, _) => {
                gathered.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Body::Flowing { writer, .. } => writer.write(bytes).await,
            Body::Linked(_) | Body::Closed => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The entry, if it is done.
    pub(super) fn entry(&self) -> Option<&str> {
        match &self.body {
            Body::Linked(entry) => Some(entry),
            _ => None,
        }
    }

    /// Whether all that was taken is still here.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.body, Body::Gathered(..))
    }

    /// Why the grid took no more.
    pub(super) async fn why(&mut self) -> Problem {
        let Body::Flowing { writer, mut storing } = std::mem::replace(&mut self.body, Body::Closed) else {
            return Problem::busy("the upload was given up");
        };
        self.close();
        drop(writer);
        match (&mut storing.0).await {
            Ok(Err(error)) => error.into(),
            _ => Problem::busy("the upload broke off"),
        }
    }

    pub(super) fn close(&mut self) {
        self.body = Body::Closed;
        self.under_way = None;
    }

    /// Stores what is there, all of it, and links it. After a failure that may pass, small files can be finished again.
    pub(super) async fn finish(&mut self, destination: &Destination) -> Result<String, Problem> {
        let stored = match std::mem::replace(&mut self.body, Body::Closed) {
            Body::Gathered(gathered, place) => {
                let bytes = Bytes::from(gathered);
                let transfer = self.transfer.clone();
                let source = Source::bytes(bytes.clone());
                let done = async {
                    let stored =
                        store(destination.client.clone(), destination.overwrites(), source, transfer).await?;
                    destination.link(stored).await
                };
                let done = done.await;
                if done.is_err() {
                    self.body = Body::Gathered(bytes.into(), place);
                }
                done
            }
            Body::Flowing { mut writer, mut storing } => {
                // The reader counts: whether this is heard makes no difference.
                let _ = writer.shutdown().await;
                match (&mut storing.0).await {
                    Ok(Ok(stored)) => destination.link(stored).await,
                    Ok(Err(error)) => Err(error.into()),
                    Err(_) => Err(Problem::busy("the upload broke off")),
                }
            }
            Body::Linked(entry) => return Ok(self.linked(entry)),
            Body::Closed => Err(Problem::busy("the upload was given up")),
        };
        Ok(self.linked(stored?))
    }

    fn linked(&mut self, entry: String) -> String {
        self.body = Body::Linked(entry.clone());
        self.under_way.take().iter().for_each(UnderWay::finish);
        entry
    }
}

async fn store(
    client: Client,
    overwrites: Option<SlotWrite>,
    source: Source,
    transfer: Transfer,
) -> Result<Stored, FileStoreError> {
    match overwrites {
        Some(file) => {
            incoming::store_over(&client, &file, source, transfer).await?;
            Ok(Stored::Overwritten)
        }
        None => Ok(Stored::File(Box::new(incoming::store(&client, source, transfer).await?))),
    }
}

impl Destination {
    fn overwrites(&self) -> Option<SlotWrite> {
        match &self.target {
            Target::Overwrite(file) => Some(file.clone()),
            Target::Link(_) => None,
        }
    }

    /// Makes it an entry, and tells which.
    async fn link(&self, stored: Stored) -> Result<String, Problem> {
        let child = match (&self.target, stored) {
            (Target::Link(directory), Stored::File(child)) => {
                let child = child.with(self.metadata.clone());
                let link = DirEdit::Link {
                    name: self.name.clone(),
                    child: Box::new(child.clone()),
                    replace: self.replace,
                };
                self.client.edit_entry(directory, link).await?;
                child
            }
            (Target::Overwrite(file), _) => {
                Child::new(Cap::SlotWrite(file.clone()), None)?.with(self.metadata.clone())
            }
            (Target::Link(_), Stored::Overwritten) => return Err(Problem::busy("the upload broke off")),
        };
        let entry = serde_json::to_vec(&linked(self.name.as_str(), &child)).unwrap_or_default();
        Ok(BASE64URL_NOPAD.encode(&entry))
    }
}

/// A stream that must give so many bytes: one that ends before is no file.
struct Whole {
    reader: DuplexStream,
    left: u64,
}

impl AsyncRead for Whole {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Ok(()));
        }
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        std::task::ready!(Pin::new(&mut self.reader).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        if read == 0 && room > 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.left = self.left.saturating_sub(read as u64);
        Poll::Ready(Ok(()))
    }
}
