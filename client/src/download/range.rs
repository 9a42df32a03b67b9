//! Small ranges: only the 16 KiB groups around them, each with the hashes that prove it.

use std::ops::Range;
use std::sync::Arc;

use bytes::BytesMut;
use encoding::{CELL_DATA_LEN, CELL_LEN, DecodeError, open_slice, slice_len_max};
use protocol::frame::FrameError;
use protocol::message::{Bulk, ReadSlice, Request};
use protocol::session::RequestError;
use tokio::time::timeout;

use super::error::DownloadError;
use super::fetch::FetchError;
use super::holdings::KnownShare;
use super::table::Table;
use super::{Object, Opened, lock};
use crate::servers::within;

/// Reads `range` (within the file, not empty) from the data shares that hold it. `None` if one of them cannot serve: then whole
/// segments are read, from any shares.
pub(crate) async fn read_slices(
    object: &Arc<Opened>,
    range: Range<u64>,
) -> Result<Option<Vec<u8>>, DownloadError> {
    let (cell_data, cell_len) = (CELL_DATA_LEN as u64, CELL_LEN as u64);
    let geometry = *object.geometry();
    let cells = range.start / cell_data..(range.end - 1) / cell_data + 1;
    let ciphertext = cells.start * cell_len..(cells.end * cell_len).min(geometry.ciphertext_len());
    let mut buffer = BytesMut::with_capacity((ciphertext.end - ciphertext.start) as usize);
    let mut at = ciphertext.start;
    while at < ciphertext.end {
        let place = Place::of(object, at);
        let take = (ciphertext.end - at).min(place.left);
        let hedge = object.client.readers().timeouts().hedge;
        let Some(share) = data_share(object, place.number) else { return Ok(None) };
        let wanted = place.offset..place.offset + take;
        let piece = match timeout(hedge * 4, fetch_slice(object, &share, place.segment, wanted)).await {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => {
                object.blame(&share, &error);
                return Ok(None);
            }
            Err(_) => {
                object.mark_slow(&super::holdings::key(&share));
                return Ok(None);
            }
        };
        buffer.extend_from_slice(&piece);
        at += take;
    }
    let ends_file = ciphertext.end == geometry.ciphertext_len();
    let opened = object.key.open(cells.start, ends_file, &mut buffer);
    let len = opened.map_err(|error| DecodeError::BadCell { cell: error.cell })?;
    let skip = (range.start - cells.start * cell_data) as usize;
    Ok(buffer
        .get(skip..skip + (range.end - range.start) as usize)
        .filter(|_| len >= skip)
        .map(<[u8]>::to_vec))
}

/// Where a byte of the ciphertext lies.
struct Place {
    segment: u64,
    number: u16,
    /// In the block.
    offset: u64,
    /// Bytes from there to the end of the block.
    left: u64,
}

impl Place {
    fn of(object: &Object, at: u64) -> Self {
        let geometry = object.geometry();
        let segment = at / geometry.params().segment_len();
        let within = at % geometry.params().segment_len();
        let block_len = geometry.block_len(segment) as u64;
        let offset = within % block_len;
        Self { segment, number: (within / block_len) as u16, offset, left: block_len - offset }
    }
}

fn data_share(object: &Object, number: u16) -> Option<KnownShare> {
    let shares = lock(&object.holdings).all();
    shares.into_iter().find(|share| share.number == number)
}

async fn fetch_slice(
    object: &Object,
    share: &KnownShare,
    segment: u64,
    wanted: Range<u64>,
) -> Result<Vec<u8>, FetchError> {
    let columns = [share.number];
    let (table, slice) = tokio::join!(
        Table::ensure(object, share, &columns, segment),
        read_slice(object, share, segment, &wanted)
    );
    table?;
    let root = object.table.root(share.number, segment).expect("its window was just ensured");
    let block_len = object.geometry().block_len(segment) as u64;
    let opened = open_slice(&root, block_len, wanted.clone(), &slice?);
    let (start, bytes) = opened.map_err(|_| FetchError::Corrupt { what: "a slice of a block" })?;
    Ok(bytes[(wanted.start - start) as usize..(wanted.end - start) as usize].to_vec())
}

async fn read_slice(
    object: &Object,
    share: &KnownShare,
    segment: u64,
    wanted: &Range<u64>,
) -> Result<BytesMut, FetchError> {
    if let Some((bytes, layout)) = &share.inline {
        let range = layout.block(segment);
        let block = &bytes[range.start as usize..range.end as usize];
        return Ok(BytesMut::from(&encoding::slice(block, wanted.clone())[..]));
    }
    let after = object.client.readers().timeouts().answer;
    let session = object.client.readers().session(&share.server).await?;
    let read = ReadSlice {
        hash: object.hash,
        number: share.number,
        segment,
        start: wanted.start as u32,
        end: wanted.end as u32,
    };
    let most = slice_len_max(object.geometry().block_len(segment) as u64, wanted);
    let asked = within(after, async {
        let (bulk, mut stream): (Bulk, _) = session.request(&Request::ReadSlice(read)).await?;
        let [len] = bulk.lens[..] else {
            return Err(RequestError::Nonsense { what: "one slice was asked for" });
        };
        if len > most {
            return Err(RequestError::Nonsense { what: "the slice is longer than it can be" });
        }
        let mut slice = BytesMut::new();
        if !stream.recv.fill(&mut slice, len as usize).await.map_err(FrameError::from)? {
            return Err(FrameError::Ended.into());
        }
        Ok(slice)
    });
    Ok(asked.await?)
}
