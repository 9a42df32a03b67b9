//! Storing files, alone or under a name.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use caps::{Cap, SlotWrite};
use client::filestore::{Child, DirEdit, FileStoreError, LikelyPlace, MutableEdit, Place, Refusal, Replace};
use client::{Client, PutOptions, Source, Transfer};
use encoding::directory::{Entry, EntryKind, FileContent, Metadata, Name};

use super::answer::{Answer, Problem, text};
use super::args::Format;
use super::body::{Chunks, whole, with_source};
use super::form::FormFile;
use super::linked::{Call, Expected, NAMELESS, check_conditions};
use super::span::Span;
use super::{args, children};
use crate::Gateway;
use crate::api::Way;
use crate::content::Conditions;
use crate::incoming;

/// Bytes written into a mutable file in place.
const MAX_AT: usize = 32 << 20;

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
    Over(SlotWrite, Expected),
    /// Under a name.
    Under(Box<Place>, Expected),
}

/// `PUT /uri/CAP[/path]`.
pub(super) async fn put(call: &Call, mut body: Body) -> Answer {
    if call.headers.contains_key(header::CONTENT_RANGE) && Span::of(call)?.is_some() {
        refuse_part(call).await?;
    }
    if let Some(likely) = likely(call).await? {
        return put_likely(call, likely, &mut body).await;
    }
    let goal = goal(call).await?;
    into(call, goal, &mut body).await
}

/// Where the file most likely goes to, as its directory was when it was last seen: a new name, or that of a file that never changes. Only
/// where the request leaves nothing else to look at.
async fn likely(call: &Call) -> Result<Option<LikelyPlace>, Problem> {
    let plain = !Conditions::of(&call.headers).are_there()
        && call.args.replace()? != Replace::No
        && Span::of(call)?.is_none();
    if !plain {
        return Ok(None);
    }
    let likely = call.client.likely_place(&call.root, &call.names).await;
    Ok(likely.filter(|likely| {
        let replaceable = |entry: &Entry| entry.kind == EntryKind::File && !entry.cap.is_mutable();
        likely.place.parent.writer().is_some() && likely.place.entry.as_ref().is_none_or(replaceable)
    }))
}

/// Stores the file while the way to its place is confirmed. The change of the directory finds out whether that is as it was; if it is not,
/// the file is there already, and goes where it belongs.
async fn put_likely(call: &Call, likely: LikelyPlace, body: &mut Body) -> Answer {
    let place = &likely.place;
    let format = call.args.format()?.unwrap_or(Format::Immutable);
    let storing = make(&call.gateway, &call.client, place.name.as_str(), body, format);
    let (child, as_it_was) = tokio::join!(storing, call.client.confirm_above(&likely));
    let child = child?;
    if as_it_was? {
        let as_seen = |name, child| {
            let before = place.entry.clone().map(Box::new);
            DirEdit::LinkAs { name, child: Box::new(child), before }
        };
        match link(call, place, child.clone(), as_seen).await? {
            Ok(linked) => return Ok(linked),
            Err(Refusal::Replaced { .. } | Refusal::Exists { .. } | Refusal::NoEntry { .. }) => {}
            Err(refusal) => return Err(FileStoreError::Refused(refusal).into()),
        }
    }
    settle(call, child).await
}

/// Puts what is stored already where it belongs.
async fn settle(call: &Call, child: Child) -> Answer {
    match goal(call).await? {
        Goal::Under(place, expected) => link_expected(call, &place, &expected, child).await,
        Goal::Over(write, expected) => {
            let content = call.client.content_cap(child.cap()).await?;
            copy_over(&call.client, &write, expected, &content).await?;
            Ok(text(Cap::SlotWrite(write).to_string()))
        }
    }
}

/// A part is written only of a mutable file that is there. Of a directory it is said later that it is one.
async fn refuse_part(call: &Call) -> Result<(), Problem> {
    match call.target().await {
        Ok(target) if target.cap.is_directory() || target.cap.is_mutable() => Ok(()),
        Ok(_) | Err(FileStoreError::NoEntry { .. }) => {
            let text = "Content-Range in PUT is supported for mutable files that are there only";
            Err(Problem::new(StatusCode::NOT_IMPLEMENTED, text))
        }
        Err(error) => Err(error.into()),
    }
}

async fn goal(call: &Call) -> Result<Goal, Problem> {
    if call.names.is_empty() {
        let expected = check_conditions(call, Some(&call.root)).await?;
        return match &call.root {
            cap if cap.is_directory() => {
                Err(Problem::bad("this is a directory: name a place in it, /uri/CAP/NAME"))
            }
            Cap::SlotWrite(write) => Ok(Goal::Over(write.clone(), expected)),
            cap if cap.is_mutable() => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "PUT to a mutable file: replace or update requested with read-only cap",
            )),
            _ => Err(Problem::bad("an immutable file cannot be written over; name a place in a directory")),
        };
    }
    let place = call.client.make_place(&call.root, &call.names).await?;
    let there = place.entry.as_ref().map(|entry| place.parent.cap_of(entry)).transpose()?;
    let expected = check_conditions(call, there.as_ref()).await?;
    if there.is_some() && call.args.replace()? == Replace::No {
        return Err(Problem::exists());
    }
    match there {
        Some(cap) if cap.is_directory() => {
            Err(Problem::new(StatusCode::CONFLICT, "a directory has that name: a file does not replace it"))
        }
        Some(Cap::SlotWrite(write)) => Ok(Goal::Over(write, expected)),
        Some(cap) if cap.is_mutable() => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "PUT to a mutable file: replace or update requested with read-only cap",
        )),
        _ if Span::of(call)?.is_some() => {
            Err(Problem::bad("PUT to a file: append operation invoked on an immutable cap"))
        }
        _ => Ok(Goal::Under(Box::new(place), expected)),
    }
}

async fn into(call: &Call, goal: Goal, chunks: &mut impl Chunks) -> Answer {
    let (place, expected) = match goal {
        Goal::Over(write, expected) => {
            over(call, &write, expected, chunks).await?;
            return Ok(text(Cap::SlotWrite(write).to_string()));
        }
        Goal::Under(place, expected) => (place, expected),
    };
    if place.parent.writer().is_none() {
        return Err(FileStoreError::ReadOnly { what: "putting a file".into() }.into());
    }
    let format = call.args.format()?.unwrap_or(Format::Immutable);
    let child = make(&call.gateway, &call.client, place.name.as_str(), chunks, format).await?;
    link_expected(call, &place, &expected, child).await
}

async fn link_expected(call: &Call, place: &Place, expected: &Expected, child: Child) -> Answer {
    let replace = match call.args.replace()? {
        // A directory that came there meanwhile is not replaced by a file.
        Replace::Yes => Replace::OnlyFiles,
        replace => replace,
    };
    let linked = link(call, place, child, |name, child| expected.link(name, child, replace)).await?;
    expected.judge(linked.map_err(FileStoreError::Refused))
}

/// Links what was stored by the edit that `edit` makes of its name and the child.
async fn link(
    call: &Call,
    place: &Place,
    child: Child,
    edit: impl FnOnce(Name, Child) -> DirEdit,
) -> Result<Result<Response, Refusal>, Problem> {
    let Some(writer) = place.parent.writer() else {
        return Err(FileStoreError::ReadOnly { what: "putting a file".into() }.into());
    };
    let cap = child.cap().to_string();
    let mut metadata = children::kept(&place.parent, &place.name).await?;
    metadata.mtime = None;
    let metadata = Metadata { size: child.caps.read.size(), ..metadata };
    let edit = edit(place.name.clone(), children::with(child, metadata));
    let edited = match call.client.edit_entry(writer, edit).await {
        Err(FileStoreError::Refused(refusal)) => return Ok(Err(refusal)),
        edited => edited?,
    };
    let mut response = text(cap);
    if edited.before.is_none() {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(Ok(response))
}

/// Writes over a mutable file, all of it or a part.
async fn over(
    call: &Call,
    write: &SlotWrite,
    mut expected: Expected,
    chunks: &mut impl Chunks,
) -> Result<(), Problem> {
    let transfer = Transfer::default();
    let (transfers, name) = (&call.gateway.shared().transfers, call.names.last());
    let name = name.map_or(NAMELESS, Name::as_str);
    let under_way = transfers.begin(name, Way::Up, chunks.len(), None, transfer.clone());
    let (client, only) = (&call.client, expected.content.take());
    if let Some(span) = Span::of(call)? {
        chunks.len().map_or(Ok(()), |len| span.check(len))?;
        // In one step: nobody ever sees a part of it, and a body that breaks off leaves nothing.
        let (bytes, _held) = whole(&call.gateway, chunks, MAX_AT).await?;
        span.check(bytes.len() as u64)?;
        let edit = MutableEdit::WriteAt(span.at, bytes);
        expected.judge(client.edit_file_if(write, edit, only).await)?;
        under_way.finish();
        return Ok(());
    }
    with_source(&call.gateway, chunks, |source| async move {
        let options = PutOptions { transfer, ..PutOptions::default() };
        let content = client.store_for(write, source, options).await?;
        expected.judge(client.edit_file_if(write, MutableEdit::Content(content), only).await)
    })
    .await?;
    under_way.finish();
    Ok(())
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
    settle(call, child).await
}

/// What was stored becomes what the mutable file says.
async fn copy_over(
    client: &Client,
    write: &SlotWrite,
    mut expected: Expected,
    content: &Cap,
) -> Result<(), Problem> {
    let content = match content {
        Cap::ImmutableRead(cap) => FileContent::Object { cap: cap.clone(), salt: None },
        Cap::Literal(literal) => FileContent::Inline(literal.bytes.clone()),
        other => return Err(FileStoreError::NotReadable { kind: other.kind() }.into()),
    };
    let only = expected.content.take();
    expected.judge(client.edit_file_if(write, MutableEdit::Content(content), only).await)
}

fn own_name(name: Option<&str>) -> Result<Name, Problem> {
    match name.map(str::trim).unwrap_or_default() {
        "" => Err(Problem::bad("upload requires a name")),
        name if name.contains('/') => Err(Problem::bad("name= may not contain a slash")),
        name => args::name(name),
    }
}
