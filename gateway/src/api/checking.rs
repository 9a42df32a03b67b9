//! Checking and repairing one thing, or a whole tree.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use caps::{Authority, Cap, VerifyHash};
use client::check::{CheckOptions, DeepTotals, Grade, Health, State as Condition};
use encoding::directory::Name;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::asked::{Asked, Place, Where};
use super::problem::Problem;
use crate::Gateway;
use crate::stream::{Gone, Out, lines};

/// How often progress is told.
const BEAT: Duration = Duration::from_millis(500);
/// Problems that are told of.
const PROBLEMS_MAX: usize = 1000;

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verify {
    #[default]
    Claimed,
    Sampled,
    Full,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    #[serde(rename = "where")]
    place: Where,
    #[serde(default)]
    deep: bool,
    #[serde(default)]
    repair: bool,
    #[serde(default)]
    verify: Verify,
}

/// Checks, and repairs if that is wanted.
pub(super) async fn check(
    State(gateway): State<Arc<Gateway>>,
    Asked(asked): Asked<Check>,
) -> Result<Response, Problem> {
    let place = asked.place.read(&gateway)?;
    let cap = place.resolve().await?.cap;
    if cap.authority() == Authority::None {
        return Err(client::check::CheckError::Unknown.into());
    }
    let grade = match asked.verify {
        Verify::Claimed => Grade::Claimed,
        Verify::Sampled => Grade::Sampled { chunks: None },
        Verify::Full => Grade::Full,
    };
    let options = CheckOptions { grade, repair: asked.repair, renew: None };
    Ok(lines(async move |mut out| {
        let mut work = Work { place, cap, options, ill: HashMap::new(), totals: DeepTotals::default() };
        let was_checked = match asked.deep {
            true => work.all(&mut out).await.map(|()| Ok(()))?,
            false => work.one().await,
        };
        match was_checked {
            Ok(()) => work.tell(&gateway, &mut out).await?,
            Err(problem) => out.line(&json!({ "problem": problem.json() })).await?,
        }
        Ok(out)
    }))
}

struct Work {
    place: Place,
    cap: Cap,
    options: CheckOptions,
    /// What is not healthy, and what is wrong with it.
    ill: HashMap<VerifyHash, Vec<String>>,
    totals: DeepTotals,
}

impl Work {
    async fn one(&mut self) -> Result<(), Problem> {
        match self.place.client.check(&self.cap, self.options).await? {
            Some(health) => {
                self.totals.count(&health);
                self.note(&health);
            }
            // A literal is held by its capability.
            None => self.totals.healthy += 1,
        }
        Ok(())
    }

    async fn all(&mut self, out: &mut Out) -> Result<(), Gone> {
        let mut checking = self.place.client.check_tree(vec![self.cap.clone()], self.options);
        let (mut checked, mut bad, mut told) = (0u64, 0u64, Instant::now());
        while let Some(health) = checking.next().await {
            checked += 1;
            bad += u64::from(health.now() != Condition::Healthy);
            self.note(&health);
            if told.elapsed() >= BEAT {
                told = Instant::now();
                out.line(&json!({ "progress": { "checked": checked, "bad": bad } })).await?;
                out.flush().await?;
            }
        }
        self.totals += checking.finish().await;
        out.line(&json!({ "progress": { "checked": checked, "bad": bad } })).await
    }

    fn note(&mut self, health: &Health) {
        let is_well = health.now() == Condition::Healthy && health.bad.is_empty();
        if is_well || self.ill.len() >= PROBLEMS_MAX {
            return;
        }
        let what = if health.is_slot() { "members" } else { "shares" };
        let mut said = vec![format!(
            "{} of {} {what}, {} needed, on {} servers that each have their own ({} wanted)",
            health.good, health.total, health.needed, health.happiness, health.happy
        )];
        said.extend(
            health
                .bad
                .iter()
                .map(|bad| format!("share {} on {} is bad: {}", bad.number, bad.server.name(), bad.reason)),
        );
        said.extend(health.wrong_encoding.clone());
        said.extend(health.problems.iter().cloned());
        self.ill.insert(health.hash, said);
    }

    /// The result, with the names of what is ill as far as the capability reads them.
    async fn tell(mut self, gateway: &Gateway, out: &mut Out) -> Result<(), Gone> {
        let mut problems = Vec::new();
        let problem = |path: &[Name], what: Vec<String>| {
            let path: Vec<&str> = path.iter().map(Name::as_str).collect();
            json!({ "path": path, "what": what.join("; ") })
        };
        if !self.ill.is_empty() && self.cap.authority() >= Authority::Read {
            let mut walk = self.place.client.walk(&self.cap);
            while !self.ill.is_empty() {
                match walk.next().await {
                    Ok(Some(walked)) => {
                        let found = walked.cap.verify_hash().and_then(|hash| self.ill.remove(&hash));
                        problems.extend(found.map(|what| problem(&walked.path, what)));
                    }
                    Ok(None) => break,
                    // What cannot be read was told of.
                    Err(_) => continue,
                }
            }
        }
        problems.extend(self.ill.drain().map(|(_, what)| problem(&[], what)));
        let totals = self.totals;
        let kind = if self.options.repair { "repair" } else { "check" };
        gateway.shared().events.note(kind, summary(kind, &totals));
        out.line(&json!({ "result": result(&totals, problems) })).await
    }
}

fn result(totals: &DeepTotals, problems: Vec<Value>) -> Value {
    json!({
        "healthy": totals.healthy, "unhealthy": totals.unhealthy, "unrecoverable": totals.unrecoverable,
        "repaired": totals.repaired, "bad_shares": totals.bad_shares, "unknown": totals.unknown,
        "root_only": totals.root_only, "problems": problems,
    })
}

fn summary(kind: &str, totals: &DeepTotals) -> String {
    let DeepTotals { healthy, unhealthy, unrecoverable, repaired, unknown, root_only, .. } = totals;
    let mut text = format!(
        "a {kind} found {healthy} healthy, {unhealthy} unhealthy, {unrecoverable} unrecoverable; {repaired} repaired"
    );
    // What was not looked at may be ill.
    if unknown + root_only > 0 {
        text += &format!("; not checked: {unknown} of unknown kinds, and what is below {root_only} others");
    }
    text
}
