//! An uploader that encodes wrongly: servers find nothing wrong, readers never get two files out of one cap, and nobody is accused.

use caps::{Cap, ImmutableRead};
use client::DownloadError;
use encoding::{
    ContentKey, DecodeError, EncodedObject, EncodedSegment, Kind, ObjectBuilder, ObjectId, Params,
    SegmentEncoder, block_root,
};
use protocol::message::{Bytes16, Bytes32, LeaseTerms, Put, PutDone, PutReply, Request};
use protocol::session::read_reply;
use testkit::grid::SimGrid;

use crate::support::{SECOND, get, noise, session, within};

/// Encodes `data` as 2-of-5 shares, spoiled.
fn encoded(
    data: &[u8],
    spoil: impl FnOnce(&mut Vec<EncodedSegment>),
) -> (ObjectId, EncodedObject, Vec<EncodedSegment>) {
    let params = Params::new(2, 5).unwrap();
    let hash = *blake3::hash(data).as_bytes();
    let id = ObjectId::convergent(&[3; 32], params, Kind::Direct, data.len() as u64, &hash);
    let mut encoder = SegmentEncoder::new(params);
    let pieces: Vec<&[u8]> = data.chunks(params.segment_data_len() as usize).collect();
    let mut segments: Vec<EncodedSegment> = (0..)
        .zip(&pieces)
        .map(|(index, piece)| {
            let last = index as usize + 1 == pieces.len();
            encoder.encode(&ContentKey::new(&id), index, piece, last).unwrap()
        })
        .collect();
    spoil(&mut segments);
    let mut builder = ObjectBuilder::new(params, Kind::Direct, &id);
    segments.iter().for_each(|segment| builder.add(segment).unwrap());
    let object = builder.finish(data.len() as u64, &hash).unwrap();
    (id, object, segments)
}

fn replace_block(segment: &mut EncodedSegment, number: usize, block: Vec<u8>) {
    segment.roots[number] = block_root(&block);
    segment.blocks[number] = block.into();
}

/// Stores share i on server i, by hand.
async fn store(grid: &SimGrid, object: &EncodedObject, segments: &[EncodedSegment]) {
    for (number, server) in (0..).zip(&grid.servers) {
        let session = session(grid, server).await;
        let put = Put {
            upload: Bytes16([6; 16]),
            number,
            store: server.server().unwrap().stores()[0].id(),
            block_len: encoding::BLOCK_LEN,
            len: Some(object.share_len(number)),
            expected: None,
            lease: LeaseTerms { tag: Bytes16([1; 16]), duration_s: None },
        };
        let mut stream = session.open(&Request::Put(put)).await.unwrap();
        assert_eq!(read_reply::<PutReply>(&mut stream).await.unwrap(), PutReply::Go(0));
        for segment in segments {
            stream.send.send(segment.blocks[usize::from(number)].clone()).await.unwrap();
        }
        stream.send.send(object.trailer(number)).await.unwrap();
        stream.send.finish().unwrap();
        let done: PutDone = read_reply(&mut stream).await.unwrap();
        assert_eq!(done.hash, Bytes32(*object.hash.as_bytes()), "the share certifies itself");
    }
}

fn cap_of(id: &ObjectId, object: &EncodedObject, size: usize) -> Cap {
    Cap::ImmutableRead(ImmutableRead {
        key: id.key.clone(),
        hash: object.hash,
        needed: 2,
        total: 5,
        size: size as u64,
        directory: false,
    })
}

/// What every pair of servers gives: the different files, how often the encoding was found inconsistent, how often a cell was bad.
async fn read_by_every_pair(
    data: &[u8],
    spoil: impl FnOnce(&mut Vec<EncodedSegment>),
) -> (Vec<Vec<u8>>, usize, usize) {
    let mut grid = SimGrid::start(40, 5).await;
    let (id, object, segments) = encoded(data, spoil);
    store(&grid, &object, &segments).await;
    let cap = cap_of(&id, &object, data.len());
    let (mut files, mut inconsistent, mut bad_cells) = (Vec::new(), 0, 0);
    for (one, other) in (0..5).flat_map(|one| (one + 1..5).map(move |other| (one, other))) {
        for index in (0..5).filter(|index| ![one, other].contains(index)) {
            grid.net.host_down(grid.servers[index].key.id());
        }
        let client = grid.client("2/2/5").await;
        let reader = client.open_object(&cap).await.unwrap();
        let mut bytes = Vec::new();
        let outcome = within(SECOND * 10, reader.read_into(&mut bytes, client::GetOptions::default())).await;
        assert!(reader.complaints().iter().all(|complaint| !complaint.corrupt), "{:?}", reader.complaints());
        match outcome {
            Ok(_) if !files.contains(&bytes) => files.push(bytes),
            Ok(_) => {}
            Err(DownloadError::Decode(DecodeError::InconsistentEncoding { .. })) => inconsistent += 1,
            Err(DownloadError::Decode(DecodeError::BadCell { .. })) => bad_cells += 1,
            Err(error) => panic!("servers {one} and {other}: {error}"),
        }
        // Small ranges of whichever file it is never differ either.
        if let Ok(piece) = reader.read(10..20).await {
            assert!(piece == data[10..20], "servers {one} and {other}");
        }
        grid.servers.iter().for_each(|server| grid.net.host_up(server.key.id()));
    }
    (files, inconsistent, bad_cells)
}

#[tokio::test(start_paused = true)]
async fn an_honest_object_reads_the_same_from_every_pair() {
    for size in [1000, 600_000] {
        let data = noise(40, size);
        assert_eq!(read_by_every_pair(&data, |_| ()).await, (vec![data.clone()], 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn parity_of_something_else() {
    for size in [1000, 600_000] {
        let data = noise(40, size);
        let outcome = read_by_every_pair(&data, |segments| {
            for segment in segments {
                for number in 2..5 {
                    let other = noise(41, segment.blocks[number].len());
                    replace_block(segment, number, other);
                }
            }
        });
        // Only both data shares together are the file.
        assert_eq!(outcome.await, (vec![data], 9, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn one_flipped_bit_in_one_parity_block() {
    let data = noise(40, 600_000);
    let outcome = read_by_every_pair(&data, |segments| {
        let mut block = segments[1].blocks[3].to_vec();
        block[5] ^= 4;
        replace_block(&mut segments[1], 3, block);
    });
    assert_eq!(outcome.await, (vec![data], 4, 0), "the four pairs with share 3");
}

#[tokio::test(start_paused = true)]
async fn a_bad_data_block() {
    let data = noise(40, 600_000);
    let outcome = read_by_every_pair(&data, |segments| {
        let other = noise(42, segments[1].blocks[0].len());
        replace_block(&mut segments[1], 0, other);
    });
    let (files, inconsistent, bad_cells) = outcome.await;
    assert!(files.is_empty());
    assert_eq!((inconsistent, bad_cells), (9, 1), "the data shares alone show bad ciphertext");
}

#[tokio::test(start_paused = true)]
async fn wrong_encodings_are_no_reason_to_try_again() {
    let mut grid = SimGrid::start(40, 5).await;
    let data = noise(40, 600_000);
    let (id, object, segments) = encoded(&data, |segments| {
        let other = noise(42, segments[0].blocks[1].len());
        replace_block(&mut segments[0], 1, other);
    });
    store(&grid, &object, &segments).await;
    let client = grid.client("2/2/5").await;
    let error = within(SECOND * 10, get(&client, &cap_of(&id, &object, data.len()))).await.unwrap_err();
    assert!(matches!(error, DownloadError::Decode(_)) && !error.is_retryable(), "{error}");
}
