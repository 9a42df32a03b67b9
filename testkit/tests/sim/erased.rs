//! The histories of the review in which a vote is erased, on 10 stores with q = 7: three may forget, and nothing acknowledged is lost.
//!
//! An expired lease erases nothing: leases on slots do not expire so far.

use caps::SlotWrite;
use client::Client;
use client::slot::Freshness;
use encoding::Sections;
use protocol::Random;
use storage_server::Store;
use testkit::disk::{DiskImage, Survival};
use testkit::grid::SimGrid;

use crate::history::simulate;
use crate::plan::{SECOND, timeouts};
use crate::worker::{Add, ids};

async fn add(client: &Client, cap: &SlotWrite, id: u64) {
    client.edit_slot(cap, &mut Add { id, picky: false }).await.unwrap();
}

async fn client(grid: &mut SimGrid) -> Client {
    grid.client_with("3/7/10", timeouts()).await
}

/// Servers 0, 1 and 2 took part in a change that 7, 8 and 9 missed; `erase` is given each of the former, and its disk of before. Then 3, 4
/// and 5 are away: of those that remember, one is left.
fn told(erase: impl AsyncFn(&mut SimGrid, usize, &DiskImage)) {
    simulate(async {
        let mut grid = SimGrid::start(30, 10).await;
        let writer = client(&mut grid).await;
        let cap = writer.create_slot(false, |_, _| Sections::default()).await.unwrap().cap;
        add(&writer, &cap, 1).await;
        tokio::time::sleep(SECOND).await;
        let images: Vec<DiskImage> = (0..3).map(|index| grid.servers[index].disk.image()).collect();
        (7..10).for_each(|index| grid.kill(index));
        add(&writer, &cap, 2).await;
        for (index, image) in images.iter().enumerate() {
            grid.crash(index, Survival::Everything);
            erase(&mut grid, index, image).await;
        }
        (3..6).for_each(|index| grid.kill(index));
        for index in 7..10 {
            grid.restart(index).await.unwrap();
        }
        tokio::time::sleep(SECOND * 3).await;
        // Whoever holds a verify cap puts old replicas back where there are none.
        let caretaker = client(&mut grid).await;
        caretaker.restore_slot(&cap.to_read().to_verify()).await.unwrap();
        let stranger = client(&mut grid).await;
        // It may have too few that count. What it must not do is to build on what was before the change.
        let third = stranger.edit_slot(&cap, &mut Add { id: 3, picky: false }).await;
        for index in 3..6 {
            grid.restart(index).await.unwrap();
        }
        tokio::time::sleep(SECOND * 3).await;
        let reader = client(&mut grid).await;
        add(&reader, &cap, 4).await;
        let view = reader.read_slot(&cap.to_read()).await.unwrap();
        let seen = ids(&view.sections);
        assert_eq!(view.freshness, Freshness::Confirmed);
        assert!(
            seen.starts_with(&[1, 2]) && seen.ends_with(&[4]),
            "an acknowledged change is lost: {seen:?}"
        );
        assert!(third.is_err() || seen.contains(&3), "an acknowledged change is lost: {seen:?}");
    });
}

#[test]
fn a_lost_disk_given_an_old_replica_back() {
    told(async |grid, index, _| {
        let disk = grid.servers[index].disk.clone();
        for (path, _) in disk.files() {
            disk.as_disk().remove(&path).unwrap();
        }
        let random = grid.random.fork(&format!("new disk {index}"));
        Store::init(&disk.as_disk(), &random as &dyn Random).unwrap();
        grid.restart(index).await.unwrap();
    });
}

#[test]
fn a_restored_image() {
    told(async |grid, index, image| {
        grid.servers[index].disk.restore(image);
        grid.restart(index).await.unwrap();
    });
}

#[test]
fn a_rebuilt_index() {
    told(async |grid, index, _| {
        grid.servers[index].disk.as_disk().remove("index.redb").unwrap();
        grid.restart(index).await.unwrap();
    });
}

/// The store goes to another server with all it promised: it is the member it was.
#[test]
fn a_moved_disk() {
    told(async |grid, index, _| {
        let moved = grid.add_server(None).await;
        grid.kill(moved);
        grid.servers[moved].disk = grid.servers[index].disk.clone();
        grid.restart(moved).await.unwrap();
    });
}
