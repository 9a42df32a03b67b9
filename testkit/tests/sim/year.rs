//! A year of a grid of friends' disks: servers lost for good and replaced by new empty ones, bits rotting, an agent that repairs daily with
//! no more than a repair cap, and a writer who comes by once a week.
//!
//! A quarter of two seeds in every run; `cargo xtask sim --year` runs 100 whole years. `SARSEN_YEAR_SEEDS` says how many, `SARSEN_YEAR_SEED` where they begin.

use std::collections::BTreeMap;
use std::time::Duration;

use client::agent::{Agent, AgentSettings, AgentState, Held};
use client::check::Grade;
use client::{Client, Timeouts};
use protocol::Clock;
use testkit::grid::SimGrid;
use testkit::random::SimRandom;
use tokio::time::{sleep, timeout};

use crate::year_told::{Told, Watch};
use crate::year_writer::Household;

pub(crate) const DAY: u64 = 86_400;
pub(crate) const SHARES: &str = "3/7/10";
/// Servers that are up at a time.
const SERVERS: u16 = 12;
/// Months of a year and of a quarter, of 30 days each.
const YEAR: u64 = 12;
const QUARTER: u64 = 3;
/// Longer than anything takes that comes to an end, in simulated time.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// What happens at a time.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A server is lost for good.
    Lose,
    /// A new, empty one takes its place.
    Replace,
    /// A bit of a share flips on some disk.
    Rot,
    /// The agent looks whether something is due.
    Agent,
    /// The writer comes by.
    Writer,
    /// Servers announce themselves.
    Announce,
}

/// When what happens, by the seed.
struct Calendar {
    events: BTreeMap<(u64, u64), Event>,
    added: u64,
}

impl Calendar {
    /// One server in ten each month: one, and in every fifth month two. One flipped bit for each server and month.
    fn of(random: &SimRandom, months: u64) -> Self {
        let mut calendar = Self { events: BTreeMap::new(), added: 0 };
        for month in 0..months {
            let within = || month * 30 * DAY + random.between(0, 30 * DAY - 1);
            let losses = 1 + u64::from(random.between(0, 4) == 0);
            for _ in 0..losses {
                let at = within();
                calendar.add(at, Event::Lose);
                calendar.add(at + random.between(DAY / 4, 3 * DAY), Event::Replace);
            }
            (0..SERVERS).for_each(|_| calendar.add(within(), Event::Rot));
        }
        (0..months * 30).for_each(|day| calendar.add(day * DAY, Event::Announce));
        // On the same day of each week, at some hour.
        (1..=months * 30 / 7).for_each(|week| {
            calendar.add(week * 7 * DAY - random.between(1, DAY), Event::Writer);
        });
        calendar
    }

    fn add(&mut self, at: u64, event: Event) {
        self.added += 1;
        self.events.insert((at, self.added), event);
    }
}

/// The grid in its year.
struct Year {
    grid: SimGrid,
    random: SimRandom,
    begun: u64,
    agent: Agent,
    household: Household,
    watch: Watch,
    months: u64,
    weeks: u64,
}

/// Lives through so many months of a seed. What goes wrong is in what it tells.
pub(crate) fn tell(seed: u64, months: u64) -> Told {
    crate::history::simulate(async {
        let mut grid = SimGrid::start_silent(seed, 0).await;
        // A minute's look at what has expired, by all servers all year, is most of the work.
        grid.limits.tidy = Duration::from_secs(6 * 3600);
        for _ in 0..SERVERS {
            grid.add_server(None).await;
        }
        let random = grid.random.fork("year");
        let calendar = Calendar::of(&random, months);
        let writer = connected(&grid, "writer").await;
        let household = Household::begin(writer, grid.random.fork("household")).await;
        let keeper = connected(&grid, "agent").await;
        let observer = connected(&grid, "observer").await;
        let repair = keeper.repair_cap(&household.top()).await.unwrap().unwrap();
        let day = Duration::from_secs(DAY);
        let every = vec![(Grade::Claimed, day), (Grade::Full, day * 7)];
        let mut agent =
            Agent::new(keeper, AgentSettings { every, ..AgentSettings::default() }, AgentState::default());
        agent.hold(vec![Held { name: "household".into(), cap: Ok(repair.clone()) }]);
        let begun = grid.clock.unix_time().as_secs();
        let watch = Watch::new(observer, repair);
        Year { grid, random, begun, agent, household, watch, months, weeks: 0 }.live(calendar).await
    })
}

async fn connected(grid: &SimGrid, label: &str) -> Client {
    let client = grid.client_of(label, SHARES, Timeouts::default());
    client.refresh().await;
    client
}

impl Year {
    fn now(&self) -> u64 {
        self.grid.clock.unix_time().as_secs() - self.begun
    }

    async fn live(mut self, mut calendar: Calendar) -> Told {
        calendar.add(DAY / 2, Event::Agent);
        while let Some(((at, _), event)) = calendar.events.pop_first() {
            if at >= self.months * 30 * DAY {
                break;
            }
            sleep(Duration::from_secs(at.saturating_sub(self.now()))).await;
            let happened = timeout(PATIENCE, self.happens(event)).await;
            match happened {
                Ok(Some(again)) => calendar.add(self.now() + again.as_secs().max(1), event),
                Ok(None) => {}
                Err(_) => self.watch.told.fail(format!("day {}: {event:?} hangs", at / DAY)),
            }
        }
        self.end().await
    }

    /// Lets it happen, and says after which time again.
    async fn happens(&mut self, event: Event) -> Option<Duration> {
        match event {
            Event::Lose => self.lose(),
            Event::Replace => drop(self.grid.add_server(None).await),
            Event::Rot => self.rot(),
            Event::Announce => self.grid.announce_all().await,
            Event::Agent => return Some(self.agent_works().await),
            Event::Writer => self.writer_comes().await,
        }
        None
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.grid.servers.len()).filter(|index| self.grid.servers[*index].server().is_some()).collect()
    }

    fn any_alive(&self) -> usize {
        let alive = self.alive();
        alive[self.random.between(0, alive.len() as u64 - 1) as usize]
    }

    fn lose(&mut self) {
        let lost = self.any_alive();
        self.grid.kill(lost);
        self.watch.lost(self.now());
    }

    fn rot(&mut self) {
        let disk = self.grid.servers[self.any_alive()].disk.clone();
        let is_data = |path: &str| path.starts_with("shares/") || path.starts_with("packs/");
        let files: Vec<_> =
            disk.files().into_iter().filter(|(path, len)| is_data(path) && *len > 0).collect();
        let total: u64 = files.iter().map(|(_, len)| len).sum();
        if total == 0 {
            return;
        }
        let mut at = self.random.between(0, total - 1);
        for (path, len) in files {
            if at < len {
                disk.flip(&path, at as usize);
                self.watch.rotted(self.now());
                return;
            }
            at -= len;
        }
    }

    async fn agent_works(&mut self) -> Duration {
        self.watch.before().await;
        let fetched = |agent: &Agent| agent.state().roots["household"].checked.get("full").copied();
        let before = fetched(&self.agent);
        let wait = self.agent.visit_due(|_| ()).await;
        if let Some(error) = &self.agent.state().roots["household"].error {
            self.watch.told.fail(format!("day {}: the agent: {error}", self.now() / DAY));
        }
        self.watch.after(self.now(), fetched(&self.agent) != before).await;
        self.watch.told.agent(&self.agent.state().roots["household"].found);
        wait
    }

    async fn writer_comes(&mut self) {
        self.weeks += 1;
        let day = self.now() / DAY;
        if let Err(error) = self.household.week(self.weeks).await {
            self.watch.told.fail(format!("day {day}: the writer: {error}"));
        }
        self.watch.after(self.now(), false).await;
        self.watch.nothing_is_lost(day).await;
        let reader = connected(&self.grid, &format!("reader{}", self.weeks)).await;
        let read = self.household.read_some(&reader, 6).await;
        self.watch.told.read(day, read);
    }

    async fn end(mut self) -> Told {
        self.grid.announce_all().await;
        self.writer_comes().await;
        let reader = connected(&self.grid, "the last reader").await;
        let read = self.household.read_all(&reader).await;
        self.watch.told.read(self.months * 30, read);
        self.watch.told.files = self.household.files();
        self.watch.told.months = self.months;
        self.watch.told
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn judged(seed: u64) -> Told {
    let told = tell(seed, QUARTER);
    println!("seed {seed}: {told}");
    assert_eq!(told.failures, Vec::<String>::new(), "seed {seed}");
    told
}

/// Months in which nothing was lost, rotted or mended proves nothing.
fn proves_something(told: &Told) {
    let Told { months, losses, .. } = *told;
    assert!(months > 0 && losses >= months && told.rotten >= 8 * months, "{told}");
    // What happened last may not be made good yet.
    let years = months.div_ceil(YEAR);
    assert!(told.mended.len() as u64 + 2 * years >= losses && told.repaired > 4 * months, "{told}");
    assert!(told.reads > 25 * months && told.copies > 0, "{told}");
}

#[test]
fn a_quarter_in_which_nothing_is_lost() {
    proves_something(&judged(number("SARSEN_YEAR_SEED").unwrap_or(1)));
}

#[test]
fn another_quarter_in_which_nothing_is_lost() {
    proves_something(&judged(number("SARSEN_YEAR_SEED").unwrap_or(1) + 1));
}

/// The long run, on all processors: `cargo xtask sim --year`.
#[test]
#[ignore = "takes an hour and more; cargo xtask sim --year runs it"]
fn many_years() {
    let first = number("SARSEN_YEAR_SEED").unwrap_or(0);
    let years = number("SARSEN_YEAR_SEEDS").unwrap_or(100);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let begun = std::time::Instant::now();
    let (next, all) = (std::sync::atomic::AtomicU64::new(0), std::sync::Mutex::new(Told::default()));
    let work = || {
        loop {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if at >= years {
                return;
            }
            let seed = first + at;
            let told = std::panic::catch_unwind(|| tell(seed, YEAR)).unwrap_or_else(|_| {
                let mut told = Told::default();
                told.fail("it panicked".to_owned());
                told
            });
            println!("seed {seed}: {told}");
            for failure in &told.failures {
                println!("FAILED seed {seed}: {failure}");
            }
            all.lock().unwrap().merge(told);
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let all = all.into_inner().unwrap();
    println!("{years} years: {all}\n  {:.0} s on {threads} threads", begun.elapsed().as_secs_f64());
    assert!(all.failures.is_empty(), "{} things went wrong", all.failures.len());
    proves_something(&all);
}
