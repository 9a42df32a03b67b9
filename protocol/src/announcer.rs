//! Keeping introducers informed: a server announces itself at its start, again before the announcement expires, and soon after a failure.

use std::sync::Arc;
use std::time::Duration;

use crate::announcement::Signed;
use crate::identity::NodeAddress;
use crate::message::{Announce, Done, Request};
use crate::session::{RequestError, Session};
use crate::transport::Connector;

/// How often an announcement is renewed.
pub const RENEW_EVERY: Duration = Duration::from_secs(300);
/// How long an announcement is good for, beyond its renewal: an introducer drops servers that were silent for so long.
pub const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long to wait for an introducer.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MOST: Duration = Duration::from_secs(60);

/// Tells one introducer.
///
/// # Errors
///
/// [`RequestError`].
pub async fn announce(
    connector: &dyn Connector,
    introducer: &NodeAddress,
    signed: Signed,
) -> Result<(), RequestError> {
    let telling = async {
        let connection = connector.connect(introducer.id, std::slice::from_ref(&introducer.host)).await?;
        let session = Session::start(connection).await?;
        let request = Request::Announce(Announce { announcement: signed });
        let (Done {}, _) = session.request(&request).await?;
        session.connection().close();
        Ok(())
    };
    tokio::time::timeout(PATIENCE, telling).await.unwrap_or(Err(RequestError::Timeout { after: PATIENCE }))
}

/// Tells one introducer again and again, for ever. `sign` makes the announcement of the moment; where it cannot, it says why in the
/// log and is asked again later.
pub async fn keep_announced(
    connector: Arc<dyn Connector>,
    introducer: NodeAddress,
    sign: Arc<dyn Fn() -> Option<Signed> + Send + Sync>,
) {
    let mut retry = RETRY_FIRST;
    let mut was_told = None;
    loop {
        let Some(signed) = sign() else {
            tokio::time::sleep(RETRY_MOST).await;
            continue;
        };
        let told = announce(&*connector, &introducer, signed).await;
        let wait = match &told {
            Ok(()) => {
                retry = RETRY_FIRST;
                RENEW_EVERY
            }
            Err(_) => {
                let wait = retry;
                retry = (retry * 2).min(RETRY_MOST);
                wait
            }
        };
        match told {
            Ok(()) if was_told != Some(true) => tracing::info!(introducer = introducer.host, "announced"),
            Err(error) if was_told != Some(false) => {
                tracing::warn!(introducer = introducer.host, %error, "the introducer cannot be told; trying again");
            }
            _ => {}
        }
        was_told = Some(wait == RENEW_EVERY);
        tokio::time::sleep(wait).await;
    }
}
