//! What requests bring, whichever of the two APIs they speak: what type it is of, and how it is stored.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use caps::SlotWrite;
use client::filestore::{Child, FileStoreError};
use client::{Client, PutOptions, Source, Transfer};
use http_body_util::BodyExt;

/// Bodies up to so many bytes are held in memory and stored under a key that follows from them: the same bytes are stored once. Longer
/// ones go on as they come, under a random key.
pub(crate) const CONVERGENT: usize = 8 << 20;

/// Whether a body is of this media type.
pub(crate) fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

/// All of a short body; `None` if it breaks off or is longer than `most` bytes.
pub(crate) async fn gathered(mut body: Body, most: usize) -> Option<Bytes> {
    // Copied together: pieces of a byte each would take many times their length.
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame.ok()?.into_data() {
            all.extend_from_slice(&piece);
        }
        if all.len() > most {
            return None;
        }
    }
    Some(all.freeze())
}

/// Stores a file that is linked nowhere yet. If it becomes a tree, its salt comes with it.
pub(crate) async fn store(
    client: &Client,
    source: Source,
    transfer: Transfer,
) -> Result<Child, FileStoreError> {
    let options = PutOptions { transfer, ..PutOptions::default() };
    let report = client.put(source, options).await?;
    Child::new(report.cap, report.tree_salt)
}

/// Stores it as the content of a mutable file.
pub(crate) async fn store_over(
    client: &Client,
    file: &SlotWrite,
    source: Source,
    transfer: Transfer,
) -> Result<(), FileStoreError> {
    client.overwrite(file, source, PutOptions { transfer, ..PutOptions::default() }).await
}
