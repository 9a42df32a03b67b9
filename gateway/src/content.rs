//! Serving stored content: whatever a file's cap names, with ranges, conditions, and the headers that untrusted content needs.
//!
//! Bytes reach the socket through a channel of a few pieces: who reads slowly holds up only his own download. A body that cannot be
//! finished breaks the connection, so that no short body ever looks complete.

mod body;
mod headers;
mod range;
mod types;

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use caps::{Cap, ImmutableRead};
use client::filestore::FileStoreError;
use client::slot::Freshness;
use client::{GetOptions, ObjectReader, Transfer};
use encoding::directory::FileContent;

use crate::Gateway;
use body::{Part, Source};
pub(crate) use headers::{Conditions, disposition};
use range::Wanted;
pub use types::of_name;

/// Whether a browser shows content or keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Disposition {
    /// Shows it, sandboxed.
    #[default]
    Inline,
    /// Saves it under its name.
    Attachment,
}

/// How content is to be served.
#[derive(Clone, Debug, Default)]
pub struct Serve<'a> {
    /// Its name: gives the type, and the name under which a browser saves it.
    pub name: Option<&'a str>,
    /// Shown or saved.
    pub disposition: Disposition,
    /// The media type; by default that of the name.
    pub content_type: Option<&'a str>,
    /// Whether pages of this gateway may show it in a frame.
    pub framed: bool,
    /// Watches the bytes on their way.
    pub transfer: Transfer,
}

/// A file that was found, and of which anything can be read.
pub struct Opened {
    source: Source,
    size: u64,
    tag: String,
    freshness: Option<Freshness>,
}

impl Opened {
    /// Bytes of it.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its strong entity tag, in quotes.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

/// Finds what a file's cap names now.
///
/// # Errors
///
/// [`FileStoreError`]; [`FileStoreError::IsADirectory`] of a directory's cap.
pub async fn open(gateway: &Gateway, cap: &Cap) -> Result<Opened, FileStoreError> {
    if cap.is_directory() {
        return Err(FileStoreError::IsADirectory { path: format!("what the {} cap names", cap.kind()) });
    }
    match cap.read() {
        Some(Cap::Literal(literal)) => Ok(in_memory(literal.bytes.clone(), None)),
        Some(Cap::ImmutableRead(read)) => in_grid(gateway, read, None).await,
        Some(Cap::SlotRead(read)) => {
            let view = gateway.client().read_mutable(&read).await?;
            match view.content {
                FileContent::Inline(bytes) => Ok(in_memory(bytes, Some(view.freshness))),
                FileContent::Object { cap, .. } => in_grid(gateway, cap, Some(view.freshness)).await,
            }
        }
        _ => Err(FileStoreError::NotReadable { kind: cap.kind() }),
    }
}

/// The tag of what a mutable file says.
pub(crate) fn tag_of(content: &FileContent) -> String {
    match content {
        FileContent::Inline(bytes) => tag_of_bytes(bytes),
        FileContent::Object { cap, .. } => format!("\"{}\"", cap.hash),
    }
}

/// Of bytes that stand in a cap or a slot their hash tells versions apart.
fn tag_of_bytes(bytes: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(bytes).to_hex()[..32])
}

fn in_memory(bytes: Vec<u8>, freshness: Option<Freshness>) -> Opened {
    let tag = tag_of_bytes(&bytes);
    Opened { size: bytes.len() as u64, source: Source::Memory(Bytes::from(bytes)), tag, freshness }
}

async fn in_grid(
    gateway: &Gateway,
    read: ImmutableRead,
    freshness: Option<Freshness>,
) -> Result<Opened, FileStoreError> {
    let (tag, cap) = (format!("\"{}\"", read.hash), Cap::ImmutableRead(read));
    let reader: ObjectReader = gateway.client().open_object(&cap).await?;
    Ok(Opened { size: reader.size(), source: Source::Grid(reader), tag, freshness })
}

/// A file up to this long is read as soon as it is found.
const SMALL: u64 = 64 * 1024;

/// As [`open`], and reads what is small at once: all of that came with what was found.
///
/// # Errors
///
/// As [`open`], and what may go wrong in reading.
pub async fn open_and_read(gateway: &Gateway, cap: &Cap) -> Result<Opened, FileStoreError> {
    let opened = open(gateway, cap).await?;
    match &opened.source {
        Source::Grid(reader) if opened.size <= SMALL => {
            let mut bytes = Vec::with_capacity(opened.size as usize);
            reader.read_into(&mut bytes, GetOptions::default()).await?;
            Ok(Opened { source: Source::Memory(bytes.into()), ..opened })
        }
        _ => Ok(opened),
    }
}

/// Answers a GET or HEAD of what a file's cap names.
///
/// # Errors
///
/// [`FileStoreError`] of what could not be read, as long as nothing was sent.
pub async fn respond(
    gateway: &Gateway,
    cap: &Cap,
    method: &Method,
    headers: &HeaderMap,
    serve: Serve<'_>,
) -> Result<Response, FileStoreError> {
    if let Some(refusal) = refuse_as_code(headers) {
        return Ok(refusal);
    }
    // What never changes needs nobody to be asked whether it did.
    if let Cap::ImmutableRead(read) = cap
        && let Some(status) = Conditions::of(headers).refuse(&format!("\"{}\"", read.hash))
    {
        return Ok(without_body(status, &format!("\"{}\"", read.hash), &serve));
    }
    let opened = open(gateway, cap).await?;
    answer(opened, method, headers, serve).await
}

/// Answers a GET or HEAD of a file that was found.
///
/// # Errors
///
/// As [`respond`].
pub async fn answer(
    opened: Opened,
    method: &Method,
    headers: &HeaderMap,
    serve: Serve<'_>,
) -> Result<Response, FileStoreError> {
    if let Some(refusal) = refuse_as_code(headers) {
        return Ok(refusal);
    }
    let conditions = Conditions::of(headers);
    if let Some(status) = conditions.refuse(&opened.tag) {
        return Ok(without_body(status, &opened.tag, &serve));
    }
    let wanted = match conditions.allows_range(&opened.tag) {
        true => range::wanted(headers.get(header::RANGE), opened.size),
        false => Wanted::All,
    };
    let content_type = headers::content_type(&serve);
    let (status, parts) = match &wanted {
        Wanted::All => (StatusCode::OK, vec![Part::Content(0..opened.size)]),
        Wanted::One(range) => (StatusCode::PARTIAL_CONTENT, vec![Part::Content(range.clone())]),
        Wanted::Several(ranges) => (StatusCode::PARTIAL_CONTENT, parts(ranges, &content_type, opened.size)),
        Wanted::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, Vec::new()),
    };
    let len: u64 = parts.iter().map(Part::len).sum();
    let is_head = method == Method::HEAD;
    let freshness = opened.freshness;
    let (tag, size) = (opened.tag, opened.size);
    let body = match is_head || len == 0 {
        true => Body::empty(),
        false => body::start(opened.source, parts, serve.transfer.clone()).await?,
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let out = response.headers_mut();
    headers::describe(out, &serve, &content_type, &tag);
    if is_head || len > 0 {
        out.insert(header::CONTENT_LENGTH, len.into());
    }
    let content_range = match &wanted {
        Wanted::One(range) => Some(format!("bytes {}-{}/{size}", range.start, range.end - 1)),
        Wanted::Unsatisfiable => Some(format!("bytes */{size}")),
        _ => None,
    };
    if let Some(value) = content_range.and_then(|text| HeaderValue::try_from(text).ok()) {
        out.insert(header::CONTENT_RANGE, value);
    }
    if matches!(wanted, Wanted::Several(_)) {
        let value = format!("multipart/byteranges; boundary={BOUNDARY}");
        out.insert(header::CONTENT_TYPE, HeaderValue::try_from(value).expect("a boundary of letters"));
    }
    if freshness == Some(Freshness::NewestSeen) {
        out.insert(FRESHNESS, HeaderValue::from_static("newest-seen"));
    }
    Ok(response)
}

/// What a browser would run, or style our own pages with.
const CODE: [&str; 10] = [
    "script",
    "style",
    "worker",
    "sharedworker",
    "serviceworker",
    "audioworklet",
    "paintworklet",
    "manifest",
    "xslt",
    "json",
];

/// Stored content is shown and saved, and never becomes a part of a page.
fn refuse_as_code(headers: &HeaderMap) -> Option<Response> {
    let wanted = headers.get("sec-fetch-dest").and_then(|value| value.to_str().ok())?;
    CODE.contains(&wanted).then(|| {
        let mut response = Response::new(Body::from("Stored content is no part of a page.\n"));
        *response.status_mut() = StatusCode::FORBIDDEN;
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    })
}

/// Says of a read that no quorum confirmed it.
pub(crate) const FRESHNESS: &str = "sarsen-freshness";

/// Between the parts of several ranges. Readers go by the lengths that each part states, since content may hold anything.
const BOUNDARY: &str = "sarsen-range-7b1c9e5d2f84a360";

fn parts(ranges: &[Range<u64>], content_type: &HeaderValue, size: u64) -> Vec<Part> {
    let content_type = content_type.to_str().unwrap_or("application/octet-stream");
    let mut parts = Vec::new();
    for range in ranges {
        let head = format!(
            "\r\n--{BOUNDARY}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n",
            range.start,
            range.end - 1
        );
        parts.push(Part::Text(head.into()));
        parts.push(Part::Content(range.clone()));
    }
    parts.push(Part::Text(format!("\r\n--{BOUNDARY}--\r\n").into()));
    parts
}

fn without_body(status: StatusCode, tag: &str, serve: &Serve<'_>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    headers::describe(response.headers_mut(), serve, &headers::content_type(serve), tag);
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}
