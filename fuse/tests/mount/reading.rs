//! What is fetched before it is asked for, and what is not fetched twice.

use std::path::Path;
use std::time::Duration;

use fuse::{Mount, Options};
use testkit::net::Link;
use tokio::time::Instant;

use crate::bed::{Bed, Paths, SECOND, noise};

async fn cached(bed: &Bed, dir: &Path, cache: u64) -> Mount {
    let journal = Some((dir.to_owned(), [7; 32]));
    bed.mount_with("here", Options { journal, cache, ..Options::default() }).await
}

/// How long it takes to read this on a narrow line.
async fn time_to_read(bed: &Bed, mount: &Mount, name: &str, expected: &[u8]) -> Duration {
    let narrow = Link { bytes_per_second: Some(50_000), ..Link::default() };
    for server in &bed.grid.servers {
        bed.grid.net.set_host_link(server.key.id(), narrow.clone());
    }
    let begun = Instant::now();
    assert!(mount.read_path(name).await.unwrap() == expected);
    bed.grid.net.reset_links();
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_on_disk_for_the_next_mount() {
    let bed = Bed::new(50).await;
    let dir = tempfile::tempdir().unwrap();
    let data = noise(1, 700_000);
    let mount = cached(&bed, dir.path(), 100_000_000).await;
    let ino = mount.write_file("f", &data).await.unwrap();
    mount.fsync(ino).await.unwrap();
    assert!(time_to_read(&bed, &mount, "f", &data).await > SECOND * 5);
    assert_eq!(mount.stop(SECOND).await, 0);
    drop(mount);
    let mount = cached(&bed, dir.path(), 100_000_000).await;
    assert!(time_to_read(&bed, &mount, "f", &data).await < SECOND);
    mount.stop(SECOND).await;
    drop(mount);
    let mount = cached(&bed, dir.path(), 0).await;
    assert!(time_to_read(&bed, &mount, "f", &data).await > SECOND * 5);
}

#[tokio::test(start_paused = true)]
async fn small_files_are_there_before_they_are_asked_for() {
    let bed = Bed::new(51).await;
    let writer = bed.mount("writer").await;
    writer.make_folder("many").await.unwrap();
    for number in 0..40_u8 {
        writer.write_file(&format!("many/{number:02}"), &noise(number, 20_000)).await.unwrap();
    }
    assert_eq!(writer.stop(SECOND * 20).await, 0);
    let mount = bed.mount("here").await;
    let far = Duration::from_millis(50);
    bed.grid.net.set_host_link(bed.grid.client_host("here"), Link { latency: far..=far, ..Link::default() });
    let begun = Instant::now();
    for number in 0..40_u8 {
        assert!(mount.read_path(&format!("many/{number:02}")).await.unwrap() == noise(number, 20_000));
    }
    // Opening asks the grid whether somebody changed it: one way and back. Reading would be another.
    let each = begun.elapsed() / 40;
    assert!(each < far * 3, "{each:?} for each file");
}
