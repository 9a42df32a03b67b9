//! The stages of a put and a get, each measured alone.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use encoding::{ContentKey, ErasureDecoder, ErasureEncoder, ObjectId};
use protocol::NodeKey;
use protocol::quic::{QuicConnector, QuicListener, bind, server_config};
use protocol::transport::{Connector, Listener};

const NEEDED: u16 = 3;
const TOTAL: u16 = 10;
const BLOCK: usize = encoding::BLOCK_LEN as usize;
/// How long each stage is watched.
const WATCH: Duration = Duration::from_millis(300);

/// One stage.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    /// MB/s of what it works on, on one core.
    pub(crate) rate: f64,
}

/// All stages.
pub(crate) struct Stages {
    pub(crate) cores: usize,
    hash: Stage,
    encrypt: Stage,
    encode: Stage,
    decode: Stage,
    network: Stage,
    disk: Stage,
}

impl Stages {
    /// Measures each; `folder` is where the disk is tried.
    pub(crate) async fn measure(folder: &Path) -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let segment = noise(BLOCK * usize::from(NEEDED));
        let hash = watch("hash (BLAKE3)", segment.len(), || {
            std::hint::black_box(encoding::block_root(&segment));
        });
        let key = ContentKey::new(&ObjectId::random([7; 48]));
        let mut cells = segment.clone();
        let encrypt = watch("encrypt (ChaCha20-Poly1305)", segment.len(), || key.seal(0, false, &mut cells));
        let mut encoder = ErasureEncoder::new(NEEDED, TOTAL);
        let parity = encoder.parity(&segment).context("cannot encode")?;
        let encode = watch("encode 3 of 10", segment.len(), || drop(encoder.parity(&segment)));
        let mut decoder = ErasureDecoder::new(NEEDED, TOTAL);
        let last: Vec<(u16, &[u8])> =
            (0..NEEDED).map(|i| (TOTAL - 1 - i, &parity[usize::from(6 - i)][..])).collect();
        let decode = watch("decode, 3 of 3 lost", segment.len(), || drop(decoder.missing_data(&last)));
        Ok(Self { cores, hash, encrypt, encode, decode, network: network().await?, disk: disk(folder)? })
    }

    pub(crate) fn all(&self) -> [&Stage; 6] {
        [&self.hash, &self.encrypt, &self.encode, &self.decode, &self.network, &self.disk]
    }

    /// MB/s of a file that a put may reach if its stages shared all cores perfectly: the file is hashed three times (twice to find its
    /// key, once to hold the second pass against the first), encrypted and encoded; N/k times as much is hashed by the client and by
    /// the servers, sent and stored.
    pub(crate) fn put_allowed(&self) -> f64 {
        let expansion = f64::from(TOTAL) / f64::from(NEEDED);
        let own = 3.0 / self.hash.rate + 1.0 / self.encrypt.rate + 1.0 / self.encode.rate;
        let spread = 2.0 / self.hash.rate + self.network_cost();
        let processor = self.cores as f64 / (own + expansion * spread);
        processor.min(self.disk.rate / expansion)
    }

    /// MB/s of a file that a get may reach: everything is sent once, hashed and decrypted.
    pub(crate) fn get_allowed(&self) -> f64 {
        self.cores as f64 / (self.network_cost() + 1.0 / self.hash.rate + 1.0 / self.encrypt.rate)
    }

    /// The same when all data shares are lost: what is decoded is hashed once more.
    pub(crate) fn get_degraded_allowed(&self) -> f64 {
        let decode = 1.0 / self.decode.rate + 1.0 / self.hash.rate;
        self.cores as f64 / (self.network_cost() + decode + 1.0 / self.hash.rate + 1.0 / self.encrypt.rate)
    }

    /// Core-seconds per MB on the wire: both ends were measured together, on as many cores as they liked, two at most.
    fn network_cost(&self) -> f64 {
        self.cores.min(2) as f64 / self.network.rate
    }
}

/// Bytes that no compression or convergence can make less of.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.as_nanos().to_le_bytes()).update(&std::process::id().to_le_bytes());
    hasher.finalize_xof().fill(&mut out);
    out
}

fn watch(name: &'static str, bytes: usize, mut work: impl FnMut()) -> Stage {
    work();
    let started = Instant::now();
    let mut rounds = 0;
    while started.elapsed() < WATCH {
        work();
        rounds += 1;
    }
    Stage { name, rate: (bytes * rounds) as f64 / started.elapsed().as_secs_f64() / 1e6 }
}

async fn network() -> anyhow::Result<Stage> {
    let key = NodeKey::from_seed(&[1; 32]);
    let (server, _) = bind(([127, 0, 0, 1], 0).into(), Some(server_config(&key)))?;
    let address = server.local_addr()?.to_string();
    let listener = QuicListener::new(server);
    let receiving = tokio::spawn(async move {
        let incoming = listener.accept().await?.await?;
        let mut stream = incoming.accept_stream().await?;
        let mut buffer = bytes::BytesMut::new();
        while stream.recv.fill(&mut buffer, BLOCK).await.ok()? {
            buffer.clear();
        }
        stream.send.finish().ok()
    });
    let (endpoint, _) = bind(([127, 0, 0, 1], 0).into(), None)?;
    let connector = QuicConnector::new(endpoint, &NodeKey::from_seed(&[2; 32]));
    let connection = connector.connect(key.id(), &[address]).await?;
    let mut stream = connection.open().await?;
    let block = Bytes::from(noise(BLOCK));
    let mut sent = 0;
    let mut started = Instant::now();
    let warm = Instant::now();
    let mut warming = true;
    while warming || started.elapsed() < WATCH * 3 {
        stream.send.send(block.clone()).await?;
        sent += BLOCK;
        // The path's MTU is found and the window opens in the first moments.
        if warming && warm.elapsed() > WATCH {
            (warming, sent, started) = (false, 0, Instant::now());
        }
    }
    stream.send.finish()?;
    drop(receiving.await);
    Ok(Stage {
        name: "send and receive (QUIC, loopback)",
        rate: sent as f64 / started.elapsed().as_secs_f64() / 1e6,
    })
}

fn disk(folder: &Path) -> anyhow::Result<Stage> {
    let path = folder.join("disk");
    let block = noise(4 << 20);
    let mut file = File::create(&path).context("cannot write where the shares would be")?;
    let started = Instant::now();
    let mut written = 0;
    while started.elapsed() < WATCH * 3 {
        file.write_all(&block)?;
        written += block.len();
        if written.is_multiple_of(64 << 20) {
            file.sync_data()?;
        }
    }
    file.sync_data()?;
    let rate = written as f64 / started.elapsed().as_secs_f64() / 1e6;
    std::fs::remove_file(&path)?;
    Ok(Stage { name: "write and sync", rate })
}
