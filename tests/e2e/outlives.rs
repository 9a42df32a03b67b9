//! What the grid is for: the toolchain's own largest file and a thousand small ones outlive seven of ten servers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use caps::Cap;
use client::{Client, GetOptions, PutOptions, Source};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::grid::{Daemon, Grid, noise};

/// Small files stored by one process through the library, and by one process each through the command line.
const BY_LIBRARY: u64 = 1000;
const BY_COMMAND: u64 = 12;

#[test]
fn files_outlive_seven_of_ten_servers() {
    let mut grid = Grid::start(10, "3/7/10");
    let largest = largest_file(&toolchain());
    let large = grid.client.put(&largest);
    let by_command: Vec<String> =
        (0..BY_COMMAND).map(|seed| grid.client.put(&grid.file("small", seed, small_len(seed)))).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let by_library = runtime.block_on(put_all(&grid.client.dir));
    for victim in [9, 0, 4, 7, 2, 5, 1] {
        grid.servers[victim].kill();
    }
    let copy = grid.path("copy");
    grid.client.run(["get", &large, copy.to_str().unwrap()]).ok();
    let same = Command::new("cmp").args([&largest, &copy]).status().unwrap();
    assert!(same.success(), "{} differs", largest.display());
    for (seed, cap) in (0..).zip(&by_command) {
        assert!(grid.client.get(cap) == noise(seed, small_len(seed)), "file {seed}");
    }
    runtime.block_on(get_all(&grid.client.dir, by_library));
    assert_eq!(grid.client.connected(), 3);
    grid.servers.iter_mut().for_each(Daemon::kill);
}

fn toolchain() -> PathBuf {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let out = Command::new(rustc).args(["--print", "sysroot"]).output().unwrap();
    PathBuf::from(String::from_utf8(out.stdout).unwrap().trim())
}

fn largest_file(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    let mut largest = (0, PathBuf::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                largest = largest.max((entry.metadata().unwrap().len(), entry.path()));
            }
        }
    }
    assert!(largest.0 > 1 << 20, "a toolchain has large files");
    largest.1
}

/// Lengths on both sides of a literal's, and of what a server packs.
fn small_len(seed: u64) -> usize {
    (seed as usize * 37) % 9000
}

async fn put_all(dir: &Path) -> Vec<Cap> {
    let client = Client::open(dir).unwrap();
    client.refresh().await;
    let (mut tasks, room) = (JoinSet::new(), Arc::new(Semaphore::new(16)));
    for seed in 0..BY_LIBRARY {
        let (client, room) = (client.clone(), room.clone());
        tasks.spawn(async move {
            let _room = room.acquire().await.unwrap();
            let source = Source::bytes(noise(1_000_000 + seed, small_len(seed)));
            (seed, client.put(source, PutOptions::default()).await.unwrap().cap)
        });
    }
    let mut caps = tasks.join_all().await;
    caps.sort_by_key(|(seed, _)| *seed);
    client.close().await;
    caps.into_iter().map(|(_, cap)| cap).collect()
}

async fn get_all(dir: &Path, caps: Vec<Cap>) {
    let client = Client::open(dir).unwrap();
    let (mut tasks, room) = (JoinSet::new(), Arc::new(Semaphore::new(16)));
    for (seed, cap) in (0..).zip(caps) {
        let (client, room) = (client.clone(), room.clone());
        tasks.spawn(async move {
            let _room = room.acquire().await.unwrap();
            let mut bytes = Vec::new();
            client.get(&cap, &mut bytes, GetOptions::default()).await.unwrap();
            assert!(bytes == noise(1_000_000 + seed, small_len(seed)), "file {seed}");
        });
    }
    assert_eq!(tasks.join_all().await.len(), BY_LIBRARY as usize);
    client.close().await;
}
