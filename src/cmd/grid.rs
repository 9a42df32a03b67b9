//! `sarsen grid`: who belongs to a grid, by its owner's word.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use client::Seams;
use client::membership::{
    GridSettings, InviteError, Ledger, LedgerError, Outlook, OwnerDir, OwnerError, await_guest, publish,
};
use humantime::format_rfc3339_seconds;
use protocol::invitation::{Code, DEFAULT_PORT, JoinAnswer, JoinRequest, Welcome};
use protocol::membership::{MAX_NAME_LEN, Role, SignedCertificate, SignedRevocations, check_text};
use protocol::session::{RequestError, Session};
use protocol::transport::Connector;
use protocol::{Clock, NodeAddress, NodeId, OsRandom, SystemClock};

use crate::cli::{GridCommand, Json, MemberArgs};
use crate::out::say;
use crate::report::{Partly, Unpublished};

/// How long an introducer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon an introducer that went away is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// Codes that are tried before an introducer counts as full.
const CODES: usize = 20;

/// An owner's directory is `grid` in the client's.
pub(crate) async fn run(home: &Path, command: &GridCommand, quiet: bool) -> anyhow::Result<()> {
    let dir = home.join("grid");
    match command {
        GridCommand::Init { introducers, shares } => {
            let settings = GridSettings { introducers: introducers.clone(), shares: *shares };
            let owner = OwnerDir::create(&dir, &settings, &OsRandom)?;
            say!("{}", owner.key.id())?;
            if !quiet {
                eprintln!("This is the key of the grid's owner; the secret half is in {}.", dir.display());
                eprintln!("Keep a copy of that folder: without it nobody is admitted or let go any more.");
                eprintln!(
                    "`sarsen grid invite` and `sarsen grid invite --server` bring in clients and servers."
                );
                eprintln!(
                    "To store something yourself, invite yourself: `sarsen join CODE`, from another terminal."
                );
            }
            Ok(())
        }
        GridCommand::Invite { what, expires } => invite(&OwnerDir::open(&dir)?, what, *expires, quiet).await,
        GridCommand::Admit { key, what } => admit(&OwnerDir::open(&dir)?, *key, what, quiet).await,
        GridCommand::Revoke { member } => {
            let owner = OwnerDir::open(&dir)?;
            let list =
                owner.change(|ledger| Ok::<_, GridError>(ledger.revoke(&owner.key, member, now())?))?;
            tell(&owner, Vec::new(), Some(list), quiet).await
        }
        GridCommand::Members(Json { json }) => members(&OwnerDir::open(&dir)?, *json, quiet),
        GridCommand::Renew => renew(&OwnerDir::open(&dir)?, quiet).await,
    }
}

/// What goes wrong in the owner's own files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GridError {
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

fn now() -> Duration {
    SystemClock::default().unix_time()
}

/// Connections under the owner's key.
fn connector(owner: &OwnerDir) -> anyhow::Result<Arc<dyn Connector>> {
    Ok(Seams::real(&owner.key)?.account)
}

async fn admit(owner: &OwnerDir, key: NodeId, what: &MemberArgs, quiet: bool) -> anyhow::Result<()> {
    let (role, zone) = (role(what), what.zone.clone());
    let certificate = owner.change(|ledger| {
        let known = ledger.members().iter().find(|member| member.key == key.to_string());
        let name = what.name.clone().or(known.map(|member| member.name.clone()));
        let name = name.unwrap_or_else(|| key.short());
        Ok::<_, GridError>(ledger.admit(&owner.key, key, role, &name, zone, now())?)
    })?;
    // Whoever is admitted anew is on the list with its older certificates only.
    let list = owner.ledger()?.revocations(&owner.key, now()).map_err(GridError::from)?;
    tell(owner, vec![certificate], Some(list), quiet).await?;
    remind(owner, quiet)
}

async fn renew(owner: &OwnerDir, quiet: bool) -> anyhow::Result<()> {
    let (certificates, list) = owner.change(|ledger| {
        let certificates = ledger.renew(&owner.key, now())?;
        Ok::<_, GridError>((certificates, ledger.revocations(&owner.key, now())?))
    })?;
    let count = certificates.len();
    tell(owner, certificates, Some(list), quiet).await?;
    if !quiet {
        match count {
            1 => eprintln!("1 member has a new certificate, good for 30 days."),
            _ => eprintln!("{count} members have new certificates, good for 30 days."),
        }
    }
    Ok(())
}

fn role(what: &MemberArgs) -> Role {
    if what.server { Role::Server } else { Role::Account }
}

/// Tells all introducers. What is written down is told again by `grid renew`, if one is away.
async fn tell(
    owner: &OwnerDir,
    certificates: Vec<SignedCertificate>,
    revocations: Option<SignedRevocations>,
    quiet: bool,
) -> anyhow::Result<()> {
    let introducers = &owner.settings.introducers;
    let told = publish(&connector(owner)?, introducers, certificates, revocations, PATIENCE).await;
    let failed: Vec<_> =
        told.iter().filter_map(|(address, told)| Some((address, told.as_ref().err()?))).collect();
    for (address, error) in &failed {
        eprintln!("sarsen: introducer {} was not told: {error}", address.host);
    }
    if failed.len() == introducers.len() {
        return Err(Unpublished.into());
    }
    if !failed.is_empty() {
        return Err(Partly { what: "it is done, and not all introducers know", again: true }.into());
    }
    if !quiet {
        eprintln!("The introducers were told.");
    }
    Ok(())
}

/// Says whose certificates end soon.
fn remind(owner: &OwnerDir, quiet: bool) -> anyhow::Result<()> {
    let ledger = owner.ledger()?;
    let due = |member: &&client::membership::Member| {
        matches!(member.outlook(now()), Outlook::EndsSoon | Outlook::Expired)
    };
    let count = ledger.members().iter().filter(due).count();
    if count > 0 && !quiet {
        eprintln!(
            "note: {count} certificates end within ten days or have ended: `sarsen grid renew` renews all"
        );
    }
    Ok(())
}

fn members(owner: &OwnerDir, json: bool, quiet: bool) -> anyhow::Result<()> {
    let ledger = owner.ledger()?;
    let word = |outlook| match outlook {
        Outlook::Good => "member",
        Outlook::EndsSoon => "ends soon",
        Outlook::Expired => "expired",
        Outlook::Revoked => "revoked",
    };
    if json {
        let each = ledger.members().iter().map(|member| {
            serde_json::json!({ "key": member.key, "name": member.name, "server": member.server,
                "zone": member.zone, "until_s": member.until_s, "serial": member.serial,
                "revoked": member.revoked, "state": word(member.outlook(now())) })
        });
        let each: Vec<_> = each.collect();
        say!("{:#}", serde_json::json!({ "owner": owner.key.id().to_string(), "members": each }))?;
        return Ok(());
    }
    say!("owner {}", owner.key.id())?;
    if ledger.members().is_empty() && !quiet {
        eprintln!("note: nobody belongs to it yet; `sarsen grid invite` brings in clients and servers");
    }
    for member in ledger.members() {
        let kind = if member.server { "server" } else { "client" };
        let zone = member.zone.as_ref().map_or_else(String::new, |zone| format!("  zone {zone}"));
        let state = match member.outlook(now()) {
            Outlook::Revoked => "revoked".to_owned(),
            Outlook::Expired => format!("expired at {}", date(member.until_s)),
            Outlook::Good | Outlook::EndsSoon => format!("until {}", date(member.until_s)),
        };
        say!("{kind} {}{zone}  {}  {state}", member.name, member.key)?;
    }
    remind(owner, quiet)
}

/// A date as people read it.
pub(crate) fn date(seconds: u64) -> String {
    let shown = std::time::UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799));
    format_rfc3339_seconds(shown).to_string()
}

async fn invite(owner: &OwnerDir, what: &MemberArgs, expires: Duration, quiet: bool) -> anyhow::Result<()> {
    if let Some(name) = &what.name {
        owner.ledger()?.check(None, name, what.zone.as_deref()).map_err(GridError::from)?;
    }
    remind(owner, quiet)?;
    let introducer = owner.settings.introducers.first().context("grid.toml names no introducer")?;
    let connector = connector(owner)?;
    let offering = offer(owner, &connector, introducer, what, expires, quiet);
    let (request, certificate) = tokio::select! {
        done = offering => done?,
        _ = tokio::signal::ctrl_c() => {
            return Err(crate::report::Interrupted { hint: "the invitation is withdrawn" }.into());
        }
    };
    if !quiet {
        let name = certificate.open().map(|certificate| certificate.name).unwrap_or_default();
        let kind = if what.server { "server" } else { "client" };
        eprintln!("{kind} {name} joined, with the key {}.", request.member);
    }
    tell(owner, vec![certificate], None, true).await
}

/// Offers a code until it is used or tried; only one that nobody tried is offered again.
async fn offer(
    owner: &OwnerDir,
    connector: &Arc<dyn Connector>,
    introducer: &NodeAddress,
    what: &MemberArgs,
    expires: Duration,
    quiet: bool,
) -> anyhow::Result<(JoinRequest, SignedCertificate)> {
    let begun = tokio::time::Instant::now();
    let (mut code, mut shown, mut codes) = (Code::generate(&OsRandom), false, 1);
    loop {
        let left = expires.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(InviteError::Unused.into());
        }
        let first = !shown;
        let opened = || {
            shown = true;
            if first && show(&code, introducer, what, quiet).is_err() {
                // Nobody reads it: the code is of no use, and Ctrl-C or its time ends it.
                eprintln!("sarsen: the code cannot be printed");
            }
        };
        let offered = async {
            let connecting = connect(&**connector, introducer);
            let session = connecting.await.map_err(InviteError::Unreachable)?;
            let decide = |request| decide(owner, what, request);
            await_guest(&session, &code, left, &OsRandom, opened, decide).await
        };
        match offered.await {
            Ok(answered) => {
                let decided = answered.decided?;
                if !answered.delivered {
                    eprintln!("note: the connection broke at the end; if they did not get in, invite again");
                }
                return Ok(decided);
            }
            Err(InviteError::Busy(_)) if !shown && codes < CODES => {
                codes += 1;
                code = Code::generate(&OsRandom);
            }
            Err(error) if error.is_untried() && shown => tokio::time::sleep(AGAIN).await,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn connect(connector: &dyn Connector, introducer: &NodeAddress) -> Result<Session, RequestError> {
    let connecting = async {
        let connection = connector.connect(introducer.id, std::slice::from_ref(&introducer.host)).await?;
        Session::start(connection).await
    };
    let connected = tokio::time::timeout(PATIENCE, connecting).await;
    connected.unwrap_or(Err(RequestError::Timeout { after: PATIENCE }))
}

fn show(code: &Code, introducer: &NodeAddress, what: &MemberArgs, quiet: bool) -> anyhow::Result<()> {
    let host = &introducer.host;
    let host = host.strip_suffix(&format!(":{DEFAULT_PORT}")).unwrap_or(host);
    say!("{}@{host}", *code.to_text())?;
    if !quiet {
        let verb = if what.server { "sarsen server join CODE --storage FOLDER" } else { "sarsen join CODE" };
        eprintln!("Tell it to nobody but whom it is for, who gives it to `{verb}`. It works once.");
        eprintln!("Waiting; Ctrl-C withdraws it.");
    }
    Ok(())
}

type Decided = (JoinAnswer, anyhow::Result<(JoinRequest, SignedCertificate)>);

/// What to answer whoever came with the right code.
fn decide(owner: &OwnerDir, what: &MemberArgs, request: JoinRequest) -> Decided {
    let refuse = |reason: &str, error: anyhow::Error| (JoinAnswer::Refused(reason.to_owned()), Err(error));
    if request.role != role(what) {
        let reason = match what.server {
            true => "the invitation is for a server: `sarsen server join`",
            false => "the invitation is for a client: `sarsen join`",
        };
        return refuse(reason, anyhow::anyhow!("it was used for something else: {reason}"));
    }
    let admitted = owner.change(|ledger| {
        let name = match &what.name {
            Some(name) => name.clone(),
            None => free_name(ledger, &request),
        };
        let (member, zone) = (request.member, what.zone.clone());
        Ok::<_, GridError>(ledger.admit(&owner.key, member, request.role, &name, zone, now())?)
    });
    let certificate = match admitted {
        Ok(certificate) => certificate,
        Err(error) => return refuse("the owner could not write it down", error.into()),
    };
    let shares = owner.settings.shares;
    let welcome = Welcome {
        owner: owner.key.id(),
        certificate: certificate.clone(),
        introducers: owner.settings.introducers.iter().map(ToString::to_string).collect(),
        needed: shares.needed,
        happy: shares.happy,
        total: shares.total,
    };
    (JoinAnswer::Welcome(welcome), Ok((request, certificate)))
}

/// What it calls itself, or that with a number, or its key.
fn free_name(ledger: &Ledger, request: &JoinRequest) -> String {
    let free = |name: &String| ledger.check(Some(&request.member), name, None).is_ok();
    let wanted = &request.name;
    let usable = check_text(wanted).is_ok() && wanted.len() + 8 <= MAX_NAME_LEN;
    let numbered = (2..1000).map(|number| format!("{wanted}-{number}"));
    let mut names = [wanted.clone()].into_iter().chain(numbered).filter(|_| usable);
    names.find(free).unwrap_or_else(|| request.member.short())
}
