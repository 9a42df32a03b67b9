//! The simulated networks: that they behave as transports must, and carry an introducer through partitions.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot make its own inputs has nothing to report but the panic"
)]

#[path = "net/duplicates.rs"]
mod duplicates;
#[path = "net/introducer.rs"]
mod introducer_over;
#[path = "net/links.rs"]
mod links;
#[path = "net/streams.rs"]
mod streams;

use std::sync::Arc;

use bytes::Bytes;
use protocol::NodeId;
use protocol::transport::{Connection, Incoming, Listener, Stream};
use testkit::net::SimNet;

const ADDRESS: &str = "granite:1";

fn client() -> NodeId {
    NodeId::new([1; 32])
}

fn server() -> NodeId {
    NodeId::new([2; 32])
}

/// Both sides of a connection over a network.
struct Pair {
    net: SimNet,
    connection: Box<dyn Connection>,
    incoming: Box<dyn Incoming>,
    listener: Arc<dyn Listener>,
}

impl Pair {
    async fn new() -> Self {
        let net = SimNet::new(7);
        let listener = net.listener(server(), ADDRESS);
        let accept = async { listener.accept().await.unwrap().await.unwrap() };
        let connector = net.connector(client());
        let addresses = [ADDRESS.to_owned()];
        let (connection, incoming) = tokio::join!(connector.connect(server(), &addresses), accept);
        assert_eq!(incoming.remote(), client());
        Self { net, connection: connection.unwrap(), incoming, listener }
    }

    /// Both sides of a stream on which `first` was sent.
    async fn stream(&self, first: &'static [u8]) -> (Stream, Stream) {
        let mut near = self.connection.open().await.unwrap();
        near.send.send(Bytes::from_static(first)).await.unwrap();
        let far = self.incoming.accept_stream().await.unwrap();
        (near, far)
    }
}
