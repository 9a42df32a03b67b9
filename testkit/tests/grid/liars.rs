//! Servers that lie to readers: the right bytes come from the others, and the liar is named.

use std::sync::Arc;
use std::time::Duration;

use client::PutReport;
use protocol::message::{
    Bulk, Bytes32, ErrorCode, Flags, Found, FoundShare, Hello, Reply, Request, StoreState, WireError,
};
use protocol::session::our_hello;
use testkit::grid::SimGrid;
use testkit::liar::{Lie, Script, corrupt};
use testkit::net::Link;

use crate::support::{SECOND, TWO_SEGMENTS, get, holder, noise, only_blames, put, reads_back, within};

/// Ten servers that hold one share each of one file, and of another one of the same length, which every script may refer to.
struct Stage {
    grid: SimGrid,
    data: Vec<u8>,
    report: PutReport,
    other: PutReport,
}

impl Stage {
    async fn new(servers: u16, size: usize) -> Self {
        let mut grid = SimGrid::start(5, servers).await;
        let client = grid.client("3/3/10").await;
        let data = noise(5, size);
        let report = put(&client, &data).await.unwrap();
        let other = put(&client, &noise(6, size)).await.unwrap();
        Self { grid, data, report, other }
    }

    /// H of the other file.
    fn other_hash(&self) -> Bytes32 {
        Bytes32(*self.other.cap.verify_hash().unwrap().as_bytes())
    }

    /// A reader meets the liar where share `number` is, and the liar alone is complained about.
    async fn read(mut self, number: u16, script: Script, accused: bool) {
        let liar = holder(&self.grid, &self.report, number);
        corrupt(&self.grid, liar, move |request| script(request));
        let client = self.grid.client("3/3/10").await;
        let got = within(SECOND * 5, reads_back(&client, &self.report.cap, &self.data)).await;
        only_blames(&self.grid, &got.complaints, liar, accused);
        // Once more: what is known of the liar by now does no harm.
        reads_back(&client, &self.report.cap, &self.data).await;
    }
}

/// Lies to requests of one kind, and tells the truth otherwise.
fn to(kind: fn(&Request) -> bool, lie: Lie) -> Script {
    Arc::new(move |request| if kind(request) { lie.clone() } else { Lie::Truth })
}

fn lookup(request: &Request) -> bool {
    matches!(request, Request::Lookup(_))
}

fn blocks(request: &Request) -> bool {
    matches!(request, Request::ReadBlocks(_))
}

fn table(request: &Request) -> bool {
    matches!(request, Request::ReadTable(_))
}

fn any_read(request: &Request) -> bool {
    lookup(request) || blocks(request) || table(request)
}

fn refusal(code: ErrorCode) -> Lie {
    Lie::message(&Reply::<()>::Err(WireError::new(code, "so there")))
}

/// Each lie by a liar of its own, told by the holder of data share 0 of a file of two segments.
async fn each_is_named(kind: fn(&Request) -> bool, lies: Vec<Lie>, accused: bool) {
    for (case, lie) in lies.into_iter().enumerate() {
        println!("case {case}");
        Stage::new(10, TWO_SEGMENTS).await.read(0, to(kind, lie), accused).await;
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_bytes() {
    let flips: Vec<Lie> = vec![
        Lie::Body(|_, bytes| bytes[0] ^= 1),
        Lie::Body(|_, bytes| bytes.fill(0)),
        Lie::Body(|at, bytes| {
            if (at..at + bytes.len() as u64).contains(&300_000) {
                bytes[(300_000 - at) as usize] ^= 0x80;
            }
        }),
    ];
    each_is_named(blocks, flips.clone(), true).await;
    each_is_named(table, flips[..2].to_vec(), true).await;
}

#[tokio::test(start_paused = true)]
async fn wrong_lengths() {
    let lies: Vec<Lie> = vec![
        Lie::Bulk(|bulk| bulk.lens[0] -= 1),
        Lie::Bulk(|bulk| bulk.lens[0] = u64::MAX),
        Lie::Bulk(|bulk| bulk.lens.clear()),
        Lie::Bulk(|bulk| bulk.lens.extend([1 << 40; 1000])),
    ];
    each_is_named(blocks, lies.clone(), true).await;
    each_is_named(table, lies[1..].to_vec(), true).await;
}

#[tokio::test(start_paused = true)]
async fn rubbish() {
    let lies = vec![
        Lie::Say((&[0xff; 4][..]).into()),
        Lie::Say((&b"\x05\0\0\0hello"[..]).into()),
        Lie::Say((&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]).into()),
        Lie::message(&Reply::Ok(Flags { flags: vec![true; 100_000] })),
    ];
    each_is_named(any_read, lies.clone(), true).await;
    each_is_named(blocks, lies, true).await;
}

#[tokio::test(start_paused = true)]
async fn refusals_are_failures_and_no_lies() {
    let codes = [ErrorCode::Busy, ErrorCode::NotFound, ErrorCode::StoreFailed, ErrorCode::ShuttingDown];
    each_is_named(blocks, codes.map(refusal).to_vec(), false).await;
    each_is_named(blocks, vec![refusal(ErrorCode::Corrupt)], true).await;
    each_is_named(lookup, vec![refusal(ErrorCode::StoreFailed)], false).await;
}

#[tokio::test(start_paused = true)]
async fn another_major_version() {
    let newer = Lie::message(&Reply::Ok(Hello { major: 2, ..our_hello() }));
    let old = refusal(ErrorCode::UnsupportedVersion);
    each_is_named(|request| matches!(request, Request::Hello(_)), vec![newer, old], false).await;
}

#[tokio::test(start_paused = true)]
async fn answers_end_early() {
    each_is_named(blocks, vec![Lie::Say(bytes::Bytes::new())], false).await;
    // The right lengths, and no bytes.
    let geometry =
        encoding::Geometry::for_plaintext(encoding::Params::new(3, 10).unwrap(), TWO_SEGMENTS as u64)
            .unwrap();
    let lens = (0..2).map(|segment| geometry.block_len(segment) as u64).collect();
    each_is_named(blocks, vec![Lie::message(&Reply::Ok(Bulk { lens }))], false).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_descriptor() {
    let lies: Vec<Lie> = vec![
        Lie::Found(|found| found.descriptor.as_mut().unwrap()[20] ^= 1),
        Lie::Found(|found| found.descriptor = Some(vec![7; 20_000])),
        Lie::Found(|found| found.descriptor = None),
    ];
    each_is_named(lookup, lies, true).await;
}

#[tokio::test(start_paused = true)]
async fn impossible_share_numbers() {
    let lies: Vec<Lie> = vec![
        Lie::Found(|found| found.shares[0].number = 10),
        Lie::Found(|found| found.shares[0].number = u16::MAX),
        Lie::Found(|found| {
            let share = found.shares[0].clone();
            found.shares = (0..5000).map(|number| FoundShare { number, ..share.clone() }).collect();
        }),
    ];
    each_is_named(lookup, lies, true).await;
}

#[tokio::test(start_paused = true)]
async fn shares_it_does_not_have() {
    let claims_all = Lie::Found(|found| {
        let share = found.shares[0].clone();
        found.shares = (0..10).map(|number| FoundShare { number, ..share.clone() }).collect();
    });
    let Stage { mut grid, data, report, .. } = Stage::new(10, TWO_SEGMENTS).await;
    let liar = holder(&grid, &report, 0);
    corrupt(&grid, liar, move |request| if lookup(request) { claims_all.clone() } else { Lie::Truth });
    let client = grid.client("3/3/10").await;
    let got = within(SECOND, reads_back(&client, &report.cap, &data)).await;
    assert!(
        got.complaints.iter().all(|complaint| !complaint.corrupt),
        "it may have lost them: {:?}",
        got.complaints
    );
}

#[tokio::test(start_paused = true)]
async fn shares_of_another_object() {
    for kind in [lookup, blocks, table] {
        let stage = Stage::new(10, TWO_SEGMENTS).await;
        let hash = stage.other_hash();
        let liar = holder(&stage.grid, &stage.report, 0);
        let own = stage.other.shares.iter().find(|(_, server)| stage.grid.index_of(&server.id) == Some(liar));
        let number = *own.unwrap().0;
        let script = move |request: &Request| match request.clone() {
            request if !kind(&request) => Lie::Truth,
            Request::Lookup(mut lookup) => {
                lookup.hash = hash;
                Lie::Ask(Request::Lookup(lookup))
            }
            Request::ReadBlocks(mut read) => {
                (read.hash, read.number) = (hash, number);
                Lie::Ask(Request::ReadBlocks(read))
            }
            Request::ReadTable(mut read) => {
                let columns = if number < 3 { vec![number] } else { vec![0] };
                (read.hash, read.number, read.columns) = (hash, number, columns);
                Lie::Ask(Request::ReadTable(read))
            }
            _ => Lie::Truth,
        };
        stage.read(0, Arc::new(script), true).await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_blocks_of_the_same_object() {
    // Five servers with two shares each; one of them gives one share for the other.
    let mut accused = 0;
    for liar in 0..5 {
        let Stage { mut grid, data, report, .. } = Stage::new(5, TWO_SEGMENTS).await;
        let numbers: Vec<u16> = (0..10).filter(|n| holder(&grid, &report, *n) == liar).collect();
        // It is the quickest, so that it is used at all.
        let quick = Link { latency: Duration::ZERO..=Duration::ZERO, bytes_per_second: None };
        grid.net.set_host_link(grid.servers[liar].key.id(), quick);
        corrupt(&grid, liar, move |request| match request.clone() {
            Request::ReadBlocks(mut read) => {
                read.number = *numbers.iter().find(|number| **number != read.number).unwrap();
                Lie::Ask(Request::ReadBlocks(read))
            }
            _ => Lie::Truth,
        });
        let client = grid.client("3/3/10").await;
        let got = within(SECOND * 5, reads_back(&client, &report.cap, &data)).await;
        if !got.complaints.is_empty() {
            only_blames(&grid, &got.complaints, liar, true);
            accused += 1;
        }
    }
    assert!(accused > 0);
    // Segment 0 in place of segment 1.
    let Stage { mut grid, data, report, .. } = Stage::new(10, 2 * 785_664).await;
    let liar = holder(&grid, &report, 0);
    corrupt(&grid, liar, move |request| match request.clone() {
        Request::ReadBlocks(mut read) => {
            read.first = 0;
            Lie::Ask(Request::ReadBlocks(read))
        }
        _ => Lie::Truth,
    });
    let reader = grid.client("3/3/10").await.open_object(&report.cap).await.unwrap();
    let range = 785_664..2 * 785_664;
    let bytes = within(SECOND * 5, reader.read(range.clone())).await.unwrap();
    assert!(bytes == data[range.start as usize..]);
    only_blames(&grid, &reader.complaints(), liar, true);
}

#[tokio::test(start_paused = true)]
async fn wrong_small_shares() {
    let lies: Vec<Lie> = vec![
        Lie::Body(|_, bytes| bytes[0] ^= 1),
        Lie::Body(|_, bytes| *bytes.last_mut().unwrap() ^= 1),
        Lie::Body(|_, bytes| bytes.fill(0xff)),
        Lie::Found(|found| found.shares[0].number ^= 1),
        Lie::Found(|found| found.shares[0].len -= 1),
        Lie::Found(|found| found.shares[0].len = u64::MAX),
        Lie::Found(|found| found.shares[0].inline = false),
        Lie::Found(|found| found.descriptor = Some(vec![0; 400])),
    ];
    for (case, lie) in lies.into_iter().enumerate() {
        println!("case {case}");
        Stage::new(10, 4096).await.read(0, to(lookup, lie), true).await;
    }
    let stage = Stage::new(10, 4096).await;
    let hash = stage.other_hash();
    let script = move |request: &Request| match request {
        Request::Lookup(lookup) => {
            Lie::Ask(Request::Lookup(protocol::message::Lookup { hash, ..lookup.clone() }))
        }
        _ => Lie::Truth,
    };
    stage.read(0, Arc::new(script), true).await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_hides_one_share_only() {
    let hides = Lie::message(&Reply::Ok(Found { shares: Vec::new(), descriptor: None }));
    let Stage { mut grid, data, report, .. } = Stage::new(10, TWO_SEGMENTS).await;
    corrupt(
        &grid,
        holder(&grid, &report, 0),
        move |request| if lookup(request) { hides.clone() } else { Lie::Truth },
    );
    let client = grid.client("3/3/10").await;
    let got = within(SECOND, reads_back(&client, &report.cap, &data)).await;
    assert!(got.complaints.is_empty(), "it may as well have lost the share: {:?}", got.complaints);
}

#[tokio::test(start_paused = true)]
async fn seven_liars_of_ten() {
    let Stage { mut grid, data, report, .. } = Stage::new(10, TWO_SEGMENTS).await;
    for number in 0..7 {
        let lie = if number % 2 == 0 { Lie::Body(|_, bytes| bytes.fill(9)) } else { Lie::Silence };
        corrupt(&grid, holder(&grid, &report, number), move |request| {
            if blocks(request) { lie.clone() } else { Lie::Truth }
        });
    }
    let client = grid.client("3/3/10").await;
    let got = within(SECOND * 30, reads_back(&client, &report.cap, &data)).await;
    let accused: std::collections::BTreeSet<_> =
        got.complaints.iter().filter(|c| c.corrupt).map(|c| grid.index_of(&c.server.id).unwrap()).collect();
    let liars = [0, 2, 4, 6].map(|number| holder(&grid, &report, number));
    assert_eq!(accused, liars.into_iter().collect());
    // One more, and there are too few.
    corrupt(&grid, holder(&grid, &report, 7), |request| {
        if blocks(request) { refusal(ErrorCode::Busy) } else { Lie::Truth }
    });
    let client = grid.client("3/3/10").await;
    let error = within(SECOND * 60, get(&client, &report.cap)).await.unwrap_err();
    assert!(matches!(error, client::DownloadError::NotEnoughShares { needed: 3, found: 2, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_of_a_share_that_is_on_its_way_is_not_waited_for() {
    // Two servers list share 1, one of them is slow, and another share fails: a reader must go on to the shares it has not tried.
    let Stage { mut grid, data, report, .. } = Stage::new(10, TWO_SEGMENTS).await;
    let [zero, one, two] = [0, 1, 2].map(|number| holder(&grid, &report, number));
    corrupt(&grid, zero, |request| match request {
        Request::Lookup(_) => Lie::Found(|found| {
            let share = found.shares[0].clone();
            found.shares.push(FoundShare { number: 1, ..share });
        }),
        _ => Lie::Truth,
    });
    corrupt(&grid, one, |request| if blocks(request) { Lie::Silence } else { Lie::Truth });
    corrupt(&grid, two, |request| if blocks(request) { refusal(ErrorCode::NotFound) } else { Lie::Truth });
    let client = grid.client("3/3/10").await;
    within(SECOND * 5, reads_back(&client, &report.cap, &data)).await;
}

#[tokio::test(start_paused = true)]
async fn lies_about_status_stay_theirs() {
    let Stage { mut grid, report, .. } = Stage::new(10, 4096).await;
    let liar = holder(&grid, &report, 0);
    corrupt(&grid, liar, |request| {
        if matches!(request, Request::Status) { Lie::Say((&[0, 0, 16, 0][..]).into()) } else { Lie::Truth }
    });
    let client = grid.client("3/3/10").await;
    let status = within(SECOND * 11, client.status()).await;
    assert_eq!(status.servers.len(), 10);
    for server in status.servers {
        let reached =
            server.outcome.is_ok_and(|reached| reached.status.stores[0].state == StoreState::Writable);
        assert_eq!(reached, grid.index_of(&server.server.id) != Some(liar));
    }
}
