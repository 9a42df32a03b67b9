//! Aliases and directories: what there is, what one entry is, and making new ones.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use caps::{Authority, Cap};
use client::aliases::name as alias_name;
use client::filestore::{Child, DirEdit, DirView, Replace, Target};
use client::{Aliases, ClientDir};
use encoding::directory::{EntryKind, Name};
use serde::Deserialize;
use serde_json::{Value, json};

use super::asked::{Asked, At, HasToken, Place, Where, writer};
use super::entry::EntryJson;
use super::problem::Problem;
use crate::Gateway;
use crate::stream::{Gone, Out, lines};

fn known_aliases(gateway: &Gateway) -> Result<Option<Aliases>, Problem> {
    let Some(dir) = &gateway.settings().client_dir else { return Ok(None) };
    let unusable = |_| {
        Problem::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the client's directory cannot be used",
        )
    };
    Ok(Some(Aliases::of(&ClientDir::open(dir).map_err(unusable)?)))
}

/// All aliases of the client.
pub(super) async fn aliases(
    State(gateway): State<Arc<Gateway>>,
    _token: HasToken,
) -> Result<Json<Value>, Problem> {
    let listing = match known_aliases(&gateway)? {
        Some(aliases) => aliases.list()?.aliases,
        None => Default::default(),
    };
    let aliases = listing.iter().map(|(name, cap)| {
        let read = cap.read().map(|read| read.to_string());
        json!({ "name": name, "cap": cap.to_string(), "read": read,
            "writable": cap.authority() == Authority::Write })
    });
    Ok(Json(json!({ "aliases": aliases.collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRoot {
    alias: Option<String>,
}

/// Makes a directory that nothing links, and an alias for it.
pub(super) async fn new_root(
    State(gateway): State<Arc<Gateway>>,
    _token: HasToken,
    Asked(asked): Asked<NewRoot>,
) -> Result<Json<Value>, Problem> {
    let alias = match &asked.alias {
        None => None,
        Some(name) => {
            let name = alias_name(name).map_err(client::AliasError::from)?;
            let no_dir = || Problem::bad("this gateway knows no client's directory, and so no aliases");
            let aliases = known_aliases(&gateway)?.ok_or_else(no_dir)?;
            // A name that is taken need not cost a directory.
            if aliases.list()?.aliases.contains_key(&name) {
                return Err(client::AliasError::Exists { name }.into());
            }
            Some((aliases, name))
        }
    };
    let child = gateway.client().make_directory().await?;
    if let Some((aliases, name)) = alias {
        let cap = child.cap().clone();
        let added = tokio::task::spawn_blocking(move || aliases.add(&name, &cap)).await;
        added.map_err(|_| Problem::busy("the alias was not written"))??;
    }
    Ok(Json(json!({ "cap": child.cap().to_string() })))
}

/// Lists a directory, entry by entry.
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Asked(asked): Asked<At>,
) -> Result<Response, Problem> {
    let view = asked.place.read(&gateway)?.directory().await?;
    Ok(lines(async move |out| write_list(view, out).await))
}

async fn write_list(view: DirView, mut out: Out) -> Result<Out, Gone> {
    let text = |cap: Option<Cap>| cap.map(|cap| cap.to_string());
    let cap = view.cap();
    let (read, verify) = (text(cap.read()), text(cap.verify()));
    let (writable, confirmed) = (view.writer().is_some(), !view.is_doubtful());
    out.line(&json!({ "dir": { "writable": writable, "confirmed": confirmed,
        "cap": cap.to_string(), "read": read, "verify": verify } }))
        .await?;
    let mut entries = view.entries();
    let mut count = 0u64;
    loop {
        match entries.next().await {
            Ok(Some((name, entry))) => {
                count += 1;
                out.line(&EntryJson::in_view(&view, name.as_str(), entry)).await?;
            }
            Ok(None) => {
                out.line(&json!({ "end": true, "count": count })).await?;
                break;
            }
            Err(error) => {
                out.line(&json!({ "problem": Problem::from(error).json() })).await?;
                break;
            }
        }
    }
    drop(entries);
    Ok(out)
}

/// What one path leads to.
pub(super) async fn stat(
    State(gateway): State<Arc<Gateway>>,
    Asked(asked): Asked<At>,
) -> Result<Json<Value>, Problem> {
    let place = asked.place.read(&gateway)?;
    let target = place.resolve().await?;
    Ok(Json(described(&place, &target).await?))
}

async fn described(place: &Place, target: &Target) -> Result<Value, Problem> {
    let name = place.names.last().map_or("", Name::as_str);
    let mut entry = EntryJson::of(name, target);
    // What its directory says of a mutable file's size may be old.
    if let (EntryKind::File, Some(Cap::SlotRead(read))) = (target.kind(), target.cap.read()) {
        entry = entry.sized(place.client.read_mutable(&read).await?.size());
    }
    let mut out = serde_json::to_value(&entry).unwrap_or_default();
    let text = |cap: Option<Cap>| cap.map(|cap| cap.to_string());
    out["read"] = text(target.cap.read()).into();
    out["verify"] = text(target.cap.verify()).into();
    out["mime"] = match target.kind() {
        EntryKind::File => crate::content::of_name(name).into(),
        _ => Value::Null,
    };
    Ok(out)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MakeDirectory {
    #[serde(rename = "where")]
    parent: Where,
    name: String,
}

/// Makes a directory below another.
pub(super) async fn mkdir(
    State(gateway): State<Arc<Gateway>>,
    Asked(asked): Asked<MakeDirectory>,
) -> Result<Json<EntryJson>, Problem> {
    let name = Name::new(&asked.name)?;
    let place = asked.parent.read(&gateway)?;
    let view = place.directory().await?;
    let cap = writer(&view, "making a directory in it")?;
    // A name that is taken need not cost a directory; what counts is decided where it is linked.
    if view.get(&name).await?.is_some() {
        return Err(client::filestore::Refusal::Exists { name: name.to_string() }.into());
    }
    let child = place.client.make_directory().await?;
    let link = DirEdit::Link { name: name.clone(), child: Box::new(child.clone()), replace: Replace::No };
    place.client.edit_entry(cap, link).await?;
    Ok(Json(linked(name.as_str(), &child)))
}

/// The entry of something that was just linked.
pub(super) fn linked(name: &str, child: &Child) -> EntryJson {
    let target = Target { cap: child.cap().clone(), entry: None };
    let mut entry = encoding::directory::Entry::new(child.kind, child.caps.read.clone());
    entry.metadata = child.metadata.clone();
    entry.metadata.link_modified = entry.metadata.link_modified.or(Some(super::now()));
    EntryJson::of(name, &Target { entry: Some(entry), ..target })
}
