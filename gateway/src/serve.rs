//! Connections and their bounds.
//!
//! There is room for so many connections and no more. Who is slow to say what he wants makes room for who comes next: a connection that
//! waits for a request is closed for a new one, the longest idle first. Who is slow to take his answer loses his connection, and no address
//! but this machine's own has more than half of all places.

mod addresses;
mod idle;
mod tls;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;

use crate::guard::CameFrom;
use crate::{Gateway, router};
use addresses::Addresses;
use idle::{IdleBody, Watched};
pub use tls::{Tls, TlsError};

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// From the first byte that is waited for to the end of a request's head.
    pub head: Duration,
    /// Without a byte of a request's body.
    pub idle: Duration,
    /// How long the other side may be waited for to take an answer: the time it has for nothing, which what it takes gives back.
    pub taking: Duration,
    /// How long a request's body may be waited for in all, besides what its bytes are worth.
    pub grace: Duration,
    /// Bytes of a request's body, or of an answer that were taken, that are worth a second of waiting.
    pub rate: u32,
    /// For what is under way when the gateway is told to stop.
    pub stop: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            taking: Duration::from_secs(120),
            grace: Duration::from_secs(30),
            rate: 1024,
            stop: Duration::from_secs(10),
        }
    }
}

/// Bytes of a request's head, which holds a cap and a path.
const MAX_HEAD: usize = 128 * 1024;
/// Its fields.
const MAX_FIELDS: usize = 64;
/// Bytes of answers that the system holds back for who does not take them. Of more nobody would know for long how slow he is.
const UNSENT: u32 = 256 * 1024;
/// How long to wait when the system has no more file descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Serves until `stop` is done, and says how many requests were given up then.
///
/// # Errors
///
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<usize> {
    serve_within(listener, gateway, None, Bounds::default(), stop).await
}

/// The same with TLS, and bounds of the caller's. Dropped, it gives up all that is under way at once.
///
/// # Errors
///
/// The listener fails.
pub async fn serve_within(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    tls: Option<Tls>,
    bounds: Bounds,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<usize> {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let addresses = Addresses::new((bounds.connections / 2).max(1));
    let serving = Serving { router: router(gateway.clone()), gateway, tls, bounds, waiting: Arc::default() };
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a connection was not accepted");
                tokio::time::sleep(EXHAUSTED).await;
                continue;
            }
        };
        let Some(counted) = addresses.enter(from.ip()) else {
            tracing::debug!("an address has as many connections as it may");
            continue;
        };
        if room.available_permits() == 0 {
            serving.waiting.close_longest();
        }
        // Those that are closed give their place back at once; all others are at work.
        let permit = tokio::select! {
            () = &mut stop => break,
            permit = room.clone().acquire_owned() => permit.expect("nobody closes it"),
        };
        let serving = serving.clone();
        connections.spawn(async move {
            serving.connection(stream, from).await;
            drop((permit, counted));
        });
    }
    drop(listener);
    serving.gateway.stop();
    let ended = timeout(bounds.stop, async { while connections.join_next().await.is_some() {} }).await;
    Ok(match ended {
        Ok(()) => 0,
        Err(_) => serving.gateway.under_way(),
    })
}

#[derive(Clone)]
struct Serving {
    gateway: Arc<Gateway>,
    router: axum::Router,
    tls: Option<Tls>,
    bounds: Bounds,
    waiting: Arc<Waiting>,
}

impl Serving {
    async fn connection(self, stream: TcpStream, from: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
        let place = self.waiting.enter();
        let closed = place.closed.clone();
        tokio::select! {
            () = closed.notified() => tracing::debug!("an idle connection made room for another"),
            () = self.exchange(stream, from, place) => {}
        }
    }

    async fn exchange(&self, stream: TcpStream, from: SocketAddr, place: Place) {
        match self.tls.clone() {
            None => self.speak(stream, from, place).await,
            Some(tls) => match timeout(self.bounds.head, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.speak(stream, from, place).await,
                Ok(Err(error)) => tracing::debug!(error = &error as &dyn std::error::Error, "no TLS"),
                Err(_) => {}
            },
        }
    }

    async fn speak<S>(&self, stream: S, from: SocketAddr, place: Place)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (place, router, bounds) = (Arc::new(place), self.router.clone(), self.bounds);
        let under_way = self.gateway.under_way.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let busy = place.busy(&under_way);
            let (parts, body) = request.into_parts();
            let mut request = Request::from_parts(parts, Body::new(IdleBody::new(body, &bounds)));
            request.extensions_mut().insert(CameFrom(from));
            let answered = router.clone().call(request);
            async move {
                // The answer's body is under way as long as it is not dropped.
                let response = answered.await?;
                Ok::<_, std::convert::Infallible>(response.map(|body| busy.until_end_of(body)))
            }
        });
        let watched = Watched::new(stream, &self.bounds);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.bounds.head)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_FIELDS)
            .half_close(true)
            .serve_connection(TokioIo::new(watched), service);
        let mut connection = std::pin::pin!(connection);
        let done = tokio::select! {
            done = connection.as_mut() => done,
            () = self.gateway.stopped() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = done {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke");
        }
    }
}

/// Connections that wait for a request, the longest first.
#[derive(Default)]
struct Waiting {
    list: Mutex<BTreeMap<u64, Arc<Notify>>>,
    next: AtomicUsize,
}

impl Waiting {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
        self.list.lock().expect("no code panics while it holds this lock")
    }

    fn enter(self: &Arc<Self>) -> Place {
        let place =
            Place { waiting: self.clone(), closed: Arc::new(Notify::new()), number: Mutex::new(None) };
        place.wait();
        place
    }

    fn close_longest(&self) {
        let longest = self.lock().pop_first();
        if let Some((_, closed)) = longest {
            closed.notify_one();
        }
    }
}

/// One connection's place among them, while it waits.
struct Place {
    waiting: Arc<Waiting>,
    closed: Arc<Notify>,
    number: Mutex<Option<u64>>,
}

impl Place {
    fn wait(&self) {
        let number = self.waiting.next.fetch_add(1, Ordering::Relaxed) as u64;
        self.waiting.lock().insert(number, self.closed.clone());
        *self.number.lock().expect("no code panics while it holds this lock") = Some(number);
    }

    fn leave(&self) {
        let number = self.number.lock().expect("no code panics while it holds this lock").take();
        if let Some(number) = number {
            self.waiting.lock().remove(&number);
        }
    }

    /// A request came.
    fn busy(self: &Arc<Self>, under_way: &Arc<AtomicUsize>) -> Busy {
        self.leave();
        under_way.fetch_add(1, Ordering::Relaxed);
        Busy { place: self.clone(), under_way: under_way.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A request under way; when dropped its connection waits again.
pub(crate) struct Busy {
    place: Arc<Place>,
    under_way: Arc<AtomicUsize>,
}

impl Busy {
    fn until_end_of(self, body: Body) -> Body {
        Body::new(idle::Held::new(body, self))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.place.wait();
    }
}
