//! A directory as a zip, made while it is read: no temporary file, and nothing in memory but a few small files ahead and the list at its end.

mod format;
mod room;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use caps::Cap;
use client::filestore::{DirView, FileStoreError, Walk, Walked};
use client::{Client, GetOptions, Sink, Transfer};
use encoding::directory::{EntryKind, Name, Time};
use protocol::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::problem::Problem;
use super::transfers::Way;
use crate::Gateway;
use crate::content::{self, Disposition, Serve};
use crate::stream::{Gone, Out, answer};
use format::{Crc, Listed, TooMuch, Writer};
use room::Place;
pub(crate) use room::Room;

/// Files that are read ahead.
const AHEAD: usize = 16;
/// Files up to this many bytes are read ahead.
const SMALL: u64 = 256 << 10;
/// Entries of one zip.
const ENTRIES_MAX: u64 = 1_000_000;

/// Why a zip ends early.
enum Broken {
    Gone,
    Store(FileStoreError),
    TooMuch(TooMuch),
}

impl From<TooMuch> for Broken {
    fn from(error: TooMuch) -> Self {
        Self::TooMuch(error)
    }
}

impl From<Gone> for Broken {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<FileStoreError> for Broken {
    fn from(error: FileStoreError) -> Self {
        Self::Store(error)
    }
}

/// Answers with a zip of the directory, or of these entries of it.
pub(super) async fn respond(
    gateway: &Arc<Gateway>,
    view: DirView,
    name: &str,
    names: &[Name],
    is_head: bool,
) -> Result<Response, Problem> {
    for name in names {
        if view.get(name).await?.is_none() {
            return Err(FileStoreError::NoEntry { path: name.to_string() }.into());
        }
    }
    let serve = Serve { name: Some(name), disposition: Disposition::Attachment, ..Serve::default() };
    let mut response = match is_head {
        true => Response::new(axum::body::Body::empty()),
        false => {
            let place = gateway.shared().zips.enter();
            let place =
                place.ok_or_else(|| Problem::busy("as many zips are made as there may be at a time"))?;
            let (client, names) = (gateway.client().clone(), names.to_vec());
            let transfer = Transfer::default();
            let under_way = gateway.shared().transfers.begin(name, Way::Down, None, None, transfer.clone());
            answer("application/zip", async move |out| {
                let (writer, ahead) = (Writer::default(), VecDeque::new());
                let mut zip = Zip { client, out, place, writer, ahead, transfer };
                match zip.all(view, names).await {
                    Ok(()) => under_way.finish(),
                    Err(Broken::Gone) => {}
                    Err(Broken::Store(error)) => zip.out.break_off(&error).await,
                    Err(Broken::TooMuch(error)) => zip.out.break_off(&error).await,
                }
            })
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.extend(content::disposition(&serve).map(|value| (header::CONTENT_DISPOSITION, value)));
    Ok(response)
}

/// Something that is to be written.
struct Next {
    path: String,
    modified: Option<Time>,
    what: What,
}

enum What {
    Directory,
    /// Read ahead.
    Small(Reading),
    Large(Cap),
}

struct Reading {
    task: JoinHandle<Result<Vec<u8>, FileStoreError>>,
    _lent: OwnedSemaphorePermit,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Zip {
    client: Client,
    out: Out,
    place: Place,
    writer: Writer,
    ahead: VecDeque<Next>,
    transfer: Transfer,
}

impl Zip {
    async fn all(&mut self, view: DirView, names: Vec<Name>) -> Result<(), Broken> {
        if names.is_empty() {
            self.tree(&[], view.cap().clone()).await?;
        }
        for name in names {
            let gone = || FileStoreError::NoEntry { path: name.to_string() };
            let entry = view.get(&name).await?.ok_or_else(gone)?;
            let cap = view.cap_of(&entry)?;
            if entry.kind == EntryKind::Directory {
                self.tree(std::slice::from_ref(&name), cap).await?;
            } else {
                let walked = Walked { path: vec![name], cap, entry: Some(entry), opened: None, again: false };
                self.one(&[], walked).await?;
            }
        }
        while let Some(next) = self.ahead.pop_front() {
            self.write(next).await?;
        }
        for chunk in self.writer.finish() {
            self.out.piece(chunk.into()).await?;
        }
        Ok(self.out.flush().await?)
    }

    async fn tree(&mut self, above: &[Name], root: Cap) -> Result<(), Broken> {
        let mut walk: Walk = self.client.walk(&root).every_path();
        while let Some(walked) = walk.next().await? {
            self.one(above, walked).await?;
        }
        Ok(())
    }

    async fn one(&mut self, above: &[Name], walked: Walked) -> Result<(), Broken> {
        let kind = walked.kind();
        // A part that cannot be read makes no zip that looks whole.
        if let Some(Err(error)) = walked.opened {
            return Err(error.into());
        }
        if above.is_empty() && walked.path.is_empty() {
            return Ok(());
        }
        let metadata = walked.entry.as_ref().map(|entry| &entry.metadata);
        let modified = metadata.and_then(|metadata| metadata.mtime.or(metadata.link_modified));
        let path = above.iter().chain(&walked.path).map(safe).collect::<Vec<_>>().join("/");
        let what = match kind {
            EntryKind::Directory => What::Directory,
            EntryKind::File => self.begin(walked.cap),
            // Links and what is unknown have no content that a zip could hold.
            EntryKind::Symlink | EntryKind::Unknown => return Ok(()),
        };
        self.ahead.push_back(Next { path, modified, what });
        while self.ahead.len() > AHEAD {
            let Some(next) = self.ahead.pop_front() else { break };
            self.write(next).await?;
        }
        Ok(())
    }

    fn begin(&self, cap: Cap) -> What {
        let small = cap.size().filter(|size| *size <= SMALL);
        // Where no memory is left for it, it is read when its turn comes.
        let Some((size, lent)) = small.and_then(|size| Some((size, self.place.ahead(size)?))) else {
            return What::Large(cap);
        };
        let (client, transfer) = (self.client.clone(), self.transfer.clone());
        let task = tokio::spawn(async move {
            let mut bytes = Vec::with_capacity(size as usize);
            let options = GetOptions { range: None, transfer };
            client.read_file(&cap, &mut bytes, options).await?;
            Ok(bytes)
        });
        What::Small(Reading { task, _lent: lent })
    }

    async fn write(&mut self, next: Next) -> Result<(), Broken> {
        let Next { path, modified, what } = next;
        if self.writer.entries() >= ENTRIES_MAX {
            return Err(TooMuch::Entries.into());
        }
        if !self.place.allows(self.writer.chunks_with(&path)) {
            return Err(TooMuch::Room.into());
        }
        match what {
            What::Directory => {
                let head = self.writer.begin(Listed::directory(&path, modified))?;
                self.out.write(&head).await?;
                self.writer.end(0, 0)?;
            }
            What::Small(mut reading) => {
                let bytes = (&mut reading.task).await.map_err(|_| FileStoreError::GivenUp)??;
                let mut crc = Crc::new();
                crc.update(&bytes);
                let head = self.writer.begin(Listed::file(&path, modified, bytes.len() as u64))?;
                self.out.write(&head).await?;
                let len = bytes.len() as u64;
                self.out.piece(bytes.into()).await?;
                let tail = self.writer.end(crc.finalize(), len)?;
                self.out.write(&tail).await?;
            }
            What::Large(cap) => {
                let cap = self.client.content_cap(&cap).await?;
                let size = cap.size().unwrap_or(u64::MAX);
                let head = self.writer.begin(Listed::file(&path, modified, size))?;
                self.out.write(&head).await?;
                let mut sink = Pieces { out: &mut self.out, crc: Crc::new(), len: 0 };
                let options = GetOptions { range: None, transfer: self.transfer.clone() };
                self.client.read_file(&cap, &mut sink, options).await?;
                let (crc, len) = (sink.crc.finalize(), sink.len);
                let tail = self.writer.end(crc, len)?;
                self.out.write(&tail).await?;
            }
        }
        Ok(())
    }
}

struct Pieces<'o> {
    out: &'o mut Out,
    crc: Crc,
    len: u64,
}

impl Sink for Pieces<'_> {
    fn write(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            for piece in pieces {
                self.crc.update(&piece);
                self.len += piece.len() as u64;
                self.out.piece(piece).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
            }
            Ok(())
        })
    }
}

/// A name that unpacks as one name below the directory, on every system: what could separate names, begin a line or turn the direction of
/// text is replaced, and a mark tells such names apart.
fn safe(name: &Name) -> String {
    let text = name.as_str();
    let bad = |c: char| {
        c.is_control()
            || "\\:*?\"<>|".contains(c)
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    // Windows drops dots and blanks at the end, and so would make `.. ` of the directory above.
    let end = text.trim_end_matches(['.', ' ']).len();
    if end == text.len() && !text.contains(bad) {
        return text.to_owned();
    }
    let shown: String = text[..end].chars().map(|c| if bad(c) { '_' } else { c }).collect();
    let mark = format!("~{}", &blake3::hash(text.as_bytes()).to_hex()[..16]);
    match shown.rsplit_once('.').filter(|(stem, ending)| !stem.is_empty() && ending.len() <= 8) {
        Some((stem, ending)) => format!("{stem}{mark}.{ending}"),
        None => format!("{shown}{mark}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_one_name() {
        let safe = |text: &str| safe(&Name::new(text).unwrap());
        assert_eq!(safe("plain ünïcode.txt"), "plain ünïcode.txt");
        for hostile in ["..\\x", "a\nb", "C:x", "... ", "\u{202e}gpj.exe", "<script>"] {
            let made = safe(hostile);
            assert!(!made.contains(['\\', '\n', ':', '<', '\u{202e}', '/']), "{made:?}");
            assert!(!made.ends_with(['.', ' ']) && made != ".." && !made.is_empty(), "{made:?}");
        }
        assert_ne!(safe("a\\b"), safe("a:b"));
    }
}
