//! `t=json`: what something is, and of a directory what is in it.

use axum::http::HeaderValue;
use caps::{Authority, Cap};
use client::filestore::{DirView, FileStoreError, Target};
use encoding::directory::{Entry, EntryKind};
use serde_json::{Map, Value, json};

use super::answer::{
    Answer, JSON, Problem, Writer, ascii, json_text, known, streamed, tag_of_listing, tagged, with_tag,
};
use super::linked::Call;
use super::metadata;
use crate::content;

/// Tahoe's word for it.
fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Directory => "dirnode",
        EntryKind::File | EntryKind::Symlink => "filenode",
        EntryKind::Unknown => "unknown",
    }
}

/// The fields that all nodes have: caps of every authority there is.
fn caps(read: Option<&Cap>, write: Option<&Cap>) -> Map<String, Value> {
    let mut out = Map::new();
    let any = read.or(write);
    if !matches!(any, Some(Cap::Unknown(_)) | None) {
        out.insert("mutable".into(), any.is_some_and(Cap::is_mutable).into());
    }
    if let Some(read) = read {
        out.insert("ro_uri".into(), read.to_string().into());
    }
    if let Some(write) = write {
        out.insert("rw_uri".into(), write.to_string().into());
    }
    if let Some(verify) = any.and_then(Cap::verify) {
        out.insert("verify_uri".into(), verify.to_string().into());
    }
    out
}

fn of_cap(cap: &Cap) -> Map<String, Value> {
    let write = (cap.authority() == Authority::Write).then_some(cap);
    match cap {
        Cap::Unknown(unknown) if unknown.prefix.is_none() => caps(None, Some(cap)),
        Cap::Unknown(_) => caps(Some(cap), None),
        cap => {
            let read = cap.read();
            let mut out = caps(read.as_ref(), write);
            if read.is_none() {
                out.insert("mutable".into(), cap.is_mutable().into());
                out.extend(cap.verify().map(|verify| ("verify_uri".to_owned(), verify.to_string().into())));
            }
            out
        }
    }
}

fn format(cap: &Cap) -> &'static str {
    if cap.is_mutable() { "SDMF" } else { "CHK" }
}

/// An entry as its directory shows it.
fn child(view: &DirView, entry: &Entry) -> Result<Value, FileStoreError> {
    let write = view.write_cap_of(entry)?;
    let mut details = caps(Some(&entry.cap), write.as_ref());
    if matches!(entry.kind, EntryKind::File | EntryKind::Symlink) {
        details.insert("format".into(), format(&entry.cap).into());
        if let Some(size) = entry.cap.size() {
            details.insert("size".into(), size.into());
        }
    }
    details.insert("metadata".into(), metadata::to_json(&entry.metadata));
    Ok(json!([kind(entry.kind), details]))
}

/// Answers `t=json`.
pub(super) async fn respond(call: &Call, target: Target) -> Answer {
    if target.kind() == EntryKind::Directory && target.cap.read().is_some() {
        return directory(call, &target.cap).await;
    }
    let mut details = of_cap(&target.cap);
    if matches!(target.kind(), EntryKind::File | EntryKind::Symlink) {
        details.insert("format".into(), format(&target.cap).into());
        let size = match target.cap.read() {
            Some(Cap::SlotRead(read)) => Some(call.client.read_mutable(&read).await?.size()),
            _ => target.cap.size(),
        };
        details.extend(size.map(|size| ("size".to_owned(), size.into())));
    }
    if let Some(entry) = &target.entry {
        details.insert("metadata".into(), metadata::to_json(&entry.metadata));
    }
    let text = json_text(&json!([kind(target.kind()), details]));
    Ok(tagged(&call.headers, text, JSON))
}

async fn directory(call: &Call, cap: &Cap) -> Answer {
    let view = call.client.open_directory(cap).await?;
    let tag = tag_of_listing(&view, "json");
    if let Some(answer) = tag.as_ref().and_then(|tag| known(&call.headers, tag)) {
        return Ok(answer);
    }
    let details = of_cap(cap);
    // The first page of entries tells whether the rest can be read.
    view.entries().next().await.map_err(Problem::from)?;
    let doubtful = view.is_doubtful();
    let mut response = streamed(JSON, move |writer| write_directory(writer, view, details));
    if doubtful {
        response.headers_mut().insert(content::FRESHNESS, HeaderValue::from_static("newest-seen"));
    }
    Ok(match tag {
        Some(tag) => with_tag(response, &tag),
        None => response,
    })
}

async fn write_directory(mut writer: Writer, view: DirView, details: Map<String, Value>) {
    let head = Value::from(details).to_string();
    let head = head.strip_suffix('}').unwrap_or_default();
    let start = format!("[\"dirnode\", {}, \"children\": {{", ascii(head));
    let mut entries = view.entries();
    let mut before = start;
    loop {
        let next = match entries.next().await {
            Ok(Some((name, entry))) => child(&view, &entry).map(|value| (name, value)),
            Ok(None) => break,
            Err(error) => Err(error),
        };
        match next {
            Ok((name, value)) => {
                let line = format!("{before}{}: {}", Value::from(name.as_str()), value);
                if writer.write(&ascii(&line)).await.is_err() {
                    return;
                }
                before = ",\n".to_owned();
            }
            Err(error) => return writer.break_off(&error).await,
        }
    }
    let end = if before == ",\n" { "}}]\n".to_owned() } else { format!("{before}}}}}]\n") };
    if writer.write(&end).await.is_ok() {
        let _ = writer.flush().await;
    }
}
