//! Paths that are guessed from what a client saw last, and confirmed while they are followed.

use std::sync::Mutex;
use std::time::Duration;

use client::Client;
use client::filestore::{Child, DirEdit, Replace, Target};
use client::slot::Freshness;
use encoding::directory::Name;
use testkit::grid::SimGrid;
use tokio::time::Instant;

use crate::filestore::{file, link, name, writer};
use crate::slots::{add, create, read};
use crate::support::{get, simulate, within};

/// What a path leads to, with what was looked at on the way.
async fn follow(client: &Client, root: &Child, names: &[Name]) -> (Vec<u8>, usize) {
    let looked_at = Mutex::new(0);
    let fetch = async |target: Target| {
        *looked_at.lock().unwrap() += 1;
        get(client, &target.cap).await.unwrap().0
    };
    let (_, bytes) = client.resolve_and(root.cap(), names, fetch).await.unwrap();
    (bytes, looked_at.into_inner().unwrap())
}

/// `top/below/f`
async fn tree(client: &Client) -> (Child, Child, Vec<Name>) {
    let (top, below) = (client.make_directory().await.unwrap(), client.make_directory().await.unwrap());
    client.edit_entry(&writer(&top), link("below", &below)).await.unwrap();
    client.edit_entry(&writer(&below), link("f", &file(client, b"first").await)).await.unwrap();
    (top, below, vec![name("below"), name("f")])
}

fn replace(text: &str, child: Child) -> DirEdit {
    DirEdit::Link { name: name(text), child: Box::new(child), replace: Replace::Yes }
}

#[test]
fn what_has_changed_since_the_last_look_is_read_as_it_is_now() {
    simulate(async {
        let mut grid = SimGrid::start(21, 10).await;
        let (ours, theirs) = (grid.client("3/7/10").await, grid.client("3/7/10").await);
        let (top, below, path) = tree(&theirs).await;
        assert_eq!(follow(&ours, &top, &path).await, (b"first".to_vec(), 1), "nothing was known");
        assert_eq!(follow(&ours, &top, &path).await, (b"first".to_vec(), 1), "the guess was right");

        theirs.edit_entry(&writer(&below), replace("f", file(&theirs, b"second").await)).await.unwrap();
        assert_eq!(follow(&ours, &top, &path).await, (b"second".to_vec(), 2), "the guess was wrong");
        assert_eq!(follow(&ours, &top, &path).await, (b"second".to_vec(), 1));

        // Another directory in the place of the one above, which itself did not change.
        let other = theirs.make_directory().await.unwrap();
        theirs.edit_entry(&writer(&other), link("f", &file(&theirs, b"third").await)).await.unwrap();
        theirs.edit_entry(&writer(&top), replace("below", other)).await.unwrap();
        assert_eq!(follow(&ours, &top, &path).await, (b"third".to_vec(), 2));

        theirs.edit_entry(&writer(&top), DirEdit::Unlink { name: name("below"), only: None }).await.unwrap();
        let gone = ours.resolve_and(top.cap(), &path, async |_| ()).await;
        assert!(matches!(gone, Err(client::filestore::FileStoreError::NoEntry { .. })));
    });
}

#[test]
fn a_guess_that_no_quorum_confirms_is_not_followed() {
    simulate(async {
        let mut grid = SimGrid::start(24, 10).await;
        let (ours, theirs) = (grid.client("3/7/10").await, grid.client("3/7/10").await);
        let (top, _, path) = tree(&theirs).await;
        follow(&ours, &top, &path).await;
        // The newest that is seen is read all the same, step by step.
        (0..4).for_each(|index| grid.kill(index));
        assert_eq!(follow(&ours, &top, &path).await, (b"first".to_vec(), 2));
    });
}

#[test]
fn a_place_in_what_never_changes_is_no_place_for_a_change() {
    simulate(async {
        let mut grid = SimGrid::start(25, 10).await;
        let client = grid.client("3/7/10").await;
        let leaf = file(&client, &[1; 5000]).await;
        let fixed = client.make_immutable(vec![(name("f"), leaf.clone()), (name("g"), leaf)]).await.unwrap();
        let top = client.make_directory().await.unwrap();
        client.edit_entry(&writer(&top), link("fixed", &fixed)).await.unwrap();
        client.open_directory(top.cap()).await.unwrap();
        assert!(client.likely_place(top.cap(), &[name("fixed"), name("x")]).await.is_none());
        assert!(client.likely_place(top.cap(), &[name("x")]).await.is_some());
    });
}

#[test]
fn a_place_that_the_directories_above_no_longer_lead_to_is_not_likely() {
    simulate(async {
        let mut grid = SimGrid::start(22, 10).await;
        let (ours, theirs) = (grid.client("3/7/10").await, grid.client("3/7/10").await);
        let (top, _, path) = tree(&theirs).await;
        assert!(ours.likely_place(top.cap(), &path).await.is_none(), "nothing is known");
        follow(&ours, &top, &path).await;
        let likely = ours.likely_place(top.cap(), &path).await.unwrap();
        assert!(likely.place.entry.is_some());
        assert!(ours.confirm_above(&likely).await.unwrap());
        theirs
            .edit_entry(&writer(&top), replace("below", theirs.make_directory().await.unwrap()))
            .await
            .unwrap();
        assert!(!ours.confirm_above(&likely).await.unwrap());
    });
}

#[test]
fn a_read_asks_those_that_were_quick_and_soon_the_others() {
    simulate(async {
        let mut grid = SimGrid::start(23, 10).await;
        let (writer, reader) = (grid.client("3/7/10").await, grid.client("3/7/10").await);
        let cap = create(&writer).await;
        add(&writer, &cap, 1).await.unwrap();
        assert_eq!(read(&reader, &cap.to_read()).await, (vec![1], Freshness::Confirmed));
        // Whoever was asked, some of them are dead now: that costs a moment, and neither the answer nor its being sure.
        (0..3).for_each(|index| grid.kill(index));
        for _ in 0..3 {
            let begun = Instant::now();
            let seen = within(Duration::from_secs(1), read(&reader, &cap.to_read())).await;
            assert_eq!(seen, (vec![1], Freshness::Confirmed));
            assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
        }
        // And the few never hide what a quorum has.
        for byte in 2..6 {
            add(&writer, &cap, byte).await.unwrap();
            let (bytes, freshness) = read(&reader, &cap.to_read()).await;
            assert_eq!((bytes.len(), freshness), (usize::from(byte), Freshness::Confirmed));
        }
    });
}
