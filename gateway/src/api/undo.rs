//! Taking entries out, and putting them back for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use caps::SlotWrite;
use client::Client;
use client::filestore::{Child, DirEdit, Refusal, Replace};
use encoding::directory::Name;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::asked::{Asked, Where, names, writer};
use super::moving::Outcomes;
use super::problem::Problem;
use super::{new_id, until};
use crate::Gateway;

/// How long what was taken out is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Deletions that are remembered.
const RECORDS_MAX: usize = 256;
/// Entries that are remembered, over all of them.
const ENTRIES_MAX: usize = 50_000;

/// What was taken out lately.
#[derive(Default)]
pub(crate) struct Undos(Mutex<HashMap<String, Record>>);

struct Record {
    client: Client,
    directory: SlotWrite,
    entries: Vec<(Name, Child)>,
    at: Instant,
}

impl Undos {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Record>> {
        self.0.lock().expect("no code panics while it holds this lock")
    }

    /// Remembers it; the oldest are forgotten where there are too many.
    fn keep(&self, record: Record) -> String {
        let mut records = self.lock();
        records.retain(|_, record| record.at.elapsed() < REMEMBERED);
        loop {
            let entries: usize = records.values().map(|record| record.entries.len()).sum();
            if records.len() < RECORDS_MAX && entries + record.entries.len() <= ENTRIES_MAX {
                break;
            }
            let oldest = records.iter().min_by_key(|(_, record)| record.at).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { break };
            records.remove(&oldest);
        }
        let id = new_id();
        records.insert(id.clone(), record);
        id
    }

    fn take(&self, id: &str) -> Option<Record> {
        let record = self.lock().remove(id)?;
        (record.at.elapsed() < REMEMBERED).then_some(record)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delete {
    #[serde(rename = "where")]
    parent: Where,
    names: Vec<String>,
}

/// Takes entries out of a directory.
pub(super) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Asked(asked): Asked<Delete>,
) -> Result<Json<Value>, Problem> {
    let names = names(&asked.names)?;
    let place = asked.parent.read(&gateway)?;
    let view = place.directory().await?;
    let directory = writer(&view, "taking something out of it")?.clone();
    let (mut edits, mut children) = (Vec::new(), Vec::new());
    for name in &names {
        let entry = view.get(name).await?.ok_or_else(|| Refusal::NoEntry { name: name.to_string() })?;
        children.push((name.clone(), view.child_of(&entry)?));
        edits.push(DirEdit::Unlink { name: name.clone(), only: Some(entry.cap) });
    }
    let results = place.client.edit_directory(&directory, edits).await?;
    let (mut outcomes, mut entries) = (Outcomes::default(), Vec::new());
    for ((name, child), result) in children.into_iter().zip(results) {
        outcomes.note(&name, result.map(drop).map_err(Problem::from));
        entries.push((name, child));
    }
    let mut out = outcomes.json("deleted")?;
    let done: std::collections::HashSet<&str> =
        out["deleted"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    entries.retain(|(name, _)| done.contains(name.as_str()));
    let record = Record { client: place.client, directory, entries, at: Instant::now() };
    let id = gateway.shared().undos.keep(record);
    out["undo"] = id.into();
    out["until"] = until(REMEMBERED).into();
    Ok(Json(out))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Undo {
    undo: String,
}

/// Puts back what was taken out.
pub(super) async fn undo(
    State(gateway): State<Arc<Gateway>>,
    Asked(asked): Asked<Undo>,
) -> Result<Json<Value>, Problem> {
    let shared = gateway.shared();
    let record = shared.undos.take(&asked.undo).ok_or_else(|| {
        Problem::not_found("nothing is remembered of this")
            .with_hint("what was deleted can be put back for ten minutes, once")
    })?;
    let link = |(name, child): &(Name, Child)| DirEdit::Link {
        name: name.clone(),
        child: Box::new(child.clone()),
        replace: Replace::No,
    };
    let edits = record.entries.iter().map(link).collect();
    let results = match record.client.edit_directory(&record.directory, edits).await {
        Ok(results) => results,
        Err(error) => {
            // Whoever tries again shall be able to.
            shared.undos.lock().insert(asked.undo, record);
            return Err(error.into());
        }
    };
    let mut outcomes = Outcomes::default();
    for ((name, _), result) in record.entries.iter().zip(results) {
        outcomes.note(name, result.map(drop).map_err(Problem::from));
    }
    outcomes.json("restored").map(Json)
}
