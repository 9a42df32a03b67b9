//! Real quinn inside turmoil: the transport that runs in production, over a simulated network.
//!
//! Host names are turmoil's own, and the QUIC connector resolves names by asking the machine; so announce and connect by address
//! (`turmoil::lookup`). A builder needs room for datagrams: `udp_capacity(10_000)`.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use protocol::BoxFuture;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Endpoint, ServerConfig, TokioRuntime, UdpPoller};

/// An endpoint on the turmoil host that calls this. With `server`, it takes connections too. `seed` fixes what quinn draws (connection
/// ids, packet numbers); the handshake's keys come from the operating system, so bytes differ between runs and behaviour does not.
///
/// # Errors
///
/// What turmoil says of the address.
pub async fn endpoint(address: SocketAddr, server: Option<ServerConfig>, seed: u64) -> io::Result<Endpoint> {
    let socket = Arc::new(turmoil::net::UdpSocket::bind(address).await?);
    let mut config = protocol::quic::endpoint_config();
    config.rng_seed(Some(blake3::derive_key("sarsen 2026 testkit quinn seed", &seed.to_le_bytes())));
    let socket = Arc::new(Socket { socket, readable: Mutex::new(None) });
    Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(TokioRuntime))
}

struct Socket {
    socket: Arc<turmoil::net::UdpSocket>,
    /// The wait for a datagram that is under way.
    readable: Mutex<Option<BoxFuture<'static, io::Result<()>>>>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Socket")
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // What the network refuses is lost, as datagrams may be.
        let _ = self.socket.try_send_to(transmit.contents, transmit.destination);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.socket.try_recv_from(&mut buffers[0]) {
                Ok((len, addr)) => {
                    meta[0] = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut readable = self.readable.lock().expect("no holder panics");
                    let wait = readable.get_or_insert_with(|| {
                        let socket = self.socket.clone();
                        Box::pin(async move { socket.readable().await })
                    });
                    match wait.as_mut().poll(cx) {
                        Poll::Ready(_) => *readable = None,
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
