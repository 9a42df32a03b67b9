//! Files that change while they are stored: no two ciphertexts under one key ever reach a server.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use client::upload::ReadAt;
use client::{Source, UploadError};
use protocol::NodeId;
use protocol::frame;
use protocol::message::{Bytes16, PutReply, Reply, Request};
use testkit::grid::{SimGrid, seed_of};

use crate::support::{get, noise, put};
use crate::upload::again;

/// What a client and its servers said, by connection and stream.
#[derive(Default)]
struct Said {
    client: Vec<u8>,
    server: Vec<u8>,
}

/// Everything that a client and all servers send each other.
struct Wire(Arc<Mutex<BTreeMap<(u64, u64), Said>>>);

impl Wire {
    fn tapped(grid: &SimGrid, label: &str) -> Self {
        let account = protocol::NodeKey::from_seed(&seed_of(&grid.random, label)).id();
        let said: Arc<Mutex<BTreeMap<_, Said>>> = Arc::default();
        let tap = |from: NodeId, ours: bool| {
            let said = said.clone();
            let hook = move |flow: &testkit::net::Flow, bytes: bytes::Bytes| {
                if ours || flow.to == account {
                    let mut said = said.lock().unwrap();
                    let said = said.entry((flow.connection, flow.stream)).or_default();
                    if ours { &mut said.client } else { &mut said.server }.extend_from_slice(&bytes);
                }
                bytes
            };
            grid.net.set_tamper(from, Some(Arc::new(hook)));
        };
        tap(account, true);
        grid.servers.iter().for_each(|server| tap(server.key.id(), false));
        Self(said)
    }

    /// Upload ids follow from key and salt: under each of them, every byte of every share that was sent is always the same one.
    fn one_ciphertext_per_key(&self) {
        let mut shares: BTreeMap<(Bytes16, u16), BTreeMap<u64, u8>> = BTreeMap::new();
        let mut puts = 0;
        for said in self.0.lock().unwrap().values() {
            let Some((Request::Put(put), body)) = message::<Request>(&said.client) else { continue };
            let Some((Reply::Ok(PutReply::Go(offset)), _)) = message(&said.server) else { continue };
            puts += 1;
            let share = shares.entry((put.upload, put.number)).or_default();
            // Every 997th byte tells two ciphertexts apart as well as all of them.
            for (at, byte) in (offset..).zip(body).filter(|(at, _)| at % 997 == 0) {
                assert_eq!(share.entry(at).or_insert(*byte), byte, "share {} at {at}", put.number);
            }
        }
        assert!(puts >= 10);
    }
}

/// The first message of a stream, and what follows it.
fn message<T: for<'b> minicbor::Decode<'b, ()>>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    let (message, rest) = rest.split_at_checked(u32::from_le_bytes(*head) as usize)?;
    Some((frame::decode(message).ok()?, rest))
}

/// A file whose bytes change after so many reads.
struct Changing {
    versions: [Vec<u8>; 2],
    left: AtomicUsize,
    /// Changes back and forth for ever.
    restless: bool,
}

impl ReadAt for Changing {
    fn len(&self) -> io::Result<u64> {
        Ok(self.versions[0].len() as u64)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let left =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(1)));
        let left = left.unwrap_or_default();
        if left <= 1 && self.restless {
            self.left.store(4, Ordering::Relaxed);
        }
        let version = &self.versions[usize::from(left <= 1)];
        buffer.copy_from_slice(&version[offset as usize..][..buffer.len()]);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changes_never_reuses_a_key() {
    let size = 3_500_000;
    let versions = [noise(17, size), noise(18, size)];
    // Five reads are the first pass, the next five the second.
    for reads in 1..=11 {
        let mut grid = SimGrid::start(17, 10).await;
        let client = grid.client("3/7/10").await;
        let wire = Wire::tapped(&grid, "client1");
        let file = Changing { versions: versions.clone(), left: AtomicUsize::new(reads), restless: false };
        let report = client.put(Source::File(Arc::new(file)), client::PutOptions::default()).await.unwrap();
        let (bytes, _) = get(&client, &report.cap).await.unwrap();
        if reads > 10 {
            assert!(bytes == versions[0]);
        } else if reads > 5 {
            // Caught in the second pass: started over, under another key.
            assert!(bytes == versions[1], "{reads}");
            assert_ne!(put(&again(&grid, "client1").await, &versions[0]).await.unwrap().cap, report.cap);
        } else {
            assert!(bytes.len() == size, "one file, whichever mixture the first pass saw");
        }
        let again = put(&client, &bytes).await.unwrap();
        assert_eq!((&again.cap, again.sent), (&report.cap, 0), "what is stored is what the key was made of");
        wire.one_ciphertext_per_key();
    }
    let mut grid = SimGrid::start(17, 10).await;
    let client = grid.client("3/7/10").await;
    let wire = Wire::tapped(&grid, "client1");
    let file = Changing { versions, left: AtomicUsize::new(4), restless: true };
    let error = client.put(Source::File(Arc::new(file)), client::PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, UploadError::SourceChanged), "{error}");
    assert!(error.is_retryable());
    wire.one_ciphertext_per_key();
}
