//! Slots: racing writers, lost and forgetful members, readers that cannot confirm, membership, forced epochs, deletion.

use std::convert::Infallible;

use caps::{Cap, SlotRead, SlotWrite};
use client::slot::{Edit, EditError, Freshness, SlotBase, SlotError};
use client::{Client, Timeouts};
use encoding::Sections;
use encoding::slot::Member;
use testkit::disk::Survival;
use testkit::grid::SimGrid;

use crate::support::{SECOND, simulate, within};

/// Adds one byte to section A, unless it is there.
pub(crate) struct Add(pub(crate) u8);

impl Edit for Add {
    type Refusal = Infallible;

    async fn apply(&mut self, base: &SlotBase) -> Result<Option<Sections>, Infallible> {
        let mut sections = base.sections.clone();
        if sections.a.contains(&self.0) {
            return Ok(None);
        }
        sections.a.push(self.0);
        Ok(Some(sections))
    }
}

async fn create(client: &Client) -> SlotWrite {
    client.create_slot(false, |_, _| Sections::default()).await.unwrap().cap
}

async fn add(client: &Client, cap: &SlotWrite, byte: u8) -> Result<(), EditError<Infallible>> {
    within(SECOND * 90, client.edit_slot(cap, &mut Add(byte))).await.map(drop)
}

async fn read(client: &Client, cap: &SlotRead) -> (Vec<u8>, Freshness) {
    let view = within(SECOND * 90, client.read_slot(cap)).await.unwrap();
    let mut bytes = view.sections.a;
    bytes.sort_unstable();
    (bytes, view.freshness)
}

fn killed(grid: &mut SimGrid, servers: std::ops::Range<usize>) {
    servers.for_each(|index| grid.kill(index));
}

async fn revived(grid: &mut SimGrid, servers: std::ops::Range<usize>) {
    for index in servers {
        grid.restart(index).await.unwrap();
    }
}

#[test]
fn what_one_writes_all_read_and_a_strange_reader_finds_it() {
    simulate(async {
        let mut grid = SimGrid::start(1, 10).await;
        let (writer, reader) = (grid.client("3/7/10").await, grid.client("3/7/10").await);
        let cap = create(&writer).await;
        for byte in 1..=5 {
            add(&writer, &cap, byte).await.unwrap();
        }
        let seen = read(&reader, &cap.to_read()).await;
        assert_eq!(seen, (vec![1, 2, 3, 4, 5], Freshness::Confirmed));
        let text = Cap::SlotWrite(cap.clone()).to_string();
        let parsed: Cap = text.parse().unwrap();
        assert_eq!(parsed, Cap::SlotWrite(cap));
    });
}

#[test]
fn racing_writers_all_succeed() {
    simulate(async {
        let mut grid = SimGrid::start(2, 10).await;
        let first = grid.client("3/7/10").await;
        let cap = create(&first).await;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..6 {
            let (client, cap) = (grid.client("3/7/10").await, cap.clone());
            writers.spawn(async move {
                for byte in 0..8 {
                    add(&client, &cap, writer * 8 + byte).await.unwrap();
                }
            });
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
        assert_eq!(read(&first, &cap.to_read()).await, ((0..48).collect(), Freshness::Confirmed));
    });
}

#[test]
fn three_of_ten_may_be_away_and_the_fourth_stops_writing_but_not_reading() {
    simulate(async {
        let mut grid = SimGrid::start(3, 10).await;
        let writer = grid.client("3/7/10").await;
        let cap = create(&writer).await;
        killed(&mut grid, 0..3);
        add(&writer, &cap, 1).await.unwrap();
        assert_eq!(read(&writer, &cap.to_read()).await, (vec![1], Freshness::Confirmed));
        killed(&mut grid, 3..4);
        let refused = add(&writer, &cap, 2).await;
        assert!(
            matches!(
                refused,
                Err(EditError::Slot(
                    SlotError::TooFew { wanted: 7, .. } | SlotError::Unknown { wanted: 7, .. }
                ))
            ),
            "{refused:?}"
        );
        let stranger = grid.client("3/7/10").await;
        let (bytes, freshness) = read(&stranger, &cap.to_read()).await;
        assert_eq!((bytes.contains(&1), freshness), (true, Freshness::NewestSeen));
        revived(&mut grid, 0..4).await;
        tokio::time::sleep(SECOND * 60).await;
        writer.refresh().await;
        // The retry finds itself if the first attempt came to pass after all.
        add(&writer, &cap, 2).await.unwrap();
        assert_eq!(read(&writer, &cap.to_read()).await, (vec![1, 2], Freshness::Confirmed));
    });
}

#[test]
fn stores_restored_from_an_old_image_are_named_and_no_others() {
    simulate(async {
        let mut grid = SimGrid::start(4, 10).await;
        let writer = grid.client("3/7/10").await;
        let cap = create(&writer).await;
        add(&writer, &cap, 1).await.unwrap();
        tokio::time::sleep(SECOND).await;
        let images: Vec<_> = (0..3).map(|index| grid.servers[index].disk.image()).collect();
        // Behind, and no liar: away while the change was made.
        killed(&mut grid, 9..10);
        add(&writer, &cap, 2).await.unwrap();
        tokio::time::sleep(SECOND * 20).await;
        let rolled: Vec<_> =
            (0..3).map(|index| grid.servers[index].server().unwrap().stores()[0].id()).collect();
        for (index, image) in images.iter().enumerate() {
            grid.crash(index, Survival::Everything);
            grid.servers[index].disk.restore(image);
        }
        revived(&mut grid, 0..3).await;
        revived(&mut grid, 9..10).await;
        tokio::time::sleep(SECOND * 60).await;
        writer.refresh().await;
        let view = writer.read_slot(&cap.to_read()).await.unwrap();
        assert_eq!((view.sections.a, view.freshness), (vec![1, 2], Freshness::Confirmed));
        let named: Vec<_> = view.forgetful.iter().map(|one| one.store).collect();
        assert!(
            !named.is_empty() && named.iter().all(|store| rolled.contains(store)),
            "{:?}",
            view.forgetful
        );
        // Three may forget (2q-n-1), and an acknowledged change is still there for those who write next.
        let other = grid.client("3/7/10").await;
        add(&other, &cap, 3).await.unwrap();
        assert_eq!(read(&other, &cap.to_read()).await, (vec![1, 2, 3], Freshness::Confirmed));
    });
}

#[test]
fn a_store_that_lost_its_index_is_blank_and_erases_no_vote() {
    simulate(async {
        let mut grid = SimGrid::start(5, 4).await;
        let writer = grid.client("1/3/4").await;
        let cap = create(&writer).await;
        add(&writer, &cap, 1).await.unwrap();
        // The fourth store misses the second change.
        killed(&mut grid, 3..4);
        add(&writer, &cap, 2).await.unwrap();
        revived(&mut grid, 3..4).await;
        // One that took part loses its index and is given the old record back by an honest caretaker.
        grid.crash(0, Survival::Everything);
        let disk = grid.servers[0].disk.as_disk();
        disk.remove("index.redb").unwrap();
        grid.restart(0).await.unwrap();
        tokio::time::sleep(SECOND * 60).await;
        let stranger = grid.client("1/3/4").await;
        let health = stranger.restore_slot(&cap.to_read().to_verify()).await.unwrap();
        assert_eq!((health.holding.len(), health.kept.len()), (3, 1), "{health:?}");
        // Away with another: were the blank one to count, a quorum of three could leave out every store that has the second change.
        add(&stranger, &cap, 3).await.unwrap();
        assert_eq!(read(&stranger, &cap.to_read()).await, (vec![1, 2, 3], Freshness::Confirmed));
        killed(&mut grid, 1..2);
        // Sent under a promise made in advance, so that nobody knows; and then refused.
        for _ in 0..2 {
            let refused = stranger.edit_slot(&cap, &mut Add(3 + 1)).await;
            let few =
                matches!(refused, Err(EditError::Slot(SlotError::TooFew { .. } | SlotError::Unknown { .. })));
            assert!(few, "{refused:?}");
        }
        // Named anew by a change of members that was chosen without it, it counts again.
        revived(&mut grid, 1..2).await;
        tokio::time::sleep(SECOND * 60).await;
        stranger.refresh().await;
        let members: Vec<Member> =
            grid.servers.iter().map(|server| server.server().unwrap().stores()[0].member()).collect();
        let record = stranger.change_members(&cap, members, 3).await.unwrap();
        assert!(record.old.is_none());
        killed(&mut grid, 1..2);
        add(&stranger, &cap, 5).await.unwrap();
        let (bytes, freshness) = read(&stranger, &cap.to_read()).await;
        assert!([1, 2, 3, 5].iter().all(|byte| bytes.contains(byte)), "{bytes:?}");
        assert_eq!(freshness, Freshness::Confirmed);
    });
}

#[test]
fn a_client_with_an_old_record_is_led_on_to_the_new_members() {
    simulate(async {
        let mut grid = SimGrid::start(6, 8).await;
        let (writer, old) = (grid.client("1/3/4").await, grid.client("1/3/4").await);
        let cap = create(&writer).await;
        add(&old, &cap, 1).await.unwrap();
        let (record, _) = writer.slot_record(&cap.to_read()).await.unwrap();
        let members: Vec<Member> = grid
            .servers
            .iter()
            .map(|server| server.server().unwrap().stores()[0].member())
            .filter(|member| !record.names(&member.store))
            .collect();
        assert_eq!(members.len(), 4);
        writer.change_members(&cap, members, 3).await.unwrap();
        add(&writer, &cap, 2).await.unwrap();
        add(&old, &cap, 3).await.unwrap();
        let stranger = grid.client("1/3/4").await;
        assert_eq!(read(&stranger, &cap.to_read()).await, (vec![1, 2, 3], Freshness::Confirmed));
    });
}

#[test]
fn when_too_many_are_lost_for_good_an_epoch_is_forced() {
    simulate(async {
        let mut grid = SimGrid::start(7, 8).await;
        let writer = grid.client("1/3/4").await;
        let cap = create(&writer).await;
        add(&writer, &cap, 1).await.unwrap();
        tokio::time::sleep(SECOND).await;
        let (record, _) = writer.slot_record(&cap.to_read()).await.unwrap();
        let is_member: Vec<bool> = grid
            .servers
            .iter()
            .map(|server| record.names(&server.server().unwrap().stores()[0].member().store))
            .collect();
        let lost: Vec<usize> = (0..8).filter(|index| is_member[*index]).take(2).collect();
        lost.iter().for_each(|index| grid.kill(*index));
        let stuck = writer.edit_slot(&cap, &mut Add(2)).await;
        assert!(stuck.is_err());
        let live = (0..8).filter(|index| !lost.contains(index)).take(4);
        let members: Vec<Member> =
            live.map(|index| grid.servers[index].server().unwrap().stores()[0].member()).collect();
        writer.force_members(&cap, members, 3).await.unwrap();
        add(&writer, &cap, 3).await.unwrap();
        let stranger = grid.client("1/3/4").await;
        let (bytes, freshness) = read(&stranger, &cap.to_read()).await;
        assert!(bytes.contains(&1) && bytes.contains(&3));
        assert_eq!(freshness, Freshness::Confirmed);
    });
}

#[test]
fn a_deleted_slot_stays_deleted() {
    simulate(async {
        let mut grid = SimGrid::start(8, 10).await;
        let writer = grid.client("3/7/10").await;
        let cap = create(&writer).await;
        let image = grid.servers[0].disk.image();
        writer.delete_slot(&cap).await.unwrap();
        writer.delete_slot(&cap).await.unwrap();
        // A stale replica and a verify cap bring nothing back.
        grid.crash(0, Survival::Everything);
        grid.servers[0].disk.restore(&image);
        grid.restart(0).await.unwrap();
        let stranger = grid.client_with("3/7/10", Timeouts::default()).await;
        stranger.restore_slot(&cap.to_read().to_verify()).await.unwrap();
        assert!(matches!(stranger.read_slot(&cap.to_read()).await, Err(SlotError::Deleted)));
        assert!(matches!(
            stranger.edit_slot(&cap, &mut Add(1)).await,
            Err(EditError::Slot(SlotError::Deleted))
        ));
    });
}

#[test]
fn a_cap_that_nobody_has_is_not_found_and_too_few_servers_make_nothing() {
    simulate(async {
        let mut grid = SimGrid::start(9, 10).await;
        let writer = grid.client("3/7/10").await;
        let mut cap = create(&writer).await;
        cap.hash = caps::VerifyHash::new([9; 32]);
        let missing = writer.read_slot(&cap.to_read()).await;
        assert!(matches!(missing, Err(SlotError::NotFound { asked: 10, .. })), "{missing:?}");
        killed(&mut grid, 0..4);
        let made = writer.create_slot(false, |_, _| Sections::default()).await;
        assert!(matches!(made, Err(SlotError::NotHappy { live: 6, wanted: 7, .. })), "{made:?}");
    });
}

#[test]
fn one_copy_of_a_tombstone_deletes_nothing_until_a_quorum_holds_it() {
    simulate(async {
        let mut grid = SimGrid::start(10, 10).await;
        let (writer, other) = (grid.client("3/7/10").await, grid.client("3/7/10").await);
        let cap = create(&writer).await;
        add(&other, &cap, 1).await.unwrap();
        // Nine are away: the tombstone, sent under a promise made in advance, reaches one.
        add(&writer, &cap, 2).await.unwrap();
        killed(&mut grid, 1..10);
        assert!(writer.delete_slot(&cap).await.is_err());
        revived(&mut grid, 1..10).await;
        tokio::time::sleep(SECOND * 60).await;
        other.refresh().await;
        within(SECOND * 90, other.delete_slot(&cap)).await.unwrap();
        // Now it may lose the one that had it first.
        killed(&mut grid, 0..3);
        let stranger = grid.client("3/7/10").await;
        assert!(matches!(stranger.read_slot(&cap.to_read()).await, Err(SlotError::Deleted)));
    });
}

#[test]
fn a_cap_put_together_of_two_slots_writes_neither() {
    simulate(async {
        let mut grid = SimGrid::start(11, 10).await;
        let writer = grid.client("3/7/10").await;
        let (mine, theirs) = (create(&writer).await, create(&writer).await);
        let made_up = SlotWrite { key: mine.key.clone(), hash: theirs.hash, directory: false };
        for client in [&writer, &grid.client("3/7/10").await] {
            let refused = client.edit_slot(&made_up, &mut Add(1)).await;
            assert!(matches!(refused, Err(EditError::Slot(SlotError::WrongKey))), "{refused:?}");
        }
        add(&writer, &theirs, 2).await.unwrap();
        assert_eq!(read(&writer, &theirs.to_read()).await, (vec![2], Freshness::Confirmed));
    });
}
