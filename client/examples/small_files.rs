//! Stores many small files through the library, as one client process: `small_files CLIENT_DIR [COUNT] [AT_ONCE]`.
//!
//! Prints files per second for putting and for getting. The row of `docs/performance.md` comes from here.

use std::sync::Arc;
use std::time::Instant;

use client::{Client, GetOptions, PutOptions, Source};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const SIZE: usize = 4096;

// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: small_files CLIENT_DIR [COUNT] [AT_ONCE]")?;
    let count: usize = args.next().map_or(Ok(200), |text| text.parse())?;
    let at_once: usize = args.next().map_or(Ok(16), |text| text.parse())?;
    let client = Client::open(dir.as_ref())?;
    client.refresh().await;
    let mut noise = vec![0; SIZE * count];
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut noise);
    let noise = bytes::Bytes::from(noise);
    // Connections are made before the clock starts.
    client.put(Source::bytes(format!("warm {seed}").repeat(10)), PutOptions::default()).await?;

    let started = Instant::now();
    let permits = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for index in 0..count {
        let permit = permits.clone().acquire_owned().await?;
        let (client, file) = (client.clone(), noise.slice(index * SIZE..(index + 1) * SIZE));
        tasks.spawn(async move {
            let report = client.put(Source::bytes(file), PutOptions::default()).await;
            drop(permit);
            report.map(|report| (index, report.cap))
        });
    }
    let mut caps = Vec::new();
    while let Some(done) = tasks.join_next().await {
        caps.push(done??);
    }
    let took = started.elapsed().as_secs_f64();
    println!("put {count} files of {SIZE} B, {at_once} at once: {:.0} files/s", count as f64 / took);

    let started = Instant::now();
    for (index, cap) in &caps {
        let mut back = Vec::new();
        client.get(cap, &mut back, GetOptions::default()).await?;
        assert!(back == noise[index * SIZE..(index + 1) * SIZE], "file {index} came back wrong");
    }
    let took = started.elapsed().as_secs_f64();
    println!("get them, one at a time: {:.0} files/s", count as f64 / took);
    client.close().await;
    Ok(())
}
