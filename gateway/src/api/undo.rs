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
    let (mut edits, mut children, mut outcomes) = (Vec::new(), Vec::new(), Outcomes::default());
    for name in names {
        match view.get(&name).await? {
            Some(entry) => {
                children.push((name.clone(), view.child_of(&entry)?));
                edits.push(DirEdit::Unlink { name, only: Some(entry.cap) });
            }
            // Somebody else was quicker with this one: that keeps none of the others.
            None => outcomes.note(&name, Err(Refusal::NoEntry { name: name.to_string() }.into())),
        }
    }
    let results = match edits.is_empty() {
        true => Vec::new(),
        false => place.client.edit_directory(&directory, edits).await?,
    };
    let mut entries = Vec::new();
    for ((name, child), result) in children.into_iter().zip(results) {
        let is_gone = result.is_ok();
        outcomes.note(&name, result.map(drop).map_err(Problem::from));
        entries.extend(is_gone.then_some((name, child)));
    }
    let mut out = outcomes.json("deleted")?;
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
    let record = gateway.shared().undos.take(&asked.undo).ok_or_else(|| {
        Problem::not_found("nothing is remembered of this")
            .with_hint("what was deleted can be put back once, for ten minutes")
    })?;
    // Whoever does not wait for the answer shall find neither nothing nor half of it remembered.
    let done = tokio::spawn(async move { put_back(&gateway, asked.undo, record).await }).await;
    done.unwrap_or_else(|_| Err(Problem::busy("putting it back broke off"))).map(Json)
}

async fn put_back(gateway: &Gateway, id: String, mut record: Record) -> Result<Value, Problem> {
    let undos = &gateway.shared().undos;
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
            undos.lock().insert(id, record);
            return Err(error.into());
        }
    };
    let (mut outcomes, mut refused) = (Outcomes::default(), Vec::new());
    for ((name, child), result) in record.entries.drain(..).zip(results) {
        let is_back = result.is_ok();
        outcomes.note(&name, result.map(drop).map_err(Problem::from));
        refused.extend((!is_back).then_some((name, child)));
    }
    // Whoever makes room for these puts them back then.
    if !refused.is_empty() {
        record.entries = refused;
        undos.lock().insert(id, record);
    }
    outcomes.json("restored")
}
