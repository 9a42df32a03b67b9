//! `sarsen status`: introducers, servers, space, round-trip times.

use std::path::Path;

use client::{Client, ClientDir, GridStatus, ServerStatus};
use protocol::message::{StoreReport, StoreState, StoreStatus};
use protocol::{Clock, NodeId, SystemClock};

use super::grid::date;
use super::long::day;
use crate::out::say;
use crate::report::NoneAnswers;
use crate::sizes::human;

pub(crate) async fn run(dir: &Path, json: bool) -> anyhow::Result<()> {
    let client = Client::open(dir)?;
    client.grid().away().be_patient();
    let hint = "servers that do not answer are waited for a few seconds each";
    let asked = async { Ok(tokio::join!(client.status(), client.usage())) };
    let (status, usage) = super::interruptible(&client, hint, asked).await?;
    let room = client.room(&status, &usage);
    client.close().await;
    let account = ClientDir::open(dir)?.account_key()?.id();
    match json {
        true => say!("{}", to_json(&client, &status, &account, room))?,
        false => print(&client, &status, &account, room)?,
    }
    match status.servers.iter().any(|server| server.outcome.is_ok()) {
        true => Ok(()),
        false => Err(NoneAnswers { known: status.servers.len() }.into()),
    }
}

fn print(client: &Client, status: &GridStatus, account: &NodeId, room: u64) -> anyhow::Result<()> {
    say!("account {account}")?;
    say_membership(client)?;
    for report in &status.introducers {
        match &report.outcome {
            Ok(named) => say!("introducer {}  names {} servers", report.address.host, named.len())?,
            Err(error) => say!("introducer {}  does not answer: {error}", report.address.host)?,
        }
        if report.rejected > 0 {
            say!("  {} announcements of it are not believed", report.rejected)?;
        }
    }
    difference(status)?;
    let mut free = 0_u64;
    let mut reached = 0;
    for server in &status.servers {
        let counts =
            if client.counts(&server.server) { "" } else { "  gets no shares: neither certified nor pinned" };
        let zone = server.server.zone.as_ref().map_or_else(String::new, |zone| format!("  zone {zone}"));
        match &server.outcome {
            Err(error) => {
                say!("server {}{zone}{counts}  does not answer: {error}", server.server.name())?;
                for store in &server.server.stores {
                    if let Some(report) = &store.report {
                        say!("  store {} announced itself {}", store.id.short(), announced(report))?;
                    }
                }
            }
            Ok(up) => {
                let available = server.available();
                free = free.saturating_add(available);
                reached += 1;
                let ms = up.round_trip.as_secs_f64() * 1e3;
                let used: u64 = up.status.stores.iter().fold(0, |sum, store| store.used.saturating_add(sum));
                let (used, available) = (human(used), human(available));
                let (name, scrubbed) = (server.server.name(), scrubbed(&up.status.stores));
                say!("server {name}{zone}{counts}  {used} used, {available} free, {scrubbed}, {ms:.2} ms")?;
                for store in &up.status.stores {
                    tell_of_store(store)?;
                }
            }
        }
    }
    let shares = client.settings().shares;
    say!(
        "{reached} of {} servers answer; {} free, room for {} of files at {} of {}",
        status.servers.len(),
        human(free),
        human(room),
        shares.needed,
        shares.total
    )
}

/// What is to be known of a store beside its space: nothing where it is well.
fn tell_of_store(store: &StoreStatus) -> anyhow::Result<()> {
    let id = store.id.short();
    match store.state {
        StoreState::Writable if store.available == 0 => say!("  store {id} is full")?,
        StoreState::Writable => {}
        state => say!("  store {id} takes no shares: it {}", state_text(state))?,
    }
    let Some(scrub) = &store.scrub else { return Ok(()) };
    if scrub.bad > 0 {
        let shares = if scrub.bad == 1 { "share" } else { "shares" };
        say!(
            "  store {id} found {} bad {shares} so far, {} of them unreadable",
            scrub.bad,
            scrub.unreadable
        )?;
    }
    Ok(())
}

/// Since when all stores of a server have been scrubbed.
fn scrubbed(stores: &[StoreStatus]) -> String {
    let dates: Option<Vec<u64>> =
        stores.iter().filter_map(|store| store.scrub.as_ref()).map(|scrub| scrub.finished_s).collect();
    match dates.and_then(|dates| dates.into_iter().min()).and_then(day) {
        Some(day) => format!("scrubbed {day}"),
        None => "not scrubbed yet".to_owned(),
    }
}

fn state_text(state: StoreState) -> &'static str {
    match state {
        StoreState::Writable => "takes shares",
        StoreState::ReadOnly => "is read-only",
        StoreState::Failing => "is failing: its disk cannot read all that was written to it",
        _ => "failed: its disk broke its word, or is not there",
    }
}

fn announced(report: &StoreReport) -> String {
    let scrubbed = report.scrubbed_s.and_then(day).map_or("never".to_owned(), |day| day);
    format!("as one that {}; {} used, scrubbed {scrubbed}", state_text(report.state), human(report.used))
}

/// Whether this client belongs to a grid, and until when.
fn say_membership(client: &Client) -> anyhow::Result<()> {
    let Some(papers) = client.papers() else { return Ok(()) };
    let (grid, now) = (papers.owner().short(), SystemClock::default().unix_time());
    match (papers.at(now), papers.certificate()) {
        (Ok(certificate), _) => {
            let until = date(certificate.not_after_s);
            say!("member of the grid of {grid} as {}, until {until}", certificate.name)
        }
        (Err(reason), Some(certificate)) => {
            let until = date(certificate.not_after_s);
            say!("no member of the grid of {grid}: {reason} (it ran until {until})")
        }
        (Err(reason), None) => say!("no member of the grid of {grid}: {reason}"),
    }
}

fn membership_json(client: &Client) -> serde_json::Value {
    let Some(papers) = client.papers() else { return serde_json::Value::Null };
    let now = SystemClock::default().unix_time();
    let certificate = papers.certificate();
    serde_json::json!({
        "owner": papers.owner().to_string(), "valid": papers.at(now).is_ok(),
        "problem": papers.at(now).err().map(|reason| reason.to_string()),
        "name": certificate.as_ref().map(|certificate| certificate.name.clone()),
        "until_s": certificate.as_ref().map(|certificate| certificate.not_after_s),
    })
}

/// Where introducers differ, the union is used and the difference shown.
fn difference(status: &GridStatus) -> anyhow::Result<()> {
    let named: Vec<_> = status
        .introducers
        .iter()
        .filter_map(|report| report.outcome.as_ref().ok().map(|n| (report, n)))
        .collect();
    for (report, list) in &named {
        let missing: Vec<String> = status
            .servers
            .iter()
            .filter(|server| {
                !list.contains(&server.server.id) && named.iter().any(|(_, n)| n.contains(&server.server.id))
            })
            .map(|server| server.server.name())
            .collect();
        if !missing.is_empty() {
            say!("  {} does not name {}", report.address.host, missing.join(", "))?;
        }
    }
    Ok(())
}

fn to_json(client: &Client, status: &GridStatus, account: &NodeId, room: u64) -> serde_json::Value {
    let introducers: Vec<_> = status
        .introducers
        .iter()
        .map(|report| {
            let (servers, error) = match &report.outcome {
                Ok(named) => (Some(named.iter().map(ToString::to_string).collect::<Vec<_>>()), None),
                Err(error) => (None, Some(error.to_string())),
            };
            serde_json::json!({ "address": report.address.to_string(), "servers": servers, "error": error,
                                "rejected": report.rejected })
        })
        .collect();
    let servers: Vec<_> = status.servers.iter().map(|server| server_json(client, server)).collect();
    let shares = client.settings().shares;
    serde_json::json!({
        "account": account.to_string(), "membership": membership_json(client),
        "introducers": introducers, "servers": servers, "can_store": room,
        "shares": { "needed": shares.needed, "happy": shares.happy, "total": shares.total },
    })
}

fn server_json(client: &Client, server: &ServerStatus) -> serde_json::Value {
    let known = &server.server;
    let mut out = serde_json::json!({
        "id": known.id.to_string(), "nickname": known.nickname, "zone": known.zone, "addresses": known.addresses,
        "connected": server.outcome.is_ok(), "counts": client.counts(known),
    });
    match &server.outcome {
        Err(error) => out["error"] = error.to_string().into(),
        Ok(up) => {
            out["software"] = up.status.software.clone().into();
            out["uptime_s"] = up.status.uptime_s.into();
            out["connect_ms"] = (up.connect.as_secs_f64() * 1e3).into();
            out["round_trip_ms"] = (up.round_trip.as_secs_f64() * 1e3).into();
            let stores = up.status.stores.iter().map(|store| {
                serde_json::json!({ "id": store.id.to_string(), "incarnation": store.incarnation,
                    "state": format!("{:?}", store.state), "available": store.available, "used": store.used,
                    "shares": store.shares, "scrub": store.scrub.map(|scrub| serde_json::json!({
                        "finished": scrub.finished_s, "done": scrub.done, "checked": scrub.checked, "bad": scrub.bad,
                        "unreadable": scrub.unreadable })) })
            });
            out["stores"] = stores.collect::<Vec<_>>().into();
        }
    }
    out
}
