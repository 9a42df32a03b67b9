//! `sarsen bench`: what each stage can do on this machine, what they allow together, and how near a real grid comes.

mod stages;

pub(crate) use stages::noise;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use client::download::BlockingSink;
use client::{GetOptions, PutOptions, Source};
use protocol::TokioPool;

use super::local_grid::LocalGrid;
use crate::cli::Bench;
use crate::out::say;
use stages::{Stage, Stages};

/// Servers of the grid that is measured.
const SERVERS: u16 = 10;

/// A whole transfer, beside what the stages allow.
struct Whole {
    name: &'static str,
    /// MB/s of the file.
    reached: f64,
    /// MB/s of the file that the stages allow on all cores together.
    allowed: f64,
}

pub(crate) async fn run(args: &Bench) -> anyhow::Result<()> {
    let json = args.json.json;
    ensure!(args.size.0 >= 1 << 20, "measure at least 1MiB");
    let folder = tempfile_in(args.storage.as_deref())?;
    let stages = Stages::measure(folder.path()).await?;
    if !json {
        print_stages(&stages)?;
    }
    let wholes = measure_grid(args, folder.path(), &stages).await?;
    if json {
        print_json(&stages, &wholes)?;
    } else {
        say!("")?;
        for whole in &wholes {
            let share = whole.reached / whole.allowed * 100.0;
            say!(
                "{:<34}{:>8.0} MB/s, {share:.0} % of the {:.0} MB/s that the stages allow",
                whole.name,
                whole.reached,
                whole.allowed
            )?;
        }
        say!(
            "\nThe stages run on one core each; the grid's {SERVERS} servers and the client share {} cores.",
            stages.cores
        )?;
    }
    Ok(())
}

fn tempfile_in(folder: Option<&std::path::Path>) -> anyhow::Result<super::local_grid::TempFolder> {
    let folder = folder.map_or_else(std::env::temp_dir, std::path::Path::to_owned);
    super::local_grid::TempFolder::new(&folder)
}

async fn measure_grid(args: &Bench, folder: &std::path::Path, stages: &Stages) -> anyhow::Result<Vec<Whole>> {
    let size = usize::try_from(args.size.0).context("that is too much for this machine")?;
    let mut grid = LocalGrid::start(&folder.join("grid"), SERVERS).await?;
    let client = grid.client().await?;
    let bytes = bytes::Bytes::from(stages::noise(size));
    let started = Instant::now();
    let report = client.put(Source::bytes(bytes), PutOptions::default()).await?;
    let put = rate(size, started.elapsed());
    let get = || async {
        let started = Instant::now();
        let mut sink = BlockingSink::new(std::io::sink(), std::sync::Arc::new(TokioPool));
        client.get(&report.cap, &mut sink, GetOptions::default()).await?;
        anyhow::Ok(rate(size, started.elapsed()))
    };
    let healthy = get().await?;
    for (_, server) in report.shares.iter().take(usize::from(SERVERS - 3)) {
        grid.kill(&server.id);
    }
    let degraded = get().await?;
    grid.stop().await;
    Ok(vec![
        Whole { name: "put, 3 of 10", reached: put, allowed: stages.put_allowed() },
        Whole { name: "get, all servers", reached: healthy, allowed: stages.get_allowed() },
        Whole {
            name: "get, 7 of 10 dead (decodes)",
            reached: degraded,
            allowed: stages.get_degraded_allowed(),
        },
    ])
}

fn rate(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64() / 1e6
}

fn print_stages(stages: &Stages) -> anyhow::Result<()> {
    say!("One core of this machine ({} there are), MB/s of what each stage works on:", stages.cores)?;
    for Stage { name, rate, .. } in stages.all() {
        say!("  {name:<32}{rate:>8.0}")?;
    }
    Ok(())
}

fn print_json(stages: &Stages, wholes: &[Whole]) -> anyhow::Result<()> {
    let list: Vec<_> = stages
        .all()
        .iter()
        .map(|stage| serde_json::json!({ "stage": stage.name, "mb_per_s": stage.rate }))
        .collect();
    let grid: Vec<_> = wholes
        .iter()
        .map(|whole| {
            serde_json::json!({ "work": whole.name, "mb_per_s": whole.reached, "allowed_mb_per_s": whole.allowed,
                                "share_reached": whole.reached / whole.allowed })
        })
        .collect();
    say!("{}", serde_json::json!({ "cores": stages.cores, "stages": list, "grid": grid }))
}
