//! What is told of a change while few stores hold what was sent before: nothing that may turn out untrue.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::filestore::{DirEdit, FileStoreError, Refusal};
use client::slot::{Edit, EditError, Freshness, SlotBase};
use encoding::Sections;
use encoding::directory::SlotContent;
use testkit::grid::SimGrid;

use crate::by_hand::{FOUR, Slot, deafen, quicken};
use crate::filestore::{file, link, name, names, writer};
use crate::slots::{Add, add, create, read};
use crate::support::{SECOND, simulate, within};

/// Longer than a client takes to ask all members, shorter than it waits for one: nothing has failed yet.
const CANCELLED_AFTER: Duration = Duration::from_secs(3);

/// Adds the second byte where the first is, and refuses elsewhere.
struct After(u8, u8);

/// Adds the second byte where the first is not, and refuses elsewhere.
struct Without(u8, u8);

#[derive(Debug, PartialEq, Eq)]
struct Unwanted;

impl Edit for After {
    type Refusal = Unwanted;

    async fn apply(&mut self, base: &SlotBase) -> Result<Option<Sections>, Unwanted> {
        if !base.sections.a.contains(&self.0) {
            return Err(Unwanted);
        }
        Ok(Add(self.1).apply(base).await.unwrap())
    }
}

impl Edit for Without {
    type Refusal = Unwanted;

    async fn apply(&mut self, base: &SlotBase) -> Result<Option<Sections>, Unwanted> {
        if base.sections.a.contains(&self.0) {
            return Err(Unwanted);
        }
        Ok(Add(self.1).apply(base).await.unwrap())
    }
}

/// Takes an entry out of a directory, and is cancelled where a batch would go on by itself.
struct TakeOut(&'static str);

impl Edit for TakeOut {
    type Refusal = Unwanted;

    async fn apply(&mut self, base: &SlotBase) -> Result<Option<Sections>, Unwanted> {
        let mut directory = SlotContent::parse(&base.sections).unwrap().into_directory().unwrap();
        directory.edits.remove(&name(self.0)).unwrap();
        Ok(Some(SlotContent::Directory(directory).to_sections()))
    }
}

/// A change that reaches server 0 alone, and whose writer waits for it no longer.
async fn half_sent<T>(grid: &SimGrid, deaf: &AtomicBool, slot: &Slot, work: impl Future<Output = T>) {
    quicken(grid, 0);
    deaf.store(true, Ordering::Relaxed);
    assert!(tokio::time::timeout(CANCELLED_AFTER, work).await.is_err(), "nobody answered but one");
    let first = slot.held(grid, 0).await;
    for server in 1..4 {
        assert!(slot.held(grid, server).await < first, "server {server}");
    }
    deaf.store(false, Ordering::Relaxed);
}

/// The same process asks for something that the others' state refuses, while the one that holds its change is away.
#[test]
fn a_refusal_is_told_once_nothing_sent_before_can_come_to_pass() {
    simulate(async {
        let mut grid = SimGrid::start(30, 4).await;
        let deaf = deafen(&grid, 1..4);
        let writer = grid.client(FOUR).await;
        let cap = create(&writer).await;
        add(&writer, &cap, 1).await.unwrap();
        half_sent(&grid, &deaf, &Slot::of(&writer, &cap).await, writer.edit_slot(&cap, &mut Add(2))).await;
        grid.kill(0);
        let refused = within(SECOND * 90, writer.edit_slot(&cap, &mut After(2, 3))).await;
        assert!(matches!(refused, Err(EditError::Refused(Unwanted))), "{refused:?}");
        grid.restart(0).await.unwrap();
        let other = grid.client(FOUR).await;
        add(&other, &cap, 4).await.unwrap();
        let seen = read(&other, &cap.to_read()).await;
        assert_eq!(
            seen,
            (vec![1, 4], Freshness::Confirmed),
            "2 came to pass after it was told that it is not there"
        );
    });
}

#[test]
fn a_batch_is_refused_once_nothing_sent_before_can_come_to_pass() {
    simulate(async {
        let mut grid = SimGrid::start(31, 4).await;
        let deaf = deafen(&grid, 1..4);
        let client = grid.client(FOUR).await;
        let child = file(&client, b"child").await;
        let top = client.make_directory_with(vec![(name("x"), child.clone())]).await.unwrap();
        let cap = writer(&top);
        half_sent(&grid, &deaf, &Slot::of(&client, &cap).await, client.edit_slot(&cap, &mut TakeOut("x")))
            .await;
        grid.kill(0);
        let another = file(&client, b"another").await;
        let refused = within(SECOND * 90, client.edit_entry(&cap, link("x", &another))).await;
        assert!(matches!(refused, Err(FileStoreError::Refused(Refusal::Exists { .. }))), "{refused:?}");
        grid.restart(0).await.unwrap();
        let other = grid.client(FOUR).await;
        within(SECOND * 90, other.edit_entry(&cap, link("y", &child))).await.unwrap();
        assert_eq!(names(&other, top.cap()).await, ["x", "y"], "x went after it was told that it is there");
    });
}

/// Another process is refused by a change that one store alone shows: it makes it true before it says so.
#[test]
fn what_refuses_is_chosen_before_it_is_told() {
    simulate(async {
        let mut grid = SimGrid::start(32, 4).await;
        let deaf = deafen(&grid, 1..4);
        let (writer, other) = (grid.client(FOUR).await, grid.client(FOUR).await);
        let cap = create(&writer).await;
        add(&other, &cap, 1).await.unwrap();
        half_sent(&grid, &deaf, &Slot::of(&writer, &cap).await, writer.edit_slot(&cap, &mut Add(2))).await;
        let refused = within(SECOND * 90, other.edit_slot(&cap, &mut Without(2, 3))).await;
        assert!(matches!(refused, Err(EditError::Refused(Unwanted))), "{refused:?}");
        // The store that had it first is lost for good.
        grid.kill(0);
        let seen = read(&grid.client(FOUR).await, &cap.to_read()).await;
        assert_eq!(seen, (vec![1, 2], Freshness::Confirmed));
    });
}

#[test]
fn what_refuses_a_batch_is_chosen_before_it_is_told() {
    simulate(async {
        let mut grid = SimGrid::start(33, 4).await;
        let deaf = deafen(&grid, 1..4);
        let (client, other) = (grid.client(FOUR).await, grid.client(FOUR).await);
        let child = file(&client, b"child").await;
        let top = client.make_directory_with(vec![(name("x"), child.clone())]).await.unwrap();
        let cap = writer(&top);
        assert_eq!(names(&other, top.cap()).await, ["x"]);
        half_sent(&grid, &deaf, &Slot::of(&client, &cap).await, client.edit_slot(&cap, &mut TakeOut("x")))
            .await;
        let unlink = DirEdit::Unlink { name: name("x"), only: None };
        let refused = within(SECOND * 90, other.edit_entry(&cap, unlink)).await;
        assert!(matches!(refused, Err(FileStoreError::Refused(Refusal::NoEntry { .. }))), "{refused:?}");
        grid.kill(0);
        let stranger = grid.client(FOUR).await;
        assert_eq!(names(&stranger, top.cap()).await, [""; 0], "x is back after it was told that it is gone");
    });
}
