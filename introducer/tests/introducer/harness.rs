//! An introducer on loopback, and those who talk to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use introducer::{Introducer, Keep, MemoryKeep, Parts};
use protocol::announcement::{AnnouncedStore, Announcement, Signed};
use protocol::message::{Announce, Announcements, Done, ErrorCode, Reply, Request, Subscribe};
use protocol::quic::{QuicConnector, QuicListener, bind, server_config};
use protocol::session::{RequestError, Session, read_reply};
use protocol::transport::{Connection, Connector, Stream};
use protocol::{Clock, NodeKey, frame};
use tokio::task::JoinHandle;

/// The moment at which every test begins.
pub(crate) const NOW_S: u64 = 1_800_000_000;

/// A wall clock that tests move.
#[derive(Default)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn unix_time(&self) -> Duration {
        Duration::from_secs(NOW_S + self.0.load(Ordering::Relaxed))
    }

    fn uptime(&self) -> Duration {
        Duration::ZERO
    }
}

pub(crate) struct Running {
    pub(crate) introducer: Arc<Introducer>,
    pub(crate) clock: Arc<TestClock>,
    key: NodeKey,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::start_with(Arc::new(MemoryKeep::default()), |_| {})
    }

    pub(crate) fn start_with(keep: Arc<dyn Keep>, change: impl FnOnce(&mut Parts)) -> Self {
        let clock = Arc::new(TestClock::default());
        let mut parts = Parts::new(keep);
        parts.clock = clock.clone();
        change(&mut parts);
        let introducer = Introducer::new(parts).unwrap();
        let key = key(1);
        let (endpoint, _) = bind("127.0.0.1:0".parse().unwrap(), Some(server_config(&key))).unwrap();
        let address = endpoint.local_addr().unwrap();
        let serving = tokio::spawn(introducer.clone().serve(Arc::new(QuicListener::new(endpoint))));
        Self { introducer, clock, key, address, serving }
    }

    pub(crate) async fn stop(self) {
        self.introducer.close();
        self.serving.await.unwrap();
    }

    /// A connection on which nothing was said.
    pub(crate) async fn connect(&self, key: &NodeKey) -> Box<dyn Connection> {
        let (endpoint, _) = bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let connector = QuicConnector::new(endpoint, key);
        connector.connect(self.key.id(), &[self.address.to_string()]).await.unwrap()
    }

    /// A connection after its hello.
    pub(crate) async fn session(&self, key: &NodeKey) -> Session {
        Session::start(self.connect(key).await).await.unwrap()
    }

    /// What a stranger gets when it asks for the list.
    pub(crate) async fn listed(&self) -> Vec<Signed> {
        let session = self.session(&key(200)).await;
        let (answer, mut stream) = subscribe(&session, false).await;
        let end = frame::receive::<Reply<Announcements>>(&mut *stream.recv).await;
        assert!(matches!(end, Err(frame::FrameError::Ended)), "{end:?}");
        answer.list
    }
}

pub(crate) fn key(number: u8) -> NodeKey {
    NodeKey::from_seed(&[number; 32])
}

pub(crate) fn announcement(key: &NodeKey, sequence: u64) -> Announcement {
    Announcement {
        server: key.id(),
        sequence,
        issued_s: NOW_S,
        expires_s: NOW_S + 3600,
        addresses: vec!["192.0.2.7:4455".into()],
        nickname: "granite".into(),
        zone: Some("cellar".into()),
        stores: vec![AnnouncedStore::new(&NodeKey::from_seed(&[250; 32]), 3, &key.id())],
        software: "test/0".into(),
        certificate: None,
    }
}

pub(crate) async fn announce(session: &Session, signed: Signed) -> Result<Done, RequestError> {
    let request = Request::Announce(Announce { announcement: signed });
    session.request(&request).await.map(|(done, _)| done)
}

pub(crate) async fn subscribe(session: &Session, follow: bool) -> (Announcements, Stream) {
    session.request(&Request::Subscribe(Subscribe { follow })).await.unwrap()
}

/// The next announcements on a stream that follows.
pub(crate) async fn pushed(stream: &mut Stream) -> Vec<Signed> {
    let answer = tokio::time::timeout(Duration::from_secs(20), read_reply::<Announcements>(stream));
    answer.await.unwrap().unwrap().list
}

/// Checks that an answer is a refusal of this kind, with these words in it.
pub(crate) fn check_refused<T: std::fmt::Debug>(
    answer: Result<T, RequestError>,
    code: ErrorCode,
    words: &str,
) {
    match answer {
        Err(RequestError::Refused(error)) => {
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.contains(words), "{error}");
        }
        other => panic!("not refused: {other:?}"),
    }
}
