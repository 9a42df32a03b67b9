//! One history: clients work while faults happen, then all is well again and everything must be there.

use std::sync::Arc;
use std::time::Duration;

use caps::{SlotWrite, WriteKey};
use client::Client;
use encoding::slot::{Ballot, Config, Member, Record, RecordHash, SignedRecord, SlotKey};
use encoding::{Sections, seal_slot};
use protocol::message::{Bytes16, Bytes32, LeaseTerms, Request};
use protocol::session::Session;
use protocol::slot_message::{RecordBytes, SlotAccept, SlotAnswer, Verdict};
use protocol::{NodeKey, Random};
use testkit::disk::DiskImage;
use testkit::faults::{ClientHost, Fault, Gate, Schedule, run};
use testkit::grid::SimGrid;
use testkit::linear::set::{self, Call, Timed, Violation};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::plan::{Plan, Plant, SECOND, timeouts};
use crate::tally::Tally;
use crate::worker::{Entry, Log, Worker};

/// A client's lives: each begins without memory of the one before.
const LIVES: usize = 3;

/// What happened.
pub(crate) struct Told {
    pub(crate) history: Vec<Timed>,
    pub(crate) tally: Tally,
    /// The hash of everything that went over the network.
    pub(crate) trace: String,
    pub(crate) schedule: Schedule,
}

impl Told {
    pub(crate) fn verdict(&self) -> Result<(), Violation> {
        set::check(&self.history)
    }
}

/// Runs `story` in a simulation of its own.
pub(crate) fn simulate<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(story)
}

/// Tells the history of this plan.
pub(crate) fn tell(plan: &Plan) -> Told {
    simulate(live(plan))
}

async fn live(plan: &Plan) -> Told {
    let mut grid = SimGrid::start_silent(plan.seed, plan.servers as u16).await;
    let pristine: Vec<Arc<DiskImage>> = match plan.plant {
        Plant::Amnesia => grid.servers.iter().map(|server| Arc::new(server.disk.image())).collect(),
        _ => Vec::new(),
    };
    let creator = grid.client_with(&plan.shares(), timeouts()).await;
    let cap = create(&grid, &creator, plan).await;
    tokio::time::sleep(SECOND).await;
    let (record, _) = creator.slot_record(&cap.to_read()).await.unwrap();
    let members = servers_of(&grid, &record);
    assert_eq!((members.len(), usize::from(record.config.quorum)), (plan.members, plan.quorum));
    for server in plan.liars(&members) {
        grid.servers[server].disk.set_lying(true);
    }
    let schedule = plan.schedule(&members, &pristine);
    let log = Log::default();
    let hosts: Vec<ClientHost> = (0..plan.clients())
        .map(|index| ClientHost { id: grid.client_host(&label(index)), gate: Gate::default() })
        .collect();
    let mut working = JoinSet::new();
    for (index, host) in hosts.iter().enumerate() {
        let mut worker = worker(&grid, plan, index, host.gate.clone(), &log);
        worker.doom = plan.doom().map(|after| Instant::now() + after);
        let cap = cap.clone();
        match index < plan.writers {
            true => working.spawn(worker.write(cap, plan.changes)),
            false => working.spawn(worker.watch(cap.to_read(), plan.reads)),
        };
    }
    if !plan.moves.is_empty() {
        working.spawn(moves(&grid, plan, &schedule, members, cap.clone(), &log));
    }
    let census = run(&schedule, &mut grid, &hosts).await;
    while let Some(done) = working.join_next().await {
        done.unwrap();
    }
    settle(&mut grid, plan, &cap, &log).await;
    finish(&grid, &log, census, schedule)
}

fn label(index: usize) -> String {
    format!("worker{index}")
}

fn worker(grid: &SimGrid, plan: &Plan, index: usize, gate: Gate, log: &Log) -> Worker {
    let client = || grid.client_of(&label(index), &plan.shares(), timeouts());
    Worker {
        lives: (0..LIVES).map(|_| client()).collect(),
        gate,
        random: grid.random.fork(&label(index)),
        log: log.clone(),
        number: index as u64 + 1,
        rest: plan.rest,
        host: grid.client_host(&label(index)),
        net: grid.net.clone(),
        servers: grid.servers.iter().map(|server| server.key.id()).collect(),
        doom: None,
    }
}

/// The servers of a record's members.
pub(crate) fn servers_of(grid: &SimGrid, record: &SignedRecord) -> Vec<usize> {
    (0..grid.servers.len()).filter(|index| record.names(&member(grid, *index).store)).collect()
}

/// A server's store, as records name it. The server must be up.
pub(crate) fn member(grid: &SimGrid, index: usize) -> Member {
    grid.servers[index].server().unwrap().stores()[0].member()
}

async fn create(grid: &SimGrid, creator: &Client, plan: &Plan) -> SlotWrite {
    if plan.plant == Plant::Majority {
        return create_by_hand(grid, plan.quorum as u16).await;
    }
    creator.create_slot(false, |_, _| Sections::default()).await.unwrap().cap
}

/// A slot on all servers whose record names a quorum that no client would choose.
pub(crate) async fn create_by_hand(grid: &SimGrid, quorum: u16) -> SlotWrite {
    let forked = grid.random.fork("slot by hand");
    let random: &dyn Random = &forked;
    let write = WriteKey::new(random.bytes());
    let salt = random.bytes::<32>();
    let config = Config { members: (0..grid.servers.len()).map(|at| member(grid, at)).collect(), quorum };
    let key = SlotKey::create(&write, salt, &config);
    let cap = key.cap(&write, false);
    let sections = Sections::default();
    let payload = seal_slot(&write.read_key(), &salt, &cap.hash, &sections, &random.bytes::<48>()).unwrap();
    let record = Record {
        id: key.id().clone(),
        ballot: Ballot { epoch: 0, counter: 1, random: random.bytes() },
        config,
        old: None,
        previous: RecordHash::default(),
        tombstone: false,
        forced: false,
        next: None,
        payload,
    };
    let record = record.sign(&key);
    for server in &grid.servers {
        let connector = grid.net.connector(NodeKey::from_seed(&[66; 32]).id());
        let address = std::slice::from_ref(&server.address);
        let session = Session::start(connector.connect(server.key.id(), address).await.unwrap()).await;
        let accept = SlotAccept {
            hash: Bytes32(*cap.hash.as_bytes()),
            store: server.server().unwrap().stores()[0].id(),
            record: RecordBytes(record.bytes().to_vec()),
            lease: Some(LeaseTerms { tag: Bytes16([1; 16]), duration_s: None }),
        };
        let asked = session.unwrap().request::<SlotAnswer>(&Request::SlotAccept(accept)).await;
        assert_eq!(asked.unwrap().0.verdict, Verdict::Yes);
    }
    cap
}

/// Replaces members: those that are lost first of all.
fn moves(
    grid: &SimGrid,
    plan: &Plan,
    schedule: &Schedule,
    first: Vec<usize>,
    cap: SlotWrite,
    log: &Log,
) -> impl Future<Output = ()> + Send + 'static {
    let client = grid.client_of("mover", &plan.shares(), timeouts());
    let stores: Vec<Member> = (0..plan.servers).map(|index| member(grid, index)).collect();
    let mut lost: Vec<(Duration, usize)> = Vec::new();
    for (at, fault) in &schedule.0 {
        if let Fault::Lose(server) = fault {
            lost.push((*at, *server));
        }
    }
    let (moves, happy, random, log) =
        (plan.moves.clone(), plan.quorum, grid.random.fork("moves"), log.clone());
    async move {
        client.refresh().await;
        let (mut now, begun) = (first, Instant::now());
        for at in moves {
            tokio::time::sleep_until(begun + at).await;
            let gone: Vec<usize> = lost.iter().filter(|(when, _)| *when <= at).map(|(_, who)| *who).collect();
            let mut spare: Vec<usize> =
                (0..stores.len()).filter(|index| !now.contains(index) && !gone.contains(index)).collect();
            // The lost go, and with even odds each other one.
            let mut next = now.clone();
            for place in &mut next {
                if (gone.contains(place) || random.between(0, 1) == 0)
                    && let Some(fresh) = spare.pop()
                {
                    *place = fresh;
                }
            }
            let members = next.iter().map(|index| stores[*index]).collect();
            let moved = client.change_members(&cap, members, happy).await;
            let mut tally = log.tally.lock().unwrap();
            match moved {
                Ok(_) => {
                    tally.moved += 1;
                    now = next;
                }
                Err(_) => tally.not_moved += 1,
            }
        }
    }
}

/// Nothing goes wrong any more: a change is made and read, by clients that know nothing of what was.
async fn settle(grid: &mut SimGrid, plan: &Plan, cap: &SlotWrite, log: &Log) {
    tokio::time::sleep(SECOND * 2).await;
    for index in [plan.clients(), plan.clients() + 1] {
        let mut worker = worker(grid, plan, index, Gate::default(), log);
        worker.lives.iter().last().unwrap().refresh().await;
        worker.add(cap, worker.number * 1000).await;
        worker.read(&cap.to_read()).await;
    }
}

fn finish(grid: &SimGrid, log: &Log, census: testkit::faults::Census, schedule: Schedule) -> Told {
    let entries = std::mem::take(&mut *log.entries.lock().unwrap());
    let mut tally = std::mem::take(&mut *log.tally.lock().unwrap());
    let history = timed(entries);
    tally.count(&history);
    tally.census = census;
    Told { history, tally, trace: grid.net.trace(), schedule }
}

/// Versions of confirmed values are their ballots' places in order.
fn timed(entries: Vec<Entry>) -> Vec<Timed> {
    let mut ballots: Vec<Ballot> = entries.iter().filter_map(|entry| entry.ballot).collect();
    ballots.sort_unstable();
    ballots.dedup();
    let timed = |entry: Entry| {
        let place = entry.ballot.and_then(|ballot| ballots.binary_search(&ballot).ok());
        let call = match entry.call {
            Call::Confirmed { ids, .. } => Call::Confirmed { ids, version: place.map(|place| place as u64) },
            other => other,
        };
        Timed { begin: entry.begin, end: entry.end, call }
    };
    entries.into_iter().map(timed).collect()
}
