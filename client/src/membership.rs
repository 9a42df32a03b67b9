//! Belonging to a grid: the client's own certificate, which it fetches and shows; what an owner keeps of its members; and invitations.

mod exchange;
mod ledger;
mod owner;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use protocol::membership::{Certificate, Membership, MembershipNews, NotAMember, SignedCertificate};
use protocol::message::{AskMembership, Request};
use protocol::session::{RequestError, Session};
use protocol::transport::Connector;
use protocol::{NodeAddress, NodeId};

use crate::config::ConfigError;
use crate::files::write_atomically;
use crate::servers::within;
use crate::{Client, Server};

pub use exchange::{Answered, InviteError, JoinError, Joined, await_guest, join};
pub use ledger::{Ledger, LedgerError, Member, Outlook};
pub use owner::{GridSettings, OwnerDir, OwnerError, publish};

/// What a client knows of its membership. Clones share it.
#[derive(Clone, Debug)]
pub struct Papers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    membership: Mutex<Membership>,
    path: Option<PathBuf>,
}

impl Papers {
    /// That of the account `member` in the grid of `owner`, kept nowhere.
    pub fn new(owner: NodeId, member: NodeId) -> Self {
        Self(Arc::new(Inner { membership: Mutex::new(Membership::new(owner, member)), path: None }))
    }

    /// The same, kept in the file `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn load(path: &Path, owner: NodeId, member: NodeId) -> Result<Self, ConfigError> {
        let mut membership = Membership::new(owner, member);
        match std::fs::read(path) {
            Ok(bytes) => {
                membership
                    .read(&bytes)
                    .map_err(|reason| ConfigError::Papers { path: path.to_owned(), reason })?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ConfigError::File { path: path.to_owned(), source }),
        }
        Ok(Self(Arc::new(Inner { membership: Mutex::new(membership), path: Some(path.to_owned()) })))
    }

    /// Takes in what is newer, and keeps it; whether there was any.
    ///
    /// # Errors
    ///
    /// What the disk says. What is new counts all the same while the program runs.
    pub fn learn(&self, news: MembershipNews) -> io::Result<bool> {
        let mut membership = self.lock();
        if !membership.learn(news) {
            return Ok(false);
        }
        if let Some(path) = &self.0.path {
            write_atomically(path, &membership.to_bytes(), 0o600)?;
        }
        Ok(true)
    }

    /// The grid's owner.
    pub fn owner(&self) -> NodeId {
        self.lock().owner()
    }

    /// The account.
    pub fn member(&self) -> NodeId {
        self.lock().member()
    }

    /// The newest certificate, to be shown to servers.
    pub fn signed_certificate(&self) -> Option<SignedCertificate> {
        self.lock().signed_certificate().cloned()
    }

    /// What it says, whether it counts or not.
    pub fn certificate(&self) -> Option<Certificate> {
        self.lock().certificate().cloned()
    }

    /// Whether the account is a member at `now` (time since 1970), as far as is known here.
    ///
    /// # Errors
    ///
    /// [`NotAMember`].
    pub fn at(&self, now: Duration) -> Result<Certificate, NotAMember> {
        self.lock().at(now).cloned()
    }

    /// Whether the grid's owner certified this server, at `now`.
    ///
    /// # Errors
    ///
    /// [`NotAMember`].
    pub fn judge_server(&self, server: &Server, now: Duration) -> Result<(), NotAMember> {
        self.lock().judge_server(&server.id, server.certificate.as_deref(), now)
    }

    fn is_due(&self, now: Duration) -> bool {
        self.at(now).map_or(true, |certificate| certificate.is_due(now))
    }

    fn lock(&self) -> MutexGuard<'_, Membership> {
        self.0.membership.lock().expect("no code panics while it holds this lock")
    }
}

impl Client {
    /// Makes this client show what `papers` hold to servers, and go by what they say of others. Only the first papers count.
    pub fn as_member(&self, papers: Papers) {
        self.writers().present(papers.signed_certificate());
        // Whoever calls this twice keeps what it said first.
        let _ = self.0.papers.set(papers);
    }

    /// What this client knows of its membership in the grid.
    pub fn papers(&self) -> Option<&Papers> {
        self.0.papers.get()
    }

    /// Whether this server gets shares and counts for happiness: it is pinned, or certified by the grid's owner, where the settings name
    /// either; else any is.
    pub fn counts(&self, server: &Server) -> bool {
        let settings = self.settings();
        if settings.pinned.contains(&server.id) {
            return true;
        }
        match (settings.owner, self.papers()) {
            (None, _) => settings.pinned.is_empty(),
            (Some(_), Some(papers)) => papers.judge_server(server, self.now()).is_ok(),
            (Some(owner), None) => {
                // No papers were given to this client: certificates count, revocations are not known.
                let account = NodeId::new([0; 32]);
                Papers::new(owner, account).judge_server(server, self.now()).is_ok()
            }
        }
    }

    /// Whether the grid's owner took back what it said of this server, and nobody pinned it: that it does not answer is to be expected.
    pub fn is_revoked(&self, server: &Server) -> bool {
        let judged = self.papers().map(|papers| papers.judge_server(server, self.now()));
        matches!(judged, Some(Err(NotAMember::Revoked))) && !self.settings().pinned.contains(&server.id)
    }

    /// Asks the introducers for the newest revocation list, and, where a third of its time is over or there is none, for a certificate.
    /// Only then they are asked under the account's key.
    pub(crate) async fn refresh_papers(&self, deadline: Duration) {
        let Some(papers) = self.papers() else { return };
        let seams = &self.0.seams;
        let connector = if papers.is_due(self.now()) { &seams.account } else { &seams.anonymous };
        let mut asking = tokio::task::JoinSet::new();
        for introducer in self.introducers() {
            let (connector, introducer, grid) = (connector.clone(), introducer.clone(), papers.owner());
            asking.spawn(async move { within(deadline, ask(&*connector, &introducer, grid)).await });
        }
        let mut news = false;
        while let Some(asked) = asking.join_next().await {
            // An introducer that does not answer is told of elsewhere: it is asked for servers at the same time.
            let Ok(Ok(answer)) = asked else { continue };
            match papers.learn(answer) {
                Ok(learnt) => news |= learnt,
                Err(error) => tracing::warn!(%error, "this client's certificate is not kept"),
            }
        }
        if news {
            self.writers().present(papers.signed_certificate());
        }
    }
}

/// Asks one introducer what concerns the key of the connection.
async fn ask(
    connector: &dyn Connector,
    introducer: &NodeAddress,
    grid: NodeId,
) -> Result<MembershipNews, RequestError> {
    let connection = connector.connect(introducer.id, std::slice::from_ref(&introducer.host)).await?;
    let session = Session::start(connection).await?;
    let ask = Request::Membership(AskMembership { grid, follow: false });
    let (news, _) = session.request(&ask).await?;
    session.connection().close();
    Ok(news)
}
