//! What came of a year: how long everything took to be whole again, and what went wrong.

use caps::Cap;
use client::Client;
use client::agent::Found;
use client::check::{CheckOptions, Grade, Health, State};

/// What is told of a year, or of many.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) months: u64,
    pub(crate) losses: u64,
    pub(crate) rotten: u64,
    pub(crate) files: u64,
    pub(crate) reads: u64,
    /// Objects that the agent brought back, counted once for each time.
    pub(crate) repaired: u64,
    /// Copies of slots, at their most.
    pub(crate) copies: u64,
    /// Seconds from the loss of a server until all objects had all their shares again.
    pub(crate) mended: Vec<u64>,
    /// Until all directories had all their members again.
    pub(crate) members: Vec<u64>,
    /// From a flipped bit until everything that was fetched was right again.
    pub(crate) scrubbed: Vec<u64>,
    /// The fewest shares that any object ever had.
    pub(crate) fewest_shares: Option<usize>,
    /// The fewest members that any slot ever had.
    pub(crate) fewest_members: Option<usize>,
    pub(crate) failures: Vec<String>,
}

impl Told {
    pub(crate) fn fail(&mut self, what: String) {
        self.failures.push(what);
    }

    pub(crate) fn agent(&mut self, found: &Found) {
        self.repaired += found.repaired;
        self.copies = self.copies.max(found.copies);
    }

    pub(crate) fn read(&mut self, day: u64, read: Result<u64, String>) {
        match read {
            Ok(files) => self.reads += files,
            Err(error) => self.fail(format!("day {day}: a reader: {error}")),
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.months += other.months;
        self.losses += other.losses;
        self.rotten += other.rotten;
        self.files += other.files;
        self.reads += other.reads;
        self.repaired += other.repaired;
        self.copies = self.copies.max(other.copies);
        self.mended.extend(other.mended);
        self.members.extend(other.members);
        self.scrubbed.extend(other.scrubbed);
        let least = |a: Option<usize>, b: Option<usize>| a.into_iter().chain(b).min();
        self.fewest_shares = least(self.fewest_shares, other.fewest_shares);
        self.fewest_members = least(self.fewest_members, other.fewest_members);
        self.failures.extend(other.failures);
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { losses, rotten, files, reads, repaired, copies, .. } = self;
        write!(
            f,
            "{losses} servers lost, {rotten} bits flipped, {files} files, {reads} reads, {repaired} repairs"
        )?;
        for (what, times) in [("shares", &self.mended), ("members", &self.members), ("rot", &self.scrubbed)] {
            write!(f, "; {what} whole again after {}", spread(times))?;
        }
        let shown = |fewest: Option<usize>| fewest.map_or("all".to_owned(), |fewest| fewest.to_string());
        let (shares, members) = (shown(self.fewest_shares), shown(self.fewest_members));
        write!(f, "; fewest shares {shares}, members {members}; {copies} copies at most; ")?;
        write!(f, "{} went wrong", self.failures.len())
    }
}

/// Median, 99th of 100, and worst, in hours.
fn spread(times: &[u64]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |part: usize| times.get((times.len().saturating_sub(1)) * part / 100).copied().unwrap_or(0);
    let hours = |seconds: u64| seconds as f64 / 3600.0;
    format!("{:.1} h / {:.1} h / {:.1} h (of {})", hours(at(50)), hours(at(99)), hours(at(100)), times.len())
}

/// Somebody who looks on, and does nothing.
pub(crate) struct Watch {
    client: Client,
    root: Cap,
    /// When what happened that is not made good yet.
    shares: Vec<u64>,
    /// Whether something was lost since somebody looked.
    unseen: bool,
    members: Vec<u64>,
    rot: Vec<u64>,
    pub(crate) told: Told,
}

impl Watch {
    pub(crate) fn new(client: Client, root: Cap) -> Self {
        let told = Told::default();
        Self { client, root, shares: Vec::new(), unseen: false, members: Vec::new(), rot: Vec::new(), told }
    }

    pub(crate) fn lost(&mut self, now: u64) {
        self.told.losses += 1;
        self.unseen = true;
        self.shares.push(now);
        self.members.push(now);
    }

    pub(crate) fn rotted(&mut self, now: u64) {
        self.told.rotten += 1;
        self.rot.push(now);
    }

    /// How bad it is before anybody does something about it.
    pub(crate) async fn before(&mut self) {
        if std::mem::take(&mut self.unseen) {
            self.look(Grade::Claimed).await;
        }
    }

    /// Whether what was lost is made good.
    pub(crate) async fn after(&mut self, now: u64, fetched: bool) {
        if !self.shares.is_empty() || !self.members.is_empty() {
            let (objects, slots) = self.look(Grade::Claimed).await;
            if objects {
                self.told.mended.extend(self.shares.drain(..).map(|since| now - since));
            }
            if slots {
                self.told.members.extend(self.members.drain(..).map(|since| now - since));
            }
        }
        if fetched && !self.rot.is_empty() && self.look(Grade::Full).await.0 {
            self.told.scrubbed.extend(self.rot.drain(..).map(|since| now - since));
        }
    }

    /// Everything can still be read, by the shares that are really there.
    pub(crate) async fn nothing_is_lost(&mut self, day: u64) {
        let all = self.all(Grade::Full).await;
        let lost = all.iter().filter(|health| health.state == State::Unrecoverable).count();
        if lost > 0 || all.is_empty() {
            self.told.fail(format!("day {day}: {lost} of {} objects are lost", all.len()));
        }
    }

    /// Whether all objects, and all slots, have all that they should.
    async fn look(&mut self, grade: Grade) -> (bool, bool) {
        let (mut objects, mut slots) = (true, true);
        for health in self.all(grade).await {
            let whole = health.state == State::Healthy;
            let (is_whole, fewest) = match health.is_slot() {
                true => (&mut slots, &mut self.told.fewest_members),
                false => (&mut objects, &mut self.told.fewest_shares),
            };
            *is_whole &= whole;
            if !whole {
                *fewest = Some(fewest.unwrap_or(usize::MAX).min(health.good));
            }
        }
        (objects, slots)
    }

    async fn all(&mut self, grade: Grade) -> Vec<Health> {
        // New servers have come meanwhile.
        self.client.refresh().await;
        let options = CheckOptions { grade, repair: false, renew: None };
        let mut checking = self.client.check_tree(vec![self.root.clone()], options);
        let mut all = Vec::new();
        while let Some(health) = checking.next().await {
            all.push(health);
        }
        let totals = checking.finish().await;
        if totals.root_only > 0 {
            self.told.fail(format!("{} trees could not be opened", totals.root_only));
        }
        all
    }
}
