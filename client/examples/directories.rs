//! What directories cost, through the library, as one client process: `directories CLIENT_DIR [LARGE]`.
//!
//! Prints the time to make a directory, files per second into one directory (one at a time and 16 at a time), the time to add an entry
//! to directories of 5,000 and of LARGE entries (100,000 by default), and the time to list them. The rows of `docs/performance.md` come
//! from here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use caps::{Cap, SlotWrite};
use client::filestore::{Child, DirEdit, Replace};
use client::{Client, PutOptions, Source};
use encoding::directory::Name;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SIZE: usize = 4096;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: directories CLIENT_DIR [LARGE]")?;
    let large: usize = args.next().map_or(Ok(100_000), |text| text.parse())?;
    let client = Client::open(dir.as_ref())?;
    client.refresh().await;
    client.make_directory().await?;

    let mut took = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        client.make_directory().await?;
        took.push(started.elapsed());
    }
    println!("make a directory: {:.2} ms", median(took));
    for at_once in [1, 16] {
        files_into_one(&client, 400, at_once).await?;
    }
    for entries in [5_000, large] {
        add_and_list(&client, &dir, entries).await?;
    }
    client.close().await;
    Ok(())
}

async fn files_into_one(client: &Client, count: usize, at_once: usize) -> Outcome<()> {
    let cap = writer(&client.make_directory().await?);
    let mut noise = vec![0; SIZE * count];
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut noise);
    let noise = bytes::Bytes::from(noise);
    let started = Instant::now();
    let permits = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for index in 0..count {
        let permit = permits.clone().acquire_owned().await?;
        let (client, cap) = (client.clone(), cap.clone());
        let file = noise.slice(index * SIZE..(index + 1) * SIZE);
        tasks.spawn(async move {
            let report = client.put(Source::bytes(file), PutOptions::default()).await?;
            add(&client, &cap, &format!("file {index}"), Child::new(report.cap, None)?).await?;
            drop(permit);
            Outcome::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    println!("{count} files of {SIZE} B into one directory, {at_once} at once: {rate:.0} files/s");
    Ok(())
}

async fn add_and_list(client: &Client, dir: &str, entries: usize) -> Outcome<()> {
    let bytes = vec![7; 500];
    let cap = client.put(Source::bytes(bytes), PutOptions::default()).await?.cap;
    let child = Child::new(cap, None)?;
    let name = |index: usize| Name::new(&format!("entry {index:07}"));
    let mut children = Vec::new();
    for index in 0..entries {
        children.push((name(index * 2)?, child.clone()));
    }
    let started = Instant::now();
    let directory = client.make_directory_with(children).await?;
    println!("make a directory of {entries} entries: {:.2} s", started.elapsed().as_secs_f64());
    // For looking at it with the program.
    eprintln!("{}", directory.cap());
    let cap = writer(&directory);
    let mut took = Vec::new();
    let adding = Instant::now();
    for step in 0..200 {
        let index = (step * 7919) % entries * 2 + 1;
        let started = Instant::now();
        add(client, &cap, name(index)?.as_str(), child.clone()).await?;
        took.push(started.elapsed());
    }
    let mean = adding.elapsed().as_secs_f64() * 1000.0 / 200.0;
    let worst = took.iter().max().copied().unwrap_or_default();
    println!("add to {entries}: median {:.2} ms, mean {mean:.2}, worst {:.1}", median(took), millis(worst));
    let started = Instant::now();
    let listed = client.open_directory(directory.cap()).await?.list().await?.len();
    println!("list {listed}, nodes in memory: {:.3} s", started.elapsed().as_secs_f64());
    let stranger = Client::open(dir.as_ref())?;
    stranger.refresh().await;
    let started = Instant::now();
    let listed = stranger.open_directory(directory.cap()).await?.list().await?.len();
    println!("list {listed}, from another client: {:.3} s", started.elapsed().as_secs_f64());
    stranger.close().await;
    Ok(())
}

async fn add(client: &Client, cap: &SlotWrite, name: &str, child: Child) -> Outcome<()> {
    let link = DirEdit::Link { name: Name::new(name)?, child: Box::new(child), replace: Replace::OnlyFiles };
    client.edit_entry(cap, link).await?;
    Ok(())
}

fn writer(child: &Child) -> SlotWrite {
    match child.cap() {
        Cap::SlotWrite(cap) => cap.clone(),
        _ => unreachable!("a new directory may be written"),
    }
}

fn median(mut took: Vec<Duration>) -> f64 {
    took.sort();
    millis(took[took.len() / 2])
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
