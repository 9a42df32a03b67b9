//! `sarsen join` and `sarsen server join`: into a grid with a short code.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use client::membership::{JoinError, Joined, Papers, join};
use client::{ClientDir, Shares};
use protocol::invitation::{Invitation, JoinRequest};
use protocol::membership::{MAX_NAME_LEN, MembershipNews, Role};
use protocol::quic::{bind, connect_to_anybody};
use protocol::session::{RequestError, Session};
use protocol::{NodeKey, OsRandom, Random};
use storage_server::config::{AdmissionConfig, Config};
use storage_server::node;
use zeroize::Zeroizing;

use super::grid::date;
use crate::cli::{Join, ServerJoin};

/// How long the introducer may take to greet.
const PATIENCE: Duration = Duration::from_secs(10);

fn new_secret() -> Zeroizing<[u8; 32]> {
    Zeroizing::new((&OsRandom as &dyn Random).bytes())
}

/// Uses the invitation for a key.
async fn use_invitation(invitation: &Invitation, request: JoinRequest) -> anyhow::Result<Joined> {
    let bound = bind((Ipv6Addr::UNSPECIFIED, 0).into(), None)
        .or_else(|_| bind((Ipv4Addr::UNSPECIFIED, 0).into(), None));
    let (endpoint, _) = bound.context("no UDP socket can be opened")?;
    // The account says nothing on this connection: whoever answers may be anybody.
    let throwaway = NodeKey::from_seed(&new_secret());
    let host = &invitation.host;
    let greeting = async {
        let (introducer, connection) =
            connect_to_anybody(&endpoint, &throwaway, host).await.map_err(RequestError::from)?;
        let session = Session::start(connection).await?;
        Ok::<_, JoinError>((introducer, session))
    };
    let late = |_| JoinError::Request(RequestError::Timeout { after: PATIENCE });
    let (introducer, session) = tokio::time::timeout(PATIENCE, greeting).await.map_err(late)??;
    let joined = join(&session, introducer, host, &invitation.code, &request, &OsRandom).await?;
    session.connection().close();
    let _ = tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
    Ok(joined)
}

/// What this machine calls itself.
fn machine() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().filter(|c| !c.is_control()).take(MAX_NAME_LEN / 4).collect()
}

pub(crate) async fn client(dir: &Path, args: &Join, quiet: bool) -> anyhow::Result<()> {
    let existing = match ClientDir::holds_client(dir) {
        true => Some(ClientDir::open(dir)?),
        false => None,
    };
    if let Some(existing) = &existing
        && let Some(owner) = existing.settings()?.owner
    {
        bail!("this client belongs to the grid of {owner} already; name another directory with --dir");
    }
    let (key, secret) = match &existing {
        Some(existing) => (existing.account_key()?, None),
        None => {
            let secret = new_secret();
            (NodeKey::from_seed(&secret), Some(secret))
        }
    };
    let name = args.name.clone().unwrap_or_else(machine);
    let request = JoinRequest { member: key.id(), role: Role::Account, name };
    let joined = use_invitation(&args.invitation, request).await?;
    let welcome = &joined.welcome;
    let shares = Shares { needed: welcome.needed, happy: welcome.happy, total: welcome.total };
    let made = match (existing, secret) {
        (Some(existing), _) => {
            existing.enter_grid(welcome.owner, &joined.introducers, shares)?;
            existing
        }
        (None, secret) => {
            let secret = secret.context("a new client has a new secret")?;
            let (introducers, owner) = (&joined.introducers, Some(welcome.owner));
            ClientDir::create_member(dir, &secret, introducers, shares, None, owner, &OsRandom)?
        }
    };
    let papers: Papers = made.papers()?.context("the settings name the grid's owner")?;
    let certificate = Some(welcome.certificate.clone());
    papers
        .learn(MembershipNews { certificate, revocations: None })
        .context("the certificate cannot be kept")?;
    if !quiet {
        let certificate = &joined.certificate;
        eprintln!("This client lives in {}.", dir.display());
        eprintln!(
            "It is {} in the grid of {}, until {}; it fetches the next certificate by itself.",
            certificate.name,
            welcome.owner.short(),
            date(certificate.not_after_s)
        );
    }
    Ok(())
}

pub(crate) async fn server(home: &Path, args: &ServerJoin) -> anyhow::Result<()> {
    let beside = || home.parent().unwrap_or(Path::new(".")).join("sarsen-server");
    let dir: PathBuf = args.server_dir.clone().unwrap_or_else(beside);
    if dir.join(node::CONFIG_FILE).exists() {
        bail!("{} holds a server already", dir.display());
    }
    // What can fail here fails before the invitation is used up.
    let listen = super::server::fixed_port(&args.listen)?.to_string();
    for storage in &args.storage {
        std::fs::create_dir_all(&storage.path)
            .with_context(|| format!("cannot make {}", storage.path.display()))?;
    }
    let key = NodeKey::from_seed(&new_secret());
    let name = args.nickname.clone().unwrap_or_else(machine);
    let request = JoinRequest { member: key.id(), role: Role::Server, name };
    let joined = use_invitation(&args.invitation, request).await?;
    let certificate = &joined.certificate;
    let config = Config {
        listen,
        nickname: args.nickname.clone().unwrap_or_else(|| certificate.name.clone()),
        zone: certificate.zone.clone(),
        introducers: joined.introducers.clone(),
        owner: Some(joined.welcome.owner),
        admission: AdmissionConfig::Members,
        storage: args.storage.clone(),
        ..Config::default()
    };
    node::init_as(&dir, config, &key, Some(joined.welcome.certificate.clone()))?;
    eprintln!(
        "The server is {} in the grid of {}, until {}; it fetches the next certificate by itself.",
        certificate.name,
        joined.welcome.owner.short(),
        date(certificate.not_after_s)
    );
    eprintln!("Start it with: sarsen server run {}", dir.display());
    Ok(())
}
