//! The other servers, as this one knows them: who they are, what they hold, and connections to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caps::VerifyHash;
use minicbor::Decode;
use protocol::announcement::{Announcement, Signed};
use protocol::frame::FrameError;
use protocol::limits::MAX_BATCH;
use protocol::membership::{Certificate, SignedCertificate};
use protocol::message::{
    Announcements, Bytes32, Census, CensusReply, Request, Status, StoreState, Subscribe,
};
use protocol::placement::Holders;
use protocol::session::{RequestError, Session, read_reply};
use protocol::transport::Connector;
use protocol::{NodeAddress, NodeId};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::plan::Place;
use crate::members::Members;
use crate::store::lock;

/// For a connection and its hello, and for an introducer to say all it knows.
const CONNECT: Duration = Duration::from_secs(10);
/// For an answer that needs no disk to speak of.
pub(super) const ANSWER: Duration = Duration::from_secs(20);
/// The most servers that are taken in.
const OTHERS_MAX: usize = MAX_BATCH;

/// Another server.
#[derive(Clone, Debug)]
pub(super) struct Other {
    announcement: Announcement,
    /// The grid's owner's word on its zone, where a grid is known.
    certified: Option<Certificate>,
}

impl Other {
    pub(super) fn id(&self) -> NodeId {
        self.announcement.server
    }

    /// Nickname and the beginning of the key, for people.
    pub(super) fn name(&self) -> String {
        match self.announcement.nickname.is_empty() {
            true => self.id().short(),
            false => format!("{} ({})", self.announcement.nickname, self.id().short()),
        }
    }

    /// Whether it goes as a whole: what it holds does not stay.
    pub(super) fn is_going(&self) -> bool {
        let stores = &self.announcement.stores;
        !stores.is_empty() && stores.iter().all(|store| store.draining)
    }

    pub(super) fn place(&self) -> Place {
        let stores = self.announcement.stores.iter().filter(|store| !store.draining);
        let zone = match &self.certified {
            Some(certificate) => &certificate.zone,
            None => &self.announcement.zone,
        };
        Place { server: self.id(), zone: zone.clone(), stores: stores.map(|store| store.id).collect() }
    }
}

/// All of them.
pub(super) struct Others {
    connector: Arc<dyn Connector>,
    introducers: Vec<NodeAddress>,
    me: NodeId,
    /// Those that may get shares, where the server's configuration names them.
    trusted: BTreeSet<NodeId>,
    /// What is known of the grid, where its owner says who may.
    members: Option<Members>,
    known: Mutex<BTreeMap<NodeId, Other>>,
    sessions: Mutex<BTreeMap<NodeId, Arc<tokio::sync::Mutex<Option<Pooled>>>>>,
}

/// A session, and what was shown when it began.
struct Pooled {
    session: Session,
    shown: Option<SignedCertificate>,
}

/// What they say that they hold.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) holders: HashMap<VerifyHash, Holders>,
    /// Those that did not say.
    pub(super) silent: BTreeSet<NodeId>,
}

impl Others {
    pub(super) fn new(
        connector: Arc<dyn Connector>,
        introducers: Vec<NodeAddress>,
        me: NodeId,
        trusted: BTreeSet<NodeId>,
        members: Option<Members>,
    ) -> Self {
        let (known, sessions) = (Mutex::default(), Mutex::default());
        Self { connector, introducers, me, trusted, members, known, sessions }
    }

    pub(super) fn members(&self) -> Option<&Members> {
        self.members.as_ref()
    }

    /// Whether somebody whom this server's owner trusts says who may get shares: otherwise any server that is announced counts.
    pub(super) fn is_chosen(&self) -> bool {
        self.members.is_some() || !self.trusted.is_empty()
    }

    /// The server of an announcement, if it may get shares at `now`.
    fn judge(&self, announcement: Announcement, now: Duration) -> Option<Other> {
        let id = announcement.server;
        // A signature that did not hold would have kept the announcement out.
        let certificate = announcement.own_certificate().ok().flatten();
        let certified = |members: &Members| members.counts(&id, certificate.as_ref(), now);
        let is_certified = self.members.as_ref().is_some_and(certified);
        let trusted = match self.trusted.is_empty() {
            true => self.members.is_none() || is_certified,
            false => self.trusted.contains(&id),
        };
        let certified = certificate.filter(|_| is_certified);
        (trusted && id != self.me).then_some(Other { announcement, certified })
    }

    /// Those that may get shares and whose shares count, as far as their announcements have not expired.
    pub(super) fn all(&self) -> Vec<Other> {
        lock(&self.known).values().cloned().collect()
    }

    /// Asks the introducers who is there. What was known and has not expired at `now` (time since 1970) stays known, if it may still get
    /// shares.
    pub(super) async fn refresh(&self, now: Duration) {
        let mut asking = JoinSet::new();
        for address in &self.introducers {
            let (connector, address) = (self.connector.clone(), address.clone());
            asking.spawn(async move {
                let asked = within(CONNECT, announced(&*connector, &address)).await;
                asked.inspect_err(
                    |error| tracing::warn!(introducer = address.host, %error, "an introducer does not say who is there"),
                )
            });
        }
        let mut heard = Vec::new();
        while let Some(list) = asking.join_next().await {
            heard.extend(list.ok().and_then(Result::ok).unwrap_or_default());
        }
        let mut known = lock(&self.known);
        // Who was let go, or was not certified anew, is not counted on any more.
        let old = std::mem::take(&mut *known).into_values().map(|other| other.announcement);
        let old = old.filter(|announcement| announcement.expires_s >= now.as_secs());
        let heard = heard.iter().filter_map(|signed| signed.open_fresh(now).ok());
        for announcement in old.chain(heard) {
            let id = announcement.server;
            let newer = known.get(&id).is_none_or(|old| old.announcement.sequence < announcement.sequence);
            if newer
                && (known.len() < OTHERS_MAX || known.contains_key(&id))
                && let Some(other) = self.judge(announcement, now)
            {
                known.insert(id, other);
            }
        }
    }

    /// A session with a server, which was shown this server's newest certificate: the one there is, or a new one.
    pub(super) async fn session(&self, id: &NodeId) -> Result<Session, RequestError> {
        let slot = lock(&self.sessions).entry(*id).or_default().clone();
        let shown = self.members.as_ref().and_then(Members::certificate);
        let connecting = async {
            let mut pooled = slot.lock().await;
            let usable = |at: &&Pooled| at.shown == shown && !at.session.connection().is_closed();
            if let Some(at) = pooled.as_ref().filter(usable) {
                return Ok(at.session.clone());
            }
            let other = lock(&self.known).get(id).cloned();
            let addresses = other.map(|other| other.announcement.addresses).unwrap_or_default();
            let connection = self.connector.connect(*id, &addresses).await?;
            let session = Session::start_as(connection, shown.clone()).await?;
            *pooled = Some(Pooled { session: session.clone(), shown });
            Ok(session)
        };
        within(CONNECT, connecting).await
    }

    /// Lets go of all connections.
    pub(super) fn close(&self) {
        for slot in std::mem::take(&mut *lock(&self.sessions)).into_values() {
            if let Some(at) = slot.try_lock().ok().and_then(|mut pooled| pooled.take()) {
                at.session.connection().close();
            }
        }
    }

    /// How a server is.
    pub(super) async fn status(&self, id: &NodeId) -> Result<Status, RequestError> {
        self.ask(id, &Request::Status).await
    }

    async fn ask<T: for<'b> Decode<'b, ()>>(
        &self,
        id: &NodeId,
        request: &Request,
    ) -> Result<T, RequestError> {
        let session = self.session(id).await?;
        within(ANSWER, session.request(request)).await.map(|(answer, _)| answer)
    }

    /// Asks all servers what they hold of these objects.
    pub(super) async fn census(self: &Arc<Self>, hashes: &[VerifyHash]) -> Counted {
        let (mut asking, mut counted) = (JoinSet::new(), Counted::default());
        for other in self.all() {
            let (others, hashes) = (self.clone(), hashes.to_vec());
            asking.spawn(async move { (other.id(), others.count(&other.id(), &hashes).await) });
        }
        while let Some(answered) = asking.join_next().await {
            let Ok((id, answer)) = answered else { continue };
            match answer {
                Ok(found) => {
                    for (hash, numbers) in hashes.iter().zip(found) {
                        for number in numbers {
                            let holders = counted.holders.entry(*hash).or_default();
                            holders.entry(number).or_default().insert(id);
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(server = %id, %error, "it does not say what it holds");
                    counted.silent.insert(id);
                }
            }
        }
        counted
    }

    async fn count(&self, id: &NodeId, hashes: &[VerifyHash]) -> Result<Vec<Vec<u16>>, RequestError> {
        let mut found: Vec<Vec<u16>> = Vec::new();
        while found.len() < hashes.len() {
            let rest = hashes[found.len()..].iter().take(MAX_BATCH);
            let asked: Vec<Bytes32> = rest.map(|hash| Bytes32(*hash.as_bytes())).collect();
            let count = asked.len();
            let reply: CensusReply = self.ask(id, &Request::Census(Census { hashes: asked })).await?;
            if !reply.answers(count) {
                return Err(RequestError::Nonsense { what: "it counts what it was not asked about" });
            }
            // No object has a share of a higher number.
            let numbers = |counted: protocol::message::Counted| -> Vec<u16> {
                counted.0.iter().map(|share| share.number).filter(|number| *number < 256).collect()
            };
            found.extend(reply.objects.into_iter().map(numbers));
        }
        Ok(found)
    }
}

/// Bytes of shares that a server has, and bytes that it may have, in the stores that take shares; `None` if none does.
pub(super) fn fill(status: &Status) -> Option<(u64, u64)> {
    let taking =
        status.stores.iter().filter(|store| store.state == StoreState::Writable && store.available > 0);
    let fill = taking.fold((0u64, 0u64), |(used, all), store| {
        (used.saturating_add(store.used), all.saturating_add(store.used).saturating_add(store.available))
    });
    (fill.1 > 0).then_some(fill)
}

async fn announced(connector: &dyn Connector, address: &NodeAddress) -> Result<Vec<Signed>, RequestError> {
    let connection = connector.connect(address.id, std::slice::from_ref(&address.host)).await?;
    let session = Session::start(connection).await?;
    let (Announcements { mut list }, mut stream) =
        session.request(&Request::Subscribe(Subscribe { follow: false })).await?;
    // A long list comes in several messages; the last one ends the stream.
    while list.len() < OTHERS_MAX {
        match read_reply::<Announcements>(&mut stream).await {
            Ok(more) => list.extend(more.list),
            Err(RequestError::Frame(FrameError::Ended)) => break,
            Err(error) => return Err(error),
        }
    }
    session.connection().close();
    Ok(list)
}

/// Waits for `work` at most `after`.
pub(super) async fn within<T>(
    after: Duration,
    work: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    timeout(after, work).await.unwrap_or(Err(RequestError::Timeout { after }))
}
