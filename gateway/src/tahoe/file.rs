//! Storing files, alone or under a name.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use caps::{Cap, SlotWrite};
use client::filestore::{Child, DirEdit, FileStoreError, MutableEdit, Place, Replace};
use client::{Client, PutOptions, Source, Transfer};
use encoding::directory::{EntryKind, Metadata, Name};
use tokio::io::AsyncReadExt;

use super::answer::{Answer, Problem, text};
use super::args::Format;
use super::body::{Chunks, with_source};
use super::form::FormFile;
use super::linked::{Call, NAMELESS, check_conditions};
use super::{args, children};
use crate::Gateway;
use crate::api::Way;
use crate::incoming;

/// Bytes written into a mutable file in one step.
const PIECE: usize = 8 << 20;

/// Stores a file that is linked nowhere yet.
pub(super) async fn make(
    gateway: &Gateway,
    client: &Client,
    name: &str,
    chunks: &mut impl Chunks,
    format: Format,
) -> Result<Child, Problem> {
    let transfer = Transfer::default();
    let transfers = &gateway.shared().transfers;
    let under_way = transfers.begin(name, Way::Up, chunks.len(), None, transfer.clone());
    let child = with_source(gateway, chunks, |source| store(client, source, format, transfer)).await?;
    under_way.finish();
    gateway.tahoe().salts.remember(&child);
    Ok(child)
}

async fn store(
    client: &Client,
    source: Source,
    format: Format,
    transfer: Transfer,
) -> Result<Child, Problem> {
    if format == Format::Mutable {
        let options = PutOptions { transfer, ..PutOptions::default() };
        return Ok(client.make_mutable(source, options).await?);
    }
    Ok(incoming::store(client, source, transfer).await?)
}

/// Where a file goes to.
enum Goal {
    /// Over a mutable file.
    Over(SlotWrite),
    /// Under a name.
    Under(Box<Place>),
}

/// `PUT /uri/CAP[/path]`.
pub(super) async fn put(call: &Call, mut body: Body) -> Answer {
    if call.headers.contains_key(header::CONTENT_RANGE) {
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "Content-Range in PUT not yet supported"));
    }
    let goal = goal(call).await?;
    into(call, goal, &mut body).await
}

async fn goal(call: &Call) -> Result<Goal, Problem> {
    if call.names.is_empty() {
        check_conditions(call, Some(&call.root)).await?;
        return match &call.root {
            cap if cap.is_directory() => Err(Problem::bad("PUT to a directory")),
            Cap::SlotWrite(write) => Ok(Goal::Over(write.clone())),
            cap if cap.is_mutable() => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "PUT to a mutable file: replace or update requested with read-only cap",
            )),
            _ => Err(Problem::bad("an immutable file cannot be written over; name a place in a directory")),
        };
    }
    let place = call.client.make_place(&call.root, &call.names).await?;
    let there = place.entry.as_ref().map(|entry| place.parent.cap_of(entry)).transpose()?;
    check_conditions(call, there.as_ref()).await?;
    if there.is_some() && call.args.replace()? == Replace::No {
        return Err(Problem::exists());
    }
    match there {
        Some(cap) if cap.is_directory() => {
            Err(Problem::new(StatusCode::CONFLICT, "PUT to a directory: there is one by that name"))
        }
        Some(Cap::SlotWrite(write)) => Ok(Goal::Over(write)),
        Some(cap) if cap.is_mutable() => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "PUT to a mutable file: replace or update requested with read-only cap",
        )),
        _ if call.args.offset()?.is_some() => {
            Err(Problem::bad("PUT to a file: append operation invoked on an immutable cap"))
        }
        _ => Ok(Goal::Under(Box::new(place))),
    }
}

async fn into(call: &Call, goal: Goal, chunks: &mut impl Chunks) -> Answer {
    let place = match goal {
        Goal::Over(write) => {
            over(call, &write, chunks).await?;
            return Ok(text(Cap::SlotWrite(write).to_string()));
        }
        Goal::Under(place) => place,
    };
    if place.parent.writer().is_none() {
        return Err(FileStoreError::ReadOnly { what: "putting a file".into() }.into());
    }
    let format = call.args.format()?.unwrap_or(Format::Immutable);
    let child = make(&call.gateway, &call.client, place.name.as_str(), chunks, format).await?;
    link(call, &place, child).await
}

/// Links what was stored.
async fn link(call: &Call, place: &Place, child: Child) -> Answer {
    let Some(writer) = place.parent.writer() else {
        return Err(FileStoreError::ReadOnly { what: "putting a file".into() }.into());
    };
    let cap = child.cap().to_string();
    let mut metadata = children::kept(&place.parent, &place.name).await?;
    metadata.mtime = None;
    let metadata = Metadata { size: child.caps.read.size(), ..metadata };
    let replace = match only_new(&call.headers) {
        true => Replace::No,
        // A directory that came there meanwhile is not replaced by a file.
        false => call.args.replace()?.min_files(),
    };
    let child = Box::new(children::with(child, metadata));
    let edit = DirEdit::Link { name: place.name.clone(), child, replace };
    let edited = call.client.edit_entry(writer, edit).await?;
    let mut response = text(cap);
    if edited.before.is_none() {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// `If-None-Match: *`: only if nothing is there, which the directory itself then sees to.
fn only_new(headers: &HeaderMap) -> bool {
    headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == "*")
}

trait MinFiles {
    fn min_files(self) -> Self;
}

impl MinFiles for Replace {
    fn min_files(self) -> Self {
        if self == Self::Yes { Self::OnlyFiles } else { self }
    }
}

/// Writes over a mutable file, all of it or from `offset=` on.
async fn over(call: &Call, write: &SlotWrite, chunks: &mut impl Chunks) -> Result<(), Problem> {
    let transfer = Transfer::default();
    let (transfers, name) = (&call.gateway.shared().transfers, call.names.last());
    let name = name.map_or(NAMELESS, Name::as_str);
    let under_way = transfers.begin(name, Way::Up, chunks.len(), None, transfer.clone());
    let offset = call.args.offset()?;
    let client = &call.client;
    with_source(&call.gateway, chunks, |source| async move {
        match offset {
            None => Ok(incoming::store_over(client, write, source, transfer).await?),
            Some(offset) => write_at(client, write, source, offset).await,
        }
    })
    .await?;
    under_way.finish();
    Ok(())
}

/// Piece by piece, so that memory stays bounded: others may see the file between two pieces.
async fn write_at(client: &Client, cap: &SlotWrite, source: Source, mut at: u64) -> Result<(), Problem> {
    let mut stream = match source {
        Source::Stream(stream) => stream,
        Source::File(file) => {
            let len = file.len().map_err(client::UploadError::Source).map_err(FileStoreError::from)?;
            let mut bytes = vec![0; len as usize];
            file.read_exact_at(0, &mut bytes)
                .map_err(client::UploadError::Source)
                .map_err(FileStoreError::from)?;
            client.edit_file(cap, MutableEdit::WriteAt(at, bytes.into())).await?;
            return Ok(());
        }
    };
    loop {
        let mut piece = Vec::new();
        let read = (&mut stream).take(PIECE as u64).read_to_end(&mut piece).await;
        let read = read.map_err(client::UploadError::Source).map_err(FileStoreError::from)?;
        if read == 0 {
            return Ok(());
        }
        client.edit_file(cap, MutableEdit::WriteAt(at, piece.into())).await?;
        at += read as u64;
    }
}

/// `POST /uri/CAP[/path]?t=upload`: the same from a form.
pub(super) async fn post(call: &mut Call, mut file: FormFile) -> Answer {
    let target = if call.names.is_empty() && !call.root.is_directory() {
        Some(EntryKind::File)
    } else {
        match call.target().await {
            Ok(target) => Some(target.kind()),
            Err(FileStoreError::NoEntry { .. }) => None,
            Err(error) => return Err(error.into()),
        }
    };
    let format = call.args.format()?;
    if target != Some(EntryKind::Directory) {
        let goal = goal(call).await?;
        return into(call, goal, &mut file).await;
    }
    // The name may follow the file, so that the file is stored before it is known where it goes, unless it has one by then.
    if let Some(name) = call.args.name("name")? {
        call.names.push(name);
        let goal = goal(call).await?;
        return into(call, goal, &mut file).await;
    }
    let own = file.name.clone();
    let (name, format_or) = (own.as_deref().unwrap_or(NAMELESS), format.unwrap_or(Format::Immutable));
    let child = make(&call.gateway, &call.client, name, &mut file, format_or).await?;
    file.rest(&mut call.args).await?;
    if call.args.format()? != format {
        return Err(Problem::bad("format= must come before the file"));
    }
    let name = match call.args.name("name")? {
        Some(name) => name,
        None => own_name(own.as_deref())?,
    };
    call.names.push(name);
    match goal(call).await? {
        Goal::Under(place) => link(call, &place, child).await,
        Goal::Over(write) => {
            let content = call.client.content_cap(child.cap()).await?;
            copy_over(&call.client, &write, &content).await?;
            Ok(text(Cap::SlotWrite(write).to_string()))
        }
    }
}

/// What was stored becomes what the mutable file says.
async fn copy_over(client: &Client, write: &SlotWrite, content: &Cap) -> Result<(), Problem> {
    use encoding::directory::FileContent;
    let content = match content {
        Cap::ImmutableRead(cap) => FileContent::Object { cap: cap.clone(), salt: None },
        Cap::Literal(literal) => FileContent::Inline(literal.bytes.clone()),
        other => return Err(FileStoreError::NotReadable { kind: other.kind() }.into()),
    };
    Ok(client.edit_file(write, MutableEdit::Content(content)).await?)
}

fn own_name(name: Option<&str>) -> Result<Name, Problem> {
    match name.map(str::trim).unwrap_or_default() {
        "" => Err(Problem::bad("upload requires a name")),
        name if name.contains('/') => Err(Problem::bad("name= may not contain a slash")),
        name => args::name(name),
    }
}
