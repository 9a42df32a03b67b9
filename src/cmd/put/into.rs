//! Where `put` puts things.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use caps::{Cap, SlotWrite};
use client::filestore::{Child, DirEdit, FileStoreError, MutableEdit, Place, Refusal, Replace};
use client::upload::UploadError;
use client::{Source, Transfer};
use encoding::directory::{EntryKind, Metadata, Name, Time};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Done, is_mutable, options};
use crate::cli::Put;
use crate::cmd::session::Session;
use crate::cmd::target::{self, At};
use crate::report::Usage;

/// What `--offset` writes in one step.
const PIECE: usize = 8 << 20;

pub(super) async fn put(
    session: &Session,
    args: &Put,
    source: Source,
    transfer: Transfer,
) -> anyhow::Result<Done> {
    let Some(target) = &args.target else {
        let (child, report) = make(session, args, source, transfer).await?;
        return Ok(Done { cap: child.cap().clone(), report, outcome: None });
    };
    let at = session.at(target)?;
    let session = &session.under(&at);
    if at.names.is_empty() && !at.root.is_directory() {
        return overwrite(session, args, &at.root, source, transfer).await;
    }
    let own = match &args.file {
        Some(file) if file != Path::new("-") => Some(target::own_name(file)?),
        _ => None,
    };
    let (at, place) = place(session, &at, own.as_ref(), args).await?;
    match &place.entry {
        Some(entry) if entry.kind == EntryKind::Directory => {
            Err(FileStoreError::from(Refusal::IsDirectory { name: at.path() }).into())
        }
        Some(entry) if entry.cap.is_mutable() => {
            let cap = place.parent.cap_of(entry)?;
            overwrite(session, args, &cap, source, transfer).await
        }
        _ if args.offset.is_some() => bail!(Usage("--offset is for a mutable file that is there already")),
        _ => link(session, args, &place, &at, source, transfer).await,
    }
}

/// With `--offset` nothing is made: what is not there cannot be changed in part.
async fn place(session: &Session, at: &At, own: Option<&Name>, args: &Put) -> anyhow::Result<(At, Place)> {
    if args.offset.is_some() {
        return Ok((at.clone(), at.place(&session.client, "putting it").await?));
    }
    at.make_place(&session.client, own, "putting it").await
}

/// Stores a file and links it.
async fn link(
    session: &Session,
    args: &Put,
    place: &Place,
    at: &At,
    source: Source,
    transfer: Transfer,
) -> anyhow::Result<Done> {
    // What cannot be linked need not be stored.
    let writer = target::writer(place, || format!("putting {}", at.path()))?;
    let metadata = args.file.as_deref().filter(|file| *file != Path::new("-")).map(of_file).transpose()?;
    let (child, report) = make(session, args, source, transfer).await?;
    let cap = child.cap().clone();
    let child = Box::new(child.with(metadata.unwrap_or_default()));
    let link = DirEdit::Link { name: place.name.clone(), child, replace: Replace::OnlyFiles };
    let edited = session.client.edit_entry(writer, link).await?;
    let outcome = if edited.before.is_some() { "replaced" } else { "created" };
    Ok(Done { cap, report, outcome: Some(outcome) })
}

/// Stores a file that is linked nowhere yet.
async fn make(
    session: &Session,
    args: &Put,
    source: Source,
    transfer: Transfer,
) -> anyhow::Result<(Child, Option<client::PutReport>)> {
    let options = options(args, transfer);
    if is_mutable(args) {
        return Ok((session.client.make_mutable(source, options).await?, None));
    }
    let report = session.client.put(source, options).await?;
    Ok((Child::new(report.cap.clone(), report.tree_salt)?, Some(report)))
}

/// Writes over a mutable file.
async fn overwrite(
    session: &Session,
    args: &Put,
    cap: &Cap,
    source: Source,
    transfer: Transfer,
) -> anyhow::Result<Done> {
    let Cap::SlotWrite(write) = cap else {
        return Err(FileStoreError::ReadOnly { what: "writing over a file".into() }.into());
    };
    match args.offset {
        None => session.client.overwrite(write, source, options(args, transfer)).await?,
        Some(offset) => write_at(session, write, source, offset).await?,
    }
    Ok(Done { cap: cap.clone(), report: None, outcome: Some("changed") })
}

/// Piece by piece, so that memory stays bounded: others may see the file between two pieces.
async fn write_at(session: &Session, cap: &SlotWrite, source: Source, offset: u64) -> anyhow::Result<()> {
    let mut at = offset;
    let mut reading = Reading::of(source);
    loop {
        let piece = reading.piece().await.map_err(UploadError::Source)?;
        if piece.is_empty() {
            return Ok(());
        }
        let len = piece.len() as u64;
        session.client.edit_file(cap, MutableEdit::WriteAt(at, piece)).await?;
        at += len;
    }
}

/// A source, read once from its beginning.
enum Reading {
    At(Source, u64),
    Stream(std::pin::Pin<Box<dyn AsyncRead + Send>>),
}

impl Reading {
    fn of(source: Source) -> Self {
        match source {
            Source::Stream(stream) => Self::Stream(stream),
            other => Self::At(other, 0),
        }
    }

    async fn piece(&mut self) -> std::io::Result<Bytes> {
        let mut bytes = vec![0; PIECE];
        let mut filled = 0;
        match self {
            Self::Stream(stream) => {
                while filled < PIECE {
                    match stream.read(&mut bytes[filled..]).await? {
                        0 => break,
                        read => filled += read,
                    }
                }
            }
            Self::At(Source::File(file), at) => {
                filled = (file.len()?.saturating_sub(*at)).min(PIECE as u64) as usize;
                file.read_exact_at(*at, &mut bytes[..filled])?;
                *at += filled as u64;
            }
            Self::At(..) => {}
        }
        bytes.truncate(filled);
        Ok(bytes.into())
    }
}

/// Time and mode of a file of this machine.
fn of_file(path: &Path) -> anyhow::Result<Metadata> {
    let found = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let nanoseconds = u32::try_from(found.mtime_nsec()).unwrap_or(0);
    let mtime = Time { seconds: found.mtime(), nanoseconds };
    Ok(Metadata { mtime: Some(mtime), mode: Some(found.mode()), ..Metadata::default() })
}
