//! Which server holds what of one file or directory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use caps::Cap;
use client::check::{CheckOptions, Health, PieceGroup, Pieces};
use client::{Client, DownloadError, Server};
use protocol::NodeId;
use serde_json::{Value, json};

use super::asked::{Asked, At};
use super::problem::Problem;
use crate::Gateway;

/// Pieces of a large file that are looked at.
const PIECES_MAX: usize = 2000;
/// Large files whose pieces are remembered: as long as a map is open, it is asked for every few seconds.
const REMEMBERED: usize = 16;

/// What the files are made of whose maps were asked for last; `None` for those that are one object. None of it ever changes.
#[derive(Default)]
pub(super) struct Known(Mutex<VecDeque<(blake3::Hash, Option<Arc<Pieces>>)>>);

impl Known {
    fn get(&self, id: &blake3::Hash) -> Option<Option<Arc<Pieces>>> {
        let known = self.0.lock().expect("no code panics while it holds this lock");
        known.iter().find(|(one, _)| one == id).map(|(_, pieces)| pieces.clone())
    }

    fn add(&self, id: blake3::Hash, pieces: Option<Arc<Pieces>>) {
        let mut known = self.0.lock().expect("no code panics while it holds this lock");
        known.retain(|(one, _)| *one != id);
        known.push_front((id, pieces));
        known.truncate(REMEMBERED);
    }
}

/// The pieces of a large file, and where they are.
async fn located(
    gateway: &Gateway,
    client: &Client,
    cap: &Cap,
) -> Result<Option<(Arc<Pieces>, Vec<PieceGroup>)>, DownloadError> {
    let known = &gateway.shared().maps;
    let id = blake3::hash(cap.to_string().as_bytes());
    let pieces = match known.get(&id) {
        Some(pieces) => pieces,
        None => {
            let pieces = client.pieces(cap, PIECES_MAX).await?.map(Arc::new);
            // What could not be opened now may be another time.
            if pieces.as_ref().is_none_or(|pieces| pieces.closed == 0) {
                known.add(id, pieces.clone());
            }
            pieces
        }
    };
    let Some(pieces) = pieces else { return Ok(None) };
    let groups = client.locate(&pieces).await;
    Ok(Some((pieces, groups)))
}

/// The share map.
pub(super) async fn map(
    State(gateway): State<Arc<Gateway>>,
    Asked(asked): Asked<At>,
) -> Result<Json<Value>, Problem> {
    let place = asked.place.read(&gateway)?;
    let target = place.resolve().await?;
    let (cap, client) = (&target.cap, &place.client);
    let kind = match (cap.is_directory(), cap.is_mutable()) {
        (true, _) => "dir",
        (false, true) => "mutable",
        (false, false) => "file",
    };
    // Who answers now is known from asking for the shares; servers that hold none of it are asked beside that.
    let (health, status, pieces) = tokio::join!(
        client.check(cap, CheckOptions::default()),
        gateway.shared().watch.status(&gateway),
        located(&gateway, client, cap)
    );
    let answering: BTreeSet<NodeId> = status
        .servers
        .iter()
        .filter(|server| server.outcome.is_ok())
        .map(|server| server.server.id)
        .collect();
    let mut servers: BTreeMap<NodeId, Server> =
        client.grid().servers().into_iter().map(|server| (server.id, server)).collect();
    let Some(health) = health? else {
        return Ok(Json(
            json!({ "kind": "literal", "size": cap.size(), "k": 0, "n": 0, "happy": 0, "shares": [],
            "servers": shown(&servers, &answering),
            "detail": "the capability itself holds it: no server has any of it" }),
        ));
    };
    let mut out = json!({ "kind": kind, "size": cap.size(), "state": state(&health), "happy": health.happy });
    if health.is_slot() {
        members(&gateway, cap, &health, &mut servers, &mut out).await;
    } else {
        let shares = health.holders.iter().map(|(number, holders)| {
            let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
            json!({ "number": number, "servers": holders })
        });
        out["shares"] = shares.collect::<Vec<_>>().into();
        (out["k"], out["n"]) = (health.needed.into(), health.total.into());
    }
    out["servers"] = shown(&servers, &answering).into();
    // Where not even the root can be read, its shares say so.
    if let Ok(Some((pieces, groups))) = pieces {
        pieced(&pieces, &groups, &servers, &mut out);
    }
    out["problems"] = health.problems.into();
    Ok(Json(out))
}

/// Adds where the pieces of a large file are. Servers are told by where they stand among `servers`: their ids are long, and there are many.
fn pieced(pieces: &Pieces, groups: &[PieceGroup], servers: &BTreeMap<NodeId, Server>, out: &mut Value) {
    let places: BTreeMap<&NodeId, usize> = servers.keys().enumerate().map(|(at, id)| (id, at)).collect();
    let mut held = vec![0; servers.len()];
    let told = groups.iter().map(|group| {
        let here = |share: &BTreeSet<NodeId>| share.iter().filter_map(|id| places.get(id).copied()).collect();
        let holders: Vec<Vec<usize>> = group.holders.iter().map(here).collect();
        let all: BTreeSet<usize> = holders.iter().flatten().copied().collect();
        all.into_iter().for_each(|at| held[at] += group.count);
        json!({ "count": group.count, "k": group.needed, "n": group.total, "holders": holders })
    });
    out["pieces"] = json!({ "groups": told.collect::<Vec<_>>(), "total": pieces.total,
        "looked_at": pieces.looked_at(), "closed": pieces.closed });
    for (at, held) in held.into_iter().enumerate() {
        out["servers"][at]["pieces"] = held.into();
    }
}

fn state(health: &Health) -> &'static str {
    match health.state {
        client::check::State::Healthy => "healthy",
        client::check::State::Unhealthy => "unhealthy",
        client::check::State::Unrecoverable => "unrecoverable",
    }
}

/// The members of a slot: those of its newest record, where it can be read, and else those that were found to hold it.
async fn members(
    gateway: &Gateway,
    cap: &Cap,
    health: &Health,
    servers: &mut BTreeMap<NodeId, Server>,
    out: &mut Value,
) {
    let (mut quorum, mut stores) = (health.needed as u64, health.stores.clone());
    if let Some(Cap::SlotRead(read)) = cap.read() {
        match gateway.client().slot_record(&read).await {
            Ok((record, _)) => {
                quorum = u64::from(record.config.quorum);
                stores = record.config.members.iter().map(|member| NodeId::new(member.store)).collect();
            }
            // When servers are gone, those that are not are what the map is asked for.
            Err(error) => out["detail"] = format!("these are only those that were found: {error}").into(),
        }
    }
    let (mut members, mut holding) = (Vec::new(), Vec::new());
    for store in stores {
        let server = gateway.client().grid().server_of(&store).unwrap_or_else(|| Server::unknown(store));
        if health.stores.contains(&store) {
            holding.push(server.id.to_string());
        }
        members.push(server.id.to_string());
        servers.entry(server.id).or_insert(server);
    }
    (out["members"], out["holding"], out["quorum"]) = (members.into(), holding.into(), quorum.into());
}

fn shown(servers: &BTreeMap<NodeId, Server>, answering: &BTreeSet<NodeId>) -> Vec<Value> {
    let one = |server: &Server| {
        json!({ "id": server.id.to_string(), "name": server.name(), "zone": server.zone,
                "answers": answering.contains(&server.id) })
    };
    servers.values().map(one).collect()
}
