//! One connection: its streams, its deadlines, its bounds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use minicbor::Encode;
use protocol::NodeId;
use protocol::frame::{self, FrameError};
use protocol::message::{Announcements, Done, ErrorCode, Hello, MAJOR, Reply, Request, WireError};
use protocol::session::our_hello;
use protocol::transport::{Handshake, Incoming, Stream, TransportError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::debug;

use super::{Introducer, follow, mailbox, members};

/// Answers on one connection until it or the introducer is closed. The permit counts it meanwhile.
pub(super) async fn serve(introducer: Arc<Introducer>, handshake: Handshake, _permit: OwnedSemaphorePermit) {
    let Ok(Some(incoming)) = timeout(HANDSHAKE, handshake).await else { return };
    let mut requests = JoinSet::new();
    take_requests(&introducer, &*incoming, &mut requests).await;
    // If the connection is gone, so is whoever waits for answers, and dropping the tasks ends them.
    if *introducer.closing.borrow() {
        let rest = async { while requests.join_next().await.is_some() {} };
        let _ = timeout(DRAIN, rest).await;
    }
    incoming.close();
}

async fn take_requests(
    introducer: &Arc<Introducer>,
    incoming: &dyn Incoming,
    requests: &mut JoinSet<Option<Following>>,
) {
    let greeted = Arc::new(AtomicBool::new(false));
    let mut followers = Followers::default();
    let mut closing = introducer.closing.subscribe();
    loop {
        let free = requests.len() < MAX_REQUESTS;
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            Some(ended) = requests.join_next() => {
                if let Ok(Some(following)) = ended {
                    followers.add(following);
                }
            }
            stream = timeout(IDLE, incoming.accept_stream()), if free => match stream {
                Ok(Some(stream)) => {
                    let greeted = greeted.clone();
                    requests.spawn(answer(introducer.clone(), incoming.remote(), greeted, stream));
                }
                Ok(None) => return,
                Err(_) if requests.is_empty() && followers.are_none() => {
                    debug!(remote = %incoming.remote().short(), "an idle connection is closed");
                    return;
                }
                Err(_) => {}
            },
        }
    }
}

/// What goes on after a request was answered.
type Following = protocol::BoxFuture<'static, ()>;

/// Who follows on one connection. The newest few: a stream that its client gave up is noticed only when something is sent, so a new one
/// ends the oldest.
#[derive(Default)]
struct Followers {
    tasks: JoinSet<()>,
    handles: VecDeque<AbortHandle>,
}

impl Followers {
    fn add(&mut self, following: Following) {
        self.handles.push_back(self.tasks.spawn(following));
        if self.handles.len() > MAX_FOLLOWERS {
            self.handles.pop_front().inspect(AbortHandle::abort);
        }
        while self.tasks.try_join_next().is_some() {}
    }

    fn are_none(&self) -> bool {
        self.handles.iter().all(AbortHandle::is_finished)
    }
}

/// Answers one request. Returns what goes on if its client wants to follow.
async fn answer(
    introducer: Arc<Introducer>,
    remote: NodeId,
    greeted: Arc<AtomicBool>,
    mut stream: Stream,
) -> Option<Following> {
    let request = read(&mut stream).await.and_then(|request| match request {
        Request::Hello(_) => Ok(request),
        _ if greeted.load(Ordering::Relaxed) => Ok(request),
        _ => Err(WireError::new(ErrorCode::UnsupportedVersion, "a connection begins with a hello")),
    });
    let sent = match request {
        Ok(Request::Hello(hello)) => {
            let result = greet(&hello);
            greeted.store(result.is_ok(), Ordering::Relaxed);
            reply(&mut stream, result).await
        }
        Ok(Request::Announce(announce)) => {
            let result = introducer.announce(remote, announce.announcement).await;
            let result = result.map(|()| Done {}).map_err(|error| {
                debug!(remote = %remote.short(), %error, "an announcement is refused");
                WireError::from(&error)
            });
            reply(&mut stream, result).await
        }
        Ok(Request::Subscribe(subscribe)) if subscribe.follow => {
            return Some(Box::pin(follow::follow(introducer, stream)));
        }
        Ok(Request::Membership(ask)) if ask.follow => {
            return Some(Box::pin(members::follow(introducer, ask, remote, stream)));
        }
        Ok(Request::Membership(ask)) => members::tell(&introducer, &ask, &remote, &mut stream).await,
        Ok(Request::Publish(publish)) => {
            let result = introducer.publish(remote, publish).await;
            let result = result.map(|()| Done {}).map_err(|error| {
                debug!(remote = %remote.short(), %error, "what an owner published is refused");
                WireError::from(&error)
            });
            reply(&mut stream, result).await
        }
        Ok(Request::OpenMailbox(open)) => mailbox::wait(introducer, remote, open, &mut stream).await,
        Ok(Request::UseMailbox(ask)) => mailbox::visit(introducer, ask, &mut stream).await,
        Ok(Request::Subscribe(_)) => follow::list(&introducer, &mut stream).await,
        Ok(_) => {
            let error = WireError::new(ErrorCode::Unsupported, "an introducer does not answer this");
            reply::<Announcements>(&mut stream, Err(error)).await
        }
        Err(error) => reply::<Announcements>(&mut stream, Err(error)).await,
    };
    if let Err(error) = sent {
        debug!(remote = %remote.short(), %error, "an answer did not arrive");
    }
    None
}

async fn read(stream: &mut Stream) -> Result<Request, WireError> {
    let late = |_| WireError::new(ErrorCode::BadRequest, "the request did not arrive in time");
    let request = timeout(HEADER, frame::receive(&mut *stream.recv)).await.map_err(late)?;
    request.map_err(|error| {
        let code = match error {
            FrameError::Unknown => ErrorCode::Unsupported,
            _ => ErrorCode::BadRequest,
        };
        WireError::new(code, error.to_string())
    })
}

fn greet(hello: &Hello) -> Result<Hello, WireError> {
    if hello.major != MAJOR {
        let message = format!("this introducer speaks version {MAJOR}, not {}", hello.major);
        return Err(WireError::new(ErrorCode::UnsupportedVersion, message));
    }
    Ok(our_hello())
}

async fn reply<T: Encode<()> + Sync>(
    stream: &mut Stream,
    result: Result<T, WireError>,
) -> Result<(), TransportError> {
    let reply = result.map_or_else(Reply::Err, Reply::Ok);
    send(stream, &reply).await?;
    stream.send.finish()
}

/// Sends a message to somebody who may take none.
pub(super) async fn send<T: Encode<()> + Sync>(
    stream: &mut Stream,
    message: &Reply<T>,
) -> Result<(), TransportError> {
    let stuck = |_| TransportError::Lost { reason: "the other side takes no bytes".into() };
    timeout(SEND, frame::send(&mut *stream.send, message)).await.map_err(stuck)?
}

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a request may take to arrive.
pub(super) const HEADER: Duration = Duration::from_secs(10);
/// How long one message may take to leave.
const SEND: Duration = Duration::from_secs(60);
/// How long a connection may be open with nothing asked.
const IDLE: Duration = Duration::from_secs(600);
/// How long requests under way may take once the introducer is closed.
const DRAIN: Duration = Duration::from_secs(2);
/// Requests of one connection that are answered at once; more wait.
const MAX_REQUESTS: usize = 16;
/// Streams of one connection that follow.
const MAX_FOLLOWERS: usize = 4;
