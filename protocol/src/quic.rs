//! The real transport: QUIC (RFC 9000) by `quinn`, with Ed25519 raw public keys on both sides (RFC 7250).

mod endpoint;
mod tls;

pub use endpoint::{
    QuicConnector, QuicListener, SocketBuffers, bind, client_config, connect_to_anybody, endpoint_config,
    reachable, server_config,
};
