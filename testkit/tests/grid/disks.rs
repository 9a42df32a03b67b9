//! Disks that rot, fill up and fail under servers: readers never get wrong bytes.

use client::{Source, UploadError};
use testkit::disk::{Faults, Survival};
use testkit::grid::{DISK, SimGrid};
use tokio::time::sleep;

use crate::support::{
    SECOND, TWO_SEGMENTS, failed, get, holder, noise, only_blames, put, put_slowly, reads_back, stream_of,
    whole, within,
};

#[tokio::test(start_paused = true)]
async fn rotten_bits_never_reach_a_reader() {
    for size in [4096, 100_000, TWO_SEGMENTS] {
        let data = noise(21, size);
        let mut grid = SimGrid::start(21, 10).await;
        let report = put(&grid.client("3/7/10").await, &data).await.unwrap();
        let rotten = holder(&grid, &report, 0);
        let disk = grid.servers[rotten].disk.clone();
        let whole = disk.image();
        for (path, len) in disk.files() {
            // Everywhere in a share; the index is large, and mostly empty.
            let offsets =
                (0..12).map(|step| step * len / 12 + step * 7 % 13).chain([len - 1, len.saturating_sub(100)]);
            for at in offsets {
                grid.kill(rotten);
                disk.restore(&whole);
                disk.flip(&path, at as usize);
                // A store that does not open for what was done to it is a dead one.
                let opened = grid.restart(rotten).await.is_ok();
                assert!(opened || path == "identity" || path == "index.redb", "{path} {at}");
                let client = grid.client("3/7/10").await;
                let got = reads_back(&client, &report.cap, &data).await;
                if !got.complaints.is_empty() {
                    only_blames(&grid, &got.complaints, rotten, got.complaints.iter().any(|c| c.corrupt));
                }
                let in_share = path.starts_with("shares/") && at < len * 9 / 10;
                assert!(
                    !in_share || got.complaints.iter().any(|c| c.corrupt),
                    "{path} {at}: {:?}",
                    got.complaints
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_read() {
    for size in [4096, TWO_SEGMENTS] {
        let data = noise(22, size);
        let mut grid = SimGrid::start(22, 10).await;
        let report = put(&grid.client("3/7/10").await, &data).await.unwrap();
        let bad = holder(&grid, &report, 0);
        grid.servers[bad].disk.set_faults(Faults { reads_fail: true, ..Faults::default() });
        let client = grid.client("3/7/10").await;
        let got = within(SECOND, reads_back(&client, &report.cap, &data)).await;
        if !got.complaints.is_empty() {
            only_blames(&grid, &got.complaints, bad, false);
        }
        // While it is read.
        let reader = grid.client("3/7/10").await.open_object(&report.cap).await.unwrap();
        for number in 0..7 {
            let disk = &grid.servers[holder(&grid, &report, number)].disk;
            disk.set_faults(Faults { reads_fail: true, ..Faults::default() });
        }
        let mut bytes = Vec::new();
        within(SECOND * 5, reader.read_into(&mut bytes, client::GetOptions::default())).await.unwrap();
        assert!(bytes == data);
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_fills_up_in_the_middle() {
    let data = noise(23, 3_500_000);
    for stream in [false, true] {
        let mut grid = SimGrid::start(23, 10).await;
        let client = grid.client("3/7/10").await;
        let source = if stream { stream_of(&data) } else { Source::bytes(data.clone()) };
        let putting = client.clone();
        let task = tokio::spawn(async move { put_slowly(&putting, source, whole(3_500_000) / 4).await });
        sleep(SECOND * 2).await;
        grid.servers[6].disk.set_capacity(0);
        let report = within(SECOND * 10, task).await.unwrap().unwrap();
        assert_eq!(failed(&grid, &report.failures), [6], "{:?}", report.failures);
        assert!(report.failures[0].reason.starts_with("no space"), "{}", report.failures[0].reason);
        assert_eq!((report.shares.len(), report.happiness), (if stream { 9 } else { 10 }, 9));
        reads_back(&client, &report.cap, &data).await;
        // With room again it takes shares again, without a restart.
        grid.servers[6].disk.set_capacity(DISK);
        let report = within(SECOND * 10, put(&grid.client("3/7/10").await, &noise(24, 5000))).await.unwrap();
        assert_eq!(report.happiness, 10, "{:?}", report.failures);
    }
}

#[tokio::test(start_paused = true)]
async fn syncs_fail_on_four_servers() {
    let data = noise(25, TWO_SEGMENTS);
    let mut grid = SimGrid::start(25, 10).await;
    let client = grid.client("3/7/10").await;
    for index in [1, 3, 5, 7] {
        grid.servers[index].disk.set_faults(Faults { failing_sync: Some(1), ..Faults::default() });
    }
    let error = within(SECOND * 30, put(&client, &data)).await.unwrap_err();
    let UploadError::NotHappy { happiness: 6, wanted: 7, failures } = error else { panic!("{error}") };
    assert!([1, 3, 5, 7].iter().all(|index| failed(&grid, &failures).contains(index)), "{failures:?}");
    // Fenced stores still serve, and take shares again once they are opened anew.
    for index in [1, 3, 5, 7] {
        grid.crash(index, Survival::Nothing);
        grid.restart(index).await.unwrap();
    }
    let report = within(SECOND * 5, put(&grid.client("3/7/10").await, &data)).await.unwrap();
    assert_eq!(report.happiness, 10);
    let reader = grid.client("3/7/10").await;
    assert!(get(&reader, &report.cap).await.unwrap().0 == data);
}

#[tokio::test(start_paused = true)]
async fn a_store_without_its_index_is_rebuilt() {
    for size in [4096, TWO_SEGMENTS] {
        let data = noise(26, size);
        let mut grid = SimGrid::start(26, 3).await;
        let report = put(&grid.client("3/3/3").await, &data).await.unwrap();
        for index in 0..3 {
            grid.kill(index);
            storage_server::Disk::remove(&grid.servers[index].disk, "index.redb").unwrap();
            grid.restart(index).await.unwrap();
        }
        reads_back(&grid.client("3/3/3").await, &report.cap, &data).await;
    }
}
