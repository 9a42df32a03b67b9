//! What an upload's headers ask for.

use axum::http::HeaderMap;
use client::filestore::{Refusal, Replace};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD};
use encoding::directory::{EntryKind, Metadata, Name, Time};

use super::pipe::{Destination, Target};
use crate::Gateway;
use crate::api::asked::{Where, writer};
use crate::api::problem::Problem;

/// The longest header of these, in bytes.
const HEADER_MAX: usize = 64 << 10;

/// Where a file shall go.
pub(super) struct Wanted {
    place: Where,
    name: Name,
    replace: Replace,
    modified: Option<i64>,
}

/// A number that a header gives.
pub(super) fn length_of(headers: &HeaderMap, name: &str) -> Result<u64, Problem> {
    let given = headers.get(name).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    // Offsets are added to lengths.
    given
        .filter(|len| *len <= i64::MAX as u64)
        .ok_or_else(|| Problem::bad(format!("the header {name} is to give bytes")))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Problem> {
    let given =
        headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| text.len() <= HEADER_MAX);
    given.ok_or_else(|| Problem::bad(format!("the header {name} is missing")))
}

impl Wanted {
    /// What the headers say.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let given = text(headers, "sarsen-where")?.trim_end_matches('=');
        let bytes = BASE64URL_NOPAD.decode(given.as_bytes()).ok();
        // What is wrong with it is not quoted: it may be a capability.
        let place = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let place = place
            .ok_or_else(|| Problem::bad("the header sarsen-where is to be base64url of a place as JSON"))?;
        let (mut name, mut replace, mut modified) = (None, false, None);
        for pair in text(headers, "upload-metadata")?.split(',') {
            let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
            let value = decoded(value)?;
            match key {
                "filename" => name = Some(Name::new(&value)?),
                "replace" => replace = matches!(value.as_str(), "true" | "1" | ""),
                "modified" => modified = value.parse().ok(),
                _ => {}
            }
        }
        let name = name.ok_or_else(|| Problem::bad("the header upload-metadata gives no filename"))?;
        let replace = if replace { Replace::OnlyFiles } else { Replace::No };
        Ok(Self { place, name, replace, modified })
    }

    /// Where it goes, as far as that can be known before the bytes are there.
    pub(super) async fn destination(self, gateway: &Gateway, length: u64) -> Result<Destination, Problem> {
        let place = self.place.read(gateway)?;
        let view = place.directory().await?;
        let directory = writer(&view, "putting a file into it")?.clone();
        let name = self.name;
        let before = view.get(&name).await?;
        let target = match (before, self.replace) {
            (None, _) => Target::Link(directory),
            (Some(_), Replace::No) => return Err(Refusal::Exists { name: name.to_string() }.into()),
            (Some(entry), _) if entry.kind == EntryKind::Directory => {
                return Err(Refusal::IsDirectory { name: name.to_string() }.into());
            }
            // A file that may change keeps its capability: whoever else holds it sees the new content.
            (Some(entry), _) => match view.write_cap_of(&entry)? {
                Some(caps::Cap::SlotWrite(write)) => Target::Overwrite(write),
                _ => Target::Link(directory),
            },
        };
        let mtime = self.modified.map(|seconds| Time { seconds, nanoseconds: 0 });
        let metadata = Metadata { mtime, size: Some(length), ..Metadata::default() };
        Ok(Destination { client: place.client, target, name, replace: self.replace, metadata })
    }
}

fn decoded(value: &str) -> Result<String, Problem> {
    let bytes = BASE64.decode(value.as_bytes()).or_else(|_| BASE64_NOPAD.decode(value.as_bytes())).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Problem::bad("the header upload-metadata is to hold base64 of text"))
}
