//! Tickets: addresses of content that show no capability, so that stored pages never learn one from their own address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use caps::Cap;
use encoding::directory::{EntryKind, Name};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::asked::{Asked, Where, names};
use super::problem::Problem;
use super::{new_id, until, zip};
use crate::Gateway;
use crate::content::{self, Disposition, Serve};

/// How long a ticket lasts that nobody uses.
const LASTS: Duration = Duration::from_secs(3600);
/// Tickets at a time: of more, those go that were not used the longest.
const TICKETS_MAX: usize = 4096;
/// Names that all tickets hold, of zips of some entries: of more, those go that were not used the longest.
const NAMES_MAX: usize = 50_000;
/// What stands in an address as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// What the content of a ticket is served as.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum As {
    Inline,
    Download,
    Zip,
}

#[derive(Clone)]
struct Ticket {
    cap: Cap,
    name: String,
    as_: As,
    /// Of a zip: which entries; all, where none are named.
    names: Arc<[Name]>,
    used: Instant,
}

/// All tickets.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<HashMap<String, Ticket>>);

impl Tickets {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Ticket>> {
        self.0.lock().expect("no code panics while it holds this lock")
    }

    fn keep(&self, ticket: Ticket) -> String {
        let mut tickets = self.lock();
        if tickets.len() >= TICKETS_MAX {
            tickets.retain(|_, ticket| ticket.used.elapsed() < LASTS);
        }
        if tickets.len() >= TICKETS_MAX {
            // A tenth at once, so that not every new one has to look at all.
            let mut used: Vec<Instant> = tickets.values().map(|ticket| ticket.used).collect();
            used.sort_unstable();
            let before = used[TICKETS_MAX / 10];
            let mut most = TICKETS_MAX / 10 + 1;
            tickets.retain(|_, ticket| {
                let goes = ticket.used <= before && most > 0;
                most -= usize::from(goes);
                !goes
            });
        }
        let held = |tickets: &HashMap<String, Ticket>| {
            tickets.values().map(|ticket| ticket.names.len()).sum::<usize>()
        };
        while !ticket.names.is_empty() && held(&tickets) + ticket.names.len() > NAMES_MAX {
            let named = tickets.iter().filter(|(_, ticket)| !ticket.names.is_empty());
            let Some(oldest) = named.min_by_key(|(_, ticket)| ticket.used).map(|(id, _)| id.clone()) else {
                break;
            };
            tickets.remove(&oldest);
        }
        let id = new_id();
        tickets.insert(id.clone(), ticket);
        id
    }

    fn take(&self, id: &str) -> Option<Ticket> {
        let mut tickets = self.lock();
        let ticket = tickets.get_mut(id)?;
        if ticket.used.elapsed() >= LASTS {
            tickets.remove(id);
            return None;
        }
        ticket.used = Instant::now();
        Some(ticket.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTicket {
    #[serde(rename = "where")]
    place: Where,
    #[serde(rename = "as")]
    as_: As,
    #[serde(default)]
    names: Vec<String>,
}

/// Makes a ticket.
pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    Asked(asked): Asked<NewTicket>,
) -> Result<Json<Value>, Problem> {
    let place = asked.place.read(&gateway)?;
    let target = place.resolve().await?;
    let own = place.names.last().map(Name::to_string);
    let names = match asked.names.is_empty() {
        true => Vec::new(),
        false => names(&asked.names)?,
    };
    let is_directory = target.kind() == EntryKind::Directory;
    let name = match asked.as_ {
        As::Zip if !is_directory => return Err(Problem::bad("only directories become a zip")),
        As::Zip => format!("{}.zip", own.as_deref().unwrap_or("files")),
        _ if is_directory => return Err(Problem::bad("a directory is listed, or downloaded as a zip")),
        _ => own.unwrap_or_else(|| "file".to_owned()),
    };
    let Some(cap) = target.cap.read() else {
        let kind = target.cap.kind();
        return Err(client::filestore::FileStoreError::NotReadable { kind }.into());
    };
    let shown = utf8_percent_encode(&name, PLAIN).to_string();
    // Of anything but a zip no names are used, and none are kept.
    let names = if asked.as_ == As::Zip { names.into() } else { Arc::default() };
    let ticket = Ticket { cap, name, as_: asked.as_, names, used: Instant::now() };
    let id = gateway.shared().tickets.keep(ticket);
    Ok(Json(json!({ "url": format!("/t/{id}/{shown}"), "until": until(LASTS) })))
}

/// Serves what a ticket stands for. The name in the address is for people; the ticket knows its own.
pub(super) async fn serve(
    State(gateway): State<Arc<Gateway>>,
    Path((id, _name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let shared = gateway.shared();
    let ticket = shared.tickets.take(&id).ok_or_else(|| {
        Problem::not_found("there is no such ticket")
            .with_hint("tickets end after an hour without use: ask for another")
    })?;
    if ticket.as_ == As::Zip {
        let view = gateway.client().open_directory(&ticket.cap).await?;
        return zip::respond(&gateway, view, &ticket.name, &ticket.names, method == Method::HEAD).await;
    }
    let transfer = client::Transfer::default();
    let serve = Serve {
        name: Some(&ticket.name),
        disposition: if ticket.as_ == As::Inline { Disposition::Inline } else { Disposition::Attachment },
        content_type: None,
        framed: ticket.as_ == As::Inline,
        transfer: transfer.clone(),
    };
    let response = content::respond(&gateway, &ticket.cap, &method, &headers, serve).await?;
    Ok(shared.transfers.watch_body(&ticket.name, &ticket.cap, transfer, response))
}
