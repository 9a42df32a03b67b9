//! Which server holds what of one file or directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use caps::Cap;
use client::Server;
use client::check::{CheckOptions, Health};
use protocol::NodeId;
use serde_json::{Value, json};

use super::asked::{Asked, At};
use super::problem::Problem;
use crate::Gateway;

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
    let (health, status) =
        tokio::join!(client.check(cap, CheckOptions::default()), gateway.shared().watch.status(&gateway));
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
    out["problems"] = health.problems.into();
    Ok(Json(out))
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
