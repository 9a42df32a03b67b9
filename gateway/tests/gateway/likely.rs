//! Files that are stored where a directory had room for them when this gateway last saw it, and somebody else has changed it since.

use axum::body::Body;
use caps::{Cap, SlotWrite};
use client::filestore::{Child, DirEdit, Replace};
use client::{Client, PutOptions, Source};
use encoding::directory::{Metadata, Name};
use testkit::grid::SimGrid;

use crate::common::Site;

/// A site, another client of its grid, and a directory that the gateway saw while it was empty.
async fn begin(seed: u64) -> (Site, Client, String, SlotWrite) {
    let mut site = Site::start(seed).await;
    let grid: &mut SimGrid = &mut site.grid;
    let theirs = grid.client("3/7/10").await;
    let dir = site.mkdir().await;
    site.get(&format!("/uri/{dir}?t=json")).await.ok();
    let Ok(Cap::SlotWrite(writer)) = dir.parse() else { panic!("no write cap: {dir}") };
    (site, theirs, dir, writer)
}

async fn link(client: &Client, dir: &SlotWrite, child: Child) {
    let name = Name::new("f").unwrap();
    let edit = DirEdit::Link { name, child: Box::new(child), replace: Replace::Yes };
    client.edit_entry(dir, edit).await.unwrap();
}

async fn put(site: &Site, dir: &str, text: &str) -> crate::common::Answer {
    site.ask("PUT", &format!("/uri/{dir}/f"), &[], Body::from(text.to_owned())).await
}

async fn mutable(client: &Client) -> Child {
    client.make_mutable(Source::bytes(b"theirs".to_vec()), PutOptions::default()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_mutable_file_that_came_there_is_written_over() {
    let (site, theirs, dir, writer) = begin(41).await;
    let file = mutable(&theirs).await;
    let cap = file.cap().to_string();
    link(&theirs, &writer, file).await;
    assert_eq!(put(&site, &dir, "ours").await.is(200).text(), cap);
    assert_eq!(site.get(&format!("/uri/{cap}")).await.text(), "ours");
    // The next one knows it is there.
    assert_eq!(put(&site, &dir, "again").await.is(200).text(), cap);
    assert_eq!(site.get(&format!("/uri/{dir}/f")).await.text(), "again");
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_came_there_stays() {
    let (site, theirs, dir, writer) = begin(42).await;
    let child = theirs.make_directory().await.unwrap();
    let cap = child.cap().to_string();
    link(&theirs, &writer, child).await;
    put(&site, &dir, "ours").await.is(409);
    assert_eq!(site.get(&format!("/uri/{dir}/f?t=uri")).await.text(), cap);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_came_there_is_replaced_and_the_answer_says_so() {
    let (site, theirs, dir, writer) = begin(43).await;
    let stored = theirs.put(Source::bytes(vec![7; 5000]), PutOptions::default()).await.unwrap();
    link(&theirs, &writer, Child::new(stored.cap, None).unwrap()).await;
    put(&site, &dir, "ours").await.is(200);
    assert_eq!(site.get(&format!("/uri/{dir}/f")).await.text(), "ours");
    // And one that went since is made anew.
    let unlink = DirEdit::Unlink { name: Name::new("f").unwrap(), only: None };
    theirs.edit_entry(&writer, unlink).await.unwrap();
    put(&site, &dir, "once more").await.is(201);
}

#[tokio::test(start_paused = true)]
async fn where_a_directory_was_moved_away_nothing_goes_after_it() {
    let (site, theirs, dir, writer) = begin(44).await;
    site.ask("POST", &format!("/uri/{dir}?t=mkdir&name=f"), &[], Body::empty()).await.ok();
    let below = site.get(&format!("/uri/{dir}/f?t=uri")).await.text();
    let path = format!("/uri/{dir}/f/x");
    site.ask("PUT", &path, &[], Body::from("one")).await.is(201);
    link(&theirs, &writer, theirs.make_directory().await.unwrap()).await;
    site.ask("PUT", &path, &[], Body::from("two")).await.is(201);
    assert_eq!(site.get(&path).await.text(), "two");
    assert_eq!(site.get(&format!("/uri/{below}/x")).await.text(), "one");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_said_of_a_file_since_is_kept() {
    let (site, theirs, dir, writer) = begin(45).await;
    put(&site, &dir, "one").await.is(201);
    site.get(&format!("/uri/{dir}/f")).await.ok();
    let cap = site.get(&format!("/uri/{dir}/f?t=uri")).await.text();
    let metadata = Metadata { mode: Some(0o100_750), ..Metadata::default() };
    link(&theirs, &writer, Child::new(cap.parse().unwrap(), None).unwrap().with(metadata)).await;
    put(&site, &dir, "two").await.is(200);
    let view = theirs.open_directory(&dir.parse().unwrap()).await.unwrap();
    let entry = view.get(&Name::new("f").unwrap()).await.unwrap().unwrap();
    assert_eq!(entry.metadata.mode, Some(0o100_750));
    assert_eq!(site.get(&format!("/uri/{dir}/f")).await.text(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_way_through_one_directory_again_and_again_has_a_bound() {
    let (site, theirs, dir, writer) = begin(46).await;
    let itself = Child::new(dir.parse().unwrap(), None).unwrap();
    link(&theirs, &writer, itself).await;
    let path = |depth: usize| format!("/uri/{dir}{}?t=uri", "/f".repeat(depth));
    for depth in [1, 60, 200, 1024] {
        assert_eq!(site.get(&path(depth)).await.is(200).text(), dir, "{depth}");
    }
    site.get(&path(1025)).await.is(400);
}
