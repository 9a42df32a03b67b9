//! `sarsen usage`: what this client's account is charged by the servers, and what it may be.

use std::path::Path;

use client::ServerUsage;

use crate::out::say;
use crate::report::Partly;
use crate::sizes::human;

pub(crate) async fn run(dir: &Path, json: bool, quiet: bool) -> anyhow::Result<()> {
    let client = super::connected(dir, quiet).await?;
    let hint = "servers that do not answer are waited for a few seconds each";
    let servers = super::interruptible(&client, hint, async { Ok(client.usage().await) }).await?;
    client.close().await;
    if json {
        say!("{:#}", to_json(&servers))?
    } else {
        print(&servers)?
    }
    match servers.iter().all(|server| server.outcome.is_ok()) {
        true => Ok(()),
        false => Err(Partly { what: "some servers did not say what they charge", again: true }.into()),
    }
}

/// What all that answered charge together.
fn used(servers: &[ServerUsage]) -> u64 {
    servers.iter().flat_map(|server| &server.outcome).fold(0, |sum, usage| usage.used.saturating_add(sum))
}

fn print(servers: &[ServerUsage]) -> anyhow::Result<()> {
    for server in servers {
        let name = server.server.name();
        match &server.outcome {
            Err(error) => say!("server {name}  does not answer: {error}")?,
            Ok(usage) => {
                let quota = usage.quota.map_or("no quota".to_owned(), |quota| format!("of {}", human(quota)));
                say!("server {name}  {} used, {quota}", human(usage.used))?;
            }
        }
    }
    let answered = servers.iter().filter(|server| server.outcome.is_ok()).count();
    say!("{} used on {answered} of {} servers", human(used(servers)), servers.len())
}

fn to_json(servers: &[ServerUsage]) -> serde_json::Value {
    let each = servers.iter().map(|server| {
        let known = &server.server;
        let mut out = serde_json::json!({ "id": known.id.to_string(), "nickname": known.nickname });
        match &server.outcome {
            Err(error) => out["error"] = error.to_string().into(),
            Ok(usage) => {
                out["used"] = usage.used.into();
                out["quota"] = usage.quota.into();
                let stores = usage
                    .stores
                    .iter()
                    .map(|store| serde_json::json!({ "id": store.store.to_string(), "used": store.used }));
                out["stores"] = stores.collect::<Vec<_>>().into();
            }
        }
        out
    });
    serde_json::json!({ "used": used(servers), "servers": each.collect::<Vec<_>>() })
}
