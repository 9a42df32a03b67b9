//! How the grid is, as seen from here.

use std::time::Duration;

use protocol::message::{Request, Status};
use protocol::session::RequestError;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Client;
use crate::grid::{IntroducerReport, Server};
use crate::servers::within;

/// What every introducer and server answered.
#[derive(Debug)]
pub struct GridStatus {
    /// The introducers.
    pub introducers: Vec<IntroducerReport>,
    /// All known servers, those that answered and those that did not.
    pub servers: Vec<ServerStatus>,
}

/// What one server answered.
#[derive(Debug)]
pub struct ServerStatus {
    /// The server.
    pub server: Server,
    /// How it is, or why it did not say.
    pub outcome: Result<Reached, RequestError>,
}

/// A server that answered.
#[derive(Debug)]
pub struct Reached {
    /// What it says of itself.
    pub status: Status,
    /// How long connection and hello took.
    pub connect: Duration,
    /// Round-trip time: of the transport where it knows one, else of this request.
    pub round_trip: Duration,
}

impl Client {
    /// Asks all introducers and all known servers.
    pub async fn status(&self) -> GridStatus {
        let introducers = self.refresh().await;
        let mut asking = JoinSet::new();
        for server in self.grid().servers() {
            let client = self.clone();
            asking.spawn(async move {
                let outcome = client.ask_status(&server).await;
                ServerStatus { server, outcome }
            });
        }
        let mut servers = asking.join_all().await;
        servers.sort_by(|a, b| (&a.server.nickname, a.server.id).cmp(&(&b.server.nickname, b.server.id)));
        GridStatus { introducers, servers }
    }

    async fn ask_status(&self, server: &Server) -> Result<Reached, RequestError> {
        let started = Instant::now();
        let session = self.readers().session(server).await?;
        let connect = started.elapsed();
        let asked = Instant::now();
        let (status, _): (Status, _) =
            within(self.readers().timeouts().answer, session.request(&Request::Status)).await?;
        let round_trip = session.connection().rtt().unwrap_or_else(|| asked.elapsed());
        Ok(Reached { status, connect, round_trip })
    }
}
