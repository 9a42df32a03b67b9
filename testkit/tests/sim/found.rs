//! What was found wrong, each told by itself.

use client::Client;
use client::slot::{EditError, Freshness, SlotError};
use encoding::Sections;
use testkit::grid::SimGrid;
use testkit::net::Link;

use crate::history::{servers_of, simulate};
use crate::plan::{SECOND, timeouts};
use crate::worker::{Add, ids};

fn slow() -> Link {
    Link { latency: SECOND / 5..=SECOND / 4, ..Link::default() }
}

async fn stranger(grid: &mut SimGrid) -> Client {
    grid.client_with("1/3/4", timeouts()).await
}

/// Cuts off the client `label` from all servers but the first.
fn cut(grid: &SimGrid, label: &str) {
    let host = grid.client_host(label);
    grid.servers[1..].iter().for_each(|server| grid.net.partition(host, server.key.id()));
}

/// A store that says it holds "the same" means what the reader had when it asked. Taken for what another store showed meanwhile, it confirmed
/// a record that a single store held.
#[test]
fn the_same_means_what_was_known_when_it_was_asked() {
    simulate(async {
        let mut grid = SimGrid::start(1, 4).await;
        let writer = stranger(&mut grid).await;
        let (reader, other) = (stranger(&mut grid).await, stranger(&mut grid).await);
        let cap = writer.create_slot(false, |_, _| Sections::default()).await.unwrap().cap;
        writer.edit_slot(&cap, &mut Add { id: 1, picky: false }).await.unwrap();
        reader.read_slot(&cap.to_read()).await.unwrap();
        // A change that reaches the first store alone.
        cut(&grid, "client1");
        let sent = writer.edit_slot(&cap, &mut Add { id: 2, picky: false }).await;
        assert!(matches!(sent, Err(EditError::Slot(SlotError::Unknown { accepted: 1, .. }))), "{sent:?}");
        // The others answer later, and what the reader sends on does not come through.
        (1..4).for_each(|index| grid.net.set_host_link(grid.servers[index].key.id(), slow()));
        let reading = tokio::time::timeout(SECOND / 2, reader.read_slot(&cap.to_read())).await;
        if let Ok(Ok(view)) = reading {
            let holders = 1;
            assert!(
                view.freshness == Freshness::NewestSeen,
                "confirmed by {holders}: {:?}",
                ids(&view.sections)
            );
        }
        grid.net.reset_links();
        let view = other.read_slot(&cap.to_read()).await.unwrap();
        let (record, _) = other.slot_record(&cap.to_read()).await.unwrap();
        assert_eq!((view.freshness, servers_of(&grid, &record).len()), (Freshness::Confirmed, 4));
    });
}
