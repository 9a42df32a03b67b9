//! Fills a store with small shares, kills itself with `SIGKILL` while more are being written, and opens the store again. With `expire`,
//! fills it with shares whose leases are over at once, and measures how long it takes until all of them are gone.
//!
//! ```text
//! cargo run --release -p storage-server --example million -- /dev/shm/million 1000000
//! cargo run --release -p storage-server --example million -- expire /dev/shm/million 100000
//! ```

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use encoding::{ContentKey, Kind, ObjectBuilder, ObjectId, Params, SegmentEncoder};
use protocol::message::{Bytes16, LeaseTerms, Put};
use protocol::{NodeId, OsRandom, Pool, SystemClock, TokioPool};
use storage_server::{Disk, RealDisk, ShareKey, Store, StoreOptions};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const AT_ONCE: u64 = 64;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["fill", dir, count] => fill(dir, count.parse()?),
        ["reopen", dir] => reopen(dir),
        ["expire", dir, count] => expire(dir, count.parse()?),
        [dir, count] => run(dir, count),
        _ => Err("usage: million [expire] DIR COUNT".into()),
    }
}

fn run(dir: &str, count: &str) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let _: u64 = count.parse()?;
    let killed = Command::new(&program).args(["fill", dir, count]).status()?;
    println!("filling ended with {killed}");
    if killed.code().is_some() {
        return Err("it should have been killed".into());
    }
    let disk = Command::new("du").args(["-sk", dir]).output()?;
    let kib: u64 = String::from_utf8_lossy(&disk.stdout).split_whitespace().next().unwrap_or("0").parse()?;
    println!("on disk: {} bytes", kib * 1024);
    for _ in 0..2 {
        if !Command::new(&program).args(["reopen", dir]).status()?.success() {
            return Err("it cannot be opened again".into());
        }
    }
    Ok(())
}

fn open(dir: &str) -> Result<Arc<Store>, Failure> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    if Store::identify(&*disk).is_err() {
        Store::init(&disk, &OsRandom)?;
    }
    let options = StoreOptions { grace: Duration::ZERO, ..StoreOptions::default() };
    Ok(Store::open(disk, Arc::new(SystemClock::default()), &OsRandom, options)?)
}

/// Share 0 of a 3-of-10 object of 4 KiB that differs by `seed`.
fn share(encoder: &mut SegmentEncoder, seed: u64) -> Result<(ShareKey, Vec<u8>), Failure> {
    let params = Params::new(3, 10)?;
    let mut data = [0; 4096];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut data);
    let plain = blake3::hash(&data);
    let id = ObjectId::convergent(&[7; 32], params, Kind::Direct, 4096, plain.as_bytes());
    let mut builder = ObjectBuilder::new(params, Kind::Direct, &id);
    let segment = encoder.encode(&ContentKey::new(&id), 0, &data, true)?;
    builder.add(&segment)?;
    let encoded = builder.finish(4096, plain.as_bytes())?;
    let bytes = [&segment.blocks[0][..], &encoded.trailer(0)[..]].concat();
    Ok((ShareKey { hash: encoded.hash, number: 0 }, bytes))
}

async fn store_some(
    store: Arc<Store>,
    first: u64,
    end: u64,
    stored: Arc<AtomicU64>,
    duration_s: Option<u64>,
) -> Result<(), Failure> {
    let pool: Arc<dyn Pool> = Arc::new(TokioPool);
    let mut encoder = SegmentEncoder::new(Params::new(3, 10)?);
    for seed in (first..end).step_by(AT_ONCE as usize) {
        let (_, bytes) = share(&mut encoder, seed)?;
        let put = Put {
            upload: Bytes16([first as u8; 16]),
            number: 0,
            store: store.id(),
            block_len: 256 * 1024,
            len: Some(bytes.len() as u64),
            expected: None,
            lease: LeaseTerms { tag: Bytes16([0; 16]), duration_s },
        };
        let mut upload = store.begin(NodeId::new([1; 32]), &put)?;
        upload.push(&bytes)?;
        let ready = upload.finish()?;
        store.commit(&pool, ready).await?;
        stored.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn fill(dir: &str, count: u64) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (store, stored) = (open(dir)?, Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let all = |from, to| {
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|i| runtime.spawn(store_some(store.clone(), from + i, to, stored.clone(), None)))
            .collect();
        for task in tasks {
            runtime.block_on(task)??;
        }
        Ok::<_, Failure>(())
    };
    all(0, count)?;
    let took = started.elapsed().as_secs_f64();
    let status = store.status();
    println!(
        "{} shares of {} bytes stored in {took:.1} s: {:.0}/s",
        status.shares,
        status.used,
        count as f64 / took
    );
    println!("{}", memory()?);
    // More, in the middle of which the end comes.
    std::thread::spawn(|| {
        std::thread::sleep(std::time::Duration::from_millis(300));
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
    });
    all(count, u64::MAX)
}

fn expire(dir: &str, count: u64) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (store, stored) = (open(dir)?, Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|i| runtime.spawn(store_some(store.clone(), i, count, stored.clone(), Some(0))))
        .collect();
    for task in tasks {
        runtime.block_on(task)??;
    }
    println!("{} shares of {} bytes stored", store.status().shares, store.status().used);
    let pool: Arc<dyn Pool> = Arc::new(TokioPool);
    let (started, mut steps) = (Instant::now(), 0);
    while runtime.block_on(store.tidy(&pool)) {
        steps += 1;
    }
    let left = store.status().shares;
    println!("gone in {:.2} s, in {steps} steps; {left} are left", started.elapsed().as_secs_f64());
    println!("{} dead bytes in packs", store.dead_bytes());
    println!("{}", memory()?);
    Ok(())
}

fn reopen(dir: &str) -> Result<(), Failure> {
    let started = Instant::now();
    let store = open(dir)?;
    println!(
        "reopened in {:.3} s: {} shares, {} bytes",
        started.elapsed().as_secs_f64(),
        store.status().shares,
        store.status().used
    );
    let mut encoder = SegmentEncoder::new(Params::new(3, 10)?);
    let started = Instant::now();
    for seed in 0..1000 {
        let (key, bytes) = share(&mut encoder, seed)?;
        let stored = store.open_share(key)?;
        assert_eq!(stored.read(0, bytes.len())?, bytes);
    }
    println!("1000 shares encoded, read and compared in {:.3} s", started.elapsed().as_secs_f64());
    println!("{}", memory()?);
    Ok(())
}

/// What the kernel says of our memory.
fn memory() -> Result<String, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let wanted = |line: &&str| line.starts_with("VmHWM") || line.starts_with("VmRSS");
    Ok(status.lines().filter(wanted).collect::<Vec<_>>().join(", ").replace('\t', " "))
}
