//! Fetching a batch of segments: the blocks of k shares, the quickest that prove true.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use encoding::{Root, SegmentDecoder, block_root};
use protocol::frame::FrameError;
use protocol::message::{Bulk, ErrorCode, ReadBlocks, Request};
use protocol::session::RequestError;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::error::{Complaint, DownloadError, complain, is_corrupt};
use super::holdings::{KnownShare, ShareKey, key};
use super::search::{SLOW, Search};
use super::table::Table;
use super::{Object, Opened, lock};
use crate::progress::Transfer;
use crate::servers::within;

/// Why a share did not give its blocks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("it sent {what} that is not what it claims to be")]
    Corrupt { what: &'static str },
}

impl FetchError {
    /// Whether it is the share that is bad, rather than the way to it.
    pub(crate) fn is_bad_share(&self) -> bool {
        let refused =
            |code| matches!(code, ErrorCode::Corrupt | ErrorCode::NotFound | ErrorCode::StoreFailed);
        match self {
            Self::Request(RequestError::Refused(error)) => refused(error.code),
            _ => self.is_corrupt(),
        }
    }

    pub(crate) fn is_corrupt(&self) -> bool {
        match self {
            Self::Corrupt { .. } => true,
            Self::Request(error) => is_corrupt(error),
        }
    }
}

/// Bytes that must come in within the stall timeout.
const PIECE: usize = 32 * 1024;

pub(crate) type Blocks = Vec<BytesMut>;
type Fetched = (KnownShare, Duration, Result<Blocks, FetchError>);

/// The decoded segments `wanted`, each in pieces.
pub(crate) async fn batch(
    object: &Arc<Opened>,
    wanted: Range<u64>,
    transfer: &Transfer,
) -> Result<Vec<Vec<Bytes>>, DownloadError> {
    let blocks = gather(&object.object, &wanted, transfer).await?;
    let shares: Vec<u16> = blocks.keys().copied().collect();
    let needs_table = shares.iter().any(|number| *number >= object.needed());
    let mut roots = Vec::new();
    for segment in wanted.clone() {
        roots.push(if needs_table {
            data_roots(object, segment).await?
        } else {
            known_roots(object, segment)
        });
    }
    let (object, first) = (object.clone(), wanted.start);
    let pool = object.client.pool();
    let len = blocks.values().flatten().map(|block| block.len()).sum();
    pool.run_on(len, move || decode(&object, first, blocks, &roots)).await
}

fn decode(
    object: &Opened,
    first: u64,
    blocks: BTreeMap<u16, Blocks>,
    roots: &[Vec<Root>],
) -> Result<Vec<Vec<Bytes>>, DownloadError> {
    let taken = lock(&object.decoders).pop();
    let mut decoder = taken.unwrap_or_else(|| SegmentDecoder::new(*object.geometry()));
    let mut columns: Vec<(u16, std::vec::IntoIter<BytesMut>)> =
        blocks.into_iter().map(|(number, blocks)| (number, blocks.into_iter())).collect();
    let mut out = Vec::new();
    for (segment, roots) in (first..).zip(roots) {
        let of_segment =
            columns.iter_mut().filter_map(|(number, blocks)| Some((*number, blocks.next()?))).collect();
        out.push(decoder.decode(&object.key, segment, of_segment, roots)?);
    }
    lock(&object.decoders).push(decoder);
    Ok(out)
}

/// The roots of the k data blocks of a segment, all of which were used and checked.
fn known_roots(object: &Object, segment: u64) -> Vec<Root> {
    let root =
        |column| object.table.root(column, segment).expect("every block used was held against its root");
    (0..object.needed()).map(root).collect()
}

/// The roots of the k data blocks of a segment, fetched if necessary from any server that holds a share.
pub(crate) async fn data_roots(object: &Object, segment: u64) -> Result<Vec<Root>, DownloadError> {
    let columns: Vec<u16> = (0..object.needed()).collect();
    let shares = lock(&object.holdings).all();
    for share in shares {
        let after = object.client.readers().timeouts().answer;
        let ensured = timeout(after, Table::ensure(object, &share, &columns, segment)).await;
        match ensured {
            Ok(Ok(())) => return Ok(known_roots(object, segment)),
            Ok(Err(error)) => object.blame(&share, &error),
            Err(_) => object.blame(&share, &RequestError::Timeout { after }.into()),
        }
    }
    Err(object.search.lock().await.not_enough(object.needed(), &lock(&object.holdings)))
}

/// The blocks of k different shares for the segments `wanted`, each held against its own root.
pub(crate) async fn gather(
    object: &Arc<Object>,
    wanted: &Range<u64>,
    transfer: &Transfer,
) -> Result<BTreeMap<u16, Blocks>, DownloadError> {
    let needed = usize::from(object.needed());
    let mut got: BTreeMap<u16, Blocks> = BTreeMap::new();
    let mut tried: BTreeSet<ShareKey> = BTreeSet::new();
    let mut flying: BTreeMap<ShareKey, Instant> = BTreeMap::new();
    let mut running: JoinSet<Fetched> = JoinSet::new();
    let mut wishes = needed;
    loop {
        while wishes > 0 {
            let taken: BTreeSet<u16> =
                got.keys().copied().chain(flying.keys().map(|(number, _)| *number)).collect();
            let best = lock(&object.holdings).best(&taken, &tried);
            let Some(share) = best else { break };
            tried.insert(key(&share));
            flying.insert(key(&share), Instant::now());
            let (object, wanted) = (object.clone(), wanted.clone());
            running.spawn(async move {
                let started = Instant::now();
                let blocks = fetch_share(&object, &share, &wanted).await;
                (share, started.elapsed(), blocks)
            });
            wishes -= 1;
        }
        let taken = got.keys().copied().chain(flying.keys().map(|(number, _)| *number)).collect();
        if got.len() + flying.len() < needed && !object.find_more(&taken, &tried, needed).await {
            return Err(object.search.lock().await.not_enough(object.needed(), &lock(&object.holdings)));
        }
        if got.len() + flying.len() < needed {
            wishes = needed - got.len() - flying.len();
            continue;
        }
        let patience = object.patience();
        match timeout(patience, running.join_next()).await {
            Ok(Some(Ok((share, took, Ok(blocks))))) => {
                flying.remove(&key(&share));
                lock(&object.holdings).mark_served(&key(&share), took);
                transfer.moved(share.server.id, blocks.iter().map(|block| block.len() as u64).sum());
                got.insert(share.number, blocks);
                if got.len() == needed {
                    return Ok(got);
                }
            }
            Ok(Some(Ok((share, _, Err(error))))) => {
                flying.remove(&key(&share));
                object.blame(&share, &error);
                wishes += 1;
            }
            Ok(Some(Err(_)) | None) => return Err(DownloadError::Internal),
            Err(_) => {
                // Those that fly for too long get company; whoever is first serves.
                let late: Vec<ShareKey> =
                    flying.iter().filter(|(_, since)| since.elapsed() >= patience).map(|(k, _)| *k).collect();
                late.iter().for_each(|share| object.mark_slow(share));
                wishes = late.len().min(needed);
                object.hedge_search(&taken, &tried, wishes).await;
            }
        }
    }
}

/// Blocks of one share, held against the table and that against the descriptor.
pub(crate) async fn fetch_share(
    object: &Object,
    share: &KnownShare,
    wanted: &Range<u64>,
) -> Result<Blocks, FetchError> {
    // A data share's own column is all it needs; a parity share also brings those of the data it stands in for.
    let needed = object.needed();
    let columns: Vec<u16> =
        if share.number < needed { vec![share.number] } else { (0..needed).chain([share.number]).collect() };
    let tables = async {
        Table::ensure(object, share, &columns, wanted.start).await?;
        Table::ensure(object, share, &columns, wanted.end - 1).await
    };
    let (tables, blocks) = tokio::join!(tables, read_blocks(object, share, wanted));
    tables?;
    let blocks = blocks?;
    let roots: Vec<Option<Root>> =
        wanted.clone().map(|segment| object.table.root(share.number, segment)).collect();
    let len = blocks.iter().map(|block| block.len()).sum();
    let check = move || {
        let good = blocks.iter().zip(roots).all(|(block, root)| Some(block_root(block)) == root);
        good.then_some(blocks)
    };
    object.client.pool().run_on(len, check).await.ok_or(FetchError::Corrupt { what: "a block" })
}

async fn read_blocks(object: &Object, share: &KnownShare, wanted: &Range<u64>) -> Result<Blocks, FetchError> {
    let geometry = object.geometry();
    if let Some((bytes, layout)) = &share.inline {
        let block = |segment| {
            let range = layout.block(segment);
            BytesMut::from(&bytes[range.start as usize..range.end as usize])
        };
        return Ok(wanted.clone().map(block).collect());
    }
    let timeouts = *object.client.readers().timeouts();
    let session = object.client.readers().session(&share.server).await?;
    let read = ReadBlocks {
        hash: object.hash,
        number: share.number,
        first: wanted.start,
        count: (wanted.end - wanted.start) as u32,
    };
    let expected: Vec<u64> = wanted.clone().map(|segment| geometry.block_len(segment) as u64).collect();
    let (bulk, mut stream): (Bulk, _) =
        within(timeouts.answer, session.request(&Request::ReadBlocks(read))).await?;
    if bulk.lens != expected {
        return Err(RequestError::Nonsense { what: "the blocks are not those that were asked for" }.into());
    }
    let mut blocks = Vec::new();
    for len in expected {
        let mut block = BytesMut::with_capacity(len as usize);
        while block.len() < len as usize {
            let upto = (block.len() + PIECE).min(len as usize);
            let filled = within(timeouts.stall, async {
                Ok(stream.recv.fill(&mut block, upto).await.map_err(FrameError::from)?)
            });
            if !filled.await? {
                return Err(RequestError::from(FrameError::Ended).into());
            }
        }
        blocks.push(block);
    }
    Ok(blocks)
}

impl Object {
    /// After how long a fetch gets company.
    fn patience(&self) -> Duration {
        let (hedge, longest) =
            (self.client.readers().timeouts().hedge, self.client.readers().timeouts().stall);
        lock(&self.holdings).usual().map_or(hedge, |usual| (usual * 4).clamp(hedge, longest))
    }

    /// Takes a share out of use and says why.
    pub(crate) fn blame(&self, share: &KnownShare, error: &FetchError) {
        lock(&self.holdings).mark_bad(&key(share));
        if let FetchError::Request(error) = error {
            self.client.readers().failed(&share.server.id, error);
        }
        let complaint = Complaint {
            server: share.server.clone(),
            number: Some(share.number),
            what: error.to_string(),
            corrupt: error.is_corrupt(),
        };
        complain(&self.complaints, complaint);
    }

    /// Others are asked as well from now on, and before it the next time.
    pub(crate) fn mark_slow(&self, (number, server): &ShareKey) {
        lock(&self.holdings).mark_slow(&(*number, *server));
        let server = self.client.grid().server(server);
        let complaint = Complaint { server, number: Some(*number), what: SLOW.into(), corrupt: false };
        complain(&self.complaints, complaint);
    }

    /// Looks for shares at servers that were not asked yet; says whether there is one now that was not tried and is none of `taken`.
    async fn find_more(&self, taken: &BTreeSet<u16>, tried: &BTreeSet<ShareKey>, wanted: usize) -> bool {
        let mut search = self.search.lock().await;
        for more in 1..=wanted {
            if lock(&self.holdings).best(taken, tried).is_some() {
                return true;
            }
            self.search_on(&mut search, more).await;
        }
        lock(&self.holdings).best(taken, tried).is_some()
    }

    /// As [`Object::find_more`], for the sake of speed: gives up soon.
    async fn hedge_search(&self, taken: &BTreeSet<u16>, tried: &BTreeSet<ShareKey>, wanted: usize) {
        let patience = self.client.readers().timeouts().hedge;
        let _ = timeout(patience, self.find_more(taken, tried, wanted)).await;
    }

    /// Asks on until `more` different shares are known beyond those known now.
    async fn search_on(&self, search: &mut Search, more: usize) {
        let wanted = lock(&self.holdings).distinct() + more;
        search.until(&self.client, &self.holdings, &self.complaints, wanted).await;
    }
}
