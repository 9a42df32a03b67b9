//! `t=check`: one file or directory, as our own check finds it and Tahoe's clients expect it told.

use std::collections::{BTreeMap, BTreeSet};

use caps::Cap;
use client::check::{CheckOptions, Grade, Health, Renewal, State};
use client::placement::happiness;
use protocol::NodeId;
use serde_json::{Value, json};

use super::answer::{Answer, Problem, escaped, json as answer, page};
use super::args::Args;
use super::linked::Call;

/// What the arguments ask for.
pub(super) fn options(args: &Args) -> Result<CheckOptions, Problem> {
    Ok(CheckOptions {
        grade: if args.flag("verify")? { Grade::Full } else { Grade::Claimed },
        repair: args.flag("repair")?,
        renew: args.flag("add-lease")?.then_some(Renewal::WhileAlive),
    })
}

/// What was counted of one thing at one time.
#[derive(Clone, Debug)]
struct Counts {
    state: State,
    good: u32,
    needed: u32,
    total: u32,
    happiness: u32,
    /// Shares that are not what they should be: who has which.
    bad: Vec<(NodeId, u16)>,
}

/// What is kept of a report, so that those of a large tree fit into memory.
#[derive(Clone, Debug)]
pub(super) enum Brief {
    /// The capability itself holds it. Tahoe says less of it, and its own client then fails.
    Literal,
    /// It is of a kind that nobody here can check.
    Unknown,
    Checked(Box<Checked>),
}

/// Of something that servers hold.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    before: Counts,
    /// After a repair was tried.
    after: Option<Counts>,
}

/// Who held which share before the repair.
fn held_before(health: &Health) -> BTreeMap<u16, BTreeSet<NodeId>> {
    let mut holders = health.holders.clone();
    if !health.is_slot() {
        for (number, server) in &health.made {
            if let Some(servers) = holders.get_mut(number) {
                servers.remove(server);
            }
        }
        holders.retain(|_, servers| !servers.is_empty());
    }
    holders
}

impl Brief {
    pub(super) fn of(health: &Health) -> Self {
        let bad: Vec<(NodeId, u16)> = health.bad.iter().map(|bad| (bad.server.id, bad.number)).collect();
        let now = Counts {
            state: health.now(),
            good: health.good as u32,
            needed: health.needed as u32,
            total: health.total as u32,
            happiness: health.happiness as u32,
            bad,
        };
        if health.after.is_none() {
            return Self::Checked(Box::new(Checked { before: now, after: None }));
        }
        // The engine counts again after a repair. What it made was not there before.
        let (good, happiness) = match health.is_slot() {
            true => {
                let good = now.good.saturating_sub(health.made.len() as u32);
                (good, good)
            }
            false => {
                let holders = held_before(health);
                (now.good.min(holders.len() as u32), now.happiness.min(happiness(&holders) as u32))
            }
        };
        let before = Counts { state: health.state, good, happiness, ..now.clone() };
        // A share that was made where a bad one was took its place.
        let made = |(server, number): &(NodeId, u16)| health.made.contains(&(*number, *server));
        let bad = now.bad.iter().filter(|bad| !made(bad)).copied().collect();
        Self::Checked(Box::new(Checked { before, after: Some(Counts { bad, ..now }) }))
    }

    fn checked(&self) -> Option<&Checked> {
        match self {
            Self::Checked(checked) => Some(checked),
            _ => None,
        }
    }

    /// Whether it was found as it should be.
    pub(super) fn was_healthy(&self) -> bool {
        match self {
            Self::Literal => true,
            Self::Unknown => false,
            Self::Checked(checked) => checked.before.state == State::Healthy,
        }
    }

    /// Whether it is now.
    pub(super) fn is_healthy(&self) -> bool {
        self.checked().map_or_else(|| self.was_healthy(), |checked| checked.now().state == State::Healthy)
    }

    pub(super) fn is_repair_attempted(&self) -> bool {
        self.checked().is_some_and(|checked| checked.after.is_some())
    }

    /// Bad shares that were found: who has which.
    pub(super) fn bad(&self) -> &[(NodeId, u16)] {
        self.checked().map_or(&[], |checked| &checked.before.bad)
    }

    /// Those that are left.
    pub(super) fn bad_now(&self) -> &[(NodeId, u16)] {
        self.checked().map_or(&[], |checked| &checked.now().bad)
    }

    /// As one check's answer; `index` is empty for literals.
    pub(super) fn to_json(&self, index: &str, repair: bool) -> Value {
        let one = |counts: Option<&Counts>| match (self, counts) {
            (Self::Unknown, _) => {
                let summary = "Not checked: it is of a kind that is not known here";
                json!({ "storage-index": index, "summary": summary, "results": Counts::none(false).results(index) })
            }
            (_, Some(counts)) => {
                json!({ "storage-index": index, "summary": counts.summary(), "results": counts.results(index) })
            }
            _ => {
                json!({ "storage-index": index, "summary": "Healthy (LIT)", "results": Counts::none(true).results(index) })
            }
        };
        let checked = self.checked();
        if !repair {
            return one(checked.map(|checked| &checked.before));
        }
        json!({
            "storage-index": index,
            "repair-attempted": self.is_repair_attempted(),
            "repair-successful": self.is_repair_attempted() && self.is_healthy(),
            "pre-repair-results": one(checked.map(|checked| &checked.before)),
            "post-repair-results": one(checked.map(Checked::now)),
        })
    }
}

impl Checked {
    fn now(&self) -> &Counts {
        self.after.as_ref().unwrap_or(&self.before)
    }
}

impl Counts {
    /// Of what servers do not hold.
    fn none(healthy: bool) -> Self {
        let state = if healthy { State::Healthy } else { State::Unrecoverable };
        Self { state, good: 0, needed: 0, total: 0, happiness: 0, bad: Vec::new() }
    }

    fn results(&self, index: &str) -> Value {
        let corrupt: Vec<Value> = self.bad.iter().map(|bad| share(bad, index)).collect();
        json!({
            "healthy": self.state == State::Healthy,
            "recoverable": self.state != State::Unrecoverable,
            "count-happiness": self.happiness,
            "count-shares-good": self.good,
            "count-shares-needed": self.needed,
            "count-shares-expected": self.total,
            "count-good-share-hosts": self.happiness,
            "count-wrong-shares": 0,
            "count-recoverable-versions": u8::from(self.state != State::Unrecoverable),
            "count-unrecoverable-versions": u8::from(self.state == State::Unrecoverable),
            "count-corrupt-shares": self.bad.len(),
            "list-corrupt-shares": corrupt,
        })
    }

    fn summary(&self) -> String {
        let word = match self.state {
            State::Healthy => "Healthy",
            State::Unhealthy => "Not Healthy",
            State::Unrecoverable => "Not Healthy! Unrecoverable",
        };
        format!("{word}: {} shares good (enc {}-of-{})", self.good, self.needed, self.total)
    }
}

/// A bad share, as Tahoe lists it.
pub(super) fn share((server, number): &(NodeId, u16), index: &str) -> Value {
    json!([server.to_string(), index, number])
}

/// What stands in Tahoe's answers for a storage index. It leads to nothing here, and tells objects apart.
pub(super) fn index(cap: &Cap) -> String {
    let verify = cap.verify().map(|cap| cap.to_string()).unwrap_or_default();
    verify.split(':').nth(2).unwrap_or_default().to_owned()
}

pub(super) async fn respond(call: &Call) -> Answer {
    let options = options(&call.args)?;
    let target = call.target().await?;
    let index = index(&target.cap);
    let health = call.client.check(&target.cap, options).await?;
    let mut value = health.as_ref().map_or(Brief::Literal, Brief::of).to_json(&index, options.repair);
    if let Some(health) = &health {
        if options.repair {
            add_details(&mut value["pre-repair-results"]["results"], health, &held_before(health));
            add_details(&mut value["post-repair-results"]["results"], health, &health.holders);
        } else {
            add_details(&mut value["results"], health, &health.holders);
        }
        if health.not_renewed > 0 {
            // Tahoe has no word for it, and its client shows the summary.
            let results = if options.repair { &mut value["post-repair-results"] } else { &mut value };
            let summary = results["summary"].as_str().unwrap_or_default();
            results["summary"] = format!("{summary}; {} leases were not renewed", health.not_renewed).into();
            results["results"]["healthy"] = false.into();
        }
    }
    if call.args.get("output").is_some_and(|output| output.eq_ignore_ascii_case("json")) {
        return Ok(answer(&value));
    }
    let text = serde_json::to_string_pretty(&value).unwrap_or_default();
    Ok(page(format!("<!DOCTYPE html><title>Check</title><h1>Check</h1><pre>{}</pre>\n", escaped(&text))))
}

fn add_details(results: &mut Value, health: &Health, holders: &BTreeMap<u16, BTreeSet<NodeId>>) {
    let map = holders.iter().map(|(number, servers)| {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        (number.to_string(), Value::from(servers))
    });
    let mut responding: Vec<String> = holders.values().flatten().map(ToString::to_string).collect();
    responding.extend(health.stores.iter().map(ToString::to_string));
    responding.sort();
    responding.dedup();
    results["sharemap"] = Value::Object(map.collect());
    results["servers-responding"] = responding.into();
}
