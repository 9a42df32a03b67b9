//! The grid as this client knows it: which servers exist, learnt from introducers, kept in a cache, never forgotten only because an
//! introducer forgot (`docs/design/0008-gone-servers.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use caps::PlacementBucket;
use minicbor::{Decode, Encode};
use protocol::announcement::{AnnouncedStore, Announcement, Signed};
use protocol::frame::FrameError;
use protocol::limits::MAX_BATCH;
use protocol::membership::{Certificate, Role};
use protocol::message::{Announcements, Request, StoreReport, Subscribe};
use protocol::session::{RequestError, Session, read_reply};
use protocol::transport::Connector;
use protocol::{NodeAddress, NodeId, frame};

use crate::away::Away;
use crate::placement::{self, Candidate};

/// The most bytes of announcements taken from one introducer.
const MOST_BYTES: usize = 16 << 20;
/// The cache's format: a newer one is refused.
const CACHE_VERSION: u16 = 1;
/// Who was not announced any more, and did not answer for so long, is forgotten.
const GONE_AFTER: Duration = Duration::from_secs(86_400);

/// A server, as it announced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its key.
    pub id: NodeId,
    /// `host:port`, best first.
    pub addresses: Vec<String>,
    /// What its owner calls it.
    pub nickname: String,
    /// What it shares its fate with.
    pub zone: Option<String>,
    /// Its stores.
    pub stores: Vec<ServedStore>,
    /// What an owner of a grid says of it: well signed and this server's own, but of whatever grid and date.
    pub certificate: Option<Arc<Certificate>>,
}

/// A store, as the server that serves it announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedStore {
    /// Its key.
    pub id: NodeId,
    /// New whenever it lost its index.
    pub incarnation: u64,
    /// How it said that it is.
    pub report: Option<StoreReport>,
    /// Whether it is being drained: nothing new is placed there.
    pub draining: bool,
}

impl Server {
    /// A server of which only the key is known.
    pub fn unknown(id: NodeId) -> Self {
        Self {
            id,
            addresses: Vec::new(),
            nickname: String::new(),
            zone: None,
            stores: Vec::new(),
            certificate: None,
        }
    }

    /// Whether the owner of this grid certified it as a server, at whatever date.
    fn is_of(&self, owner: &NodeId) -> bool {
        self.certificate
            .as_ref()
            .is_some_and(|certificate| certificate.grid == *owner && certificate.role == Role::Server)
    }

    /// Its zone by the word of the grid's owner, where it has that, and else by its own.
    fn believe(&mut self, owner: Option<&NodeId>) {
        if owner.is_some_and(|owner| self.is_of(owner)) {
            self.zone = self.certificate.as_ref().and_then(|certificate| certificate.zone.clone());
        }
    }

    /// Nickname and the beginning of the key, for people.
    pub fn name(&self) -> String {
        if self.nickname.is_empty() {
            self.id.short()
        } else {
            format!("{} ({})", self.nickname, self.id.short())
        }
    }
}

impl From<Announcement> for Server {
    fn from(announcement: Announcement) -> Self {
        // A signature that did not hold would have kept the announcement out.
        let certificate = announcement.own_certificate().ok().flatten().map(Arc::new);
        Self {
            certificate,
            id: announcement.server,
            addresses: announcement.addresses,
            nickname: announcement.nickname,
            zone: announcement.zone,
            stores: announced(announcement.stores),
        }
    }
}

fn announced(stores: Vec<AnnouncedStore>) -> Vec<ServedStore> {
    let served = |AnnouncedStore { id, incarnation, report, draining, .. }| ServedStore {
        id,
        incarnation,
        report,
        draining,
    };
    stores.into_iter().map(served).collect()
}

/// What one introducer answered.
#[derive(Debug)]
pub struct IntroducerReport {
    /// The introducer.
    pub address: NodeAddress,
    /// The servers it named, or why it named none.
    pub outcome: Result<Vec<NodeId>, RequestError>,
    /// Announcements it passed on that are not to be believed.
    pub rejected: usize,
}

/// The servers this client knows.
pub struct GridView {
    known: Mutex<BTreeMap<NodeId, Known>>,
    /// The owner of the grid, whose word on servers counts.
    owner: OnceLock<NodeId>,
    cache: Option<PathBuf>,
    away: Arc<Away>,
}

struct Known {
    signed: Signed,
    sequence: u64,
    expires_s: u64,
    server: Server,
}

#[derive(Encode, Decode)]
struct CacheFile {
    #[n(0)]
    version: u16,
    #[n(1)]
    announcements: Vec<Signed>,
}

/// Why the cache could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// It could not be read or written.
    #[error("the cache of servers {path} cannot be used")]
    Io {
        /// Where it is.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A newer program wrote it.
    #[error("the cache of servers {path} was written by a newer program (version {version})")]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        version: u16,
    },
}

impl GridView {
    /// A view that knows nobody and keeps nothing.
    pub fn empty() -> Self {
        Self { known: Mutex::default(), owner: OnceLock::new(), cache: None, away: Arc::new(Away::empty()) }
    }

    /// The view kept in the file `path`, empty if there is none. A cache that cannot be understood is as good as none: introducers
    /// fill it again. What is known of servers that do not answer is beside it, in a file that ends in `.away`.
    ///
    /// # Errors
    ///
    /// [`CacheError`].
    pub fn load(path: &Path) -> Result<Self, CacheError> {
        let cache = Some(path.to_owned());
        let away = Arc::new(Away::kept_in(&path.with_extension("away")));
        let view = Self { known: Mutex::default(), owner: OnceLock::new(), cache, away };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(view),
            Err(source) => return Err(CacheError::Io { path: path.to_owned(), source }),
        };
        match frame::decode::<CacheFile>(&bytes) {
            Ok(file) if file.version > CACHE_VERSION => {
                return Err(CacheError::Newer { path: path.to_owned(), version: file.version });
            }
            Ok(file) => {
                for signed in file.announcements {
                    view.learn(signed);
                }
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the cache of servers is damaged and ignored")
            }
        }
        Ok(view)
    }

    /// Takes in an announcement if it is well signed and newer than what is known; returns whose it is. Its date does not matter
    /// here: a grid must work for weeks without an introducer. One that was forgotten stays so.
    pub fn learn(&self, signed: Signed) -> Option<NodeId> {
        let announcement = match signed.open() {
            Ok(announcement) => announcement,
            Err(error) => {
                tracing::warn!(%error, "an announcement is not believed");
                return None;
            }
        };
        let (id, sequence, expires_s) = (announcement.server, announcement.sequence, announcement.expires_s);
        if self.away.is_forgotten(&id, sequence) {
            return Some(id);
        }
        let mut known = self.lock();
        if known.get(&id).is_none_or(|old| old.sequence < sequence) {
            let mut server = Server::from(announcement);
            server.believe(self.owner.get());
            known.insert(id, Known { signed, sequence, expires_s, server });
        }
        Some(id)
    }

    /// Takes the owner's word on zones, and puts the servers it certified before all others. The first owner counts.
    pub(crate) fn trust(&self, owner: NodeId) {
        let owner = *self.owner.get_or_init(|| owner);
        self.lock().values_mut().for_each(|known| known.server.believe(Some(&owner)));
    }

    /// All known servers.
    pub fn servers(&self) -> Vec<Server> {
        self.lock().values().map(|known| known.server.clone()).collect()
    }

    /// One server; of an unknown one, only its key.
    pub fn server(&self, id: &NodeId) -> Server {
        self.lock().get(id).map_or_else(|| Server::unknown(*id), |known| known.server.clone())
    }

    /// The server that serves this store, if one says so; of two that do, the one that said so last.
    pub fn server_of(&self, store: &NodeId) -> Option<Server> {
        let known = self.lock();
        let serving = known.values().filter(|known| known.server.stores.iter().any(|at| at.id == *store));
        serving.max_by_key(|known| known.sequence).map(|known| known.server.clone())
    }

    /// The servers in the order in which an object of this bucket uses them: those first that the grid's owner certified at any time, if
    /// there is one, so that however many others are announced, readers ask where writers put.
    pub fn candidates(&self, bucket: PlacementBucket) -> Vec<Candidate> {
        let known = self.lock();
        let servers = known.values().map(|known| &known.server);
        let Some(owner) = self.owner.get() else { return placement::candidates(bucket, servers) };
        let (certified, others): (Vec<&Server>, Vec<&Server>) =
            servers.partition(|server| server.is_of(owner));
        let mut candidates = placement::candidates(bucket, certified);
        candidates.extend(placement::candidates(bucket, others));
        candidates
    }

    /// The same for what is new: without stores that are being drained.
    pub fn takers(&self, bucket: PlacementBucket) -> Vec<Candidate> {
        let mut servers = self.servers();
        servers.iter_mut().for_each(|server| server.stores.retain(|store| !store.draining));
        placement::candidates(bucket, &servers)
    }

    /// The stores that are being drained.
    pub fn draining(&self) -> BTreeSet<NodeId> {
        let known = self.lock();
        let stores = known.values().flat_map(|known| &known.server.stores);
        stores.filter(|store| store.draining).map(|store| store.id).collect()
    }

    /// Asks every introducer who is there, within `deadline`, and takes in the union.
    pub async fn refresh(
        &self,
        connector: &Arc<dyn Connector>,
        introducers: &[NodeAddress],
        deadline: Duration,
    ) -> Vec<IntroducerReport> {
        let mut asking = Vec::new();
        for address in introducers {
            let (connector, address) = (connector.clone(), address.clone());
            asking.push(tokio::spawn(async move {
                let asked = tokio::time::timeout(deadline, ask(&*connector, &address)).await;
                (address, asked.unwrap_or(Err(RequestError::Timeout { after: deadline })))
            }));
        }
        let mut reports = Vec::new();
        for asked in asking {
            let Ok((address, answer)) = asked.await else { continue };
            let mut rejected = 0;
            let outcome = answer.map(|list| {
                let total = list.len();
                let named: Vec<NodeId> = list.into_iter().filter_map(|signed| self.learn(signed)).collect();
                rejected = total - named.len();
                named
            });
            reports.push(IntroducerReport { address, outcome, rejected });
        }
        reports
    }

    /// What is known of servers that do not answer.
    pub fn away(&self) -> &Arc<Away> {
        &self.away
    }

    /// Forgets a server until it announces itself anew; whether it was known.
    pub fn forget(&self, id: &NodeId, now: Duration) -> bool {
        let gone = self.lock().remove(id);
        if let Some(gone) = &gone {
            self.away.forget(*id, gone.sequence, now);
        }
        gone.is_some()
    }

    /// Forgets the servers that are gone for good, by all that can be known: those that no introducer `named`, whose announcement has ended
    /// and that have not answered this client for a day; and at once those that `revoked` says, if they do not answer.
    pub(crate) fn forget_gone(
        &self,
        named: Option<&BTreeSet<NodeId>>,
        now: Duration,
        revoked: impl Fn(&Server) -> bool,
    ) {
        self.away.reread();
        let gone = |id: &NodeId, known: &Known| {
            if self.away.is_forgotten(id, known.sequence) {
                return true;
            }
            let Some(silence) = self.away.silence(id, now) else { return false };
            let unnamed = named.is_some_and(|named| !named.contains(id)) && known.expires_s < now.as_secs();
            unnamed && silence >= GONE_AFTER || revoked(&known.server)
        };
        let gone: Vec<NodeId> =
            self.lock().iter().filter(|(id, known)| gone(id, known)).map(|(id, _)| *id).collect();
        for id in gone {
            tracing::info!(server = id.short(), "it is gone, and forgotten");
            self.forget(&id, now);
        }
    }

    /// Writes the cache, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`].
    pub fn save(&self) -> Result<(), CacheError> {
        let Some(path) = &self.cache else { return Ok(()) };
        let announcements = self.lock().values().map(|known| known.signed.clone()).collect();
        let file = CacheFile { version: CACHE_VERSION, announcements };
        let bytes = minicbor::to_vec(&file).expect("writing to a Vec cannot fail");
        crate::files::write_atomically(path, &bytes, 0o600)
            .map_err(|source| CacheError::Io { path: path.clone(), source })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Known>> {
        self.known.lock().expect("no code panics while it holds this lock")
    }
}

async fn ask(connector: &dyn Connector, address: &NodeAddress) -> Result<Vec<Signed>, RequestError> {
    let connection = connector.connect(address.id, std::slice::from_ref(&address.host)).await?;
    let session = Session::start(connection).await?;
    let (Announcements { mut list }, mut stream) =
        session.request(&Request::Subscribe(Subscribe { follow: false })).await?;
    // A long list comes in several messages; the last one ends the stream.
    loop {
        let bytes: usize = list.iter().map(|signed| signed.payload.len()).sum();
        if list.len() >= MAX_BATCH || bytes >= MOST_BYTES {
            tracing::warn!(introducer = address.host, "the introducer names more servers than are taken in");
            break;
        }
        match read_reply::<Announcements>(&mut stream).await {
            Ok(more) => list.extend(more.list),
            Err(RequestError::Frame(FrameError::Ended)) => break,
            Err(error) => return Err(error),
        }
    }
    session.connection().close();
    Ok(list)
}
