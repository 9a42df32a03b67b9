//! `sarsen slot`: look after the slot of a directory or mutable file.

use std::path::Path;

use caps::{Cap, SlotRead, SlotVerify, SlotWrite};
use client::Client;
use client::filestore::FileStoreError;
use client::slot::{Freshness, SlotHealth};
use encoding::open_slot;
use encoding::slot::{Member, SignedRecord};
use protocol::NodeId;

use super::session::{self, Session};
use crate::cli::SlotCommand;
use crate::out::say;

/// A cap that names no slot.
#[derive(Debug, thiserror::Error)]
#[error("a {kind} cap names no slot: what it names never changes")]
pub(crate) struct NoSlot {
    /// The kind of the cap.
    kind: &'static str,
}

pub(crate) async fn run(home: &Path, command: &SlotCommand, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| match command {
        SlotCommand::Show { path, json } => show(session, path, json.json).await,
        SlotCommand::Restore { path, json } => restore(session, path, json.json).await,
        SlotCommand::Members { path, force } => members(session, path, *force).await,
        SlotCommand::Force { path } => members(session, path, true).await,
        SlotCommand::Delete { path } => {
            let cap = write_cap(session, path, "deleting").await?;
            session.client.delete_slot(&cap).await?;
            session.note(format_args!("deleted: what is linked to it leads nowhere from now on"));
            Ok(())
        }
    })
    .await
}

async fn show(session: &Session, path: &str, json: bool) -> anyhow::Result<()> {
    let client = &session.client;
    let cap = read_cap(&cap_at(session, path).await?)?;
    let (record, freshness) = client.slot_record(&cap).await?;
    let opens = open_slot(&cap.key, &record.id.salt, &cap.hash, &record.payload).is_ok();
    let sure = (opens && !record.tombstone).then_some(freshness == Freshness::Confirmed);
    if json {
        let mut out = record_json(client, &record);
        out["confirmed"] = sure.into();
        return say!("{out:#}");
    }
    print_record(client, &record, &|_| "")?;
    match sure {
        Some(true) => say!("read:      confirmed by a quorum"),
        Some(false) => say!("read:      newest seen; too few members answer to be sure"),
        None => say!("read:      it cannot be"),
    }
}

async fn restore(session: &Session, path: &str, json: bool) -> anyhow::Result<()> {
    let client = &session.client;
    let verify = verify_cap(&cap_at(session, path).await?)?;
    let health = client.restore_slot(&verify).await?;
    if json {
        let mut out = record_json(client, &health.record);
        let ids = |ids: &[NodeId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        out["holding"] = ids(&health.holding).into();
        out["kept"] = ids(&health.kept).into();
        out["spare"] = health.spare().into();
        let failures: Vec<String> = health.failures.iter().map(ToString::to_string).collect();
        out["failures"] = failures.into();
        return say!("{out:#}");
    }
    print_record(client, &health.record, &|member| holding(&health, member))?;
    let spare = health.spare();
    if spare < 0 {
        say!("spare:     none; {} more members have to come back before it can be changed", -spare)?;
    } else {
        say!("spare:     {spare} more members may be lost before it can no longer be changed")?;
    }
    health.failures.iter().for_each(|failure| session.note(format_args!("note: {failure}")));
    Ok(())
}

fn holding(health: &SlotHealth, member: &Member) -> &'static str {
    let store = NodeId::new(member.store);
    if health.holding.contains(&store) {
        "  holds it"
    } else if health.kept.contains(&store) {
        "  keeps it, and does not count"
    } else if health.failures.iter().any(|failure| failure.store == store && !failure.answered) {
        "  does not answer"
    } else {
        "  does not hold it"
    }
}

async fn members(session: &Session, path: &str, force: bool) -> anyhow::Result<()> {
    let client = &session.client;
    let cap = write_cap(session, path, "changing members").await?;
    let members = client.live_members(&cap).await?;
    let happy = usize::from(client.settings().shares.happy);
    let record = if force {
        eprintln!(
            "WARNING: the members there are were not asked. Changes that only they acknowledged are lost, and they must not come back with \
             something newer: begin a new epoch only when they are gone for good."
        );
        client.force_members(&cap, members, happy).await?
    } else {
        client.change_members(&cap, members, happy).await?
    };
    print_record(client, &record, &|_| "")
}

async fn cap_at(session: &Session, path: &str) -> anyhow::Result<Cap> {
    Ok(session.at(path)?.resolve(&session.client).await?.cap)
}

async fn write_cap(session: &Session, path: &str, what: &str) -> anyhow::Result<SlotWrite> {
    match cap_at(session, path).await? {
        Cap::SlotWrite(cap) => Ok(cap),
        other => {
            verify_cap(&other)?;
            Err(FileStoreError::ReadOnly { what: what.to_owned() }.into())
        }
    }
}

fn read_cap(cap: &Cap) -> anyhow::Result<SlotRead> {
    match cap.read() {
        Some(Cap::SlotRead(cap)) => Ok(cap),
        _ => {
            verify_cap(cap)?;
            Err(FileStoreError::NotReadable { kind: cap.kind() }.into())
        }
    }
}

fn verify_cap(cap: &Cap) -> anyhow::Result<SlotVerify> {
    match cap.verify() {
        Some(Cap::SlotVerify(cap)) => Ok(cap),
        _ => Err(NoSlot { kind: cap.kind() }.into()),
    }
}

fn name_of(client: &Client, member: &Member) -> String {
    let store = NodeId::new(member.store);
    client
        .grid()
        .server_of(&store)
        .map_or_else(|| "of no server that is known".to_owned(), |server| server.name())
}

fn print_record(
    client: &Client,
    record: &SignedRecord,
    holds: &dyn Fn(&Member) -> &'static str,
) -> anyhow::Result<()> {
    let (ballot, config) = (record.ballot(), &record.config);
    say!("H:         {}", record.id.hash())?;
    say!("epoch:     {}{}", ballot.epoch, if record.forced { ", begun by force" } else { "" })?;
    say!("change:    {}", ballot.counter)?;
    say!("quorum:    {} of {} members", config.quorum, config.members.len())?;
    if record.tombstone {
        say!("deleted:   yes")?;
    }
    for member in &config.members {
        say!("member:    {} {}{}", NodeId::new(member.store), name_of(client, member), holds(member))?;
    }
    for member in record.old.iter().flat_map(|old| &old.members) {
        say!("leaving:   {} {}{}", NodeId::new(member.store), name_of(client, member), holds(member))?;
    }
    Ok(())
}

fn record_json(client: &Client, record: &SignedRecord) -> serde_json::Value {
    let list = |members: &[Member]| -> Vec<serde_json::Value> {
        let one = |member: &Member| {
            serde_json::json!({ "store": NodeId::new(member.store).to_string(), "server": name_of(client, member),
                                "incarnation": member.incarnation })
        };
        members.iter().map(one).collect()
    };
    serde_json::json!({
        "hash": record.id.hash().to_string(), "epoch": record.ballot().epoch, "change": record.ballot().counter,
        "quorum": record.config.quorum, "members": list(&record.config.members),
        "leaving": record.old.as_ref().map(|old| list(&old.members)), "deleted": record.tombstone,
        "forced": record.forced, "len": record.bytes().len(),
    })
}
