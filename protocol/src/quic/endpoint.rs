//! Endpoints, connections and streams over `quinn`.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ConnectionError, Endpoint, EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, ReadBuf};

use super::tls;
use crate::BoxFuture;
use crate::identity::{NodeId, NodeKey};
use crate::limits::MAX_STREAMS;
use crate::transport::{
    Connection, Connector, Handshake, Incoming, Listener, RecvHalf, SendHalf, Stream, TransportError,
};

/// What we ask of the kernel for each UDP socket, in bytes. It nearly doubles the throughput where it is granted.
const SOCKET_BUFFER: usize = 4 << 20;
/// The largest UDP payload path-MTU discovery tries: ten of them just fit one system call, and above that throughput collapses.
const MAX_UDP_PAYLOAD: u16 = 6144;
/// Bytes in flight towards us on one stream.
const STREAM_WINDOW: u32 = 2 << 20;
/// Bytes in flight towards us on one connection.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Nothing heard for this long: the connection is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Half-open connections above which clients must prove their address first (a Retry packet, RFC 9000 section 8.1.2).
const MAX_UNPROVEN: usize = 64;
/// TLS alert 49, access_denied, as a QUIC error code: what a failed check of the server's key ends with.
const ACCESS_DENIED: u64 = 0x100 + 49;

/// How large the kernel made a socket's buffers, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct SocketBuffers {
    /// For what arrives.
    pub receive: usize,
    /// For what leaves.
    pub send: usize,
}

/// Settings of an endpoint, the same on both sides.
pub fn endpoint_config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(MAX_UDP_PAYLOAD).expect("the bound is above the protocol's minimum of 1200");
    config
}

fn transport_config() -> Arc<TransportConfig> {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(MAX_UDP_PAYLOAD);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(MAX_STREAMS.into())
        .max_concurrent_uni_streams(0u8.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(u64::from(CONNECTION_WINDOW))
        .mtu_discovery_config(Some(mtu))
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("seconds fit")))
        .keep_alive_interval(Some(IDLE_TIMEOUT / 4))
        .datagram_receive_buffer_size(None);
    Arc::new(config)
}

/// Settings of a node that takes connections under `key`.
pub fn server_config(key: &NodeKey) -> quinn::ServerConfig {
    let crypto = QuicServerConfig::try_from(tls::server(key)).expect("TLS 1.3 with a suite that QUIC knows");
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport_config());
    config
}

/// Settings of a node that makes connections under `key`.
pub fn client_config(key: &NodeKey) -> quinn::ClientConfig {
    let crypto = QuicClientConfig::try_from(tls::client(key)).expect("TLS 1.3 with a suite that QUIC knows");
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport_config());
    config
}

/// Binds a UDP socket with large buffers and makes an endpoint of it. With `server`, it takes connections too.
///
/// # Errors
///
/// What the operating system says of the address.
pub fn bind(
    address: SocketAddr,
    server: Option<quinn::ServerConfig>,
) -> io::Result<(Endpoint, SocketBuffers)> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    // Asking is free; the kernel caps what it grants, and `SocketBuffers` tells.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    // Linux reports twice what it grants.
    let buffers =
        SocketBuffers { receive: socket.recv_buffer_size()? / 2, send: socket.send_buffer_size()? / 2 };
    let endpoint = Endpoint::new(endpoint_config(), server, socket.into(), Arc::new(quinn::TokioRuntime))?;
    Ok((endpoint, buffers))
}

/// Where others on the network reach a socket that is bound to `bound`: for one that listens on all addresses, the address that this
/// machine uses towards the rest of the network, or loopback where there is none. Nothing is sent.
pub fn reachable(bound: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    // TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849): connecting a UDP socket only asks the routing table.
    let (any, elsewhere): (SocketAddr, SocketAddr) = match bound {
        SocketAddr::V4(_) => (([0; 4], 0).into(), ([192, 0, 2, 1], 9).into()),
        SocketAddr::V6(_) => (([0u16; 8], 0).into(), ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9).into()),
    };
    let ours = std::net::UdpSocket::bind(any).and_then(|socket| {
        socket.connect(elsewhere)?;
        socket.local_addr()
    });
    let loopback = match bound {
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let ip = ours.map(|address| address.ip()).ok().filter(|ip| !ip.is_unspecified()).unwrap_or(loopback);
    SocketAddr::new(ip, bound.port())
}

/// Makes connections under one key.
pub struct QuicConnector {
    endpoint: Endpoint,
    config: quinn::ClientConfig,
}

impl QuicConnector {
    /// Connections go out from `endpoint` and prove `key`.
    pub fn new(endpoint: Endpoint, key: &NodeKey) -> Self {
        Self { endpoint, config: client_config(key) }
    }

    async fn connect_one(&self, id: NodeId, address: &str) -> Result<QuicConnection, TransportError> {
        let unreachable =
            |reason: String| TransportError::Unreachable { address: address.to_owned(), reason };
        let resolved = resolve(address).await.map_err(|e| unreachable(e.to_string()))?;
        let connecting = self
            .endpoint
            .connect_with(self.config.clone(), resolved, &tls::name_of(&id))
            .map_err(|e| unreachable(e.to_string()))?;
        match connecting.await {
            Ok(connection) => Ok(QuicConnection(connection)),
            Err(ConnectionError::TransportError(e)) if u64::from(e.code) == ACCESS_DENIED => {
                Err(TransportError::WrongKey { address: address.to_owned(), expected: id })
            }
            Err(e) => Err(unreachable(e.to_string())),
        }
    }
}

/// Connects to whoever answers at `address`, of whom nothing is known yet, and says which key it proved to have. What is said on this
/// connection may be said to anybody: whether it is the one who was meant, has to show otherwise.
///
/// # Errors
///
/// [`TransportError::Unreachable`].
pub async fn connect_to_anybody(
    endpoint: &Endpoint,
    key: &NodeKey,
    address: &str,
) -> Result<(NodeId, Box<dyn Connection>), TransportError> {
    let unreachable = |reason: String| TransportError::Unreachable { address: address.to_owned(), reason };
    let crypto = QuicClientConfig::try_from(tls::client_of_anybody(key))
        .expect("TLS 1.3 with a suite that QUIC knows");
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport_config());
    let resolved = resolve(address).await.map_err(|e| unreachable(e.to_string()))?;
    let connecting = endpoint.connect_with(config, resolved, "unknown.sarsen");
    let connecting = connecting.map_err(|e| unreachable(e.to_string()))?;
    let connection = connecting.await.map_err(|e| unreachable(e.to_string()))?;
    let id = remote_key(&connection).ok_or_else(|| unreachable("it shows no key".to_owned()))?;
    Ok((id, Box::new(QuicConnection(connection))))
}

fn remote_key(connection: &quinn::Connection) -> Option<NodeId> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    tls::key_of(identity.first()?)
}

async fn resolve(address: &str) -> io::Result<SocketAddr> {
    if let Ok(address) = address.parse() {
        return Ok(address);
    }
    let first = tokio::net::lookup_host(address).await?.next();
    first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

impl Connector for QuicConnector {
    fn connect<'a>(
        &'a self,
        id: NodeId,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Result<Box<dyn Connection>, TransportError>> {
        Box::pin(async move {
            let none =
                TransportError::Unreachable { address: id.short(), reason: "no address is known".into() };
            let mut last = none;
            for address in addresses {
                match self.connect_one(id, address).await {
                    Ok(connection) => return Ok(Box::new(connection) as Box<dyn Connection>),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}

/// Takes connections on an endpoint.
pub struct QuicListener(Endpoint);

impl QuicListener {
    /// Takes the connections of `endpoint`, which must have been made with a server's settings.
    pub fn new(endpoint: Endpoint) -> Self {
        Self(endpoint)
    }
}

impl Listener for QuicListener {
    fn accept(&self) -> BoxFuture<'_, Option<Handshake>> {
        Box::pin(async move {
            loop {
                let incoming = self.0.accept().await?;
                let crowded = self.0.open_connections() > MAX_UNPROVEN;
                if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
                    // A Retry that cannot be sent leaves the client to try again.
                    let _ = incoming.retry();
                    continue;
                }
                let Ok(connecting) = incoming.accept() else { continue };
                return Some(Box::pin(handshake(connecting)) as Handshake);
            }
        })
    }

    fn close(&self) {
        self.0.close(VarInt::from_u32(0), b"closed");
    }
}

async fn handshake(connecting: quinn::Connecting) -> Option<Box<dyn Incoming>> {
    let connection = connecting.await.ok()?;
    let remote = remote_key(&connection)?;
    Some(Box::new(QuicIncoming { connection, remote }))
}

struct QuicConnection(quinn::Connection);

impl Connection for QuicConnection {
    fn open(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async move {
            let (send, recv) = self.0.open_bi().await.map_err(lost)?;
            Ok(stream(send, recv))
        })
    }

    fn is_closed(&self) -> bool {
        self.0.close_reason().is_some()
    }

    fn rtt(&self) -> Option<Duration> {
        Some(self.0.rtt())
    }

    fn close(&self) {
        self.0.close(VarInt::from_u32(0), b"closed");
    }
}

struct QuicIncoming {
    connection: quinn::Connection,
    remote: NodeId,
}

impl Incoming for QuicIncoming {
    fn remote(&self) -> NodeId {
        self.remote
    }

    fn accept_stream(&self) -> BoxFuture<'_, Option<Stream>> {
        Box::pin(async move {
            let (send, recv) = self.connection.accept_bi().await.ok()?;
            Some(stream(send, recv))
        })
    }

    fn close(&self) {
        self.connection.close(VarInt::from_u32(0), b"closed");
    }
}

fn stream(send: quinn::SendStream, recv: quinn::RecvStream) -> Stream {
    Stream { send: Box::new(QuicSend { inner: send, finished: false }), recv: Box::new(QuicRecv(recv)) }
}

fn lost(error: ConnectionError) -> TransportError {
    TransportError::Lost { reason: error.to_string() }
}

struct QuicSend {
    inner: quinn::SendStream,
    finished: bool,
}

impl SendHalf for QuicSend {
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            self.inner.write_chunk(data).await.map_err(|error| match error {
                quinn::WriteError::Stopped(_) => TransportError::Stopped,
                quinn::WriteError::ConnectionLost(error) => lost(error),
                other => TransportError::Lost { reason: other.to_string() },
            })
        })
    }

    fn finish(&mut self) -> Result<(), TransportError> {
        self.finished = true;
        self.inner.finish().map_err(|_| TransportError::Stopped)
    }
}

impl Drop for QuicSend {
    fn drop(&mut self) {
        if !self.finished {
            // quinn would finish the stream, and the other side take a part for the whole.
            let _ = self.inner.reset(VarInt::from_u32(1));
        }
    }
}

struct QuicRecv(quinn::RecvStream);

impl AsyncRead for QuicRecv {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.0), cx, buf)
    }
}

impl RecvHalf for QuicRecv {}
