//! `sarsen demo`: a whole grid in one process, and the story of a file that outlives most of it.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use client::{Client, GetOptions, PutOptions, PutReport, Source};

use super::local_grid::{LocalGrid, TempFolder};
use crate::cli::Demo;
use crate::out::say;
use crate::sizes::human;

/// Bytes of the file that the story is about.
const SIZE: usize = 20_000_000;

pub(crate) async fn run(args: &Demo) -> anyhow::Result<()> {
    let folder = TempFolder::new(&std::env::temp_dir())?;
    let told = tell(args, &folder);
    tokio::select! {
        told = told => told,
        () = super::server::told_to_stop() => Ok(()),
    }
}

async fn tell(args: &Demo, folder: &TempFolder) -> anyhow::Result<()> {
    say!("1. Start a grid: one introducer and {} storage servers, on real sockets and files", args.servers)?;
    say!("   in {}", folder.path().display())?;
    let mut grid = LocalGrid::start(folder.path(), args.servers).await?;
    let client = grid.client().await?;
    let shares = client.settings().shares;

    say!(
        "\n2. Put a file of {}: encrypt it, encode it into {} shares, spread them",
        human(SIZE as u64),
        shares.total
    )?;
    let (data, report) = put(&client).await?;
    for (number, server) in &report.shares {
        say!("   share {number:>2} -> {}", server.name())?;
    }
    say!(
        "   The read cap is the key, the address and the proof in one line. Whoever has it can read the file:"
    )?;
    say!("   {}", report.cap)?;

    say!("\n3. Put it again: the servers prove that they have it, and nothing is sent")?;
    let again = client.put(Source::bytes(data.clone()), PutOptions::default()).await?;
    ensure!(again.sent == 0 && again.cap == report.cap, "the second put sent {} bytes", again.sent);
    say!("   0 bytes of shares sent, the same cap")?;

    let dead = usize::from(shares.total - shares.needed);
    say!(
        "\n4. Kill {dead} of the {} servers, those that hold the file's plain data blocks among them",
        args.servers
    )?;
    for server in report.shares.values().take(dead) {
        if let Some(name) = grid.kill(&server.id) {
            say!("   {name} is gone")?;
        }
    }

    say!(
        "\n5. Get it back from the {} that are left: any {} shares do",
        args.servers as usize - dead,
        shares.needed
    )?;
    let started = Instant::now();
    let mut back = Vec::new();
    client.get(&report.cap, &mut back, GetOptions::default()).await?;
    ensure!(back == data, "the bytes are not the same");
    say!("   {} in {:.2} s, every byte the same", human(SIZE as u64), started.elapsed().as_secs_f64())?;
    if args.once {
        client.close().await;
        grid.stop().await;
        return Ok(());
    }
    say!("\nThe grid stays up until Ctrl-C. In another terminal:")?;
    say!("   export SARSEN_DIR={}", grid.client_dir()?.display())?;
    say!("   sarsen status")?;
    say!("   sarsen get {} copy", report.cap)?;
    std::future::pending().await
}

async fn put(client: &Client) -> anyhow::Result<(bytes::Bytes, PutReport)> {
    let data = bytes::Bytes::from(super::bench::noise(SIZE));
    let started = Instant::now();
    let report =
        client.put(Source::bytes(data.clone()), PutOptions::default()).await.context("the put failed")?;
    let took = started.elapsed().max(Duration::from_micros(1));
    say!(
        "   done in {:.2} s: {} of shares, durable on {} servers",
        took.as_secs_f64(),
        human(report.sent),
        report.happiness
    )?;
    Ok((data, report))
}
