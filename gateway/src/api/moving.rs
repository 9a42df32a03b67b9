//! Moving and copying: one change of a directory for all names at once, so that an entry is in both directories for a moment and
//! never in none.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use caps::{Cap, SlotWrite, VerifyHash};
use client::check::{CheckOptions, Grade, Renewal};
use client::filestore::{Child, DirEdit, DirView, Refusal, Replace};
use encoding::directory::{Entry, EntryKind, Name};
use serde::Deserialize;
use serde_json::{Value, json};

use super::asked::{Asked, Place, Where, names, writer};
use super::problem::Problem;
use crate::Gateway;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transport {
    from: Where,
    names: Vec<String>,
    to: Where,
    rename: Option<String>,
    #[serde(default)]
    replace: bool,
}

/// What was understood of it: which entry gets which name.
struct Plan {
    from: Place,
    to: Place,
    names: Vec<(Name, Name)>,
    replace: Replace,
}

impl Transport {
    fn read(self, gateway: &Gateway) -> Result<Plan, Problem> {
        let given = names(&self.names)?;
        let names = match (&self.rename, given.as_slice()) {
            (None, _) => given.into_iter().map(|name| (name.clone(), name)).collect(),
            (Some(new), [one]) => vec![(one.clone(), Name::new(new)?)],
            (Some(_), _) => return Err(Problem::bad("only one entry at a time gets a new name")),
        };
        let replace = if self.replace { Replace::OnlyFiles } else { Replace::No };
        Ok(Plan { from: self.from.read(gateway)?, to: self.to.read(gateway)?, names, replace })
    }
}

/// What was done, name by name.
#[derive(Default)]
pub(super) struct Outcomes {
    done: Vec<String>,
    problems: Vec<(String, Problem)>,
}

impl Outcomes {
    pub(super) fn note(&mut self, name: &Name, outcome: Result<(), Problem>) {
        match outcome {
            Ok(()) => self.done.push(name.to_string()),
            Err(problem) => self.problems.push((name.to_string(), problem)),
        }
    }

    /// The names that were done under `key`, and what became of the others. Where nothing was done, that is the problem.
    pub(super) fn json(mut self, key: &str) -> Result<Value, Problem> {
        if self.done.is_empty() && !self.problems.is_empty() {
            return Err(self.problems.swap_remove(0).1);
        }
        let mut out = json!({ key: self.done });
        if !self.problems.is_empty() {
            let problem =
                |(name, problem): &(String, Problem)| json!({ "name": name, "problem": problem.json() });
            out["problems"] = self.problems.iter().map(problem).collect::<Vec<_>>().into();
        }
        Ok(out)
    }
}

/// Moves entries, or gives one another name.
pub(super) async fn move_(
    State(gateway): State<Arc<Gateway>>,
    Asked(asked): Asked<Transport>,
) -> Result<Json<Value>, Problem> {
    let plan = asked.read(&gateway)?;
    let (old, new) = tokio::try_join!(plan.from.directory(), plan.to.directory())?;
    let (from, to) = (writer(&old, "moving out of it")?, writer(&new, "moving into it")?);
    let found = found(&old, &plan).await?;
    let outcomes = match from.hash == to.hash {
        true => rename(&plan, to).await?,
        false => between(&gateway, &plan, found, from, to).await?,
    };
    outcomes.json("moved").map(Json)
}

/// The entries that are meant. Where one is not there, or would end up below itself, nothing is done.
async fn found(old: &DirView, plan: &Plan) -> Result<Vec<(Name, Name, Entry, Child)>, Problem> {
    let mut found = Vec::with_capacity(plan.names.len());
    let mut above: Option<HashSet<VerifyHash>> = None;
    for (name, new) in &plan.names {
        let entry = old.get(name).await?.ok_or_else(|| Refusal::NoEntry { name: name.to_string() })?;
        if entry.kind == EntryKind::Directory
            && let Some(hash) = entry.cap.verify_hash()
        {
            // The way is walked once, and only if something is moved that could lie on it.
            let above = match &mut above {
                Some(above) => above,
                none => none.insert(on_the_way(&plan.to).await?),
            };
            if above.contains(&hash) {
                let detail = format!("{name} cannot be put into itself");
                return Err(Problem::new(axum::http::StatusCode::CONFLICT, "into-itself", detail));
            }
        }
        let child = old.child_of(&entry)?;
        found.push((name.clone(), new.clone(), entry, child));
    }
    Ok(found)
}

/// The directories that a path leads through, with the one that it leads to.
async fn on_the_way(place: &Place) -> Result<HashSet<VerifyHash>, Problem> {
    let mut cap = place.root.clone();
    let mut hashes: HashSet<VerifyHash> = cap.verify_hash().into_iter().collect();
    for name in &place.names {
        let Some(entry) = place.client.open_directory(&cap).await?.get(name).await? else { break };
        hashes.extend(entry.cap.verify_hash());
        cap = entry.cap;
    }
    Ok(hashes)
}

async fn rename(plan: &Plan, directory: &SlotWrite) -> Result<Outcomes, Problem> {
    let edit = |(from, to): &(Name, Name)| DirEdit::Rename {
        from: from.clone(),
        to: to.clone(),
        replace: plan.replace,
    };
    let edits = plan.names.iter().map(edit).collect();
    let results = plan.to.client.edit_directory(directory, edits).await?;
    let mut outcomes = Outcomes::default();
    for ((name, _), result) in plan.names.iter().zip(results) {
        outcomes.note(name, result.map(drop).map_err(Problem::from));
    }
    Ok(outcomes)
}

async fn between(
    gateway: &Gateway,
    plan: &Plan,
    found: Vec<(Name, Name, Entry, Child)>,
    from: &SlotWrite,
    to: &SlotWrite,
) -> Result<Outcomes, Problem> {
    let (mut outcomes, linked) = link(plan, &found, to).await?;
    // Somebody may have put something else there meanwhile: that stays.
    let unlink = |(name, _, entry, _): &&(Name, Name, Entry, Child)| DirEdit::Unlink {
        name: name.clone(),
        only: Some(entry.cap.clone()),
    };
    let edits: Vec<DirEdit> = linked.iter().map(unlink).collect();
    if edits.is_empty() {
        return Ok(outcomes);
    }
    let results = plan.from.client.edit_directory(from, edits).await?;
    for ((name, ..), result) in linked.iter().zip(results) {
        outcomes.note(name, result.map(drop).map_err(Problem::from));
    }
    adopt(gateway, plan, linked.iter().map(|(.., child)| child.cap().clone()));
    Ok(outcomes)
}

/// Links what was found; returns what could not be, and what was.
async fn link<'f>(
    plan: &Plan,
    found: &'f [(Name, Name, Entry, Child)],
    to: &SlotWrite,
) -> Result<(Outcomes, Vec<&'f (Name, Name, Entry, Child)>), Problem> {
    let edit = |(_, new, _, child): &(Name, Name, Entry, Child)| DirEdit::Link {
        name: new.clone(),
        child: Box::new(child.clone()),
        replace: plan.replace,
    };
    let edits = found.iter().map(edit).collect();
    let results = plan.to.client.edit_directory(to, edits).await?;
    let (mut outcomes, mut linked) = (Outcomes::default(), Vec::new());
    for (one, result) in found.iter().zip(results) {
        match result {
            Ok(_) => linked.push(one),
            Err(refusal) => outcomes.note(&one.0, Err(refusal.into())),
        }
    }
    Ok((outcomes, linked))
}

/// Links entries in another directory as well.
pub(super) async fn copy(
    State(gateway): State<Arc<Gateway>>,
    Asked(asked): Asked<Transport>,
) -> Result<Json<Value>, Problem> {
    let plan = asked.read(&gateway)?;
    let (old, new) = tokio::try_join!(plan.from.directory(), plan.to.directory())?;
    let to = writer(&new, "copying into it")?;
    let found = found(&old, &plan).await?;
    let (mut outcomes, linked) = link(&plan, &found, to).await?;
    linked.iter().for_each(|(name, ..)| outcomes.note(name, Ok(())));
    let shared = linked.iter().any(|(.., child)| child.cap().is_mutable());
    adopt(&gateway, &plan, linked.iter().map(|(.., child)| child.cap().clone()));
    let mut out = outcomes.json("copied")?;
    if shared {
        out["detail"] =
            "a copied directory or mutable file is the same one in both places: what changes in one, changes in the other".into();
    }
    Ok(Json(out))
}

/// What comes from under another capability is leased by no alias of ours, perhaps: the root that links it now leases all of it, by and by.
fn adopt(gateway: &Gateway, plan: &Plan, caps: impl Iterator<Item = Cap>) {
    if plan.from.root.verify_hash() == plan.to.root.verify_hash() {
        return;
    }
    let by_hash: BTreeMap<_, Cap> = caps.filter_map(|cap| Some((cap.verify_hash()?, cap))).collect();
    let roots: Vec<Cap> = by_hash.into_values().collect();
    let Ok(place) = gateway.shared().adopting.clone().try_acquire_owned() else {
        tracing::warn!(
            "too much is being linked at once: some of it is leased only when its root is renewed"
        );
        return;
    };
    let client = plan.to.client.clone();
    tokio::spawn(async move {
        let _place = place;
        let options = CheckOptions { grade: Grade::Unseen, repair: false, renew: Some(Renewal::WhileAlive) };
        let totals = client.check_tree(roots, options).finish().await;
        if totals.not_renewed + totals.root_only + totals.unknown > 0 {
            tracing::warn!(not_renewed = totals.not_renewed, "not all of what was linked is leased now");
        }
    });
}
