//! What the tests of the grid share.

use std::ops::Range;
use std::time::Duration;

use caps::Cap;
use client::download::Complaint;
use client::{
    Client, DownloadError, GetOptions, GetReport, PutOptions, PutReport, Source, Transfer, UploadError,
};
use protocol::NodeKey;
use protocol::session::Session;
use testkit::grid::{SimGrid, SimServer};
use tokio::time::Instant;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Two segments of 3-of-10: one full, one short.
pub(crate) const TWO_SEGMENTS: usize = 1_000_000;

/// Bytes that depend on `seed` and position.
pub(crate) fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut out);
    out
}

/// Seeds to run: `usual` of them, or as many as `SARSEN_SIM_SEEDS` says.
pub(crate) fn seeds(usual: u64) -> Range<u64> {
    let wanted = std::env::var("SARSEN_SIM_SEEDS").ok().and_then(|text| text.parse().ok());
    0..wanted.unwrap_or(usual)
}

/// Runs `story` in a simulation of its own: when it is told, everything in it is gone, its memory too.
pub(crate) fn simulate<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(story)
}

/// Waits for `work`, which must take at most `bound` of simulated time.
pub(crate) async fn within<T>(bound: Duration, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    match tokio::time::timeout(bound * 100, work).await {
        Ok(done) => {
            assert!(begun.elapsed() <= bound, "it took {:?}, more than {bound:?}", begun.elapsed());
            done
        }
        Err(_) => panic!("it hangs"),
    }
}

pub(crate) async fn put(client: &Client, data: &[u8]) -> Result<PutReport, UploadError> {
    client.put(Source::bytes(data.to_vec()), PutOptions::default()).await
}

/// As [`put`], with at most so many bytes of shares a second.
pub(crate) async fn put_slowly(client: &Client, source: Source, rate: u64) -> Result<PutReport, UploadError> {
    client.put(source, PutOptions { transfer: Transfer::limited(rate), ..PutOptions::default() }).await
}

/// A source that is read once.
pub(crate) fn stream_of(data: &[u8]) -> Source {
    Source::stream(std::io::Cursor::new(data.to_vec()))
}

pub(crate) async fn get(client: &Client, cap: &Cap) -> Result<(Vec<u8>, GetReport), DownloadError> {
    let mut bytes = Vec::new();
    let report = client.get(cap, &mut bytes, GetOptions::default()).await?;
    Ok((bytes, report))
}

/// Reads within a minute, and must find `data`.
pub(crate) async fn reads_back(client: &Client, cap: &Cap, data: &[u8]) -> GetReport {
    let (bytes, report) = within(SECOND * 60, get(client, cap)).await.unwrap();
    assert!(bytes == data, "other bytes than were stored");
    report
}

/// The server that has share `number`.
pub(crate) fn holder(grid: &SimGrid, report: &PutReport, number: u16) -> usize {
    grid.index_of(&report.shares[&number].id).unwrap()
}

/// A session with a server, for what no client asks.
pub(crate) async fn session(grid: &SimGrid, server: &SimServer) -> Session {
    let connector = grid.net.connector(NodeKey::from_seed(&[66; 32]).id());
    let address = std::slice::from_ref(&server.address);
    Session::start(connector.connect(server.key.id(), address).await.unwrap()).await.unwrap()
}

/// Bytes of all shares of a 3-of-10 file of `size` bytes, roughly.
pub(crate) fn whole(size: usize) -> u64 {
    size as u64 * 10 / 3
}

/// Nobody but server `index` is complained about, and it is accused if `corrupt` says so, else only complained about.
pub(crate) fn only_blames(grid: &SimGrid, complaints: &[Complaint], index: usize, corrupt: bool) {
    assert!(!complaints.is_empty(), "server{index} is not named");
    for complaint in complaints {
        assert_eq!(grid.index_of(&complaint.server.id), Some(index), "{complaint}");
        assert!(corrupt || !complaint.corrupt, "accused: {complaint}");
    }
    assert!(!corrupt || complaints.iter().any(|complaint| complaint.corrupt), "not accused: {complaints:?}");
}

/// Which servers an upload names as failed, in order.
pub(crate) fn failed(grid: &SimGrid, failures: &[client::ShareFailure]) -> Vec<usize> {
    let mut named: Vec<usize> =
        failures.iter().map(|failure| grid.index_of(&failure.server.id).unwrap()).collect();
    named.sort_unstable();
    named
}
