//! Membership as a server needs it: its own certificate, and who may store here by the word of the grid's owner.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use humantime::format_rfc3339_seconds;
use protocol::NodeId;
use protocol::membership::{
    Certificate, Membership, MembershipNews, NotAMember, PapersError, SignedCertificate,
};
use protocol::message::{AskMembership, ErrorCode, Request, WireError};
use protocol::session::{RequestError, Session, read_reply};
use protocol::transport::Connector;
use protocol::{BoxFuture, NodeAddress};

use crate::disk::{Disk, read_file, replace_file};
use crate::store::lock;

/// The file in a server's directory that holds its certificate and the newest revocation list.
pub const PAPERS_FILE: &str = "membership";
/// The longest such file.
const PAPERS_MAX: u64 = 1 << 20;

/// A server's membership, on disk. Clones share it.
#[derive(Clone)]
pub struct Members(Arc<Inner>);

struct Inner {
    papers: Mutex<Membership>,
    /// Held while the file is written, so that an older one never replaces a newer.
    disk: Mutex<Arc<dyn Disk>>,
}

/// Why the papers cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembersError {
    /// They are not what a server writes.
    #[error(transparent)]
    Papers(#[from] PapersError),
    /// The disk says no.
    #[error("the file {PAPERS_FILE} cannot be used")]
    Io(#[from] io::Error),
}

impl Members {
    /// What the server with key `server` knows of the grid of `owner`: what `disk` holds of it, if anything.
    ///
    /// # Errors
    ///
    /// [`MembersError`]: a revocation list that cannot be read must not let anybody in.
    pub fn open(owner: NodeId, server: NodeId, disk: Arc<dyn Disk>) -> Result<Self, MembersError> {
        let mut papers = Membership::new(owner, server);
        match read_file(&*disk, PAPERS_FILE, PAPERS_MAX) {
            Ok(bytes) => papers.read(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self(Arc::new(Inner { papers: Mutex::new(papers), disk: Mutex::new(disk) })))
    }

    /// The grid's owner.
    pub fn owner(&self) -> NodeId {
        lock(&self.0.papers).owner()
    }

    /// The server's own certificate, for its announcements and its hellos.
    pub fn certificate(&self) -> Option<SignedCertificate> {
        lock(&self.0.papers).signed_certificate().cloned()
    }

    /// Whether the server is a member itself, and until when.
    ///
    /// # Errors
    ///
    /// [`NotAMember`].
    pub fn own(&self, now: Duration) -> Result<Certificate, NotAMember> {
        lock(&self.0.papers).at(now).cloned()
    }

    /// Whether the grid's owner certified another server, so that it may get shares.
    pub(crate) fn counts(&self, server: &NodeId, certificate: Option<&Certificate>, now: Duration) -> bool {
        lock(&self.0.papers).judge_server(server, certificate, now).is_ok()
    }

    /// Takes in what is newer, and keeps it; whether there was any.
    ///
    /// # Errors
    ///
    /// What the disk says. What is new counts all the same while the server runs.
    pub fn learn(&self, news: MembershipNews) -> io::Result<bool> {
        let disk = lock(&self.0.disk);
        let bytes = {
            let mut papers = lock(&self.0.papers);
            if !papers.learn(news) {
                return Ok(false);
            }
            papers.to_bytes()
        };
        replace_file(&**disk, PAPERS_FILE, &bytes)?;
        Ok(true)
    }

    /// Whether `account` may store here at `now` with what it showed.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::NotAMember`], with what this server's clock says where that is the reason.
    pub(crate) fn admit(&self, account: &NodeId, shown: &Shown, now: Duration) -> Result<(), WireError> {
        let judged = match shown {
            Shown::Nothing => Err(NotAMember::NoCertificate),
            Shown::Forged => Err(NotAMember::Forged),
            Shown::Certificate(certificate) => lock(&self.0.papers).judge(account, Some(certificate), now),
        };
        judged.map_err(|reason| {
            WireError::new(ErrorCode::NotAMember(reason), explain(reason, shown, &self.owner(), now))
        })
    }
}

/// Two that are the same.
impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Members {}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").field("owner", &self.owner()).finish_non_exhaustive()
    }
}

/// What a connection showed in its hello, looked through once.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    Nothing,
    Forged,
    Certificate(Arc<Certificate>),
}

impl Shown {
    /// Checks the signature, but neither dates nor whose it is: that is asked anew with each request.
    pub(crate) fn look(certificate: Option<&SignedCertificate>) -> Self {
        match certificate.map(SignedCertificate::open) {
            None => Self::Nothing,
            Some(Ok(certificate)) => Self::Certificate(Arc::new(certificate)),
            Some(Err(_)) => Self::Forged,
        }
    }
}

fn explain(reason: NotAMember, shown: &Shown, owner: &NodeId, now: Duration) -> String {
    let at = |seconds| {
        // A date that no clock shows is cut to one that can be written.
        format_rfc3339_seconds(
            std::time::UNIX_EPOCH + Duration::from_secs(u64::min(seconds, 253_402_300_799)),
        )
    };
    let clock = at(now.as_secs());
    match (reason, shown) {
        (NotAMember::NotYetValid, Shown::Certificate(certificate)) => {
            format!("it begins at {}, and this server's clock says {clock}", at(certificate.not_before_s))
        }
        (NotAMember::Expired, Shown::Certificate(certificate)) => {
            format!("it ended at {}, and this server's clock says {clock}", at(certificate.not_after_s))
        }
        (NotAMember::Forged, Shown::Certificate(certificate)) if certificate.grid != *owner => {
            format!(
                "it is signed by {}, and this grid's owner is {}",
                certificate.grid.short(),
                owner.short()
            )
        }
        (NotAMember::Forged, Shown::Certificate(_)) => "it is of another account".to_owned(),
        (NotAMember::Forged, _) => "its signature does not hold, or it breaks a bound".to_owned(),
        (NotAMember::Revoked, _) => "the grid's owner took it back".to_owned(),
        _ => format!("only members of the grid of {} may store here", owner.short()),
    }
}

/// Follows what one introducer says of this server's membership and of revocations, for ever. `changed` is called after there was news.
pub async fn keep_informed(
    connector: Arc<dyn Connector>,
    introducer: NodeAddress,
    members: Members,
    changed: Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
) {
    let mut retry = RETRY_FIRST;
    loop {
        let begun = tokio::time::Instant::now();
        match follow(&*connector, &introducer, &members, &*changed).await {
            Ok(()) => tracing::debug!(introducer = introducer.host, "the introducer ended the subscription"),
            Err(error) => {
                tracing::debug!(introducer = introducer.host, %error, "memberships cannot be followed");
            }
        }
        if begun.elapsed() > RETRY_MOST {
            retry = RETRY_FIRST;
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_MOST);
    }
}

async fn follow(
    connector: &dyn Connector,
    introducer: &NodeAddress,
    members: &Members,
    changed: &(dyn Fn() -> BoxFuture<'static, ()> + Send + Sync),
) -> Result<(), RequestError> {
    let ask = Request::Membership(AskMembership { grid: members.owner(), follow: true });
    let beginning = async {
        let connection = connector.connect(introducer.id, std::slice::from_ref(&introducer.host)).await?;
        let session = Session::start(connection).await?;
        let (news, stream) = session.request::<MembershipNews>(&ask).await?;
        Ok::<_, RequestError>((session, news, stream))
    };
    let begun = tokio::time::timeout(PATIENCE, beginning).await;
    let (_session, mut news, mut stream) = begun.unwrap_or(Err(RequestError::Timeout { after: PATIENCE }))?;
    loop {
        match members.learn(news) {
            Ok(true) => {
                tracing::info!("the grid's owner published certificates or revocations");
                changed().await;
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "what the grid's owner published is not kept"),
        }
        // News may be weeks away: the transport notices when the other side is gone.
        news = read_reply(&mut stream).await?;
    }
}

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MOST: Duration = Duration::from_secs(60);
/// How long to wait for an introducer's first answer.
const PATIENCE: Duration = Duration::from_secs(10);
