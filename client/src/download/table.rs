//! The table of block roots, fetched in windows as needed and held against the descriptor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use encoding::{Geometry, Root, open_slice, slice_len_max};
use protocol::frame::FrameError;
use protocol::message::{Bulk, ReadTable, Request};
use protocol::session::RequestError;

use super::fetch::FetchError;
use super::holdings::KnownShare;
use super::{Object, lock};
use crate::servers::within;

/// Segments per window: one group of 16 KiB of roots, the least that a proof covers.
const WINDOW: u64 = 512;

/// Column and number of a window.
type WindowKey = (u16, u64);

pub(crate) struct Table {
    geometry: Geometry,
    windows: Mutex<HashMap<WindowKey, Arc<Vec<Root>>>>,
}

impl Table {
    pub(crate) fn new(geometry: Geometry) -> Self {
        Self { geometry, windows: Mutex::default() }
    }

    /// The root of one block, if its window is here.
    pub(crate) fn root(&self, column: u16, segment: u64) -> Option<Root> {
        let windows = lock(&self.windows);
        windows.get(&(column, segment / WINDOW)).map(|window| window[(segment % WINDOW) as usize])
    }

    /// Holds all that this share has of the table against the descriptor.
    pub(crate) async fn verify(object: &Object, share: &KnownShare) -> Result<(), FetchError> {
        let needed = object.needed();
        let own = (share.number >= needed).then_some(share.number);
        let columns: Vec<u16> = (0..needed).chain(own).collect();
        let (segments, len) = (object.table.geometry.segments(), object.table.geometry.column_len());
        let slices = fetch(object, share, &columns, 0, segments).await?;
        for (column, slice) in columns.iter().zip(slices) {
            let root = object.descriptor.share_roots[usize::from(*column)];
            open_slice(&root, len, 0..len, &slice)
                .map_err(|_| FetchError::Corrupt { what: "a table of block roots" })?;
        }
        Ok(())
    }

    /// Makes sure that the windows around `segment` of these columns are here; fetches them through `share`, which must hold them.
    pub(crate) async fn ensure(
        object: &Object,
        share: &KnownShare,
        columns: &[u16],
        segment: u64,
    ) -> Result<(), FetchError> {
        let table = &object.table;
        let window = segment / WINDOW;
        let missing: Vec<u16> =
            columns.iter().copied().filter(|column| table.root(*column, window * WINDOW).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (first, end) = (window * WINDOW, table.geometry.segments().min((window + 1) * WINDOW));
        let slices = match &share.inline {
            Some((bytes, layout)) => missing
                .iter()
                .map(|column| {
                    let range = layout.column(*column);
                    let column = &bytes[range.start as usize..range.end as usize];
                    BytesMut::from(&encoding::slice(column, first * 32..end * 32)[..])
                })
                .collect(),
            None => fetch(object, share, &missing, first, end).await?,
        };
        for (column, slice) in missing.iter().zip(slices) {
            let root = object.descriptor.share_roots[usize::from(*column)];
            let opened = open_slice(&root, table.geometry.column_len(), first * 32..end * 32, &slice);
            let (start, bytes) =
                opened.map_err(|_| FetchError::Corrupt { what: "a table of block roots" })?;
            debug_assert_eq!(start, first * 32, "windows begin where groups do");
            let roots = Arc::new(bytes.as_chunks::<32>().0.to_vec());
            lock(&table.windows).insert((*column, window), roots);
        }
        Ok(())
    }
}

async fn fetch(
    object: &Object,
    share: &KnownShare,
    columns: &[u16],
    first: u64,
    end: u64,
) -> Result<Vec<BytesMut>, FetchError> {
    let client = &object.client;
    let after = client.readers().timeouts().answer;
    let session = client.readers().session(&share.server).await?;
    let read = ReadTable {
        hash: object.hash,
        number: share.number,
        columns: columns.to_vec(),
        first,
        count: end - first,
    };
    let most = slice_len_max(object.table.geometry.column_len(), &(first * 32..end * 32));
    let asked = within(after, async {
        let (bulk, mut stream): (Bulk, _) = session.request(&Request::ReadTable(read)).await?;
        if bulk.lens.len() != columns.len() || bulk.lens.iter().any(|len| *len > most) {
            return Err(RequestError::Nonsense { what: "the slices are not those that were asked for" });
        }
        let mut slices = Vec::new();
        for len in bulk.lens {
            let mut slice = BytesMut::new();
            if !stream.recv.fill(&mut slice, len as usize).await.map_err(FrameError::from)? {
                return Err(FrameError::Ended.into());
            }
            slices.push(slice);
        }
        Ok(slices)
    });
    Ok(asked.await?)
}
