//! `t=check`: one file or directory, as our own check finds it and Tahoe's clients expect it told.

use caps::Cap;
use client::check::{CheckOptions, Grade, Health, Renewal, State};
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

/// What is kept of a report, so that those of a large tree fit into memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brief {
    pub(super) state: State,
    after: Option<State>,
    good: u32,
    needed: u32,
    total: u32,
    happiness: u32,
    pub(super) bad: u32,
}

impl Brief {
    pub(super) fn of(health: &Health) -> Self {
        Self {
            state: health.state,
            after: health.after,
            good: health.good as u32,
            needed: health.needed as u32,
            total: health.total as u32,
            happiness: health.happiness as u32,
            bad: health.bad.len() as u32,
        }
    }

    /// Of what the capability itself holds. Tahoe says less of it, and its own client then fails.
    pub(super) fn literal() -> Self {
        Self { state: State::Healthy, after: None, good: 0, needed: 0, total: 0, happiness: 0, bad: 0 }
    }

    pub(super) fn now(&self) -> State {
        self.after.unwrap_or(self.state)
    }

    pub(super) fn is_repair_attempted(&self) -> bool {
        self.after.is_some()
    }

    /// The counts, as they were in that state.
    fn results(&self, state: State) -> Value {
        json!({
            "healthy": state == State::Healthy,
            "recoverable": state != State::Unrecoverable,
            "count-happiness": self.happiness,
            "count-shares-good": self.good,
            "count-shares-needed": self.needed,
            "count-shares-expected": self.total,
            "count-good-share-hosts": self.happiness,
            "count-wrong-shares": 0,
            "count-recoverable-versions": u8::from(state != State::Unrecoverable),
            "count-unrecoverable-versions": u8::from(state == State::Unrecoverable),
            "count-corrupt-shares": self.bad,
        })
    }

    /// As one check's answer; `index` is empty for literals.
    pub(super) fn to_json(self, index: &str, repair: bool) -> Value {
        let one = |state: State| {
            let mut value = json!({ "storage-index": index, "summary": self.summary(state), "results": self.results(state) });
            if index.is_empty() {
                value["summary"] = "Healthy (LIT)".into();
            }
            value
        };
        if !repair {
            return one(self.state);
        }
        json!({
            "storage-index": index,
            "repair-attempted": self.is_repair_attempted(),
            "repair-successful": self.is_repair_attempted() && self.now() == State::Healthy,
            "pre-repair-results": one(self.state),
            "post-repair-results": one(self.now()),
        })
    }

    fn summary(&self, state: State) -> String {
        let word = match state {
            State::Healthy => "Healthy",
            State::Unhealthy => "Not Healthy",
            State::Unrecoverable => "Not Healthy! Unrecoverable",
        };
        format!("{word}: {} shares good (enc {}-of-{})", self.good, self.needed, self.total)
    }
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
    let mut value = health.as_ref().map_or(Brief::literal(), Brief::of).to_json(&index, options.repair);
    if let Some(health) = &health {
        let details =
            if options.repair { &mut value["post-repair-results"]["results"] } else { &mut value["results"] };
        add_details(details, health, &index);
        if options.repair {
            let bad = value["post-repair-results"]["results"]["list-corrupt-shares"].clone();
            value["pre-repair-results"]["results"]["list-corrupt-shares"] = bad;
        }
    } else if options.repair {
        value["pre-repair-results"]["results"]["list-corrupt-shares"] = json!([]);
    }
    if call.args.get("output").is_some_and(|output| output.eq_ignore_ascii_case("json")) {
        return Ok(answer(&value));
    }
    let text = serde_json::to_string_pretty(&value).unwrap_or_default();
    Ok(page(format!("<!DOCTYPE html><title>Check</title><h1>Check</h1><pre>{}</pre>\n", escaped(&text))))
}

fn add_details(results: &mut Value, health: &Health, index: &str) {
    let corrupt: Vec<Value> =
        health.bad.iter().map(|bad| json!([bad.server.id.to_string(), index, bad.number])).collect();
    let map = health.holders.iter().map(|(number, servers)| {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        (number.to_string(), Value::from(servers))
    });
    let mut responding: Vec<String> = health.holders.values().flatten().map(ToString::to_string).collect();
    responding.extend(health.stores.iter().map(ToString::to_string));
    responding.sort();
    responding.dedup();
    results["list-corrupt-shares"] = corrupt.into();
    results["sharemap"] = Value::Object(map.collect());
    results["servers-responding"] = responding.into();
}
