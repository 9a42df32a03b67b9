//! Adds entries to one directory, one at a time, as one of several processes that race: `race CLIENT_DIR PREFIX COUNT DIRCAP`; without
//! DIRCAP it makes a directory and prints its write cap.

use std::time::{Duration, Instant};

use caps::Cap;
use client::Client;
use client::filestore::{Child, DirEdit, Replace};
use encoding::directory::Name;

// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: race CLIENT_DIR PREFIX COUNT [DIRCAP]";
    let (dir, prefix) = (args.next().ok_or(usage)?, args.next().ok_or(usage)?);
    let count: usize = args.next().ok_or(usage)?.parse()?;
    let client = Client::open(dir.as_ref())?;
    client.refresh().await;
    let Some(cap) = args.next() else {
        println!("{}", client.make_directory().await?.cap());
        client.close().await;
        return Ok(());
    };
    let Cap::SlotWrite(cap) = cap.parse()? else { return Err("that is no write cap".into()) };
    let child = Child::new("URI:LIT:nbswy3dp".parse()?, None)?;
    let (started, mut slowest) = (Instant::now(), Duration::ZERO);
    for number in 0..count {
        let began = Instant::now();
        let (name, child) = (Name::new(&format!("{prefix}{number}"))?, Box::new(child.clone()));
        client.edit_entry(&cap, DirEdit::Link { name, child, replace: Replace::No }).await?;
        slowest = slowest.max(began.elapsed());
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    println!("{prefix}: {rate:.1} entries/s, the slowest in {:.2} s", slowest.as_secs_f64());
    client.close().await;
    Ok(())
}
