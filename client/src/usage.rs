//! What this client's account is charged, server by server.

use protocol::message::{Request, Usage};
use protocol::session::RequestError;
use tokio::task::JoinSet;

use crate::Client;
use crate::grid::Server;
use crate::servers::within;

/// What one server answered.
#[derive(Debug)]
pub struct ServerUsage {
    /// The server.
    pub server: Server,
    /// What the account is charged there, or why it did not say.
    pub outcome: Result<Usage, RequestError>,
}

impl Client {
    /// Asks all known servers what they charge this client's account, at once. One that the grid's owner let go of and that does not answer
    /// is left out.
    pub async fn usage(&self) -> Vec<ServerUsage> {
        let mut asking = JoinSet::new();
        for server in self.grid().servers() {
            let client = self.clone();
            asking.spawn(async move {
                let outcome = client.ask_usage(&server).await;
                ServerUsage { server, outcome }
            });
        }
        let mut servers = asking.join_all().await;
        servers.retain(|asked: &ServerUsage| asked.outcome.is_ok() || !self.is_revoked(&asked.server));
        servers.sort_by(|a, b| (&a.server.nickname, a.server.id).cmp(&(&b.server.nickname, b.server.id)));
        servers
    }

    /// Over the connection with the account's key: a server tells nobody else.
    async fn ask_usage(&self, server: &Server) -> Result<Usage, RequestError> {
        let timeouts = *self.writers().timeouts();
        let asked = async {
            let session = self.writers().session(server).await?;
            session.request::<Usage>(&Request::Usage).await
        };
        Ok(within(timeouts.connect + timeouts.answer, asked).await?.0)
    }
}
