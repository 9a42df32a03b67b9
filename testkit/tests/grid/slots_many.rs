//! Many slots at once: reads of the same server travel together.

use caps::VerifyHash;
use client::slot::Freshness;
use encoding::Sections;
use encoding::slot::SignedRecord;
use protocol::NodeId;
use protocol::message::{Bytes32, ErrorCode, Reply, Request};
use protocol::slot_message::{Held, SlotRead, SlotReads, SlotState, SlotStates};
use testkit::grid::SimGrid;
use tokio::task::JoinSet;

use crate::slots::{add, create, read};
use crate::support::session;

#[tokio::test(start_paused = true)]
async fn many_slots_are_read_in_few_messages_and_long_answers_end_early() {
    let mut grid = SimGrid::start(61, 1).await;
    let client = grid.client("1/1/1").await;
    let mut hashes = Vec::new();
    for _ in 0..20 {
        let long = |_: &_, _: &_| Sections { a: vec![7; 40_000], ..Sections::default() };
        let slot = client.create_slot(false, long).await.unwrap();
        hashes.push(Bytes32(*slot.cap.hash.as_bytes()));
    }
    let session = session(&grid, &grid.servers[0]).await;
    let read = |hash| SlotRead { hash, store: None, known: None, brief: false };
    let unknown = read(Bytes32([9; 32]));
    let elsewhere = SlotRead { store: Some(NodeId::new([9; 32])), ..unknown.clone() };
    let mut reads = vec![unknown, elsewhere];
    reads.extend(hashes.iter().map(|hash| read(*hash)));
    let mut answers = Vec::new();
    while answers.len() < reads.len() {
        let ask = Request::SlotReads(SlotReads { reads: reads[answers.len()..].to_vec() });
        let (SlotStates { states }, _) = session.request(&ask).await.unwrap();
        assert!((1..20).contains(&states.len()), "{}", states.len());
        answers.extend(states);
    }
    assert!(matches!(&answers[0], Reply::Ok(SlotState { held: Held::Nothing, .. })));
    assert!(matches!(&answers[1], Reply::Err(error) if error.code == ErrorCode::NotFound));
    for (hash, answer) in hashes.iter().zip(&answers[2..]) {
        let Reply::Ok(SlotState { held: Held::Record(record), .. }) = answer else { panic!("{answer:?}") };
        SignedRecord::parse(&VerifyHash::new(hash.0), &record.0).unwrap();
    }
    let none = Request::SlotReads(SlotReads { reads: Vec::new() });
    assert!(session.request::<SlotStates>(&none).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn slots_read_together_are_not_mixed_up() {
    let mut grid = SimGrid::start(62, 4).await;
    let (writer, reader) = (grid.client("1/3/4").await, grid.client("1/3/4").await);
    let mut caps = Vec::new();
    for byte in 0..100 {
        let cap = create(&writer).await;
        add(&writer, &cap, byte).await.unwrap();
        caps.push(cap);
    }
    // A server that answers nothing holds nobody up for long.
    grid.kill(3);
    let mut reading = JoinSet::new();
    for (byte, cap) in (0..).zip(caps) {
        let reader = reader.clone();
        reading.spawn(async move { (byte, read(&reader, &cap.to_read()).await) });
    }
    while let Some(done) = reading.join_next().await {
        let (byte, seen) = done.unwrap();
        assert_eq!(seen, (vec![byte], Freshness::Confirmed));
    }
}
